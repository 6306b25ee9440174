/* A thread on a stack of the program's own is at its end, where libc frees what the thread's values were in, while another is made and allocates: what malloc keeps for
 * the first is not the other's yet (TLS-12). */
#include "sync_test.h"

#include <sys/mman.h>

#define STACK (256l << 10)
#define BYTES 777 /* nobody else's size */

void __libc_free(void *);

static __thread bool ends;
static pthread_key_t last;
static pthread_attr_t attr[2];
static void *kept, *got;

static void *allocates(void *arg) {
	got = malloc(BYTES);
	return arg;
}

/* libc's, too. */
void free(void *p) {
	if (ends) {
		ends = false;
		pthread_t t;
		EQ(pthread_create(&t, &attr[1], allocates, NULL), 0);
		join(t);
	}
	__libc_free(p);
}

static void is_last(void *value) {
	ends = value != NULL;
}

static void *thread(void *arg) {
	kept = malloc(BYTES);
	free(kept);
	pthread_setspecific(last, arg);
	return arg;
}

int main(void) {
	test_begin();
	for (int i = 0; i < 2; i++) {
		void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		pthread_attr_init(&attr[i]);
		EQ(pthread_attr_setstack(&attr[i], stack, STACK), 0);
	}
	for (int i = 0; i < 64; i++) /* beyond those that are in struct pthread */
		EQ(pthread_key_create(&last, is_last), 0);
	for (int i = 0; i < 20; i++) {
		pthread_t t;
		got = kept = NULL;
		EQ(pthread_create(&t, &attr[0], thread, &attr), 0);
		join(t);
		CHECK(got && got != kept);
		free(got);
	}
	return test_end();
}
