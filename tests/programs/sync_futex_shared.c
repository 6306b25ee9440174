/* futex(2) without FUTEX_PRIVATE_FLAG, as libstdc++ makes all its calls, whether or not another process has the word: threads that wait for one which no other has need no
 * kernel threads; in memory that others have, however it was made, they meet them; and the kernel, which wakes who waits for the end of a raw thread. */
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "process_test.h"
#include "sync_test.h"

enum { THREADS = 400, BYTES = 1 << 16, LARGER = 1 << 20, FEW = 100, TURNS = 20 };

static long fx(uint32_t *p, int op, uint32_t val, uintptr_t val2, uint32_t *p2, uint32_t val3) {
	long r = syscall(SYS_futex, p, op, val, val2, p2, val3);
	return r < 0 ? -errno : r;
}

static void *waits(void *word) {
	long r;
	while ((r = fx(word, FUTEX_WAIT, 0, 0, NULL, 0)) == 0 && __atomic_load_n((uint32_t *)word, __ATOMIC_ACQUIRE) == 0)
		;
	return (void *)r;
}

/* Moved to where they are already: nothing but their number. */
static long waiting(uint32_t *word) {
	return fx(word, FUTEX_CMP_REQUEUE, 0, INT_MAX, word, 0);
}

static void of_one_process(void) {
	static pthread_t t[THREADS];
	static uint32_t words[2];
	uint32_t *word[] = {&words[0], calloc(1, sizeof(uint32_t))};
	for (int i = 0; i < THREADS; i++)
		t[i] = start(waits, word[i % 2]);
	while (waiting(word[0]) + waiting(word[1]) < THREADS)
		usleep(1000);
	if (getenv("LD_PRELOAD"))
		CHECK(kernel_threads() <= kernel_threads_idle());
	long woken = 0;
	for (int i = 0; i < 2; i++) {
		__atomic_store_n(word[i], 1, __ATOMIC_RELEASE);
		woken += fx(word[i], FUTEX_WAKE, INT_MAX, 0, NULL, 0);
	}
	EQ(woken, THREADS);
	for (int i = 0; i < THREADS; i++)
		EQ(join(t[i]), 0);
	free(word[1]);
}

/* ---- of several processes -------------------------------------------------------------------------------------------- */

/* Wakes who waits, as soon as somebody does. */
static void wakes(uint32_t *word) {
	while (fx(word, FUTEX_WAKE, 1, 0, NULL, 0) != 1)
		usleep(100);
}

static void *wakes_thread(void *word) {
	wakes(word);
	return NULL;
}

static void *waits_once(void *word) {
	return (void *)fx(word, FUTEX_WAIT, 0, 0, NULL, 0);
}

static void between_at(const char *what, void *memory, size_t at) {
	uint32_t *word = (uint32_t *)((char *)memory + at);
	printf("%s\n", what);
	fflush(stdout);
	CHECK(memory != MAP_FAILED);
	if (memory == MAP_FAILED)
		return;
	*word = 0;
	for (int i = 0; i < TURNS; i++) {
		bool child_waits = i % 2;
		pid_t pid = fork();
		if (pid == 0) {
			alarm(60);
			if (child_waits)
				_exit(fx(word, FUTEX_WAIT, 0, 0, NULL, 0) != 0);
			wakes(word);
			_exit(0);
		}
		EQ(join(start(child_waits ? wakes_thread : waits_once, word)), 0);
		EQ(reap(pid), 0);
	}
}

static void between(const char *what, void *memory) {
	between_at(what, memory, BYTES / 2);
}

