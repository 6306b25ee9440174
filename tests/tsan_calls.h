/* What code compiled with -fsanitize=thread calls, for those who answer instead of libtsan: tests/model and tests/race. */
#ifndef TSAN_CALLS_H
#define TSAN_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#define PC __builtin_return_address(0)

/* The three names of a compare-exchange, all by `function`: bool (addr, expected, v, order, failed, pc), which updates *expected when it fails. */
#define TSAN_COMPARE_EXCHANGE(bits, type, function) \
	bool __tsan_atomic##bits##_compare_exchange_strong(volatile type *addr, type *expected, type v, int order, int failed) { \
		return function(addr, expected, v, order, failed, PC); \
	} \
	bool __tsan_atomic##bits##_compare_exchange_weak(volatile type *addr, type *expected, type v, int order, int failed) { \
		return function(addr, expected, v, order, failed, PC); \
	} \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *addr, type expected, type v, int order, int failed) { \
		function(addr, &expected, v, order, failed, PC); \
		return expected; \
	}

#endif
