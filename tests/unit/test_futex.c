/* The parking lot, with kernel threads as waiters: to the core they are foreign threads. Its source is part of this file, because the tests
 * look into the buckets: nothing else tells that somebody is queued and what his place is. */
#include "../../core/futex.c"

#include "core_test.h"

#define MANY 1000000

static _Atomic uint32_t word, other_word;

/* How many wait on addr. */
static int waiters(const void *addr) {
	struct bucket *b = bucket_of(addr);
	int n = 0;
	lock_acquire(&b->lock, LOCK_FUTEX);
	for (struct fwaiter *w = b->head; w; w = w->next) {
		must(w->next ? w->next->prev == w : b->tail == w);
		n += w->addr == addr;
	}
	lock_release(&b->lock);
	return n;
}

struct waiter {
	pthread_t thread;
	const _Atomic uint32_t *addr;
	uint32_t expected, bitset;
	int64_t deadline;
	bool interruptible;
	struct g *_Atomic g;
	_Atomic int result; /* 1 while it waits */
	_Atomic int order;  /* who returned first */
};

static _Atomic int returned;

static void *wait_once(void *arg) {
	struct waiter *w = arg;
	atomic_store(&w->g, g_self());
	int r = futex_wait(w->addr, w->expected, w->deadline, w->bitset, w->interruptible, "test");
	atomic_store(&w->order, atomic_fetch_add(&returned, 1));
	atomic_store(&w->result, r);
	return NULL;
}

static void waiter_start(struct waiter *w, const _Atomic uint32_t *addr) {
	w->addr = addr;
	w->expected = *addr;
	if (!w->bitset)
		w->bitset = FUTEX_ANY;
	if (!w->deadline)
		w->deadline = -1;
	atomic_store(&w->result, 1);
	w->thread = thread_start(wait_once, w);
}

/* Started one after the other, so that their places in the queue are known. */
static void waiters_start(struct waiter *w, int n, const _Atomic uint32_t *addr) {
	int before = waiters(addr);
	for (int i = 0; i < n; i++) {
		waiter_start(&w[i], addr);
		until(waiters(addr) == before + i + 1);
	}
}

static int waiter_result(struct waiter *w) {
	until(atomic_load(&w->result) != 1);
	thread_join(w->thread);
	return w->result;
}

Test(futex, changed_word) {
	word = 1;
	cr_expect(futex_wait(&word, 0, -1, FUTEX_ANY, false, "test") == -EAGAIN);
	cr_expect(futex_wait(&word, 2, 0, FUTEX_ANY, true, "test") == -EAGAIN);
	cr_expect(waiters(&word) == 0);
}

Test(futex, nobody_waits) {
	cr_expect(futex_wake(&word, MANY, FUTEX_ANY) == 0);
	cr_expect(futex_requeue(&word, 1, MANY, &other_word, false, 0) == 0);
}

Test(futex, wakes_in_order) {
	struct waiter w[8] = {0};
	waiters_start(w, 8, &word);
	for (int i = 0; i < 8; i++) {
		cr_assert(futex_wake(&word, 1, FUTEX_ANY) == 1);
		cr_expect(waiter_result(&w[i]) == 0);
		cr_assert(w[i].order == i);
		cr_assert(waiters(&word) == 7 - i);
	}
	cr_expect(futex_wake(&word, 1, FUTEX_ANY) == 0);
}

Test(futex, wakes_as_many_as_asked) {
	struct waiter w[9] = {0};
	waiters_start(w, 9, &word);
	cr_expect(futex_wake(&word, 0, FUTEX_ANY) == 0);
	cr_expect(futex_wake(&word, 4, FUTEX_ANY) == 4);
	for (int i = 0; i < 4; i++)
		cr_expect(waiter_result(&w[i]) == 0);
	cr_expect(waiters(&word) == 5);
	cr_expect(futex_wake(&word, MANY, FUTEX_ANY) == 5);
	for (int i = 4; i < 9; i++)
		cr_expect(waiter_result(&w[i]) == 0);
}

