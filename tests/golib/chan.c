/* Channels, select, timers. */
#include <pthread.h>

#include "golib_test.h"

#define ROUNDS 20000

static go_chan *c, *d;

static void *send_numbers(void *arg) {
	(void)arg;
	for (int i = 0; i < ROUNDS; i++)
		CHECK(go_send(c, &i) == 0);
	CHECK(go_close(c) == 0); /* then it may be gone */
	return NULL;
}

static void pass(size_t capacity) {
	int x = -1, expected = 0;
	c = go_chan_make(sizeof(int), capacity);
	CHECK(go_chan_cap(c) == capacity);
	CHECK(go_spawn(send_numbers, NULL) == 0);
	GO_RANGE(c, &x) {
		CHECK(x == expected);
		expected++;
	}
	CHECK(expected == ROUNDS && x == 0); /* zeroes after the end */
	CHECK(go_close(c) == -EPIPE && go_recv(c, &x) == -EPIPE && go_send(c, &x) == -EPIPE && go_try_send(c, &x) == -EPIPE);
	go_chan_free(c);
}

static void unbuffered(void) {
	pass(0);
}

static void buffered(void) {
	pass(1);
	pass(7);
	pass(1000);
}

struct big {
	char bytes[3000];
};

static void *send_big(void *arg) {
	struct big b;
	memset(b.bytes, 'x', sizeof b.bytes);
	b.bytes[0] = *(char *)arg;
	CHECK(go_send(c, &b) == 0 && go_send(d, NULL) == 0);
	return NULL;
}

static void element_sizes(void) {
	struct big b;
	for (int i = 0; i < 2; i++) {
		c = go_chan_make(sizeof b, i);
		d = go_chan_make(0, 0);
		CHECK(go_spawn(send_big, "A") == 0);
		CHECK(go_recv(c, &b) == 0 && b.bytes[0] == 'A' && b.bytes[2999] == 'x' && go_recv(d, NULL) == 0);
		CHECK(go_spawn(send_big, "B") == 0);
		CHECK(go_recv(c, NULL) == 0 && go_recv(d, &b) == 0);
		go_chan_free(c);
		go_chan_free(d);
	}
	CHECK(go_chan_make(SIZE_MAX, 1) == NULL && go_chan_make(1u << 30, 1u << 31) == NULL && go_send(NULL, NULL) == -EINVAL);
	/* An element that has a size must be somewhere. */
	c = go_chan_make(sizeof b, 1);
	go_case k = go_case_send(c, NULL);
	CHECK(go_send(c, NULL) == -EINVAL && go_try_send(c, NULL) == -EINVAL && go_select(&k, 1, 0) == -EINVAL);
	CHECK(go_send_ctx(go_ctx_background(), c, NULL) == -EINVAL && go_chan_len(c) == 0);
	go_chan_free(c);
	go_chan_free(NULL);
}

static void try_and_length(void) {
	int x = 5;
	c = go_chan_make(sizeof x, 2);
	CHECK(go_try_recv(c, &x) == -EAGAIN);
	CHECK(go_try_send(c, &x) == 0 && go_try_send(c, &x) == 0 && go_try_send(c, &x) == -EAGAIN && go_chan_len(c) == 2);
	CHECK(go_close(c) == 0 && go_recv(c, &x) == 0 && x == 5 && go_try_recv(c, &x) == 0 && go_try_recv(c, &x) == -EPIPE && x == 0);
	d = go_chan_make(sizeof x, 0);
	CHECK(go_try_send(d, &x) == -EAGAIN && go_try_recv(d, &x) == -EAGAIN);
}

static int entered, ended;

static void *blocked_sender(void *arg) {
	int x = 1;
	add(&entered, 1);
	CHECK(go_send(arg, &x) == -EPIPE);
	add(&ended, 1);
	return NULL;
}

static void *blocked_receiver(void *arg) {
	int x = 1;
	add(&entered, 1);
	CHECK(go_recv(arg, &x) == -EPIPE && x == 0);
	add(&ended, 1);
	return NULL;
}

static void close_wakes(void) {
	for (int round = 0; round < 100; round++) {
		go_wg wg = {{0}};
		entered = ended = 0;
		c = go_chan_make(sizeof(int), 0);
		d = go_chan_make(sizeof(int), 0);
		for (int i = 0; i < 20; i++) {
			CHECK(go_spawn_wg(&wg, blocked_sender, c) == 0);
			CHECK(go_spawn_wg(&wg, blocked_receiver, d) == 0);
		}
		let_wait(&entered, 40, round);
		CHECK(go_close(c) == 0 && go_close(d) == 0 && go_wg_wait(&wg) == 0 && ended == 40);
		go_chan_free(c);
		go_chan_free(d);
	}
}

