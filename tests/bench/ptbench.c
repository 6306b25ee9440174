/*
 * What the pthread calls cost: a plain program that knows of no library but libc. scripts/bench runs the same binary
 * on kernel threads and under the library and compares.
 *
 *	ptbench -l                     names of all figures
 *	ptbench [-t SECONDS] NAME...   one line each: name operations cpu_ns_per_op wall_ns_per_op
 *
 * cpu = user + system time of the whole process (getrusage) over the measured part only. Each figure first runs a
 * tenth of its size to warm up, then repeats its full size, with new threads, until SECONDS of measured wall time are
 * over (default 0.3, at least one full size). Two threads taking turns are costlier or cheaper by the CPUs they happen
 * to be placed on: those figures are small, so that a line averages over several placements. Threads of a team are
 * created before the measured part and joined after it, unless creating and joining is the figure. Every figure checks
 * its result (counts, sums, tokens); a wrong one ends the program with status 1.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TEAM_MAX = 4000, DETACHED_BATCH = 250, QUEUE_SLOTS = 128 };

static void check(bool good, const char *what) {
	if (good)
		return;
	fprintf(stderr, "ptbench: %s is wrong\n", what);
	exit(1);
}

/* For calls that return an error number. */
static void must(int error, const char *call) {
	if (!error)
		return;
	fprintf(stderr, "ptbench: %s: %s\n", call, strerror(error));
	exit(1);
}

/* For calls that return -1 and set errno. */
static void must_io(bool good, const char *call) {
	must(good ? 0 : errno ? errno : EIO, call);
}

/* --- the meter: CPU and wall time of the measured parts ----------------------------------------------------------- */

static struct meter {
	uint64_t cpu, wall, ops;
	uint64_t cpu_start, wall_start;
} meter;

static uint64_t wall_ns(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_ns(void) {
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000u +
	       ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000u;
}

static void meter_start(void) {
	meter.wall_start = wall_ns();
	meter.cpu_start = cpu_ns();
}

static void meter_stop(long ops) {
	meter.cpu += cpu_ns() - meter.cpu_start;
	meter.wall += wall_ns() - meter.wall_start;
	meter.ops += (uint64_t)ops;
}

/* --- a team: threads that start together, measured from the gate's opening until the last one is through ---------- */

static struct team {
	pthread_mutex_t lock;
	pthread_cond_t changed, gate;
	int waiting, left;
	bool open;
	void (*body)(int index);
	pthread_t threads[TEAM_MAX];
} team = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .gate = PTHREAD_COND_INITIALIZER};

static void *team_member(void *arg) {
	pthread_mutex_lock(&team.lock);
	team.waiting++;
	pthread_cond_signal(&team.changed);
	while (!team.open)
		pthread_cond_wait(&team.gate, &team.lock);
	pthread_mutex_unlock(&team.lock);

	team.body((int)(intptr_t)arg);

	pthread_mutex_lock(&team.lock);
	if (--team.left == 0)
		pthread_cond_signal(&team.changed);
	pthread_mutex_unlock(&team.lock);
	return arg;
}

static void team_run(int size, void (*body)(int index), long ops) {
	team.waiting = 0;
	team.left = size;
	team.open = false;
	team.body = body;
	for (int i = 0; i < size; i++)
		must(pthread_create(&team.threads[i], NULL, team_member, (void *)(intptr_t)i), "pthread_create");
	pthread_mutex_lock(&team.lock);
	while (team.waiting < size)
		pthread_cond_wait(&team.changed, &team.lock);
	meter_start();
	team.open = true;
	pthread_cond_broadcast(&team.gate);
	while (team.left > 0)
		pthread_cond_wait(&team.changed, &team.lock);
	meter_stop(ops);
	pthread_mutex_unlock(&team.lock);
	for (int i = 0; i < size; i++) {
		void *result;
		must(pthread_join(team.threads[i], &result), "pthread_join");
		check((int)(intptr_t)result == i, "result of a joined thread");
	}
}

