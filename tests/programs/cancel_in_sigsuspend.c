/* A handler that runs in sigsuspend() cancels its own thread: that is acted on there. The cleanup handler runs, what follows the call does
 * not; where the thread is not to be cancelled the call ends as ever, and the next place after that is where it is acted on. */
#include "signal_test.h"

enum { ROUNDS = 20 };
static int cleaned, handled, went_on;
static sem_t ready;

static void cancels(int sig) {
	(void)sig;
	handled++;
	EQ(pthread_cancel(pthread_self()), 0);
}

static void cleans(void *arg) {
	++*(int *)arg;
}

static void suspend(void) {
	sigset_t none;
	sigemptyset(&none);
	EQ(sigsuspend(&none), -1);
	EQ(errno, EINTR);
}

/* With the signal pending already, or to be sent. */
static void *suspends(void *arg) {
	mask(SIG_BLOCK, SIGUSR1);
	pthread_cleanup_push(cleans, &cleaned);
	if (arg)
		sem_post(&ready);
	else
		pthread_kill(pthread_self(), SIGUSR1);
	suspend();
	went_on++;
	pthread_cleanup_pop(0);
	return NULL;
}

static void *is_not_cancelled(void *arg) {
	mask(SIG_BLOCK, SIGUSR1);
	pthread_cleanup_push(cleans, &cleaned);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_kill(pthread_self(), SIGUSR1);
	suspend();
	went_on++;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pthread_testcancel();
	went_on++;
	pthread_cleanup_pop(0);
	return arg;
}

static void expect(int gone_on) {
	EQ(handled, 1);
	EQ(cleaned, 1);
	EQ(went_on, gone_on);
	handled = cleaned = went_on = 0;
}

static void pending_already(void) {
	for (int i = 0; i < ROUNDS; i++) {
		EQ(join(start(suspends, NULL)), (long)PTHREAD_CANCELED);
		expect(0);
	}
	step("pending already");
}

static void sent(void) {
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t t = start(suspends, &ready);
		sem_take(&ready);
		if (i % 2)
			usleep(500); /* it waits, perhaps */
		EQ(pthread_kill(t, SIGUSR1), 0);
		EQ(join(t), (long)PTHREAD_CANCELED);
		expect(0);
	}
	step("sent");
}

static void disabled(void) {
	for (int i = 0; i < ROUNDS; i++) {
		EQ(join(start(is_not_cancelled, NULL)), (long)PTHREAD_CANCELED);
		expect(1);
	}
	step("disabled");
}

int main(void) {
	struct sigaction act = {.sa_handler = cancels};
	test_begin();
	sem_init(&ready, 0, 0);
	EQ(sigaction(SIGUSR1, &act, NULL), 0);
	pending_already();
	sent();
	disabled();
	return test_end();
}
