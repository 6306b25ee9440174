/* The peer sees a close at once, although the runtime's sleeping poller may be looking at the descriptor in that moment. A terminal makes that
 * likely: its reader waits in the kernel, so that the poller sleeps, and what it reads is an event of which nothing is left. Other processes
 * keep the CPUs busy: the poller must lose its CPU in the middle of its look. */
#include <signal.h>
#include <sys/prctl.h>

#include "terminal_test.h"

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
	int master, slave;
	terminal_open(&master, &slave, &t);
	pthread_t w = start(late_line, &master);
	EQ(read(slave, buf, sizeof buf), 5);
	join(w);
	terminal_raw(slave, &t, 5, 0);
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