Test(futex, bitsets) {
	struct waiter w[4] = {{.bitset = 1}, {.bitset = 2}, {.bitset = 3}, {.bitset = 4}};
	waiters_start(w, 4, &word);
	cr_expect(futex_wake(&word, MANY, 8) == 0);
	cr_expect(futex_wake(&word, MANY, 2) == 2);
	cr_expect(waiter_result(&w[1]) == 0 && waiter_result(&w[2]) == 0);
	cr_expect(futex_wake(&word, 1, 5) == 1);
	cr_expect(waiter_result(&w[0]) == 0);
	cr_expect(futex_wake(&word, MANY, FUTEX_ANY) == 1);
	cr_expect(waiter_result(&w[3]) == 0);
}

/* Two words in one bucket: a waker of one must not touch the other's waiters. */
Test(futex, words_that_share_a_bucket) {
	static _Atomic uint32_t many[100000];
	size_t twin = 1;
	while (bucket_of(&many[twin]) != bucket_of(&many[0]))
		cr_assert(++twin < LENGTH(many));
	struct waiter a[2] = {0}, b[2] = {0};
	waiters_start(&a[0], 1, &many[0]);
	waiters_start(&b[0], 1, &many[twin]);
	waiters_start(&a[1], 1, &many[0]);
	waiters_start(&b[1], 1, &many[twin]);
	cr_expect(futex_wake(&many[twin], MANY, FUTEX_ANY) == 2);
	cr_expect(waiter_result(&b[0]) == 0 && waiter_result(&b[1]) == 0);
	cr_expect(futex_requeue(&many[0], 1, 1, &many[twin], false, 0) == 2); /* both ends in one bucket: one lock */
	cr_expect(waiter_result(&a[0]) == 0);
	cr_expect(futex_wake(&many[0], MANY, FUTEX_ANY) == 0);
	cr_expect(futex_wake(&many[twin], MANY, FUTEX_ANY) == 1);
	cr_expect(waiter_result(&a[1]) == 0);
}

/* ---- timeouts ---- */

Test(futex, timeouts) {
	int64_t start = nanotime();
	cr_expect(futex_wait(&word, 0, 0, FUTEX_ANY, false, "test") == -ETIMEDOUT, "long past");
	cr_expect(futex_wait(&word, 0, start - 1, FUTEX_ANY, false, "test") == -ETIMEDOUT);
	cr_expect(futex_wait(&word, 0, start + 20 * MS, FUTEX_ANY, false, "test") == -ETIMEDOUT);
	cr_expect(nanotime() - start >= 20 * MS);
	cr_expect(waiters(&word) == 0, "a leaver stayed in the queue");
}

Test(futex, woken_before_the_deadline) {
	struct waiter w = {.deadline = nanotime() + LONG_NS};
	waiters_start(&w, 1, &word);
	cr_expect(futex_wake(&word, 1, FUTEX_ANY) == 1);
	cr_expect(waiter_result(&w) == 0);
}

Test(futex, leaver_in_the_middle) {
	struct waiter w[3] = {0};
	waiters_start(&w[0], 1, &word);
	w[1].deadline = nanotime() + 30 * MS;
	waiter_start(&w[1], &word);
	cr_expect(waiter_result(&w[1]) == -ETIMEDOUT);
	waiters_start(&w[2], 1, &word);
	cr_expect(waiters(&word) == 2);
	cr_expect(futex_wake(&word, MANY, FUTEX_ANY) == 2);
	cr_expect(waiter_result(&w[0]) == 0 && waiter_result(&w[2]) == 0);
}

/* ---- requeue ---- */

