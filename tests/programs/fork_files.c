/* A fork that shares its descriptors with the child, by the clone system call: the parent's threads go on waiting for theirs while it lives, makes
 * threads of its own, and ends. */
#include <linux/sched.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int to_thread[2];
static sem_t got;

static void *reader(void *arg) {
	char c;
	while (read(to_thread[0], &c, 1) == 1 && c != '.') {
		printf("thread has %c\n", c);
		sem_post(&got);
	}
	return arg;
}

static void tell(char c) {
	if (write(to_thread[1], &c, 1) == 1)
		sem_wait(&got);
}

static void *pipe_closer(void *arg) {
	int *fds = arg;
	char c = 0;
	if (read(fds[0], &c, 1) == 1)
		close(fds[0]);
	return NULL;
}

/* What it opens and closes is the parent's, too. */
static int child(int threads) {
	int fds[2];
	pthread_t t;
	if (!threads)
		return 3;
	if (pipe(fds) != 0 || pthread_create(&t, NULL, pipe_closer, fds) != 0 || write(fds[1], "c", 1) != 1 || pthread_join(t, NULL) != 0)
		return 4;
	return fds[1];
}

static void fork_by(long n, int threads) {
	struct clone_args args = {.flags = CLONE_FILES, .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)(n == SYS_clone3 ? syscall(n, &args, sizeof args) : syscall(n, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
	int status = -1;
	if (pid == 0)
		_exit(child(threads));
	waitpid(pid, &status, 0);
	printf("child with%s threads: %s\n", threads ? "" : "out", WIFEXITED(status) && WEXITSTATUS(status) != 4 ? "good" : "bad");
	if (threads && WIFEXITED(status))
		printf("the number it left open: %d\n", close(WEXITSTATUS(status)));
}

int main(void) {
	pthread_t t;
	sem_init(&got, 0, 0);
	setvbuf(stdout, NULL, _IONBF, 0);
	if (pipe(to_thread) != 0 || pthread_create(&t, NULL, reader, NULL) != 0)
		return 1;
	tell('a');
	fork_by(SYS_clone, 0);
	tell('b');
	fork_by(SYS_clone3, 0);
	tell('c');
	fork_by(SYS_clone, 1);
	tell('d');
	fork_by(SYS_clone3, 1);
	tell('e');
	close(to_thread[1]);
	printf("join %d\n", pthread_join(t, NULL));
	return 0;
}
