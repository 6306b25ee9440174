/* Who forks while it holds a mutex with a priority ceiling: the child has the raised priority, knows its own, and has that again when it unlocks. By a thread, by
 * main, and in a child that makes threads before it unlocks. Without the right to real-time priorities there is nothing to see. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex;

static void priorities(const char *when) {
	struct sched_param own, now;
	int policy;
	pthread_getschedparam(pthread_self(), &policy, &own);
	sched_getparam(0, &now);
	printf("  %-24s policy %d, own %d, now %d\n", when, policy, own.sched_priority, now.sched_priority);
}

static void *nothing(void *arg) {
	return arg;
}

static void child(int makes_threads) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		pthread_t t;
		alarm(20);
		priorities("child");
		if (makes_threads && pthread_create(&t, NULL, nothing, NULL) == 0) {
			pthread_join(t, NULL);
			priorities("child, made a thread");
		}
		pthread_mutex_unlock(&mutex);
		priorities("child, unlocked");
		pthread_mutex_lock(&mutex);
		priorities("child, locked again");
		pthread_mutex_unlock(&mutex);
		priorities("child, unlocked again");
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void *forks(void *who) {
	struct sched_param param = {5};
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) != 0)
		return who;
	puts(who);
	pthread_mutex_lock(&mutex);
	priorities("holds it");
	child(0);
	child(1);
	pthread_mutex_unlock(&mutex);
	priorities("unlocked");
	return who;
}

int main(void) {
	pthread_mutexattr_t a;
	pthread_t t;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT);
	pthread_mutexattr_setprioceiling(&a, 20);
	pthread_mutex_init(&mutex, &a);
	if (fork() == 0) {
		forks("main, alone");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	pthread_create(&t, NULL, forks, "a thread");
	pthread_join(t, NULL);
	forks("main");
	puts("done");
	return 0;
}