Test(futex, requeue_keeps_the_order) {
	struct waiter w[6] = {0};
	waiters_start(w, 6, &word);
	cr_expect(futex_requeue(&word, 1, 3, &other_word, true, 0) == 4);
	cr_expect(waiter_result(&w[0]) == 0);
	cr_expect(waiters(&word) == 2 && waiters(&other_word) == 3);
	for (int i = 1; i <= 3; i++) {
		cr_expect(futex_wake(&other_word, 1, FUTEX_ANY) == 1);
		cr_expect(waiter_result(&w[i]) == 0);
	}
	cr_expect(futex_wake(&word, MANY, FUTEX_ANY) == 2);
	cr_expect(waiter_result(&w[4]) == 0 && waiter_result(&w[5]) == 0);
}

Test(futex, requeue_compares_first) {
	struct waiter w = {0};
	waiters_start(&w, 1, &word);
	cr_expect(futex_requeue(&word, 1, 1, &other_word, true, 7) == -EAGAIN);
	cr_expect(waiters(&word) == 1 && waiters(&other_word) == 0);
	cr_expect(futex_requeue(&word, 1, 1, &word, true, 0) == 1, "to itself: wakes, moves nobody");
	cr_expect(waiter_result(&w) == 0);
}

Test(futex, requeued_then_timed_out) {
	struct waiter w[2] = {{.deadline = nanotime() + 200 * MS}, {0}};
	waiters_start(w, 2, &word);
	cr_expect(futex_requeue(&word, 0, MANY, &other_word, false, 0) == 2);
	cr_expect(waiter_result(&w[0]) == -ETIMEDOUT);
	cr_expect(waiters(&other_word) == 1 && waiters(&word) == 0);
	cr_expect(futex_wake(&other_word, MANY, FUTEX_ANY) == 1);
	cr_expect(waiter_result(&w[1]) == 0);
}

/* ---- interrupts ---- */

Test(futex, interrupt_of_a_waiter) {
	struct waiter w[2] = {{.interruptible = true}, {0}};
	waiters_start(w, 2, &word);
	g_interrupt(w[0].g);
	cr_expect(waiter_result(&w[0]) == -EINTR);
	cr_expect(waiters(&word) == 1);
	g_interrupt(w[1].g); /* not interruptible: it stays */
	cr_expect(waiters(&word) == 1 && w[1].result == 1);
	cr_expect(futex_wake(&word, 1, FUTEX_ANY) == 1);
	cr_expect(waiter_result(&w[1]) == 0);
}

Test(futex, pending_interrupt) {
	struct g *g = g_self();
	cr_expect(!g_interrupt_clear(g));
	g_interrupt(g);
	cr_expect(futex_wait(&word, 0, nanotime() + MS, FUTEX_ANY, false, "test") == -ETIMEDOUT, "not interruptible");
	cr_expect(futex_wait(&word, 0, -1, FUTEX_ANY, true, "test") == -EINTR);
	cr_expect(futex_wait(&word, 0, -1, FUTEX_ANY, true, "test") == -EINTR, "pending until cleared");
	cr_expect(futex_wait(&word, 9, -1, FUTEX_ANY, true, "test") == -EAGAIN, "the word goes first");
	cr_expect(g->wake == WAKE_READY, "and no handler is put off until somebody asks why the wait ended");
	cr_expect(waiters(&word) == 0);
	cr_expect(g_interrupt_clear(g) && !g_interrupt_clear(g));
	cr_expect(futex_wait(&word, 0, nanotime() + MS, FUTEX_ANY, true, "test") == -ETIMEDOUT);
}

static _Atomic int handled;

static void handler(int sig) {
	(void)sig;
	atomic_fetch_add(&handled, 1);
}

/* A signal handler ran on a foreign thread: only an interruptible wait ends. */
Test(futex, signal_to_a_foreign_thread) {
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGUSR1, &sa, NULL);
	struct waiter w[2] = {{.interruptible = true}, {0}};
	waiters_start(w, 2, &word);
	pthread_kill(w[1].thread, SIGUSR1);
	until(handled == 1);
	cr_expect(waiters(&word) == 2);
	/* It is in the queue before it sleeps in the kernel: repeat until the signal meets it there. */
	while (w[0].result == 1) {
		pthread_kill(w[0].thread, SIGUSR1);
		sched_yield();
	}
	cr_expect(waiter_result(&w[0]) == -EINTR);
	cr_expect(waiters(&word) == 1);
	cr_expect(futex_wake(&word, MANY, FUTEX_ANY) == 1);
	cr_expect(waiter_result(&w[1]) == 0);
}

