/* The last pthread of the program ends while threads of libc's own go on: one for the functions of timers, one for aio_read(). They are threads of the process, which ends with the
 * last of them, or when one says so. One that left by the kernel's exit(2) changes only that nobody runs the exit handlers then. Each case is a process of its own. */
#include "sync_test.h"

#include <aio.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { MS = 1000000, SAID = 9, AWAY_US = 20000 };

static pthread_t leaving;
static pthread_key_t key;
static int pipe_ends[2], told[2], hits;
static char byte;
static struct aiocb request;

static void *nothing(void *arg) {
	return arg;
}

static void *vanishes(void *arg) {
	syscall(SYS_exit, 0);
	return arg;
}

static void hit(union sigval value) {
	(void)value;
	if (__atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST) == 3)
		_exit(SAID);
}

static void *says(void *arg) {
	(void)arg;
	_exit(SAID);
}

static void hit_makes(union sigval value) {
	pthread_t thread;
	(void)value;
	if (__atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST) <= 3)
		pthread_create(&thread, NULL, hits == 3 ? says : nothing, NULL);
}

static void hit_joins(union sigval value) {
	void *result;
	(void)value;
	if (pthread_join(leaving, &result) == 0)
		_exit(result == &leaving ? SAID : 1);
}

static void timer_start(void (*f)(union sigval)) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = f};
	struct itimerspec when = {.it_value = {0, 10 * MS}, .it_interval = {0, 10 * MS}};
	timer_t id;
	if (timer_create(CLOCK_MONOTONIC, &event, &id) != 0 || timer_settime(id, 0, &when, NULL) != 0)
		_exit(1);
}

static void timer(void) {
	timer_start(hit);
}

static void timer_makes(void) {
	timer_start(hit_makes);
}

static void timer_and_vanished(void) {
	join(start(vanishes, NULL));
	timer_start(hit);
}

static void timer_joins(void) {
	timer_start(hit_joins);
}

static void at_exit(void) {
	if (aio_error(&request) == 0 && aio_return(&request) == 1 && byte == 'x' && write(told[1], "e", 1) != 1)
		_exit(1);
}

/* What it reads comes when main has gone. */
static void gone(void *arg) {
	(void)arg;
	if (write(told[1], "g", 1) != 1)
		_exit(1);
}

static void reads(void) {
	request.aio_fildes = pipe_ends[0];
	request.aio_buf = &byte;
	request.aio_nbytes = 1;
	atexit(at_exit);
	pthread_key_create(&key, gone);
	pthread_setspecific(key, &key);
	if (aio_read(&request) != 0)
		_exit(1);
}

static void done_makes(union sigval value) {
	(void)value;
	pthread_detach(start(vanishes, NULL));
}

static void reads_and_makes(void) {
	request.aio_sigevent = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = done_makes};
	reads();
}

static void *forks(void *arg) {
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		timer_start(hit);
		return arg;
	}
	_exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* In the child of a thread. */
static void forker(void) {
	start(forks, NULL);
}

static pid_t leave(void (*f)(void)) {
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	leaving = pthread_self();
	join(start(nothing, NULL));
	f();
	pthread_exit(&leaving);
}

static int status_of(pid_t pid) {
	int status;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* In a child for which libc goes on counting its parent's threads: they are not there. */
static int bare_child(void) {
	pid_t pid = fork();
	if (pid == 0) {
		timer_t id;
		struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = hit};
		timer_create(CLOCK_MONOTONIC, &event, &id);
		if ((pid = _Fork()) != 0)
			_exit(status_of(pid) == 0 ? SAID : 1);
		pthread_detach(start(nothing, NULL));
		pthread_exit(NULL);
	}
	return status_of(pid);
}

/* What one reads who has left; `exits`: its exit handlers run. */
static void read_ends(void (*f)(void), bool exits) {
	char c;
	if (pipe(pipe_ends) != 0 || pipe(told) != 0)
		_exit(1);
	pid_t pid = leave(f);
	close(told[1]);
	EQ(read(told[0], &c, 1), 1);
	EQ(c, 'g');
	usleep(AWAY_US);
	EQ(write(pipe_ends[1], "x", 1), 1);
	EQ(status_of(pid), 0);
	EQ(read(told[0], &c, 1), exits);
	EQ(c, exits ? 'e' : 'g');
}

int main(void) {
	request.aio_sigevent.sigev_notify = SIGEV_NONE;
	EQ(bare_child(), SAID);
	EQ(status_of(leave(timer)), SAID);
	EQ(status_of(leave(timer_makes)), SAID);
	EQ(status_of(leave(timer_joins)), SAID);
	EQ(status_of(leave(forker)), SAID);
	EQ(status_of(leave(timer_and_vanished)), SAID);
	read_ends(reads, true);
	read_ends(reads_and_makes, false);
	return failures != 0;
}
