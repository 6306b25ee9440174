/* A thread with a mask of CPUs of its own has long been busy, out of the runtime's sight, while an event loop was told something now and then, and then for long nothing. Then it
 * sleeps for a millisecond, and has nobody else to look at the clock for it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 20, LAST = 1000, BUSY_S = 7 };
static int events;

static void tell(uint64_t value) {
	if (write(events, &value, sizeof value) != sizeof value)
		perror("write");
}

static void *loop(void *arg) {
	int instance = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN};
	uint64_t value = 0;
	epoll_ctl(instance, EPOLL_CTL_ADD, events, &event);
	while (value < LAST) {
		epoll_wait(instance, &event, 1, -1);
		if (read(events, &value, sizeof value) != sizeof value)
			perror("read");
	}
	return arg;
}

/* By its own instruction, so that it costs nothing. */
static void busy(void) {
	struct timespec ts = {BUSY_S, 0};
#if defined(__x86_64__)
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "0"((long)SYS_nanosleep), "D"(&ts), "S"(NULL) : "rcx", "r11", "memory");
#else
	register long number __asm__("x8") = SYS_nanosleep;
	register long first __asm__("x0") = (long)&ts;
	register long second __asm__("x1") = 0;
	__asm__ volatile("svc #0" : "+r"(first) : "r"(number), "r"(second) : "memory");
#endif
}

static void *pinned(void *arg) {
	busy();
	usleep(1000);
	tell(LAST);
	return arg;
}

int main(void) {
	pthread_t looping, busy_one;
	pthread_attr_t attr;
	cpu_set_t set;
	events = eventfd(0, 0);
	pid_t child = fork();
	if (child == 0) {
		for (int i = 0; i < EVENTS; i++) {
			usleep(30000);
			tell(1);
		}
		_exit(0);
	}
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof set, &set);
	pthread_create(&looping, NULL, loop, NULL);
	pthread_create(&busy_one, &attr, pinned, NULL);
	pthread_join(busy_one, NULL);
	pthread_join(looping, NULL);
	waitpid(child, NULL, 0);
	puts("slept");
	return 0;
}
