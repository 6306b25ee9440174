/* Cancellation of calls that the kernel alone can wait in: the least that a socket is to give, a connect with the first bytes, files that are none. */
#include "io_test.h"

static struct sockaddr_in peer;
static char big[16 << 20];
static int fd;
static _Atomic pid_t tid;

static void call(int how) {
	char buf[4096];
	struct iovec iov = {buf, sizeof buf}, much = {big, sizeof big};
	struct msghdr msg = {.msg_name = &peer, .msg_namelen = sizeof peer, .msg_iov = &much, .msg_iovlen = 1};
	switch (how) {
	case 0: CHECK(readv(fd, &iov, 1) < -1); break;
	case 1: sendto(fd, big, sizeof big, MSG_FASTOPEN, (struct sockaddr *)&peer, sizeof peer); break;
	case 2: sendmsg(fd, &msg, MSG_FASTOPEN); break;
	/* those of the kernel's log, after what is there; EPIPE: some of it is gone */
	case 3: while (read(fd, buf, sizeof buf) > 0 || errno == EPIPE) continue; break;
	case 4: while (readv(fd, &iov, 1) > 0 || errno == EPIPE) continue; break;
	case 5: while (pread(fd, buf, sizeof buf, 0) > 0 || errno == EPIPE) continue; break;
	}
}

static void *caller(void *arg) {
	tid = gettid();
	call((int)(intptr_t)arg);
	pause(); /* this kernel refuses it */
	return NULL;
}

static void cancel(int how) {
	tid = 0;
	pthread_t t = start(caller, (void *)(intptr_t)how);
	await_sleeping(&tid);
	EQ(pthread_cancel(t), 0);
	CHECK(join(t) == PTHREAD_CANCELED);
	close(fd);
}

/* Nobody waits who does not want to. */
static void log_without_waiting(void) {
	char buf[4096];
	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return;
	lseek(fd, 0, SEEK_END);
	ssize_t n;
	while ((n = read(fd, buf, sizeof buf)) > 0 || errno == EPIPE)
		continue;
	CHECK(n == -1 && errno == EAGAIN);
	close(fd);
}

int main(void) {
	int fds[2], low = 50, l = listener(8, &peer);
	alarm(60);
	become_threaded();
	tcp_pair(fds);
	fd = fds[0];
	EQ(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low), 0);
	write_all(fds[1], "less", 4);
	cancel(0);
	close(fds[1]);
	done("SO_RCVLOWAT");
	for (int how = 1; how <= 2; how++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		cancel(how);
	}
	close(l);
	done("MSG_FASTOPEN");
	log_without_waiting();
	for (int how = 3; how <= 5; how++) {
		fd = open("/dev/kmsg", O_RDONLY);
		if (fd < 0)
			continue;
		lseek(fd, 0, SEEK_END);
		cancel(how);
	}
	done("the kernel's log");
	return failures != 0;
}
