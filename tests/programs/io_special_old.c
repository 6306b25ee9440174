/* io_special where pipes do not know RWF_NOWAIT. */
#define main io_special_main
#include "io_special.c"
#undef main

#include "old_kernel.h"

int main(void) {
	kernel_be_old();
	return io_special_main();
}