static void *mapped(void *(*map)(void *, size_t, int, int, int, off_t)) {
	return map(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void *by_syscall(void *at, size_t bytes, int prot, int flags, int fd, off_t offset) {
	return (void *)syscall(SYS_mmap, at, bytes, prot, flags, fd, offset);
}

static void *of_a_file(void) {
	FILE *f = tmpfile();
	EQ(ftruncate(fileno(f), BYTES), 0);
	void *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
	fclose(f);
	return at;
}

static void *of_system_v(void) {
	int id = shmget(IPC_PRIVATE, BYTES, 0600);
	void *at = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	return at;
}

static void *on_a_thread(void *arg) {
	(void)arg;
	return mapped(by_syscall);
}

static void of_several(void) {
	void *v = NULL, *there;
	between("mmap", mapped(mmap));
	between("mremap", mremap(mapped(mmap), BYTES, LARGER, MREMAP_MAYMOVE));
	/* what was moved away from may be anybody's next */
	there = mmap(NULL, LARGER, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	between("mremap there", mremap(mapped(mmap), BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, there));
	between("by syscall()", mapped(by_syscall));
	pthread_join(start(on_a_thread, NULL), &v);
	between("by a thread's syscall()", v);
	between("a file", of_a_file());
	between("System V", of_system_v());
	/* a page is the least that is shared */
	between_at("few bytes", mmap(NULL, FEW, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 10 * FEW);
}

/* ---- that becomes shared ------------------------------------------------------------------------------------------------ */

/* Natively he waits for good who waits at what is mapped over. So he does under chaos, where it has refused to tell how large the segment of System V was: then nobody is
 * parked any more. */
static bool is_told(void) {
	const char *settings = getenv("GOSHIM");
	return getenv("LD_PRELOAD") && !(settings && strstr(settings, "chaos="));
}

/* Who waits where only this process can wake him, and then others can. */
static void comes_later(void) {
	uint32_t *shared = mapped(mmap), *word = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t = start(waits, word);
	while (waiting(word) < 1)
		usleep(100);
	printf("mapped over\n");
	fflush(stdout);
	EQ(mmap(word, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == word, true);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		for (*word = 1; is_told() && fx(word, FUTEX_WAKE, 1, 0, NULL, 0) == 0 && *shared == 0;)
			usleep(100);
		_exit(0);
	}
	if (is_told()) {
		join(t);
		*shared = 1;
	}
	EQ(reap(pid), 0);

	uint32_t own = 0;
	*shared = 0;
	t = start(waits_once, &own);
	while (waiting(&own) < 1)
		usleep(100);
	printf("requeued\n");
	fflush(stdout);
	EQ(fx(&own, FUTEX_CMP_REQUEUE, 0, 1, shared, 0), 1);
	pid = fork();
	if (pid == 0) {
		alarm(60);
		/* In our memory he may have been woken instead. */
		for (int woken = 0; !woken && __atomic_load_n(&shared[1], __ATOMIC_ACQUIRE) == 0; usleep(100))
			woken = (int)fx(shared, FUTEX_WAKE, 1, 0, NULL, 0);
		_exit(0);
	}
	EQ(join(t), 0);
	__atomic_store_n(&shared[1], 1, __ATOMIC_RELEASE);
	EQ(reap(pid), 0);
}

/* ---- woken by the kernel ------------------------------------------------------------------------------------------------ */

static uint32_t child_tid;
static char child_stack[65536] __attribute__((aligned(64)));

/* Long enough for the other to wait; nothing of libc's. */
static int spins(void *arg) {
	for (volatile int i = 0; i < 30000000; i++)
		;
	return arg != NULL;
}

static void *awaits_end(void *arg) {
	for (uint32_t tid; (tid = __atomic_load_n(&child_tid, __ATOMIC_ACQUIRE));)
		fx(&child_tid, FUTEX_WAIT, tid, 0, NULL, 0);
	return arg;
}

/* `arg`: one waits before there is anybody. */
static void *awaits_child(void *arg) {
	pthread_t t;
	child_tid = 1;
	if (arg) {
		t = start(awaits_end, NULL);
		while (fx(&child_tid, FUTEX_CMP_REQUEUE, 0, INT_MAX, &child_tid, 1) < 1)
			usleep(100);
	}
	pid_t pid = clone(spins, child_stack + sizeof child_stack, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL, &child_tid);
	CHECK(pid > 0);
	if (arg)
		join(t); /* the kernel wakes one */
	else
		awaits_end(NULL);
	EQ(reap(pid), 0);
	return NULL;
}

int main(void) {
	alarm(100);
	printf("one process\n");
	of_one_process();
	of_several();
	comes_later();
	printf("clone\n");
	fflush(stdout);
	join(start(awaits_child, &child_tid));
	join(start(awaits_child, NULL));
	printf(failures ? "FAILED\n" : "ok\n");
	return failures != 0;
}
