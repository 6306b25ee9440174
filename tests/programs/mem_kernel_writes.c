/* The kernel writes into stack pages nobody has touched yet: read, recv, getdents, pipes with vectors, stat, from 64 KiB to 4 MiB below
 * the last used page (MEM-1), through libc's functions, through syscall(), and from inside libc. */
#include "sync_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>

/* A buffer of n bytes on the stack whose far end nobody touched; the callee fills it. */
typedef long fills(char *buffer, size_t n, int zero, int null);

__attribute__((noinline)) static long with_buffer(size_t n, fills *f, int zero) {
	char buffer[n];
	__asm__ volatile("" ::"r"(buffer) : "memory");
	return f(buffer, n, zero, 0);
}

static long by_read(char *b, size_t n, int zero, int null) {
	(void)null;
	memset(b + n - 1, 1, 1);
	return read(zero, b, n) != (ssize_t)n || b[n - 1] != 0 || b[0] != 0;
}

static long by_syscall(char *b, size_t n, int zero, int null) {
	(void)null;
	return syscall(SYS_read, zero, b, n) != (long)n;
}

static long by_pread_head(char *b, size_t n, int zero, int null) {
	(void)n, (void)null;
	return pread(zero, b, 10, 0) != 10;
}

static long by_pipe(char *b, size_t n, int zero, int null) {
	int fds[2];
	(void)zero, (void)null;
	struct iovec v[2] = {{b, 3}, {b + n / 2, 3}};
	if (pipe(fds) != 0 || write(fds[1], "abcdef", 6) != 6)
		return 1;
	long wrong = readv(fds[0], v, 2) != 6 || memcmp(b, "abc", 3) != 0 || memcmp(b + n / 2, "def", 3) != 0;
	close(fds[0]);
	close(fds[1]);
	return wrong;
}

static long by_socket(char *b, size_t n, int zero, int null) {
	int fds[2];
	(void)zero, (void)null;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0 || write(fds[1], "abcdef", 6) != 6)
		return 1;
	struct iovec v = {b, 3};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	long wrong = recvmsg(fds[0], &m, 0) != 3 || recv(fds[0], b + n / 2, 3, 0) != 3;
	socklen_t size = sizeof(int);
	wrong += getsockopt(fds[0], SOL_SOCKET, SO_TYPE, b + n / 4 / 8 * 8, &size) != 0;
	close(fds[0]);
	close(fds[1]);
	return wrong;
}

static long by_many(char *b, size_t n, int zero, int null) {
	long wrong = 0;
	char *at = b + n / 3 / 64 * 64;
	(void)null;
	wrong += fstat(zero, (struct stat *)at) != 0;
	wrong += uname((struct utsname *)(at - 8192)) != 0;
	wrong += getrlimit(RLIMIT_NOFILE, (struct rlimit *)(at - 16384)) != 0;
	wrong += sysinfo((struct sysinfo *)(at - 24576)) != 0;
	wrong += getrandom(at - 32768, 100, 0) != 100;
	wrong += sigprocmask(SIG_BLOCK, NULL, (sigset_t *)(at - 36864)) != 0;
	wrong += getrusage(RUSAGE_SELF, (struct rusage *)(at - 40960)) != 0;
	wrong += clock_gettime(CLOCK_REALTIME, (struct timespec *)(at - 45056)) != 0;
	wrong += sigaction(SIGUSR2, NULL, (struct sigaction *)(at - 49152)) != 0;
	return wrong;
}

static long by_directory(char *b, size_t n, int zero, int null) {
	(void)zero, (void)null;
	int fd = open("/", O_RDONLY | O_DIRECTORY);
	long wrong = fd < 0 || syscall(SYS_getdents64, fd, b + n / 5 / 8 * 8, 2000) <= 0;
	close(fd);
	char *cwd = getcwd(b, 4096);
	return wrong + (cwd != b);
}

static fills *const list[] = {by_read, by_syscall, by_pread_head, by_pipe, by_socket, by_many, by_directory};
static int zero_fd;

static void *thread(void *arg) {
	size_t n = (size_t)arg;
	long wrong = 0;
	for (size_t i = 0; i < sizeof list / sizeof *list; i++)
		wrong += with_buffer(n, list[i], zero_fd);
	return (void *)wrong;
}

/* One call per fresh stack: nothing before it touched the pages. */
struct one {
	fills *f;
	size_t n;
};

static void *single(void *arg) {
	struct one *o = arg;
	return (void *)with_buffer(o->n, o->f, zero_fd);
}

/* libc's own large frames: getaddrinfo, printf of much, glob. */
static void *inside_libc(void *arg) {
	char text[100];
	(void)arg;
	FILE *file = fopen("/dev/null", "w");
	char buffer[65536];
	setvbuf(file, buffer, _IOFBF, sizeof buffer);
	long wrong = fprintf(file, "%5000d %.900f\n", 1, 1e300) < 5000;
	fclose(file);
	wrong += realpath("/usr/../usr/.", NULL) == NULL;
	wrong += snprintf(text, sizeof text, "%s", "x") != 1;
	return (void *)wrong;
}

int main(void) {
	static const size_t sizes[] = {64 << 10, 128 << 10, 512 << 10, 1 << 20, 4 << 20};
	pthread_attr_t attr;
	test_begin();
	zero_fd = open("/dev/zero", O_RDONLY);
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
			/* A size of its own each time: a stack that nobody has used. */
			pthread_t t;
			struct one o = {list[i], sizes[s]};
			pthread_attr_init(&attr);
			pthread_attr_setstacksize(&attr, (8 << 20) + 65536 * (s * 10 + i + 1));
			EQ(pthread_create(&t, &attr, single, &o), 0);
			EQ(join(t), 0);
			pthread_attr_destroy(&attr);
		}
		EQ(join(start(thread, (void *)sizes[s])), 0);
		pthread_t t[20];
		for (int i = 0; i < 20; i++)
			t[i] = start(thread, (void *)sizes[s]);
		for (int i = 0; i < 20; i++)
			EQ(join(t[i]), 0);
		printf("%zu KiB\n", sizes[s] >> 10);
	}
	EQ(join(start(inside_libc, NULL)), 0);
	step("inside libc");
	return test_end();
}
