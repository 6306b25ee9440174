/* Condition variables: order, deadlines, clocks, every kind of mutex, destruction, handlers, cancellation.
 * No wake-up is lost (SYN-1), stolen by a later waiter (SYN-2) or forgotten by a broadcast (SYN-3); deadlines in the past, of other clocks and invalid
 * ones (SYN-12); memory that is used for the next object at once (SYN-20). */
#include <signal.h>

#include "sync_test.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static int waiting, released, order[64], ordered;

/* Waits on `cond` once; only a wake-up ends it. */
static void *wait_once(void *arg) {
	pthread_mutex_lock(&lock);
	waiting++;
	pthread_cond_signal(&told);
	EQ(pthread_cond_wait(&cond, &lock), 0);
	order[ordered++] = (int)(long)arg;
	released++;
	pthread_cond_signal(&told);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void until(int *what, int n) {
	while (*what != n)
		pthread_cond_wait(&told, &lock);
}

static void reset(void) {
	waiting = released = ordered = 0;
}

static void fifo(void) {
	step("fifo");
	pthread_t t[16];
	reset();
	pthread_mutex_lock(&lock);
	for (int i = 0; i < 16; i++) {
		t[i] = start(wait_once, (void *)(long)i);
		until(&waiting, i + 1);
	}
	for (int i = 0; i < 16; i++) {
		EQ(pthread_cond_signal(&cond), 0);
		until(&released, i + 1);
	}
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < 16; i++)
		join(t[i]);
	EQ(ordered, 16);
}

/* A signal wakes one of those that waited when it was sent, not one that began later. */
static void no_stealing(void) {
	step("no stealing");
	pthread_t a, b;
	reset();
	pthread_mutex_lock(&lock);
	a = start(wait_once, (void *)1L);
	until(&waiting, 1);
	EQ(pthread_cond_signal(&cond), 0);
	b = start(wait_once, (void *)2L);
	until(&released, 1); /* may let b in first, but the signal is a's */
	EQ(order[0], 1);
	until(&waiting, 2);
	EQ(pthread_cond_signal(&cond), 0);
	pthread_mutex_unlock(&lock);
	join(a);
	join(b);
	EQ(released, 2);
}

static void broadcast(void) {
	step("broadcast");
	for (int held = 0; held < 2; held++) {
		pthread_t t[32];
		reset();
		pthread_mutex_lock(&lock);
		for (int i = 0; i < 32; i++)
			t[i] = start(wait_once, NULL);
		until(&waiting, 32);
		if (!held)
			pthread_mutex_unlock(&lock);
		EQ(pthread_cond_broadcast(&cond), 0);
		if (held)
			pthread_mutex_unlock(&lock);
		for (int i = 0; i < 32; i++)
			join(t[i]);
		EQ(released, 32);
	}
	/* nobody waits: nothing is remembered */
	struct timespec ts = in_ms(CLOCK_REALTIME, 5);
	EQ(pthread_cond_signal(&cond), 0);
	EQ(pthread_cond_broadcast(&cond), 0);
	pthread_mutex_lock(&lock);
	EQ(pthread_cond_timedwait(&cond, &lock, &ts), ETIMEDOUT);
	pthread_mutex_unlock(&lock);
}

