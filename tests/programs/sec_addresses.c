/* Where threads have their stacks cannot be told from one run for the next: as many addresses as runs (SEC-6). */
#include "io_test.h"

enum { RUNS = 16 };

static void *where(void *arg) {
	char here;
	*(uintptr_t *)arg = (uintptr_t)&here;
	return NULL;
}

int main(int argc, char **argv) {
	uintptr_t at[RUNS], mine = 0;
	if (argc > 1) {
		join(start(where, &mine));
		return write(1, &mine, sizeof mine) != sizeof mine;
	}
	int same = 0, same_page = 0;
	for (int i = 0; i < RUNS; i++) {
		int out[2];
		EQ(pipe(out), 0);
		pid_t child = fork();
		if (child == 0) {
			dup2(out[1], 1);
			execl("/proc/self/exe", argv[0], "child", (char *)NULL);
			_exit(1);
		}
		close(out[1]);
		EQ(read_full(out[0], &at[i], sizeof at[i]), sizeof at[i]);
		close(out[0]);
		waitpid(child, NULL, 0);
		for (int k = 0; k < i; k++) {
			same += at[k] == at[i];
			same_page += at[k] >> 12 == at[i] >> 12;
		}
	}
	join(start(where, &mine));
	printf("the same: %d, in the same page: %d\n", same, same_page);
	done("addresses");
	return failures != 0;
}
