/* A thread that joins the one that joins it waits for ever, unless it has cancelled that one; a thread that joins itself is told, unless it is to end. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

static pthread_t main_thread;

static void *join_main(void *arg) {
	*(int *)arg = pthread_join(main_thread, NULL);
	return NULL;
}

static void *join_self(void *arg) {
	(void)arg;
	pthread_cancel(pthread_self());
	printf("join of itself: %d\n", pthread_join(pthread_self(), NULL));
	return NULL;
}

static void *join_self_plainly(void *arg) {
	(void)arg;
	printf("join of itself is %sEDEADLK\n", pthread_join(pthread_self(), NULL) == EDEADLK ? "" : "not ");
	return NULL;
}

int main(void) {
	pthread_t thread;
	void *result;
	int theirs = -1;
	main_thread = pthread_self();

	int wrong = 0;
	for (int i = 0; i < 200; i++) {
		pthread_create(&thread, NULL, join_main, &theirs);
		if (i % 2)
			sched_yield();
		pthread_cancel(thread);
		wrong += pthread_join(thread, &result) != 0 || result != PTHREAD_CANCELED;
	}
	printf("%d wrong\n", wrong);

	pthread_create(&thread, NULL, join_self, NULL);
	pthread_join(thread, &result);
	printf("%s\n", result == PTHREAD_CANCELED ? "cancelled" : "returned");
	pthread_create(&thread, NULL, join_self_plainly, NULL);
	pthread_join(thread, &result);
	return 0;
}
