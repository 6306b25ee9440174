/* A device whose poll() tells of reading alone: a write is not for poll() to delay, the kernel passes it to the driver, which answers at once. Here /dev/vga_arbiter, with a text that is
 * none of its commands; where there is none, or one may not open it, there is nothing to see. */
#include "io_test.h"

static void *writes(void *arg) {
	static char text[] = "nonsense";
	int fd = *(int *)arg;
	struct iovec v[2] = {{text, 3}, {text + 3, 5}};
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
	EQ(poll(&p, 1, -1), 1);
	EQ(p.revents, POLLIN);
	FAILS(write(fd, text, 8), EPROTO);
	FAILS(writev(fd, v, 2), EPROTO);
	return arg;
}

int main(void) {
	alarm(20);
	become_threaded();
	int fd = open("/dev/vga_arbiter", O_RDWR);
	if (fd < 0) {
		printf("no such device\n");
		return 0;
	}
	join(start(writes, &fd));
	done("a device that is never ready to be written");
	return failures != 0;
}