/* Senders and receivers of both kinds of threads: every message arrives once. */
static unsigned char seen[8 * 2000];

static void *many_sender(void *arg) {
	for (int i = 0; i < 2000; i++) {
		int x = (int)(intptr_t)arg * 2000 + i;
		CHECK(go_send(c, &x) == 0);
	}
	return NULL;
}

static void *many_receiver(void *arg) {
	int x;
	(void)arg;
	GO_RANGE(c, &x) {
		CHECK(__atomic_exchange_n(&seen[x], 1, __ATOMIC_RELAXED) == 0);
	}
	return NULL;
}

static void many_to_many(void) {
	for (int capacity = 0; capacity <= 3; capacity += 3) {
		go_wg senders = {{0}}, receivers = {{0}};
		pthread_t t[4];
		memset(seen, 0, sizeof seen);
		c = go_chan_make(sizeof(int), capacity);
		for (intptr_t i = 0; i < 4; i++) {
			CHECK(go_spawn_wg(&senders, many_sender, (void *)i) == 0);
			CHECK(go_spawn_wg(&receivers, many_receiver, NULL) == 0);
			CHECK(pthread_create(&t[i], NULL, many_sender, (void *)(i + 4)) == 0);
		}
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
		CHECK(go_wg_wait(&senders) == 0 && go_close(c) == 0 && go_wg_wait(&receivers) == 0);
		CHECK(memchr(seen, 0, sizeof seen) == NULL);
		go_chan_free(c);
	}
}

static void *recv_ctx(void *arg) {
	int x;
	add(&entered, 1);
	return (void *)(intptr_t)go_recv_ctx(arg, c, &x);
}

static void *send_ctx(void *arg) {
	int x = 4;
	add(&entered, 1);
	return (void *)(intptr_t)go_send_ctx(arg, c, &x);
}

/* One that receives and one that sends, on channels of their own, both ended by the context. */
static void contexts_end(int round) {
	go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
	go_task t[2];
	void *r[2];
	entered = 0;
	c = go_chan_make(sizeof(int), 0);
	CHECK(go_spawn_task(&t[0], round % 2 ? send_ctx : recv_ctx, ctx) == 0);
	CHECK(go_spawn_task(&t[1], round % 2 ? send_ctx : recv_ctx, ctx) == 0);
	let_wait(&entered, 2, round / 2);
	go_ctx_cancel(ctx);
	CHECK(go_join(&t[0], &r[0]) == 0 && (intptr_t)r[0] == -ECANCELED && go_join(&t[1], &r[1]) == 0 && (intptr_t)r[1] == -ECANCELED);
	go_ctx_release(ctx);
	go_chan_free(c);
}

static void contexts(void) {
	for (int round = 0; round < 200; round++)
		contexts_end(round);
	go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
	go_task t;
	void *r;
	int x = 3;
	c = go_chan_make(sizeof(int), 0);
	CHECK(go_spawn_task(&t, recv_ctx, ctx) == 0);
	CHECK(go_send_ctx(ctx, c, &x) == 0 && go_join(&t, &r) == 0 && r == NULL);
	go_ctx_cancel(ctx);
	CHECK(go_send_ctx(ctx, c, &x) == -ECANCELED && go_recv_ctx(ctx, c, &x) == -ECANCELED && go_try_recv(c, &x) == -EAGAIN);
	go_ctx_release(ctx);
	ctx = go_ctx_with_timeout(go_ctx_background(), GO_MILLISECOND);
	CHECK(go_recv_ctx(ctx, c, &x) == -ETIMEDOUT && go_select_ctx(ctx, NULL, 0, GO_FOREVER) == -ETIMEDOUT);
	go_ctx_release(ctx);
	ctx = go_ctx_with_timeout(go_ctx_background(), GO_MILLISECOND);
	CHECK(go_spawn_task(&t, send_ctx, go_ctx_background()) == 0);
	int seen_numbers = 0;
	GO_RANGE_CTX(ctx, c, &x) {
		CHECK(x == 4);
		seen_numbers++;
	}
	CHECK(go_ctx_err(ctx) == -ETIMEDOUT && seen_numbers <= 1);
	if (seen_numbers == 0)
		CHECK(go_recv(c, &x) == 0);
	CHECK(go_join(&t, &r) == 0 && r == NULL);
	go_ctx_release(ctx);
}

/* ---- select ---------------------------------------------------------------------------------------------------------- */

