/* A read brings less than it asks for, and there is more: a pipe of packets gives one at a time, though the reader's own flags say nothing of it; and a buffer that ends in memory that
 * cannot be written is filled as far as it goes. The next read has the rest, at once. */
#include "io_test.h"

#include <limits.h>
#include <semaphore.h>
#include <sys/mman.h>

static int ends[2];
static sem_t all_there;

static void *reads_packets(void *arg) {
	static char b[65536];
	for (int i = 0; i < 4; i++)
		printf("packet of %zd\n", read(ends[0], b, sizeof b));
	return arg;
}

static void *reads_into_a_wall(void *arg) {
	long page = sysconf(_SC_PAGESIZE);
	char *m = mmap(NULL, 3 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EQ(mprotect(m + page, (size_t)page, PROT_NONE), 0);
	printf("%zd\n", read(ends[0], m, (size_t)page));
	sem_wait(&all_there);
	printf("a page: %d\n", read(ends[0], m, 2 * (size_t)page) == page);
	printf("a part: %zd\n", read(ends[0], m + page - 100, 2 * (size_t)page));
	struct iovec iov[2] = {{m, 700}, {m + page, 1}};
	printf("by a vector: %zd\n", readv(ends[0], iov, 2));
	printf("the rest: %zd\n", read(ends[0], m, 1000));
	munmap(m, 3 * (size_t)page);
	return arg;
}

/* One byte for who waits already, and then so many, packets at once. */
static void fed(void *(*reads)(void *), bool packets, size_t n) {
	static char b[16384];
	EQ(pipe(ends), 0);
	pthread_t t = start(reads, NULL);
	usleep(50000);
	if (packets)
		EQ(fcntl(ends[1], F_SETFL, O_DIRECT), 0);
	EQ(write(ends[1], b, 1), 1);
	usleep(50000);
	/* More than PIPE_BUF might come in parts, and where they end decides how far a read into a wall gets. */
	for (size_t done = 0, part; done < n; done += part) {
		part = packets || n - done < PIPE_BUF ? n - done : PIPE_BUF;
		EQ(write(ends[1], b, part), (ssize_t)part);
	}
	sem_post(&all_there);
	join(t);
	close(ends[0]);
	close(ends[1]);
}

int main(void) {
	setvbuf(stdout, NULL, _IONBF, 0);
	alarm(20);
	fed(reads_into_a_wall, false, (size_t)sysconf(_SC_PAGESIZE) + 100 + 700 + 300);
	fed(reads_packets, true, 10000); /* last: where there have been some, no pipe is taken for an empty one */
	return 0;
}
