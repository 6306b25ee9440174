/* Pipes: a blocking write writes all of it; records of PIPE_BUF bytes or less are never split (FD-8); a ring of threads. */
#include <limits.h>

#include <sys/ioctl.h>

#include "io_test.h"

enum { WRITERS = 64, RECORDS = 50, RING = 200, LAPS = 20, BIG = 1 << 20 };

static int fds[2];

static void *record_writer(void *arg) {
	char record[PIPE_BUF];
	memset(record, (int)(uintptr_t)arg, sizeof record);
	for (int i = 0; i < RECORDS; i++)
		EQ(write(fds[1], record, sizeof record), PIPE_BUF);
	return NULL;
}

static void *vector_writer(void *arg) {
	char half[1000];
	struct iovec iov[4];
	memset(half, (int)(uintptr_t)arg, sizeof half);
	for (int i = 0; i < 4; i++)
		iov[i] = (struct iovec){half, i == 3 ? 96 + 1000 : 1000};
	iov[3].iov_len = 1000;
	for (int i = 0; i < RECORDS; i++)
		EQ(writev(fds[1], iov, 4), 4000);
	return NULL;
}

static void records(void *(*writer)(void *), size_t size) {
	pthread_t t[WRITERS];
	int seen[WRITERS] = {0};
	char record[PIPE_BUF];
	EQ(pipe(fds), 0);
	for (uintptr_t i = 0; i < WRITERS; i++)
		t[i] = start(writer, (void *)i);
	for (int i = 0; i < WRITERS * RECORDS; i++) {
		EQ(read_full(fds[0], record, size), (long long)size);
		for (size_t j = 1; j < size; j++) {
			if (record[j] != record[0]) {
				CHECK(!"record split");
				break;
			}
		}
		seen[(unsigned char)record[0]]++;
	}
	for (int i = 0; i < WRITERS; i++) {
		join(t[i]);
		EQ(seen[i], RECORDS);
	}
	close(fds[0]);
	close(fds[1]);
}

static void *big_writer(void *arg) {
	char *buf = malloc(BIG);
	for (int i = 0; i < BIG; i++)
		buf[i] = (char)(i * 7);
	EQ(write(fds[1], buf, BIG), BIG);
	struct iovec iov[40];
	for (int i = 0; i < 40; i++)
		iov[i] = (struct iovec){buf + i * 20000, 20000};
	EQ(writev(fds[1], iov, 40), 40 * 20000);
	free(buf);
	close(fds[1]);
	return arg;
}

static int ring[RING][2];

static void *ring_member(void *arg) {
	uintptr_t i = (uintptr_t)arg;
	for (int lap = 0; lap < LAPS; lap++) {
		int token;
		EQ(read(ring[i][0], &token, sizeof token), sizeof token);
		token++;
		write_all(ring[(i + 1) % RING][1], &token, sizeof token);
	}
	return NULL;
}

static void *blocked_writer(void *arg) {
	static char buf[300000];
	ssize_t n = write(fds[1], buf, sizeof buf);
	*(int *)arg = errno;
	return (void *)n;
}

int main(void) {
	signal(SIGPIPE, SIG_IGN);
	become_threaded();
	records(record_writer, PIPE_BUF);
	done("records of PIPE_BUF");
	records(vector_writer, 4000);
	done("vectors of 4000");

	EQ(pipe(fds), 0);
	pthread_t t = start(big_writer, NULL);
	char *buf = malloc(BIG);
	EQ(read_full(fds[0], buf, BIG), BIG);
	bool same = true;
	for (int i = 0; i < BIG; i++)
		same = same && buf[i] == (char)(i * 7);
	CHECK(same);
	EQ(read_full(fds[0], buf, 40 * 20000 + 1), 40 * 20000);
	for (int i = 0; i < 40 * 20000; i++)
		same = same && buf[i] == (char)(i * 7);
	CHECK(same);
	free(buf);
	join(t);
	close(fds[0]);
	done("a megabyte in one write");

	pthread_t members[RING];
	for (int i = 0; i < RING; i++)
		EQ(pipe(ring[i]), 0);
	for (uintptr_t i = 0; i < RING; i++)
		members[i] = start(ring_member, (void *)i);
	int token = 0;
	write_all(ring[0][1], &token, sizeof token);
	for (int i = 0; i < RING; i++)
		join(members[i]);
	EQ(read(ring[0][0], &token, sizeof token), sizeof token);
	EQ(token, RING * LAPS);
	done("ring");

	/* The reader goes away under a writer that has written a part: the count, then EPIPE. */
	int error = 0;
	EQ(pipe(fds), 0);
	t = start(blocked_writer, &error);
	char part[1000];
	EQ(read_full(fds[0], part, sizeof part), sizeof part);
	/* Until it is full, with fewer bytes than it has room for where they came in pieces: each begins a page. */
	struct pollfd room = {.fd = fds[1], .events = POLLOUT};
	int queued = 0;
	while (poll(&room, 1, 0) != 0)
		usleep(1000);
	settle();
	EQ(ioctl(fds[0], FIONREAD, &queued), 0);
	close(fds[0]);
	ssize_t wrote = (ssize_t)join(t);
	CHECK(queued > 30000 && wrote >= queued + (ssize_t)sizeof part && wrote < 300000);
	FAILS(write(fds[1], part, 1), EPIPE);
	close(fds[1]);
	done("reader goes away");

	/* Packet mode: a short read says nothing about the next packet. */
	EQ(pipe2(fds, O_DIRECT), 0);
	write_all(fds[1], "abc", 3);
	write_all(fds[1], "de", 2);
	EQ(read(fds[0], part, sizeof part), 3);
	EQ(read(fds[0], part, sizeof part), 2);
	struct reader r = {.fd = fds[0]};
	t = start(read_once, &r);
	settle();
	write_all(fds[1], "fghi", 4);
	join(t);
	EQ(r.got, 4);
	write_all(fds[1], "j", 1);
	write_all(fds[1], "k", 1);
	EQ(read(fds[0], part, sizeof part), 1);
	EQ(read(fds[0], part, sizeof part), 1);
	done("packets");
	return failures != 0;
}
