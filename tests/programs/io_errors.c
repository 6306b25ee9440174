/* Wrong descriptors, wrong kinds of descriptors, wrong pointers: the kernel's errors. errno stays as it was on success. */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "io_test.h"

#define KEEPS_ERRNO(expr) \
	do { \
		errno = 4242; \
		long long r_ = (long long)(expr); \
		if (r_ < 0 || errno != 4242) { \
			printf("FAIL %s:%d: %s is %lld, errno %d\n", __FILE__, __LINE__, #expr, r_, errno); \
			failures++; \
		} \
	} while (0)

/* What a program may try on any number at all, to find out what is open. */
static void probe(int fd) {
	char c = 0;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct sockaddr_in at = {.sin_family = AF_INET};
	FAILS(read(fd, &c, 1), EBADF);
	FAILS(write(fd, &c, 1), EBADF);
	FAILS(readv(fd, &iov, 1), EBADF);
	FAILS(writev(fd, &iov, 1), EBADF);
	FAILS(recv(fd, &c, 1, 0), EBADF);
	FAILS(send(fd, &c, 1, 0), EBADF);
	FAILS(recvmsg(fd, &m, 0), EBADF);
	FAILS(sendmsg(fd, &m, 0), EBADF);
	FAILS(accept(fd, NULL, NULL), EBADF);
	FAILS(connect(fd, (struct sockaddr *)&at, sizeof at), EBADF);
	FAILS(close(fd), EBADF);
	FAILS(dup(fd), EBADF);
	FAILS(fcntl(fd, F_GETFD), EBADF);
	FAILS(fcntl(fd, F_SETFL, 0), EBADF);
}

static void on_every_bad_number(int fd) {
	char c = 0;
	probe(fd);
	FAILS(read(fd, &c, 0), EBADF);
	FAILS(pread(fd, &c, 1, 0), EBADF);
	FAILS(pwrite(fd, &c, 1, 0), EBADF);
	FAILS(ioctl(fd, FIONREAD, &c), EBADF);
	FAILS(fsync(fd), EBADF);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &c, 4), EBADF);
	FAILS(lockf(fd, F_LOCK, 0), EBADF);
}

static void wrong_kinds(void) {
	int p[2];
	char c = 0;
	EQ(pipe(p), 0);
	FAILS(read(p[1], &c, 1), EBADF);
	FAILS(write(p[0], &c, 1), EBADF);
	FAILS(recv(p[0], &c, 1, 0), ENOTSOCK);
	FAILS(send(p[1], &c, 1, 0), ENOTSOCK);
	FAILS(lseek(p[0], 0, SEEK_SET), ESPIPE);
	FAILS(fsync(p[0]), EINVAL);
	close(p[1]);
	EQ(read(p[0], &c, 1), 0);
	EQ(read(p[0], &c, 1), 0);
	close(p[0]);
	int file = open("/proc/self/exe", O_RDONLY);
	FAILS(write(file, &c, 1), EBADF);
	FAILS(recv(file, &c, 1, 0), ENOTSOCK);
	EQ(read(file, &c, 1), 1);
	EQ(c, 0x7f);
	close(file);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	FAILS(send(s, &c, 1, MSG_NOSIGNAL), EPIPE);
	FAILS(recv(s, &c, 1, 0), ENOTCONN);
	FAILS(recv(s, &c, 1, 0), ENOTCONN);
	close(s);
	s = socket(AF_INET, SOCK_DGRAM, 0);
	FAILS(send(s, &c, 1, 0), EDESTADDRREQ);
	close(s);
}

static void wrong_pointers(void) {
	int p[2];
	char c = 0;
	void *bad = (void *)8;
	struct iovec iov = {bad, 10};
	EQ(pipe(p), 0);
	FAILS(write(p[1], bad, 10), EFAULT);
	FAILS(writev(p[1], &iov, 1), EFAULT);
	FAILS(writev(p[1], bad, 1), EFAULT);
	write_all(p[1], "abc", 3);
	FAILS(read(p[0], bad, 10), EFAULT);
	FAILS(readv(p[0], &iov, 1), EFAULT);
	FAILS(readv(p[0], bad, 1), EFAULT);
	EQ(read(p[0], &c, 1), 1);
	EQ(c, 'a');
	close(p[0]);
	close(p[1]);
	int t[2];
	tcp_pair(t);
	FAILS(send(t[0], bad, 10, 0), EFAULT);
	FAILS(sendmsg(t[0], NULL, 0), EFAULT);
	FAILS(recvmsg(t[0], NULL, 0), EFAULT);
	write_all(t[1], "abc", 3);
	FAILS(recv(t[0], bad, 10, 0), EFAULT);
	EQ(recv(t[0], &c, 1, 0), 1);
	close(t[0]);
	close(t[1]);
	FAILS(pipe((int *)bad), EFAULT);
	FAILS(open(bad, O_RDONLY), EFAULT);
	FAILS(open("/no/such/file", O_RDONLY), ENOENT);
}

static void keeps_errno(void) {
	int p[2], t[2];
	char c;
	struct pollfd f;
	KEEPS_ERRNO(pipe(p));
	struct reader r = {.fd = p[0]};
	pthread_t other = start(read_once, &r);
	settle();
	KEEPS_ERRNO(write(p[1], "x", 1));
	join(other);
	KEEPS_ERRNO(write(p[1], "x", 1));
	KEEPS_ERRNO(read(p[0], &c, 1));
	f = (struct pollfd){.fd = p[0], .events = POLLIN};
	KEEPS_ERRNO(poll(&f, 1, 5));
	KEEPS_ERRNO(usleep(100));
	KEEPS_ERRNO(dup2(p[0], p[0]));
	KEEPS_ERRNO(fcntl(p[0], F_GETFL));
	KEEPS_ERRNO(close(p[0]));
	KEEPS_ERRNO(close(p[1]));
	tcp_pair(t);
	KEEPS_ERRNO(send(t[1], "abc", 3, 0));
	KEEPS_ERRNO(recv(t[0], &c, 1, 0));
	KEEPS_ERRNO(write(t[1], "abc", 3));
	KEEPS_ERRNO(read(t[0], &c, 1));
	int e = eventfd(1, 0);
	uint64_t v;
	KEEPS_ERRNO(read(e, &v, 8));
	close(e);
	close(t[0]);
	close(t[1]);
}

int main(void) {
	signal(SIGPIPE, SIG_IGN);
	become_threaded();
	on_every_bad_number(-1);
	on_every_bad_number(999);
	for (int fd = 900; fd < 1100; fd++)
		probe(fd);
	on_every_bad_number(1 << 30);
	int closed = dup(0);
	close(closed);
	on_every_bad_number(closed);
	done("bad numbers");
	wrong_kinds();
	done("wrong kinds");
	wrong_pointers();
	done("wrong pointers");
	keeps_errno();
	done("errno");
	return failures != 0;
}
