/* What a debug build dies of (core/debug.c): each check is made to fail, and its closest legal neighbour must pass. */
#include "sched_test.h"

#include "debug.h"

static struct lock outer, inner, pair[2];
static struct g a, b;
static struct p the_p;

static bool dies(void (*fn)(void)) {
	int status = child_status(fn);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGILL;
}

/* Somebody's, or nothing is recorded. */
static void locks_begin(void) {
	must(g_self() != NULL);
}

static void in_order(void) {
	locks_begin();
	lock_acquire(&outer, LOCK_FUTEX);
	lock_acquire(&inner, LOCK_SCHED);
	lock_release(&outer); /* let go of in any order */
	lock_release(&inner);
	lock_none_held();
}

static void out_of_order(void) {
	locks_begin();
	lock_acquire(&inner, LOCK_SCHED);
	lock_acquire(&outer, LOCK_FUTEX);
}

static void below_one_that_is_left(void) {
	locks_begin();
	lock_acquire(&outer, LOCK_FUTEX);
	lock_acquire(&inner, LOCK_SCHED);
	lock_release(&outer);
	lock_acquire(&outer, LOCK_TIMER);
}

static void two_of_a_rank(void) {
	locks_begin();
	lock_acquire(&pair[0], LOCK_SCHED);
	lock_acquire(&pair[1], LOCK_SCHED);
}

static void buckets_by_address(void) {
	locks_begin();
	lock_acquire(&pair[0], LOCK_FUTEX);
	lock_acquire(&pair[1], LOCK_FUTEX);
}

static void buckets_against_address(void) {
	locks_begin();
	lock_acquire(&pair[1], LOCK_FUTEX);
	lock_acquire(&pair[0], LOCK_FUTEX);
}

static void twice(void) {
	locks_begin();
	lock_acquire(&outer, LOCK_SCHED);
	lock_acquire(&outer, LOCK_SCHED);
}

static void not_held(void) {
	tls_g = &a;
	a.kind = G_GOROUTINE;
	lock_release(&outer);
}

static void held_over_a_switch(void) {
	locks_begin();
	lock_acquire(&outer, LOCK_SCHED);
	lock_none_held();
}

/* COR-3 */
Test(debug, locks) {
	expect_child_ok(in_order);
	expect_child_ok(buckets_by_address);
	cr_expect(dies(out_of_order));
	cr_expect(dies(below_one_that_is_left));
	cr_expect(dies(two_of_a_rank));
	cr_expect(dies(buckets_against_address));
	cr_expect(dies(twice));
	cr_expect(dies(not_held));
	cr_expect(dies(held_over_a_switch));
}

static enum g_state from_state, to_state;

static void one_step(void) {
	a.state = (uint8_t)from_state;
	g_state_set(&a, to_state);
}

/* COR-5 */
Test(debug, states) {
	static const struct {
		enum g_state from, to;
		bool legal;
	} step[] = {
		{GS_IDLE, GS_RUNNABLE, true},    {GS_RUNNABLE, GS_RUNNING, true},  {GS_RUNNING, GS_WAITING, true},
		{GS_WAITING, GS_RUNNABLE, true}, {GS_RUNNING, GS_DEAD, true},      {GS_DEAD, GS_RUNNABLE, true},
		{GS_IDLE, GS_WAITING, false},    {GS_RUNNABLE, GS_WAITING, false}, {GS_RUNNABLE, GS_DEAD, false},
		{GS_WAITING, GS_DEAD, false},    {GS_WAITING, GS_WAITING, false},  {GS_DEAD, GS_WAITING, false},
		{GS_DEAD, GS_DEAD, false},       {GS_RUNNING, GS_IDLE, false},
	};
	for (size_t i = 0; i < LENGTH(step); i++) {
		from_state = step[i].from;
		to_state = step[i].to;
		if (step[i].legal)
			expect_child_ok(one_step);
		else
			cr_expect(dies(one_step), "%d to %d", from_state, to_state);
	}
}

static struct m one, other;

static void p_given_on(void) {
	p_attach(&one, &the_p);
	p_detach(&one);
	p_attach(&other, &the_p);
	the_p.m = NULL; /* sysmon takes it, and its M does not know yet */
	p_attach(&one, &the_p);
	one.p = NULL;
	p_idle_put(&the_p);
	must(p_idle_get() == &the_p);
	p_attach(&one, &the_p);
}

static void p_of_another(void) {
	p_attach(&one, &the_p);
	p_attach(&other, &the_p);
}

static void p_that_is_idle(void) {
	p_idle_put(&the_p);
	p_attach(&one, &the_p);
}

static void p_idle_twice(void) {
	p_idle_put(&the_p);
	p_idle_put(&the_p);
}

Test(debug, p_has_one_m) {
	sched.procs = 1; /* one that is here to stay */
	expect_child_ok(p_given_on);
	cr_expect(dies(p_of_another));
	cr_expect(dies(p_that_is_idle));
	cr_expect(dies(p_idle_twice));
}

