/* A child that asked to be killed when its parent ends lives as long as the thread that forked it, whatever happens to the kernel threads
 * beside that (FRK-13). Each thread forks one such child, blocks in the kernel for a while, and goes on living. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 24 };
static int hold[2], end[2]; /* closed: the blocking children end; the children in question end */
static pthread_barrier_t forked, back, over;
static pid_t lives[THREADS];

static pid_t child_of(int *until, int with_signal) {
	int ready[2];
	char c;
	if (pipe(ready) != 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		close(hold[1]);
		close(end[1]);
		close(ready[0]);
		if (with_signal)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		write(ready[1], "r", 1); /* says that it asked; its end may live on in other children */
		_exit(read(until[0], &c, 1) != 0);
	}
	close(ready[1]);
	read(ready[0], &c, 1);
	close(ready[0]);
	return pid;
}

static void reap(pid_t pid) {
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

static void *thread(void *arg) {
	int i = (int)(long)arg;
	lives[i] = child_of(end, 1);
	pid_t blocks = child_of(hold, 0);
	pthread_barrier_wait(&forked);
	reap(blocks); /* in the kernel, all of them at once */
	pthread_barrier_wait(&back);
	pthread_barrier_wait(&over);
	return NULL;
}

int main(void) {
	pthread_t t[THREADS];
	int killed = 0, good = 0;
	pipe(hold);
	pipe(end);
	pthread_barrier_init(&forked, NULL, THREADS + 1);
	pthread_barrier_init(&back, NULL, THREADS + 1);
	pthread_barrier_init(&over, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, thread, (void *)i);
	pthread_barrier_wait(&forked);
	usleep(20000); /* more likely in the kernel; if not, less is tested */
	close(hold[1]);
	pthread_barrier_wait(&back);
	/* Kernel threads that nobody needs any more would have ended by now, or do so within this time. */
	for (int round = 0; round < 20; round++, usleep(10000)) {
		for (int i = 0; i < THREADS; i++) {
			siginfo_t info = {.si_pid = 0};
			if (waitid(P_PID, (id_t)lives[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
				killed++;
		}
	}
	printf("killed while their parent lives: %s\n", killed ? "some" : "none");
	close(end[1]);
	for (int i = 0; i < THREADS; i++) {
		int status = -1;
		while (waitpid(lives[i], &status, 0) < 0 && errno == EINTR)
			continue;
		good += status == 0;
	}
	printf("ended in peace: %d\n", good);
	pthread_barrier_wait(&over);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	return 0;
}
