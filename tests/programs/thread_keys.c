/* Thread-specific data: number of keys, destructors (when, how often, on which thread), deletion, new threads see NULL (TLS-5, TLS-7,
 * RES-4). */
#include "sync_test.h"

#include <limits.h>
#include <stdint.h>
#include <sys/wait.h>
#include <threads.h>

static int limit(void) {
	static pthread_key_t keys[PTHREAD_KEYS_MAX];
	pthread_key_t one;
	int n = 0, r;
	while (n < PTHREAD_KEYS_MAX && (r = pthread_key_create(&keys[n], NULL)) == 0)
		n++;
	CHECK(n >= PTHREAD_KEYS_MAX - 8); /* libraries may have some */
	EQ(pthread_key_create(&one, NULL), EAGAIN);
	for (int i = 0; i < n; i++) {
		CHECK(pthread_getspecific(keys[i]) == NULL);
		EQ(pthread_setspecific(keys[i], (void *)(intptr_t)(i + 1)), 0);
	}
	for (int i = 0; i < n; i++)
		CHECK(pthread_getspecific(keys[i]) == (void *)(intptr_t)(i + 1));
	for (int i = 0; i < n; i++)
		EQ(pthread_key_delete(keys[i]), 0);
	EQ(pthread_key_delete(keys[0]), EINVAL);
	EQ(pthread_setspecific(keys[0], &one), EINVAL);
	CHECK(pthread_getspecific(keys[0]) == NULL);
	EQ(pthread_key_delete(PTHREAD_KEYS_MAX), EINVAL);
	/* A key made anew has no old values. */
	EQ(pthread_key_create(&one, NULL), 0);
	CHECK(pthread_getspecific(one) == NULL);
	EQ(pthread_key_delete(one), 0);
	step("limit");
	return n;
}

static void *nothing_keyed(void *arg) {
	return arg;
}

/* A fork's child that makes threads has as many. */
static void limit_in_child(int n) {
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		join(start(nothing_keyed, NULL));
		EQ(limit(), n);
		_exit(failures != 0);
	}
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
}

/* ---- destructors --------------------------------------------------------------------------------------------------------- */

static pthread_key_t again, chain_a, chain_b, plain;
static int rounds, chain_calls, plain_calls;
static pthread_t owner;

static void destroy_again(void *value) {
	CHECK(pthread_equal(pthread_self(), owner));
	CHECK(pthread_getspecific(again) == NULL);
	rounds++;
	pthread_setspecific(again, value); /* for ever: four rounds, no more */
}

static void destroy_a(void *value) {
	chain_calls++;
	pthread_setspecific(chain_b, value); /* destroyed in this round or the next */
}

static void destroy_b(void *value) {
	chain_calls += 10;
	CHECK(value == &chain_a);
	/* May wait, as any code may. */
	usleep(500);
	sched_yield();
	CHECK(pthread_equal(pthread_self(), owner));
}

static void destroy_plain(void *value) {
	(void)value;
	plain_calls++;
}

static void *has_values(void *arg) {
	owner = pthread_self();
	pthread_setspecific(again, &again);
	pthread_setspecific(chain_a, &chain_a);
	pthread_setspecific(plain, &plain);
	pthread_setspecific(plain, NULL); /* no value, no destructor */
	if (arg)
		pthread_exit(NULL);
	return NULL;
}

static void destructors(void) {
	EQ(pthread_key_create(&again, destroy_again), 0);
	EQ(pthread_key_create(&chain_b, destroy_b), 0);
	EQ(pthread_key_create(&chain_a, destroy_a), 0);
	EQ(pthread_key_create(&plain, destroy_plain), 0);
	for (int i = 1; i <= 20; i++) {
		join(start(has_values, (void *)(intptr_t)(i % 2)));
		EQ(rounds, i * PTHREAD_DESTRUCTOR_ITERATIONS);
		EQ(chain_calls, i * 11);
		EQ(plain_calls, 0);
	}
	step("destructors");
}

static void *deletes(void *arg) {
	(void)arg;
	pthread_setspecific(plain, &plain);
	pthread_key_delete(plain);
	return NULL;
}

static void deleted(void) {
	join(start(deletes, NULL));
	EQ(plain_calls, 0); /* a deleted key destroys nothing */
	EQ(pthread_key_create(&plain, destroy_plain), 0);
	step("deleted");
}

/* In the order of keys within a round. */
static pthread_key_t order[5];
static char text[40];

static void destroy_in_order(void *value) {
	strcat(text, value);
}

static void *sets_in_reverse(void *arg) {
	(void)arg;
	pthread_setspecific(order[4], "e");
	pthread_setspecific(order[0], "a");
	pthread_setspecific(order[2], "c");
	pthread_setspecific(order[3], "d");
	pthread_setspecific(order[1], "b");
	return NULL;
}

