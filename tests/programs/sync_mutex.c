/* Every kind of mutex: results, owners, counts, deadlines, hand-over between threads; static
 * initialisers (SYN-6), deadlines (SYN-12), and memory that the next owner frees while the last one is still in unlock (SYN-9). */
#include "sync_test.h"

static pthread_mutex_t make(int type, int protocol, int shared, int robust) {
	pthread_mutexattr_t a;
	pthread_mutex_t m;
	EQ(pthread_mutexattr_init(&a), 0);
	EQ(pthread_mutexattr_settype(&a, type), 0);
	EQ(pthread_mutexattr_setprotocol(&a, protocol), 0);
	EQ(pthread_mutexattr_setpshared(&a, shared), 0);
	EQ(pthread_mutexattr_setrobust(&a, robust), 0);
	EQ(pthread_mutex_init(&m, &a), 0);
	EQ(pthread_mutexattr_destroy(&a), 0);
	return m;
}

enum op { LOCK, TRY, TIMED, CLOCK, UNLOCK, BAD_NSEC, BEFORE_1970 };
struct call {
	pthread_mutex_t *m;
	enum op op;
};

static long apply(pthread_mutex_t *m, enum op op) {
	struct timespec ts = in_ms(op == CLOCK ? CLOCK_MONOTONIC : CLOCK_REALTIME, 20);
	struct timespec bad = {now_ns(CLOCK_REALTIME) / 1000000000 + 5, 1000000000}, old = {-1, 0};
	switch (op) {
	case LOCK:
		return pthread_mutex_lock(m);
	case TRY:
		return pthread_mutex_trylock(m);
	case TIMED:
		return pthread_mutex_timedlock(m, &ts);
	case CLOCK:
		return pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &ts);
	case UNLOCK:
		return pthread_mutex_unlock(m);
	case BAD_NSEC:
		return pthread_mutex_timedlock(m, &bad);
	case BEFORE_1970:
		return pthread_mutex_timedlock(m, &old);
	}
	return -1;
}

static void *call_thread(void *arg) {
	struct call *c = arg;
	return (void *)apply(c->m, c->op);
}

static long elsewhere(pthread_mutex_t *m, enum op op) {
	struct call c = {m, op};
	return join(start(call_thread, &c));
}

/* What the kind answers to its own holder and to others. */
static void kind(const char *name, pthread_mutex_t *m, int relock_timed, int retry, int unlock_by_other, int past) {
	step(name);
	EQ(pthread_mutex_trylock(m), 0);
	EQ(pthread_mutex_unlock(m), 0);
	EQ(pthread_mutex_lock(m), 0);
	EQ(elsewhere(m, TRY), EBUSY);
	EQ(elsewhere(m, TIMED), ETIMEDOUT);
	EQ(elsewhere(m, CLOCK), ETIMEDOUT);
	EQ(elsewhere(m, BAD_NSEC), EINVAL);
	EQ(elsewhere(m, BEFORE_1970), past);
	EQ(apply(m, TIMED), relock_timed);
	EQ(apply(m, CLOCK), relock_timed);
	EQ(apply(m, TRY), retry);
	if (relock_timed == 0) {
		EQ(pthread_mutex_unlock(m), 0);
		EQ(pthread_mutex_unlock(m), 0);
		EQ(pthread_mutex_unlock(m), 0);
	}
	EQ(elsewhere(m, TRY), EBUSY);
	EQ(pthread_mutex_destroy(m), EBUSY);
	if (unlock_by_other) {
		EQ(elsewhere(m, UNLOCK), EPERM);
		EQ(elsewhere(m, TRY), EBUSY);
	}
	EQ(pthread_mutex_unlock(m), 0);
	if (unlock_by_other)
		EQ(pthread_mutex_unlock(m), EPERM);
	struct timespec ts = in_ms(CLOCK_REALTIME, 1000), bad = {0, -1};
	EQ(pthread_mutex_timedlock(m, &bad), 0); /* free: the time is not looked at */
	EQ(pthread_mutex_unlock(m), 0);
	EQ(pthread_mutex_clocklock(m, CLOCK_PROCESS_CPUTIME_ID, &ts), EINVAL);
	EQ(pthread_mutex_destroy(m), 0);
	EQ(pthread_mutex_lock(m), EINVAL);
	EQ(pthread_mutex_trylock(m), EINVAL);
	EQ(pthread_mutex_unlock(m), EINVAL);
}

/* A lock held across threads: each waits for it and adds to a plain variable. */
struct sum {
	pthread_mutex_t *m;
	long rounds, total;
};

static void *summer(void *arg) {
	struct sum *s = arg;
	for (long i = 0; i < s->rounds; i++) {
		struct timespec ts = in_ms(CLOCK_REALTIME, 10000);
		int r = i % 3 == 0 ? pthread_mutex_lock(s->m) : i % 3 == 1 ? pthread_mutex_timedlock(s->m, &ts) : EBUSY;
		if (r == EBUSY) {
			while ((r = pthread_mutex_trylock(s->m)) == EBUSY)
				sched_yield();
		}
		CHECK(r == 0);
		s->total++;
		EQ(pthread_mutex_unlock(s->m), 0);
	}
	return NULL;
}

