/*
 * Questions of "how many" and "does it stay so", asked by a plain program that knows of no library but libc.
 *
 *	idle park N     N threads with default attributes wait on one condition variable. Prints "HOLD made" once all
 *	                wait, so that whoever started it can look at the process; after a line on stdin all are woken
 *	                and joined, each result checked.
 *	idle churn N    N times create and join. Prints "RSS done kib" ten times.
 *	idle single     single-threaded: a few thousand ordinary calls between two marks that a syscall trace can find
 *	                (write to descriptor -1).
 *
 * The last line is one of JSON (not for single). Status 0 if every thread that was made came back with the right
 * result.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RSS_SAMPLES = 10, SINGLE_ROUNDS = 500 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t parked, wake;
	long waiting;
	bool awake;
} lot = {.lock = PTHREAD_MUTEX_INITIALIZER, .parked = PTHREAD_COND_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void *park_main(void *arg) {
	pthread_mutex_lock(&lot.lock);
	lot.waiting++;
	pthread_cond_signal(&lot.parked);
	while (!lot.awake)
		pthread_cond_wait(&lot.wake, &lot.lock);
	pthread_mutex_unlock(&lot.lock);
	return (char *)arg + 1;
}

static bool join_checked(pthread_t thread, long expected) {
	void *result = NULL;
	int error = pthread_join(thread, &result);
	if (error)
		fprintf(stderr, "idle: pthread_join: %s\n", strerror(error));
	return !error && (long)(intptr_t)result == expected;
}

static int park(long n) {
	pthread_t *threads = calloc((size_t)n, sizeof *threads);
	long made = 0, wrong = 0;
	int error = 0;
	char line[16];

	if (!threads)
		return 1;
	while (made < n && (error = pthread_create(&threads[made], NULL, park_main, (void *)(intptr_t)made)) == 0)
		made++;
	pthread_mutex_lock(&lot.lock);
	while (lot.waiting < made)
		pthread_cond_wait(&lot.parked, &lot.lock);
	pthread_mutex_unlock(&lot.lock);

	printf("HOLD %ld\n", made);
	if (!fgets(line, sizeof line, stdin))
		return 1;
	pthread_mutex_lock(&lot.lock);
	lot.awake = true;
	pthread_cond_broadcast(&lot.wake);
	pthread_mutex_unlock(&lot.lock);
	for (long i = 0; i < made; i++)
		wrong += !join_checked(threads[i], i + 1);
	printf("{\"asked\": %ld, \"made\": %ld, \"create_error\": \"%s\", \"wrong\": %ld}\n", n, made,
	       error ? strerror(error) : "", wrong);
	free(threads);
	return wrong != 0;
}

static void *churn_main(void *arg) {
	return (char *)arg + 1;
}

static long rss_kib(void) {
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		pages = -1;
	if (f)
		fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int churn(long n) {
	long done = 0, first = 0, last = 0;

	for (int sample = 1; sample <= RSS_SAMPLES; sample++) {
		for (; done < n * sample / RSS_SAMPLES; done++) {
			pthread_t thread;
			int error = pthread_create(&thread, NULL, churn_main, (void *)(intptr_t)done);
			if (error) {
				fprintf(stderr, "idle: pthread_create: %s\n", strerror(error));
				return 1;
			}
			if (!join_checked(thread, done + 1))
				return 1;
		}
		last = rss_kib();
		if (sample == 1)
			first = last;
		printf("RSS %ld %ld\n", done, last);
	}
	printf("{\"threads\": %ld, \"rss_first_kib\": %ld, \"rss_last_kib\": %ld}\n", done, first, last);
	return 0;
}

/* Marks a place in a syscall trace; the bad descriptor keeps it off every terminal and file. */
static void mark(void) {
	if (write(-1, "mark", 4) >= 0)
		exit(1);
}

static int single(void) {
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	int fds[2];
	char buf[256];

	if (pipe(fds) < 0)
		return 1;
	mark();
	for (int i = 0; i < SINGLE_ROUNDS; i++) {
		struct timespec nap = {.tv_nsec = 1};
		pthread_mutex_lock(&mutex);
		if (write(fds[1], buf, sizeof buf) != sizeof buf || read(fds[0], buf, sizeof buf) != sizeof buf)
			return 1;
		pthread_mutex_unlock(&mutex);
		nanosleep(&nap, NULL);
		free(malloc(100));
		getppid();
	}
	mark();
	return 0;
}

int main(int argc, char **argv) {
	long n = argc > 2 ? atol(argv[2]) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && n > 0 && strcmp(argv[1], "park") == 0)
		return park(n);
	if (argc == 3 && n > 0 && strcmp(argv[1], "churn") == 0)
		return churn(n);
	if (argc == 2 && strcmp(argv[1], "single") == 0)
		return single();
	fprintf(stderr, "usage: idle park N | churn N | single\n");
	return 2;
}