static void deadlines(void) {
	step("deadlines");
	pthread_condattr_t a;
	pthread_cond_t mono;
	pthread_condattr_init(&a);
	EQ(pthread_condattr_setclock(&a, CLOCK_MONOTONIC), 0);
	EQ(pthread_cond_init(&mono, &a), 0);
	pthread_mutex_lock(&lock);
	for (int i = 0; i < 4; i++) {
		clockid_t clock = i & 1 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
		struct timespec ts = in_ms(clock, 30);
		long long t0 = now_ns(CLOCK_MONOTONIC);
		int r = i == 0   ? pthread_cond_timedwait(&cond, &lock, &ts)
		        : i == 1 ? pthread_cond_timedwait(&mono, &lock, &ts)
		                 : pthread_cond_clockwait(i == 2 ? &mono : &cond, &lock, clock, &ts);
		EQ(r, ETIMEDOUT);
		long long took = now_ns(CLOCK_MONOTONIC) - t0;
		CHECK(took >= 29000000 && took < 5000000000);
		EQ(pthread_mutex_trylock(&lock), EBUSY);
	}
	struct timespec bad = {now_ns(CLOCK_REALTIME) / 1000000000 + 1, 1000000000}, negative = {-5, 0}, past = {1, 0};
	EQ(pthread_cond_timedwait(&cond, &lock, &bad), EINVAL);
	bad.tv_nsec = -1;
	EQ(pthread_cond_timedwait(&cond, &lock, &bad), EINVAL);
	EQ(pthread_cond_clockwait(&cond, &lock, CLOCK_MONOTONIC, &bad), EINVAL);
	bad.tv_nsec = 0;
	EQ(pthread_cond_clockwait(&cond, &lock, CLOCK_PROCESS_CPUTIME_ID, &bad), EINVAL);
	EQ(pthread_cond_timedwait(&cond, &lock, &negative), ETIMEDOUT);
	EQ(pthread_cond_timedwait(&cond, &lock, &past), ETIMEDOUT);
	EQ(pthread_mutex_trylock(&lock), EBUSY);
	pthread_mutex_unlock(&lock);
	EQ(pthread_cond_destroy(&mono), 0);
	pthread_condattr_destroy(&a);
}

/* Broadcast in time, mutex free only after the deadline: the wait succeeded. */
static void *wait_timed(void *arg) {
	struct timespec ts = *(struct timespec *)arg;
	pthread_mutex_lock(&lock);
	waiting++;
	pthread_cond_signal(&told);
	int r = pthread_cond_timedwait(&cond, &lock, &ts);
	pthread_mutex_unlock(&lock);
	return (void *)(long)r;
}

static void late_mutex(void) {
	step("late mutex");
	for (int all = 0; all < 2; all++) {
		struct timespec ts = in_ms(CLOCK_REALTIME, 150);
		pthread_t t[3];
		reset();
		pthread_mutex_lock(&lock);
		for (int i = 0; i < 3; i++)
			t[i] = start(wait_timed, &ts);
		until(&waiting, 3);
		if (all)
			pthread_cond_broadcast(&cond);
		else
			for (int i = 0; i < 3; i++)
				pthread_cond_signal(&cond);
		bool in_time = now_ns(CLOCK_REALTIME) < ts.tv_sec * 1000000000LL + ts.tv_nsec;
		while (now_ns(CLOCK_REALTIME) < ts.tv_sec * 1000000000LL + ts.tv_nsec + 20000000)
			usleep(1000);
		pthread_mutex_unlock(&lock);
		for (int i = 0; i < 3; i++)
			EQ(join(t[i]), in_time ? 0 : ETIMEDOUT);
	}
}

/* ---- kinds of mutex ---- */

struct pair {
	pthread_mutex_t m;
	pthread_cond_t c;
	int turn, rounds;
};

static void play(struct pair *p, int me) {
	for (int i = 0; i < p->rounds; i++) {
		EQ(pthread_mutex_lock(&p->m), 0);
		while (p->turn != me) {
			int r = pthread_cond_wait(&p->c, &p->m);
			if (r) {
				printf("FAIL wait %d\n", r);
				exit(1);
			}
		}
		p->turn = !me;
		EQ(pthread_cond_signal(&p->c), 0);
		EQ(pthread_mutex_unlock(&p->m), 0);
	}
}

static void *play_thread(void *arg) {
	play(arg, 1);
	return NULL;
}