/* ---- prepare and commit ---- */

static _Atomic uint32_t queued_count;

Test(futex, prepared_wait_counts) {
	struct fwaiter w;
	futex_prepare(&w, &word, &queued_count, false, "test");
	cr_expect(queued_count == 1);
	cr_expect(futex_wake_counted(&word, 1, &queued_count) == 1, "woken between prepare and commit");
	cr_expect(queued_count == 0);
	cr_expect(futex_commit(&w, &word, &queued_count, -1) == 0);

	futex_prepare(&w, &word, &queued_count, false, "test");
	cr_expect(futex_commit(&w, &word, &queued_count, nanotime() + MS) == -ETIMEDOUT);
	cr_expect(queued_count == 0 && waiters(&word) == 0);

	g_interrupt(g_self());
	futex_prepare(&w, &word, &queued_count, true, "test");
	cr_expect(queued_count == 1);
	cr_expect(futex_commit(&w, &word, &queued_count, -1) == -EINTR);
	cr_expect(queued_count == 0 && waiters(&word) == 0);
	g_interrupt_clear(g_self());

	futex_prepare(&w, &word, NULL, false, "test");
	cr_expect(futex_wake(&word, 1, FUTEX_ANY) == 1);
	cr_expect(futex_commit(&w, &word, NULL, -1) == 0);
}

static void *prepared(void *arg) {
	struct waiter *w = arg;
	struct fwaiter f;
	futex_prepare(&f, &word, &queued_count, false, "test");
	atomic_store(&w->result, futex_commit(&f, &word, &queued_count, w->deadline));
	return NULL;
}

/* Its timeout has fired, its turn has not come: a waker takes it out of the queue, goes on to the next, and it finds that. */
Test(futex, waker_takes_out_who_is_leaving) {
	struct fwaiter w, next;
	struct waiter other = {.bitset = 0};
	futex_prepare(&w, &word, &queued_count, false, "test");
	cr_assert(wait_claim_self(w.g, WAKE_TIMEOUT));
	cr_expect(futex_wake_counted(&word, 1, &queued_count) == 0);
	cr_expect(w.addr == NULL && waiters(&word) == 0 && queued_count == 0);
	cr_expect(futex_commit(&w, &word, &queued_count, -1) == -ETIMEDOUT && queued_count == 0);

	futex_prepare(&next, &word, NULL, false, "test");
	cr_assert(wait_claim_self(next.g, WAKE_TIMEOUT));
	waiter_start(&other, &word);
	while (waiters(&word) != 2)
		sched_yield();
	cr_expect(futex_wake(&word, 1, FUTEX_ANY) == 1, "the one behind it");
	pthread_join(other.thread, NULL);
	cr_expect(other.result == 0 && futex_commit(&next, &word, NULL, -1) == -ETIMEDOUT);
}

/* Who is leaving is not moved, and not counted: a wake-up of the other word would not find it. */
Test(futex, requeue_passes_by_who_is_leaving) {
	struct fwaiter w;
	struct waiter other = {.bitset = FUTEX_ANY, .deadline = -1};
	for (int to_itself = 0; to_itself < 2; to_itself++) {
		const void *to = to_itself ? &word : &other_word;
		futex_prepare(&w, &word, &queued_count, false, "test");
		cr_assert(wait_claim_self(w.g, WAKE_TIMEOUT));
		cr_expect(futex_requeue_counted(&word, 0, MANY, to, true, 0, &queued_count) == 0);
		cr_expect(w.addr == NULL && waiters(&word) == 0 && waiters(&other_word) == 0 && queued_count == 0);
		cr_expect(futex_commit(&w, &word, &queued_count, -1) == -ETIMEDOUT && queued_count == 0);
	}
	futex_prepare(&w, &word, NULL, false, "test");
	cr_assert(wait_claim_self(w.g, WAKE_TIMEOUT));
	waiter_start(&other, &word);
	while (waiters(&word) != 2)
		sched_yield();
	cr_expect(futex_requeue(&word, 0, 1, &other_word, true, 0) == 1, "the one behind it");
	cr_expect(futex_wake(&other_word, 1, FUTEX_ANY) == 1);
	pthread_join(other.thread, NULL);
	cr_expect(other.result == 0 && futex_commit(&w, &word, NULL, -1) == -ETIMEDOUT);
}

