/* Whoever computes can be watched, also when he cannot be interrupted for a while, as on a busy machine. */
#include "sync_test.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { COMPUTES_NS = 400000000 };

static pthread_barrier_t turn;
static volatile pid_t tid;
static sem_t parked_here;

static void *computes(void *arg) {
	tid = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&turn);
	for (long long until = now_ns(CLOCK_MONOTONIC) + COMPUTES_NS; now_ns(CLOCK_MONOTONIC) < until;)
		;
	EQ(sem_wait(&parked_here), 0);
	return arg;
}

int main(void) {
	struct f_owner_ex owner = {.type = F_OWNER_TID}, read_back = {0};
	int pair[2];
	test_begin();
	sem_init(&parked_here, 0, 0);
	pthread_barrier_init(&turn, NULL, 2);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pthread_t t = start(computes, NULL);
	pthread_barrier_wait(&turn);
	owner.pid = tid;
	EQ(fcntl(pair[0], F_SETOWN_EX, &owner), 0);
	EQ(fcntl(pair[0], F_GETOWN_EX, &read_back), 0);
	EQ(read_back.pid, tid);
	sem_post(&parked_here);
	join(t);
	return test_end();
}
