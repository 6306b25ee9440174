/* fork() every millisecond beside busy threads, each of which takes locks, sleeps, yields, allocates and talks through a pipe: no child and no
 * parent ever hangs, each child can make threads and wait, and a program that was just written is never busy when it is executed (FRK-1,
 * FRK-4, FRK-14). fork_busy THREADS FORKS [SECONDS]: no more forks after so long; make soak has a thousand threads and a minute of forks. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUSY_MAX = 1000, LOCKS = 16 };
static volatile int stop;
static pthread_mutex_t lock[LOCKS];
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int pipes[LOCKS][2];

static void *busy(void *arg) {
	unsigned id = (unsigned)(size_t)arg;
	for (unsigned i = id; !stop; i++) {
		pthread_mutex_t *m = &lock[i % LOCKS];
		char c = 'x';
		pthread_mutex_lock(m);
		free(malloc(i % 3000));
		if (i % 5 == 0)
			sched_yield();
		pthread_mutex_unlock(m);
		switch (i % 4) {
		case 0: usleep(500 + id); break;
		case 1:
			if (write(pipes[id % LOCKS][1], &c, 1) == 1 && read(pipes[id % LOCKS][0], &c, 1) != 1)
				abort();
			break;
		case 2: sched_yield(); break;
		case 3: {
			struct timespec until;
			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_nsec = (until.tv_nsec + 2000000) % 1000000000;
			pthread_mutex_lock(&lock[0]);
			pthread_cond_timedwait(&cond, &lock[0], &until);
			pthread_mutex_unlock(&lock[0]);
			usleep(20000);
		}
		}
	}
	return NULL;
}

static void *in_child(void *arg) {
	usleep(100);
	return arg;
}

static int child(int i) {
	pthread_t t[2];
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&m);
	char *p = malloc(1000);
	if (i % 4 != 0)
		return p ? 0 : 1;
	for (int j = 0; j < 2; j++) {
		if (pthread_create(&t[j], NULL, in_child, p) != 0)
			return 2;
	}
	for (int j = 0; j < 2; j++) {
		void *r;
		if (pthread_join(t[j], &r) != 0 || r != p)
			return 3;
	}
	return 0;
}

/* A program that was just written is executed: no forked child may still hold it open for writing for longer than until its own exec. */
static int execute_fresh(void) {
	char path[] = "/tmp/fork_busy.XXXXXX", *argv[] = {path, NULL};
	static const char script[] = "#!/bin/sh\nexit 7\n";
	int fd = mkostemp(path, O_CLOEXEC), status = 0;
	if (write(fd, script, sizeof script - 1) < 0 || fchmod(fd, 0700) != 0)
		return 0;
	close(fd);
	pid_t pid = fork();
	if (pid == 0) {
		execv(path, argv);
		_exit(errno);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	unlink(path);
	return WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

int main(int argc, char **argv) {
	static pthread_t t[BUSY_MAX];
	size_t threads = argc > 2 ? (size_t)atoi(argv[1]) : 60;
	int forks = argc > 2 ? atoi(argv[2]) : 40, done = 0, good = 0, fresh = 0;
	time_t until = argc > 3 ? time(NULL) + atoi(argv[3]) : 0;
	if (threads > BUSY_MAX)
		return 2;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < LOCKS; i++) {
		pthread_mutex_init(&lock[i], NULL);
		if (pipe(pipes[i]) != 0)
			return 1;
	}
	for (size_t i = 0; i < threads; i++) {
		if (pthread_create(&t[i], &attr, busy, (void *)i) != 0)
			return 1;
	}
	for (int i = 0; i < forks && (!until || time(NULL) < until); i++, done++) {
		struct timespec ms = {0, 1000000};
		pid_t pid = fork();
		int status = -1;
		if (pid == 0)
			_exit(child(i));
		nanosleep(&ms, NULL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			continue;
		good += status == 0;
		if (i % 50 == 0)
			fresh += execute_fresh();
	}
	stop = 1;
	for (size_t i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	printf("children: %s, fresh programs: %s\n", done && good == done ? "all good" : "BAD", fresh == (done + 49) / 50 ? "all ran" : "BAD");
	return 0;
}
