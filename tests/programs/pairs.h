/* Pairs of threads that wait for each other most of the time, and what the kernel says of how it schedules the caller. */
#ifndef PAIRS_H
#define PAIRS_H

#include <sys/syscall.h>
#include "sync_test.h"

enum { TURNS = 20 };

static int kernel_says(void) {
	return (int)syscall(SYS_sched_getscheduler, 0);
}

/* arg: where from, and where to. Until there is no more. */
static void *answers(void *arg) {
	int *fd = arg;
	char c;
	while (read(fd[0], &c, 1) == 1)
		if (write(fd[1], &c, 1) != 1)
			break;
	return NULL;
}

static void wait_often(int to, int from) {
	char c = 'x';
	for (int i = 0; i < TURNS; i++) {
		EQ(write(to, &c, 1), 1);
		EQ(read(from, &c, 1), 1);
	}
}

#endif
