/*
 * What calls on files cost, a thousand at once: a plain program that knows of no library but libc. The same work as threads that block in read() and
 * fsync(), on kernel threads or under the library, and as one loop around an io_uring, which is the most that a library could get out of one.
 *
 *	files threads|uring KIND N SECONDS FOLDER
 *
 *	cached	 reads of 4 KiB anywhere in a file of 64 MiB that is in the page cache
 *	direct	 the same with O_DIRECT, of 256 MiB
 *	fsync	 64 bytes are written, then fsync(): each of the N has a file of its own
 *
 * N threads, or N requests under way. The files are made in FOLDER, and stay there for the next run. The line is one of JSON: operations, wall seconds, user and system
 * time of the process (of the ring's workers, too, which are threads of it), and the most kernel threads that were seen. What the disk's interrupts cost is nobody's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, SMALL = 64, COUNT_MAX = 4096, WARM_MS = 300, LOOK_MS = 20 };

static enum kind { CACHED, DIRECT, FSYNC } kind;
static int fds[COUNT_MAX], count;
static long blocks;
static char *buffers;
static _Atomic bool over;
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER; /* closed until all threads are there: who makes them has to get a turn */
static struct {
	_Atomic uint64_t done;
	char apart[56];
} each[COUNT_MAX];

