/* Condition variable, mutex, wait group, join, sleep, from goroutines, pthreads and the main thread before there is a runtime. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "golib_test.h"

/* ---- condition variable ------------------------------------------------------------------------------------------ */

static go_mutex m;
static go_cond c;
static int waiting, woken;
static pthread_t who[64];

static void *waiter(void *arg) {
	who[(intptr_t)arg] = pthread_self();
	go_mutex_lock(&m);
	add(&waiting, 1);
	CHECK(go_cond_wait(&c, &m) == 0);
	add(&woken, 1);
	CHECK(go_mutex_trylock(&m) == -EBUSY); /* it is ours again */
	go_mutex_unlock(&m);
	return NULL;
}

/* Returns when n more wait, with the mutex free: then they are in the queue. */
static void waiters_start(go_wg *wg, int n) {
	for (int i = 0; i < n; i++)
		CHECK(go_spawn_wg(wg, waiter, (void *)(intptr_t)i) == 0);
	until(&waiting, n);
	go_mutex_lock(&m);
	go_mutex_unlock(&m);
}

static void cond_single_waiter(void) {
	go_wg wg = {{0}};
	go_cond_notify_one(&c); /* nobody: not remembered */
	waiters_start(&wg, 1);
	CHECK(woken == 0);
	go_cond_notify_one(&c);
	CHECK(go_wg_wait(&wg) == 0 && woken == 1);
}

static void cond_multi_waiter(void) {
	go_wg wg = {{0}};
	waiters_start(&wg, 10);
	for (int i = 1; i <= 3; i++) {
		go_cond_notify_one(&c);
		until(&woken, i);
		CHECK(woken == i);
	}
	go_cond_notify_all(&c);
	CHECK(go_wg_wait(&wg) == 0 && woken == 10);
}

static int handled;

static void handler(int sig) {
	(void)sig;
	add(&handled, 1);
}

/* A handler runs on the waiting goroutine, and the wait goes on. */
static void cond_spurious(void) {
	go_wg wg = {{0}};
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGUSR1, &sa, NULL);
	waiters_start(&wg, 1);
	for (int i = 0; i < 50; i++) {
		if (pthread_kill(who[0], SIGUSR1) == 0)
			until(&handled, i + 1);
	}
	CHECK(woken == 0);
	go_cond_notify_one(&c);
	CHECK(go_wg_wait(&wg) == 0 && woken == 1);
}

/* Notifications and handlers at once: none is lost, or this hangs; none is made up, or a count is wrong. */
static int items, taken;

static void *consumer(void *arg) {
	(void)arg;
	who[0] = pthread_self();
	add(&waiting, 1);
	for (int i = 0; i < 2000; i++) {
		go_mutex_lock(&m);
		while (items == 0)
			go_cond_wait(&c, &m);
		items--;
		taken++;
		go_mutex_unlock(&m);
	}
	return NULL;
}

static void cond_signal_storm(void) {
	go_task t;
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGUSR1, &sa, NULL);
	CHECK(go_spawn_task(&t, consumer, NULL) == 0);
	until(&waiting, 1);
	for (int i = 0; i < 2000; i++) {
		pthread_kill(who[0], SIGUSR1);
		go_mutex_lock(&m);
		items++;
		go_mutex_unlock(&m);
		go_cond_notify_one(&c);
	}
	CHECK(go_join(&t, NULL) == 0 && taken == 2000 && items == 0);
}

static void *cond_ctx_waiter(void *arg) {
	go_mutex_lock(&m);
	add(&waiting, 1);
	int r = go_cond_wait_ctx(arg, &c, &m);
	CHECK(go_mutex_trylock(&m) == -EBUSY);
	go_mutex_unlock(&m);
	return (void *)(intptr_t)r;
}

static void cond_context(void) {
	go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
	go_task t;
	void *r;
	CHECK(go_spawn_task(&t, cond_ctx_waiter, ctx) == 0);
	until(&waiting, 1);
	go_ctx_cancel(ctx);
	CHECK(go_join(&t, &r) == 0 && (intptr_t)r == -ECANCELED);
	CHECK(go_spawn_task(&t, cond_ctx_waiter, ctx) == 0);
	CHECK(go_join(&t, &r) == 0 && (intptr_t)r == -ECANCELED);
	go_cond_notify_all(&c); /* nobody is left in there */
	go_ctx_release(ctx);
}

