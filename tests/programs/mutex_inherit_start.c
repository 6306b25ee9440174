/* Mutexes with priority inheritance that the kernel knows of, robust ones or shared with other processes, which main locks before it makes the first thread and gives back
 * long after, or leaves behind: who waits for one gets it, and so does main afterwards. Each is a process of its own. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROBUST = 1, SHARED = 2, LEFT = 4, KINDS = 8, EACH = 12, RUNNERS = 3, AGAIN = 20 };

static pthread_mutex_t m;
static volatile int stop;
static sem_t asked;

static void make(int kind) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	if (kind & ROBUST)
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	if (kind & SHARED)
		pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&m, &a);
}

/* So that main comes to run on other kernel threads. */
static void *runs(void *arg) {
	while (!stop) {
		usleep(20);
		sched_yield();
	}
	return arg;
}

static void *locks(void *arg) {
	sem_post(&asked);
	int r = pthread_mutex_lock(&m);
	if (r == EOWNERDEAD)
		pthread_mutex_consistent(&m);
	for (int i = 0; i < 3; i++)
		usleep(50);
	int unlocked = pthread_mutex_unlock(&m);
	for (int i = 0; i < AGAIN; i++) {
		if (pthread_mutex_lock(&m) || (usleep(20), pthread_mutex_unlock(&m)))
			return "not again";
	}
	return unlocked ? strerror(unlocked) : r ? strerror(r) : arg;
}

static const char *run(int kind, int nth) {
	pthread_t t[2], r[RUNNERS];
	void *said = NULL, *other = NULL;
	alarm(10);
	make(kind);
	sem_init(&asked, 0, 0);
	if (pthread_mutex_lock(&m))
		return "not locked";
	for (int i = 0; i < RUNNERS; i++)
		pthread_create(&r[i], NULL, runs, NULL);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, locks, NULL);
	for (int i = 0; i < 2; i++)
		sem_wait(&asked);
	for (int i = 0; i < 5 + nth; i++)
		usleep(30);
	if (!(kind & LEFT) && pthread_mutex_unlock(&m))
		return "not unlocked";
	for (int i = 0; i < AGAIN && !(kind & LEFT); i++) {
		if (pthread_mutex_lock(&m) || (usleep(20), pthread_mutex_unlock(&m)))
			return "not again by main";
	}
	for (int i = 0; i < 2 && !(kind & LEFT); i++) {
		pthread_join(t[i], &said);
		other = said ? said : other;
	}
	stop = 1;
	for (int i = 0; i < RUNNERS; i++)
		pthread_join(r[i], NULL);
	return kind & LEFT ? "left" : other ? other : "good";
}

int main(void) {
	static const char *const names[KINDS] = {"private", "robust", "shared", "robust, shared", "private, left", "robust, left",
						 "shared, left", "robust, shared, left"};
	for (int kind = 0; kind < KINDS; kind++) {
		int bad = 0;
		fflush(stdout);
		for (int i = 0; i < EACH; i++) {
			int status;
			pid_t pid = fork();
			if (pid == 0) {
				const char *said = run(kind, i);
				if (strcmp(said, kind & LEFT ? "left" : "good"))
					printf("%s: %s\n", names[kind], said);
				fflush(stdout);
				_exit(0);
			}
			if (waitpid(pid, &status, 0) != pid || status != 0)
				bad = printf("%s: status %x\n", names[kind], (unsigned)status);
		}
		printf("%s: %s\n", names[kind], bad ? "bad" : "done");
	}
	return 0;
}
