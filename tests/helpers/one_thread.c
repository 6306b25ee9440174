/* Creates four threads and joins them; prints "goroutines" if none of them had a kernel thread of its own, else "kernel threads".
 * Arguments after the first: exit status. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_barrier_t barrier;

/* The number that libc says is the kernel's only on a kernel thread: a goroutine's is larger than any that it gives (PID_MAX_LIMIT). */
static void *thread(void *known) {
	*(int *)known = gettid() <= 4 << 20;
	pthread_barrier_wait(&barrier);
	return NULL;
}

int main(int argc, char **argv) {
	pthread_t threads[4];
	int known[4], count = 0;
	pthread_barrier_init(&barrier, NULL, 4);
	for (int i = 0; i < 4; i++) {
		if (pthread_create(&threads[i], NULL, thread, &known[i]) != 0)
			return 99;
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		count += known[i];
	}
	puts(count == 0 ? "goroutines" : count == 4 ? "kernel threads" : "mixed");
	return argc > 1 ? atoi(argv[1]) : 0;
}
