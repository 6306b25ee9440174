/* Modules with initial-exec thread-local variables that are loaded in other ways than by dlopen() on a thread of the program's (TLS-3): on one that libc made for
 * a timer, by dlmopen(), and into a namespace of their own, in which a second one leaves the first one's variables alone. Threads that were there before have
 * their initial values. The modules are compiled by the test. */
#include "module_test.h"
#include "sync_test.h"

#include <dlfcn.h>
#include <signal.h>

static const char source[] =
	"__attribute__((tls_model(\"initial-exec\"))) static __thread int answer = 42;\n"
	"__attribute__((tls_model(\"initial-exec\"))) static __thread char zeros[20];\n"
	"int get(void) { int sum = 0; for (int i = 0; i < 20; i++) sum += zeros[i]; return answer + sum; }\n"
	"void set(int value) { answer = value; zeros[7] = 1; }\n";

enum { PARKED = 4, MODULES = 4 };
struct module {
	void *handle;
	int (*get)(void);
	void (*set)(int);
};
static struct module module[MODULES];
static sem_t go, done;
static int asked, value;
static char dir[] = "/tmp/loader_tls_ways.XXXXXX", path[MODULES][80];

static struct module module_of(void *handle) {
	if (!handle) {
		printf("FAIL: %s\n", dlerror());
		exit(1);
	}
	return (struct module){handle, dlsym(handle, "get"), dlsym(handle, "set")};
}

static void *parked(void *arg) {
	for (;;) {
		sem_take(&go);
		if (asked < 0)
			return arg;
		EQ(module[asked].get(), value);
		module[asked].set(7);
		EQ(module[asked].get(), 8);
		module[asked].set(value - 1);
		sem_post(&done);
		usleep(500); /* to let another take the next */
	}
}

/* The parked threads, in whatever order, and the caller see the value, and leave it less 1, and a 1. */
static void ask(int which, int expected) {
	asked = which;
	value = expected;
	EQ(module[which].get(), expected);
	module[which].set(7);
	for (int i = 0; i < PARKED; i++)
		sem_post(&go);
	for (int i = 0; i < PARKED; i++)
		sem_take(&done);
}

static void notified(union sigval arg) {
	module[0] = module_of(dlopen(path[0], RTLD_NOW));
	EQ(module[0].get(), 42);
	(void)arg;
	sem_post(&done);
}

static void on_timers_thread(void) {
	timer_t timer;
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notified};
	struct itimerspec soon = {.it_value = {0, 1000000}};
	EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	EQ(timer_settime(timer, 0, &soon, NULL), 0);
	sem_take(&done);
	timer_delete(timer);
}

static void *opens(void *arg) {
	on_timers_thread();
	ask(0, 42);
	step("dlopen on a timer's thread");
	module[1] = module_of(dlmopen(LM_ID_BASE, path[1], RTLD_NOW));
	ask(1, 42);
	step("dlmopen");
	module[2] = module_of(dlmopen(LM_ID_NEWLM, path[2], RTLD_NOW));
	ask(2, 42);
	Lmid_t ns;
	EQ(dlinfo(module[2].handle, RTLD_DI_LMID, &ns), 0);
	module[3] = module_of(dlmopen(ns, path[3], RTLD_NOW));
	ask(3, 42);
	EQ(module[2].get(), 8);
	step("another namespace");
	CHECK(dlmopen(LM_ID_BASE, "/nonexistent/x.so", RTLD_NOW) == NULL && dlerror());
	CHECK(dlmopen(LM_ID_BASE, NULL, RTLD_NOW) != NULL);
	return arg;
}

int main(void) {
	char command[600], text[MODULE_PATH_BYTES];
	pthread_t t[PARKED];
	test_begin();
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	if (!module_write(dir, text, source))
		return 1;
	for (int i = 0; i < MODULES; i++) {
		snprintf(path[i], sizeof path[i], "%s/m%d.so", dir, i);
		if (i == 0)
			snprintf(command, sizeof command, "cc -shared -fPIC -O1 -o %s %s", path[0], text);
		else
			snprintf(command, sizeof command, "cp %s %s", path[0], path[i]);
		if (system(command) != 0)
			return 1;
	}
	for (int i = 0; i < PARKED; i++)
		t[i] = start(parked, NULL);
	usleep(2000);
	join(start(opens, NULL));
	asked = -1;
	for (int i = 0; i < PARKED; i++)
		sem_post(&go);
	for (int i = 0; i < PARKED; i++)
		join(t[i]);
	for (int i = 0; i < MODULES; i++)
		unlink(path[i]);
	unlink(text);
	rmdir(dir);
	return test_end();
}