static int cleaned;

static void cleanup(void *arg) {
	(void)arg;
	CHECK(go_mutex_trylock(&m) == -EBUSY);
	go_mutex_unlock(&m);
	add(&cleaned, 1);
}

static void *cond_cancelled(void *arg) {
	(void)arg;
	who[0] = pthread_self();
	go_mutex_lock(&m);
	add(&waiting, 1);
	pthread_cleanup_push(cleanup, NULL);
	go_cond_wait(&c, &m);
	CHECK(!"reached");
	pthread_cleanup_pop(0);
	return NULL;
}

/* pthread_cancel() of a waiter: with the mutex, through the cleanup handlers; and the wait group is told. */
static void cond_cancel(void) {
	go_wg wg = {{0}};
	if (getenv("ASIDE"))
		return; /* a promise for goroutines only */
	CHECK(go_spawn_wg(&wg, cond_cancelled, NULL) == 0);
	until(&waiting, 1);
	go_mutex_lock(&m);
	go_mutex_unlock(&m);
	CHECK(pthread_cancel(who[0]) == 0);
	CHECK(go_wg_wait(&wg) == 0 && cleaned == 1);
}

/* A handler that runs during the wait ends the thread: with the mutex, and what comes later is for those who still wait. */
static int how_it_ends, in_handler;

static void ends_the_thread(int sig) {
	(void)sig;
	add(&in_handler, 1);
	if (how_it_ends == 0)
		pthread_exit(NULL);
	if (how_it_ends == 1)
		go_panic(NULL);
	for (;;)
		go_sleep(GO_MILLISECOND); /* a cancellation point */
}

static void no_report(void *payload) {
	(void)payload;
}

/* `first` waits for the condition, then `other`; then the first one has a signal. */
static void two_wait_and_a_signal(go_wg *wg, void *(*first)(void *), go_task *other) {
	CHECK(go_spawn_wg(wg, first, NULL) == 0);
	until(&waiting, 1);
	go_mutex_lock(&m);
	go_mutex_unlock(&m);
	CHECK(go_spawn_task(other, cond_ctx_waiter, go_ctx_background()) == 0);
	until(&waiting, 2);
	go_mutex_lock(&m);
	go_mutex_unlock(&m);
	pthread_kill(who[0], SIGUSR1);
}

static void waits_no_more(int how, bool notified_in_handler) {
	go_wg wg = {{0}};
	go_task other;
	void *r;
	how_it_ends = how;
	waiting = cleaned = in_handler = 0;
	two_wait_and_a_signal(&wg, cond_cancelled, &other);
	until(&in_handler, 1);
	if (notified_in_handler) /* it has waited longest */
		go_cond_notify_one(&c);
	if (how == 2)
		CHECK(pthread_cancel(who[0]) == 0);
	CHECK(go_wg_wait(&wg) == 0 && cleaned == 1);
	if (!notified_in_handler)
		go_cond_notify_one(&c);
	CHECK(go_join(&other, &r) == 0 && r == NULL);
}

static void cond_handler_ends(void) {
	struct sigaction sa = {.sa_handler = ends_the_thread};
	if (getenv("ASIDE"))
		return; /* a kernel thread's handler runs in the midst of the wait */
	sigaction(SIGUSR1, &sa, NULL);
	go_set_panic_handler(no_report);
	for (int how = 0; how < 3; how++)
		waits_no_more(how, false);
	waits_no_more(2, true);
}

/* Without unwinding: GOSHIM=panic=isolate. The mutex is free all the time. */
static void crashes(int sig) {
	(void)sig;
	*(volatile int *)8 = 1;
}

static void *cond_crashes(void *arg) {
	who[0] = pthread_self();
	go_mutex_lock(&m);
	add(&waiting, 1);
	go_cond_wait(&c, &m);
	CHECK(!"reached");
	return arg;
}