static void kinds(void) {
	for (int type = 0; type < 4; type++) {
		for (int variant = 0; variant < 5; variant++) {
			static const char *const names[] = {"private", "inherit", "shared mutex", "both shared", "shared cond"};
			pthread_mutexattr_t a;
			pthread_condattr_t ca;
			struct pair p = {.rounds = variant == 4 ? 5 : 300};
			printf("type %d, ", type);
			step(names[variant]);
			pthread_mutexattr_init(&a);
			pthread_condattr_init(&ca);
			pthread_mutexattr_settype(&a, type);
			if (variant == 1)
				pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
			if (variant == 2 || variant == 3)
				pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
			if (variant >= 3)
				pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
			EQ(pthread_mutex_init(&p.m, &a), 0);
			EQ(pthread_cond_init(&p.c, &ca), 0);
			pthread_t t = start(play_thread, &p);
			play(&p, 0);
			join(t);
			if (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK) {
				EQ(pthread_cond_wait(&p.c, &p.m), EPERM);
				struct timespec ts = in_ms(CLOCK_REALTIME, 10);
				EQ(pthread_mutex_lock(&p.m), 0);
				EQ(pthread_cond_timedwait(&p.c, &p.m, &ts), variant == 4 ? ETIMEDOUT : ETIMEDOUT);
				EQ(pthread_mutex_unlock(&p.m), 0);
				EQ(pthread_mutex_unlock(&p.m), EPERM);
			}
			EQ(pthread_cond_destroy(&p.c), 0);
			EQ(pthread_mutex_destroy(&p.m), 0);
			pthread_mutexattr_destroy(&a);
			pthread_condattr_destroy(&ca);
		}
	}
}

static volatile sig_atomic_t handled;
static void on_signal(int sig) {
	(void)sig;
	handled++;
}

/* ---- lifetime: destroyed right after the broadcast, and the memory is another's ---- */

struct entry {
	pthread_cond_t c;
	int gone, in;
};
static struct entry *current;

static void entry_leave(void *arg) {
	(void)arg;
	waiting--;
	pthread_mutex_unlock(&lock);
}

static void *entry_waiter(void *arg) {
	(void)arg;
	pthread_mutex_lock(&lock);
	pthread_cleanup_push(entry_leave, NULL);
	struct entry *e = current;
	e->in++;
	pthread_cond_signal(&told);
	struct timespec ts = in_ms(CLOCK_REALTIME, 1); /* some leave by themselves meanwhile */
	if (e->in & 1)
		pthread_cond_timedwait(&e->c, &lock, &ts);
	else
		pthread_cond_wait(&e->c, &lock);
	pthread_cleanup_pop(1);
	return NULL;
}

static void *entry_broadcast(void *arg) {
	struct entry *e = arg;
	EQ(pthread_cond_broadcast(&e->c), 0);
	return NULL;
}

static void *entry_destroy(void *arg) {
	struct entry *e = arg;
	EQ(pthread_cond_destroy(&e->c), 0);
	memset(e, 0x5a, sizeof *e);
	return NULL;
}

/* Before the mutex is unlocked, after it, or each by another thread while a third has the mutex. Whom a broadcast has woken a handler may
 * interrupt, and a cancellation, after the object is gone and before it gets the mutex. */
static void lifetime(void) {
	enum { WAITERS = 6, HELD = 0, UNLOCKED, OTHERS, WAYS, NONE = 0, HANDLER, CANCEL, DISTURBANCES };
	step("lifetime");
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < 40 * WAYS * DISTURBANCES; i++) {
		int way = i % WAYS, disturbance = i / WAYS % DISTURBANCES;
		pthread_t t[WAITERS];
		pthread_mutex_lock(&lock);
		current = malloc(sizeof *current);
		memset(current, 0, sizeof *current);
		pthread_cond_init(&current->c, NULL);
		waiting = WAITERS;
		for (int k = 0; k < WAITERS; k++)
			t[k] = start(entry_waiter, NULL);
		while (current->in != WAITERS)
			pthread_cond_wait(&told, &lock);
		if (way == OTHERS)
			join(start(entry_broadcast, current));
		else
			entry_broadcast(current);
		if (way == UNLOCKED)
			pthread_mutex_unlock(&lock);
		if (way == OTHERS)
			join(start(entry_destroy, current));
		else
			entry_destroy(current);
		for (int k = 0; k < WAITERS && disturbance; k++)
			EQ(disturbance == HANDLER ? pthread_kill(t[k], SIGUSR1) : pthread_cancel(t[k]), 0);
		if (way != UNLOCKED)
			pthread_mutex_unlock(&lock);
		for (int k = 0; k < WAITERS; k++)
			join(t[k]);
		EQ(waiting, 0);
		struct entry as_left;
		memset(&as_left, 0x5a, sizeof as_left);
		CHECK(memcmp(current, &as_left, sizeof as_left) == 0);
		free(current);
	}
}

