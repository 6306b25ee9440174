/* Read-write locks: results, the three preferences, deadlines, hand-over (SYN-11). */
#include "sync_test.h"

static pthread_rwlock_t make(int kind, int shared) {
	pthread_rwlockattr_t a;
	pthread_rwlock_t l;
	EQ(pthread_rwlockattr_init(&a), 0);
	EQ(pthread_rwlockattr_setkind_np(&a, kind), 0);
	EQ(pthread_rwlockattr_setpshared(&a, shared), 0);
	EQ(pthread_rwlock_init(&l, &a), 0);
	EQ(pthread_rwlockattr_destroy(&a), 0);
	return l;
}

enum op { RD, WR, TRYRD, TRYWR, TIMEDRD, TIMEDWR, CLOCKRD, CLOCKWR };
struct call {
	pthread_rwlock_t *l;
	enum op op;
	int done;
};

/* The result; a lock that was taken is given back. */
static long apply(pthread_rwlock_t *l, enum op op) {
	struct timespec ts = in_ms(op >= CLOCKRD ? CLOCK_MONOTONIC : CLOCK_REALTIME, 20);
	int r = -1;
	switch (op) {
	case RD:
		r = pthread_rwlock_rdlock(l);
		break;
	case WR:
		r = pthread_rwlock_wrlock(l);
		break;
	case TRYRD:
		r = pthread_rwlock_tryrdlock(l);
		break;
	case TRYWR:
		r = pthread_rwlock_trywrlock(l);
		break;
	case TIMEDRD:
		r = pthread_rwlock_timedrdlock(l, &ts);
		break;
	case TIMEDWR:
		r = pthread_rwlock_timedwrlock(l, &ts);
		break;
	case CLOCKRD:
		r = pthread_rwlock_clockrdlock(l, CLOCK_MONOTONIC, &ts);
		break;
	case CLOCKWR:
		r = pthread_rwlock_clockwrlock(l, CLOCK_MONOTONIC, &ts);
		break;
	}
	if (r == 0)
		EQ(pthread_rwlock_unlock(l), 0);
	return r;
}

static void *call_thread(void *arg) {
	struct call *c = arg;
	long r = apply(c->l, c->op);
	__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
	return (void *)r;
}

static long elsewhere(pthread_rwlock_t *l, enum op op) {
	struct call c = {l, op, 0};
	return join(start(call_thread, &c));
}

static void results(const char *name, pthread_rwlock_t *l) {
	step(name);
	for (enum op op = RD; op <= CLOCKWR; op++)
		EQ(apply(l, op), 0);
	/* a reader holds it */
	EQ(pthread_rwlock_rdlock(l), 0);
	EQ(elsewhere(l, RD), 0);
	EQ(elsewhere(l, TRYRD), 0);
	EQ(elsewhere(l, TIMEDRD), 0);
	EQ(elsewhere(l, CLOCKRD), 0);
	EQ(elsewhere(l, TRYWR), EBUSY);
	EQ(elsewhere(l, TIMEDWR), ETIMEDOUT);
	EQ(elsewhere(l, CLOCKWR), ETIMEDOUT);
	EQ(apply(l, TRYRD), 0);
	EQ(apply(l, TRYWR), EBUSY);
	EQ(apply(l, TIMEDWR), ETIMEDOUT);
	EQ(pthread_rwlock_unlock(l), 0);
	/* a writer holds it */
	EQ(pthread_rwlock_wrlock(l), 0);
	EQ(pthread_rwlock_rdlock(l), EDEADLK);
	EQ(pthread_rwlock_wrlock(l), EDEADLK);
	EQ(apply(l, TIMEDRD), EDEADLK);
	EQ(apply(l, CLOCKWR), EDEADLK);
	EQ(apply(l, TRYRD), EBUSY);
	EQ(apply(l, TRYWR), EBUSY);
	EQ(elsewhere(l, TRYRD), EBUSY);
	EQ(elsewhere(l, TRYWR), EBUSY);
	EQ(elsewhere(l, TIMEDRD), ETIMEDOUT);
	EQ(elsewhere(l, CLOCKRD), ETIMEDOUT);
	EQ(elsewhere(l, TIMEDWR), ETIMEDOUT);
	EQ(pthread_rwlock_unlock(l), 0);
	/* bad times are refused even when the lock is free */
	struct timespec bad = {now_ns(CLOCK_REALTIME) / 1000000000 + 5, 1000000000}, ok = {bad.tv_sec, 0}, negative = {-1, 0};
	EQ(pthread_rwlock_timedrdlock(l, &bad), EINVAL);
	EQ(pthread_rwlock_timedwrlock(l, &bad), EINVAL);
	EQ(pthread_rwlock_clockrdlock(l, CLOCK_PROCESS_CPUTIME_ID, &ok), EINVAL);
	EQ(pthread_rwlock_clockwrlock(l, CLOCK_PROCESS_CPUTIME_ID, &ok), EINVAL);
	EQ(pthread_rwlock_timedrdlock(l, &negative), 0);
	EQ(pthread_rwlock_timedwrlock(l, &negative), ETIMEDOUT);
	EQ(pthread_rwlock_unlock(l), 0);
	/* many levels of reading */
	for (int i = 0; i < 1000; i++)
		EQ(pthread_rwlock_rdlock(l), 0);
	for (int i = 0; i < 1000; i++)
		EQ(pthread_rwlock_unlock(l), 0);
	EQ(elsewhere(l, TRYWR), 0);
}

