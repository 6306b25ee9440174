/* Brings an allocator, switches stacks itself and has much thread-local storage. */
#include <stddef.h>
#include <ucontext.h>

static __thread char large[128 * 1024];
static ucontext_t from, to;
static char heap[4096];

void *malloc(size_t size) {
	return size < sizeof heap ? heap : NULL;
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 100)
		swapcontext(&from, &to);
	large[argc] = (char)argc;
	return large[(argc * 7) % 100];
}
