/* A thread's timer goes on while its signal is ignored, and its own handler is set and taken away again: whoever else would take the signal never sees one. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "signal_test.h"

enum { ROUNDS = 400 };

static pthread_t owner;
static _Atomic int strays, hits, over;

static void hit(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	strays += !pthread_equal(owner, pthread_self()) || info->si_code != SI_TIMER;
	hits++;
}

static void *bystander(void *arg) {
	while (!over)
		usleep(100);
	return arg;
}

static void *owns(void *arg) {
	struct sigaction handled = {.sa_sigaction = hit, .sa_flags = SA_SIGINFO}, ignored = {.sa_handler = SIG_IGN};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
	struct itimerspec when = {{0, 100000}, {0, 100000}};
	timer_t id;
	owner = pthread_self();
	EQ(sigaction(SIGRTMIN + 1, &ignored, NULL), 0);
	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	EQ(timer_create(CLOCK_MONOTONIC, &event, &id), 0);
	EQ(timer_settime(id, 0, &when, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		EQ(sigaction(SIGRTMIN + 1, &handled, NULL), 0);
		for (int before = hits; hits == before;)
			usleep(50);
		EQ(sigaction(SIGRTMIN + 1, &ignored, NULL), 0);
		usleep(100 + i);
	}
	EQ(timer_delete(id), 0);
	over = 1;
	return arg;
}

int main(void) {
	pthread_t t[4];
	test_begin();
	for (int i = 0; i < 3; i++)
		EQ(pthread_create(&t[i], NULL, bystander, NULL), 0);
	EQ(pthread_create(&t[3], NULL, owns, NULL), 0);
	for (int i = 0; i < 4; i++)
		EQ(pthread_join(t[i], NULL), 0);
	EQ(strays, 0);
	return test_end();
}
