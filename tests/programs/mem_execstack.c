/* A program that is linked for executable stacks (nested functions of GNU C, some other languages' closures) has them in its threads, too. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void *run(void *name) {
#ifdef __aarch64__
	static const unsigned code[] = {0xd65f03c0}; /* ret */
#else
	static const unsigned char code[] = {0xc3}; /* ret */
#endif
	_Alignas(16) char here[64];
	memcpy(here, code, sizeof code);
	__builtin___clear_cache(here, here + sizeof here);
	((void (*)(void))(void *)here)();
	printf("ran on the stack of %s\n", (const char *)name);
	return NULL;
}

int main(void) {
	pthread_t thread;
	run("main");
	for (int i = 0; i < 3; i++) {
		pthread_create(&thread, NULL, run, "a thread");
		pthread_join(thread, NULL);
	}
	return 0;
}
