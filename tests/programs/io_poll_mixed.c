/* Threads that read and threads that poll first share one descriptor; the writer waits until all it wrote is read before it writes again. Nobody
 * may miss what another only looked at. With MSG_DONTWAIT before the poll, as client libraries do it. */
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/select.h>
#include <sys/socket.h>

#include "io_test.h"

#define BURSTS 2000
#define EACH   2

static int fd;
static bool is_socket;
static atomic_int taken;

static void take(const char *buf, ssize_t n) {
	for (ssize_t i = 0; i < n; i++)
		CHECK(buf[i] == 'x');
	atomic_fetch_add(&taken, n > 0 ? (int)n : 0);
}

static void *reader(void *arg) {
	char buf[3];
	ssize_t n;
	(void)arg;
	while ((n = read(fd, buf, sizeof buf)) > 0)
		take(buf, n);
	return NULL;
}

static void *poller(void *arg) {
	char buf[3];
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		fd_set set;
		ssize_t n = is_socket ? recv(fd, buf, sizeof buf, MSG_DONTWAIT) : -1;
		if (n < 0) {
			FD_ZERO(&set);
			FD_SET(fd, &set);
			if (arg)
				EQ(select(fd + 1, &set, NULL, NULL, NULL), 1);
			else
				EQ(poll(&p, 1, -1), 1);
			n = is_socket ? recv(fd, buf, sizeof buf, MSG_DONTWAIT) : read(fd, buf, sizeof buf);
		}
		if (n == 0)
			return NULL;
		take(buf, n);
	}
}

static void run(int to) {
	pthread_t t[3 * EACH];
	int sent = 0;
	atomic_store(&taken, 0);
	for (int i = 0; i < EACH; i++) {
		t[3 * i] = start(reader, NULL);
		t[3 * i + 1] = start(poller, NULL);
		t[3 * i + 2] = start(poller, &fd);
	}
	for (int i = 0; i < BURSTS; i++) {
		int n = 1 + i % 7;
		EQ(write(to, "xxxxxxx", (size_t)n), n);
		sent += n;
		while (atomic_load(&taken) < sent)
			sched_yield();
	}
	close(to);
	for (int i = 0; i < 3 * EACH; i++)
		join(t[i]);
	EQ(atomic_load(&taken), sent);
	close(fd);
}

int main(void) {
	int p[2];
	become_threaded();
	EQ(pipe(p), 0);
	fd = p[0];
	run(p[1]);
	done("pipe");

	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	EQ(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
	EQ(listen(listener, 1), 0);
	EQ(getsockname(listener, (struct sockaddr *)&at, &size), 0);
	int to = socket(AF_INET, SOCK_STREAM, 0);
	EQ(connect(to, (struct sockaddr *)&at, size), 0);
	fd = accept(listener, NULL, NULL);
	close(listener);
	is_socket = true;
	run(to);
	done("tcp");
	return failures != 0;
}
