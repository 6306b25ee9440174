/* Thread-local variables of modules loaded and unloaded while threads live: general dynamic, and by TLS descriptors (TLS-3, TLS-4, TLS-14).
 * Each thread sees the initial value on first touch, keeps its own, and a reloaded module starts anew. The test compiles the modules. */
#include "module_test.h"
#include "sync_test.h"

#include <dlfcn.h>
#include <semaphore.h>

static const char source[] =
	"__thread int answer = 42;\n"
	"static __thread char zeros[3000];\n"
	"int get(void) { int sum = answer; for (int i = 0; i < 3000; i += 100) sum += zeros[i]; return sum; }\n"
	"void set(int n) { answer = n; zeros[2900] = 1; }\n";

enum { MODULES = 12, THREADS = 60, ROUNDS = 5 };

struct module {
	void *handle;
	int (*get)(void);
	void (*set)(int);
};
static struct module modules[MODULES];
static char dir[] = "/tmp/tls_modules.XXXXXX";
static pthread_barrier_t loaded, used;
static _Atomic int wrong;

static void module_path(char path[80], int i) {
	snprintf(path, 80, "%s/m%d.so", dir, i);
}

static int build(int i, const char *flags) {
	char command[300], path[80];
	module_path(path, i);
	snprintf(command, sizeof command, "cc -shared -fPIC -O1 %s -o %s %s/m.c", flags, path, dir);
	return system(command);
}

static void load(int i) {
	char path[80];
	module_path(path, i);
	void *handle = dlopen(path, RTLD_NOW);
	if (!handle) {
		printf("FAIL dlopen: %s\n", dlerror());
		exit(1);
	}
	modules[i].handle = handle;
	*(void **)&modules[i].get = dlsym(handle, "get");
	*(void **)&modules[i].set = dlsym(handle, "set");
}

static void check(int mine) {
	for (int i = 0; i < MODULES; i++) {
		wrong += modules[i].get() != 42;
		modules[i].set(1000 * mine + i);
	}
	for (int k = 0; k < 4; k++) {
		if (k == 2)
			usleep(100);
		else
			sched_yield();
		for (int i = 0; i < MODULES; i++)
			wrong += modules[i].get() != 1000 * mine + i + 1;
	}
}

static void *lives_long(void *arg) {
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&loaded);
		check((int)(long)arg);
		pthread_barrier_wait(&used);
	}
	return NULL;
}

static void *lives_short(void *arg) {
	check((int)(long)arg);
	return NULL;
}

int main(void) {
	char text[MODULE_PATH_BYTES];
	pthread_t t[THREADS], s[8];
	test_begin();
	if (!module_write(dir, text, source))
		return 1;
	if (build(0, "") || build(1, "-mtls-dialect=gnu2"))
		return 1;
	for (int i = 2; i < MODULES; i++) {
		char command[300], path[80], from[80];
		module_path(path, i);
		module_path(from, i % 2);
		snprintf(command, sizeof command, "cp %s %s", from, path);
		if (system(command) != 0)
			return 1;
	}
	pthread_barrier_init(&loaded, NULL, THREADS + 1);
	pthread_barrier_init(&used, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(lives_long, (void *)(i + 1));
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < MODULES; i++)
			load(i);
		pthread_barrier_wait(&loaded);
		check(999);
		for (long i = 0; i < 8; i++)
			s[i] = start(lives_short, (void *)(i + 500));
		for (int i = 0; i < 8; i++)
			join(s[i]);
		for (long i = 0; i < 30; i++)
			join(start(lives_short, (void *)(i + 600)));
		pthread_barrier_wait(&used);
		for (int i = 0; i < MODULES; i++)
			EQ(dlclose(modules[i].handle), 0);
	}
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	EQ(wrong, 0);
	for (int i = 0; i < MODULES; i++) {
		module_path(text, i);
		unlink(text);
	}
	snprintf(text, sizeof text, "%s/m.c", dir);
	unlink(text);
	rmdir(dir);
	return test_end();
}
