/* Names of threads: own, other, main, through pthread_*name_np, prctl and /proc; lengths; inheritance. */
#include "sync_test.h"

#include <sys/prctl.h>

static pthread_t main_thread;

static void check(pthread_t t, const char *name) {
	char text[32] = "?";
	EQ(pthread_getname_np(t, text, sizeof text), 0);
	if (strcmp(text, name) != 0) {
		printf("FAIL: name is \"%s\", not \"%s\"\n", text, name);
		failures++;
	}
}

static void *named(void *arg) {
	char text[16] = "?";
	check(pthread_self(), "main's"); /* the creator's */
	EQ(pthread_setname_np(pthread_self(), "a thread"), 0);
	check(pthread_self(), "a thread");
	EQ(prctl(PR_GET_NAME, text), 0);
	CHECK(strcmp(text, "a thread") == 0);
	EQ(prctl(PR_SET_NAME, "set by prctl, too long"), 0);
	check(pthread_self(), "set by prctl, t");
	EQ(pthread_setname_np(pthread_self(), ""), 0);
	check(pthread_self(), "");
	EQ(pthread_setname_np(pthread_self(), "123456789012345"), 0);
	check(pthread_self(), "123456789012345");
	EQ(pthread_setname_np(pthread_self(), "1234567890123456"), ERANGE);
	check(pthread_self(), "123456789012345");
	EQ(pthread_getname_np(pthread_self(), text, 15), ERANGE);
	EQ(pthread_getname_np(pthread_self(), text, 0), ERANGE);
	EQ(pthread_getname_np(pthread_self(), text, 16), 0);
	sched_yield();
	usleep(1000);
	check(pthread_self(), "123456789012345");
	check(main_thread, "main's");
	EQ(pthread_setname_np(main_thread, "renamed"), 0);
	check(main_thread, "renamed");
	EQ(pthread_setname_np(main_thread, "main's"), 0);
	return arg;
}

static void *waits(void *mutex) {
	pthread_mutex_lock(mutex);
	pthread_mutex_unlock(mutex);
	check(pthread_self(), "given");
	return NULL;
}

static void *inherits(void *arg) {
	check(pthread_self(), "main's");
	return arg;
}

int main(void) {
	test_begin();
	main_thread = pthread_self();
	check(main_thread, "thread_name"); /* the program's */
	EQ(pthread_setname_np(main_thread, "main's"), 0);
	join(start(named, NULL));
	check(main_thread, "main's");
	comm_check("main's");
	char text[16] = "?";
	EQ(prctl(PR_GET_NAME, text), 0);
	CHECK(strcmp(text, "main's") == 0);
	EQ(prctl(PR_SET_NAME, "main again"), 0);
	check(main_thread, "main again");
	comm_check("main again");
	EQ(prctl(PR_SET_NAME, "main's"), 0);
	step("own");
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&mutex);
	pthread_t t = start(waits, &mutex);
	check(t, "main's");
	EQ(pthread_setname_np(t, "given"), 0);
	check(t, "given");
	EQ(pthread_setname_np(t, "much too long a name"), ERANGE);
	check(t, "given");
	check(main_thread, "main's");
	pthread_mutex_unlock(&mutex);
	join(t);
	/* Nobody inherits the name of a thread that is gone. */
	for (int i = 0; i < 50; i++)
		join(start(inherits, NULL));
	step("others");
	return test_end();
}
