/* What scripts/bench --go measures of goshim; gobench.go is the same in Go. One figure a run: prints its name, operations, CPU ns, wall ns and user CPU ns of each operation,
 * and for `park` bytes of each goroutine. Arguments: figure, seconds. */
#include <goshim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int64_t seconds = 1;

static int64_t cpu_now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * GO_SECOND + ts.tv_nsec;
}

static int64_t user_now(void) {
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (int64_t)u.ru_utime.tv_sec * GO_SECOND + (int64_t)u.ru_utime.tv_usec * 1000;
}

/* ---- channels ---------------------------------------------------------------------------------------------------- */

static void *echo(void *arg) {
	go_chan **c = arg;
	long x;
	GO_RANGE(c[0], &x)
		go_send(c[1], &x);
	return NULL;
}

static long pingpong(long n) {
	go_chan *c[2] = {go_chan_make(sizeof(long), 0), go_chan_make(sizeof(long), 0)};
	go_wg wg = {{0}};
	go_spawn_wg(&wg, echo, c);
	for (long i = 0, x; i < n; i++) {
		go_send(c[0], &i);
		go_recv(c[1], &x);
	}
	go_close(c[0]);
	go_wg_wait(&wg);
	return n;
}

struct stream {
	go_chan *c;
	long n;
};

static void *produce(void *arg) {
	struct stream *s = arg;
	for (long i = 0; i < s->n; i++)
		go_send(s->c, &i);
	go_close(s->c);
	return NULL;
}

static long buffered(long n) {
	struct stream s = {go_chan_make(sizeof(long), 100), n};
	long x, sum = 0;
	go_spawn(produce, &s);
	GO_RANGE(s.c, &x)
		sum += x;
	return sum == n * (n - 1) / 2 ? n : 0;
}

/* Stays where it is at the end, as in gobench.go. */
static void *feed(void *arg) {
	long n = 0;
	while (go_send(arg, &n) == 0)
		n++;
	return NULL;
}

static long select4(long n) {
	go_case k[4];
	long x[4];
	for (long i = 0; i < 4; i++) {
		go_chan *c = go_chan_make(sizeof(long), 0);
		k[i] = go_case_recv(c, &x[i]);
		go_spawn(feed, c);
	}
	for (long i = 0; i < n; i++)
		go_select(k, 4, GO_FOREVER);
	return n;
}

/* ---- goroutines ---------------------------------------------------------------------------------------------------- */

static void *nothing(void *arg) {
	return arg;
}

static long spawn(long n) {
	(void)n;
	go_wg wg = {{0}};
	for (int i = 0; i < 100000; i++)
		go_spawn_wg(&wg, nothing, NULL);
	go_wg_wait(&wg);
	return 100000;
}

struct node {
	go_chan *out;
	long number, size;
};

static void *skynet_node(void *arg) {
	struct node self = *(struct node *)arg, child[10];
	long sum = 0, part;
	if (self.size == 1) {
		go_send(self.out, &self.number);
		return NULL;
	}
	go_chan *c = go_chan_make(sizeof(long), 0);
	for (int i = 0; i < 10; i++) {
		child[i] = (struct node){c, self.number + i * (self.size / 10), self.size / 10};
		if (go_spawn(skynet_node, &child[i]) < 0) { /* on kernel threads, where there cannot be so many */
			fputs("skynet: go_spawn() failed\n", stderr);
			exit(1);
		}
	}
	for (int i = 0; i < 10; i++) {
		go_recv(c, &part);
		sum += part;
	}
	go_chan_free(c);
	go_send(self.out, &sum);
	return NULL;
}

static long skynet(long n) {
	(void)n;
	struct node root = {go_chan_make(sizeof(long), 0), 0, 1000000};
	long sum;
	go_spawn(skynet_node, &root);
	go_recv(root.out, &sum);
	return sum == 499999500000 ? 1111111 : 0;
}

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

static go_chan *gate;
static long parked;

static void *park(void *arg) {
	__atomic_add_fetch(&parked, 1, __ATOMIC_RELAXED);
	go_recv(gate, NULL);
	return arg;
}

static long memory_kib(void) {
	char line[200];
	long sum = 0, kib;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "VmRSS: %ld", &kib) == 1 || sscanf(line, "VmPTE: %ld", &kib) == 1)
			sum += kib;
	}
	if (f)
		fclose(f);
	return sum;
}

/* n goroutines blocked on one channel; then all are woken and end. */
static void park_many(long n) {
	go_wg wg = {{0}};
	gate = go_chan_make(0, 0);
	go_spawn_wg(&wg, nothing, NULL);
	go_wg_wait(&wg);
	long before = memory_kib();
	int64_t cpu = cpu_now(), wall = go_now();
	for (long i = 0; i < n; i++) {
		if (go_spawn_wg(&wg, park, NULL) != 0) {
			fprintf(stderr, "goroutine %ld was refused\n", i);
			exit(1);
		}
	}
	while (__atomic_load_n(&parked, __ATOMIC_RELAXED) < n)
		go_yield();
	long bytes = (memory_kib() - before) * 1024 / n;
	go_close(gate);
	go_wg_wait(&wg);
	printf("park %ld %.1f %.1f %ld\n", n, (double)(cpu_now() - cpu) / (double)n, (double)(go_now() - wall) / (double)n, bytes);
}

/* ------------------------------------------------------------------------------------------------------------------------ */

static void measure(const char *name, long (*run)(long), long batch) {
	long ops = 0;
	run(batch < 1000 ? batch : 1000); /* warm */
	int64_t cpu = cpu_now(), user = user_now(), wall = go_now(), end = wall + seconds * GO_SECOND;
	do {
		long done = run(batch);
		if (!done) {
			fprintf(stderr, "%s: wrong result\n", name);
			exit(1);
		}
		ops += done;
	} while (go_now() < end);
	printf("%s %ld %.1f %.1f %.1f\n", name, ops, (double)(cpu_now() - cpu) / (double)ops, (double)(go_now() - wall) / (double)ops,
	       (double)(user_now() - user) / (double)ops);
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	long n = argc > 2 ? atol(argv[2]) : 1;
	seconds = n;
	if (strcmp(what, "pingpong") == 0)
		measure(what, pingpong, 100000);
	else if (strcmp(what, "buffered") == 0)
		measure(what, buffered, 1000000);
	else if (strcmp(what, "select4") == 0)
		measure(what, select4, 100000);
	else if (strcmp(what, "spawn") == 0)
		measure(what, spawn, 1);
	else if (strcmp(what, "skynet") == 0)
		measure(what, skynet, 1);
	else if (strcmp(what, "park") == 0)
		park_many(n > 1 ? n : 100000);
	else {
		fprintf(stderr, "usage: gobench pingpong|buffered|select4|spawn|skynet SECONDS | park GOROUTINES\n");
		return 2;
	}
	return 0;
}
