/* A handler without SA_RESTART runs while a thread is on its way into a call that waits: read, recv, sem_wait, poll. Whether it came before the wait or in it
 * natively depends on a moment; in it the call fails with EINTR, and the thread makes it again. Nothing is lost, whichever it was, and now and then it is EINTR.
 * With a handler with SA_RESTART it never is, but for poll. Under chaos, p=100, the signal nearly always comes before. */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>

#include "sync_test.h"

enum { ROUNDS = 400, WAYS = 4 };

static int fd[WAYS][2];
static sem_t sem;
static _Atomic int calling, handled, done;
static int ended[2][WAYS], wrong;

static void handler(int sig) {
	(void)sig;
	handled++;
}

static int wait_once(int way) {
	char c;
	struct pollfd p = {.fd = fd[way][0], .events = POLLIN};
	switch (way) {
	case 0: return (int)read(fd[way][0], &c, 1);
	case 1: return (int)recv(fd[way][0], &c, 1, 0);
	case 2: return sem_wait(&sem) == 0 ? 1 : -1;
	default: return poll(&p, 1, -1) == 1 ? (int)read(fd[way][0], &c, 1) : -1;
	}
}

static void *waiter(void *arg) {
	int restarts = *(int *)arg;
	for (int i = 0; i < ROUNDS; i++) {
		int r;
		calling++;
		while ((r = wait_once(i % WAYS)) < 0 && errno == EINTR)
			ended[restarts][i % WAYS]++;
		wrong += r != 1;
		done++;
	}
	return NULL;
}

static void give(int way) {
	if (way == 2)
		sem_post(&sem);
	else
		EQ(write(fd[way][1], "x", 1), 1);
}

static void rounds(int restarts) {
	pthread_t t;
	struct sigaction sa = {.sa_handler = handler, .sa_flags = restarts ? SA_RESTART : 0};
	sigaction(SIGUSR1, &sa, NULL);
	calling = handled = done = 0;
	pthread_create(&t, NULL, waiter, &restarts);
	for (int i = 0; i < ROUNDS; i++) {
		while (calling != i + 1)
			sched_yield();
		pthread_kill(t, SIGUSR1);
		while (handled != i + 1)
			sched_yield();
		give(i % WAYS);
		while (done != i + 1)
			sched_yield();
	}
	pthread_join(t, NULL);
}

int main(void) {
	static const char *const names[] = {"read", "recv", "sem_wait", "poll"};
	pipe(fd[0]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, fd[1]);
	pipe(fd[3]);
	sem_init(&sem, 0, 0);
	rounds(0);
	rounds(1);
	printf("wrong: %d\n", wrong);
	for (int i = 0; i < WAYS; i++)
		printf("%s: %s, with SA_RESTART %s\n", names[i], ended[0][i] ? "EINTR" : "no EINTR", ended[1][i] ? "EINTR" : "none");
	fprintf(stderr, "%d %d %d %d, %d\n", ended[0][0], ended[0][1], ended[0][2], ended[0][3], ended[1][3]);
	return 0;
}
