/* A connect() that waits for an answer, of a listener whose backlog is full, is ended by another thread: by shutdown() either way, and by connect() to
 * nobody. It says so at once, not when the network gives up, and the socket can connect anew. With GOSHIM=io_deadline that wait is not the kernel's. */
#include "io_test.h"

static struct sockaddr_in at;
static int fd;
static _Atomic pid_t tid;

static void *connects(void *error) {
	tid = gettid();
	int r = connect(fd, (struct sockaddr *)&at, sizeof at);
	*(int *)error = r < 0 ? errno : 0;
	return NULL;
}

/* The SYN is out, so it is inside; and then waits. */
static void await_connecting(void) {
	struct tcp_info info = {0};
	socklen_t size = sizeof info;
	while (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state != TCP_SYN_SENT)
		usleep(1000);
	await_sleeping(&tid);
}

static int shuts_both(void) {
	return shutdown(fd, SHUT_RDWR);
}

static int shuts_writing(void) {
	return shutdown(fd, SHUT_WR);
}

static int unnames(void) {
	struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	return connect(fd, &nobody, sizeof nobody);
}

/* With a backlog of none, one that is not accepted fills it. */
static void await_full(int l) {
	struct pollfd full = {l, POLLIN, 0};
	EQ(poll(&full, 1, -1), 1);
}

static void ended(int l, int (*by)(void), int want) {
	int error = -1;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	tid = 0;
	await_full(l);
	pthread_t t = start(connects, &error);
	await_connecting();
	EQ(by(), 0);
	join(t);
	EQ(error, want);
	close(accept(l, NULL, NULL));
	EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	await_full(l);
	close(fd);
}

int main(void) {
	int l = listener(0, &at), first = dial(&at);
	alarm(30);
	ended(l, shuts_both, ECONNRESET);
	ended(l, shuts_writing, ECONNRESET);
	ended(l, unnames, EPIPE);
	close(first);
	close(l);
	printf("%d failures\n", failures);
	return failures != 0;
}