/* While a writer waits, a reader gets in, or does not. */
static void preference(const char *name, int kind, int reader_gets_in) {
	step(name);
	pthread_rwlock_t l = make(kind, 0);
	struct call c = {&l, WR, 0};
	EQ(pthread_rwlock_rdlock(&l), 0);
	pthread_t w = start(call_thread, &c);
	if (!reader_gets_in) {
		while (pthread_rwlock_tryrdlock(&l) == 0) {
			EQ(pthread_rwlock_unlock(&l), 0);
			usleep(1000);
		}
		EQ(apply(&l, TRYRD), EBUSY);
		EQ(elsewhere(&l, TIMEDRD), ETIMEDOUT);
		EQ(elsewhere(&l, TRYRD), EBUSY);
	} else {
		for (int i = 0; i < 30; i++) {
			EQ(elsewhere(&l, RD), 0);
			EQ(apply(&l, RD), 0);
			EQ(apply(&l, TRYRD), 0);
			usleep(1000);
		}
	}
	CHECK(!__atomic_load_n(&c.done, __ATOMIC_ACQUIRE));
	EQ(pthread_rwlock_unlock(&l), 0);
	EQ(join(w), 0);
	EQ(pthread_rwlock_destroy(&l), 0);
}

/* Writers that give up let the readers go that waited behind them. */
static void writer_gives_up(void) {
	step("writer gives up");
	pthread_rwlock_t l = make(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP, 0);
	for (int i = 0; i < 10; i++) {
		struct call w = {&l, i & 1 ? CLOCKWR : TIMEDWR, 0}, r = {&l, RD, 0};
		EQ(pthread_rwlock_rdlock(&l), 0);
		pthread_t tw = start(call_thread, &w), tr = start(call_thread, &r);
		EQ(join(tw), ETIMEDOUT);
		EQ(join(tr), 0);
		EQ(pthread_rwlock_unlock(&l), 0);
	}
	EQ(pthread_rwlock_destroy(&l), 0);
}

/* ---- readers see no half-written pair; writers exclude each other ---- */

struct pair {
	pthread_rwlock_t l;
	long a, b, writes;
	int rounds;
};

static void *worker(void *arg) {
	struct pair *p = arg;
	unsigned seed = (unsigned)(unsigned long)&seed;
	for (int i = 0; i < p->rounds; i++) {
		struct timespec ts = in_ms(CLOCK_REALTIME, 1);
		seed = seed * 1103515245 + 12345;
		unsigned what = seed >> 20 & 7;
		int r;
		if (what < 4) {
			r = what < 2 ? pthread_rwlock_rdlock(&p->l) : what == 2 ? pthread_rwlock_tryrdlock(&p->l)
			                                                      : pthread_rwlock_timedrdlock(&p->l, &ts);
			if (r == 0)
				EQ(p->a, p->b);
		} else {
			r = what < 6 ? pthread_rwlock_wrlock(&p->l) : what == 6 ? pthread_rwlock_trywrlock(&p->l)
			                                                      : pthread_rwlock_timedwrlock(&p->l, &ts);
			if (r == 0) {
				p->a++;
				if (!(seed >> 12 & 15))
					sched_yield();
				p->b++;
				p->writes++;
			}
		}
		if (r == 0)
			EQ(pthread_rwlock_unlock(&p->l), 0);
		else
			CHECK(what & 2 ? r == EBUSY || r == ETIMEDOUT : 0);
	}
	return NULL;
}

static void contend(const char *name, int kind, int shared) {
	step(name);
	struct pair p = {.l = make(kind, shared), .rounds = shared ? 500 : 3000};
	pthread_t t[6];
	for (int i = 0; i < 6; i++)
		t[i] = start(worker, &p);
	for (int i = 0; i < 6; i++)
		join(t[i]);
	EQ(p.a, p.writes);
	EQ(p.b, p.writes);
	EQ(apply(&p.l, TRYWR), 0);
	EQ(pthread_rwlock_destroy(&p.l), 0);
}

static pthread_rwlock_t early = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t early_writer = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

int main(void) {
	test_begin();
	EQ(pthread_rwlock_rdlock(&early), 0);
	EQ(pthread_rwlock_wrlock(&early_writer), 0);
	EQ(elsewhere(&early, TRYWR), EBUSY);
	EQ(elsewhere(&early, TRYRD), 0);
	EQ(elsewhere(&early_writer, TRYRD), EBUSY);
	EQ(pthread_rwlock_unlock(&early), 0);
	EQ(pthread_rwlock_unlock(&early_writer), 0);
	results("static", &early);
	results("static writer", &early_writer);
	static const char *const names[] = {"prefer reader", "prefer writer", "prefer writer nonrecursive"};
	for (int kind = 0; kind < 3; kind++) {
		pthread_rwlock_t l = make(kind, 0);
		results(names[kind], &l);
		l = make(kind, PTHREAD_PROCESS_SHARED);
		results("shared", &l);
		preference(names[kind], kind, kind != PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
		contend(names[kind], kind, 0);
		contend("shared", kind, PTHREAD_PROCESS_SHARED);
	}
	writer_gives_up();
	return test_end();
}
