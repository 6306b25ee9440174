/* select() looks at no number that the table of descriptors has no place for: it neither reads nor writes those bits, and a closed number there is no EBADF.
 * The table grows with the numbers that were used, and a child's is as large as what was open. */
#include "process_test.h"
#include "sync_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/select.h>

enum { WIDE = 4096, FILES = 140 };

/* Of a closed number. Does its bit stay? */
static void ask(const char *when, int n, int fd) {
	unsigned long bits[WIDE / 64] = {0};
	fd_set *set = (fd_set *)bits;
	struct timeval none = {0, 0};
	bits[fd / 64] |= 1ul << fd % 64;
	errno = 0;
	int r = select(n, set, NULL, NULL, &none);
	printf("%s: %d of %d: %d, errno %d, bit %d\n", when, fd, n, r, errno, (int)(bits[fd / 64] >> fd % 64 & 1));
	fflush(stdout);
}

static void ask_all(const char *when) {
	ask(when, 1024, 60);
	ask(when, 1024, 100);
	ask(when, 1024, 201);
	ask(when, 1024, 701);
	ask(when, WIDE, 100);
	ask(when, WIDE, 3000);
}

/* Natively only as much is read of the sets as the table is large. */
static void at_the_end_of_memory(void) {
	size_t page = 4096;
	char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(two + page, page, PROT_NONE);
	struct timeval none = {0, 0};
	fd_set *set = (fd_set *)(two + page - 32); /* 256 bits */
	EQ(select(256, set, NULL, NULL, &none), 0);
	EQ(select(100000, set, NULL, NULL, &none), 0);
	EQ(select(2000000000, NULL, set, NULL, &none), 0);
	munmap(two, 2 * page);
}

static void in_child(const char *when) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		ask_all(when);
		dup2(1, 201);
		close(201);
		ask_all(when);
		fflush(stdout);
		_exit(0);
	}
	EQ(reap(pid), 0);
}

static void *body(void *arg) {
	FILE *files[FILES];
	ask_all("at first");
	in_child("in a child");
	EQ(dup2(1, 200), 200);
	at_the_end_of_memory();
	close(200);
	ask_all("after 200");
	in_child("in a child after 200");
	EQ(dup2(1, 700), 700);
	ask_all("with 700");
	in_child("in a child with 700");
	close(700);
	ask_all("after 700");
	for (int i = 0; i < FILES; i++) /* opened inside libc */
		CHECK((files[i] = fopen("/dev/null", "r")) != NULL);
	in_child("in a child with many streams");
	for (int i = 0; i < FILES; i++)
		fclose(files[i]);
	in_child("in a child without");
	return arg;
}

int main(void) {
	test_begin();
	/* nobody may know what was inherited */
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) { /* a table of its own */
		join(start(body, NULL));
		return test_end();
	}
	return reap(pid);
}
