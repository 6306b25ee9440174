/* The peer sees a close at once, although the runtime's sleeping poller may be looking at the descriptor in that moment. A terminal makes that
 * likely: its reader waits in the kernel, so that the poller sleeps, and what it reads is an event of which nothing is left. Other processes
 * keep the CPUs busy: the poller must lose its CPU in the middle of its look. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <termios.h>

#include "io_test.h"

#define HOGS   4
#define ROUNDS 150

static void *late_line(void *arg) {
	usleep(1000);
	write_all(*(int *)arg, "line\n", 5);
	return NULL;
}

static void one_round(void) {
	char buf[100];
	struct termios t;
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	EQ(grantpt(master), 0);
	EQ(unlockpt(master), 0);
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	EQ(tcgetattr(slave, &t), 0);
	t.c_lflag &= ~(tcflag_t)ECHO;
	EQ(tcsetattr(slave, TCSANOW, &t), 0);
	pthread_t w = start(late_line, &master);
	EQ(read(slave, buf, sizeof buf), 5);
	join(w);
	t.c_lflag &= ~(tcflag_t)ICANON;
	t.c_cc[VMIN] = 5;
	t.c_cc[VTIME] = 0;
	EQ(tcsetattr(slave, TCSANOW, &t), 0);
	write_all(master, "12", 2);
	w = start(late_line, &master);
	EQ(read(slave, buf, sizeof buf) >= 5, 1);
	close(slave);
	FAILS(read(master, buf, 1), EIO);
	join(w);
	close(master);
}

int main(void) {
	pid_t hogs[HOGS];
	for (int i = 0; i < HOGS; i++) {
		hogs[i] = fork();
		if (hogs[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				;
		}
	}
	become_threaded();
	for (int i = 0; i < ROUNDS && !failures; i++)
		one_round();
	for (int i = 0; i < HOGS; i++) {
		kill(hogs[i], SIGKILL);
		waitpid(hogs[i], NULL, 0);
	}
	done("close");
	return failures != 0;
}
