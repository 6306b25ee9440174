/* Contexts: propagation, deadlines, values, select, and that nothing is left behind. */
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "golib_test.h"

static int64_t cpu_now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * GO_SECOND + ts.tv_nsec;
}

static void cancel_propagates(void) {
	go_ctx *a = go_ctx_with_cancel(go_ctx_background()), *b = go_ctx_with_cancel(a), *c = go_ctx_with_timeout(b, GO_SECOND * 3600);
	go_ctx *other = go_ctx_with_cancel(a);
	CHECK(go_ctx_err(a) == 0 && go_ctx_err(c) == 0 && go_try_recv(go_ctx_done(c), NULL) == -EAGAIN);
	go_ctx_cancel(b);
	CHECK(go_ctx_err(b) == -ECANCELED && go_ctx_err(c) == -ECANCELED && go_ctx_err(a) == 0 && go_ctx_err(other) == 0);
	CHECK(go_recv(go_ctx_done(c), NULL) == -EPIPE);
	go_ctx_cancel(a);
	CHECK(go_ctx_err(a) == -ECANCELED && go_ctx_err(other) == -ECANCELED);
	go_ctx *late = go_ctx_with_cancel(c); /* born cancelled */
	CHECK(go_ctx_err(late) == -ECANCELED);
	go_ctx_release(late);
	go_ctx_release(a); /* in any order */
	go_ctx_release(c);
	go_ctx_release(b);
	go_ctx_release(other);
}

static int entered;

static void *wait_done(void *arg) {
	add(&entered, 1);
	CHECK(go_recv(go_ctx_done(arg), NULL) == -EPIPE);
	CHECK(go_ctx_err(arg) == -ECANCELED);
	return arg;
}

static void done_receives(void) {
	for (int round = 0; round < 100; round++) {
		go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
		go_wg wg = {{0}};
		entered = 0;
		for (int i = 0; i < 10; i++)
			CHECK(go_spawn_wg(&wg, wait_done, ctx) == 0);
		let_wait(&entered, 10, round);
		go_ctx_cancel(ctx);
		go_ctx_cancel(ctx);
		CHECK(go_wg_wait(&wg) == 0);
		go_ctx_release(ctx);
	}
}

static void deadline_fires(void) {
	int64_t when = go_now() + 3 * GO_MILLISECOND;
	go_ctx *ctx = go_ctx_with_deadline(go_ctx_background(), when);
	go_ctx *child = go_ctx_with_cancel(ctx), *later = go_ctx_with_timeout(ctx, GO_SECOND * 3600);
	CHECK(go_ctx_deadline(ctx) == when && go_ctx_deadline(child) == when && go_ctx_deadline(later) == when);
	CHECK(go_ctx_deadline(go_ctx_background()) == GO_FOREVER);
	CHECK(go_recv(go_ctx_done(child), NULL) == -EPIPE && go_now() >= when);
	CHECK(go_ctx_err(child) == -ETIMEDOUT && go_ctx_err(ctx) == -ETIMEDOUT && go_ctx_err(later) == -ETIMEDOUT);
	go_ctx_release(ctx);
	go_ctx_release(child);
	go_ctx_release(later);
	ctx = go_ctx_with_deadline(go_ctx_background(), 1); /* long past */
	CHECK(go_ctx_err(ctx) == -ETIMEDOUT);
	CHECK(go_recv(go_ctx_done(ctx), NULL) == -EPIPE && go_ctx_err(ctx) == -ETIMEDOUT);
	go_ctx_release(ctx);
}

/* What is over is over when it is made; GO_FOREVER is no limit; the parent's error comes first. */
static void durations(void) {
	go_ctx *none = go_ctx_with_timeout(go_ctx_background(), GO_FOREVER);
	CHECK(go_ctx_err(none) == 0 && go_ctx_deadline(none) == GO_FOREVER);
	static const int64_t over[] = {0, -2, -5 * GO_SECOND, INT64_MIN};
	for (int i = 0; i < 4; i++) {
		go_ctx *c = go_ctx_with_timeout(none, over[i]), *below = go_ctx_with_cancel(c);
		CHECK(go_ctx_err(c) == -ETIMEDOUT && go_ctx_err(below) == -ETIMEDOUT && go_ctx_deadline(c) <= go_now());
		CHECK(go_try_recv(go_ctx_done(c), NULL) == -EPIPE);
		go_ctx_release(below);
		go_ctx_release(c);
	}
	for (int i = 1; i < 4; i++) {
		CHECK(go_sleep(over[i]) == 0 && go_sleep_ctx(none, over[i]) == 0);
		CHECK(go_select_ctx(none, NULL, 0, over[i]) == -ETIMEDOUT);
	}
	go_ctx *copied = go_ctx_with_deadline(none, go_ctx_deadline(none)), *late;
	go_sleep(5 * GO_MILLISECOND);
	CHECK(go_ctx_err(copied) == 0 && go_ctx_err(none) == 0);
	go_ctx_cancel(none);
	late = go_ctx_with_timeout(none, 0);
	CHECK(go_ctx_err(copied) == -ECANCELED && go_ctx_err(late) == -ECANCELED);
	go_ctx_release(late);
	go_ctx_release(copied);
	go_ctx_release(none);
}

