/* Where the kernel gives a process only few threads, and all of them wait in it, for a lock of a file: whoever holds that lock must still get to run and let go. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 40, KERNEL_THREADS = 12, SIGNALS = 6 };
static char path[] = "/tmp/few_threads.XXXXXX";
static int set;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int done;

static void *locks(void *arg) {
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) != 0 || flock(fd, LOCK_UN) != 0)
		return NULL;
	close(fd);
	pthread_mutex_lock(&mutex);
	done++;
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void *takes(void *arg) {
	struct sembuf down = {.sem_op = -1};
	return semop(set, &down, 1) == 0 ? arg : NULL;
}

static volatile int handled, begun, ended;

static void handler(int sig) {
	(void)sig;
	handled++;
}

/* Interrupted now and then; the others are called back from the same wait. */
static void *is_signalled(void *arg) {
	int fd = open(path, O_RDWR | O_CLOEXEC);
	while (begun++, flock(fd, LOCK_EX) != 0)
		ended += errno == EINTR;
	flock(fd, LOCK_UN);
	close(fd);
	return arg;
}

static void signals(pthread_t to, int flags) {
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	sigaction(SIGUSR1, &action, NULL);
	handled = ended = 0;
	for (int i = 1; i <= SIGNALS; i++) {
		int before = begun;
		pthread_kill(to, SIGUSR1);
		while (handled < i || (!flags && begun == before))
			usleep(1000);
		usleep(20000); /* until it waits again */
	}
	printf("%s: %d signals, flock() ended %d times\n", flags ? "SA_RESTART" : "without", handled, ended);
}

static int start(pthread_t *threads, void *(*body)(void *)) {
	int made = 0;
	for (; made < THREADS; made++) {
		int r = pthread_create(&threads[made], NULL, body, &done);
		if (r == EAGAIN && made > 2)
			break;
		if (r != 0) {
			printf("pthread_create: %d\n", r);
			exit(1);
		}
	}
	return made;
}

static int join(pthread_t *threads, int made) {
	int good = 0;
	for (int i = 0; i < made; i++) {
		void *result;
		pthread_join(threads[i], &result);
		good += result == &done;
	}
	return good;
}

static void few(void) {
	/* nobody else's threads count for a user that is there for this process only; an ordinary user has what the limit leaves */
	uid_t user = 300000 + (uid_t)getpid();
	struct rlimit limit = {KERNEL_THREADS, KERNEL_THREADS};
	pthread_t threads[THREADS];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	fchmod(fd, 0666);
	if (setresuid(user, user, user) == 0 && setrlimit(RLIMIT_NPROC, &limit) != 0)
		exit(1);
	flock(fd, LOCK_EX);
	pthread_t signalled;
	pthread_create(&signalled, NULL, is_signalled, NULL);
	int made = start(threads, locks);
	for (int i = 0; i < 5; i++)
		usleep(20000);
	signals(signalled, SA_RESTART);
	signals(signalled, 0);
	flock(fd, LOCK_UN);
	pthread_join(signalled, NULL);
	puts(join(threads, made) == made && done == made ? "all have had the lock" : "not all have had the lock");
	made = start(threads, takes);
	usleep(20000);
	for (int i = 0; i < made; i++) {
		struct sembuf up = {.sem_op = 1};
		semop(set, &up, 1);
		usleep(1000);
	}
	puts(join(threads, made) == made ? "all have had the semaphore" : "not all have had the semaphore");
	exit(0);
}

int main(void) {
	int fd = mkstemp(path), status;
	set = semget(IPC_PRIVATE, 1, 0666);
	if (fd < 0 || set < 0)
		return 1;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		few();
	waitpid(child, &status, 0);
	unlink(path);
	semctl(set, 0, IPC_RMID);
	printf("ended with %d\n", status);
	return 0;
}
