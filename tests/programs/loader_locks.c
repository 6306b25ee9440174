/* Two who load modules at once, and one of them is inside the loader already: in a destructor that dlclose() calls, in a callback of dl_iterate_phdr(), in a
 * constructor that waits for a thread. Natively each gets there, so no other lock may lie around the loader's. The module is compiled by the test. */
#include "sync_test.h"

#include <dlfcn.h>
#include <link.h>

static const char source[] =
	"extern void inside(const char *what);\n"
	"__attribute__((constructor)) static void begin(void) { inside(\"constructor\"); }\n"
	"__attribute__((destructor)) static void end(void) { inside(\"destructor\"); }\n";

static char dir[] = "/tmp/loader_locks.XXXXXX", path[80];
static sem_t begun;
static bool nested;
static pthread_t others[8]; /* they may have to wait for who made them */
static int waiting;

/* Adds nothing to the list that dl_iterate_phdr() walks, so it does not wait for that. */
static void reopen(void) {
	void *handle = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	CHECK(handle != NULL);
	EQ(dlclose(handle), 0);
}

static void *other(void *arg) {
	sem_post(&begun);
	reopen();
	return arg;
}

/* The other thread is in dlopen(), or almost, when this one calls it. */
static void other_begins(void) {
	others[waiting++] = start(other, NULL);
	sem_take(&begun);
	usleep(20000);
}

static void load_both(const char *what) {
	other_begins();
	reopen();
	step(what);
}

/* Called by the module. */
void inside(const char *what) {
	load_both(what);
}

static int each(struct dl_phdr_info *info, size_t size, void *arg) {
	(void)info, (void)size, (void)arg;
	if (!nested) {
		nested = true;
		load_both("callback");
	}
	return 0;
}

static void *loads(void *arg) {
	for (int i = 0; i < 2; i++) {
		void *handle = dlopen(path, RTLD_NOW);
		CHECK(handle != NULL);
		EQ(dlclose(handle), 0);
	}
	nested = false;
	dl_iterate_phdr(each, NULL);
	while (waiting)
		join(others[--waiting]);
	return arg;
}

int main(void) {
	char command[500];
	test_begin();
	sem_init(&begun, 0, 0);
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/m.so", dir);
	snprintf(command, sizeof command, "printf '%%s' '%s' >%s/m.c && cc -shared -fPIC -o %s %s/m.c", source, dir, path, dir);
	if (system(command) != 0)
		return 1;
	join(start(loads, NULL));
	loads(NULL);
	snprintf(command, sizeof command, "rm -r %s", dir);
	EQ(system(command), 0);
	return test_end();
}
