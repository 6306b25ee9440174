/* A message that says who sends it, by SCM_CREDENTIALS, and is larger than what the other end takes at once: every part of it says so, and what else came with it came once. */
#include "io_test.h"

#include <sys/un.h>

enum { BYTES = 2000000 };
static int pair[2];

static void *sends(void *arg) {
	static char bytes[BYTES];
	struct iovec iov = {bytes, sizeof bytes};
	char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	/* Root may say what it likes. */
	struct ucred who = {getpid(), geteuid() ? getuid() : 1234, geteuid() ? getgid() : 5678};
	int zero = 0;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof zero);
	memcpy(CMSG_DATA(c), &zero, sizeof zero);
	c = CMSG_NXTHDR(&m, c);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof who);
	memcpy(CMSG_DATA(c), &who, sizeof who);
	printf("sent %zd\n", sendmsg(pair[0], &m, 0));
	shutdown(pair[0], SHUT_WR);
	return arg;
}

int main(void) {
	int one = 1, descriptors = 0;
	long right = 0, wrong = 0;
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
	pthread_t t = start(sends, NULL);
	usleep(100000);
	for (;;) {
		char bytes[65536], control[256] __attribute__((aligned(8)));
		struct iovec iov = {bytes, sizeof bytes};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		ssize_t n = recvmsg(pair[1], &m, 0);
		bool known = false;
		if (n <= 0)
			break;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct ucred who;
			descriptors += c->cmsg_type == SCM_RIGHTS;
			if (c->cmsg_type == SCM_CREDENTIALS) {
				memcpy(&who, CMSG_DATA(c), sizeof who);
				known = geteuid() ? who.uid == getuid() : who.uid == 1234 && who.gid == 5678;
			}
		}
		right += known ? n : 0;
		wrong += known ? 0 : n;
	}
	join(t);
	printf("right %ld, wrong %ld, descriptors %d\n", right, wrong, descriptors);
	return 0;
}
