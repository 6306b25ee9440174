/* Netpoll (core/netpoll.c) over the real waiting: no edge is lost between arming, clearing a bit, the try, the wait and the poller, whoever takes what
 * was for another passes it on, and a close leaves nobody behind. The back end is the kernel's edge-triggered queue, as small as it can be. */
#include <errno.h>

#include "netpoll.h"
#include "netpoll_backend.h"
#include "stand_ins.h"

static struct pd pd;

/* The kernel's side; one step each time. */
static struct {
	int bytes; /* in the socket */
	uint8_t armed;
	bool edge; /* queued for epoll_wait */
	uint64_t data;
} device;

static int taken, timeouts, consumers, finished;

/* Not instrumented, who looks at it: device_touch() makes one step of the call, as the kernel's lock does. */
#define KERNEL __attribute__((no_sanitize("thread")))

static void device_touch(void) {
	model_touch(&device);
}

KERNEL int backend_arm(int fd, uint8_t modes, uint64_t data, int add) {
	(void)fd, (void)add;
	device_touch();
	device.armed = modes;
	device.data = data;
	device.edge |= device.bytes > 0; /* as epoll_ctl: what is there already is an event */
	return 0;
}

KERNEL void backend_disarm(int fd) {
	(void)fd;
	device_touch();
	device.armed = 0;
	device.edge = false;
}

KERNEL int backend_wait(struct backend_event *events, int64_t timeout_ns) {
	(void)timeout_ns;
	device_touch();
	if (!device.edge)
		return 0;
	device.edge = false;
	events[0] = (struct backend_event){device.data, PD_READ};
	return 1;
}

void backend_break(void) {
}

void backend_fork_child(void) {
}

int backend_spare(int first) {
	return first;
}

KERNEL static void arrive(void) {
	device_touch();
	device.bytes++;
	device.edge |= device.armed & PD_READ;
}

static void arrive_twice(void) {
	arrive();
	arrive();
}

/* A read of one byte: 1, or 0 for EAGAIN; *more: something is left. */
KERNEL static bool try_read(bool *more) {
	device_touch();
	if (device.bytes == 0)
		return false;
	*more = --device.bytes > 0;
	return true;
}

KERNEL static bool edge_or_end(void *arg) {
	(void)arg;
	return device.edge || finished == consumers;
}

KERNEL static bool all_finished(void) {
	return finished == consumers;
}

KERNEL static bool readable(void) {
	device_touch();
	return device.bytes > 0;
}

/* An M that polls, and what it does with the list. */
static void poller(void) {
	for (;;) {
		model_await(&device, edge_or_end, NULL);
		if (all_finished())
			return;
		struct g *list = netpoll_poll(0);
		if (list)
			ready_list(list);
	}
}

KERNEL static void consumer_done(void) {
	device_touch();
	finished++;
	thread_done();
}

KERNEL static void reset_for(int n) {
	stand_ins_reset();
	netpoll_fork_child(); /* its counters: a run that was cut short leaves them as they were */
	__builtin_memset(&pd, 0, sizeof pd);
	__builtin_memset(&device, 0, sizeof device);
	pd.waiters.next = pd.waiters.prev = &pd.waiters;
	pd.ready = PD_READ | PD_WRITE;
	taken = timeouts = finished = 0;
	consumers = n;
}

static void reset_one(void) {
	reset_for(1);
}

static void reset_two(void) {
	reset_for(2);
}

/* As shims/rw.c: clear, try, wait, again. */
static int read_one(int64_t deadline) {
	for (;;) {
		bool more;
		pd_clear(&pd, PD_READ);
		if (try_read(&more)) {
			if (more)
				pd_pass(&pd, PD_READ);
			__atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
			return 0;
		}
		int r = netpoll_wait(&pd, PD_READ, deadline, false);
		check(r == 0 || r == -ETIMEDOUT);
		if (r < 0) {
			__atomic_fetch_add(&timeouts, 1, __ATOMIC_RELAXED);
			return r;
		}
	}
}

static void reader(void) {
	read_one(-1);
	consumer_done();
}

static void reader_twice(void) {
	read_one(-1);
	reader();
}

static void timed_reader(void) {
	read_one(1000);
	consumer_done();
}

static void timers(void) {
	timers_until_done(1);
}

/* poll(): any number of descriptors, here one, and all who ask are told. */
static void polling(void) {
	struct g *g = tls_g;
	struct pdwait w = {.mode = PD_READ};
	for (bool there = false; !there;) {
		pd_clear(&pd, PD_READ);
		if ((there = readable()))
			break;
		rt_enter(g);
		wait_begin(g, false, "poll", 0);
		w = (struct pdwait){.mode = PD_READ};
		check(netpoll_link(&pd, &w, g, PD_READ) == 0);
		if (atomic_load(&pd.ready) & PD_READ)
			wait_claim_self(g, WAKE_READY);
		check(wait_park(g, -1) == 0);
		netpoll_unlink(&w);
		rt_exit(g);
	}
	pd_pass(&pd, PD_READ); /* it cleared the bit and took nothing */
	consumer_done();
}

static void finish(void) {
	stand_ins_finish();
	check(pd.waiters.next == &pd.waiters && pd.waiting == 0 && !netpoll_has_waiters());
}

static void finish_one(void) {
	finish();
	check(taken + timeouts == 1 && device.bytes + taken == 1);
}

static void finish_two(void) {
	finish();
	check(taken == 2 && device.bytes == 0);
}

static void finish_polled(void) {
	finish();
	check(taken == 1 && device.bytes == 1);
}

const struct scenario scenarios[] = {
	{"netpoll: one reader", reset_one, {reader, arrive, poller}, finish_one, false},
	{"netpoll: one reader, in time or not", reset_one, {timed_reader, arrive, poller, timers}, finish_one, false},
	{"netpoll: reads twice", reset_one, {reader_twice, arrive_twice, poller}, finish_two, true},
	{"netpoll: two readers", reset_two, {reader, reader, arrive_twice, poller}, finish_two, true},
	{"netpoll: a reader and a poll", reset_two, {polling, reader, arrive_twice, poller}, finish_polled, true},
	{NULL, NULL, {NULL}, NULL, false},
};
