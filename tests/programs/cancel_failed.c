/* A cancellation comes before the call that it meets fails: the thread ends, and never sees the failure. The canceller closes the other end of
 * a pipe right after pthread_cancel(), so that the writer is on its way in, in between two parts, or parked. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define ROUNDS 1000

static _Atomic int started;

static void *writer(void *arg) {
	static const char bytes[100000]; /* more than a pipe holds */
	started = 1;
	while (write(*(int *)arg, bytes, sizeof bytes) > 0)
		;
	return NULL;
}

static void *reader(void *arg) {
	char byte;
	while (read(*(int *)arg, &byte, 1) >= 0)
		;
	return NULL;
}

int main(void) {
	int wrong = 0;
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < ROUNDS; i++) {
		int ends[2], none = -1;
		pthread_t w, r;
		void *wrote, *did_read;
		if (pipe(ends) != 0)
			return 1;
		started = 0;
		pthread_create(&w, NULL, writer, &ends[1]);
		while (i % 3 && !started)
			if (i % 3 == 1)
				sched_yield();
		pthread_cancel(w);
		close(ends[0]);
		pthread_join(w, &wrote);
		close(ends[1]);
		wrong += wrote != PTHREAD_CANCELED;

		/* Fails without a canceller: it must not be taken for cancelled. */
		pthread_create(&r, NULL, reader, &none);
		pthread_join(r, &did_read);
		wrong += did_read != NULL;
	}
	printf("%d wrong\n", wrong);
	return 0;
}