/* ---- handlers ---- */

static void handlers(void) {
	step("handlers");
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &sa, NULL);
	handled = 0;
	reset();
	pthread_mutex_lock(&lock);
	pthread_t t = start(wait_once, NULL);
	until(&waiting, 1);
	pthread_mutex_unlock(&lock);
	for (int i = 1; i <= 50; i++) {
		EQ(pthread_kill(t, SIGUSR1), 0);
		while (handled < i)
			sched_yield();
	}
	pthread_mutex_lock(&lock);
	EQ(released, 0);
	pthread_cond_signal(&cond);
	until(&released, 1);
	pthread_mutex_unlock(&lock);
	join(t);
	/* signals of both sorts at once: no wake-up gets lost */
	for (int i = 0; i < 300; i++) {
		reset();
		pthread_mutex_lock(&lock);
		t = start(wait_once, NULL);
		until(&waiting, 1);
		pthread_mutex_unlock(&lock);
		EQ(pthread_kill(t, SIGUSR1), 0);
		if (i & 1)
			EQ(pthread_cond_signal(&cond), 0);
		else
			EQ(pthread_cond_broadcast(&cond), 0);
		join(t);
	}
}

/* ---- cancellation ---- */

static int cleaned;
static void cleanup(void *arg) {
	(void)arg;
	cleaned++;
	EQ(pthread_mutex_unlock(&lock), 0);
}

static void *cancelled(void *arg) {
	pthread_mutex_lock(&lock);
	pthread_cleanup_push(cleanup, NULL);
	waiting++;
	pthread_cond_signal(&told);
	struct timespec ts = in_ms(CLOCK_REALTIME, 20000);
	if (arg)
		pthread_cond_timedwait(&cond, &lock, &ts);
	else
		pthread_cond_wait(&cond, &lock);
	printf("FAIL not cancelled\n");
	pthread_cleanup_pop(1);
	return NULL;
}

static void cancellation(void) {
	step("cancellation");
	for (int i = 0; i < 20; i++) {
		void *result;
		reset();
		cleaned = 0;
		pthread_mutex_lock(&lock);
		pthread_t t = start(cancelled, i & 1 ? &lock : NULL);
		until(&waiting, 1);
		if (i & 2)
			pthread_mutex_unlock(&lock);
		EQ(pthread_cancel(t), 0);
		if (!(i & 2)) {
			EQ(cleaned, 0); /* the mutex is ours: the handler cannot have run */
			pthread_mutex_unlock(&lock);
		}
		EQ(pthread_join(t, &result), 0);
		CHECK(result == PTHREAD_CANCELED);
		EQ(cleaned, 1);
		EQ(pthread_mutex_trylock(&lock), 0);
		pthread_mutex_unlock(&lock);
	}
	EQ(pthread_cond_signal(&cond), 0);
}

int main(void) {
	test_begin();
	deadlines(); /* also before the first thread */
	fifo();
	no_stealing();
	broadcast();
	deadlines();
	late_mutex();
	kinds();
	lifetime();
	handlers();
	cancellation();
	EQ(pthread_cond_destroy(&cond), 0);
	EQ(pthread_cond_destroy(&told), 0);
	return test_end();
}