Test(futex, requeue_counts_out) {
	struct waiter w[4] = {{.deadline = -1}, {.deadline = -1}, {.deadline = nanotime() + 300 * MS}, {.deadline = -1}};
	for (int i = 0; i < 4; i++) {
		w[i].result = 1;
		w[i].thread = thread_start(prepared, &w[i]);
		until(queued_count == (uint32_t)i + 1);
	}
	cr_expect(futex_requeue_counted(&word, 1, 2, &other_word, true, 0, &queued_count) == 3);
	cr_expect(queued_count == 1);
	cr_expect(waiter_result(&w[0]) == 0);
	cr_expect(waiter_result(&w[2]) == -ETIMEDOUT); /* it left the other word: not counted again */
	cr_expect(queued_count == 1 && waiters(&other_word) == 1);
	cr_expect(futex_wake(&other_word, MANY, FUTEX_ANY) == 1);
	cr_expect(futex_wake_counted(&word, MANY, &queued_count) == 1);
	cr_expect(waiter_result(&w[1]) == 0 && waiter_result(&w[3]) == 0);
	cr_expect(queued_count == 0);
}

struct update {
	int calls, woke;
	bool more;
};

static void note_update(void *arg, int woke, bool more) {
	struct update *u = arg;
	u->calls++;
	u->woke = woke;
	u->more = more;
}

Test(futex, wake_update) {
	struct update u = {0};
	cr_expect(futex_wake_update(&word, note_update, &u) == 0);
	cr_expect(u.calls == 1 && u.woke == 0 && !u.more);
	struct waiter w[2] = {0};
	waiters_start(w, 2, &word);
	cr_expect(futex_wake_update(&word, note_update, &u) == 1);
	cr_expect(u.calls == 2 && u.woke == 1 && u.more);
	cr_expect(waiter_result(&w[0]) == 0);
	cr_expect(futex_wake_update(&word, note_update, &u) == 1);
	cr_expect(u.calls == 3 && u.woke == 1 && !u.more);
	cr_expect(waiter_result(&w[1]) == 0);
}

/* ---- objects that go away ---- */

struct page {
	_Atomic uint32_t word;
};

static void *wait_on_page(void *arg) {
	struct page *page = arg;
	int r = futex_wait(&page->word, 0, -1, FUTEX_ANY, false, "test");
	must(r == 0 || r == -EAGAIN);
	return NULL;
}

/* SYN-10: whoever woke the waiter may free the object at once. */
Test(futex, woken_waiter_does_not_touch_the_object) {
	for (int round = 0; round < 500; round++) {
		struct page *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		pthread_t t = thread_start(wait_on_page, page);
		until(waiters(&page->word) == 1);
		atomic_store(&page->word, 1);
		cr_assert(futex_wake(&page->word, 1, FUTEX_ANY) == 1);
		munmap(page, 4096);
		thread_join(t);
	}
}

static void fork_child(void) {
	futex_fork_child();
	must(futex_wake(&word, MANY, FUTEX_ANY) == 0);
	must(futex_wait(&word, 0, nanotime() + MS, FUTEX_ANY, false, "test") == -ETIMEDOUT);
}

/* The copy of a queue whose threads do not exist here. */
static void fork_child_copied(void) {
	must(futex_wake(&word, MANY, FUTEX_ANY) == 1);
	fork_child();
}

