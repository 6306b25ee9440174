/* Addresses below 64 KiB, NULL among them, where the kernel wants memory: EFAULT, as the kernel says it, whatever reads it (SEC-4). */
#include "bad_address_test.h"

static void *body(void *arg) {
	for (uintptr_t at = 8; at < 65536; at = at * 8 - 8) {
		optional((void *)at);
		for_ever((void *)at);
		required((void *)at);
	}
	required(NULL);
	return arg;
}

int main(void) {
	pthread_t t;
	bad_address_begin();
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	body(NULL);
	return 0;
}