static void ordered(void) {
	for (int i = 0; i < 5; i++)
		EQ(pthread_key_create(&order[i], destroy_in_order), 0);
	join(start(sets_in_reverse, NULL));
	puts(text);
	step("ordered");
}

/* ---- new threads on used identities ------------------------------------------------------------------------------------------ */

enum { MANY = 200 };
static pthread_key_t many[MANY];
static __thread int table[300] = {[0] = 1, [299] = 300};
static __thread int zeros[300];

static void *expects_nothing(void *arg) {
	intptr_t wrong = table[0] != 1 || table[299] != 300;
	for (int i = 0; i < MANY; i++)
		wrong += pthread_getspecific(many[i]) != NULL;
	for (int i = 0; i < 300; i++)
		wrong += zeros[i] != 0;
	for (int i = 0; i < MANY; i++)
		pthread_setspecific(many[i], arg);
	for (int i = 0; i < 300; i++)
		zeros[i] = table[i] = 77;
	return (void *)wrong;
}

static void fresh(void) {
	pthread_t t[50];
	long wrong = 0;
	for (int i = 0; i < MANY; i++)
		EQ(pthread_key_create(&many[i], NULL), 0);
	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 50; i++)
			t[i] = start(expects_nothing, &t);
		for (int i = 0; i < 50; i++)
			wrong += join(t[i]);
	}
	EQ(wrong, 0);
	for (int i = 0; i < MANY; i++)
		EQ(pthread_key_delete(many[i]), 0);
	step("fresh");
}

/* Values that destructors set again and again are given up in the end: the next owner of the memory does not see them. */
static pthread_key_t stubborn[MANY];
static void set_again(void *value) {
	for (int i = 0; i < MANY; i++)
		pthread_setspecific(stubborn[i], value);
}

static void *stubborn_or_fresh(void *arg) {
	intptr_t wrong = 0;
	for (int i = 0; i < MANY; i++)
		wrong += pthread_getspecific(stubborn[i]) != NULL;
	if (arg)
		set_again(arg);
	return (void *)wrong;
}

static void given_up(void) {
	long wrong = 0;
	for (int i = 0; i < MANY; i++)
		EQ(pthread_key_create(&stubborn[i], set_again), 0);
	for (int round = 0; round < 40; round++)
		wrong += join(start(stubborn_or_fresh, round % 2 ? NULL : &wrong));
	EQ(wrong, 0);
	for (int i = 0; i < MANY; i++)
		EQ(pthread_key_delete(stubborn[i]), 0);
	step("given up");
}

/* Kept over waits and migrations. */
static pthread_key_t kept;
static _Atomic int destroyed;

static void destroy_kept(void *value) {
	(void)value;
	destroyed++;
}

static void *keeps(void *arg) {
	pthread_setspecific(kept, arg);
	for (int i = 0; i < 30; i++) {
		if (i % 10 == 9)
			usleep(100);
		else
			sched_yield();
		if (pthread_getspecific(kept) != arg)
			return (void *)1;
	}
	return NULL;
}

static void kept_over_waits(void) {
	enum { N = 500 };
	static pthread_t t[N];
	EQ(pthread_key_create(&kept, destroy_kept), 0);
	for (intptr_t i = 0; i < N; i++)
		t[i] = start(keeps, (void *)(i + 1));
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	EQ(destroyed, N);
	step("kept");
}

/* ---- C11's ------------------------------------------------------------------------------------------------------------------ */

static tss_t tss;
static int tss_destroyed;

static void tss_destroy(void *value) {
	tss_destroyed += *(int *)value;
}

static int tss_thread(void *arg) {
	if (tss_get(tss) != NULL || tss_set(tss, arg) != thrd_success || tss_get(tss) != arg)
		return 1;
	if (*(int *)arg == 3)
		thrd_exit(0);
	return 0;
}

static void c11(void) {
	int values[] = {2, 3}, result = 9;
	thrd_t t;
	EQ(tss_create(&tss, tss_destroy), thrd_success);
	for (int i = 0; i < 2; i++) {
		EQ(thrd_create(&t, tss_thread, &values[i]), thrd_success);
		EQ(thrd_join(t, &result), thrd_success);
		EQ(result, 0);
	}
	EQ(tss_destroyed, 5);
	tss_delete(tss);
	step("c11");
}

/* main's destructors run when it leaves by pthread_exit(). */
static void destroy_main(void *value) {
	(void)value;
	puts("main's destructor");
	int status = test_end();
	fflush(stdout);
	if (status)
		_exit(status);
}

int main(void) {
	test_begin();
	int n = limit();
	limit_in_child(n);
	destructors();
	deleted();
	ordered();
	fresh();
	given_up();
	kept_over_waits();
	c11();
	pthread_key_t last;
	EQ(pthread_key_create(&last, destroy_main), 0);
	pthread_setspecific(last, &last);
	pthread_exit(NULL);
}
