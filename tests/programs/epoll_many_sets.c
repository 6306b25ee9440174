/* Hundreds of epoll sets, each waited on before, come to watch one descriptor in common, as a loop for each thread does with what wakes all; and sets within sets as deep as
 * the kernel allows. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sync_test.h"

enum { LOOPS = 40, SETS = 600, DEEPEST = 8 };

static int loops[LOOPS], sets[SETS], common;
static pthread_barrier_t begun;

static int watch(int set, int fd) {
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	errno = 0;
	return epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev) == 0 && errno == 0 ? 0 : errno;
}

static void *loop(void *arg) {
	struct epoll_event ev;
	pthread_barrier_wait(&begun);
	EQ(epoll_wait(*(int *)arg, &ev, 1, -1), 1);
	return NULL;
}

static void *waits_on_each(void *arg) {
	struct epoll_event ev;
	for (int i = 0; i < SETS; i++) {
		EQ((sets[i] = epoll_create1(0)) >= 0, 1);
		EQ(epoll_wait(sets[i], &ev, 1, 1), 0);
	}
	int refused = 0, told = 0;
	for (int i = 0; i < SETS; i++)
		refused += watch(sets[i], common) != 0;
	EQ(eventfd_write(common, 1), 0);
	for (int i = 0; i < SETS; i++)
		told += epoll_wait(sets[i], &ev, 1, -1);
	printf("refused %d, told %d\n", refused, told);
	int depth = 0, inner = common;
	for (; depth < DEEPEST; depth++) {
		int outer = epoll_create1(0), r;
		EQ(epoll_wait(outer, &ev, 1, 1), 0);
		if ((r = watch(outer, inner)) != 0) {
			printf("level %d: %d\n", depth, r);
			break;
		}
		inner = outer;
	}
	return arg;
}

int main(void) {
	pthread_t t[LOOPS], each;
	test_begin();
	common = eventfd(0, 0);
	pthread_barrier_init(&begun, NULL, LOOPS + 1);
	int end = eventfd(0, 0);
	for (int i = 0; i < LOOPS; i++) {
		loops[i] = epoll_create1(0);
		EQ(watch(loops[i], end), 0);
		EQ(pthread_create(&t[i], NULL, loop, &loops[i]), 0);
	}
	pthread_barrier_wait(&begun);
	usleep(20000); /* they wait: who comes after them is none of the first loops */
	EQ(pthread_create(&each, NULL, waits_on_each, NULL), 0);
	EQ(pthread_join(each, NULL), 0);
	EQ(eventfd_write(end, 1), 0);
	for (int i = 0; i < LOOPS; i++)
		EQ(pthread_join(t[i], NULL), 0);
	return test_end();
}
