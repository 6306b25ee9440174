/* Descriptors that leave the process have the flags that the program gave them: after threads have waited on them, a child by fork, a program by exec,
 * and whoever receives them in a message see the same (FD-6). */
#include "io_test.h"

static const char *const kinds[] = {"pipe", "stream", "datagram", "tcp"};

static void make(int kind, int p[2]) {
	if (kind == 0)
		EQ(pipe(p), 0);
	else if (kind == 3)
		tcp_pair(p);
	else
		EQ(socketpair(AF_UNIX, kind == 1 ? SOCK_STREAM : SOCK_DGRAM, 0, p), 0);
}

/* Of the description, as the kernel tells it. */
static void show(const char *who, int fd) {
	char path[64], line[100];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "flags:", 6) == 0)
			printf("  %s: %#x %s", who, fcntl(fd, F_GETFL), line);
	if (f)
		fclose(f);
	fflush(stdout);
}

static int passed(int fd) {
	int s[2];
	char b = 'x', room[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {&b, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	EQ(sendmsg(s[0], &m, 0), 1);
	m.msg_controllen = sizeof room;
	EQ(recvmsg(s[1], &m, 0), 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	close(s[0]);
	close(s[1]);
	return fd;
}

int main(int argc, char **argv) {
	if (argc > 1) {
		show("exec", atoi(argv[1]));
		return 0;
	}
	become_threaded();
	for (int kind = 0; kind < 4; kind++) {
		int p[2];
		make(kind, p);
		printf("%s\n", kinds[kind]);
		struct reader r = {.fd = p[0]};
		pthread_t t = start(read_once, &r);
		settle();
		show("while a thread waits", p[0]);
		pid_t child = fork();
		if (child == 0) {
			show("fork", p[0]);
			char number[16];
			snprintf(number, sizeof number, "%d", p[0]);
			execl("/proc/self/exe", argv[0], number, (char *)NULL);
			_exit(1);
		}
		EQ(waitpid(child, NULL, 0), child);
		int copy = passed(p[0]);
		show("message", copy);
		write_all(p[1], "x", 1);
		join(t);
		EQ(r.got, 1);
		close(copy);
		close(p[0]);
		close(p[1]);
	}
	done("flags");
	return failures != 0;
}
