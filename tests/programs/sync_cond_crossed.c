/* Broadcasts by who does not hold the mutex, while others come and go: at the same time as another broadcast and as new waits (SYN-3), and in a condition variable
 * that is used with one mutex after the other. */
#include <signal.h>

#include "sync_test.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

/* ---- one works, the others wait ---- */

enum { WORKERS = 8, TURNS = 150 };
static bool busy, ending;
static FILE *null;

/* Each that ends broadcasts, and so wakes all that wait. */
static void *works(void *arg) {
	bool again = true;
	while (again) {
		pthread_mutex_lock(&lock);
		while (busy && !ending)
			pthread_cond_wait(&cond, &lock);
		busy = true;
		pthread_mutex_unlock(&lock);
		fputc('.', null);
		pthread_mutex_lock(&lock);
		busy = false;
		again = !ending;
		pthread_mutex_unlock(&lock);
		pthread_cond_broadcast(&cond);
	}
	return arg;
}

static void one_works(void) {
	step("one works");
	null = fopen("/dev/null", "w");
	for (int turn = 0; turn < TURNS; turn++) {
		pthread_t t[WORKERS];
		busy = ending = false;
		for (int i = 0; i < WORKERS; i++)
			t[i] = start(works, NULL);
		usleep(1000);
		pthread_mutex_lock(&lock);
		ending = true;
		pthread_mutex_unlock(&lock);
		for (int i = 0; i < WORKERS; i++)
			join(t[i]);
	}
	fclose(null);
}

/* ---- one mutex after the other ---- */

enum { SECOND = 3, ROUNDS = 20, HELD_MS = 100 };
static pthread_mutex_t second = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool goes_on, first_over, broadcasts_over;
static int second_waiting;
static bool second_told;

/* Interrupts a broadcast, for as long as the main thread needs to change the mutex; or until it may be waiting for that broadcast itself. */
static void on_signal(int sig) {
	long long t0 = now_ns(CLOCK_MONOTONIC);
	(void)sig;
	while (!goes_on && now_ns(CLOCK_MONOTONIC) - t0 < HELD_MS * 1000000LL)
		continue;
}

static void *broadcasts(void *arg) {
	while (!broadcasts_over)
		pthread_cond_broadcast(&cond);
	return arg;
}

static void *waits_first(void *arg) {
	pthread_mutex_lock(&lock);
	while (!first_over) {
		struct timespec ts = in_ms(CLOCK_REALTIME, 1000);
		pthread_cond_timedwait(&cond, &lock, &ts);
	}
	pthread_mutex_unlock(&lock);
	return arg;
}

static void *waits_second(void *arg) {
	pthread_mutex_lock(&second);
	second_waiting++;
	while (!second_told)
		pthread_cond_wait(&cond, &second);
	pthread_mutex_unlock(&second);
	return arg;
}

static void two_mutexes(void) {
	step("two mutexes");
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &sa, NULL);
	for (int round = 0; round < ROUNDS; round++) {
		goes_on = first_over = broadcasts_over = second_told = false;
		second_waiting = 0;
		pthread_t a = start(waits_first, NULL), b = start(broadcasts, NULL), t[SECOND];
		usleep(200);
		pthread_kill(b, SIGUSR1);
		usleep(300);
		first_over = true;
		pthread_mutex_lock(&lock);
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&lock);
		join(a); /* with the first one */
		for (int i = 0; i < SECOND; i++)
			t[i] = start(waits_second, NULL);
		for (bool all = false; !all; usleep(50)) {
			pthread_mutex_lock(&second);
			all = second_waiting == SECOND;
			pthread_mutex_unlock(&second);
		}
		broadcasts_over = goes_on = true;
		join(b);
		pthread_mutex_lock(&second);
		second_told = true;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&second);
		for (int i = 0; i < SECOND; i++)
			join(t[i]);
	}
}

/* ---- cancelled in one for several processes, with a mutex for one ---- */

static pthread_mutex_t checked;
static pthread_cond_t shared;
static bool waits;
static volatile bool held;

static void unlocks(void *arg) {
	(void)arg;
	CHECK(!held);
	EQ(pthread_mutex_unlock(&checked), 0);
}

static void *cancelled(void *arg) {
	pthread_mutex_lock(&checked);
	waits = true;
	pthread_cleanup_push(unlocks, NULL);
	for (;;)
		pthread_cond_wait(&shared, &checked);
	pthread_cleanup_pop(0);
	return arg;
}

static void cancellation(void) {
	step("cancellation");
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&checked, &ma);
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&shared, &ca);
	pthread_t t = start(cancelled, NULL);
	for (bool there = false; !there; usleep(1000)) {
		pthread_mutex_lock(&checked);
		there = waits;
		pthread_mutex_unlock(&checked);
	}
	pthread_mutex_lock(&checked);
	held = true;
	pthread_cancel(t);
	usleep(50000);
	held = false;
	EQ(pthread_mutex_unlock(&checked), 0);
	EQ(join(t), (long)PTHREAD_CANCELED);
}

int main(void) {
	test_begin();
	one_works();
	two_mutexes();
	cancellation();
	return test_end();
}