static void fork_child_wiped(void) {
	must(futex_wake(&word, MANY, FUTEX_ANY) == 0);
	fork_child();
}

Test(futex, fork) {
	struct waiter w = {0};
	waiters_start(&w, 1, &word);
	expect_child_ok(fork_child_copied); /* as where the kernel refuses to wipe */
	expect_child_ok(fork_child);
	futex_init();
	expect_child_ok(fork_child_wiped);
	cr_expect(waiters(&word) == 1);
	cr_expect(futex_wake(&word, 1, FUTEX_ANY) == 1);
	cr_expect(waiter_result(&w) == 0);
}

/* ---- stress ---- */

#define THREADS 4

static uint64_t counter;

static void mutex_lock(_Atomic uint32_t *m, int64_t patience) {
	uint32_t zero = 0;
	if (atomic_compare_exchange_strong(m, &zero, 1))
		return;
	while (atomic_exchange(m, 2) != 0)
		futex_wait(m, 2, patience < 0 ? -1 : nanotime() + patience, FUTEX_ANY, false, "mutex");
}

static void mutex_unlock(_Atomic uint32_t *m) {
	if (atomic_exchange(m, 0) == 2)
		futex_wake(m, 1, FUTEX_ANY);
}

static void *locker(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	bool patient = noise(&seed) % 2;
	for (int i = 0; i < 60000; i++) {
		mutex_lock(&word, patient ? -1 : (int64_t)(noise(&seed) % 20000));
		counter++;
		if (noise(&seed) % 64 == 0)
			sched_yield();
		mutex_unlock(&word);
	}
	return NULL;
}

Test(futex, mutex_stress) {
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++)
		t[i] = thread_start(locker, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < THREADS; i++)
		thread_join(t[i]);
	cr_expect(counter == THREADS * 60000ull);
}

/* SYN-14: change, wake; never a sleep after the change. No timeout to save it. */
static void *pong(void *arg) {
	for (uint32_t i = 0; i < 50000; i++) {
		while (word != 2 * i + 1)
			futex_wait(&word, 2 * i, -1, FUTEX_ANY, false, "pong");
		word = 2 * i + 2;
		futex_wake(&word, 1, FUTEX_ANY);
	}
	return arg;
}

Test(futex, ping_pong) {
	pthread_t t = thread_start(pong, NULL);
	for (uint32_t i = 0; i < 50000; i++) {
		word = 2 * i + 1;
		futex_wake(&word, 1, FUTEX_ANY);
		while (word != 2 * i + 2)
			futex_wait(&word, 2 * i + 1, -1, FUTEX_ANY, false, "ping");
	}
	thread_join(t);
}

/* SYN-13: a wake-up is for exactly one wait. Each waiter has a turn word that a waker raises and wakes; its timed waits race with that, and
 * each is followed by a wait on another word, which nothing but that word's change may end. */
struct pair {
	_Atomic uint32_t turn, gate;
	_Atomic bool done;
	int timeouts, wakes;
};

static void *racer(void *arg) {
	struct pair *p = arg;
	uint32_t seed = 9;
	for (uint32_t i = 0; i < 20000; i++) {
		int r = futex_wait(&p->turn, i, nanotime() + noise(&seed) % 30000, FUTEX_ANY, false, "turn");
		must(r == 0 || r == -ETIMEDOUT || r == -EAGAIN);
		*(r == -ETIMEDOUT ? &p->timeouts : &p->wakes) += 1;
		if (r == 0)
			must(p->turn > i);
		r = futex_wait(&p->gate, i, -1, FUTEX_ANY, false, "gate");
		must(r == -EAGAIN || (r == 0 && p->gate > i));
		until(p->turn > i);
	}
	atomic_store(&p->done, true);
	return NULL;
}