/* --- creation ----------------------------------------------------------------------------------------------------- */

static void *thread_echo(void *arg) {
	return arg;
}

static void create_join(long n, int unused) {
	(void)unused;
	meter_start();
	for (long i = 0; i < n; i++) {
		pthread_t thread;
		void *result;
		must(pthread_create(&thread, NULL, thread_echo, (void *)i), "pthread_create");
		must(pthread_join(thread, &result), "pthread_join");
		check(result == (void *)i, "result of a joined thread");
	}
	meter_stop(n);
}

static void create_many(long n, int unused) {
	(void)unused;
	meter_start();
	for (long i = 0; i < n; i++)
		must(pthread_create(&team.threads[i], NULL, thread_echo, (void *)i), "pthread_create");
	for (long i = 0; i < n; i++) {
		void *result;
		must(pthread_join(team.threads[i], &result), "pthread_join");
		check(result == (void *)i, "result of a joined thread");
	}
	meter_stop(n);
}

static int detached_left;
static sem_t detached_done;

static void *detached_main(void *arg) {
	/* acq_rel: the last one's post must come after every other's work. */
	if (__atomic_sub_fetch(&detached_left, 1, __ATOMIC_ACQ_REL) == 0)
		sem_post(&detached_done);
	return arg;
}

/* Batches, so that at most DETACHED_BATCH are alive at a time. */
static void create_detached(long n, int unused) {
	pthread_attr_t attr;
	(void)unused;
	must(pthread_attr_init(&attr), "pthread_attr_init");
	must(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), "pthread_attr_setdetachstate");
	must_io(sem_init(&detached_done, 0, 0) == 0, "sem_init");
	meter_start();
	for (long made = 0; made < n; made += DETACHED_BATCH) {
		/* Relaxed: pthread_create orders it before the threads that count it down. */
		__atomic_store_n(&detached_left, DETACHED_BATCH, __ATOMIC_RELAXED);
		for (int i = 0; i < DETACHED_BATCH; i++) {
			pthread_t thread;
			must(pthread_create(&thread, &attr, detached_main, NULL), "pthread_create");
		}
		while (sem_wait(&detached_done) < 0 && errno == EINTR)
			;
	}
	meter_stop(n);
	sem_destroy(&detached_done);
	pthread_attr_destroy(&attr);
}

/* --- two threads taking turns ------------------------------------------------------------------------------------- */

static long rounds; /* per thread */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond[2];
	int turn;
	long count;
} ping = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER}};

static void cond_player(int me) {
	pthread_mutex_lock(&ping.lock);
	for (long i = 0; i < rounds; i++) {
		while (ping.turn != me)
			pthread_cond_wait(&ping.cond[me], &ping.lock);
		ping.turn = !me;
		ping.count++;
		pthread_cond_signal(&ping.cond[!me]);
	}
	pthread_mutex_unlock(&ping.lock);
}

static void cond_pingpong(long n, int unused) {
	(void)unused;
	rounds = n;
	ping.turn = 0;
	ping.count = 0;
	team_run(2, cond_player, n);
	check(ping.count == 2 * n, "number of turns");
}

static sem_t sems[2];
static long sem_count;

static void sem_player(int me) {
	for (long i = 0; i < rounds; i++) {
		while (sem_wait(&sems[me]) < 0)
			must_io(errno == EINTR, "sem_wait");
		sem_count++; /* only the one whose turn it is touches it */
		sem_post(&sems[!me]);
	}
}

static void sem_pingpong(long n, int unused) {
	(void)unused;
	rounds = n;
	sem_count = 0;
	must_io(sem_init(&sems[0], 0, 1) == 0 && sem_init(&sems[1], 0, 0) == 0, "sem_init");
	team_run(2, sem_player, n);
	check(sem_count == 2 * n, "number of turns");
	sem_destroy(&sems[0]);
	sem_destroy(&sems[1]);
}

