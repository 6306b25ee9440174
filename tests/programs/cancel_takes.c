/* Cancellation of a thread that waits in the kernel for what it takes whole, a message, the status of a child, an event that is told once, at the moment when that comes: either the thread
 * has it, and knows, or it is still there for the next (CAN-1). libc's own calls lose one in a hundred, so what is expected is in a file. */
#include "io_test.h"

#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/msg.h>
#include <sys/wait.h>

enum { MESSAGES = 4000, CHILDREN = 300 };

static int queue, go[2];
static pid_t child;
static _Atomic int waits, taken;

static void *takes_message(void *arg) {
	struct { long type; char text[8]; } m;
	(void)arg;
	waits = 1;
	if (msgrcv(queue, &m, sizeof m.text, 0, 0) == 1)
		taken = 1;
	for (;; pthread_testcancel())
		sched_yield();
	return NULL;
}

static void *takes_status(void *arg) {
	int status;
	(void)arg;
	waits = 1;
	if (waitpid(child, &status, 0) == child)
		taken = 1;
	for (;; pthread_testcancel())
		sched_yield();
	return NULL;
}

static mqd_t posix_queue;

static void *takes_posix(void *arg) {
	char text[8];
	(void)arg;
	waits = 1;
	if (mq_receive(posix_queue, text, sizeof text, NULL) == 1)
		taken = 1;
	for (;; pthread_testcancel())
		sched_yield();
	return NULL;
}

static void send_posix(void) {
	CHECK(mq_send(posix_queue, "x", 1, 0) == 0);
}

static bool posix_left(void) {
	struct timespec now = {0, 0};
	char text[8];
	return mq_timedreceive(posix_queue, text, sizeof text, NULL, &now) == 1;
}

static int epoll, source;

static void *takes_event(void *arg) {
	struct epoll_event e;
	(void)arg;
	waits = 1;
	if (epoll_wait(epoll, &e, 1, -1) == 1)
		taken = 1;
	for (;; pthread_testcancel())
		sched_yield();
	return NULL;
}

static void arm_event(void) {
	struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT};
	uint64_t n;
	(void)!read(source, &n, sizeof n);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, source, &e) == 0);
}

static void make_event(void) {
	uint64_t n = 1;
	CHECK(write(source, &n, sizeof n) == sizeof n);
}

static bool event_left(void) {
	struct epoll_event e;
	return epoll_wait(epoll, &e, 1, 0) == 1;
}

static void send_message(void) {
	struct { long type; char text[8]; } m = {1, "x"};
	CHECK(msgsnd(queue, &m, 1, 0) == 0);
}

static bool message_left(void) {
	struct { long type; char text[8]; } m;
	return msgrcv(queue, &m, sizeof m.text, 0, IPC_NOWAIT) == 1;
}

static void make_child(void) {
	child = fork();
	if (child == 0) {
		char c;
		(void)!read(go[0], &c, 1);
		_exit(0);
	}
}

static void end_child(void) {
	CHECK(write(go[1], "x", 1) == 1);
}

static bool status_left(void) {
	return waitpid(child, NULL, 0) == child;
}

static void rounds(const char *what, int count, void (*before)(void), void *(*take)(void *), void (*make)(void), bool (*left)(void)) {
	for (int i = 0; i < count; i++) {
		if (before)
			before();
		waits = taken = 0;
		pthread_t t = start(take, NULL);
		while (!waits)
			sched_yield();
		if (i % 2)
			make(); /* and the cancellation a moment later */
		for (int spin = i % 61; spin > 0; spin--)
			sched_yield();
		if (i % 2 == 0)
			make();
		pthread_cancel(t);
		CHECK(join(t) == PTHREAD_CANCELED);
		CHECK(taken != left());
	}
	done(what);
}

int main(void) {
	alarm(60);
	queue = msgget(IPC_PRIVATE, 0600);
	CHECK(queue >= 0);
	CHECK(pipe(go) == 0);
	rounds("each message is somebody's", MESSAGES, NULL, takes_message, send_message, message_left);
	msgctl(queue, IPC_RMID, NULL);
	char name[64];
	snprintf(name, sizeof name, "/cancel_takes.%d", (int)getpid());
	posix_queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &(struct mq_attr){.mq_maxmsg = 2, .mq_msgsize = 8});
	CHECK(posix_queue != (mqd_t)-1);
	mq_unlink(name);
	rounds("each message of a POSIX queue is somebody's", MESSAGES / 2, NULL, takes_posix, send_posix, posix_left);
	struct epoll_event e = {.events = EPOLLIN};
	epoll = epoll_create1(0);
	source = eventfd(0, EFD_NONBLOCK);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, source, &e) == 0);
	rounds("each event is somebody's", MESSAGES / 2, arm_event, takes_event, make_event, event_left);
	rounds("each status is somebody's", CHILDREN, make_child, takes_status, end_child, status_left);
	return failures != 0;
}
