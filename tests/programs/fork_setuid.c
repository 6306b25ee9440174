/* setuid & co. reach every kernel thread (SEC-2): changed in one thread, seen in all; not permitted things fail with EPERM. Run as root it
 * drops privileges in a child; otherwise only sets what it is. */
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 12 };
static volatile int stop;
static pthread_barrier_t before, after;
static volatile int wrong;
static uid_t want_uid;

static void *thread(void *arg) {
	pthread_barrier_wait(&before);
	pthread_barrier_wait(&after);
	/* the kernel's answer for the kernel thread we are on */
	for (int i = 0; i < 50; i++) {
		if ((uid_t)syscall(SYS_geteuid) != want_uid || geteuid() != want_uid)
			wrong++;
		usleep(100);
	}
	return arg;
}

static void *spins(void *arg) {
	while (!stop)
		;
	return arg;
}

static void *changes(void *arg) {
	pthread_barrier_wait(&before);
	int r = want_uid == getuid() ? setresuid(-1, want_uid, -1) : setuid(want_uid);
	pthread_barrier_wait(&after);
	errno = 0;
	int refused = setuid(want_uid == 0 ? 0 : 0);
	printf("set: %d, back to root: %d %s\n", r, refused, refused ? strerror(errno) : "");
	fflush(stdout);
	return arg;
}

static int run(void) {
	pthread_t t[THREADS], c, s;
	pthread_barrier_init(&before, NULL, THREADS + 1);
	pthread_barrier_init(&after, NULL, THREADS + 1);
	pthread_create(&s, NULL, spins, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, thread, NULL);
	pthread_create(&c, NULL, changes, NULL);
	pthread_join(c, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	stop = 1;
	pthread_join(s, NULL);
	printf("threads with another identity: %d\n", wrong);
	fflush(stdout);
	return 0;
}

int main(void) {
	int status;
	want_uid = getuid() == 0 ? 65534 : getuid();
	pid_t pid = fork();
	if (pid == 0)
		_exit(run());
	waitpid(pid, &status, 0);
	printf("child: %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return 0;
}
