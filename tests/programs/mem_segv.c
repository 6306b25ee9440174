/* Genuine faults reach the program: wild pointers and stack overflow, in threads, with the right address, on the thread's alternate stack
 * (MEM-8, MEM-9, MEM-10); the thread is the faulting one; the others go on. And overflow hits the guard, not a neighbour (MEM-3). */
#include "sync_test.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

static __thread sigjmp_buf back;
static __thread char *fault_address;
static __thread int fault_code;
static __thread pthread_t expected;
static __thread bool on_altstack;

static void handler(int signal, siginfo_t *info, void *context) {
	stack_t ss;
	char local;
	(void)context;
	if (signal != SIGSEGV || !pthread_equal(expected, pthread_self()))
		_exit(3);
	sigaltstack(NULL, &ss);
	on_altstack = (ss.ss_flags & SS_ONSTACK) && &local >= (char *)ss.ss_sp && &local < (char *)ss.ss_sp + ss.ss_size;
	fault_address = info->si_addr;
	fault_code = info->si_code;
	siglongjmp(back, 1);
}

static void altstack_set(void) {
	stack_t ss = {.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};
	EQ(sigaltstack(&ss, NULL), 0);
	expected = pthread_self();
}

static void altstack_drop(void) {
	stack_t ss = {.ss_flags = SS_DISABLE}, old;
	EQ(sigaltstack(&ss, &old), 0);
	free(old.ss_sp);
}

static volatile char sink;

__attribute__((noinline)) static void touch(volatile char *p, bool write) {
	if (write)
		*p = 1;
	else
		sink = *p;
}

static void faults_at(char *p, bool write, int code) {
	fault_address = NULL;
	fault_code = 0;
	if (sigsetjmp(back, 1) == 0) {
		touch(p, write);
		CHECK(!"no fault");
	}
	CHECK(fault_address == p);
	EQ(fault_code, code);
	CHECK(on_altstack);
}

static char *readonly;

static void *wild(void *arg) {
	(void)arg;
	altstack_set();
	for (int i = 0; i < 10; i++) {
		faults_at((char *)16, true, SEGV_MAPERR);
		faults_at(readonly + 100, true, SEGV_ACCERR);
		if (i % 3 == 0)
			usleep(50);
		else
			sched_yield();
		faults_at((char *)0x123456789000, false, SEGV_MAPERR);
	}
	altstack_drop();
	return NULL;
}

static volatile int depth_max = 1 << 30;

__attribute__((noinline)) static int overflow(int n) {
	volatile char frame[1000];
	frame[0] = (char)n;
	return n < depth_max ? overflow(n + 1) + frame[0] : 0;
}

static void bounds(char **lo, char **hi, size_t *guard) {
	pthread_attr_t attr;
	void *p;
	size_t size;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &p, &size);
	pthread_attr_getguardsize(&attr, guard);
	*lo = p;
	*hi = *lo + size;
	pthread_attr_destroy(&attr);
}

static void *overflows(void *arg) {
	char *lo, *hi;
	size_t guard;
	altstack_set();
	bounds(&lo, &hi, &guard);
	for (int i = 0; i < 3; i++) {
		if (sigsetjmp(back, 1) == 0)
			overflow(0);
		CHECK(fault_address < lo && fault_address >= lo - guard);
		EQ(fault_code, SEGV_ACCERR);
		CHECK(on_altstack);
		sched_yield();
	}
	altstack_drop();
	(void)arg;
	return NULL;
}

static void *waits(void *barrier) {
	volatile char canary[2000];
	memset((char *)canary, 0x5c, sizeof canary);
	pthread_barrier_wait(barrier);
	for (size_t i = 0; i < sizeof canary; i++)
		CHECK(canary[i] == 0x5c);
	return NULL;
}

static pthread_t start_with(size_t size, size_t guard, void *(*f)(void *), void *arg) {
	pthread_attr_t attr;
	pthread_t t;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, size);
	pthread_attr_setguardsize(&attr, guard);
	EQ(pthread_create(&t, &attr, f, arg), 0);
	pthread_attr_destroy(&attr);
	return t;
}

int main(void) {
	test_begin();
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGSEGV, &sa, NULL);
	readonly = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t[20], neighbours[40];
	join(start(wild, NULL));
	step("wild");
	for (int i = 0; i < 20; i++)
		t[i] = start(wild, NULL);
	for (int i = 0; i < 20; i++)
		join(t[i]);
	EQ((long)wild(NULL), 0); /* main's */
	step("many wild");
	static const size_t guards[] = {4096, 65536, 1 << 20};
	for (int g = 0; g < 3; g++) {
		pthread_barrier_t barrier;
		pthread_barrier_init(&barrier, NULL, 41);
		for (int i = 0; i < 20; i++) {
			neighbours[i] = start_with(128 << 10, guards[g], waits, &barrier);
			t[i] = start_with(128 << 10, guards[g], overflows, NULL);
			neighbours[20 + i] = start_with(128 << 10, guards[g], waits, &barrier);
		}
		for (int i = 0; i < 20; i++)
			join(t[i]);
		pthread_barrier_wait(&barrier);
		for (int i = 0; i < 40; i++)
			join(neighbours[i]);
	}
	join(start(overflows, NULL));
	step("overflow");
	return test_end();
}
