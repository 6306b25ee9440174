/* Modules that get a place in static TLS without having asked for it, or that libc opens by itself, while threads live (TLS-3). Threads that were there before have
 * the initial values, also when a constructor of the module asks them:
 *   - variables reached by TLS descriptors, which may be in either kind of TLS;
 *   - ordinary ones, in a module that was loaded before and whose variables nobody has used, when a later module reaches for them without a call;
 *   - a place that a module which has gone used before;
 *   - a converter that iconv_open() loads.
 * The modules are compiled by the test. */
#include "sync_test.h"

#include <dlfcn.h>
#include <iconv.h>

static const char source[] =
	"#include <gconv.h>\n"
	"extern __thread int answer;\n"
	"#ifdef OWN\n"
	"MODEL __thread int answer = OWN;\n"
	"#endif\n"
	"static __thread char zeros[40];\n"
	"extern void constructed(int (*get)(void)) __attribute__((weak));\n"
	"extern __thread int answer MODEL;\n"
	"int get(void) { int sum = answer; for (int i = 0; i < 40; i++) sum += zeros[i]; return sum; }\n"
	"void set(int n) { answer = n; zeros[7] = 1; }\n"
	"__attribute__((constructor)) static void begin(void) { if (CALLS) constructed(get); }\n"
	"int gconv_init(struct __gconv_step *s) {\n"
	"	s->__min_needed_from = s->__max_needed_from = 1; s->__min_needed_to = s->__max_needed_to = 4; s->__stateful = 0;\n"
	"	return __GCONV_OK;\n"
	"}\n"
	"int gconv(void) { return 0; }\n";

enum { PARKED = 4 };
static sem_t go, done;
static int (*asked)(void);
static int value;
static char dir[] = "/tmp/loader_tls_promoted.XXXXXX";

static void build(const char *name, const char *flags) {
	char command[400];
	snprintf(command, sizeof command, "cc -shared -fPIC -O1 -w %s -o %s/%s.so %s/m.c", flags, dir, name, dir);
	if (system(command) != 0)
		exit(1);
}

static void *load(const char *name, int flags) {
	char path[80];
	snprintf(path, sizeof path, "%s/%s.so", dir, name);
	void *handle = dlopen(path, RTLD_NOW | flags);
	if (!handle) {
		printf("FAIL: %s\n", dlerror());
		exit(1);
	}
	return handle;
}

static void *parked(void *arg) {
	for (;;) {
		sem_take(&go);
		if (!asked)
			return arg;
		EQ(asked(), value);
		sem_post(&done);
		usleep(500); /* to let another take the next */
	}
}

static void ask(int (*get)(void), int expected) {
	asked = get;
	value = expected;
	for (int i = 0; i < PARKED; i++)
		sem_post(&go);
	for (int i = 0; i < PARKED && get; i++)
		sem_take(&done);
}

/* Called by a module's constructor. */
void constructed(int (*get)(void)) {
	EQ(get(), 42);
	ask(get, 42);
	step("asked by a constructor");
}

static void check(void *handle, int expected) {
	int (*get)(void) = dlsym(handle, "get");
	void (*set)(int) = dlsym(handle, "set");
	EQ(get(), expected);
	ask(get, expected);
	set(7);
	EQ(get(), 8);
	ask(get, expected);
}

static void *opens(void *arg) {
	check(load("descriptors", 0), 42);
	step("descriptors");
	load("before", RTLD_GLOBAL);
	check(load("reaches", 0), 77);
	step("a module that was there");
	for (int i = 0; i < 4; i++) {
		void *handle = load(i % 2 ? "second" : "first", 0);
		check(handle, i % 2 ? 12 : 11);
		dlclose(handle);
	}
	step("again and again");
	iconv_t converter = iconv_open("UTF-8", "GOSHIMTEST");
	check(load("converter", RTLD_NOLOAD), 33);
	if (converter != (iconv_t)-1)
		iconv_close(converter);
	step("a converter");
	return arg;
}

static void write_to(const char *name, const char *text, const char *arg) {
	char path[80];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *file = fopen(path, "w");
	fprintf(file, text, arg);
	fclose(file);
}

int main(void) {
	char command[80];
	pthread_t t[PARKED];
	test_begin();
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	if (!mkdtemp(dir))
		return 1;
	write_to("m.c", "%s", source);
	write_to("gconv-modules", "module GOSHIMTEST// INTERNAL %s/converter 1\n", dir);
	setenv("GCONV_PATH", dir, 1);
	build("descriptors", "-DOWN=42 -DMODEL= -DCALLS=1 -mtls-dialect=gnu2");
	build("before", "-Danswer=other -DOWN=77 -DMODEL= -DCALLS=0");
	build("reaches", "-Danswer=other '-DMODEL=__attribute__((tls_model(\"initial-exec\")))' -DCALLS=0");
	build("first", "-DOWN=11 -DMODEL= -DCALLS=0 -mtls-dialect=gnu2");
	build("second", "-DOWN=12 -DMODEL= -DCALLS=0 -mtls-dialect=gnu2");
	build("converter", "-DOWN=33 '-DMODEL=__attribute__((tls_model(\"initial-exec\")))' -DCALLS=0");
	for (int i = 0; i < PARKED; i++)
		t[i] = start(parked, NULL);
	join(start(opens, NULL));
	ask(NULL, 0);
	for (int i = 0; i < PARKED; i++)
		join(t[i]);
	snprintf(command, sizeof command, "rm -r %s", dir);
	EQ(system(command), 0);
	return test_end();
}
