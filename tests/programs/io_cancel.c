/* Cancellation of threads that wait for input, output, time, children: each ends at once, runs its cleanup handlers, and leaves no
 * trace on the descriptor: closing it afterwards really closes it. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/un.h>

#include "io_test.h"

static int cleaned;
static int fds[2];
static char fifo[100];
static int queue;
static pid_t child;

static void clean(void *arg) {
	(void)arg;
	__atomic_fetch_add(&cleaned, 1, __ATOMIC_SEQ_CST);
}

static void wait_somehow(int how) {
	static char big[4 << 20];
	char c;
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	struct epoll_event e;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct timespec ts = {1000, 0};
	fd_set r;
	FD_ZERO(&r);
	FD_SET(fds[0], &r);
	switch (how) {
	case 0: read(fds[0], &c, 1); break;
	case 1: write(fds[1], big, sizeof big); break;
	case 2: readv(fds[0], &iov, 1); break;
	case 3: poll(&p, 1, -1); break;
	case 4: ppoll(&p, 1, &ts, NULL); break;
	case 5: select(fds[0] + 1, &r, NULL, NULL, NULL); break;
	case 6: {
		int ep = epoll_create1(0);
		pthread_cleanup_push((void (*)(void *))(void *)close, (void *)(intptr_t)ep);
		epoll_wait(ep, &e, 1, -1);
		pthread_cleanup_pop(1);
		break;
	}
	case 7: sleep(1000); break;
	case 8: nanosleep(&ts, NULL); break;
	case 9: pause(); break;
	case 10: waitpid(child, NULL, 0); break;
	case 11: open(fifo, O_RDONLY); break;
	case 12: msgrcv(queue, big, 10, 0, 0); break;
	/* sockets from here */
	case 13: recv(fds[0], &c, 1, 0); break;
	case 14: recvmsg(fds[0], &m, 0); break;
	case 15: send(fds[1], big, sizeof big, 0); break;
	case 16: read(fds[0], &c, 1); break;
	case 17: recv(fds[0], big, 100, MSG_WAITALL); break;
	}
	CHECK(!"returned");
}

static void *waiter(void *arg) {
	pthread_cleanup_push(clean, NULL);
	wait_somehow((int)(intptr_t)arg);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *acceptor(void *arg) {
	pthread_cleanup_push(clean, NULL);
	accept(*(int *)arg, NULL, NULL);
	CHECK(!"returned");
	pthread_cleanup_pop(0);
	return NULL;
}

static void *disabled(void *arg) {
	int old;
	char c;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	EQ(read(fds[0], &c, 1), 1);
	EQ(poll(NULL, 0, 10), 0);
	*(int *)arg = 1;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	read(fds[0], &c, 1); /* acts here */
	CHECK(!"returned");
	return NULL;
}

static int open_descriptors(void) {
	int n = 0;
	for (int fd = 0; fd < 2000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void one(int how) {
	char c;
	int before = open_descriptors();
	if (how >= 16)
		tcp_pair(fds);
	else if (how >= 13)
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	else
		EQ(pipe(fds), 0);
	cleaned = 0;
	pthread_t t = start(waiter, (void *)(intptr_t)how);
	if (how == 1 || how == 15) /* a writer that is cancelled before its first byte leaves none to be read below */
		EQ(poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, -1), 1);
	settle();
	settle();
	EQ(pthread_cancel(t), 0);
	if (join(t) != PTHREAD_CANCELED)
		CHECK(!"not cancelled");
	EQ(cleaned, 1);
	if (how != 1 && how != 15) {
		/* The descriptor is free for others, and its close is seen by the peer. */
		struct reader r = {.fd = fds[0]};
		t = start(read_once, &r);
		settle();
		write_all(fds[1], "after", 5);
		join(t);
		EQ(r.got, 5);
		close(fds[1]);
		EQ(read(fds[0], &c, 1), 0);
		close(fds[0]);
	} else {
		char buf[1000];
		signal(SIGPIPE, SIG_IGN);
		EQ(read_full(fds[0], buf, 1000), 1000);
		close(fds[1]);
		ssize_t n;
		while ((n = read(fds[0], buf, sizeof buf)) > 0)
			continue;
		EQ(n, 0);
		close(fds[0]);
	}
	if (open_descriptors() != before)
		printf("FAIL: way %d leaves %d descriptors\n", how, open_descriptors() - before), failures++;
}

int main(void) {
	snprintf(fifo, sizeof fifo, "/tmp/io_cancel.%d", (int)getpid());
	EQ(mkfifo(fifo, 0600), 0);
	queue = msgget(IPC_PRIVATE, 0600);
	become_threaded();
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	for (int how = 0; how <= 17; how++)
		one(how);
	kill(child, SIGKILL);
	EQ(waitpid(child, NULL, 0), child);
	unlink(fifo);
	msgctl(queue, IPC_RMID, NULL);
	done("eighteen ways to wait");

	struct sockaddr_in at;
	int l = listener(5, &at), reached = 0;
	cleaned = 0;
	pthread_t t = start(acceptor, &l), t2 = start(acceptor, &l);
	settle();
	EQ(pthread_cancel(t), 0);
	EQ(join(t) == PTHREAD_CANCELED, 1);
	EQ(pthread_cancel(t2), 0);
	EQ(join(t2) == PTHREAD_CANCELED, 1);
	EQ(cleaned, 2);
	int a = dial(&at), b = accept(l, NULL, NULL);
	CHECK(b >= 0);
	close(l);
	struct sockaddr_in again = at;
	int c2 = socket(AF_INET, SOCK_STREAM, 0);
	FAILS(connect(c2, (struct sockaddr *)&again, sizeof again), ECONNREFUSED);
	close(c2);
	close(a);
	close(b);
	done("accept");

	EQ(pipe(fds), 0);
	t = start(disabled, &reached);
	settle();
	EQ(pthread_cancel(t), 0);
	settle();
	write_all(fds[1], "x", 1);
	EQ(join(t) == PTHREAD_CANCELED, 1);
	EQ(reached, 1);
	done("disabled");
	return failures != 0;
}
