/* libc's own locks between threads of all kinds (SYN-19): streams, malloc's arenas, atexit; with owners that wait, forks in between, and
 * threads that libc makes itself. */
#include "sync_test.h"

#include <malloc.h>
#include <stdatomic.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { N = 200, LINES = 20, TIMERS = 20 };
static FILE *shared;
static _Atomic long ticks;

static void *prints(void *arg) {
	long mine = (long)arg;
	for (int i = 0; i < LINES; i++) {
		fprintf(shared, "%03ld:%02d\n", mine, i);
		if (i % 10 == mine % 10) {
			flockfile(shared);
			fprintf(shared, "%03ld:", mine);
			if (mine % 16 == 0)
				usleep(50);
			else
				sched_yield();
			fputs("xx\n", shared);
			funlockfile(shared);
		}
	}
	return NULL;
}

/* On threads that libc makes: they wait for the stream in the kernel. */
static void tick(union sigval v) {
	flockfile(shared);
	fprintf(shared, "t%02d:", v.sival_int);
	sched_yield();
	fputs("tt\n", shared);
	funlockfile(shared);
	atomic_fetch_add(&ticks, 1);
}

static void *forks(void *arg) {
	long good = 0;
	(void)arg;
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			/* streams and malloc are free in the child */
			char *p = malloc(1000);
			FILE *f = fopen("/dev/null", "w");
			fprintf(f, "%p", (void *)p);
			fclose(f);
			_exit(p ? 7 : 8);
		}
		int status;
		good += waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7;
		usleep(100);
	}
	return (void *)good;
}

static void *allocates(void *arg) {
	unsigned seed = (unsigned)(long)arg;
	void *kept[32] = {0};
	for (int i = 0; i < 2000; i++) {
		unsigned at = (unsigned)rand_r(&seed) % 32;
		free(kept[at]);
		kept[at] = malloc((unsigned)rand_r(&seed) % 5000);
		if (i % 500 == 0)
			sched_yield();
	}
	for (int i = 0; i < 32; i++)
		free(kept[i]);
	return NULL;
}

static void check_stream(void) {
	char line[100];
	long bad = 0, plain = 0, owned = 0, timed = 0;
	rewind(shared);
	while (fgets(line, sizeof line, shared)) {
		int a, b;
		char c[10] = "", d[10] = "";
		if (sscanf(line, "t%2d:%9s", &a, c) == 2)
			timed += strcmp(c, "tt") == 0;
		else if (sscanf(line, "%3d:%9[x]%9s", &a, c, d) == 2)
			owned += strcmp(c, "xx") == 0;
		else if (sscanf(line, "%3d:%2d%9s", &a, &b, d) == 2)
			plain++;
		else
			bad++;
	}
	printf("%ld lines, %ld owned, %s, %ld bad\n", plain, owned, timed == TIMERS ? "timers printed" : "timers missing", bad);
}

int main(void) {
	pthread_t t[N], forker, a[20];
	timer_t timers[TIMERS];
	void *good;
	shared = tmpfile();
	mallopt(M_ARENA_MAX, 1); /* everybody wants the same arena */
	for (long i = 0; i < N; i++)
		CHECK(pthread_create(&t[i], NULL, prints, (void *)i) == 0);
	for (long i = 0; i < 20; i++)
		CHECK(pthread_create(&a[i], NULL, allocates, (void *)i) == 0);
	for (int i = 0; i < TIMERS; i++) {
		struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick, .sigev_value.sival_int = i};
		struct itimerspec when = {.it_value.tv_nsec = 1 + i * 2000000};
		CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timers[i]) == 0);
		CHECK(timer_settime(timers[i], 0, &when, NULL) == 0);
	}
	CHECK(pthread_create(&forker, NULL, forks, NULL) == 0);
	for (int i = 0; i < N; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 20; i++)
		pthread_join(a[i], NULL);
	pthread_join(forker, &good);
	while (ticks < TIMERS)
		usleep(1000);
	for (int i = 0; i < TIMERS; i++)
		timer_delete(timers[i]);
	check_stream();
	printf("%ld forks\n", (long)good);
	return 0;
}
