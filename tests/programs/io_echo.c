/* A thread per connection that echoes, over TCP, Unix sockets and pipes; a thread per client; every byte is checked. */
#include <sys/un.h>

#include "io_test.h"

enum { CLIENTS = 60, ROUNDS = 40 };

struct ends {
	int in, out;
};

static void *echo(void *arg) {
	struct ends *e = arg;
	char buf[3000];
	ssize_t n;
	while ((n = read(e->in, buf, sizeof buf)) > 0)
		write_all(e->out, buf, (size_t)n);
	EQ(n, 0);
	if (e->in != e->out)
		close(e->in);
	close(e->out);
	free(e);
	return NULL;
}

static pthread_t echo_start(int in, int out) {
	struct ends *e = malloc(sizeof *e);
	*e = (struct ends){in, out};
	return start(echo, e);
}

static void talk(int in, int out, unsigned seed) {
	char sent[5000], got[5000];
	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + (seed = seed * 1103515245 + 12345) / 7 % sizeof sent;
		for (size_t i = 0; i < n; i++)
			sent[i] = (char)(seed + i * 31);
		write_all(out, sent, n);
		EQ(read_full(in, got, n), (long long)n);
		CHECK(memcmp(sent, got, n) == 0);
	}
}

static struct sockaddr_in tcp_at;
static struct sockaddr_un unix_at = {.sun_family = AF_UNIX};

static void *tcp_client(void *arg) {
	int fd = dial(&tcp_at);
	talk(fd, fd, (unsigned)(uintptr_t)arg);
	shutdown(fd, SHUT_WR);
	char c;
	EQ(read(fd, &c, 1), 0);
	close(fd);
	return NULL;
}

static void *unix_client(void *arg) {
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	EQ(connect(fd, (struct sockaddr *)&unix_at, sizeof unix_at), 0);
	talk(fd, fd, (unsigned)(uintptr_t)arg);
	close(fd);
	return NULL;
}

static void *pipe_client(void *arg) {
	int to[2], from[2];
	EQ(pipe(to), 0);
	EQ(pipe2(from, O_CLOEXEC), 0);
	pthread_t server = echo_start(to[0], from[1]);
	talk(from[0], to[1], (unsigned)(uintptr_t)arg);
	close(to[1]);
	char c;
	EQ(read(from[0], &c, 1), 0);
	close(from[0]);
	join(server);
	return NULL;
}

static void serve(int l, void *(*client)(void *)) {
	pthread_t clients[CLIENTS], servers[CLIENTS];
	for (uintptr_t i = 0; i < CLIENTS; i++)
		clients[i] = start(client, (void *)(i + 1));
	for (int i = 0; i < CLIENTS; i++) {
		int fd = accept(l, NULL, NULL);
		CHECK(fd >= 0);
		servers[i] = echo_start(fd, fd);
	}
	for (int i = 0; i < CLIENTS; i++) {
		join(clients[i]);
		join(servers[i]);
	}
	close(l);
}

int main(void) {
	serve(listener(CLIENTS, &tcp_at), tcp_client);
	done("tcp");

	snprintf(unix_at.sun_path + 1, sizeof unix_at.sun_path - 1, "io_echo.%d", (int)getpid());
	int l = socket(AF_UNIX, SOCK_STREAM, 0);
	EQ(bind(l, (struct sockaddr *)&unix_at, sizeof unix_at), 0);
	EQ(listen(l, CLIENTS), 0);
	serve(l, unix_client);
	done("unix");

	pthread_t t[CLIENTS];
	for (uintptr_t i = 0; i < CLIENTS; i++)
		t[i] = start(pipe_client, (void *)(i + 1));
	for (int i = 0; i < CLIENTS; i++)
		join(t[i]);
	done("pipes");
	return failures != 0;
}
