/* pthread_kill() of a program that was linked before glibc 2.34, for a thread that has ended and is not joined: ESRCH, as programs of that time ask by it whether a thread lives
 * (CAN-6). Later ones are told nothing (thread_end). */
#include "signal_test.h"

int old_kill(pthread_t thread, int sig);
#ifdef __x86_64__
__asm__(".symver old_kill, pthread_kill@GLIBC_2.2.5");
#else
__asm__(".symver old_kill, pthread_kill@GLIBC_2.17");
#endif

static sem_t handled, over;

static void handler(int sig) {
	(void)sig;
	sem_post(&handled);
}

static void *ends(void *arg) {
	return arg;
}

static void *stays(void *arg) {
	sem_take(&over);
	return arg;
}

int main(void) {
	test_begin();
	sem_init(&handled, 0, 0);
	sem_init(&over, 0, 0);
	signal(SIGUSR1, handler);
	pthread_t there = start(stays, NULL), gone = start(ends, NULL);
	for (int i = 0; i < 5000 && old_kill(gone, 0) == 0; i++)
		usleep(1000);
	EQ(old_kill(gone, 0), ESRCH);
	EQ(old_kill(gone, SIGUSR1), ESRCH);
	EQ(old_kill(gone, 1000), ESRCH);
	EQ(old_kill(there, 0), 0);
	EQ(old_kill(there, 1000), EINVAL);
	EQ(old_kill(there, SIGUSR1), 0);
	sem_take(&handled);
	EQ(old_kill(pthread_self(), 0), 0);
	EQ(old_kill(pthread_self(), SIGUSR1), 0);
	EQ(sem_trywait(&handled), 0);
	sem_post(&over);
	join(there);
	join(gone);
	return test_end();
}
