/* The first thread of a process is made by the constructor of a module, that is with the loader's locks taken by who makes it. The test compiles the module. */
#include "sync_test.h"

#include <dlfcn.h>

static const char source[] =
	"#include <pthread.h>\n"
	"int made;\n"
	"static void *thread(void *arg) { __atomic_fetch_add((int *)arg, 1, __ATOMIC_SEQ_CST); return arg; }\n"
	"__attribute__((constructor)) static void begin(void) {\n"
	"	pthread_t t; void *result;\n"
	"	for (int i = 0; i < 5; i++)\n"
	"		if (pthread_create(&t, 0, thread, &made) == 0 && pthread_join(t, &result) == 0 && result != &made)\n"
	"			made = -100;\n"
	"}\n";

int main(void) {
	char dir[] = "/tmp/first_in_module.XXXXXX", command[300], path[80];
	EQ(mkdtemp(dir) != NULL, true);
	snprintf(path, sizeof path, "%s/m.c", dir);
	FILE *file = fopen(path, "w");
	fputs(source, file);
	fclose(file);
	snprintf(command, sizeof command, "cc -shared -fPIC -pthread -o %s/m.so %s", dir, path);
	EQ(system(command), 0);
	snprintf(path, sizeof path, "%s/m.so", dir);
	void *module = dlopen(path, RTLD_NOW);
	if (!module) {
		printf("FAIL dlopen: %s\n", dlerror());
		return 1;
	}
	int *made = dlsym(module, "made");
	printf("the constructor's threads: %d\n", *made);
	snprintf(command, sizeof command, "rm -r %s", dir);
	EQ(system(command), 0);
	return test_end();
}
