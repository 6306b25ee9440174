/* Thread-local variables: a new thread has the initial image whatever the last owner of its identity left there (TLS-7), of any size and
 * alignment; addresses stay the same over waits; every thread has its own. */
#include "sync_test.h"

#include <stdint.h>

static __thread int initial = 12345;
static __thread int zero;
static __thread char large[20000] = {[0] = 'a', [19999] = 'z'};
static __thread char empty[20000];
static __thread _Alignas(256) struct {
	long values[8];
} aligned = {{1, 2, 3, 4, 5, 6, 7, 8}};
static __thread int *to_self;
__thread long global_one = 99;

/* Wrong values at the start of a thread. */
static long dirty(void) {
	long wrong = initial != 12345 || zero != 0 || large[0] != 'a' || large[19999] != 'z' || to_self || global_one != 99;
	wrong += (uintptr_t)&aligned % 256 != 0;
	for (int i = 1; i < 19999; i++)
		wrong += large[i] != 0;
	for (int i = 0; i < 20000; i++)
		wrong += empty[i] != 0;
	for (int i = 0; i < 8; i++)
		wrong += aligned.values[i] != i + 1;
	return wrong;
}

static void soil(int with) {
	initial = zero = with;
	global_one = with;
	memset(large, with, sizeof large);
	memset(empty, with, sizeof empty);
	memset(&aligned, with, sizeof aligned);
	to_self = &initial;
}

static void *thread(void *arg) {
	long wrong = dirty();
	int with = 1 + (int)(long)arg % 100;
	soil(with);
	for (int i = 0; i < 5; i++) {
		if (i == 3)
			usleep(50);
		else
			sched_yield();
		wrong += initial != with || zero != with || global_one != with || large[777] != with || empty[19998] != with ||
		         to_self != &initial;
	}
	return (void *)wrong;
}

int main(void) {
	static pthread_t t[200];
	long wrong = 0;
	test_begin();
	soil(7); /* main's are main's */
	for (int round = 0; round < 15; round++) {
		for (long i = 0; i < 200; i++)
			t[i] = start(thread, (void *)(i + round));
		for (int i = 0; i < 200; i++)
			wrong += join(t[i]);
	}
	for (long i = 0; i < 2000; i++)
		wrong += join(start(thread, (void *)i));
	EQ(wrong, 0);
	CHECK(initial == 7 && zero == 7 && large[3] == 7 && to_self == &initial);
	/* Detached ones go through their own exit. */
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (long i = 0; i < 1000; i++)
		EQ(pthread_create(&t[0], &attr, thread, (void *)i), 0);
	for (long i = 0; i < 500; i++)
		wrong += join(start(thread, (void *)i));
	EQ(wrong, 0);
	return test_end();
}
