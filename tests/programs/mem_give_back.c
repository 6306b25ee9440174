/* Memory that threads needed for a while comes back (MEM-15): of 300 that were 512 KiB deep and now wait, all but what they still use; of those that ended, all
 * but a few. What they had below their stack pointers is gone, what is above is as it was, and they can go deep again. So it is while they are
 * woken all the time, and where the wait is on an alternate signal stack that lies within the thread's own: there nothing may be taken away, as
 * live frames are below. */
#include "sync_test.h"

#include <signal.h>

enum { N = 300, PAGES = 128 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER, changed = PTHREAD_COND_INITIALIZER;
static int waiting, stop;

static long rss_mib(void) {
	return (long)(process_bytes().resident >> 20);
}

__attribute__((noinline)) static long deep(int pages, void (*at_bottom)(void)) {
	volatile char frame[4000];
	memset((char *)frame, pages, sizeof frame);
	long sum = 0;
	if (pages)
		sum = deep(pages - 1, at_bottom);
	else if (at_bottom)
		at_bottom();
	for (size_t i = 0; i < sizeof frame; i++)
		sum += frame[i] != (char)pages;
	return sum;
}

static void *waits(void *arg) {
	char canary[3000];
	memset(canary, 0x5a, sizeof canary);
	long wrong = deep(PAGES, NULL);
	pthread_mutex_lock(&mutex);
	waiting++;
	pthread_cond_signal(&changed);
	while (!stop)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	for (size_t i = 0; i < sizeof canary; i++)
		wrong += canary[i] != 0x5a;
	(void)arg;
	return (void *)(wrong + deep(PAGES, NULL));
}

static void wait_in_handler(int signal) {
	(void)signal;
	pthread_mutex_lock(&mutex);
	waiting++;
	pthread_cond_signal(&changed);
	while (!stop)
		pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void raise_it(void) {
	raise(SIGUSR1);
}

static void *waits_above_live_frames(void *arg) {
	char stack[65536];
	stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
	EQ(sigaltstack(&alt, NULL), 0);
	long wrong = deep(PAGES, raise_it);
	alt.ss_flags = SS_DISABLE;
	EQ(sigaltstack(&alt, NULL), 0);
	(void)arg;
	return (void *)wrong;
}

static _Atomic long rounds;

/* Sleeps about as long as it takes to be looked at. */
static void *comes_and_goes(void *arg) {
	unsigned seed = (unsigned)(long)arg;
	long wrong = 0;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		wrong += deep(PAGES, NULL);
		usleep(900000 + rand_r(&seed) % 200000);
		rounds++;
	}
	return (void *)wrong;
}

static void await(int n) {
	pthread_mutex_lock(&mutex);
	while (waiting < n)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void release(void) {
	pthread_mutex_lock(&mutex);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
}

/* For ever, if it does not happen: the watchdog reports that. */
static void await_rss(long mib) {
	while (rss_mib() > mib)
		usleep(50000);
}

int main(void) {
	static pthread_t t[N], busy[40], above[10];
	struct sigaction sa = {.sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK};
	alarm(100);
	sigaction(SIGUSR1, &sa, NULL);
	long before = rss_mib();
	for (int i = 0; i < N; i++)
		t[i] = start(waits, NULL);
	await(N);
	for (int i = 0; i < 10; i++)
		above[i] = start(waits_above_live_frames, NULL);
	await(N + 10);
	for (long i = 0; i < 40; i++)
		busy[i] = start(comes_and_goes, (void *)i);
	await_rss(before + 60); /* ... with what the fifty others keep */
	step("parked");
	release();
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	for (int i = 0; i < 10; i++)
		EQ(join(above[i]), 0);
	for (int i = 0; i < 40; i++)
		EQ(join(busy[i]), 0);
	CHECK(rounds > 0);
	step("intact");
	await_rss(before + 10);
	step("ended");
	return test_end();
}
