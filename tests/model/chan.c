/* Channels and select (core/chan.c) over the real waiting, timers and parking lot. Elements are plain memory: a copy that a waker makes too late, or a waiter reads
 * too early, is a data race. */
#include <errno.h>

#include "chan.h"
#include "futex.h"
#include "stand_ins.h"

static struct chan one, two;
static uint64_t room[2];
static uint64_t sent, received; /* sums; plain, of threads that end, but for these: */
static int successes, failures;
static _Atomic uint32_t word;

static void reset_with(uint32_t capacity) {
	stand_ins_reset();
	futex_fork_child();
	chan_init(&one, sizeof *room, capacity, capacity ? (unsigned char *)&room[0] : NULL);
	chan_init(&two, sizeof *room, capacity, capacity ? (unsigned char *)&room[1] : NULL);
	sent = received = 0;
	successes = failures = 0;
	word = 0;
}

static void unbuffered(void) {
	reset_with(0);
}

static void buffered(void) {
	reset_with(1);
}

static void count(int *what, int n) {
	__atomic_fetch_add(what, n, __ATOMIC_RELAXED);
}

static int op(struct chan *c, uint64_t value, bool send, int64_t deadline) {
	uint64_t elem = send ? value : 0;
	int r = chan_op(c, &elem, send, true, deadline);
	if (r == 0)
		__atomic_fetch_add(send ? &sent : &received, elem, __ATOMIC_RELAXED);
	count(r == 0 ? &successes : &failures, 1);
	return r;
}

static void send_1(void) {
	check(op(&one, 1, true, -1) == 0);
}

static void send_10(void) {
	check(op(&one, 10, true, -1) == 0);
}

static void send_two_values(void) {
	check(op(&one, 100, true, -1) == 0);
	check(op(&one, 1000, true, -1) == 0);
}

static void receive_one(void) {
	check(op(&one, 0, false, -1) == 0);
}

static void receive_two(void) {
	receive_one();
	receive_one();
}

static void finish(void) {
	stand_ins_finish();
	check(sent == received);
	check(!one.receivers.head && !one.senders.head && !two.receivers.head && !two.senders.head);
}

/* ---- in order ---- */

static void receive_in_order(void) {
	uint64_t first = 0, second = 0;
	check(chan_op(&one, &first, false, true, -1) == 0 && first == 100);
	check(chan_op(&one, &second, false, true, -1) == 0 && second == 1000);
	received += first + second;
}

/* ---- who gives up ---- */

static void receive_in_time(void) {
	int r = op(&one, 0, false, 1000);
	check(r == 0 || r == -ETIMEDOUT);
	thread_done();
}

static void offer(void) {
	uint64_t elem = 5;
	if (chan_offer(&one, &elem))
		__atomic_fetch_add(&sent, elem, __ATOMIC_RELAXED);
	thread_done();
}

static void timers_of_two(void) {
	timers_until_done(2);
}

static void timers_of_three(void) {
	timers_until_done(3);
}

/* ---- close ---- */

static void receive_or_closed(void) {
	int r = op(&one, 0, false, -1);
	check(r == 0 || r == -EPIPE);
}

static void send_or_closed(void) {
	int r = op(&one, 7, true, -1);
	check(r == 0 || r == -EPIPE);
}

static void closer(void) {
	check(chan_close(&one));
}

/* ---- select ---- */

static int select_in(uint64_t value_one, bool send_one, uint64_t value_two, bool send_two, int64_t deadline) {
	uint64_t a = value_one, b = value_two;
	struct chan_case first = {.chan = &one, .elem = &a, .send = send_one}, second = {.chan = &two, .elem = &b, .send = send_two};
	struct chan_case cases[2] = {send_one ? first : second, send_one ? second : first}; /* not the same order in all */
	int why = 0;
	struct chan_case *k = chan_select(cases, 2, NULL, true, deadline, &why);
	if (!k) {
		check(why == -ETIMEDOUT);
		return -1;
	}
	check(!k->closed);
	__atomic_fetch_add(k->send ? &sent : &received, k->chan == &one ? a : b, __ATOMIC_RELAXED);
	return k->chan == &one ? 0 : 1;
}

static void select_two_receives(void) {
	check(select_in(0, false, 0, false, -1) >= 0);
	check(select_in(0, false, 0, false, -1) >= 0);
}

static void send_on_two(void) {
	check(op(&two, 20, true, -1) == 0);
}

/* Two that meet on two channels: exactly one exchange. */
static void select_this_way(void) {
	check(select_in(3, true, 0, false, -1) >= 0);
}

static void select_that_way(void) {
	check(select_in(0, false, 4, true, -1) >= 0);
}

static void select_in_time(void) {
	select_in(0, false, 0, false, 1000);
	thread_done();
}

static void offer_on_two(void) {
	uint64_t elem = 9;
	if (chan_offer(&two, &elem))
		__atomic_fetch_add(&sent, elem, __ATOMIC_RELAXED);
	thread_done();
}

/* ---- a wait that a close ends, too ---- */

static void watched_wait(void) {
	int r = chan_futex_wait(&word, 0, -1, &one, "test");
	check(r == 0 || r == -EAGAIN || r == -ECANCELED);
}

static void opener(void) {
	atomic_store(&word, 1);
	futex_wake(&word, 1, FUTEX_ANY);
}

/* The one who is cancelled must not have taken the token along. */
static void finish_watched(void) {
	stand_ins_finish();
	check(!one.receivers.head);
}

static void token_taker(void) {
	uint32_t token = 1;
	while (!atomic_compare_exchange_strong(&word, &token, 2)) {
		futex_wait(&word, 0, -1, FUTEX_ANY, false, "test");
		token = 1;
	}
}

static void watched_impatient(void) {
	if (chan_futex_wait(&word, 0, -1, &one, "test") == 0)
		futex_wake(&word, 1, FUTEX_ANY); /* not for me */
}

const struct scenario scenarios[] = {
	{"chan: two senders, one receiver", unbuffered, {send_1, send_10, receive_two}, finish, false},
	{"chan: one sender, two receivers", unbuffered, {send_two_values, receive_one, receive_one}, finish, false},
	{"chan: in order", buffered, {send_two_values, receive_in_order}, finish, false},
	{"chan: buffer of one, two senders", buffered, {send_1, send_10, receive_two}, finish, false},
	{"chan: in time or not", unbuffered, {receive_in_time, offer, timers_of_two}, finish, false},
	{"chan: closed", unbuffered, {receive_or_closed, send_or_closed, closer}, finish, false},
	{"chan: select of two", unbuffered, {select_two_receives, send_1, send_on_two}, finish, false},
	{"chan: selects that meet", unbuffered, {select_this_way, select_that_way}, finish, false},
	{"chan: watched wait, closed", unbuffered, {watched_wait, closer}, finish_watched, false},
	{"chan: watched wait", unbuffered, {watched_wait, opener, closer}, finish_watched, false},
	{"chan: buffer of one, two of each", buffered, {send_1, send_10, receive_one, receive_one}, finish, true},
	{"chan: two in time or not", unbuffered, {receive_in_time, receive_in_time, offer, timers_of_three}, finish, true},
	{"chan: selects that meet, and a third", unbuffered, {select_this_way, select_that_way, select_that_way, select_this_way}, finish, true},
	{"chan: select in time or not", unbuffered, {select_in_time, offer, offer_on_two, timers_of_three}, finish, true},
	{"chan: watched wait leaves the token", unbuffered, {watched_impatient, token_taker, opener, closer}, finish_watched, true},
	{NULL, NULL, {NULL}, NULL, false},
};
