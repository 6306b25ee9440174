/* What ends, and what does not end, the waits of several threads in accept() on a listener that another process has, too. One of them may wait in another way than
 * the others: each of them is put to the test. */
#include "io_test.h"

enum { WAITERS = 3, ROUNDS = 12 };

static int l;
static struct sockaddr_in at;

struct waiter {
	_Atomic pid_t tid;
	pthread_t thread;
	int fd, error;
};

static void close_it(void *arg) {
	struct waiter *w = arg;
	if (w->fd >= 0)
		close(w->fd);
}

static void *waits(void *arg) {
	struct waiter *w = arg;
	w->fd = -1;
	pthread_cleanup_push(close_it, w);
	w->tid = gettid();
	w->fd = accept(l, NULL, NULL);
	w->error = errno;
	pthread_cleanup_pop(0);
	return NULL;
}

static void wait_all(struct waiter *w) {
	for (int i = 0; i < WAITERS; i++) {
		w[i].tid = 0;
		w[i].thread = start(waits, &w[i]);
		await_sleeping(&w[i].tid);
	}
	settle();
}

/* One of them, but `not`, takes the connection that is made now. */
static void one_takes(struct waiter *w, int not) {
	int fd = dial(&at), taken = 0;
	char c = 'x', d = 0;
	write_all(fd, &c, 1);
	for (int tries = 0; !taken && tries < 20000; tries++, usleep(1000)) {
		for (int i = 0; i < WAITERS && !taken; i++) {
			if (i != not && __atomic_load_n(&w[i].fd, __ATOMIC_SEQ_CST) >= 0) {
				EQ(read(w[i].fd, &d, 1), 1);
				EQ(d, c);
				close(w[i].fd);
				w[i].fd = -1;
				taken = 1;
			}
		}
	}
	EQ(taken, 1);
	close(fd);
}

static void end_all(struct waiter *w, int not) {
	for (int i = 0; i < WAITERS; i++) {
		if (i == not)
			continue;
		pthread_cancel(w[i].thread);
		join(w[i].thread);
	}
}

static void handler(int sig) {
	(void)sig;
}

static void on_signal(int flags) {
	struct sigaction a = {.sa_handler = handler, .sa_flags = flags};
	sigaction(SIGUSR1, &a, NULL);
}

static void cancelled(void) {
	struct waiter w[WAITERS];
	for (int i = 0; i < ROUNDS; i++) {
		int victim = i % WAITERS;
		wait_all(w);
		pthread_cancel(w[victim].thread);
		CHECK(join(w[victim].thread) == PTHREAD_CANCELED);
		one_takes(w, victim);
		end_all(w, victim);
	}
	done("cancelled");
}

static void interrupted(void) {
	struct waiter w[WAITERS];
	on_signal(0);
	for (int i = 0; i < WAITERS; i++) {
		wait_all(w);
		pthread_kill(w[i].thread, SIGUSR1);
		join(w[i].thread);
		EQ(w[i].fd, -1);
		EQ(w[i].error, EINTR);
		one_takes(w, i);
		end_all(w, i);
	}
	on_signal(SA_RESTART);
	wait_all(w);
	for (int i = 0; i < 10 * WAITERS; i++)
		pthread_kill(w[i % WAITERS].thread, SIGUSR1);
	for (int i = 0; i < WAITERS; i++)
		one_takes(w, -1);
	for (int i = 0; i < WAITERS; i++)
		join(w[i].thread);
	done("interrupted");
}

static void timed(void) {
	struct waiter w[WAITERS];
	struct timeval limit = {0, 50000}, none = {0, 0};
	wait_all(w);
	EQ(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
	TAKES(45, 500, FAILS(accept(l, NULL, NULL), EAGAIN));
	one_takes(w, -1); /* those who waited before have no limit */
	EQ(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none), 0);
	int flags = fcntl(l, F_GETFL);
	EQ(fcntl(l, F_SETFL, flags | O_NONBLOCK), 0);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	one_takes(w, -1);
	EQ(fcntl(l, F_SETFL, flags), 0);
	one_takes(w, -1);
	for (int i = 0; i < WAITERS; i++)
		join(w[i].thread);
	done("timed");
}

/* Who waits has the listener, whatever its number comes to mean. */
static void closed(bool replaced) {
	struct waiter w[WAITERS];
	int kept = dup(l), null = open("/dev/null", O_RDONLY);
	wait_all(w);
	if (replaced)
		EQ(dup2(null, l), l);
	else
		EQ(close(l), 0);
	for (int i = 0; i < WAITERS; i++)
		one_takes(w, -1);
	for (int i = 0; i < WAITERS; i++)
		join(w[i].thread);
	EQ(dup2(kept, l), l);
	close(kept);
	close(null);
	done(replaced ? "replaced" : "closed");
}

static void several_names(void) {
	struct waiter w[WAITERS];
	int name = l, other = dup(l);
	for (int i = 0; i < WAITERS; i++) {
		l = i % 2 ? other : name;
		w[i].tid = 0;
		w[i].thread = start(waits, &w[i]);
		await_sleeping(&w[i].tid);
		settle();
	}
	l = name;
	for (int i = 0; i < WAITERS; i++)
		one_takes(w, -1);
	for (int i = 0; i < WAITERS; i++)
		join(w[i].thread);
	close(other);
	done("several names");
}

static void forked(void) {
	struct waiter w[WAITERS];
	wait_all(w);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	EQ(waitpid(child, NULL, 0), child);
	for (int i = 0; i < WAITERS; i++)
		one_takes(w, -1);
	for (int i = 0; i < WAITERS; i++)
		join(w[i].thread);
	done("forked");
}

static void shut_down(void) {
	struct waiter w[WAITERS];
	wait_all(w);
	EQ(shutdown(l, SHUT_RDWR), 0);
	for (int i = 0; i < WAITERS; i++) {
		join(w[i].thread);
		EQ(w[i].fd, -1);
		EQ(w[i].error, EINVAL);
	}
	done("shut down");
}

int main(void) {
	alarm(120);
	l = listener(50, &at);
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	become_threaded();
	cancelled();
	interrupted();
	timed();
	closed(false);
	closed(true);
	several_names();
	forked();
	shut_down();
	kill(child, SIGKILL);
	EQ(waitpid(child, NULL, 0), child);
	return failures != 0;
}
