/* The calls as programs built with -D_FORTIFY_SOURCE make them (CAN-9): they park and return as the plain ones; a buffer that is too small
 * for the count ends the program. */
#include "io_test.h"

static int fds[2];

static void *late(void *arg) {
	settle();
	write_all(*(int *)arg, "fortify", 7);
	return NULL;
}

/* A count that the compiler does not know, a buffer that it does: the checked twin is called. */
static size_t unknown(size_t n) {
	__asm__ volatile("" : "+r"(n));
	return n;
}

static int dies(int which) {
	pid_t child = fork();
	if (child == 0) {
		char small[8];
		struct pollfd p[1] = {{.fd = fds[0], .events = POLLIN}};
		close(2); /* libc's last words */
		switch (which) {
		case 0: return (int)read(fds[0], small, unknown(100));
		case 1: return (int)recv(fds[0], small, unknown(100), 0);
		case 2: return poll(p, unknown(5), 0);
		default: return (int)pread(fds[0], small, unknown(100), 0);
		}
	}
	int status = 0;
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int main(void) {
	char buf[64];
	become_threaded();
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	pthread_t t = start(late, &fds[1]);
	EQ(read(fds[0], buf, unknown(64)), 7);
	join(t);
	t = start(late, &fds[1]);
	EQ(recv(fds[0], buf, unknown(64), 0), 7);
	join(t);
	t = start(late, &fds[1]);
	EQ(recvfrom(fds[0], buf, unknown(64), 0, NULL, NULL), 7);
	join(t);
	struct pollfd p[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = -1}};
	EQ(poll(p, unknown(2), 10), 0);
	struct timespec ts = {0, 10000000};
	EQ(ppoll(p, unknown(2), &ts, NULL), 0);
	t = start(late, &fds[1]);
	EQ(poll(p, unknown(2), -1), 1);
	join(t);
	EQ(read(fds[0], buf, unknown(64)), 7);
	int file = open("/proc/self/exe", O_RDONLY);
	EQ(pread(file, buf, unknown(4), 0), 4);
	EQ(memcmp(buf, "\177ELF", 4), 0);
	FAILS(read(9999, buf, unknown(4)), EBADF);
	done("checked calls");
	for (int i = 0; i < 4; i++)
		EQ(dies(i), SIGABRT);
	done("overflow");
	return failures != 0;
}
