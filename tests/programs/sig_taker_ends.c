/* A signal to the process, which the kernel would give to any thread that does not block it: if the one that is about to take it ends, or blocks it, another
 * does. Main blocks it, most of the others live for a moment, or block it soon and then wait until the next is taken, and one stays. Each is taken, or the next
 * would never be sent. */
#include "sync_test.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

enum { SIGNALS = 4000, CHURN = 2 };

static sem_t taken, over;
static volatile int stop, count;

static void takes(int sig) {
	(void)sig;
	count++;
	sem_post(&taken);
}

static void *ends(void *arg) {
	return arg;
}

static void *blocks(void *arg) {
	sigset_t set;
	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int seen = count; count == seen && !stop;)
		sched_yield();
	return arg;
}

static void *makes(void *arg) {
	sigset_t set;
	sigfillset(&set);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	sigset_t none;
	sigemptyset(&none);
	pthread_attr_setsigmask_np(&attr, &none);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; !stop; i++) {
		pthread_t t;
		if (pthread_create(&t, &attr, i % 2 ? ends : blocks, NULL) == 0)
			pthread_join(t, NULL);
	}
	return arg;
}

static void *stays(void *arg) {
	sem_take(&over);
	return arg;
}

int main(void) {
	struct sigaction act = {.sa_handler = takes, .sa_flags = SA_RESTART};
	pthread_t t[CHURN + 1];
	sigset_t set;
	test_begin();
	sem_init(&taken, 0, 0);
	sem_init(&over, 0, 0);
	sigaction(SIGUSR1, &act, NULL);
	EQ(pthread_create(&t[CHURN], NULL, stays, NULL), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < CHURN; i++)
		EQ(pthread_create(&t[i], NULL, makes, NULL), 0);
	for (int i = 0; i < SIGNALS; i++) {
		EQ(kill(getpid(), SIGUSR1), 0);
		EQ(sem_wait(&taken), 0);
	}
	stop = 1;
	sem_post(&over);
	for (int i = 0; i <= CHURN; i++)
		EQ(pthread_join(t[i], NULL), 0);
	return test_end();
}
