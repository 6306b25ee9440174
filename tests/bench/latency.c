/*
 * How long threads wait for their turn: a plain program that knows of no library but libc. scripts/latency runs it on kernel
 * threads and under the library and compares.
 *
 *	latency echo HOGS SECONDS	 HOGS threads compute without end, one answers what a client process sends: the round trip
 *	latency sleep HOGS SECONDS	 HOGS threads compute, one sleeps for a millisecond again and again: how late it wakes
 *	latency compute THREADS SECONDS	 threads that only compute: rounds for a second of CPU time
 *	latency idle THREADS SECONDS	 threads that wait for nothing; says "HOLD" once they do, ends after SECONDS
 *	latency stuck KIND N SECONDS	 2N threads exchange a byte in pairs, then the same beside N threads that are stuck: KIND is
 *					 fifo (reads of FIFOs that nobody writes) or flock. The round trips of both
 *
 * The last line is one of JSON; times are in microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES_MAX = 1 << 20 };

static double seconds;
static int stop;

static void must(bool good, const char *what) {
	if (good)
		return;
	fprintf(stderr, "latency: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

static pthread_t start(void *(*fn)(void *), void *arg) {
	pthread_t t;
	errno = pthread_create(&t, NULL, fn, arg);
	must(errno == 0, "pthread_create");
	return t;
}

static bool stopped(void) {
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

/* --- samples -------------------------------------------------------------------------------------------------------- */

static struct samples {
	pthread_mutex_t lock;
	long count;
	int64_t ns[SAMPLES_MAX];
} samples = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void sample(int64_t ns) {
	pthread_mutex_lock(&samples.lock);
	if (samples.count < SAMPLES_MAX)
		samples.ns[samples.count++] = ns;
	pthread_mutex_unlock(&samples.lock);
}

static int by_size(const void *a, const void *b) {
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* Sorted by the first call. */
static double percentile(double part) {
	if (part == 0)
		qsort(samples.ns, (size_t)samples.count, sizeof *samples.ns, by_size);
	must(samples.count > 0, "no sample");
	long i = (long)(part * (double)samples.count);
	return (double)samples.ns[i < samples.count ? i : samples.count - 1] / 1e3;
}

static void samples_print(const char *prefix) {
	double least = percentile(0);
	printf("\"%ssamples\": %ld, \"%smin\": %.1f, \"%sp50\": %.1f, \"%sp99\": %.1f, \"%smax\": %.1f", prefix, samples.count, prefix,
	       least, prefix, percentile(.5), prefix, percentile(.99), prefix, percentile(1));
}

/* --- hogs ----------------------------------------------------------------------------------------------------------- */

static uint64_t work(uint64_t x) {
	for (int i = 0; i < 10000; i++)
		x = x * 6364136223846793005u + 1442695040888963407u;
	return x;
}

static _Atomic uint64_t rounds;

static void *hog(void *arg) {
	uint64_t x = (uintptr_t)arg, n = 0;
	while (!stopped()) {
		x = work(x);
		n++;
	}
	rounds += n + (x == 1);
	return NULL;
}

static void *alarm_main(void *arg) {
	(void)arg;
	usleep((useconds_t)(seconds * 1e6));
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* --- echo ----------------------------------------------------------------------------------------------------------- */

static void *echo_main(void *arg) {
	int fd = *(int *)arg;
	char buf[64];
	ssize_t n;
	while ((n = read(fd, buf, sizeof buf)) > 0)
		must(write(fd, buf, (size_t)n) == n, "write");
	return NULL;
}

/* A process of its own: whatever runs the threads has no say in when it measures. */
static void client(int fd, int result) {
	int64_t end = now_ns() + (int64_t)(seconds * 1e9);
	unsigned seed = 1;
	while (now_ns() < end) {
		char c = 'x';
		usleep(1000 + (useconds_t)rand_r(&seed) % 5000);
		int64_t from = now_ns();
		must(write(fd, &c, 1) == 1 && read(fd, &c, 1) == 1, "client");
		int64_t took = now_ns() - from;
		must(write(result, &took, sizeof took) == sizeof took, "result");
	}
	_exit(0);
}

static int echo(int hogs) {
	int pair[2], result[2];
	int64_t took;
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(result) == 0, "socketpair");
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		close(pair[0]);
		client(pair[1], result[1]);
	}
	close(pair[1]);
	close(result[1]);
	for (int i = 0; i < hogs; i++)
		start(hog, NULL);
	start(echo_main, &pair[0]);
	while (read(result[0], &took, sizeof took) == sizeof took)
		sample(took);
	waitpid(child, NULL, 0);
	printf("{");
	samples_print("");
	printf("}\n");
	return 0;
}

/* --- sleep ---------------------------------------------------------------------------------------------------------- */

static void *sleeper(void *arg) {
	int64_t end = now_ns() + (int64_t)(seconds * 1e9);
	(void)arg;
	while (now_ns() < end) {
		struct timespec ms = {0, 1000000};
		int64_t from = now_ns();
		nanosleep(&ms, NULL);
		sample(now_ns() - from - 1000000);
	}
	return NULL;
}

