/* MSG_WAITALL on a TCP connection whose sending side is shut down, as by a client that has sent its whole request (FD-10): what comes in one segment with the peer's end still belongs to the
 * call, be it all that it waits for or the last that there is. */
#include "waitall_test.h"

enum { ALL = 60, FIRST = 5 };

static void answered(void *(*call)(void *), size_t rest) {
	static const char answer[ALL];
	struct reader r = {.n = ALL};
	int p[2];
	tcp_pair(p);
	r.fd = p[1];
	EQ(shutdown(p[1], SHUT_WR), 0);
	EQ(read(p[0], r.buf, 1), 0);
	pthread_t t = start(call, &r);
	await_waiting(&r);
	EQ(send(p[0], answer, FIRST, 0), FIRST);
	await_taken(p[1], &r.tid);
	EQ(send(p[0], answer, rest, MSG_MORE), rest);
	close(p[0]);
	join(t);
	EQ(r.got, FIRST + rest);
	EQ(read(p[1], r.buf, 1), 0);
	close(p[1]);
}

static void both(size_t rest, const char *what) {
	answered(wait_all, rest);
	answered(wait_all_message, rest);
	done(what);
}

int main(void) {
	alarm(20);
	both(ALL - FIRST, "all, and the end");
	both(3, "a part, and the end");
	return failures != 0;
}
