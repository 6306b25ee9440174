/* C11 mutexes, condition variables and call_once, with POSIX threads and with C11's. */
#include <threads.h>

#include "sync_test.h"

static mtx_t m;
static cnd_t c;
static int turn, once_runs;
static once_flag flag = ONCE_FLAG_INIT;

static struct timespec utc_in_ms(long ms) {
	return in_ms(CLOCK_REALTIME, ms);
}

static int locked_elsewhere(void *arg) {
	struct timespec ts = utc_in_ms(20);
	(void)arg;
	EQ(mtx_trylock(&m), thrd_busy);
	EQ(mtx_timedlock(&m, &ts), thrd_timedout);
	return 7;
}

static void *locked_elsewhere_posix(void *arg) {
	return (void *)(long)locked_elsewhere(arg);
}

static void results(int type) {
	printf("type %d\n", type);
	EQ(mtx_init(&m, type), thrd_success);
	EQ(mtx_lock(&m), thrd_success);
	thrd_t t;
	int v = 0;
	EQ(thrd_create(&t, locked_elsewhere, NULL), thrd_success);
	EQ(thrd_join(t, &v), thrd_success);
	EQ(v, 7);
	EQ(join(start(locked_elsewhere_posix, NULL)), 7);
	struct timespec ts = utc_in_ms(10);
	if (type & mtx_recursive) {
		EQ(mtx_trylock(&m), thrd_success);
		EQ(mtx_timedlock(&m, &ts), thrd_success);
		EQ(mtx_unlock(&m), thrd_success);
		EQ(mtx_unlock(&m), thrd_success);
	} else {
		EQ(mtx_trylock(&m), thrd_busy);
		EQ(mtx_timedlock(&m, &ts), thrd_timedout);
	}
	EQ(mtx_unlock(&m), thrd_success);
	if (type & mtx_recursive)
		EQ(mtx_unlock(&m), thrd_error);
	mtx_destroy(&m);
}

static int play(void *arg) {
	int me = arg != NULL;
	for (int i = 0; i < 500; i++) {
		EQ(mtx_lock(&m), thrd_success);
		while (turn != me)
			EQ(cnd_wait(&c, &m), thrd_success);
		turn = !me;
		EQ(me ? cnd_signal(&c) : cnd_broadcast(&c), thrd_success);
		EQ(mtx_unlock(&m), thrd_success);
	}
	return 0;
}

static void once_routine(void) {
	once_runs++;
}

static int once_caller(void *arg) {
	(void)arg;
	call_once(&flag, once_routine);
	EQ(once_runs, 1);
	return 0;
}

int main(void) {
	test_begin();
	results(mtx_plain);
	results(mtx_timed);
	results(mtx_plain | mtx_recursive);
	results(mtx_timed | mtx_recursive);
	EQ(mtx_init(&m, mtx_plain), thrd_success);
	EQ(cnd_init(&c), thrd_success);
	thrd_t t[4];
	EQ(thrd_create(&t[0], play, &m), thrd_success);
	play(NULL);
	EQ(thrd_join(t[0], NULL), thrd_success);
	struct timespec ts = utc_in_ms(20), bad = {1, -1};
	EQ(mtx_lock(&m), thrd_success);
	EQ(cnd_timedwait(&c, &m, &ts), thrd_timedout);
	EQ(cnd_timedwait(&c, &m, &bad), thrd_error);
	EQ(mtx_unlock(&m), thrd_success);
	cnd_destroy(&c);
	mtx_destroy(&m);
	for (int i = 0; i < 4; i++)
		EQ(thrd_create(&t[i], once_caller, NULL), thrd_success);
	for (int i = 0; i < 4; i++)
		EQ(thrd_join(t[i], NULL), thrd_success);
	return test_end();
}
