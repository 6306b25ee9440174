/* Calls that the kernel refuses at once, where a right one would wait: on descriptors that are known to be drained, on full ones, between ends that are not
 * ready. Each returns its error and waits for nobody. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define TELL(call)                                                                             \
	do {                                                                                   \
		errno = 0;                                                                     \
		long result = (long)(call);                                                    \
		printf("%s: %ld %s\n", #call, result, result < 0 ? strerrorname_np(errno) : ""); \
	} while (0)

static char buf[5000];
static struct iovec one = {buf, 4}, *volatile nowhere = (struct iovec *)8;
static volatile int minus_one = -1;
static struct iovec negative = {buf, (size_t)-1};
static int empty[2], full[2], room[2], tcp[2], local[2], file;
static off_t at;

static void tcp_pair(int fd[2]) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0);
	bind(l, (struct sockaddr *)&a, size);
	getsockname(l, (struct sockaddr *)&a, &size);
	listen(l, 1);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	connect(fd[0], (struct sockaddr *)&a, size);
	fd[1] = accept(l, NULL, NULL);
	close(l);
}

static void fill(int fd) {
	fcntl(fd, F_SETFL, O_NONBLOCK);
	do { /* what TCP has taken is under way for a moment */
		while (write(fd, buf, sizeof buf) > 0)
			;
		usleep(2000);
	} while (write(fd, buf, 1) > 0);
	fcntl(fd, F_SETFL, 0);
}

static void reads(int fd) {
	for (int i = 0; i < 2; i++) { /* a short read says that nothing is left */
		TELL(read(fd, buf, 100));
		if (i == 0)
			write(fd == empty[0] ? empty[1] : fd == tcp[0] ? tcp[1] : local[1], "ab", 2);
	}
	TELL(read(fd, buf, 0));
	TELL(readv(fd, &one, 0));
	TELL(readv(fd, &one, minus_one));
	TELL(readv(fd, nowhere, 1));
	TELL(readv(fd, &negative, 1));
	TELL(preadv2(fd, &one, 1, -1, 1 << 20));
	TELL(pread(fd, buf, 1, 0));
	TELL(syscall(SYS_read, fd, buf, 0));
}

static void receives(int fd) {
	struct msghdr m = {.msg_iov = &one, .msg_iovlen = 1025};
	struct mmsghdr mm = {.msg_hdr = {.msg_iov = &negative, .msg_iovlen = 1}};
	struct timespec wrong = {0, -1};
	TELL(recvmsg(fd, &m, 0));
	m = (struct msghdr){.msg_iov = nowhere, .msg_iovlen = 1};
	TELL(recvmsg(fd, &m, 0));
	TELL(recvmsg(fd, (struct msghdr *)nowhere, 0));
	TELL(recvmmsg(fd, &mm, 1, 0, NULL));
	TELL(recvmmsg(fd, &mm, 1, 0, &wrong));
}

static void sends(int fd) {
	struct msghdr m = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = nowhere, .msg_controllen = 64};
	struct mmsghdr mm = {.msg_hdr = m};
	TELL(sendmsg(fd, &m, 0));
	TELL(sendmmsg(fd, &mm, 1, 0));
	TELL(sendmmsg(fd, (struct mmsghdr *)nowhere, 2, 0));
	TELL(sendmsg(fd, (struct msghdr *)nowhere, 0));
	m.msg_control = memset(buf, 0, 64);
	TELL(sendmsg(fd, &m, 0));
	TELL(writev(fd, &one, minus_one));
	TELL(writev(fd, nowhere, 1));
}

static void splices(void) {
	loff_t off = 0;
	TELL(splice(empty[0], NULL, empty[1], NULL, 1, 0));
	TELL(splice(full[0], NULL, full[1], NULL, 1, 0));
	TELL(splice(empty[0], NULL, empty[0], NULL, 1, 0));
	TELL(splice(empty[1], NULL, full[1], NULL, 1, 0));
	TELL(splice(file, NULL, empty[0], NULL, 1, 0));
	TELL(splice(empty[0], &off, full[1], NULL, 1, 0));
	TELL(splice(file, &off, full[1], &off, 1, 0));
	TELL(splice(tcp[0], &off, room[1], NULL, 1, 0));
	TELL(splice(tcp[0], NULL, empty[0], NULL, 1, 0));
	TELL(splice(empty[1], NULL, tcp[1], NULL, 1, 0));
	TELL(splice(empty[0], NULL, full[1], NULL, 1, 1 << 20));
	TELL(tee(empty[0], empty[1], 1, 0));
	TELL(tee(empty[1], full[1], 1, 0));
	TELL(tee(empty[0], tcp[0], 1, 0));
	TELL(vmsplice(full[1], &one, (size_t)-1, 0));
	TELL(vmsplice(full[1], nowhere, 1, 0));
	TELL(vmsplice(full[1], &one, 1, 1 << 20));
	TELL(vmsplice(empty[0], &one, (size_t)-1, 0));
}

static void sendfiles(void) {
	TELL(sendfile(full[0], file, NULL, 1));
	TELL(sendfile(full[1], -1, NULL, 1));
	TELL(sendfile(full[1], empty[1], NULL, 1));
	TELL(sendfile(full[1], empty[0], &at, 1));
	TELL(sendfile(tcp[1], empty[0], NULL, 1));
	TELL(sendfile(tcp[1], -1, NULL, 1));
	at = -5;
	TELL(sendfile(tcp[1], file, &at, 1));
}

static void accepts(void) {
	int l = socket(AF_INET, SOCK_STREAM, 0);
	listen(l, 1);
	TELL(accept4(l, NULL, NULL, 1 << 20));
	TELL(syscall(SYS_accept4, l, NULL, NULL, 1 << 20));
	close(l);
}

static void *body(void *arg) {
	pipe(empty);
	pipe(full);
	pipe(room);
	tcp_pair(tcp);
	socketpair(AF_UNIX, SOCK_STREAM, 0, local);
	file = open("/proc/self/exe", O_RDONLY);
	write(empty[1], "ab", 2);
	write(tcp[1], "ab", 2);
	write(local[1], "ab", 2);
	reads(empty[0]);
	reads(tcp[0]);
	reads(local[0]);
	TELL(recv(tcp[0], buf, 1, MSG_ERRQUEUE));
	receives(tcp[0]);
	receives(local[0]);
	fill(full[1]);
	fill(tcp[1]);
	fill(local[1]);
	sends(tcp[1]);
	sends(local[1]);
	splices();
	sendfiles();
	accepts();
	return arg;
}

int main(void) {
	pthread_t t;
	signal(SIGPIPE, SIG_IGN);
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	return 0;
}
