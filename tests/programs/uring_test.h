/* A ring of io_uring, as far as these tests need it, and many threads whose requests stay under way while they wait for other things. */
#ifndef URING_TEST_H
#define URING_TEST_H

#include "sync_test.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Newer than some headers */
#define SINGLE_ISSUER (1u << 12)
#define ENABLE_RINGS 12
#define RING_FDS 20
#define ENTER_REGISTERED_RING (1u << 4)

/* A system call by an instruction of our own, as liburing makes them: the function, which a test may also compile into a library. */
#if defined(__x86_64__)
#define RAW                                                                                                                      \
	static inline long raw(long n, long a, long b, long c, long d, long e, long f) {                                         \
		long r;                                                                                                          \
		register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;                                \
		__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory"); \
		return r;                                                                                                        \
	}
#else
#define RAW                                                                                                                      \
	static inline long raw(long n, long a, long b, long c, long d, long e, long f) {                                         \
		register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,            \
			      x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;                                  \
		__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");         \
		return x0;                                                                                                       \
	}
#endif
RAW

struct ring {
	int fd;
	bool inlined; /* by raw() */
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

enum { ENTRIES = 64 };

static inline void ring_map(struct ring *r, int fd, const struct io_uring_params *p) {
	char *sq = mmap(NULL, p->sq_off.array + p->sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, p->sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	CHECK(sq != MAP_FAILED && cq != MAP_FAILED && r->sqes != MAP_FAILED);
	r->fd = fd;
	r->sq_tail = (unsigned *)(sq + p->sq_off.tail);
	r->sq_mask = (unsigned *)(sq + p->sq_off.ring_mask);
	r->sq_array = (unsigned *)(sq + p->sq_off.array);
	r->cq_head = (unsigned *)(cq + p->cq_off.head);
	r->cq_tail = (unsigned *)(cq + p->cq_off.tail);
	r->cq_mask = (unsigned *)(cq + p->cq_off.ring_mask);
	r->cqes = (struct io_uring_cqe *)(cq + p->cq_off.cqes);
}

/* Of a plain ring: false where there are none (an old kernel, a container). */
static inline bool ring_make(struct ring *r, unsigned flags) {
	struct io_uring_params p = {.flags = flags};
	int fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
	if (fd >= 0)
		ring_map(r, fd, &p);
	r->inlined = false;
	return fd >= 0;
}

/* Queues it; ring_enter() submits it. */
static inline void ring_queue(struct ring *r, int operation, int fd, void *at, unsigned bytes, long user) {
	unsigned tail = *r->sq_tail, i = tail & *r->sq_mask;
	r->sqes[i] = (struct io_uring_sqe){.opcode = (unsigned char)operation, .fd = fd, .addr = (uintptr_t)at, .len = bytes, .user_data = (unsigned long)user, .off = -1ull};
	r->sq_array[i] = i;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

static inline long ring_enter(struct ring *r, int submit, int wait) {
	unsigned flags = wait ? IORING_ENTER_GETEVENTS : 0;
	if (r->inlined)
		return raw(SYS_io_uring_enter, r->fd, submit, wait, flags, 0, 8);
	return syscall(SYS_io_uring_enter, r->fd, submit, wait, flags, NULL, 8);
}

/* False: nothing has come. */
static inline bool ring_reap(struct ring *r, long *user, int *result) {
	unsigned head = *r->cq_head;
	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	*user = (long)r->cqes[head & *r->cq_mask].user_data;
	*result = r->cqes[head & *r->cq_mask].res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* Until something has come. A wait of our own instruction may be interrupted: nobody stands around it who would repeat it. */
static inline void ring_wait(struct ring *r, long *user, int *result) {
	while (!ring_reap(r, user, result)) {
		long n = ring_enter(r, 0, 1);
		CHECK(n == 0 || (r->inlined && n == -EINTR));
	}
}

/* ---- many readers -------------------------------------------------------------------------------------------------------- */

enum { READERS = 40 };

static struct ring *readers_ring;         /* all readers'; NULL: each makes one */
static bool (*ring_maker)(struct ring *r);
static pthread_mutex_t readers_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t readers_armed, readers_read;
static int readers_pipe[READERS][2], readers_file;
static _Atomic int readers_begun;
static char readers_bytes[READERS][8];

static void *reader(void *arg) {
	long n = (long)arg, user;
	int result = -1;
	struct ring own, *r = readers_ring;
	if (!r)
		CHECK(ring_maker(r = &own));
	pthread_mutex_lock(&readers_mutex);
	ring_queue(r, IORING_OP_READ, readers_pipe[n][0], readers_bytes[n], sizeof readers_bytes[n], n);
	EQ(ring_enter(r, 1, 0), 1);
	pthread_mutex_unlock(&readers_mutex);
	readers_begun++;
	/* So many threads that wait for a lock of a file are so many kernel threads. */
	EQ(flock(readers_file, LOCK_SH), 0);
	pthread_barrier_wait(&readers_armed);
	if (readers_ring) {
		pthread_barrier_wait(&readers_read);
		return arg;
	}
	usleep(100000);
	ring_wait(r, &user, &result);
	EQ(user, n);
	EQ(result, 5);
	close(r->fd);
	return arg;
}

/* What a thread has submitted goes on while it waits for something else, and after that. */
static inline void many_readers(void) {
	char path[] = "/tmp/uring.XXXXXX";
	pthread_t t[READERS];
	int locked = mkstemp(path), result = -1;
	long user, sum = 0;
	readers_begun = 0;
	readers_file = open(path, O_RDWR | O_CLOEXEC);
	unlink(path);
	EQ(flock(locked, LOCK_EX), 0);
	pthread_barrier_init(&readers_armed, NULL, READERS + 1);
	pthread_barrier_init(&readers_read, NULL, READERS + 1);
	for (long i = 0; i < READERS; i++) {
		EQ(pipe(readers_pipe[i]), 0);
		t[i] = start(reader, (void *)i);
	}
	while (readers_begun < READERS)
		usleep(1000);
	usleep(100000);
	EQ(flock(locked, LOCK_UN), 0);
	pthread_barrier_wait(&readers_armed);
	usleep(200000); /* the kernel threads that nobody needs any more may go */
	for (int i = 0; i < READERS; i++)
		EQ(write(readers_pipe[i][1], "hello", 5), 5);
	for (int i = 0; i < READERS && readers_ring; i++) {
		ring_wait(readers_ring, &user, &result);
		EQ(result, 5);
		sum += user;
	}
	EQ(sum, readers_ring ? READERS * (READERS - 1) / 2 : 0);
	if (readers_ring)
		pthread_barrier_wait(&readers_read);
	for (int i = 0; i < READERS; i++) {
		join(t[i]);
		EQ(memcmp(readers_bytes[i], "hello", 5), 0);
		close(readers_pipe[i][0]);
		close(readers_pipe[i][1]);
	}
	close(readers_file);
	close(locked);
}

/* In a process of its own: what one ring changes holds for all that come later. */
static inline void in_child(const char *name, void (*run)(void)) {
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		test_begin();
		run();
		fflush(stdout);
		_exit(failures != 0);
	}
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
	step(name);
}

#endif
