/* dlopen() of a module with initial-exec thread-local variables while threads live (TLS-3): initialised in the caller before the
 * module's constructor runs, in parked, queued and running threads, and in new ones. The constructor creates and joins a thread (SCH-10).
 * The module is compiled by the test. */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "module_test.h"

static const char source[] =
	"#include <pthread.h>\n"
	"__attribute__((tls_model(\"initial-exec\"))) __thread int answer = 42;\n"
	"__attribute__((tls_model(\"initial-exec\"))) __thread char zeros[100];\n"
	"int in_constructor, in_thread;\n"
	"static void *thread(void *arg) { in_thread = answer; answer = 9; return arg; }\n"
	"__attribute__((constructor)) static void start(void) {\n"
	"	pthread_t t;\n"
	"	in_constructor = answer;\n"
	"	pthread_create(&t, 0, thread, 0);\n"
	"	pthread_join(t, 0);\n"
	"}\n"
	"int get(void) { int sum = 0; for (int i = 0; i < 100; i++) sum += zeros[i]; return answer + sum; }\n"
	"void set(int value) { answer = value; zeros[7] = 1; }\n";

enum { PARKED = 20 };
static int (*get)(void);
static void (*set)(int);
static sem_t loaded;
static volatile int go;
static int wrong;

static void check(void) {
	if (get() != 42)
		__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
	set(7);
	usleep(500);
	if (get() != 8)
		__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static void *parked(void *arg) {
	while (sem_wait(&loaded) != 0)
		;
	check();
	return arg;
}

static void *spins(void *arg) {
	while (!go)
		;
	check();
	return arg;
}

static void *fresh(void *arg) {
	check();
	return arg;
}

static char dir[] = "/tmp/loader_tls.XXXXXX", path[80];

static void *opens(void *arg) {
	void *handle = dlopen(path, RTLD_NOW);
	(void)arg;
	if (!handle) {
		printf("dlopen: %s\n", dlerror());
		exit(1);
	}
	get = dlsym(handle, "get");
	set = dlsym(handle, "set");
	printf("constructor saw %d, its thread %d\n", *(int *)dlsym(handle, "in_constructor"), *(int *)dlsym(handle, "in_thread"));
	check();
	return handle;
}

int main(void) {
	char command[300], text[MODULE_PATH_BYTES];
	pthread_t p[PARKED], s, o, f;
	void *handle;
	sem_init(&loaded, 0, 0);
	if (!module_write(dir, text, source))
		return 1;
	snprintf(path, sizeof path, "%s/m.so", dir);
	snprintf(command, sizeof command, "cc -shared -fPIC -O1 -o %s %s", path, text);
	if (system(command) != 0)
		return 1;
	for (int i = 0; i < PARKED; i++)
		pthread_create(&p[i], NULL, parked, NULL);
	pthread_create(&s, NULL, spins, NULL);
	usleep(10000);
	pthread_create(&o, NULL, opens, NULL);
	pthread_join(o, &handle);
	go = 1;
	for (int i = 0; i < PARKED; i++)
		sem_post(&loaded);
	for (int i = 0; i < PARKED; i++)
		pthread_join(p[i], NULL);
	pthread_join(s, NULL);
	for (int i = 0; i < 30; i++) {
		pthread_create(&f, NULL, fresh, NULL);
		pthread_join(f, NULL);
	}
	check();
	printf("wrong: %d\n", wrong);
	printf("close: %d\n", dlclose(handle));
	handle = dlopen("/nonexistent/x.so", RTLD_NOW);
	printf("no such file: %d %d\n", handle == NULL, dlerror() != NULL);
	printf("libm by name: %d\n", dlopen("libm.so.6", RTLD_LAZY) != NULL);
	unlink(path);
	unlink(text);
	rmdir(dir);
	return 0;
}
