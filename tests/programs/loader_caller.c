/* dlopen() and dlmopen() act for the object that calls them, also when threads have been made: $ORIGIN is its folder, and bare names are looked for along its
 * DT_RUNPATH, or along its DT_RPATH and those of the objects that loaded it. What is found there and cannot be loaded is an error, not a reason to look on; a variant for better
 * CPUs is preferred. The modules are compiled by the test. */
#include "sync_test.h"

#include <dlfcn.h>
#include <stdarg.h>

static char dir[] = "/tmp/loader_caller.XXXXXX";

typedef void *open_function(const char *name);
struct caller {
	open_function *open, *open_base, *open_new;
};

static void run(const char *format, ...) {
	char command[600], text[900];
	va_list list;
	va_start(list, format);
	vsnprintf(command, sizeof command, format, list);
	va_end(list);
	snprintf(text, sizeof text, "cd %s && %s", dir, command);
	if (system(text) != 0) {
		printf("FAIL %s\n", text);
		exit(1);
	}
}

static struct caller caller_of(const char *name) {
	char path[80];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	void *handle = dlopen(path, RTLD_NOW);
	if (!handle) {
		printf("FAIL %s\n", dlerror());
		exit(1);
	}
	return (struct caller){dlsym(handle, "open_plain"), dlsym(handle, "open_base"), dlsym(handle, "open_new")};
}

/* What the module says, or the error without what differs between runs. */
static void told(const char *how, const char *name, void *handle) {
	if (handle) {
		int (*value)(void) = dlsym(handle, "value");
		printf("%s %s: %d\n", how, name, value ? value() : -1);
		return;
	}
	const char *error = dlerror(), *at = error ? strstr(error, dir) : NULL;
	printf("%s %s: %s\n", how, name, at ? at + strlen(dir) : error ? error : "no error");
}

static void try(const struct caller *c, const char *name) {
	told("dlopen", name, c->open(name));
	told("dlmopen", name, c->open_base(name));
	void *handle = c->open_new(name);
	told("new", name, handle);
	if (handle)
		dlclose(handle);
}

static void build(void) {
	run("mkdir plug plug/glibc-hwcaps plug/glibc-hwcaps/x86-64-v2");
	run("printf '#include <dlfcn.h>\\nvoid *open_plain(const char *n) { return dlopen(n, RTLD_NOW); }\\n"
	    "void *open_base(const char *n) { return dlmopen(LM_ID_BASE, n, RTLD_NOW); }\\n"
	    "void *open_new(const char *n) { return dlmopen(LM_ID_NEWLM, n, RTLD_NOW); }\\n' >c.c");
	run("printf 'int value(void) { return V; }\\n' >v.c");
	run("printf 'extern int nowhere; int value(void) { return nowhere; }\\n' >bad.c");
	run("printf 'extern void *open_plain(const char *); void *keep(void) { return open_plain; }\\n' >l.c");
	const char *cc = "cc -D_GNU_SOURCE -shared -fPIC -O1 -w";
	run("%s -o with_path.so c.c '-Wl,--enable-new-dtags,-rpath,$ORIGIN/plug'", cc);
	run("%s -o without.so c.c", cc);
	run("%s -o libbelow.so c.c -Wl,-soname,libbelow.so", cc);
	run("%s -o above.so l.c -L. -lbelow '-Wl,--disable-new-dtags,-rpath,$ORIGIN:$ORIGIN/plug'", cc);
	run("%s -DV=1 -o plug/libgoshim_a.so v.c", cc);
	run("%s -DV=2 -o plug/libgoshim_h.so v.c", cc);
	run("%s -DV=3 -o plug/glibc-hwcaps/x86-64-v2/libgoshim_h.so v.c", cc);
	run("%s -o plug/libgoshim_undefined.so bad.c -Wl,-z,undefs", cc);
	run("printf no >plug/libgoshim_short.so");
	run("%s -DV=4 -o plug/libgoshim_b.so v.c", cc);
}

static void *opens(void *arg) {
	struct caller with = caller_of("with_path.so"), without = caller_of("without.so"), below;
	puts("with a path");
	try(&with, "libgoshim_a.so");
	try(&with, "libgoshim_h.so");
	try(&with, "libgoshim_undefined.so");
	try(&with, "libgoshim_short.so");
	try(&with, "libgoshim_nowhere.so");
	try(&with, "$ORIGIN/plug/libgoshim_b.so");
	puts("without");
	try(&without, "$ORIGIN/plug/libgoshim_b.so");
	try(&without, "${ORIGIN}/plug/libgoshim_short.so");
	try(&without, "libgoshim_nowhere.so");
	puts("below one with a path");
	char path[80];
	snprintf(path, sizeof path, "%s/above.so", dir);
	void *handle = dlopen(path, RTLD_NOW);
	below.open = handle ? dlsym(handle, "open_plain") : NULL;
	told("dlopen", "libgoshim_b.so", below.open ? below.open("libgoshim_b.so") : NULL);
	return arg;
}

int main(void) {
	test_begin();
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!mkdtemp(dir))
		return 1;
	build();
	join(start(opens, NULL));
	run("rm -r %s", dir);
	return test_end();
}
