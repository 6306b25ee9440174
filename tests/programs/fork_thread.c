/* fork() from a thread while others run and hold locks: the child has one thread, which creates and joins threads, uses mutexes,
 * malloc, stdio and descriptors of its own (FRK-1, FRK-2, FRK-4); atfork handlers run in order (FRK-3). */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int stop;
static pthread_mutex_t guarded = PTHREAD_MUTEX_INITIALIZER, contended = PTHREAD_MUTEX_INITIALIZER;
static char order[64];
static int in_thread; /* the forking thread blocks SIGUSR2 */

static void prepare(void) { pthread_mutex_lock(&guarded); strcat(order, "p"); }
static void parent(void) { strcat(order, "P"); pthread_mutex_unlock(&guarded); }
static void child(void) { strcat(order, "C"); pthread_mutex_unlock(&guarded); }
static void prepare2(void) { strcat(order, "q"); }
static void parent2(void) { strcat(order, "Q"); }
static void child2(void) { strcat(order, "D"); }

static void *busy(void *arg) {
	while (!stop) {
		pthread_mutex_lock(&guarded);
		free(malloc(100 + rand() % 1000));
		pthread_mutex_unlock(&guarded);
		pthread_mutex_lock(&contended);
		sched_yield();
		pthread_mutex_unlock(&contended);
	}
	return arg;
}

static void *parked(void *arg) {
	char b;
	while (read(*(int *)arg, &b, 1) < 0 && errno == EINTR)
		;
	return arg;
}

static __thread int local = 5;
static pthread_key_t key;
static void *in_child(void *arg) {
	int pair[2];
	char b = 0;
	if (local != 5 || pipe(pair) != 0)
		return NULL;
	local = 6;
	pthread_setspecific(key, arg);
	pthread_mutex_lock(&guarded);
	pthread_mutex_unlock(&guarded);
	usleep(1000);
	write(pair[1], "x", 1);
	read(pair[0], &b, 1);
	return b == 'x' && pthread_getspecific(key) == arg ? arg : NULL;
}

static int child_main(void) {
	pthread_t t[20];
	char marks[20];
	int good = 0;
	sigset_t set;
	for (int i = 0; i < 20; i++)
		if (pthread_create(&t[i], NULL, in_child, marks + i) != 0)
			return 90;
	for (int i = 0; i < 20; i++) {
		void *r = NULL;
		pthread_join(t[i], &r);
		good += r == &marks[i];
	}
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	if (sigismember(&set, SIGUSR2) != in_thread || sigismember(&set, SIGUSR1))
		return 91;
	return good;
}

static void *forks(void *arg) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	in_thread = 1;
	for (int i = 0; i < 20; i++) {
		order[0] = 0;
		pid_t pid = fork();
		if (pid == 0) {
			if (strcmp(order, "qpCD") != 0)
				_exit(92);
			if (i % 4 == 1) { /* a grandchild, after threads */
				int r = child_main();
				pid_t grandchild = fork();
				if (grandchild == 0)
					_exit(child_main());
				int status;
				waitpid(grandchild, &status, 0);
				_exit(r == 20 && WIFEXITED(status) && WEXITSTATUS(status) == 20 ? 20 : 93);
			}
			_exit(child_main());
		}
		int status;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 20 || strcmp(order, "qpPQ") != 0)
			printf("child: status %x, order %s\n", status, order);
		else
			++*(int *)arg;
	}
	return NULL;
}

int main(void) {
	pthread_t t[8], f;
	int pair[2], good = 0;
	pipe(pair);
	pthread_key_create(&key, NULL);
	pthread_atfork(prepare, parent, child);
	pthread_atfork(prepare2, parent2, child2);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, busy, NULL);
	for (int i = 4; i < 8; i++)
		pthread_create(&t[i], NULL, parked, &pair[0]);
	pthread_create(&f, NULL, forks, &good);
	pthread_join(f, NULL);
	stop = 1;
	write(pair[1], "abcd", 4);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	printf("good children of a thread: %d\n", good);
	fflush(stdout);
	in_thread = 0;
	order[0] = 0;
	pid_t pid = fork(); /* main */
	if (pid == 0)
		exit(child_main());
	int status;
	waitpid(pid, &status, 0);
	printf("child of main: %d\n", WEXITSTATUS(status));
	return 0;
}
