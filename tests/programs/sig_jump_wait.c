/* siglongjmp() out of a handler that interrupted a waiting call (SIG-11): the thread and what it waited on stay usable. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 400, WAYS = 6 };
static __thread sigjmp_buf env;
static sem_t sem, waiting, done;
static int sockets[2], pipes[2];
static volatile int jumps;

static void on_signal(int sig) {
	(void)sig;
	siglongjmp(env, 1);
}

static void wait_somehow(int way) {
	char b;
	struct pollfd p[2] = {{pipes[0], POLLIN, 0}, {sockets[0], POLLIN, 0}};
	switch (way) {
	case 0: read(pipes[0], &b, 1); break;
	case 1: recv(sockets[0], &b, 1, 0); break;
	case 2: poll(p, 2, -1); break;
	case 3: sem_wait(&sem); break;
	case 4: sleep(100); break;
	case 5: pause(); break;
	}
	puts("not reached");
}

static void *waits(void *arg) {
	volatile int round;
	for (round = 0; round < ROUNDS * WAYS; round++) {
		if (sigsetjmp(env, 1) == 0) {
			sem_post(&waiting);
			wait_somehow(round % WAYS);
		}
		jumps++;
		while (sem_wait(&done) != 0)
			;
	}
	return arg;
}

int main(void) {
	struct sigaction sa = {.sa_handler = on_signal};
	pthread_t w;
	sigset_t set;
	sem_init(&sem, 0, 0);
	sem_init(&waiting, 0, 0);
	sem_init(&done, 0, 0);
	pipe(pipes);
	socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&w, NULL, waits, NULL);
	for (int i = 0; i < ROUNDS * WAYS; i++) {
		sem_wait(&waiting);
		if (i % 3 == 0)
			usleep(50);
		else if (i % 3 == 1)
			sched_yield();
		pthread_kill(w, SIGUSR1);
		while (jumps == i)
			sched_yield();
		sem_post(&done);
	}
	pthread_join(w, NULL);
	/* still in order? */
	char b = 0;
	write(pipes[1], "a", 1);
	read(pipes[0], &b, 1);
	printf("pipe %c", b);
	write(sockets[1], "b", 1);
	read(sockets[0], &b, 1);
	printf(", socket %c", b);
	sem_post(&sem);
	printf(", sem %d", sem_trywait(&sem));
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	printf(", jumps %d, mask %d\n", jumps, sigismember(&set, SIGUSR1));
	printf("close %d %d\n", close(pipes[0]), close(sockets[0]));
	return 0;
}
