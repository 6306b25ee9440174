/* Who leaves sigwait() by another way than its return waits there no longer: what is sent to the process is taken by the thread that does not block it. A handler jumps out of it; it is
 * cancelled, and goes on in a cleanup handler; and a handler jumps out of it where the signal, which has no handler, is to end the process (SIG-4, SIG-11). */
#include <setjmp.h>
#include <sys/wait.h>

#include "signal_test.h"
#include "sleeping.h"

enum { ROUNDS = 20 };

static sigjmp_buf env;
static sem_t is_open, over, handled, cleaning;
static _Atomic pid_t waiting;
static pthread_t opener;

static void jumps(int sig) {
	(void)sig;
	siglongjmp(env, 1);
}

static void on_usr1(int sig) {
	(void)sig;
	CHECK(pthread_equal(pthread_self(), opener));
	sem_post(&handled);
}

static void *opens(void *arg) {
	mask(SIG_BLOCK, SIGUSR2);
	mask(SIG_UNBLOCK, SIGUSR1);
	sem_post(&is_open);
	sem_take(&over);
	return arg;
}

static void open_it(void) {
	opener = start(opens, NULL);
	sem_take(&is_open);
}

static void close_it(void) {
	sem_post(&over);
	join(opener);
}

static void wait_for_it(void) {
	sigset_t set;
	int sig;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	waiting = gettid();
	sigwait(&set, &sig);
	CHECK(!"sigwait returned");
}

static void *interrupts(void *who) {
	await_sleeping(&waiting);
	pthread_kill(*(pthread_t *)who, SIGUSR2);
	return NULL;
}

static void jump_out(void) {
	pthread_t self = pthread_self(), t;
	waiting = 0;
	t = start(interrupts, &self);
	if (sigsetjmp(env, 1) == 0)
		wait_for_it();
	join(t);
}

static bool sent_and_handled(void) {
	struct timespec limit = in_ms(CLOCK_REALTIME, 5000);
	int r = kill(getpid(), SIGUSR1);
	EQ(r, 0);
	while ((r = sem_timedwait(&handled, &limit)) != 0 && errno == EINTR)
		continue;
	EQ(r, 0);
	return r == 0;
}

static void by_jump(void) {
	bool good = true;
	step("jumps");
	open_it();
	for (int i = 0; i < ROUNDS && good; i++) {
		jump_out();
		good = sent_and_handled();
	}
	close_it();
}

static void cleans(void *arg) {
	(void)arg;
	sem_post(&cleaning);
	sem_take(&over);
}

static void *is_cancelled(void *arg) {
	pthread_cleanup_push(cleans, NULL);
	wait_for_it();
	pthread_cleanup_pop(0);
	return arg;
}

static void by_cancellation(void) {
	bool good = true;
	step("is cancelled");
	for (int i = 0; i < ROUNDS && good; i++) {
		waiting = 0;
		pthread_t t = start(is_cancelled, NULL); /* before the other: whoever looks for one that takes it finds this one first */
		await_sleeping(&waiting);
		EQ(pthread_cancel(t), 0);
		sem_take(&cleaning);
		open_it();
		good = sent_and_handled();
		sem_post(&over);
		close_it();
		EQ(join(t), (long)PTHREAD_CANCELED);
	}
}

static void ends_the_process(void) {
	int status = -1;
	step("ends");
	pid_t child = fork();
	if (child == 0) {
		alarm(5);
		open_it();
		jump_out();
		kill(getpid(), SIGUSR1);
		for (;;)
			pause();
	}
	EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status));
	EQ(WTERMSIG(status), SIGUSR1);
}

int main(void) {
	struct sigaction jump = {.sa_handler = jumps}, count = {.sa_handler = on_usr1};
	test_begin();
	sem_init(&is_open, 0, 0);
	sem_init(&over, 0, 0);
	sem_init(&handled, 0, 0);
	sem_init(&cleaning, 0, 0);
	sigaction(SIGUSR2, &jump, NULL);
	mask(SIG_BLOCK, SIGUSR1);
	ends_the_process();
	sigaction(SIGUSR1, &count, NULL);
	by_jump();
	by_cancellation();
	return test_end();
}
