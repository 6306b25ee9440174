/* A thread that is ending because of a request is not ended once more by a request that it meets on the way, before libc has begun to unwind: libc may have
 * to load the unwinder first, and a cancellation point in the program's malloc() is then one too many; a signal that was under way finds the same (CAN-2). */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);

static _Thread_local int ending; /* 1: the next allocation is a cancellation point */
static _Atomic int met;
static int ways, unwound, fds[2];

static void cancellation_points(void) {
	char c;
	met++;
	usleep(1);
	if (read(fds[0], &c, 1) != 1)
		puts("no byte");
	pthread_testcancel();
}

void *malloc(size_t size) {
	if (ending) {
		ending = 0;
		cancellation_points();
	}
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
	if (ending) {
		ending = 0;
		cancellation_points();
	}
	return __libc_calloc(n, size);
}

static void cleanup(void *arg) {
	ending = 0;
	unwound++;
	*(int *)arg += 1;
}

static void *ends(void *arg) {
	int own = 0;
	char c;
	pthread_cleanup_push(cleanup, &own);
	ways = (int)(long)arg;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cancel(pthread_self());
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	ending = 1;
	if (ways == 0)
		sleep(1);
	else if (read(fds[0], &c, 1) == 1)
		puts("took a byte");
	pthread_cleanup_pop(0);
	puts("not cancelled");
	return NULL;
}

int main(void) {
	alarm(60);
	if (pipe(fds) != 0 || write(fds[1], "12345678", 8) != 8)
		return 1;
	for (long way = 0; way < 2; way++) {
		pthread_t t;
		void *result;
		pthread_create(&t, NULL, ends, (void *)way);
		pthread_join(t, &result);
		printf("%s, unwound %d\n", result == PTHREAD_CANCELED ? "cancelled" : "returned", unwound);
	}
	fprintf(stderr, "met %d\n", met);
	return 0;
}