static int from[TEAM_MAX], to[TEAM_MAX]; /* a thread's descriptors: reads from one, writes to the other */
static int ring_size;

static void token_take(int fd, char expected) {
	char token;
	must_io(read(fd, &token, 1) == 1, "read");
	check(token == expected, "token");
}

static void token_give(int fd, char token) {
	must_io(write(fd, &token, 1) == 1, "write");
}

/* Player 0 serves, player 1 returns. */
static void fd_player(int me) {
	for (long i = 0; i < rounds; i++) {
		if (me == 0)
			token_give(to[0], (char)i);
		token_take(from[me], (char)i);
		if (me == 1)
			token_give(to[1], (char)i);
	}
}

static void pipe_pingpong(long n, int unused) {
	int a[2], b[2];
	(void)unused;
	must_io(pipe(a) == 0 && pipe(b) == 0, "pipe");
	to[0] = a[1], from[1] = a[0], to[1] = b[1], from[0] = b[0];
	rounds = n;
	team_run(2, fd_player, n);
	for (int i = 0; i < 2; i++)
		close(a[i]), close(b[i]);
}

static void sock_pingpong(long n, int unused) {
	int pair[2];
	(void)unused;
	must_io(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	from[0] = to[0] = pair[0];
	from[1] = to[1] = pair[1];
	rounds = n;
	team_run(2, fd_player, n);
	close(pair[0]);
	close(pair[1]);
}

/* --- a token that goes round many threads ------------------------------------------------------------------------- */

static void ring_member(int me) {
	for (long i = 0; i < rounds; i++) {
		if (me == 0)
			token_give(to[0], (char)i);
		token_take(from[me], (char)i);
		if (me != 0)
			token_give(to[me], (char)i);
	}
}

static void pipe_ring(long n, int size) {
	ring_size = size;
	rounds = n / size > 0 ? n / size : 1;
	for (int i = 0; i < size; i++) {
		int fds[2];
		must_io(pipe(fds) == 0, "pipe");
		to[i] = fds[1];
		from[(i + 1) % size] = fds[0];
	}
	team_run(size, ring_member, rounds * size);
	for (int i = 0; i < size; i++)
		close(from[i]), close(to[i]);
}

/* --- yield -------------------------------------------------------------------------------------------------------- */

static void yielder(int me) {
	(void)me;
	for (long i = 0; i < rounds; i++)
		sched_yield();
}

static void yield(long n, int size) {
	rounds = n / size;
	team_run(size, yielder, rounds * size);
}

/* --- one thread, nobody else wants it: run in a created thread, so that libc knows it is not alone ---------------- */

static pthread_mutex_t lone_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t lone_rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t lone_sem;
static pthread_key_t lone_key;
static long lone_count, lone_total;

static void mutex_alone(int me) {
	(void)me;
	for (long i = 0; i < rounds; i++) {
		pthread_mutex_lock(&lone_mutex);
		lone_count++;
		pthread_mutex_unlock(&lone_mutex);
	}
}

static void rwlock_alone(int me) {
	(void)me;
	for (long i = 0; i < rounds; i++) {
		pthread_rwlock_rdlock(&lone_rwlock);
		lone_count++;
		pthread_rwlock_unlock(&lone_rwlock);
	}
}

static void sem_alone(int me) {
	(void)me;
	for (long i = 0; i < rounds; i++) {
		sem_post(&lone_sem);
		sem_wait(&lone_sem);
		lone_count++;
	}
}

static void getspecific_alone(int me) {
	(void)me;
	must(pthread_setspecific(lone_key, &lone_key), "pthread_setspecific");
	for (long i = 0; i < rounds; i++)
		lone_count += pthread_getspecific(lone_key) == &lone_key;
}

static void (*lone_body)(int);

/* In slices, with a nap after each. These calls take ten cycles or so, and which of 9, 10 or 11 depends on what the CPU's branch predictor had learnt when
 * the thread came to it: a whole run stays with what it began with, and the best is for a thread that begins on a CPU which ran nothing else (pin the
 * plain program to one CPU and getspecific takes a fifth longer). A thread that sleeps now and then gets the average. */
static void in_slices(int me) {
	long slices = lone_total / rounds;
	for (long i = 0; i < slices; i++) {
		lone_body(me);
		usleep(1);
	}
}

static void alone(long n, void (*body)(int)) {
	enum { SLICE = 200000 };
	rounds = n < SLICE ? n : SLICE;
	lone_total = n - n % rounds;
	lone_body = body;
	lone_count = 0;
	team_run(1, in_slices, lone_total);
	check(lone_count == lone_total, "count");
}

static void mutex_uncontended(long n, int unused) {
	(void)unused;
	alone(n, mutex_alone);
}

static void rwlock_uncontended(long n, int unused) {
	(void)unused;
	alone(n, rwlock_alone);
}

static void sem_uncontended(long n, int unused) {
	(void)unused;
	must_io(sem_init(&lone_sem, 0, 0) == 0, "sem_init");
	alone(n, sem_alone);
	sem_destroy(&lone_sem);
}

static void getspecific(long n, int unused) {
	(void)unused;
	must(pthread_key_create(&lone_key, NULL), "pthread_key_create");
	alone(n, getspecific_alone);
	pthread_key_delete(lone_key);
}

/* --- many threads, one object ------------------------------------------------------------------------------------- */

static void mutex_contended(long n, int size) {
	rounds = n / size;
	lone_count = 0;
	team_run(size, mutex_alone, rounds * size);
	check(lone_count == rounds * size, "count under the mutex");
}

static pthread_barrier_t barrier;
static long barrier_serials;

static void barrier_member(int me) {
	(void)me;
	for (long i = 0; i < rounds; i++)
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			/* Relaxed: a count, read after the join. */
			__atomic_add_fetch(&barrier_serials, 1, __ATOMIC_RELAXED);
}

static void barrier_wait(long n, int size) {
	rounds = n / size;
	barrier_serials = 0;
	must(pthread_barrier_init(&barrier, NULL, (unsigned)size), "pthread_barrier_init");
	team_run(size, barrier_member, rounds * size);
	check(barrier_serials == rounds, "number of serial threads");
	pthread_barrier_destroy(&barrier);
}

static struct {
	pthread_mutex_t lock;
	pthread_cond_t not_empty, not_full;
	long items[QUEUE_SLOTS], head, tail, sum;
} queue = {
	.lock = PTHREAD_MUTEX_INITIALIZER, .not_empty = PTHREAD_COND_INITIALIZER, .not_full = PTHREAD_COND_INITIALIZER};

/* The lower half produces, the upper half consumes. */
static void queue_member(int me) {
	bool producer = me < ring_size / 2;
	for (long i = 0; i < rounds; i++) {
		pthread_mutex_lock(&queue.lock);
		if (producer) {
			while (queue.tail - queue.head == QUEUE_SLOTS)
				pthread_cond_wait(&queue.not_full, &queue.lock);
			queue.items[queue.tail++ % QUEUE_SLOTS] = i;
			pthread_cond_signal(&queue.not_empty);
		} else {
			while (queue.tail == queue.head)
				pthread_cond_wait(&queue.not_empty, &queue.lock);
			queue.sum += queue.items[queue.head++ % QUEUE_SLOTS];
			pthread_cond_signal(&queue.not_full);
		}
		pthread_mutex_unlock(&queue.lock);
	}
}

static void queue_bounded(long n, int pairs) {
	ring_size = 2 * pairs;
	rounds = n / pairs;
	queue.sum = queue.head = queue.tail = 0;
	team_run(2 * pairs, queue_member, rounds * pairs);
	check(queue.sum == pairs * (rounds * (rounds - 1) / 2), "sum of the queue's items");
}

/* --- sleepers ----------------------------------------------------------------------------------------------------- */

/* Naps of 1 to 10 ms, different for each thread and time, the same in every run. */
static void napper(int me) {
	for (long i = 0; i < rounds; i++)
		must_io(usleep(1000 + (useconds_t)((me * 7919L + i * 104729L) % 9000)) == 0, "usleep");
}

static void naps(long n, int size) {
	rounds = n / size > 0 ? n / size : 1;
	team_run(size, napper, rounds * size);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const struct figure {
	const char *name;
	void (*run)(long n, int parameter);
	long n;        /* operations of one repetition: 1 s at most on kernel threads */
	int parameter; /* threads, or pairs of them */
} figures[] = {
	{"create_join", create_join, 10000, 0},
	{"create_many", create_many, TEAM_MAX, 0},
	{"create_detached", create_detached, 10000, 0},
	{"cond_pingpong", cond_pingpong, 5000, 0},
	{"sem_pingpong", sem_pingpong, 5000, 0},
	{"pipe_pingpong", pipe_pingpong, 5000, 0},
	{"sock_pingpong", sock_pingpong, 5000, 0},
	{"pipe_ring_1000", pipe_ring, 40000, 1000},
	{"yield_2", yield, 500000, 2},
	{"yield_100", yield, 200000, 100},
	{"yield_1000", yield, 200000, 1000},
	{"mutex_uncontended", mutex_uncontended, 20000000, 0},
	{"sem_uncontended", sem_uncontended, 20000000, 0},
	{"rwlock_uncontended", rwlock_uncontended, 20000000, 0},
	{"getspecific", getspecific, 50000000, 0},
	{"mutex_2", mutex_contended, 5000000, 2},
	{"mutex_8", mutex_contended, 5000000, 8},
	{"mutex_64", mutex_contended, 5000000, 64},
	{"barrier_64", barrier_wait, 64000, 64},
	{"queue_1p1c", queue_bounded, 1000000, 1},
	{"queue_8p8c", queue_bounded, 400000, 8},
	{"naps_1000", naps, 40000, 1000},
};
enum { FIGURES = sizeof figures / sizeof *figures };

static void figure_run(const struct figure *f, double seconds) {
	long warm = f->n / 10;
	if (f->run == create_many) /* as many as will be, or the stacks of the rest are made in the measured part */
		warm = f->n;
	f->run(warm, f->parameter);
	memset(&meter, 0, sizeof meter);
	do {
		f->run(f->n, f->parameter);
	} while ((double)meter.wall < seconds * 1e9);
	printf("%s %llu %.2f %.2f\n", f->name, (unsigned long long)meter.ops, (double)meter.cpu / (double)meter.ops,
	       (double)meter.wall / (double)meter.ops);
	fflush(stdout);
}

static const struct figure *figure_find(const char *name) {
	for (int i = 0; i < FIGURES; i++)
		if (strcmp(figures[i].name, name) == 0)
			return &figures[i];
	fprintf(stderr, "ptbench: no figure is called %s; -l lists them\n", name);
	exit(2);
}

int main(int argc, char **argv) {
	double seconds = 0.3;
	struct rlimit limit;

	for (int opt; (opt = getopt(argc, argv, "lt:")) != -1;) {
		if (opt == 'l') {
			for (int i = 0; i < FIGURES; i++)
				puts(figures[i].name);
			return 0;
		}
		if (opt != 't')
			return 2;
		seconds = atof(optarg);
	}
	/* The ring needs two descriptors a thread. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (int i = optind; i < argc; i++)
		figure_find(argv[i]);
	for (int i = optind; i < argc; i++)
		figure_run(figure_find(argv[i]), seconds);
	return 0;
}
