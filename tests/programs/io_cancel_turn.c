/* Of two who wait for a terminal's input the first is cancelled as it comes: the other one gets it. */
#include "terminal_test.h"

enum { ROUNDS = 500, SPINS = 200, SPIN = 100 };

int main(void) {
	int master, slave;
	struct termios t;
	alarm(60);
	terminal_open(&master, &slave, &t);
	terminal_raw(slave, &t, 1, 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct reader first = {.fd = slave}, second = {.fd = slave};
		pthread_t a = start(read_once, &first);
		while (!first.tid)
			usleep(50);
		usleep(200);
		pthread_t b = start(read_once, &second);
		while (!second.tid)
			usleep(50);
		usleep(200);
		write_all(master, "x", 1);
		for (volatile int spin = 0; spin < i % SPINS * SPIN; spin++)
			continue;
		pthread_cancel(a);
		int left = 0;
		bool cancelled = join(a) == PTHREAD_CANCELED;
		EQ(ioctl(slave, FIONREAD, &left), 0);
		if (!cancelled)
			pthread_cancel(b);
		else if (left == 0) /* gone with the first, or on its way */
			write_all(master, "y", 1);
		join(b); /* or waits for ever */
		tcflush(slave, TCIFLUSH);
	}
	close(slave);
	close(master);
	done("the turn is passed on");
	return failures != 0;
}