static void cond_isolated(void) {
	struct sigaction sa = {.sa_handler = crashes};
	go_wg wg = {{0}};
	go_task other;
	void *r;
	CHECK(freopen("/dev/null", "w", stderr) != NULL);
	sigaction(SIGUSR1, &sa, NULL);
	two_wait_and_a_signal(&wg, cond_crashes, &other);
	CHECK(go_wg_wait(&wg) == 0);
	go_cond_notify_one(&c);
	CHECK(go_join(&other, &r) == 0 && r == NULL);
}

/* Who closes a descriptor ends the waits for it. */
static int pair[2];

static void *waits_for_fd(void *arg) {
	add(&waiting, 1);
	return (void *)(intptr_t)go_wait_fd(pair[0], (int)(intptr_t)arg, GO_FOREVER);
}

static void fd_is_closed(void) {
	if (getenv("ASIDE"))
		return; /* kernel threads are in poll(), which goes on */
	for (int round = 0; round < 40; round++) {
		go_task t[4];
		void *r;
		waiting = 0;
		CHECK(pipe(pair) == 0);
		for (int i = 0; i < 4; i++)
			CHECK(go_spawn_task(&t[i], waits_for_fd, (void *)(intptr_t)(i ? GO_READ : GO_READ | GO_WRITE)) == 0);
		let_wait(&waiting, 4, round);
		CHECK(close(pair[0]) == 0);
		for (int i = 0; i < 4; i++)
			CHECK(go_join(&t[i], &r) == 0 && (intptr_t)r == -EBADF);
		CHECK(close(pair[1]) == 0);
	}
}

/* ---- mutex ---------------------------------------------------------------------------------------------------------- */

static long counter;

static void *count_up(void *arg) {
	for (intptr_t i = 0; i < (intptr_t)arg; i++) {
		go_mutex_lock(&m);
		counter++;
		if (i % 16 == 0)
			go_yield();
		go_mutex_unlock(&m);
	}
	return NULL;
}

static void mutex_counts(void) {
	go_wg wg = {{0}};
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, count_up, (void *)5000) == 0);
	for (int i = 0; i < 12; i++)
		CHECK(go_spawn_wg(&wg, count_up, (void *)5000) == 0);
	CHECK(go_wg_wait(&wg) == 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CHECK(counter == 16 * 5000 && go_mutex_unlock(&m) == -EPERM);
}

static void *mutex_ctx_locker(void *arg) {
	add(&waiting, 1);
	return (void *)(intptr_t)go_mutex_lock_ctx(arg, &m);
}

static void mutex_context(void) {
	go_ctx *ctx = go_ctx_with_timeout(go_ctx_background(), 5 * GO_MILLISECOND);
	go_task t;
	void *r;
	go_mutex_lock(&m);
	CHECK(go_spawn_task(&t, mutex_ctx_locker, ctx) == 0);
	CHECK(go_join(&t, &r) == 0 && (intptr_t)r == -ETIMEDOUT);
	CHECK(go_mutex_unlock(&m) == 0 && go_mutex_trylock(&m) == 0);
	go_ctx_release(ctx);
}

/* ---- wait group, tasks, sleep ----------------------------------------------------------------------------------------- */

static void *done_later(void *arg) {
	go_yield();
	add(&woken, 1);
	go_wg_done(arg);
	return NULL;
}

static void *wait_too(void *arg) {
	CHECK(go_wg_wait(arg) == 0 && woken == 100);
	return NULL;
}

static void wg_waits(void) {
	go_wg wg = {{0}}, waiters = {{0}};
	CHECK(go_wg_wait(&wg) == 0 && go_wg_done(&wg) == -EINVAL);
	CHECK(go_wg_add(&wg, 100) == 0);
	for (int i = 0; i < 5; i++)
		CHECK(go_spawn_wg(&waiters, wait_too, &wg) == 0);
	for (int i = 0; i < 100; i++)
		CHECK(go_spawn(done_later, &wg) == 0);
	CHECK(go_wg_wait(&wg) == 0 && woken == 100);
	CHECK(go_wg_wait(&waiters) == 0);
	go_ctx *ctx = go_ctx_with_timeout(go_ctx_background(), GO_MILLISECOND);
	go_wg_add(&wg, 1);
	CHECK(go_wg_wait_ctx(ctx, &wg) == -ETIMEDOUT);
	go_ctx_release(ctx);
}