static go_chan *work;

static void *select_worker(void *arg) {
	int x, sum = 0;
	go_case k[2] = {go_case_recv(work, &x), go_case_recv(go_ctx_done(arg), NULL)};
	while (go_select(k, 2, GO_FOREVER) == 0)
		sum += x;
	return (void *)(intptr_t)sum;
}

static void done_in_select(void) {
	go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
	go_task t;
	void *r;
	work = go_chan_make(sizeof(int), 0);
	CHECK(go_spawn_task(&t, select_worker, ctx) == 0);
	for (int i = 1; i <= 10; i++)
		CHECK(go_send(work, &i) == 0);
	go_ctx_cancel(ctx);
	CHECK(go_join(&t, &r) == 0 && (intptr_t)r == 55);
	go_ctx_release(ctx);
}

static void values(void) {
	static int key1, key2;
	go_ctx *a = go_ctx_with_value(go_ctx_background(), &key1, "one");
	go_ctx *b = go_ctx_with_cancel(a), *c = go_ctx_with_value(b, &key2, "two"), *d = go_ctx_with_value(c, &key1, "three");
	go_ctx *e = go_ctx_with_cancel(d);
	CHECK(strcmp(go_ctx_value(b, &key1), "one") == 0 && go_ctx_value(b, &key2) == NULL);
	CHECK(strcmp(go_ctx_value(e, &key1), "three") == 0 && strcmp(go_ctx_value(e, &key2), "two") == 0);
	CHECK(go_ctx_done(a) == NULL && go_ctx_done(c) == go_ctx_done(b) && go_ctx_value(e, NULL) == NULL);
	go_ctx_cancel(c); /* it has nothing of its own to cancel */
	CHECK(go_ctx_err(c) == 0);
	go_ctx_release(a);
	go_ctx_release(c);
	go_ctx_release(d);
	go_ctx_cancel(b);
	CHECK(go_ctx_err(e) == -ECANCELED && strcmp(go_ctx_value(e, &key1), "three") == 0);
	go_ctx_release(b);
	go_ctx_release(e);
}

static long rss_pages(void) {
	long size, rss = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	CHECK(f && fscanf(f, "%ld %ld", &size, &rss) == 2);
	fclose(f);
	return rss;
}

/* Children that end first leave no trace in a parent that lives on; neither do those that are let go uncancelled, nor their timers. */
static void no_leak(void) {
	go_ctx *parent = go_ctx_with_cancel(go_ctx_background());
	long before = 0;
	for (int i = 0; i < 200000; i++) {
		if (i == 10000)
			before = rss_pages();
		go_ctx *child = i % 2 ? go_ctx_with_cancel(parent) : go_ctx_with_timeout(parent, GO_SECOND * 3600);
		go_ctx *below = go_ctx_with_value(child, &before, NULL), *last = go_ctx_with_cancel(below);
		if (i % 3 == 0)
			go_ctx_cancel(child);
		go_ctx_release(child);
		go_ctx_release(last);
		go_ctx_release(below);
	}
	CHECK(rss_pages() - before < 256); /* 190,000 nodes would be 60 MiB */
	go_ctx_release(parent);
}

/* Cancelling costs under half a microsecond of CPU for each child; the bound is that of a busy machine. */
static void hundred_thousand_children(void) {
	enum { N = 100000 };
	static go_ctx *child[N];
	go_ctx *parent = go_ctx_with_cancel(go_ctx_background());
	for (int i = 0; i < N; i++)
		CHECK((child[i] = go_ctx_with_cancel(parent)) != NULL);
	int64_t start = cpu_now();
	go_ctx_cancel(parent);
	int64_t spent = cpu_now() - start;
	for (int i = 0; i < N; i++) {
		CHECK(go_ctx_err(child[i]) == -ECANCELED);
		go_ctx_release(child[i]);
	}
	go_ctx_release(parent);
	if (getenv("SHOW"))
		printf("%.1f ms\n", (double)spent / GO_MILLISECOND);
	CHECK(spent < 50 * GO_MILLISECOND);
}

/* A tree deeper than a small stack could recurse. */
static void deep_chain(void) {
	enum { N = 100000 };
	static go_ctx *chain[N];
	for (int i = 0; i < N; i++)
		CHECK((chain[i] = go_ctx_with_cancel(i ? chain[i - 1] : go_ctx_background())) != NULL);
	go_ctx_cancel(chain[0]);
	CHECK(go_ctx_err(chain[N - 1]) == -ECANCELED);
	for (int i = 0; i < N; i++)
		go_ctx_release(chain[i]);
}

