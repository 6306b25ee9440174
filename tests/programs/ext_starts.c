/* The first thread of the process is created by a thread of libc's own, the function that aio_read() starts when it is done: its function returns, what it created goes on, main creates
 * more, forks and takes signals; and the process ends with its last thread. Also in a fork's child that such a thread has made. Each case is a process of its own. */
#include "sync_test.h"

#include <aio.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

enum { CREATED = 4, ROUNDS = 3 };

static sem_t returned, ended;
static pthread_key_t key;
static int zero, told[2], taken;
static bool computes;
static volatile bool go;

static void *created(void *arg) {
	while (!go)
		usleep(1000);
	sem_post(&ended);
	return arg;
}

static void *computing(void *arg) {
	for (volatile int i = 0; i < 30000000; i++)
		continue;
	sem_post(&ended);
	return arg;
}

static void returns(void *value) {
	(void)value;
	sem_post(&returned);
}

static void creates(union sigval value) {
	(void)value;
	for (int i = 0; i < CREATED; i++)
		pthread_detach(start(computes ? computing : created, NULL));
	pthread_setspecific(key, &key);
}

static void creates_in_child(union sigval value) {
	pid_t pid = fork();
	if (pid == 0) {
		creates(value);
		go = true;
		return;
	}
	int status;
	_exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void await(sem_t *sem) {
	while (sem_wait(sem) != 0)
		continue;
}

static void begin(void (*f)(union sigval)) {
	static struct aiocb request;
	static char byte;
	request = (struct aiocb){.aio_fildes = zero, .aio_buf = &byte, .aio_nbytes = 1, .aio_sigevent = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = f}};
	if (aio_read(&request) != 0)
		_exit(1);
}

static void take(int sig) {
	(void)sig;
	taken++;
}

static void goes_on(void) {
	begin(creates);
	await(&returned);
	for (int i = 0; i < ROUNDS; i++)
		join(start(computing, NULL));
	for (int i = 0; i < ROUNDS; i++)
		await(&ended);
	signal(SIGUSR1, take);
	EQ(kill(getpid(), SIGUSR1), 0);
	EQ(raise(SIGUSR1), 0);
	EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
	EQ(taken, 3);
	pid_t pid = fork();
	if (pid == 0) {
		join(start(computing, NULL));
		_exit(failures != 0);
	}
	int status = 1;
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
	go = true;
	for (int i = 0; i < CREATED; i++)
		await(&ended);
	exit(failures != 0);
}

static void computes_on(void) {
	computes = true;
	begin(creates);
	await(&returned);
	for (int i = 0; i < CREATED; i++)
		await(&ended);
	exit(0);
}

static void all_end(void) {
	begin(creates);
	await(&returned);
	go = true;
	pthread_exit(NULL);
}

static void child_ends(void) {
	begin(creates_in_child);
	pthread_exit(NULL);
}

static void at_exit(void) {
	if (write(told[1], "e", 1) != 1)
		_exit(1);
}

static int status_of(void (*f)(void)) {
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		atexit(at_exit);
		f();
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void) {
	char c[8];
	zero = open("/dev/zero", O_RDONLY);
	if (zero < 0 || pipe(told) != 0)
		return 1;
	sem_init(&returned, 0, 0);
	sem_init(&ended, 0, 0);
	pthread_key_create(&key, returns);
	EQ(status_of(goes_on), 0);
	EQ(status_of(computes_on), 0);
	EQ(status_of(all_end), 0);
	EQ(status_of(child_ends), 0);
	EQ(read(told[0], c, sizeof c), 4); /* exit handlers of each, once */
	return failures != 0;
}
