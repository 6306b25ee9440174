/* The end of a thread, step by step: one that has returned can still be cancelled in its destructors, one that was unwound cannot. */
#include "sync_test.h"

static pthread_key_t key;
static sem_t in, never, go;
static int entered, ended;

/* The first time it waits for what never comes. */
static void waits(void *arg) {
	(void)arg;
	if (entered++ == 0) {
		sem_post(&in);
		sem_wait(&never);
	}
	ended++;
}

static void waits_for_go(void *arg) {
	(void)arg;
	sem_post(&in);
	sem_take(&go);
	pthread_testcancel();
	ended++;
}

static void *returns(void *arg) {
	pthread_setspecific(key, (void *)1);
	return arg;
}

/* A thread_local variable's destructor, as a C++ compiler registers it. */
extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *module);

static void *returns_with_object(void *arg) {
	__cxa_thread_atexit_impl(waits, NULL, &key);
	return arg;
}

static void *exits(void *arg) {
	pthread_setspecific(key, (void *)1);
	pthread_exit(arg);
}

static void *returns_asynchronous(void *arg) {
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	return returns(arg);
}

static void cancelled_in_destructor(void *(*function)(void *)) {
	entered = ended = 0;
	EQ(pthread_key_create(&key, waits), 0);
	pthread_t t = start(function, (void *)7);
	sem_take(&in);
	EQ(pthread_cancel(t), 0);
	EQ(join(t), -1);
	EQ(entered, 1);
	EQ(ended, 0);
	EQ(pthread_key_delete(key), 0);
}

static void too_late_in_destructor(void) {
	ended = 0;
	EQ(pthread_key_create(&key, waits_for_go), 0);
	pthread_t t = start(exits, (void *)7);
	sem_take(&in);
	EQ(pthread_cancel(t), 0);
	sem_post(&go);
	EQ(join(t), 7);
	EQ(ended, 1);
	EQ(pthread_key_delete(key), 0);
}

int main(void) {
	test_begin();
	sem_init(&in, 0, 0);
	sem_init(&never, 0, 0);
	sem_init(&go, 0, 0);
	for (int i = 0; i < 3; i++) {
		cancelled_in_destructor(returns);
		cancelled_in_destructor(returns_with_object);
		cancelled_in_destructor(returns_asynchronous);
	}
	step("cancelled in a destructor");
	too_late_in_destructor();
	step("too late");
	return test_end();
}
