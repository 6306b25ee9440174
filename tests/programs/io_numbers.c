/* The way to find out what is open is to ask about all numbers: what the program did not open is closed, to each call that can tell. */
#include <sys/epoll.h>
#include <sys/select.h>

#include "io_test.h"

enum { NUMBERS = 4096, AT_ONCE = 512 };

static void ask(void) {
	struct pollfd p[AT_ONCE];
	struct epoll_event e;
	char c;
	int unlike = 0, open = 0;
	for (int first = 0; first < NUMBERS; first += AT_ONCE) {
		for (int how = 0; how < 3; how++) {
			int expected = 0;
			for (int i = 0; i < AT_ONCE; i++)
				p[i] = (struct pollfd){.fd = first + i, .events = how ? POLLIN : 0};
			int r = poll(p, AT_ONCE, how == 2 ? 1 : 0);
			for (int i = 0; i < AT_ONCE; i++) {
				bool closed = fcntl(first + i, F_GETFD) < 0;
				unlike += closed != (p[i].revents == POLLNVAL);
				expected += p[i].revents != 0;
				open += !closed;
			}
			EQ(r, expected);
		}
		for (int fd = first; fd < first + AT_ONCE; fd++) {
			struct timeval none = {0, 0};
			fd_set set;
			if (fcntl(fd, F_GETFD) >= 0)
				continue;
			FAILS(epoll_wait(fd, &e, 1, 0), EBADF);
			FAILS(read(fd, &c, 1), EBADF);
			FAILS(write(fd, &c, 1), EBADF);
			if (fd < 256) {
				FD_ZERO(&set);
				FD_SET(fd, &set);
				FAILS(select(fd + 1, &set, NULL, NULL, &none), EBADF);
			}
		}
	}
	EQ(unlike, 0);
	printf("%d are open\n", open / 3);
	struct pollfd far = {.fd = 1000, .events = POLLIN};
	EQ(poll(&far, 1, -1), 1);
	EQ(far.revents, POLLNVAL);
}

static void *body(void *arg) {
	for (int fd = 3; fd < NUMBERS; fd++)
		close(fd);
	dup2(1, 255); /* a table of 256 places at least */
	close(255);
	ask();
	done("numbers");
	return arg;
}

int main(void) {
	alarm(60);
	join(start(body, NULL));
	body(NULL);
	return failures != 0;
}
