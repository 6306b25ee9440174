/* A thread's CPU clock, taken when the thread is made and read once, when it has worked: what it used in between is there (TIM-5). */
#include "sync_test.h"

#define MS 1000000LL

static sem_t go, worked, read_it;

/* Asks for no thread's clock itself. */
static void *works(void *arg) {
	sem_take(&go);
	long long until = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 60 * MS;
	while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < until)
		;
	sem_post(&worked);
	sem_take(&read_it);
	return arg;
}

int main(void) {
	clockid_t clock;
	test_begin();
	sem_init(&go, 0, 0);
	sem_init(&worked, 0, 0);
	sem_init(&read_it, 0, 0);
	pthread_t t = start(works, NULL);
	EQ(pthread_getcpuclockid(t, &clock), 0);
	sem_post(&go);
	sem_take(&worked);
	CHECK(now_ns(clock) >= 40 * MS);
	sem_post(&read_it);
	join(t);
	return test_end();
}
