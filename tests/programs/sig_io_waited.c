/* O_ASYNC: SIGIO is sent for bytes that nobody waits for. While a thread waits in read() of a stream socket, none is. */
#include "io_test.h"

enum { ROUNDS = 20 };
static _Atomic int signals;

static void ready(int sig) {
	(void)sig;
	signals++;
}

/* Who is woken may be faster than the kernel that looks whether somebody waits: so not all. */
static void waited(int fds[2], bool by_ioctl) {
	int on = 1;
	EQ(fcntl(fds[0], F_SETOWN, getpid()), 0);
	EQ(by_ioctl ? ioctl(fds[0], FIOASYNC, &on) : fcntl(fds[0], F_SETFL, O_ASYNC), 0);
	signals = 0;
	for (int i = 0; i < ROUNDS; i++) {
		struct reader r = {.fd = fds[0], .n = 1};
		pthread_t t = start(read_once, &r);
		await_waiting(&r);
		write_all(fds[1], "x", 1);
		join(t);
		EQ(r.got, 1);
	}
	CHECK(signals < ROUNDS / 2);
	int before = signals;
	char c;
	write_all(fds[1], "x", 1);
	while (signals == before) /* it may go to another thread */
		usleep(1000);
	EQ(read(fds[0], &c, 1), 1);
	on = 0;
	EQ(by_ioctl ? ioctl(fds[0], FIOASYNC, &on) : fcntl(fds[0], F_SETFL, 0), 0);
	close(fds[0]);
	close(fds[1]);
}

int main(void) {
	struct sigaction a = {.sa_handler = ready, .sa_flags = SA_RESTART};
	EQ(sigaction(SIGIO, &a, NULL), 0);
	become_threaded();
	for (int by_ioctl = 0; by_ioctl < 2; by_ioctl++) {
		int fds[2];
		tcp_pair(fds);
		waited(fds, by_ioctl);
		done("tcp");
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		/* known as it is before */
		write_all(fds[1], "x", 1);
		char c;
		EQ(read(fds[0], &c, 1), 1);
		waited(fds, by_ioctl);
		done("unix");
	}
	return failures != 0;
}
