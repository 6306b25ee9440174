/* stdio under 1,000 threads: lines stay whole, flockfile() is recursive and belongs to a thread, locks are handed over while their owner
 * waits in the kernel (SYN-19). */
#include "sync_test.h"

#include <sys/stat.h>

enum { N = 1000, LINES = 20 };
static FILE *null, *shared, *pipe_in;

static void *writes(void *arg) {
	int mine = (int)(long)arg;
	for (int i = 0; i < LINES; i++) {
		fprintf(null, "%d %d %s\n", mine, i, "some text that is formatted");
		fprintf(shared, "%04d:%02d:%s\n", mine, i, "abcdefghijklmnopqrstuvwxyz");
		if (i % 10 == 3) {
			flockfile(shared);
			flockfile(shared);
			fprintf(shared, "%04d:[", mine);
			if (mine % 50 == 0)
				usleep(20); /* waits while it owns the stream */
			else
				sched_yield();
			fputs("owned]\n", shared);
			funlockfile(shared);
			putc_unlocked('#', shared);
			putc_unlocked('\n', shared);
			funlockfile(shared);
		}
		if (i % 7 == 0)
			fflush(null);
	}
	return NULL;
}

static bool line_good(const char *line) {
	int mine, i;
	char rest[64];
	if (strcmp(line, "#\n") == 0)
		return true;
	if (sscanf(line, "%4d:[%63s", &mine, rest) == 2)
		return strcmp(rest, "owned]") == 0;
	return sscanf(line, "%4d:%2d:%63s", &mine, &i, rest) == 3 && strcmp(rest, "abcdefghijklmnopqrstuvwxyz") == 0;
}

static void check_lines(void) {
	char line[200];
	long bad = 0, owned = 0, plain = 0, marks = 0;
	rewind(shared);
	bool expect_mark = false;
	while (fgets(line, sizeof line, shared)) {
		bad += !line_good(line);
		bad += expect_mark != (line[0] == '#');
		expect_mark = strchr(line, '[') != NULL;
		if (line[0] == '#')
			marks++;
		else if (strchr(line, '['))
			owned++;
		else
			plain++;
	}
	EQ(bad, 0);
	EQ(plain, N * LINES);
	EQ(owned, N * 2);
	EQ(marks, N * 2);
}

/* ftrylockfile() fails for others while one owns it. */
static void *tries(void *arg) {
	(void)arg;
	return (void *)(long)(ftrylockfile(shared) != 0);
}

/* Readers share one stream: each line goes to one of them, whole. */
static _Atomic long lines_read, sum_read;

static void *reads(void *arg) {
	char line[64];
	while (fgets(line, sizeof line, pipe_in)) {
		lines_read++;
		sum_read += atol(line);
	}
	return arg;
}

int main(void) {
	static pthread_t t[N];
	int fds[2];
	test_begin();
	null = fopen("/dev/null", "w");
	shared = tmpfile();
	if (!null || !shared || pipe(fds) != 0)
		return 1;
	for (long i = 0; i < N; i++)
		t[i] = start(writes, (void *)i);
	for (int i = 0; i < N; i++)
		join(t[i]);
	check_lines();
	step("lines");
	flockfile(shared);
	EQ(join(start(tries, NULL)), 1);
	funlockfile(shared);
	step("trylock");
	pipe_in = fdopen(fds[0], "r");
	FILE *out = fdopen(fds[1], "w");
	for (int i = 0; i < 20; i++)
		t[i] = start(reads, NULL);
	for (int i = 1; i <= 5000; i++) {
		fprintf(out, "%d\n", i);
		if (i % 500 == 0) {
			fflush(out);
			usleep(100);
		}
	}
	fclose(out);
	for (int i = 0; i < 20; i++)
		join(t[i]);
	EQ(lines_read, 5000);
	EQ(sum_read, 5000L * 5001 / 2);
	step("shared reader");
	return test_end();
}
