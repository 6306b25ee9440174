/* A datagram socket that is shut down for reading while a thread waits on it, and before: the reader gets 0, where one that would not wait
 * gets EAGAIN. */
#include "io_test.h"

enum { UNIX, UDP, KINDS };
enum { READ, RECV, RECVMSG, CALLS };

static int fd, call;
static pthread_barrier_t barrier;

static long take(void) {
	char b[8];
	struct iovec v = {b, sizeof b};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	return call == READ ? read(fd, b, sizeof b) : call == RECV ? recv(fd, b, sizeof b, 0) : recvmsg(fd, &m, 0);
}

static void *reader(void *arg) {
	(void)arg;
	EQ(take(), 1); /* it waits for things, not only for the end of them */
	pthread_barrier_wait(&barrier);
	EQ(take(), 0);
	EQ(take(), 0);
	return NULL;
}

static void one(int kind) {
	pthread_t t;
	int s[2];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	if (kind == UNIX) {
		EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
	} else {
		s[0] = socket(AF_INET, SOCK_DGRAM, 0);
		s[1] = socket(AF_INET, SOCK_DGRAM, 0);
		EQ(bind(s[0], (struct sockaddr *)&a, sizeof a), 0);
		EQ(getsockname(s[0], (struct sockaddr *)&a, &size), 0);
		EQ(connect(s[1], (struct sockaddr *)&a, sizeof a), 0);
		EQ(getsockname(s[1], (struct sockaddr *)&a, &size), 0);
		EQ(connect(s[0], (struct sockaddr *)&a, sizeof a), 0);
	}
	fd = s[0];
	pthread_create(&t, NULL, reader, NULL);
	EQ(send(s[1], "x", 1, 0), 1);
	pthread_barrier_wait(&barrier);
	usleep(20000); /* most likely it waits by now */
	EQ(shutdown(fd, SHUT_RD), 0);
	pthread_join(t, NULL);
	FAILS(recv(fd, s, sizeof s, MSG_DONTWAIT), EAGAIN);
	close(s[0]);
	close(s[1]);
}

int main(void) {
	pthread_barrier_init(&barrier, NULL, 2);
	for (int kind = 0; kind < KINDS; kind++)
		for (call = 0; call < CALLS; call++)
			one(kind);
	printf("%s\n", failures ? "FAILED" : "ok");
	return 0;
}
