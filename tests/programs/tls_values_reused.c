/* Thread-specific data of keys that are made when threads are there already: a thread makes them and has values in each of the places that libc has for them; the
 * next ones, on the same stack, begin without any (TLS-7). In a fork's child the stack is that of a thread that has not ended. */
#include <sys/wait.h>

#include "sync_test.h"

enum { KEYS = 100 };
static pthread_key_t keys[KEYS];
static sem_t made, end;

static void *makes(void *arg) {
	for (int i = 0; i < KEYS; i++)
		EQ(pthread_key_create(&keys[i], NULL), 0);
	for (int i = 0; i < KEYS; i++)
		EQ(pthread_setspecific(keys[i], arg), 0);
	sem_post(&made);
	sem_take(&end);
	return NULL;
}

static void *has(void *arg) {
	long left = 0, first = (long)arg % 3 * 20;
	for (int i = 0; i < KEYS; i++)
		left += pthread_getspecific(keys[i]) != NULL;
	EQ(left, 0);
	for (long i = first; i < KEYS; i += 3)
		EQ(pthread_setspecific(keys[i], arg), 0);
	for (long i = 0; i < KEYS; i++)
		CHECK(pthread_getspecific(keys[i]) == (i >= first && (i - first) % 3 == 0 ? arg : NULL));
	return NULL;
}

int main(void) {
	pthread_t t[8], maker;
	int status = -1;
	test_begin();
	sem_init(&made, 0, 0);
	sem_init(&end, 0, 0);
	maker = start(makes, &keys);
	sem_take(&made);
	pid_t pid = fork();
	if (pid == 0) {
		for (long i = 1; i <= 5; i++)
			EQ(join(start(has, (void *)i)), 0);
		exit(failures != 0);
	}
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
	sem_post(&end);
	EQ(join(maker), 0);
	for (long i = 1; i <= 50; i++)
		EQ(join(start(has, (void *)i)), 0);
	for (long round = 0; round < 20; round++) {
		for (long i = 0; i < 8; i++)
			t[i] = start(has, (void *)(i + 1));
		for (int i = 0; i < 8; i++)
			EQ(join(t[i]), 0);
	}
	return test_end();
}
