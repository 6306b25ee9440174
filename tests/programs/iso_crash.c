/* Threads that crash in every way, one after the other. Each holds a mutex, and a socket whose other end main reads to its end. Under
 * GOSHIM=panic=isolate each ends alone, is joined as if cancelled, and runs no more code of its own, cleanup handlers and destructors included. With
 * arguments: those kinds only. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile int zero;
static pthread_key_t key;

struct crash {
	const char *kind;
	pthread_mutex_t mutex;
	int socket;
};

static void never(void *arg) {
	(void)arg;
	puts("FAILED: code of a crashed thread ran");
}

static int deep(int n) {
	volatile char frame[512];
	frame[0] = (char)n;
	return n == -1 ? 0 : deep(n + 1) + frame[0];
}

static int compare(const void *a, const void *b) {
	(void)a;
	(void)b;
	return *(volatile int *)(long)(zero + 8);
}

static void bus_error(void) {
	char name[] = "/tmp/goshim-test-XXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	p[0] = 1;
}

__attribute__((noinline)) static void crash(const char *kind) {
	char *nowhere = (char *)(long)(zero + 8);
	if (strcmp(kind, "segv") == 0)
		*nowhere = 1;
	else if (strcmp(kind, "wild") == 0)
		((void (*)(void))nowhere)();
	else if (strcmp(kind, "bus") == 0)
		bus_error();
	else if (strcmp(kind, "fpe") == 0)
		zero = (int)strlen(kind) / zero;
	else if (strcmp(kind, "ill") == 0)
		__builtin_trap();
	else if (strcmp(kind, "abort") == 0)
		abort();
	else if (strcmp(kind, "assert") == 0)
		assert(!"reached");
	else if (strcmp(kind, "stack") == 0)
		deep(0);
	else if (strcmp(kind, "libc") == 0)
		memset(nowhere, 1, (size_t)(zero + 100));
	else if (strcmp(kind, "callback") == 0)
		qsort((int[]){3, 2, 1}, 3, sizeof(int), compare);
}

static void *run(void *arg) {
	struct crash *c = arg;
	pthread_mutex_lock(&c->mutex);
	if (write(c->socket, "x", 1) != 1)
		puts("FAILED: write");
	pthread_setspecific(key, c);
	pthread_cleanup_push(never, NULL);
	crash(c->kind);
	pthread_cleanup_pop(0);
	return NULL;
}

static void try_kind(const char *kind) {
	struct crash c = {.kind = kind, .mutex = PTHREAD_MUTEX_INITIALIZER};
	int pair[2];
	pthread_t thread;
	void *result = NULL;
	char buffer[8];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		abort();
	c.socket = pair[1];
	pthread_create(&thread, NULL, run, &c);
	pthread_join(thread, &result);
	printf("%s: %s, mutex %s, ", kind, result == PTHREAD_CANCELED ? "ended alone" : "FAILED",
	       pthread_mutex_trylock(&c.mutex) ? "locked" : "free");
	ssize_t first = read(pair[0], buffer, 1), second = read(pair[0], buffer, 1);
	printf("socket %s\n", first == 1 && second == 0 ? "closed" : "FAILED");
	fflush(stdout);
	close(pair[0]);
}

static void *nothing(void *arg) {
	return arg;
}

int main(int argc, char **argv) {
	static const char *const kinds[] = {"segv", "wild", "bus", "fpe", "ill", "abort", "assert", "stack", "libc", "callback"};
	pthread_t thread;
	void *result;
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	pthread_key_create(&key, never);
	pthread_create(&thread, NULL, nothing, NULL); /* sockets that are made before the first thread count as everybody's */
	pthread_join(thread, NULL);
	for (int i = 1; i < argc; i++)
		try_kind(argv[i]);
	for (size_t i = 0; argc < 2 && i < sizeof kinds / sizeof kinds[0]; i++)
		try_kind(kinds[i]);
	for (int i = 0; i < 100; i++) { /* on the stacks of those that ended so */
		pthread_create(&thread, NULL, nothing, &key);
		pthread_join(thread, &result);
		if (result != &key)
			puts("FAILED: result");
	}
	puts("end");
}
