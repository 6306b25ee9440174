/* Started under a filter that was there before it (a service manager's), which kills who touches how the kernel schedules: no thread of the program does. */
#include "never_scheduled.h"
#include "sync_test.h"

#include <sys/prctl.h>

enum { THREADS = 8, ROUNDS = 200 };

static int in[2], out[2];

static void *answers(void *arg) {
	char c;
	long n = 0;
	while (read(in[0], &c, 1) == 1 && write(out[1], &c, 1) == 1)
		n++;
	return (void *)n;
}

int main(int argc, char **argv) {
	pthread_t t[THREADS];
	long n = 0;
	char c = 'x';
	if (argc == 1) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
			return 1;
		execl("/proc/self/exe", argv[0], "filtered", NULL);
		return 1;
	}
	test_begin();
	EQ(pipe(in), 0);
	EQ(pipe(out), 0);
	for (int i = 0; i < THREADS; i++)
		t[i] = start(answers, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		EQ(write(in[1], &c, 1), 1);
		EQ(read(out[0], &c, 1), 1);
		if (i % 50 == 0)
			usleep(1000);
	}
	close(in[1]);
	for (int i = 0; i < THREADS; i++)
		n += (long)join(t[i]);
	EQ(n, ROUNDS);
	return test_end();
}