/* Parents cancelled, deadlines that fire and makers that let go, all at once. */
static go_ctx *shared;

static void *churn(void *arg) {
	unsigned n = (unsigned)(intptr_t)arg;
	for (int i = 0; i < 3000; i++) {
		n = n * 1664525u + 1013904223u;
		go_ctx *c = go_ctx_with_timeout(shared, (int64_t)(n >> 8) % 200000), *d = go_ctx_with_timeout(c, 50000);
		if (n & 64)
			go_sleep_ctx(d, 1000);
		if (n & 128)
			go_ctx_cancel(c);
		go_ctx_release(c);
		go_ctx_release(d);
	}
	return NULL;
}

static void *churn_parent(void *arg) {
	for (int i = 0; i < 300; i++) {
		go_ctx *p = go_ctx_with_cancel(shared), *c[10];
		for (int j = 0; j < 10; j++)
			c[j] = go_ctx_with_timeout(p, 100000 * j);
		go_yield();
		go_ctx_cancel(p);
		for (int j = 0; j < 10; j++)
			go_ctx_release(c[j]);
		go_ctx_release(p);
	}
	return arg;
}

static void all_at_once(void) {
	go_wg wg = {{0}};
	shared = go_ctx_with_cancel(go_ctx_background());
	for (intptr_t i = 0; i < 4; i++) {
		CHECK(go_spawn_wg(&wg, churn, (void *)i) == 0);
		CHECK(go_spawn_wg(&wg, churn_parent, NULL) == 0);
	}
	CHECK(go_wg_wait(&wg) == 0);
	go_ctx_cancel(shared);
	go_ctx_release(shared);
}

static void *nothing(void *arg) {
	return arg;
}

/* What the parent has running does not run in the child, which may let go of it all the same: at once, or with threads of its own. */
static void child_lets_go(void) {
	static go_timer timer;
	go_ctx *c = go_ctx_with_timeout(go_ctx_background(), 100 * GO_SECOND);
	CHECK(c && go_timer_start(&timer, 100 * GO_SECOND, 0) == 0);
	for (int threads = 0; threads < 2; threads++) {
		int status = -1;
		pid_t child = fork();
		if (child == 0) {
			go_wg wg = {{0}};
			if (threads)
				CHECK(go_spawn_wg(&wg, nothing, NULL) == 0 && go_wg_wait(&wg) == 0);
			CHECK(!go_timer_stop(&timer));
			go_ctx_release(c);
			_exit(0);
		}
		CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	}
	CHECK(go_timer_stop(&timer));
	go_ctx_release(c);
}

/* Who found no memory for a context, and goes on, gets errors instead of a crash or a wait for ever. */
static void made_of_nothing(void) {
	go_ctx *no = NULL;
	go_chan *c = go_chan_make(0, 0);
	go_case k = go_case_recv(c, NULL);
	go_mutex m = {{0}};
	go_cond cond = {{0}};
	go_wg wg = {{1}};
	go_task t = {{0}};
	CHECK(!go_ctx_with_cancel(no) && !go_ctx_with_timeout(no, 1) && !go_ctx_with_deadline(no, 1) && !go_ctx_with_value(no, &c, c));
	CHECK(go_ctx_err(no) == -EINVAL && !go_ctx_done(no) && go_ctx_deadline(no) == GO_FOREVER && !go_ctx_value(no, &c));
	CHECK(go_sleep_ctx(no, GO_FOREVER) == -EINVAL && go_send_ctx(no, c, NULL) == -EINVAL && go_recv_ctx(no, c, NULL) == -EINVAL);
	CHECK(go_select_ctx(no, &k, 1, GO_FOREVER) == -EINVAL && go_join_ctx(no, &t, NULL) == -EINVAL && go_wg_wait_ctx(no, &wg) == -EINVAL);
	CHECK(go_mutex_lock_ctx(no, &m) == -EINVAL && go_mutex_trylock(&m) == 0 && go_cond_wait_ctx(no, &cond, &m) == -EINVAL);
	CHECK(go_wait_fd_ctx(no, 0, GO_READ, GO_FOREVER) == -EINVAL);
	go_ctx_retain(no);
	go_ctx_cancel(no);
	go_ctx_release(no);
	go_chan_free(c);
}

int main(int argc, char **argv) {
	static const struct test tests[] = {
		{"cancel_propagates", cancel_propagates}, {"done_receives", done_receives},
		{"deadline_fires", deadline_fires}, {"durations", durations}, {"done_in_select", done_in_select}, {"values", values},
		{"no_leak", no_leak}, {"hundred_thousand_children", hundred_thousand_children},
		{"deep_chain", deep_chain}, {"all_at_once", all_at_once}, {"made_of_nothing", made_of_nothing}, {"child_lets_go", child_lets_go}, {NULL, NULL},
	};
	return tests_main(tests, argc, argv);
}