static void select_basics(void) {
	int x = 1, y = 0;
	c = go_chan_make(sizeof x, 1);
	d = go_chan_make(sizeof x, 1);
	go_case k[4] = {go_case_recv(c, &y), go_case_send(d, &x), go_case_recv(NULL, &y), go_case_send(NULL, &x)};
	CHECK(go_select(k, 4, 0) == 1 && go_select(k, 4, 0) == -EAGAIN && go_select(k, 4, GO_MILLISECOND) == -ETIMEDOUT);
	CHECK(go_send(c, &x) == 0 && go_select(k, 4, GO_FOREVER) == 0 && y == 1 && !k[0].closed);
	CHECK(go_close(c) == 0 && go_select(k, 4, GO_FOREVER) == 0 && k[0].closed && y == 0);
	CHECK(go_recv(d, &y) == 0 && go_close(d) == 0 && go_select(&k[1], 1, GO_FOREVER) == 0 && k[1].closed);
	CHECK(go_select(NULL, 0, 0) == -EAGAIN && go_select(NULL, 0, 1) == -ETIMEDOUT && go_select(NULL, 1, 0) == -EINVAL);
}

/* Each of four ready channels about as often: none below half of its share. */
static void select_fair(void) {
	int x, count[4] = {0};
	go_chan *ch[4];
	go_case k[4];
	for (int i = 0; i < 4; i++) {
		ch[i] = go_chan_make(0, 1);
		k[i] = go_case_recv(ch[i], &x);
		go_send(ch[i], NULL);
	}
	for (int i = 0; i < 4000; i++) {
		int chosen = go_select(k, 4, GO_FOREVER);
		count[chosen]++;
		go_send(ch[chosen], NULL);
	}
	for (int i = 0; i < 4; i++)
		CHECK(count[i] > 500);
}

/* One channel several times, and both directions of one channel: a select does not serve itself. */
static void select_same_channel(void) {
	int x = 7, y = 0, z = 0;
	c = go_chan_make(sizeof x, 0);
	go_case k[3] = {go_case_recv(c, &y), go_case_send(c, &x), go_case_recv(c, &z)};
	CHECK(go_select(k, 3, GO_MILLISECOND) == -ETIMEDOUT && go_select(k, 3, 0) == -EAGAIN);
}

static go_chan *four[4];
static int per_sender;

static void *select_sender(void *arg) {
	(void)arg;
	for (int i = 0; i < per_sender; i++) {
		go_case k[4];
		int x = add(&ended, 1) - 1; /* a number nobody else sends */
		for (int j = 0; j < 4; j++)
			k[j] = go_case_send(four[j], &x);
		CHECK(go_select(k, 4, GO_FOREVER) >= 0);
	}
	return NULL;
}

static unsigned char *got;
static int total, received;

static void *select_receiver(void *arg) {
	int open = 4, x[4];
	go_case k[4];
	for (int j = 0; j < 4; j++)
		k[j] = go_case_recv(four[j], &x[j]);
	for (unsigned round = 0; open > 0; round++) {
		/* Now and then a short patience, so that waits also end by time. */
		int i = go_select(k, 4, round % 8 == 0 ? 1000 : GO_FOREVER);
		if (i == -ETIMEDOUT)
			continue;
		CHECK(i >= 0);
		if (k[i].closed) {
			k[i].chan = NULL;
			open--;
			continue;
		}
		CHECK(x[i] >= 0 && x[i] < total && __atomic_exchange_n(&got[x[i]], 1, __ATOMIC_RELAXED) == 0);
		add(&received, 1);
	}
	return arg;
}

/* Rounds of select against select over the same four channels: no message is lost or comes twice. SELECT_ROUNDS says how many. */
static void select_rounds(void) {
	const char *rounds = getenv("SELECT_ROUNDS");
	go_wg senders = {{0}}, receivers = {{0}};
	per_sender = (rounds ? atoi(rounds) : 20000) / 4;
	total = per_sender * 4;
	got = calloc((size_t)total, 1);
	for (int i = 0; i < 4; i++)
		four[i] = go_chan_make(sizeof(int), i < 2 ? 0 : i);
	for (int i = 0; i < 4; i++) {
		CHECK(go_spawn_wg(&senders, select_sender, NULL) == 0);
		CHECK(go_spawn_wg(&receivers, select_receiver, NULL) == 0);
	}
	CHECK(go_wg_wait(&senders) == 0);
	for (int i = 0; i < 4; i++)
		go_close(four[i]);
	CHECK(go_wg_wait(&receivers) == 0 && received == total && memchr(got, 0, (size_t)total) == NULL);
}

/* ---- timers ------------------------------------------------------------------------------------------------------------ */

