/* Signals that another process sends are main's: threads that wait in the kernel (waitpid, flock, a futex that is not private) must not see EINTR for
 * them, although the handler has no SA_RESTART (SIG-1, SIG-2). Nor those that wait for a word which other processes may change. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/futex.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIGNALS = 300 };
static volatile int seen, elsewhere;
static pthread_t main_thread;
static int disturbed;

static void on_signal(int sig) {
	(void)sig;
	if (!pthread_equal(pthread_self(), main_thread))
		elsewhere++;
	seen++;
}

static void *waits(void *arg) {
	pid_t pid = *(pid_t *)arg;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		__atomic_add_fetch(&disturbed, 1, __ATOMIC_RELAXED);
	return NULL;
}

static char path[] = "/tmp/sig_stray.XXXXXX";
static void *locks(void *arg) {
	int fd = open(path, O_RDWR);
	while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
		__atomic_add_fetch(&disturbed, 1, __ATOMIC_RELAXED);
	close(fd);
	return arg;
}

static void *sleeps(void *arg) {
	struct timespec ts = {0, 400000000}, left;
	while (nanosleep(&ts, &left) < 0 && errno == EINTR) {
		ts = left;
		__atomic_add_fetch(&disturbed, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

static int word;
static void *word_waits(void *arg) {
	struct timespec ts = {1000, 0};
	while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
		if (syscall(SYS_futex, &word, FUTEX_WAIT, 0, arg ? &ts : NULL) < 0 && errno == EINTR)
			__atomic_add_fetch(&disturbed, 1, __ATOMIC_RELAXED);
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_handler = on_signal};
	pthread_t t[10];
	pid_t children[4], sender, parent = getpid();
	int go[2], fd = mkstemp(path);
	char b;
	main_thread = pthread_self();
	pipe(go);
	for (int i = 0; i < 4; i++) {
		children[i] = fork();
		if (children[i] == 0)
			for (;;)
				pause();
	}
	sender = fork();
	if (sender == 0) {
		while (read(go[0], &b, 1) == 1 && b == 'g') {
			usleep(500);
			kill(parent, SIGUSR1);
		}
		_exit(0);
	}
	sigaction(SIGUSR1, &sa, NULL);
	flock(fd, LOCK_EX);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, waits, &children[i]);
	for (int i = 4; i < 6; i++)
		pthread_create(&t[i], NULL, locks, NULL);
	for (int i = 6; i < 8; i++)
		pthread_create(&t[i], NULL, sleeps, NULL);
	for (int i = 8; i < 10; i++)
		pthread_create(&t[i], NULL, word_waits, i == 8 ? &word : NULL);
	usleep(30000);
	for (int i = 0; i < SIGNALS; i++) {
		int before = seen;
		write(go[1], "g", 1);
		for (int n = 0; seen == before && n < 20; n++)
			sleep(1);
	}
	write(go[1], "x", 1);
	flock(fd, LOCK_UN);
	for (int i = 0; i < 4; i++)
		kill(children[i], SIGKILL);
	__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &word, FUTEX_WAKE, 2);
	for (int i = 0; i < 10; i++)
		pthread_join(t[i], NULL);
	while (waitpid(sender, NULL, 0) < 0 && errno == EINTR)
		;
	printf("seen %d, disturbed %d, elsewhere %d\n", seen, disturbed, elsewhere);
	unlink(path);
	return 0;
}