static void must(bool good, const char *what) {
	if (good)
		return;
	fprintf(stderr, "files: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void count_one(int who) {
	/* relaxed, and no read-modify-write: one thread's own */
	__atomic_store_n(&each[who].done, each[who].done + 1, __ATOMIC_RELAXED);
}

static off_t anywhere(uint64_t *seed) {
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (off_t)((*seed >> 33) % (uint64_t)blocks) * BLOCK;
}

static uint64_t seed_of(int who) {
	return (uint64_t)who * 0x9E3779B97F4A7C15u + 1;
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static void *thread(void *arg) {
	int who = (int)(intptr_t)arg;
	char *buffer = buffers + (size_t)who * BLOCK;
	uint64_t seed = seed_of(who);
	pthread_rwlock_rdlock(&gate);
	pthread_rwlock_unlock(&gate);
	while (!over) {
		if (kind == FSYNC) {
			must(pwrite(fds[who], buffer, SMALL, 0) == SMALL, "write");
			must(fsync(fds[who]) == 0, "fsync");
		} else {
			must(pread(fds[0], buffer, BLOCK, anywhere(&seed)) == BLOCK, "read");
		}
		count_one(who);
	}
	return NULL;
}

/* --- one ring ------------------------------------------------------------------------------------------------------ */

static struct {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void ring_begin(void) {
	/* One thread does it all and looks when it is ready to: the cheapest that the kernel has. */
	struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
	ring.fd = (int)syscall(SYS_io_uring_setup, COUNT_MAX, &p);
	must(ring.fd >= 0 && (p.features & IORING_FEAT_SINGLE_MMAP), "io_uring_setup");
	size_t sq = p.sq_off.array + p.sq_entries * sizeof(unsigned), cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *rings = mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
	must(rings != MAP_FAILED, "mmap");
	ring.sqes = mmap(NULL, p.sq_entries * sizeof *ring.sqes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
	must(ring.sqes != MAP_FAILED, "mmap");
	ring.sq_tail = (unsigned *)(rings + p.sq_off.tail);
	ring.sq_mask = (unsigned *)(rings + p.sq_off.ring_mask);
	ring.sq_array = (unsigned *)(rings + p.sq_off.array);
	ring.cq_head = (unsigned *)(rings + p.cq_off.head);
	ring.cq_tail = (unsigned *)(rings + p.cq_off.tail);
	ring.cq_mask = (unsigned *)(rings + p.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
}

/* user_data: whose it is, and which step. There is room: each of the COUNT_MAX has one under way. */
static void submit(int who, unsigned step, struct io_uring_sqe what) {
	unsigned tail = *ring.sq_tail, at = tail & *ring.sq_mask;
	what.user_data = (uint64_t)who << 1 | step;
	ring.sqes[at] = what;
	ring.sq_array[at] = at;
	/* release: the kernel finds the entry complete */
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
}

static void submit_first(int who, uint64_t *seed) {
	struct io_uring_sqe what = {.addr = (uintptr_t)(buffers + (size_t)who * BLOCK)};
	what.opcode = kind == FSYNC ? IORING_OP_WRITE : IORING_OP_READ;
	what.fd = kind == FSYNC ? fds[who] : fds[0];
	what.len = kind == FSYNC ? SMALL : BLOCK;
	what.off = kind == FSYNC ? 0 : (uint64_t)anywhere(seed);
	submit(who, 0, what);
}

static void *reactor(void *arg) {
	static uint64_t seeds[COUNT_MAX];
	unsigned queued = (unsigned)count;
	(void)arg;
	ring_begin();
	for (int who = 0; who < count; who++) {
		seeds[who] = seed_of(who);
		submit_first(who, &seeds[who]);
	}
	while (!over) {
		long n = syscall(SYS_io_uring_enter, ring.fd, queued, 1, IORING_ENTER_GETEVENTS, NULL, 0);
		must(n >= 0 || errno == EINTR || errno == EAGAIN || errno == EBUSY, "io_uring_enter");
		queued -= n > 0 ? (unsigned)n : 0;
		unsigned head = *ring.cq_head, tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE); /* pairs with the kernel's release */
		for (; head != tail; head++, queued++) {
			const struct io_uring_cqe *c = &ring.cqes[head & *ring.cq_mask];
			int who = (int)(c->user_data >> 1);
			bool last = kind != FSYNC || (c->user_data & 1);
			errno = c->res < 0 ? -c->res : 0;
			must(c->res == (kind != FSYNC ? BLOCK : last ? 0 : SMALL), "request");
			if (last) {
				count_one(who);
				submit_first(who, &seeds[who]);
			} else {
				submit(who, 1, (struct io_uring_sqe){.opcode = IORING_OP_FSYNC, .fd = fds[who]});
			}
		}
		__atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE); /* the kernel may fill these again */
	}
	return NULL;
}

/* --- files, and the meter ------------------------------------------------------------------------------------------- */

static void files_open(const char *folder) {
	char path[4096];
	long bytes = kind == CACHED ? 64l << 20 : 256l << 20;
	blocks = bytes / BLOCK;
	for (int i = 0; i < (kind == FSYNC ? count : 1); i++) {
		snprintf(path, sizeof path, "%s/%s%d", folder, kind == FSYNC ? "small" : kind == CACHED ? "cached" : "direct", i);
		fds[i] = open(path, O_RDWR | O_CREAT, 0600);
		must(fds[i] >= 0, path);
	}
	if (kind == FSYNC)
		return;
	char *block = calloc(1, 1 << 20);
	must(block != NULL, "memory");
	for (off_t at = 0; at < bytes; at += 1 << 20) {
		bool there = pread(fds[0], block, 1 << 20, at) == 1 << 20;
		must(there || pwrite(fds[0], block, 1 << 20, at) == 1 << 20, path);
	}
	must(fsync(fds[0]) == 0, path);
	if (kind == DIRECT) {
		close(fds[0]);
		fds[0] = open(path, O_RDONLY | O_DIRECT);
		must(fds[0] >= 0, path);
	}
	free(block);
}

struct figures {
	uint64_t done;
	double wall, user, system;
};

static struct figures figures(void) {
	struct figures f = {0};
	struct rusage u;
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	getrusage(RUSAGE_SELF, &u);
	f.wall = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	f.user = (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6;
	f.system = (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6;
	for (int i = 0; i < count; i++)
		f.done += __atomic_load_n(&each[i].done, __ATOMIC_RELAXED);
	return f;
}

/* Kernel threads of the process, as the kernel counts them. */
static long threads_now(void) {
	char line[256];
	long n = 0;
	FILE *file = fopen("/proc/self/status", "r");
	while (file && fgets(line, sizeof line, file) && sscanf(line, "Threads: %ld", &n) != 1)
		continue;
	if (file)
		fclose(file);
	return n;
}

static void wait_ms(long ms) {
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

int main(int argc, char **argv) {
	static const char *const kinds[] = {"cached", "direct", "fsync"};
	static pthread_t threads[COUNT_MAX];
	bool by_ring = argc == 6 && strcmp(argv[1], "uring") == 0;
	int given = 0;
	while (argc == 6 && given < 3 && strcmp(argv[2], kinds[given]))
		given++;
	count = argc == 6 ? atoi(argv[3]) : 0;
	double seconds = argc == 6 ? atof(argv[4]) : 0;
	if (count < 1 || count > COUNT_MAX || given == 3 || seconds <= 0 || (!by_ring && strcmp(argv[1], "threads"))) {
		fprintf(stderr, "usage: files threads|uring cached|direct|fsync N SECONDS FOLDER\n");
		return 2;
	}
	kind = (enum kind)given;
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){COUNT_MAX + 100, COUNT_MAX + 100});
	files_open(argv[5]);
	buffers = aligned_alloc(BLOCK, (size_t)count * BLOCK);
	must(buffers != NULL, "memory");
	memset(buffers, 'x', (size_t)count * BLOCK);
	int started = by_ring ? 1 : count;
	pthread_rwlock_wrlock(&gate);
	for (int i = 0; i < started; i++) {
		errno = pthread_create(&threads[i], NULL, by_ring ? reactor : thread, (void *)(intptr_t)i);
		must(!errno, "pthread_create");
	}
	pthread_rwlock_unlock(&gate);
	wait_ms(WARM_MS);
	struct figures before = figures(), now;
	long most = 0;
	do {
		long n = threads_now();
		most = n > most ? n : most;
		wait_ms(LOOK_MS);
		now = figures();
	} while (now.wall - before.wall < seconds);
	over = true;
	for (int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	double done = (double)(now.done - before.done), wall = now.wall - before.wall, user = now.user - before.user, system = now.system - before.system;
	printf("{\"mode\": \"%s\", \"kind\": \"%s\", \"n\": %d, \"seconds\": %.2f, \"operations\": %.0f, \"per_second\": %.0f, \"cpu_us\": %.2f, \"user_us\": %.2f, "
	       "\"system_us\": %.2f, \"kernel_threads\": %ld}\n",
	       argv[1], kinds[kind], count, wall, done, done / wall, (user + system) / done * 1e6, user / done * 1e6, system / done * 1e6, most);
	return 0;
}
