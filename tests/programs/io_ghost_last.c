/* A call waits for a socket, others have just been made on it and found nothing, and its number is closed: what is sent then reaches who waits, because its call holds the socket, whoever of
 * the others was the last to let go of it meanwhile (FD-1). Who begins too late is told so. */
#include "io_test.h"

#include <semaphore.h>

enum { ROUNDS = 250, POKERS = 2 };

static _Atomic int fd, poked = -1;
static _Atomic bool about, returned, over;
static _Atomic pid_t waiter;
static sem_t begin, ended;
static ssize_t got;
static int error;

static void *pokes(void *arg) {
	char c;
	while (!over) {
		if (poked >= 0)
			recv(poked, &c, 1, MSG_DONTWAIT | MSG_PEEK);
		else
			usleep(20);
	}
	return arg;
}

static void take(sem_t *sem) {
	while (sem_wait(sem) != 0)
		continue;
}

static void *waits(void *arg) {
	waiter = gettid();
	for (int i = 0; i < ROUNDS; i++) {
		char c = 0;
		take(&begin);
		about = true;
		got = recv(fd, &c, 1, 0);
		error = errno;
		returned = true;
		sem_post(&ended);
	}
	return arg;
}

static void compute(long us) {
	struct timespec now, from;
	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000 < us);
}

/* False: it was too late. */
static bool one_round(int pause_us) {
	int pair[2];
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	about = returned = false;
	fd = poked = pair[0];
	usleep(50);
	sem_post(&begin);
	while (!about)
		sched_yield();
	compute(pause_us);
	close(pair[0]);
	poked = -1;
	await_sleeping(&waiter);
	bool in_time = !returned;
	if (in_time)
		EQ(send(pair[1], "x", 1, MSG_NOSIGNAL), 1);
	if (failures) /* nobody tells who waits */
		exit(1);
	take(&ended);
	CHECK(in_time ? got == 1 : got == -1 && (error == EBADF || error == ENOTSOCK)); /* the number may be another's by then */
	close(pair[1]);
	return in_time;
}

int main(void) {
	pthread_t t[POKERS + 1];
	int in_time = 0;
	sem_init(&begin, 0, 0);
	sem_init(&ended, 0, 0);
	for (int i = 0; i < POKERS; i++)
		t[i] = start(pokes, NULL);
	t[POKERS] = start(waits, NULL);
	for (int i = 0; i < ROUNDS; i++)
		in_time += one_round(i % 50);
	over = true;
	for (int i = 0; i <= POKERS; i++)
		join(t[i]);
	fprintf(stderr, "%d of %d in time\n", in_time, ROUNDS);
	done("the last");
	return failures != 0;
}
