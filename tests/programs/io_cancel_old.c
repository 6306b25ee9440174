/* io_cancel where pipes do not know RWF_NOWAIT. */
#define main io_cancel_main
#include "io_cancel.c"
#undef main

#include "old_kernel.h"

int main(void) {
	kernel_be_old();
	return io_cancel_main();
}
