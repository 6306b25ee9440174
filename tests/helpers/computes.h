/* A thread function that computes, and never comes by the runtime. */
#ifndef GOSHIM_TESTS_COMPUTES_H
#define GOSHIM_TESTS_COMPUTES_H

/* arg: where it shows that it goes on. */
static void *computes(void *arg) {
	volatile unsigned long *count = arg;
	unsigned long a = 1, b = 2, c = 3; /* only counting would look like waiting for somebody */
	for (;; *count = a) {
		a = (a ^ a << 13) + b;
		b = (b ^ b >> 7) + c;
		c = (c ^ c << 17) + a;
	}
	return NULL;
}

#endif