/* sysmon's looks, a tick apart, at two queued goroutines and an idle P. */
static void queues_begin(void) {
	sched.procs = sched.procs_all = 1;
	sched.all_p[0] = &the_p;
	sched.idle_p_count = 1;
	a.schedlink = &b;
	globq_put_list(&a, &b, 2);
}

static int64_t looks(int64_t now, int n, int64_t apart) {
	for (int i = 0; i < n; i++)
		debug_look(now += apart);
	return now;
}

static void nobody_comes(void) {
	queues_begin();
	looks(SECOND, 20, MS);
}

static void nobody_comes_to_a_p(void) {
	queues_begin();
	sched.runq.head = sched.runq.tail = NULL;
	the_p.runnext = &a;
	looks(SECOND, 20, MS);
}

static void somebody_never_arrives(void) {
	queues_begin();
	sched.spinning = 1;
	looks(SECOND, 20000, MS);
}

/* Whatever gives a reason. */
static void somebody_comes(void) {
	queues_begin();
	int64_t now = looks(SECOND, 9, MS);
	sched.spinning = 1;
	now = looks(now, 100, MS);
	sched.spinning = 0;
	now = looks(now, 9, MS);
	sched.poller = 1;
	debug_poller_broken();
	now = looks(now, 100, MS);
	sched.poller = 0;
	now = looks(now, 9, MS);
	sched.idle_p_count = 0;
	now = looks(now, 100, MS);
	sched.idle_p_count = 1;
	now = looks(now, 9, MS);
	debug_m_refused();
	now = looks(now, 9, MS);
	sched.runq.head = &b; /* it moves */
	now = looks(now, 9, MS);
	looks(now, 100, 10 * MS); /* sysmon is late itself */
}

Test(debug, runnable_and_idle) {
	cr_expect(dies(nobody_comes));
	cr_expect(dies(nobody_comes_to_a_p));
	cr_expect(dies(somebody_never_arrives));
	expect_child_ok(somebody_comes);
}

/* ---- a process in which nothing else happens -------------------------------------------------------------------------------- */

static _Atomic uint32_t word;
static _Atomic bool there; /* the one who is forgotten is about to wait */
static struct g *waiter;

static void waits(void *arg) {
	int64_t deadline = arg ? nanotime() + 1000 * SECOND : -1; /* with one, somebody blocks in netpoll */
	waiter = g_self();
	atomic_store(&there, true);
	futex_wait(&word, 0, deadline, FUTEX_ANY, false, "forgotten");
}

static bool ms_sleep(void) {
	for (struct m *m = sched.all_m; m; m = m->all_next) {
		if (!thread_sleeps(m->ktid))
			return false;
	}
	return true;
}

/* Nor will an M on its way to sleep, which has given up its P and looks once more; nor one that the kernel has been slow to make, whose P another has. */
static bool nobody_looks(void) {
	return atomic_load(&there) && sysmon_sleeps() && sched.m_count == sched.idle_m_count + sched.poller && ms_sleep();
}

/* Once there is nothing to watch: a claimed waiter is put into the queue, and no M is told. */
static void *forget(void *arg) {
	until(nobody_looks());
	must(wait_claim(waiter, WAKE_READY));
	g_state_set(waiter, GS_RUNNABLE);
	globq_put(waiter);
	return arg;
}

/* ... or one has been told, as far as anybody can see, and does not come. */
static void *leave_it_to_nobody(void *arg) {
	until(nobody_looks());
	atomic_fetch_add(&sched.spinning, 1);
	must(wait_claim(waiter, WAKE_READY));
	ready(waiter);
	return arg;
}

static uint32_t procs;
static bool timed;
static void *(*then)(void *);

static void idle_process(void) {
	start(procs);
	alarm(60); /* else it may wait for ever */
	thread_start(then, NULL);
	go(waits, timed ? &timed : NULL);
	wait_all();
}

/* Also what it says. */
static void expect_report(const char *why) {
	int out[2], status = -1;
	char text[16384];
	size_t length = 0;
	cr_assert(pipe(out) == 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], 2);
		close(out[0]);
		idle_process();
		_exit(0);
	}
	close(out[1]);
	for (ssize_t n; length < sizeof(text) - 1 && (n = read(out[0], text + length, sizeof(text) - 1 - length)) > 0;)
		length += (size_t)n;
	close(out[0]);
	text[length] = '\0';
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL, "status 0x%x", status);
	cr_expect(strstr(text, why), "\"%s\" is missing in:\n%s", why, text);
	cr_expect(strstr(text, "goroutine 1: ") && strstr(text, "goroutine 2: "), "not all goroutines are in:\n%s", text);
}

Test(debug, idle_process) {
	for (procs = 1; procs <= 2; procs++) {
		then = forget;
		timed = false;
		expect_report("nobody comes");
		timed = true;
		expect_report("nobody comes");
		then = leave_it_to_nobody;
		expect_report("does not arrive");
	}
}
