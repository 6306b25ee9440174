/* Threads that do little but switch, and a signal that may come at any instruction of it. Each looks after every switch whether it is still itself: its thread
 * local variables, errno, rounding mode and the registers that a call must keep. So does the handler, and whether it is on its thread's stack.
 *
 *     switches N     ends when N signals were handled: "handled N, wrong 0". Stops at a breakpoint of its own once its threads run: for a tracer. */
#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { YIELDERS = 2, PARTNERS = 2, SLEEPER = YIELDERS + PARTNERS, THREADS };
static __thread int me = -1;
static struct {
	pthread_t id;
	char *lowest, *top;
} self[THREADS];
static sem_t turn[PARTNERS];
static pthread_barrier_t started;
static int wanted, handled, wrong, stop;

static void expect(int ok) {
	if (!ok)
		__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static void handler(int sig) {
	int saved = errno;
	char here;
	sigset_t mask;
	expect(me >= 0 && me < THREADS && pthread_equal(self[me].id, pthread_self()));
	expect(me >= 0 && &here >= self[me].lowest && &here < self[me].top);
	expect(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0 && sigismember(&mask, sig) == 1);
	expect(close(-1) == -1 && errno == EBADF);
	if (__atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST) == wanted)
		__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	errno = saved;
}

/* Calls f with a value in each register that it must keep. */
static void keeps(int (*f)(void)) {
#if defined(__x86_64__)
	long base = me * 1000 + 1, off;
	__asm__ volatile("sub $128, %%rsp\n\tpush %%rbp\n\t"
	                 "lea 1(%[base]), %%rbp\n\tlea 2(%[base]), %%r12\n\tlea 3(%[base]), %%r13\n\tlea 4(%[base]), %%r14\n\tlea 5(%[base]), %%r15\n\t"
	                 "mov %%rsp, %%rax\n\tand $-16, %%rsp\n\tpush %%rax\n\tpush %%rax\n\tcall *%[f]\n\tpop %%rsp\n\t"
	                 "lea 1(%[base]), %%rax\n\tsub %%rbp, %%rax\n\t"
	                 "lea 2(%[base]), %%rcx\n\tsub %%r12, %%rcx\n\tor %%rcx, %%rax\n\t"
	                 "lea 3(%[base]), %%rcx\n\tsub %%r13, %%rcx\n\tor %%rcx, %%rax\n\t"
	                 "lea 4(%[base]), %%rcx\n\tsub %%r14, %%rcx\n\tor %%rcx, %%rax\n\t"
	                 "lea 5(%[base]), %%rcx\n\tsub %%r15, %%rcx\n\tor %%rcx, %%rax\n\t"
	                 "pop %%rbp\n\tadd $128, %%rsp"
	                 : "=&a"(off)
	                 : [base] "b"(base), [f] "D"(f)
	                 : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	expect(off == 0);
#else
	f();
#endif
}

static int take_turn(void) {
	int partner = me - YIELDERS;
	while (sem_wait(&turn[partner]) != 0)
		continue;
	return sem_post(&turn[!partner]);
}

static int nap(void) {
	return usleep(20);
}

static void *thread(void *arg) {
	static const int rounding[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO, FE_DOWNWARD};
	int (*const switches)(void) = (long)arg < YIELDERS ? sched_yield : (long)arg < SLEEPER ? take_turn : nap;
	pthread_attr_t attr;
	void *stack;
	size_t size;
	sigset_t set;
	me = (int)(long)arg;
	self[me].id = pthread_self();
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &stack, &size);
	self[me].lowest = stack;
	self[me].top = self[me].lowest + size;
	fesetround(rounding[me]);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	pthread_barrier_wait(&started);
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		errno = 1000 + (int)(long)arg;
		keeps(switches);
		expect(me == (int)(long)arg && pthread_equal(pthread_self(), self[(long)arg].id));
		expect(errno == 1000 + (int)(long)arg || errno == EINTR);
		expect(fegetround() == rounding[(long)arg]);
	}
	if (me >= YIELDERS && me < SLEEPER)
		sem_post(&turn[!(me - YIELDERS)]);
	return NULL;
}

static void too_late(int sig) {
	char text[64];
	(void)sig;
	write(1, text, (size_t)snprintf(text, sizeof text, "handled only %d, wrong %d\n", handled, wrong));
	_exit(1);
}

int main(int argc, char **argv) {
	pthread_t t[THREADS];
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigset_t set;
	wanted = argc > 1 ? atoi(argv[1]) : 1;
	signal(SIGALRM, too_late);
	alarm(40);
	sigaction(SIGRTMIN + 3, &sa, NULL);
	sigemptyset(&set); /* for the threads: what comes at main would be main's */
	sigaddset(&set, SIGRTMIN + 3);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sem_init(&turn[0], 0, 1);
	sem_init(&turn[1], 0, 0);
	pthread_barrier_init(&started, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, thread, (void *)i);
	pthread_barrier_wait(&started);
	raise(SIGTRAP); /* the tracer takes it */
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	printf("handled %d, wrong %d\n", handled, wrong);
	return 0;
}