static int sleeps(int hogs) {
	for (int i = 0; i < hogs; i++)
		start(hog, NULL);
	pthread_join(start(sleeper, NULL), NULL);
	printf("{");
	samples_print("");
	printf("}\n");
	return 0;
}

/* --- compute -------------------------------------------------------------------------------------------------------- */

static int compute(int threads) {
	pthread_t t[256];
	struct rusage u;
	must(threads > 0 && threads <= 256, "threads");
	start(alarm_main, NULL);
	for (int i = 0; i < threads; i++)
		t[i] = start(hog, NULL);
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	getrusage(RUSAGE_SELF, &u);
	double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	printf("{\"rounds\": %lu, \"cpu_s\": %.3f, \"rounds_per_cpu_s\": %.1f}\n", (unsigned long)rounds, cpu, (double)rounds / cpu);
	return 0;
}

/* --- idle ----------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int waiting;

static void *waits(void *arg) {
	waiting++;
	pthread_mutex_lock(&never);
	pthread_mutex_unlock(&never);
	return arg;
}

static int idle(int threads) {
	pthread_mutex_lock(&never);
	for (int i = 0; i < threads; i++)
		start(waits, NULL);
	while (waiting < threads)
		usleep(1000);
	printf("HOLD\n");
	fflush(stdout);
	usleep((useconds_t)(seconds * 1e6));
	printf("{\"threads\": %d}\n", threads);
	return 0;
}

/* --- stuck ---------------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/latency.XXXXXX", path[100];

struct player {
	int in, out;
	bool first;
};

static void *player_main(void *arg) {
	struct player *p = arg;
	unsigned seed = (unsigned)(uintptr_t)p;
	char c = 'o';
	for (;;) {
		if (p->first) {
			usleep(50000 + (useconds_t)rand_r(&seed) % 100000);
			int64_t from = now_ns();
			if (stopped())
				c = 'q';
			must(write(p->out, &c, 1) == 1 && read(p->in, &c, 1) == 1, "player");
			sample(now_ns() - from);
		} else {
			must(read(p->in, &c, 1) == 1 && write(p->out, &c, 1) == 1, "player");
		}
		if (c == 'q')
			return NULL;
	}
}

static void play(int n) {
	struct player *p = calloc((size_t)n * 2, sizeof *p);
	pthread_t *t = calloc((size_t)n * 2, sizeof *t);
	must(p && t, "calloc");
	samples.count = 0;
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	for (int i = 0; i < n; i++) {
		int pair[2];
		must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
		p[2 * i] = (struct player){pair[0], pair[0], true};
		p[2 * i + 1] = (struct player){pair[1], pair[1], false};
	}
	for (int i = 0; i < 2 * n; i++)
		t[i] = start(player_main, &p[i]);
	alarm_main(NULL);
	for (int i = 0; i < 2 * n; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 2 * n; i++)
		close(p[i].in);
	free(p);
	free(t);
}

static void *reads_fifo(void *arg) {
	char c;
	int fd = open(path, O_RDWR); /* there is a writer, and it never writes */
	must(fd >= 0, "FIFO");
	waiting++;
	must(read(fd, &c, 1) == 1, "FIFO");
	return arg;
}

static void *wants_lock(void *arg) {
	int fd = open(path, O_RDONLY);
	must(fd >= 0, "lock file");
	waiting++;
	must(flock(fd, LOCK_EX) == 0, "flock");
	return arg;
}

static int stuck(const char *kind, int n) {
	bool fifo = strcmp(kind, "fifo") == 0;
	must(mkdtemp(folder) != NULL, "mkdtemp");
	snprintf(path, sizeof path, "%s/%s", folder, kind);
	int held = -1;
	if (fifo) {
		must(mkfifo(path, 0600) == 0, "mkfifo");
	} else {
		held = open(path, O_RDWR | O_CREAT, 0600);
		must(held >= 0 && flock(held, LOCK_EX) == 0, "flock");
	}
	play(n / 2); /* warm */
	play(n / 2);
	printf("{");
	samples_print("alone_");
	for (int i = 0; i < n; i++)
		start(fifo ? reads_fifo : wants_lock, NULL);
	while (waiting < n)
		usleep(1000);
	play(n / 2);
	printf(", ");
	samples_print("beside_");
	printf("}\n");
	unlink(path);
	rmdir(folder);
	return 0;
}

int main(int argc, char **argv) {
	int r = 2;
	if (argc == 4) {
		int n = atoi(argv[2]);
		seconds = atof(argv[3]);
		r = !strcmp(argv[1], "echo")      ? echo(n)
		    : !strcmp(argv[1], "sleep")   ? sleeps(n)
		    : !strcmp(argv[1], "compute") ? compute(n)
		    : !strcmp(argv[1], "idle")    ? idle(n)
						  : 2;
	} else if (argc == 5 && !strcmp(argv[1], "stuck")) {
		seconds = atof(argv[4]);
		r = stuck(argv[2], atoi(argv[3]));
	}
	if (r == 2)
		fprintf(stderr, "usage: latency echo|sleep|compute|idle N SECONDS | stuck fifo|flock N SECONDS\n");
	fflush(stdout);
	_exit(r); /* the hogs go on */
}
