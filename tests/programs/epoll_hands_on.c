/* Event loops that give what comes to a pool of threads, then answer themselves, and so on in turns; two of them wait on one set, and a third thread asks it now and then. */
#include "sync_test.h"

#include <fcntl.h>
#include <sys/epoll.h>

enum { ASKERS = 6, WORKERS = 3, LOOPS = 2, TURNS = 4, ROUNDS = 150 };

static int set, in[ASKERS][2], out[ASKERS][2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t given = PTHREAD_COND_INITIALIZER;
static int queue[ASKERS], queued;
static _Atomic bool over;

static void answer(int asker, char c) {
	EQ(write(out[asker][1], &c, 1), 1);
}

static void *works(void *arg) {
	pthread_mutex_lock(&lock);
	for (;;) {
		while (!queued && !over)
			pthread_cond_wait(&given, &lock);
		if (!queued)
			break;
		int asker = queue[--queued];
		pthread_mutex_unlock(&lock);
		answer(asker, 'w');
		pthread_mutex_lock(&lock);
	}
	pthread_mutex_unlock(&lock);
	return arg;
}

static void give(int asker) {
	pthread_mutex_lock(&lock);
	queue[queued++] = asker; /* one question of each at a time */
	pthread_cond_signal(&given);
	pthread_mutex_unlock(&lock);
}

/* The other loop may have been faster. */
static void take(int asker) {
	char c;
	long n = read(in[asker][0], &c, 1);
	if (n != 1)
		EQ(errno, EAGAIN);
	else if (c == 'w')
		give(asker);
	else
		answer(asker, c);
}

static void *loops(void *arg) {
	struct epoll_event e[ASKERS];
	while (!over) {
		int n = epoll_wait(set, e, ASKERS, -1);
		CHECK(n > 0);
		for (int i = 0; i < n; i++) {
			if (e[i].data.fd < ASKERS)
				take(e[i].data.fd);
		}
	}
	return arg;
}

static void *asks(void *arg) {
	int me = (int)(long)arg;
	for (int i = 0; i < TURNS * ROUNDS; i++) {
		char c = i / ROUNDS % 2 ? 'l' : 'w', answered = 0;
		EQ(write(in[me][1], &c, 1), 1);
		EQ(read(out[me][0], &answered, 1), 1);
		EQ(answered, c);
	}
	return NULL;
}

static void *looks(void *arg) {
	struct epoll_event e;
	while (!over) {
		CHECK(epoll_wait(set, &e, 1, 0) >= 0); /* level-triggered: it takes nothing away */
		sched_yield();
	}
	return arg;
}

int main(void) {
	pthread_t asker[ASKERS], worker[WORKERS], loop[LOOPS];
	int bell[2];
	test_begin();
	set = epoll_create1(0);
	for (int i = 0; i < ASKERS; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.fd = i};
		EQ(pipe(in[i]), 0);
		EQ(pipe(out[i]), 0);
		EQ(fcntl(in[i][0], F_SETFL, O_NONBLOCK), 0);
		EQ(epoll_ctl(set, EPOLL_CTL_ADD, in[i][0], &e), 0);
	}
	for (int i = 0; i < WORKERS; i++)
		worker[i] = start(works, NULL);
	for (int i = 0; i < LOOPS; i++)
		loop[i] = start(loops, NULL);
	pthread_t looker = start(looks, NULL);
	for (int i = 0; i < ASKERS; i++)
		asker[i] = start(asks, (void *)(long)i);
	for (int i = 0; i < ASKERS; i++)
		EQ(join(asker[i]), 0);
	over = true;
	struct epoll_event e = {.events = EPOLLIN, .data.fd = ASKERS};
	EQ(pipe(bell), 0);
	EQ(epoll_ctl(set, EPOLL_CTL_ADD, bell[0], &e), 0);
	EQ(write(bell[1], "x", 1), 1);
	for (int i = 0; i < LOOPS; i++)
		EQ(join(loop[i]), 0);
	EQ(join(looker), 0);
	pthread_mutex_lock(&lock);
	pthread_cond_broadcast(&given);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < WORKERS; i++)
		EQ(join(worker[i]), 0);
	step("all answered");
	return test_end();
}
