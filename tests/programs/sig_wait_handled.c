/* A thread waits in sigwait() for one signal while another one, which it handles, comes to it at any moment, also just before it gets into the kernel: each signal that is sent for the wait
 * comes out of it. */
#include "signal_test.h"

enum { ROUNDS = 1500, BURST = 3 };

static sem_t came;
static volatile int handled;

static void handler(int sig) {
	(void)sig;
	handled++;
}

static void *waits(void *arg) {
	sigset_t usr1;
	int sig;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	for (int i = 0; i < ROUNDS; i++) {
		EQ(sigwait(&usr1, &sig), 0);
		EQ(sig, SIGUSR1);
		sem_post(&came);
	}
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	unsigned seed = 1;
	sem_init(&came, 0, 0);
	EQ(sigaction(SIGUSR2, &sa, NULL), 0);
	mask(SIG_BLOCK, SIGUSR1); /* inherited */
	pthread_t t = start(waits, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		seed = seed * 1103515245u + 12345u;
		for (unsigned n = 0; n <= (seed >> 20) % BURST; n++) {
			EQ(pthread_kill(t, SIGUSR2), 0);
			for (volatile unsigned pause = (seed >> (8 + n)) % 2000; pause > 0; pause--)
				;
		}
		EQ(pthread_kill(t, SIGUSR1), 0);
		sem_take(&came);
	}
	join(t);
	CHECK(handled > 0);
	return test_end();
}