Test(futex, stale_timeout_never_ends_the_next_wait) {
	static struct pair p;
	uint32_t seed = 10;
	pthread_t t = thread_start(racer, &p);
	for (uint32_t i = 0; i < 20000; i++) {
		for (uint32_t n = noise(&seed) % 400; n; n--)
			arch_relax();
		p.turn = i + 1;
		futex_wake(&p.turn, 1, FUTEX_ANY);
		for (uint32_t n = noise(&seed) % 100; n; n--)
			arch_relax();
		if (noise(&seed) % 8 == 0)
			until(waiters(&p.gate) == 1);
		p.gate = i + 1;
		futex_wake(&p.gate, 1, FUTEX_ANY);
	}
	thread_join(t);
	cr_expect(p.done && p.wakes > 0, "wakes %d, timeouts %d", p.wakes, p.timeouts);
}

/* A semaphore of tokens with impatient takers: a wake-up spent on a leaver would leave a token and a sleeper. */
static _Atomic uint32_t tokens;
static _Atomic int eaten;

static void *taker(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	for (int n = 0; n < 15000;) {
		uint32_t have = atomic_load(&tokens);
		if (have) {
			if (atomic_compare_exchange_strong(&tokens, &have, have - 1)) {
				n++;
				atomic_fetch_add(&eaten, 1);
			}
			continue;
		}
		futex_wait(&tokens, 0, noise(&seed) % 2 ? -1 : nanotime() + (int64_t)noise(&seed) % 20000, FUTEX_ANY, false, "sem");
	}
	return NULL;
}

static void *giver(void *arg) {
	for (int i = 0; i < 15000 * THREADS / 2; i++) {
		atomic_fetch_add(&tokens, 1);
		futex_wake(&tokens, 1, FUTEX_ANY);
		if (i % 16 == 0)
			sched_yield();
	}
	return arg;
}

Test(futex, no_token_is_lost_on_a_leaver) {
	pthread_t t[THREADS + 2];
	for (int i = 0; i < THREADS + 2; i++)
		t[i] = thread_start(i < THREADS ? taker : giver, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < THREADS + 2; i++)
		thread_join(t[i]);
	cr_expect(eaten == 15000 * THREADS && tokens == 0);
}

/* Condition variable in miniature: prepare, unlock, commit against requeueing broadcasts, with timeouts. */
static _Atomic uint32_t cond, cond_waiters, mutex;
static _Atomic bool stop;
static _Atomic int passes;

static void *cond_waiter(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	while (!atomic_load(&stop)) {
		struct fwaiter w;
		mutex_lock(&mutex, -1);
		futex_prepare(&w, &cond, &cond_waiters, false, "cond");
		mutex_unlock(&mutex);
		int r = futex_commit(&w, &cond, &cond_waiters, nanotime() + noise(&seed) % 50000);
		must(r == 0 || r == -ETIMEDOUT);
		/* requeued waiters are woken by the mutex's unlock: contend as one of them */
		while (atomic_exchange(&mutex, 2) != 0)
			futex_wait(&mutex, 2, -1, FUTEX_ANY, false, "mutex");
		atomic_fetch_add(&passes, 1);
		mutex_unlock(&mutex);
	}
	return NULL;
}

Test(futex, condition_stress) {
	pthread_t t[THREADS];
	uint32_t seed = 12;
	for (int i = 0; i < THREADS; i++)
		t[i] = thread_start(cond_waiter, (void *)(uintptr_t)(i + 1));
	while (passes < 30000) {
		if (noise(&seed) % 2) {
			mutex_lock(&mutex, -1);
			atomic_store(&mutex, 2); /* who is moved here must be woken by the unlock */
			futex_requeue_counted(&cond, 1, MANY, &mutex, false, 0, &cond_waiters);
			mutex_unlock(&mutex);
		} else {
			futex_wake_counted(&cond, 1, &cond_waiters);
		}
	}
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		thread_join(t[i]);
	cr_expect(cond_waiters == 0, "%u counted, nobody there", cond_waiters);
	cr_expect(waiters(&cond) == 0 && waiters(&mutex) == 0);
}
