/* A number that is replaced under a call which is in the middle of its work (FD-3): what the call began on one description it ends there, and
 * nobody else's description sees a byte of it. And a handler that jumps out of such a call leaves nothing of it behind: the other end of the
 * socket sees its end when the number is closed. */
#include <setjmp.h>

#include "io_test.h"

enum { ROUNDS = 300, BYTES = 2 << 20, JUMPS = 400, JUMP_SOCKETS = 20, NOISE = 8, CLOSES = 5000 };

static char *payload;

struct call {
	int fd;
	bool vector;
	long moved;
};

static void *writer(void *arg) {
	struct call *w = arg;
	struct iovec iov[2] = {{payload, BYTES / 2}, {payload + BYTES / 2, BYTES / 2}};
	w->moved = w->vector ? writev(w->fd, iov, 2) : write(w->fd, payload, BYTES);
	return NULL;
}

static void *drain(void *arg) {
	char sink[16384];
	size_t sum = 0;
	for (ssize_t r; (r = read(*(int *)arg, sink, sizeof sink)) > 0;)
		sum += (size_t)r;
	return (void *)sum;
}

static void writes_stay_together(void) {
	long strayed = 0, missing = 0, wrong = 0;
	for (int i = 0; i < ROUNDS; i++) {
		int old[2], other[2];
		char first;
		if (i % 3 == 0)
			EQ(pipe(old), 0);
		else
			EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, old), 0);
		if (i % 3 != 0) { /* alike: [1] is written to */
			int swap = old[0];
			old[0] = old[1];
			old[1] = swap;
		}
		EQ(pipe(other), 0);
		struct call w = {.fd = old[1], .vector = i & 1};
		pthread_t t = start(writer, &w);
		EQ(read(old[0], &first, 1), 1); /* so the call has begun; it cannot have ended: no buffer is that large */
		pthread_t reader = start(drain, &old[0]);
		for (volatile int spin = (i * 7919) % 200000; spin > 0; spin--)
			continue;
		EQ(dup2(other[1], old[1]), old[1]);
		close(other[1]);
		missing += (size_t)join(reader) != BYTES - 1;
		join(t);
		wrong += w.moved != BYTES;
		close(old[1]);
		strayed += (long)drain(&other[0]);
		close(old[0]);
		close(other[0]);
	}
	EQ(strayed, 0);
	EQ(missing, 0);
	EQ(wrong, 0);
	done("writes");
}

static sigjmp_buf out;
static volatile sig_atomic_t may_jump;

static void jump(int sig) {
	(void)sig;
	if (may_jump) {
		may_jump = 0;
		siglongjmp(out, 1);
	}
}

struct jumper {
	int fd;
	_Atomic bool stop;
};

static void *jumping(void *arg) {
	struct jumper *j = arg;
	char buf[256];
	struct pollfd p = {.fd = j->fd, .events = POLLIN};
	for (volatile int i = 0; !j->stop; i++) {
		if (sigsetjmp(out, 1) == 0) {
			may_jump = 1;
			if (i % 3 == 2)
				poll(&p, 1, 1);
			else
				recv(j->fd, buf, sizeof buf, 0);
			may_jump = 0;
		}
	}
	return NULL;
}

static void jumps_leave_nothing(void) {
	struct sigaction act = {.sa_handler = jump};
	sigaction(SIGUSR1, &act, NULL);
	int lost = 0;
	for (int i = 0; i < JUMP_SOCKETS; i++) {
		int fds[2];
		char c = 'x';
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		struct jumper j = {.fd = fds[0]};
		pthread_t t = start(jumping, &j);
		for (int n = 0; n < JUMPS; n++) {
			for (volatile int spin = n * 37 % 3000; spin > 0; spin--)
				continue;
			pthread_kill(t, SIGUSR1);
			write_all(fds[1], &c, 1);
		}
		j.stop = true;
		do {
			send(fds[1], &c, 1, MSG_DONTWAIT); /* what it waits for, if it does */
			sched_yield();
		} while (pthread_tryjoin_np(t, NULL) == EBUSY);
		close(fds[0]);
		/* POLLHUP, whatever is unread: there is nobody at the other end any more. */
		struct pollfd p = {.fd = fds[1], .events = POLLIN};
		lost += poll(&p, 1, 0) != 1 || !(p.revents & POLLHUP);
		close(fds[1]);
	}
	EQ(lost, 0);
	done("jumps");
}

struct noise {
	int in, out;
};

static void *ping(void *arg) {
	struct noise *n = arg;
	char c;
	while (read(n->in, &c, 1) == 1 && write(n->out, &c, 1) == 1)
		continue;
	close(n->out);
	return NULL;
}

static void *read_one(void *arg) {
	char c;
	EQ(read(*(int *)arg, &c, 1), 1);
	return NULL;
}

/* Once close() has returned the other end knows, also when somebody else is looking at what the descriptor has to say at that moment. */
static void close_is_seen_at_once(void) {
	struct noise n[NOISE];
	pthread_t pinger[NOISE];
	int late = 0, there[2], back[2];
	for (int i = 0; i < NOISE; i += 2) {
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, there), 0);
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, back), 0);
		n[i] = (struct noise){there[0], back[1]};
		n[i + 1] = (struct noise){back[0], there[1]};
		write_all(there[1], "x", 1);
		pinger[i] = start(ping, &n[i]);
		pinger[i + 1] = start(ping, &n[i + 1]);
	}
	for (int i = 0; i < CLOSES; i++) {
		int fds[2];
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		pthread_t t = start(read_one, &fds[0]);
		if (i & 1)
			sched_yield();
		write_all(fds[1], "xy", 2);
		join(t);
		close(fds[0]);
		struct pollfd p = {.fd = fds[1], .events = POLLIN};
		late += poll(&p, 1, 0) != 1 || !(p.revents & POLLHUP);
		close(fds[1]);
	}
	EQ(late, 0);
	for (int i = 0; i < NOISE; i++)
		shutdown(n[i].in, SHUT_RDWR);
	for (int i = 0; i < NOISE; i++)
		join(pinger[i]);
	done("close");
}

static pthread_t hit_by_pipe;
static volatile sig_atomic_t pipes;

static void broken(int sig) {
	(void)sig;
	hit_by_pipe = pthread_self();
	pipes++;
}

static void *write_broken(void *arg) {
	int fds[2], own = 0;
	(void)arg;
	for (int i = 0; i < 100; i++) {
		if (i & 1)
			EQ(pipe(fds), 0);
		else
			EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		close(fds[0]);
		int before = pipes;
		FAILS(write(fds[1], "x", 1), EPIPE);
		own += pipes == before + 1 && pthread_equal(hit_by_pipe, pthread_self());
		close(fds[1]);
	}
	EQ(own, 100);
	return NULL;
}

/* SIGPIPE is the writer's, and its handler has run when write() returns. */
static void pipe_signal_is_the_writers(void) {
	struct sigaction act = {.sa_handler = broken};
	sigaction(SIGPIPE, &act, NULL);
	join(start(write_broken, NULL));
	signal(SIGPIPE, SIG_IGN);
	done("SIGPIPE");
}

int main(void) {
	payload = calloc(1, BYTES);
	signal(SIGPIPE, SIG_IGN);
	become_threaded();
	writes_stay_together();
	jumps_leave_nothing();
	close_is_seen_at_once();
	pipe_signal_is_the_writers();
	return failures != 0;
}