static void contend(const char *name, pthread_mutex_t *m) {
	step(name);
	struct sum s = {m, 2000, 0};
	pthread_t t[6];
	for (int i = 0; i < 6; i++)
		t[i] = start(summer, &s);
	for (int i = 0; i < 6; i++)
		join(t[i]);
	EQ(s.total, 6 * s.rounds);
	EQ(pthread_mutex_destroy(m), 0);
}

/* Deep recursion, and only the last unlock lets others in. */
static void recursion(pthread_mutex_t *m) {
	step("recursion");
	for (int i = 0; i < 1000; i++)
		EQ(pthread_mutex_lock(m), 0);
	for (int i = 0; i < 999; i++)
		EQ(pthread_mutex_unlock(m), 0);
	EQ(elsewhere(m, TRY), EBUSY);
	EQ(pthread_mutex_unlock(m), 0);
	EQ(elsewhere(m, LOCK), 0);
	EQ(pthread_mutex_unlock(m), EPERM); /* the other thread is gone and holds it for ever */
}

/* The next owner frees the mutex as soon as it has it: unlock must not touch it any more. */
static void *free_after_lock(void *arg) {
	pthread_mutex_t *m = arg;
	EQ(pthread_mutex_lock(m), 0);
	EQ(pthread_mutex_unlock(m), 0);
	EQ(pthread_mutex_destroy(m), 0);
	memset(m, 0x5a, sizeof *m);
	free(m);
	return NULL;
}

static void lifetime(void) {
	step("lifetime");
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_t *m = malloc(sizeof *m);
		pthread_mutex_init(m, NULL);
		EQ(pthread_mutex_lock(m), 0);
		pthread_t t = start(free_after_lock, m);
		if (i & 1)
			sched_yield();
		EQ(pthread_mutex_unlock(m), 0);
		join(t);
	}
}

static pthread_mutex_t static_normal = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t static_recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t static_check = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_mutex_t static_adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;

int main(void) {
	test_begin();
	/* locked before the first thread exists, unlocked after */
	pthread_mutex_t early = PTHREAD_MUTEX_INITIALIZER, early_r = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	EQ(pthread_mutex_lock(&early), 0);
	EQ(pthread_mutex_lock(&early_r), 0);
	EQ(elsewhere(&early, TRY), EBUSY);
	EQ(elsewhere(&early_r, TRY), EBUSY);
	EQ(pthread_mutex_lock(&early_r), 0);
	EQ(pthread_mutex_unlock(&early_r), 0);
	EQ(pthread_mutex_unlock(&early), 0);
	EQ(pthread_mutex_unlock(&early_r), 0);
	EQ(elsewhere(&early_r, LOCK), 0);

	kind("static normal", &static_normal, ETIMEDOUT, EBUSY, 0, ETIMEDOUT);
	kind("static recursive", &static_recursive, 0, 0, 1, ETIMEDOUT);
	kind("static errorcheck", &static_check, EDEADLK, EBUSY, 1, ETIMEDOUT);
	kind("static adaptive", &static_adaptive, ETIMEDOUT, EBUSY, 0, ETIMEDOUT);
	static const char *const names[] = {"normal", "recursive", "errorcheck", "adaptive"};
	static const char *const pi_names[] = {"normal, inherit", "recursive, inherit", "errorcheck, inherit", "adaptive, inherit"};
	static const int relock[] = {ETIMEDOUT, 0, EDEADLK, ETIMEDOUT};
	for (int type = 0; type < 4; type++) {
		pthread_mutex_t m = make(type, PTHREAD_PRIO_NONE, 0, 0);
		kind(names[type], &m, relock[type], type == 1 ? 0 : EBUSY, type == 1 || type == 2, ETIMEDOUT);
		m = make(type, PTHREAD_PRIO_INHERIT, 0, 0);
		kind(pi_names[type], &m, relock[type], type == 1 ? 0 : type == 2 ? EDEADLK : EBUSY, 1, EINVAL);
	}
	pthread_mutex_t check = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
	EQ(pthread_mutex_lock(&check), 0);
	EQ(pthread_mutex_lock(&check), EDEADLK);
	EQ(pthread_mutex_unlock(&check), 0);
	pthread_mutex_t m = make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, 0, 0);
	recursion(&m);
	for (int type = 0; type < 4; type++) {
		m = make(type, PTHREAD_PRIO_NONE, 0, 0);
		contend(names[type], &m);
		m = make(type, PTHREAD_PRIO_NONE, PTHREAD_PROCESS_SHARED, 0);
		contend("shared", &m);
	}
	m = make(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, 0, 0);
	contend("inherit", &m);
	lifetime();
	return test_end();
}
