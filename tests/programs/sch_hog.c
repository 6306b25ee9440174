/* Threads that never wait: endless loops, loops on a flag with and without sched_yield(), a held spin lock, four of them; all others get on,
 * on one CPU, too (SCH-3, SYN-18). */
#include "sync_test.h"

#include <semaphore.h>
#include <stdint.h>

static volatile bool stop, flag;
static _Atomic int running;

static void *spins(void *arg) {
	running++;
	while (!stop)
		;
	return arg;
}

static void *spins_on_flag(void *arg) {
	running++;
	while (!flag)
		;
	return arg;
}

static void *yields_on_flag(void *arg) {
	running++;
	while (!flag)
		sched_yield();
	return arg;
}

static void *sets_flag(void *arg) {
	flag = true;
	return arg;
}

static sem_t ping, pong;

static void *answers(void *arg) {
	for (int i = 0; i < 20; i++) {
		sem_wait(&ping);
		sem_post(&pong);
	}
	return arg;
}

static void *sleeps(void *arg) {
	for (int i = 0; i < 5; i++)
		usleep(1000);
	return arg;
}

static void *pipes(void *arg) {
	int fds[2];
	char c = 0;
	if (pipe(fds) != 0)
		return NULL;
	for (int i = 0; i < 20; i++) {
		if (write(fds[1], "x", 1) != 1 || read(fds[0], &c, 1) != 1)
			return NULL;
		sched_yield();
	}
	close(fds[0]);
	close(fds[1]);
	return arg;
}

/* Everything there is to do beside n endless loops. */
static void others_progress(int n) {
	pthread_t hog[8], t[10];
	stop = false;
	running = 0;
	for (int i = 0; i < n; i++)
		hog[i] = start(spins, NULL);
	while (running < n)
		sched_yield();
	t[0] = start(answers, NULL);
	t[1] = start(sleeps, NULL);
	t[2] = start(pipes, NULL);
	for (int i = 0; i < 20; i++) {
		sem_post(&ping);
		sem_wait(&pong);
	}
	for (int i = 0; i < 3; i++)
		join(t[i]);
	struct timespec ts = in_ms(CLOCK_REALTIME, 5);
	sem_t never;
	sem_init(&never, 0, 0);
	EQ(sem_timedwait(&never, &ts), -1);
	stop = true;
	for (int i = 0; i < n; i++)
		join(hog[i]);
}

/* All spin, one that comes last sets the flag. */
static void flags(void *(*f)(void *), int n) {
	pthread_t t[8];
	flag = false;
	running = 0;
	for (int i = 0; i < n; i++)
		t[i] = start(f, NULL);
	while (running < n)
		usleep(100);
	join(start(sets_flag, NULL));
	for (int i = 0; i < n; i++)
		join(t[i]);
}

/* main itself spins, until a thread that did not run yet lets it go. */
static void main_spins(bool yields) {
	flag = false;
	pthread_t t = start(sets_flag, NULL);
	while (!flag) {
		if (yields)
			sched_yield();
	}
	join(t);
}

/* A spin lock of the program's own, and libc's: the holder may lose the CPU. */
static _Atomic int word;
static pthread_spinlock_t spin;
static long counter, counter2;

static void *locks(void *arg) {
	for (int i = 0; i < 3000; i++) {
		int expected;
		do
			expected = 0;
		while (!__atomic_compare_exchange_n(&word, &expected, 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
		counter++;
		if (i % 1000 == 0)
			sched_yield(); /* with the lock held */
		__atomic_store_n(&word, 0, __ATOMIC_RELEASE);
		pthread_spin_lock(&spin);
		counter2++;
		if (i % 1000 == 500)
			usleep(20);
		pthread_spin_unlock(&spin);
	}
	return arg;
}

int main(void) {
	test_begin();
	sem_init(&ping, 0, 0);
	sem_init(&pong, 0, 0);
	others_progress(1);
	step("one hog");
	others_progress(4);
	step("four hogs");
	flags(spins_on_flag, 1);
	flags(spins_on_flag, 4);
	step("spins on a flag");
	flags(yields_on_flag, 1);
	flags(yields_on_flag, 8);
	step("yields on a flag");
	for (int i = 0; i < 20; i++)
		main_spins(false);
	step("main spins");
	for (int i = 0; i < 200; i++)
		main_spins(true);
	step("main yields");
	pthread_t t[8];
	pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
	for (int i = 0; i < 8; i++)
		t[i] = start(locks, NULL);
	for (int i = 0; i < 8; i++)
		join(t[i]);
	EQ(counter, 24000);
	EQ(counter2, 24000);
	step("spin locks");
	return test_end();
}