/* The wait group is on the stack of whoever waits, and gone a moment later. */
static void *wg_on_stack(void *arg) {
	for (int i = 0; i < 2000; i++) {
		go_wg wg = {{1}};
		go_spawn(done_later, &wg);
		CHECK(go_wg_wait(&wg) == 0);
		memset(&wg, 0xff, sizeof wg);
	}
	return arg;
}

static void wg_ends_with_its_waiter(void) {
	go_wg wg = {{0}};
	for (int i = 0; i < 4; i++)
		go_spawn_wg(&wg, wg_on_stack, NULL);
	CHECK(go_wg_wait(&wg) == 0 && woken == 8000);
}

/* Used again and again: the wake-up of a round must not end the wait of the next. */
static struct {
	go_wg wg;
	long turn, done;
	bool stop;
} rounds;

static void *rounds_work(void *arg) {
	unsigned x = 1;
	for (long last = 0; !__atomic_load_n(&rounds.stop, __ATOMIC_RELAXED);) {
		long turn = __atomic_load_n(&rounds.turn, __ATOMIC_ACQUIRE);
		if (turn == last) {
			if (x++ % 4096 == 0)
				go_yield();
			continue;
		}
		last = turn;
		x = x * 1664525u + 1013904223u;
		for (unsigned k = 0; k < x >> 24; k++)
			__asm__ volatile("");
		__atomic_store_n(&rounds.done, turn, __ATOMIC_RELEASE);
		CHECK(go_wg_done(&rounds.wg) == 0);
	}
	return arg;
}

static void wg_is_used_again(void) {
	go_task t;
	int64_t end = go_now() + GO_SECOND;
	CHECK(go_spawn_task(&t, rounds_work, NULL) == 0);
	for (long i = 1; go_now() < end; i++) {
		CHECK(go_wg_add(&rounds.wg, 1) == 0);
		__atomic_store_n(&rounds.turn, i, __ATOMIC_RELEASE);
		CHECK(go_wg_wait(&rounds.wg) == 0);
		CHECK(__atomic_load_n(&rounds.done, __ATOMIC_ACQUIRE) == i);
	}
	__atomic_store_n(&rounds.stop, true, __ATOMIC_RELAXED);
	CHECK(go_join(&t, NULL) == 0);
}

static void *result_of(void *arg) {
	errno = (int)(intptr_t)arg;
	go_yield();
	return (void *)(intptr_t)errno; /* a thread's own */
}

static void *exits(void *arg) {
	pthread_exit(arg);
}

static void task_results(void) {
	go_task t[20];
	void *r;
	for (intptr_t i = 0; i < 20; i++)
		CHECK(go_spawn_task(&t[i], result_of, (void *)i) == 0);
	for (intptr_t i = 0; i < 20; i++)
		CHECK(go_join(&t[i], &r) == 0 && r == (void *)i);
	CHECK(go_spawn_task(&t[0], exits, (void *)99) == 0);
	CHECK(go_join(&t[0], &r) == 0);
	CHECK(getenv("ASIDE") || r == (void *)99); /* a kernel thread's result is libc's */
	go_options o = {.stack = 1};
	CHECK(go_spawn_with(&o, exits, NULL) == -EINVAL && go_spawn(NULL, NULL) == -EINVAL);
}

static void *id_of(void *arg) {
	*(uint64_t *)arg = go_self();
	return NULL;
}

static void sleep_and_self(void) {
	go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
	int64_t start = go_now();
	CHECK(go_sleep(2 * GO_MILLISECOND) == 0 && go_now() - start >= 2 * GO_MILLISECOND);
	go_ctx_cancel(ctx);
	CHECK(go_sleep_ctx(ctx, GO_FOREVER) == -ECANCELED);
	go_ctx_release(ctx);
	uint64_t other;
	go_task t;
	CHECK(go_spawn_task(&t, id_of, &other) == 0 && go_join(&t, NULL) == 0 && other != go_self());
	CHECK(go_self() == (uint64_t)gettid());
}

