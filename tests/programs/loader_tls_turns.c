/* Modules with initial-exec thread-local variables come and go, in the same place of static TLS, while other threads make threads (TLS-3, TLS-7): each new thread
 * has the initial values of the modules that are there, whatever the last owner of its identity left, or whatever was loaded when that was made. The modules
 * are compiled by the test. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "module_test.h"

static const char source[] =
	"__attribute__((tls_model(\"initial-exec\"))) __thread int first = N;\n"
	"__attribute__((tls_model(\"initial-exec\"))) __thread int more[50] = {[N % 50] = N};\n"
	"__attribute__((tls_model(\"initial-exec\"))) __thread char zeros[100];\n"
	"int clean(void) {\n"
	"	int wrong = first != N;\n"
	"	for (int i = 0; i < 50; i++) wrong += more[i] != (i == N % 50 ? N : 0);\n"
	"	for (int i = 0; i < 100; i++) wrong += zeros[i] != 0;\n"
	"	first = -1;\n"
	"	for (int i = 0; i < 50; i++) more[i] = -1;\n"
	"	for (int i = 0; i < 100; i++) zeros[i] = -1;\n"
	"	return !wrong;\n"
	"}\n";

enum { TURNS = 150, MODULES = 2, MAKERS = 2 };
static char dir[] = "/tmp/loader_tls_turns.XXXXXX", path[MODULES][80];
static __thread long own = 12345, zero;
static int (*clean)(void);
static int wrong_own, wrong_module, made, over;

static void *thread(void *arg) {
	if (own != 12345 || zero != 0)
		__atomic_add_fetch(&wrong_own, 1, __ATOMIC_RELAXED);
	own = zero = 7;
	return arg;
}

static void *in_module(void *arg) {
	if (!clean())
		__atomic_add_fetch(&wrong_module, 1, __ATOMIC_RELAXED);
	return thread(arg);
}

static void run(void *(*what)(void *)) {
	pthread_t t;
	if (pthread_create(&t, NULL, what, NULL) != 0)
		exit(1);
	pthread_join(t, NULL);
}

static void *maker(void *arg) {
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		run(thread);
		__atomic_add_fetch(&made, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

int main(void) {
	char command[300], text[MODULE_PATH_BYTES];
	pthread_t m[MAKERS];
	if (!module_write(dir, text, source))
		return 1;
	for (int i = 0; i < MODULES; i++) {
		snprintf(path[i], sizeof path[i], "%s/m%d.so", dir, i);
		snprintf(command, sizeof command, "cc -DN=%d -shared -fPIC -O1 -o %s %s", 41 + i, path[i], text);
		if (system(command) != 0)
			return 1;
	}
	for (int i = 0; i < MAKERS; i++)
		pthread_create(&m[i], NULL, maker, NULL);
	for (int turn = 0; turn < TURNS; turn++) {
		void *handle = dlopen(path[turn % MODULES], RTLD_NOW);
		if (!handle) {
			printf("dlopen: %s\n", dlerror());
			return 1;
		}
		clean = (int (*)(void))dlsym(handle, "clean");
		for (int i = 0; i < 4; i++) /* the first may have an older identity than the module, the others not */
			run(in_module);
		dlclose(handle);
		run(thread);
	}
	__atomic_store_n(&over, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < MAKERS; i++)
		pthread_join(m[i], NULL);
	printf("wrong: %d %d; threads were made meanwhile: %d\n", wrong_own, wrong_module, made > TURNS);
	for (int i = 0; i < MODULES; i++)
		unlink(path[i]);
	unlink(text);
	rmdir(dir);
	return 0;
}
