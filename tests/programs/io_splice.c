/* sendfile, splice, tee, vmsplice, copy_file_range: to slow readers, from slow writers, between files. */
#include <sys/sendfile.h>

#include "io_test.h"

enum { SIZE = 3 << 20 };

static unsigned char pattern(size_t i) {
	return (unsigned char)(i * 7 + (i >> 12));
}

static void *slow_reader(void *arg) {
	static unsigned char buf[50000];
	size_t got = 0;
	bool same = true;
	ssize_t n;
	settle();
	while ((n = read(*(int *)arg, buf, sizeof buf)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			same = same && buf[i] == pattern(got + (size_t)i);
		got += (size_t)n;
		if (got % 7 == 0)
			usleep(500);
	}
	CHECK(same);
	return (void *)(intptr_t)got;
}

static void send_to(int out, int in, int file, bool is_socket) {
	pthread_t t = start(slow_reader, &in);
	off_t at = 0;
	ssize_t n = 1;
	int calls = 0;
	while (at < SIZE && n > 0) {
		n = sendfile(out, file, &at, (size_t)(SIZE - at));
		calls++;
	}
	EQ(calls == 1, is_socket); /* a pipe takes what fits */
	EQ(at, SIZE);
	EQ(sendfile(out, file, &at, 100), 0);
	close(out);
	EQ((intptr_t)join(t), SIZE);
	close(in);
}

static void *late_writer(void *arg) {
	settle();
	write_all(*(int *)arg, "splice me", 9);
	return NULL;
}

static void *drain(void *arg) {
	static char buf[1 << 16];
	settle();
	for (size_t got = 0; got < 65536;) {
		ssize_t n = read(*(int *)arg, buf, sizeof buf);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return NULL;
}

static void splices(void) {
	int a[2], b[2], tcp[2];
	char buf[100];
	EQ(pipe(a), 0);
	EQ(pipe(b), 0);
	tcp_pair(tcp);
	/* nothing there yet: from a pipe, from a socket */
	pthread_t t = start(late_writer, &a[1]);
	EQ(splice(a[0], NULL, tcp[0], NULL, 100, 0), 9);
	join(t);
	EQ(read_full(tcp[1], buf, 9), 9);
	t = start(late_writer, &tcp[1]);
	EQ(splice(tcp[0], NULL, a[1], NULL, 100, 0), 9);
	join(t);
	EQ(tee(a[0], b[1], 100, 0), 9);
	EQ(read(a[0], buf, 100), 9);
	EQ(splice(b[0], NULL, a[1], NULL, 4, 0), 4);
	EQ(read(a[0], buf, 100), 4);
	EQ(read(b[0], buf, 100), 5);
	FAILS(splice(a[0], NULL, tcp[0], NULL, 100, SPLICE_F_NONBLOCK), EAGAIN);
	FAILS(tee(a[0], b[1], 100, SPLICE_F_NONBLOCK), EAGAIN);
	t = start(late_writer, &a[1]);
	EQ(tee(a[0], b[1], 100, 0), 9);
	join(t);
	EQ(read(a[0], buf, 100), 9);
	EQ(read(b[0], buf, 100), 9);
	/* no room: waits for the reader */
	static char full[65536];
	write_all(b[1], full, sizeof full);
	write_all(a[1], "more", 4);
	t = start(drain, &b[0]);
	EQ(splice(a[0], NULL, b[1], NULL, 100, 0), 4);
	join(t);
	EQ(read(b[0], buf, 100), 4);
	struct iovec iov[2] = {{"vm", 2}, {"splice", 6}};
	EQ(vmsplice(a[1], iov, 2, 0), 8);
	EQ(read(a[0], buf, 100), 8);
	CHECK(memcmp(buf, "vmsplice", 8) == 0);
	FAILS(splice(tcp[0], NULL, tcp[1], NULL, 10, 0), EINVAL);
	FAILS(splice(9999, NULL, tcp[1], NULL, 10, 0), EBADF);
	FAILS(tee(a[0], tcp[0], 10, 0), EINVAL);
	EQ(splice(a[0], NULL, tcp[0], NULL, 0, 0), 0);
	close(a[1]);
	EQ(splice(a[0], NULL, tcp[0], NULL, 10, 0), 0);
	close(a[0]);
	close(b[0]);
	close(b[1]);
	close(tcp[0]);
	close(tcp[1]);
}

int main(void) {
	char name[] = "/tmp/io_splice.XXXXXX", copy[] = "/tmp/io_splice.XXXXXX";
	int file = mkstemp(name), other = mkstemp(copy), fds[2];
	unsigned char *mem = malloc(SIZE);
	unlink(name);
	unlink(copy);
	signal(SIGPIPE, SIG_IGN);
	become_threaded();
	for (size_t i = 0; i < SIZE; i++)
		mem[i] = pattern(i);
	EQ(pwrite(file, mem, SIZE, 0), SIZE);
	EQ(fsync(file), 0);
	EQ(fdatasync(file), 0);
	tcp_pair(fds);
	send_to(fds[0], fds[1], file, true);
	done("sendfile to tcp");
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	send_to(fds[0], fds[1], file, true);
	done("sendfile to unix");
	EQ(pipe(fds), 0);
	send_to(fds[1], fds[0], file, false);
	done("sendfile to a pipe");
	EQ(sendfile(other, file, &(off_t){0}, 1000), 1000);
	FAILS(sendfile(other, 9999, NULL, 10), EBADF);
	FAILS(sendfile(9999, file, NULL, 10), EBADF);
	tcp_pair(fds);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	off_t at = 0;
	ssize_t n;
	while ((n = sendfile(fds[0], file, &at, SIZE)) > 0 && at < SIZE)
		continue;
	CHECK(n > 0 || errno == EAGAIN);
	close(fds[1]);
	close(fds[0]);
	done("sendfile to others");
	splices();
	done("splice");
	loff_t from = 0, to = 0;
	EQ(copy_file_range(file, &from, other, &to, 5000, 0) > 0, 1);
	EQ(from, to);
	EQ(ftruncate(other, 100), 0);
	EQ(lseek(other, 0, SEEK_END), 100);
	EQ(posix_fallocate(other, 0, 8192), 0);
	EQ(lseek(other, 0, SEEK_END), 8192);
	struct iovec iov[2] = {{mem, 10}, {mem + 10, 10}};
	EQ(preadv(file, iov, 2, 5), 20);
	EQ(mem[0], pattern(5));
	EQ(pwritev(other, iov, 2, 0), 20);
	EQ(preadv2(other, iov, 2, -1, 0), 0);
	EQ(pread(other, mem, 4, 1), 4);
	FAILS(pread(other, mem, 4, -1), EINVAL);
	EQ(pipe(fds), 0);
	FAILS(pread(fds[0], mem, 1, 0), ESPIPE);
	EQ(syncfs(other), 0);
	done("files");
	free(mem);
	return failures != 0;
}
