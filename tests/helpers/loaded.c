/* Everything at once, for as long as standard input is open: sleepers, timed waits, echoes over sockets, a mutex that all want, computing threads, threads that
 * come and go. Prints "ready" and its pid, at the end "all done" when everybody did something and came back; a timer or a wake-up that is lost is
 * a hang. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EACH 8

static _Atomic int stop;
static pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;
static long counted, kept[4 * EACH];
static _Atomic long done;

static void *sleeper(void *arg) {
	unsigned seed = (unsigned)(long)arg;
	long rounds = 0;
	for (; !stop; rounds++) {
		struct timespec ts = {0, 100000 * (1 + rand_r(&seed) % 50)};
		if (nanosleep(&ts, NULL) != 0)
			abort();
	}
	done += rounds > 0;
	return NULL;
}

static void *waiter(void *arg) {
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	long rounds = 0;
	pthread_mutex_lock(&m);
	for (; !stop; rounds++) {
		struct timespec ts;
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += 2000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		int r;
		while ((r = pthread_cond_timedwait(&c, &m, &ts)) == 0)
			continue;
		if (r != ETIMEDOUT)
			abort();
	}
	pthread_mutex_unlock(&m);
	done += rounds > 0;
	return arg;
}

static void *echo(void *arg) {
	int fd = (int)(long)arg;
	char byte;
	while (read(fd, &byte, 1) == 1) {
		if (write(fd, &byte, 1) != 1)
			abort();
	}
	close(fd);
	done++;
	return NULL;
}

static void *client(void *arg) {
	int fd = (int)(long)arg;
	long rounds = 0;
	for (; !stop; rounds++) {
		char byte = (char)rounds, back;
		if (write(fd, &byte, 1) != 1 || read(fd, &back, 1) != 1 || byte != back)
			abort();
	}
	close(fd);
	done += rounds > 0;
	return NULL;
}

static void *locker(void *arg) {
	long *mine = arg;
	while (!stop) {
		pthread_mutex_lock(&shared);
		counted++;
		pthread_mutex_unlock(&shared);
		++*mine;
	}
	done += *mine > 0;
	return NULL;
}

static void *nothing(void *arg) {
	return arg;
}

static void *creator(void *arg) {
	long rounds = 0;
	for (; !stop; rounds++) {
		pthread_t t;
		void *result;
		if (pthread_create(&t, NULL, nothing, &rounds) != 0 || pthread_join(t, &result) != 0 || result != &rounds)
			abort();
	}
	done += rounds > 0;
	return arg;
}

static void *computer(void *arg) {
	volatile long x = 1;
	while (!stop) {
		for (int i = 0; i < 100000; i++)
			x = x * 3 + 1;
	}
	done++;
	return arg;
}

int main(void) {
	pthread_t t[6 * EACH + 2];
	int n = 0;
	char byte;
	for (long i = 0; i < EACH; i++) {
		int pair[2];
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
			return 1;
		pthread_create(&t[n++], NULL, sleeper, (void *)i);
		pthread_create(&t[n++], NULL, waiter, NULL);
		pthread_create(&t[n++], NULL, echo, (void *)(long)pair[0]);
		pthread_create(&t[n++], NULL, client, (void *)(long)pair[1]);
		pthread_create(&t[n++], NULL, locker, &kept[i]);
		pthread_create(&t[n++], NULL, creator, NULL);
	}
	for (int i = 0; i < 2; i++)
		pthread_create(&t[n++], NULL, computer, NULL);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	stop = 1;
	long sum = 0;
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < EACH; i++)
		sum += kept[i];
	printf("%s, %ld of %d\n", sum == counted ? "all done" : "the mutex let two in", (long)done, n);
	return 0;
}
