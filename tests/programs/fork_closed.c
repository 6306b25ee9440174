/* A descriptor is closed while a thread reads from it, and the process forks: the thread reads on, but the child has no part in what was
 * read from, so that the peer sees its end when the thread is done (FD-1). */
#include "io_test.h"

enum { ROUNDS = 3 };

int main(void) {
	become_threaded();
	for (int i = 0; i < ROUNDS; i++) {
		int fds[2], hold[2];
		char c;
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		EQ(pipe(hold), 0);
		struct reader r = {.fd = fds[0]};
		pthread_t t = start(read_once, &r);
		settle();
		settle();
		EQ(close(fds[0]), 0);
		pid_t child = fork();
		if (child == 0) { /* lives until the parent is done, and has nothing else open of it */
			close(hold[1]);
			close(fds[1]);
			_exit(read(hold[0], &c, 1) != 0);
		}
		close(hold[0]);
		write_all(fds[1], "late", 4);
		join(t);
		EQ(r.got, 4);
		struct pollfd p = {.fd = fds[1], .events = POLLIN};
		EQ(poll(&p, 1, 10000), 1);
		EQ(read(fds[1], &c, 1), 0);
		close(fds[1]);
		close(hold[1]);
		int status = -1;
		EQ(waitpid(child, &status, 0), child);
		EQ(status, 0);
	}
	done("close under a read, then fork");
	return failures != 0;
}
