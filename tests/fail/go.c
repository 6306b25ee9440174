/* goshim.h under refused calls: goroutines, channels, select, contexts with deadlines, timers and waits for a descriptor. What is refused says so, once. */
#include "goshim.h"

#include <string.h>

#include "fail_test.h"

/* Two generations of workers, one of which is ending, fit what is mapped for stacks at once. */
enum { WORKERS = 24, ITEMS = 20, ROUNDS = 5 };

/* A call whose failure is an error number. */
#define DONE(call) \
	do { \
		int done = (call); \
		if (done != 0) { \
			CHECK(done == -EAGAIN || done == -ENOMEM); \
			CHECK(++refused == 1); \
			CHECK((call) == 0); \
		} \
	} while (0)

/* A call whose failure is NULL. */
#define MADE(call) \
	(__extension__({ \
		__typeof__(call) made = (call); \
		if (!made) { \
			CHECK(++refused == 1); \
			made = (call); \
			CHECK(made); \
		} \
		made; \
	}))

static go_chan *work, *results;

static void *worker(void *arg) {
	int n;
	GO_RANGE(work, &n) {
		n *= 2;
		CHECK(go_send(results, &n) == 0);
	}
	return arg;
}

static void pool(void) {
	go_task task[WORKERS];
	int sum = 0, sent = 0, got = 0;
	work = MADE(go_chan_make(sizeof(int), 4));
	results = MADE(go_chan_make(sizeof(int), 0));
	for (int i = 0; i < WORKERS; i++)
		DONE(go_spawn_task(&task[i], worker, &task[i]));
	while (got < WORKERS * ITEMS) {
		int out = sent, in = 0;
		go_case cases[] = {go_case_recv(results, &in), go_case_send(sent < WORKERS * ITEMS ? work : NULL, &out)};
		if (go_select(cases, 2, GO_FOREVER) == 1) {
			sent++;
		} else {
			sum += in;
			got++;
		}
	}
	CHECK(sum == WORKERS * ITEMS * (WORKERS * ITEMS - 1));
	CHECK(go_close(work) == 0);
	for (int i = 0; i < WORKERS; i++) {
		void *result;
		CHECK(go_join(&task[i], &result) == 0 && result == &task[i]);
	}
	go_chan_free(work);
	go_chan_free(results);
}

static void *until_done(void *arg) {
	CHECK(go_recv(go_ctx_done(arg), NULL) == -EPIPE);
	CHECK(go_ctx_err(arg) != 0);
	return arg;
}

static void contexts(void) {
	go_wg wg = {{0}};
	go_ctx *top = MADE(go_ctx_with_cancel(go_ctx_background())), *late = MADE(go_ctx_with_timeout(top, 3600 * GO_SECOND));
	go_ctx *soon = MADE(go_ctx_with_timeout(top, GO_MILLISECOND)), *valued = MADE(go_ctx_with_value(late, &wg, top));
	go_ctx *all[] = {top, late, soon, valued};
	for (int i = 0; i < WORKERS; i++)
		DONE(go_spawn_wg(&wg, until_done, all[i % 4]));
	CHECK(go_recv(go_ctx_done(soon), NULL) == -EPIPE && go_ctx_err(soon) == -ETIMEDOUT && go_ctx_err(late) == 0);
	CHECK(go_ctx_value(valued, &wg) == top);
	go_ctx_cancel(top);
	CHECK(go_wg_wait(&wg) == 0);
	for (int i = 0; i < 4; i++)
		go_ctx_release(all[i]);
}

static void times_and_descriptors(void) {
	go_timer timer;
	int64_t at;
	int fd[2];
	CHECK(pipe(fd) == 0);
	memset(&timer, 0, sizeof timer);
	DONE(go_timer_start(&timer, GO_MILLISECOND, GO_MILLISECOND));
	for (int i = 0; i < 3; i++)
		CHECK(go_recv(go_timer_chan(&timer), &at) == 0);
	CHECK(go_timer_stop(&timer) == 1);
	CHECK(go_wait_fd(fd[0], GO_READ, GO_MILLISECOND) == -ETIMEDOUT);
	CHECK(write(fd[1], "x", 1) == 1 && go_wait_fd(fd[0], GO_READ, GO_FOREVER) == GO_READ);
	close(fd[0]);
	close(fd[1]);
}

static void round_once(void) {
	pool();
	contexts();
	times_and_descriptors();
}

int main(void) {
	rounds(ROUNDS, round_once);
	return 0;
}
