/* A handler with SA_RESTART on top of which one without has run: the call that it interrupted goes on, and so it does when later a signal comes that is for
 * somebody else. Main, who takes what another process sends, is on another kernel thread than the first by then (SIG-1). */
#include "sync_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INNER = 3, OUTER = 300 };

static sem_t here, taken;
static volatile sig_atomic_t over;

static void ends(int sig) {
	(void)sig;
	if (!over)
		sem_post(&taken);
}

static void goes_on(int sig) {
	(void)sig;
	over = 1;
	raise(SIGUSR2);
	over = 0;
	sem_post(&here);
}

static void *waits(void *arg) {
	int fd = open(arg, O_RDWR);
	sem_post(&here);
	EQ(flock(fd, LOCK_EX), 0);
	close(fd);
	return NULL;
}

int main(void) {
	char name[] = "/tmp/sig_eintr_nested.XXXXXX";
	struct sigaction act = {.sa_handler = goes_on, .sa_flags = SA_RESTART};
	int fd = mkstemp(name);
	pthread_t t;
	test_begin();
	sem_init(&here, 0, 0);
	sem_init(&taken, 0, 0);
	EQ(flock(fd, LOCK_EX), 0);
	sigaction(SIGUSR1, &act, NULL);
	act = (struct sigaction){.sa_handler = ends};
	sigaction(SIGUSR2, &act, NULL);
	EQ(pthread_create(&t, NULL, waits, name), 0);
	sem_take(&here);
	usleep(10000); /* mostly it is in flock() by then */
	for (int i = 0; i < INNER; i++) {
		EQ(pthread_kill(t, SIGUSR1), 0);
		sem_take(&here);
	}
	for (int i = 0; i < OUTER; i++) {
		pid_t child = fork();
		if (child == 0) {
			kill(getppid(), SIGUSR2);
			_exit(0);
		}
		sem_take(&taken);
		while (waitpid(child, NULL, 0) < 0)
			EQ(errno, EINTR);
	}
	flock(fd, LOCK_UN);
	join(t);
	unlink(name);
	return test_end();
}
