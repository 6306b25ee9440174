/* A function with several implementations: the loader asks the program's resolver which, before any constructor has run, and the resolver calls libc
 * (INT-6). Everything is bound at once. */
#include "sync_test.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int calls;

static int implementation(void) {
	return calls;
}

__attribute__((used)) static int (*resolve(void))(void) {
	pthread_mutex_lock(&mutex);
	calls++;
	pthread_mutex_unlock(&mutex);
	calls += getpid() > 1;
	calls += read(-1, &calls, 0) == -1;
	calls += pthread_equal(pthread_self(), pthread_self()) != 0;
	usleep(1);
	return implementation;
}

int chosen(void) __attribute__((ifunc("resolve")));

static void *thread(void *arg) {
	*(int *)arg = chosen();
	return NULL;
}

int main(void) {
	int n = 0;
	test_begin();
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	join(start(thread, &n));
	EQ(n, 4);
	return test_end();
}
