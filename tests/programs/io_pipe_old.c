/* io_pipe where pipes do not know RWF_NOWAIT. */
#define main io_pipe_main
#include "io_pipe.c"
#undef main

#include "old_kernel.h"

int main(void) {
	kernel_be_old();
	return io_pipe_main();
}
