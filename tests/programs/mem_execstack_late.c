/* A module that wants executable stacks is loaded while threads live: theirs are executable from then on, those of later threads, and main's. Its constructor runs
 * code there already (MEM-16). The module is compiled by the test. */
#include "sync_test.h"

#include <dlfcn.h>

static const char source[] = "extern void loaded(void);\n__attribute__((constructor)) static void begin(void) { loaded(); }\n";

enum { PARKED = 3 };
static sem_t go, done;
static char dir[] = "/tmp/mem_execstack_late.XXXXXX";

static void run(void) {
#ifdef __aarch64__
	static const unsigned code[] = {0xd65f03c0}; /* ret */
#else
	static const unsigned char code[] = {0xc3}; /* ret */
#endif
	_Alignas(16) char here[64];
	memcpy(here, code, sizeof code);
	__builtin___clear_cache(here, here + sizeof here);
	((void (*)(void))(void *)here)();
}

static void *parked(void *arg) {
	sem_take(&go);
	run();
	sem_post(&done);
	return arg;
}

/* Called by the module. */
void loaded(void) {
	run();
	for (int i = 0; i < PARKED; i++)
		sem_post(&go);
	for (int i = 0; i < PARKED; i++)
		sem_take(&done);
	step("threads that were there");
}

static void *opens(void *arg) {
	char path[80];
	snprintf(path, sizeof path, "%s/m.so", dir);
	CHECK(dlopen(path, RTLD_NOW) != NULL);
	run();
	return arg;
}

int main(void) {
	char command[300];
	pthread_t t[PARKED];
	test_begin();
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	if (!mkdtemp(dir))
		return 1;
	snprintf(command, sizeof command, "printf '%%s' '%s' >%s/m.c && cc -shared -fPIC -z execstack -o %s/m.so %s/m.c", source, dir, dir, dir);
	if (system(command) != 0)
		return 1;
	for (int i = 0; i < PARKED; i++)
		t[i] = start(parked, NULL);
	join(start(opens, NULL));
	for (int i = 0; i < PARKED; i++)
		join(t[i]);
	sem_post(&go);
	join(start(parked, NULL));
	run();
	step("later ones, and main");
	snprintf(command, sizeof command, "rm -r %s", dir);
	EQ(system(command), 0);
	return test_end();
}