static void *lock_m(void *arg) {
	add(&waiting, 1);
	go_mutex_lock(&m);
	go_mutex_unlock(&m);
	return arg;
}

static void in_the_child(void) {
	go_timer t;
	go_task task;
	int64_t now;
	CHECK(go_self() == (uint64_t)gettid());
	CHECK(go_timer_start(&t, GO_MILLISECOND, 0) == 0 && go_recv(go_timer_chan(&t), &now) == 0);
	go_ctx *ctx = go_ctx_with_timeout(go_ctx_background(), GO_MILLISECOND);
	CHECK(go_recv(go_ctx_done(ctx), NULL) == -EPIPE && go_ctx_err(ctx) == -ETIMEDOUT);
	CHECK(go_spawn_task(&task, lock_m, NULL) == 0);
	until(&waiting, 2);
	go_sleep(GO_MILLISECOND); /* so that it probably waits already; right either way */
	go_mutex_unlock(&m);
	CHECK(go_join(&task, NULL) == 0);
	_exit(0);
}

/* The child has the caller alone: who waited in the parent is in no queue there, and timers have somebody to look after them. */
static void fork_child(void) {
	go_timer t;
	go_task task;
	int64_t now;
	int status;
	CHECK(go_timer_start(&t, 0, 0) == 0 && go_recv(go_timer_chan(&t), &now) == 0);
	go_mutex_lock(&m);
	CHECK(go_spawn_task(&task, lock_m, NULL) == 0);
	until(&waiting, 1);
	go_sleep(GO_MILLISECOND); /* as above */
	pid_t pid = fork();
	if (pid == 0) {
		alarm(WATCHDOG_S / 2);
		in_the_child();
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	go_mutex_unlock(&m);
	CHECK(go_join(&task, NULL) == 0);
}

/* Everything that waits works for a thread of a process that has no runtime yet. */
static void before_the_runtime(void) {
	go_chan *ch = go_chan_make(sizeof(int), 2);
	int one = 1, x = 0;
	go_case k[2] = {go_case_recv(ch, &x), go_case_recv(NULL, NULL)};
	go_wg wg = {{0}};
	go_mutex_lock(&m);
	CHECK(go_mutex_trylock(&m) == -EBUSY && go_mutex_unlock(&m) == 0);
	CHECK(go_select(k, 2, GO_MILLISECOND) == -ETIMEDOUT && go_try_recv(ch, &x) == -EAGAIN);
	CHECK(go_send(ch, &one) == 0 && go_select(k, 2, GO_FOREVER) == 0 && x == 1);
	CHECK(go_sleep(1) == 0 && go_wg_wait(&wg) == 0);
	int fd[2];
	CHECK(pipe(fd) == 0 && go_wait_fd(fd[0], GO_READ, GO_MILLISECOND) == -ETIMEDOUT && go_wait_fd(fd[1], GO_WRITE, GO_FOREVER) == GO_WRITE);
	go_chan_free(ch);
}

int main(int argc, char **argv) {
	static const struct test tests[] = {
		{"cond_single_waiter", cond_single_waiter}, {"cond_multi_waiter", cond_multi_waiter},
		{"cond_spurious", cond_spurious}, {"cond_signal_storm", cond_signal_storm},
		{"cond_context", cond_context}, {"cond_cancel", cond_cancel},
		{"cond_handler_ends", cond_handler_ends}, {"cond_isolated", cond_isolated},
		{"mutex_counts", mutex_counts}, {"mutex_context", mutex_context},
		{"wg_waits", wg_waits}, {"wg_ends_with_its_waiter", wg_ends_with_its_waiter},
		{"wg_is_used_again", wg_is_used_again},
		{"task_results", task_results}, {"sleep_and_self", sleep_and_self},
		{"fd_is_closed", fd_is_closed},
		{"before_the_runtime", before_the_runtime}, {"fork_child", fork_child}, {NULL, NULL},
	};
	return tests_main(tests, argc, argv);
}
