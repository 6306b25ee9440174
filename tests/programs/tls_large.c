/* A megabyte of thread-local variables: part of the stack's size, as in NPTL, so small stacks are refused; all others have it, initialised. */
#include "sync_test.h"

static __thread char large[1 << 20] = {[0] = 1, [1000] = 2, [(1 << 20) - 1] = 3};
static __thread char empty[300 << 10];

static void *thread(void *arg) {
	long sum = 0;
	for (size_t i = 0; i < sizeof large; i++)
		sum += large[i];
	for (size_t i = 0; i < sizeof empty; i += 10)
		sum += empty[i];
	memset(large, 7, sizeof large);
	memset(empty, 8, sizeof empty);
	usleep(100);
	(void)arg;
	return (void *)sum;
}

int main(void) {
	pthread_attr_t attr;
	pthread_t t[20];
	test_begin();
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 20; i++)
			t[i] = start(thread, NULL);
		for (int i = 0; i < 20; i++)
			EQ(join(t[i]), 6);
	}
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, 64 << 10), 0);
	EQ(pthread_create(&t[0], &attr, thread, NULL), EINVAL);
	EQ(pthread_attr_setstacksize(&attr, 1300 << 10), 0);
	EQ(pthread_create(&t[0], &attr, thread, NULL), EINVAL);
	EQ(pthread_attr_setstacksize(&attr, 1500 << 10), 0);
	for (int i = 0; i < 20; i++)
		EQ(pthread_create(&t[i], &attr, thread, NULL), 0);
	for (int i = 0; i < 20; i++)
		EQ(join(t[i]), 6);
	char *own = malloc(2 << 20);
	EQ(pthread_attr_setstack(&attr, own, 1 << 20), 0);
	EQ(pthread_create(&t[0], &attr, thread, NULL), EINVAL);
	EQ(pthread_attr_setstack(&attr, own, 2 << 20), 0);
	EQ(pthread_create(&t[0], &attr, thread, NULL), 0);
	EQ(join(t[0]), 6);
	free(own);
	return test_end();
}
