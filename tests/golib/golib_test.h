/* What the programs of tests/golib share. Each is linked with -lgoshim; its first argument names the test; it prints "ok" or what is wrong. */
#ifndef GOLIB_TEST_H
#define GOLIB_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "goshim.h"

#define WATCHDOG_S 60 /* the machine may be busy; only a hang takes this long */

#define CHECK(condition)                                                                             \
	do {                                                                                         \
		if (!(condition)) {                                                                  \
			printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);     \
			fflush(stdout);                                                              \
			_exit(1);                                                                    \
		}                                                                                    \
	} while (0)

struct test {
	const char *name;
	void (*run)(void);
};

static inline int tests_main(const struct test *tests, int argc, char **argv) {
	const char *watchdog = getenv("WATCHDOG"); /* of a long run (make soak-golib) */
	alarm(watchdog ? (unsigned)atoi(watchdog) : WATCHDOG_S);
	for (const struct test *t = tests; argc > 1 && t->name; t++) {
		if (strcmp(t->name, argv[1]) == 0) {
			t->run();
			puts("ok");
			return 0;
		}
	}
	printf("no such test: %s\n", argc > 1 ? argv[1] : "");
	return 2;
}

/* Waits, without a limit, until *word is at least n: for what another goroutine is certain to do. */
static inline void until(int *word, int n) {
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < n)
		go_sleep(GO_MILLISECOND / 10);
}

/* After `entered` says that n goroutines are about to wait: most rounds, in different ways, leave them the time to do so. Nothing depends on it but which of
 * the two orders is tried. */
static inline void let_wait(int *entered, int n, int round) {
	if (round % 4 == 3)
		return;
	until(entered, n);
	if (round % 4 == 1)
		go_yield();
	else if (round % 4 == 2)
		go_sleep(GO_MILLISECOND);
}

static inline int add(int *word, int n) {
	return __atomic_add_fetch(word, n, __ATOMIC_ACQ_REL);
}

#endif
