/* A statically linked program: nothing can be preloaded into it. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
	printf("static, LD_PRELOAD=%s\n", getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "");
	return 7;
}