static void timers(void) {
	go_timer t;
	int64_t now, start = go_now(), last = start;
	CHECK(go_timer_start(&t, 2 * GO_MILLISECOND, 0) == 0 && go_recv(go_timer_chan(&t), &now) == 0);
	CHECK(now - start >= 2 * GO_MILLISECOND && go_timer_stop(&t) == 0);
	CHECK(go_timer_start(&t, GO_SECOND * 3600, 0) == 0 && go_timer_stop(&t) == 1 && go_timer_stop(&t) == 0);
	CHECK(go_timer_start(&t, 0, GO_MILLISECOND) == 0);
	for (int i = 0; i < 10; i++) {
		CHECK(go_recv(go_timer_chan(&t), &now) == 0 && now > last);
		last = now;
	}
	CHECK(go_timer_stop(&t) == 1);
	CHECK(go_timer_start(&t, -1, 0) == -EINVAL);
	/* The second time is never. */
	CHECK(go_timer_start(&t, 0, INT64_MAX) == 0 && go_recv(go_timer_chan(&t), &now) == 0);
	CHECK(go_sleep(GO_MILLISECOND) == 0 && go_chan_len(go_timer_chan(&t)) == 0 && go_timer_stop(&t) == 1);
}

static void *ticks_in(void *arg) {
	int64_t now;
	add(&ended, 1);
	CHECK(go_recv(go_timer_chan(arg), &now) == 0);
	return NULL;
}

/* A start of one that is running, among others; and in memory that was used for other things. */
static void timers_restart(void) {
	go_timer t, others[20];
	go_task waits;
	int64_t now, start;
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 20; i++)
			CHECK(go_timer_start(&others[i], GO_MILLISECOND / 10 * (1 + i * 7 % 13), 0) == 0);
		memset(&t, round % 3 == 0 ? 0 : round % 3 == 1 ? 0x5a : 0xff, sizeof t);
		CHECK(go_timer_start(&t, GO_SECOND * 3600, 0) == 0 && go_timer_start(&t, 0, GO_MILLISECOND * 3) == 0);
		CHECK(go_recv(go_timer_chan(&t), &now) == 0);
		CHECK(go_timer_start(&t, GO_SECOND * 3600, 0) == 0 && go_timer_start(&t, GO_SECOND * 1800, 0) == 0);
		for (int i = 0; i < 20; i++) {
			go_case k = go_case_recv(go_timer_chan(&others[i]), &now);
			CHECK(go_select(&k, 1, GO_FOREVER) == 0 && go_timer_stop(&others[i]) == 0);
		}
		CHECK(go_timer_stop(&t) == 1 && go_timer_stop(&t) == 0);
	}
	/* What it had sent is gone, and who waits gets what comes. */
	CHECK(go_timer_start(&t, 0, GO_SECOND * 3600) == 0);
	while (go_chan_len(go_timer_chan(&t)) == 0)
		go_yield();
	CHECK(go_timer_start(&t, GO_SECOND * 3600, 0) == 0 && go_chan_len(go_timer_chan(&t)) == 0);
	ended = 0;
	CHECK(go_spawn_task(&waits, ticks_in, &t) == 0);
	until(&ended, 1);
	go_sleep(GO_MILLISECOND);
	start = go_now();
	CHECK(go_timer_start(&t, GO_MILLISECOND, 0) == 0 && go_join(&waits, NULL) == 0);
	CHECK(go_now() - start >= GO_MILLISECOND && go_timer_stop(&t) == 0);
}

/* MANY_BLOCKED says how many; make soak-golib takes a million. */
static void *block(void *arg) {
	add(&ended, 1);
	CHECK(go_recv(c, NULL) == -EPIPE);
	return arg;
}

static void many_blocked(void) {
	const char *many = getenv("MANY_BLOCKED");
	int n = many ? atoi(many) : 10000;
	go_wg wg = {{0}};
	c = go_chan_make(0, 0);
	for (int i = 0; i < n; i++)
		CHECK(go_spawn_wg(&wg, block, NULL) == 0);
	until(&ended, n);
	CHECK(go_close(c) == 0 && go_wg_wait(&wg) == 0);
}

int main(int argc, char **argv) {
	static const struct test tests[] = {
		{"unbuffered", unbuffered}, {"buffered", buffered}, {"element_sizes", element_sizes},
		{"try_and_length", try_and_length}, {"close_wakes", close_wakes}, {"many_to_many", many_to_many},
		{"contexts", contexts}, {"select_basics", select_basics}, {"select_fair", select_fair},
		{"select_same_channel", select_same_channel}, {"select_rounds", select_rounds},
		{"timers", timers}, {"timers_restart", timers_restart}, {"many_blocked", many_blocked}, {NULL, NULL},
	};
	return tests_main(tests, argc, argv);
}
