/* The default size of stacks is changed when there have been threads, and the first attribute asks for just the new one: that is no default of those before (MEM-12). */
#include "sync_test.h"

#define BYTES (64ul << 20)

static void *uses(void *arg) {
	volatile char frame[BYTES - (64 << 10)];
	for (size_t i = 0; i < sizeof frame; i += 4096)
		frame[i] = 1;
	return arg;
}

static void *does_nothing(void *arg) {
	return arg;
}

int main(void) {
	pthread_t t;
	pthread_attr_t attr;
	test_begin();
	join(start(does_nothing, NULL));
	pthread_attr_init(&attr);
	EQ(pthread_attr_setstacksize(&attr, BYTES), 0);
	EQ(pthread_setattr_default_np(&attr), 0);
	EQ(pthread_create(&t, &attr, uses, (void *)1), 0);
	EQ(join(t), 1);
	EQ(join(start(uses, (void *)1)), 1);
	pthread_attr_destroy(&attr);
	return test_end();
}
