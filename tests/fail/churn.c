/* Many threads alive at once, then gone: stacks, TCBs and the lists of dead ones grow and shrink under refused calls. */
#include <semaphore.h>

#include "fail_test.h"

enum { THREADS = 1500, ROUNDS = 3 };

static sem_t go;
static __thread int mine;

static void *wait_once(void *arg) {
	CHECK(mine == 0);
	mine = 1;
	while (sem_wait(&go) != 0)
		CHECK(errno == EINTR);
	return arg;
}

static void round_once(void) {
	static pthread_t t[THREADS];
	sem_init(&go, 0, 0);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(wait_once, (void *)i);
	for (long i = 0; i < THREADS; i++)
		sem_post(&go);
	for (long i = 0; i < THREADS; i++)
		CHECK(join(t[i]) == (void *)i);
}

int main(void) {
	rounds(ROUNDS, round_once);
	return 0;
}
