/*
 * A plain thread-per-connection HTTP/1.1 keep-alive server: the kind of program this project is for, as small as it
 * can be honestly. One detached thread with default attributes for each connection, blocking read and write, nothing
 * else: no pool, no event loop. It knows of no library but libc; scripts/bench runs the same binary on kernel threads
 * and under the library.
 */
#include "http.h"
#include "server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

static bool write_all(int fd, const char *buf, size_t len) {
	while (len > 0) {
		ssize_t n = write(fd, buf, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

static void connection_serve(int fd) {
	char in[HTTP_REQUEST_BYTES], out[HTTP_HEAD_BYTES + HTTP_BODY_BYTES];
	size_t have = 0;

	for (;;) {
		ssize_t n = read(fd, in + have, sizeof in - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		have += (size_t)n;
		for (;;) {
			const char *id;
			int used = http_request_parse(in, have, &id);
			if (used < 0)
				return;
			if (used == 0)
				break;
			if (!write_all(fd, out, http_answer_make(out, id, HTTP_BODY_BYTES)))
				return;
			have -= (size_t)used;
			memmove(in, in + used, have);
		}
	}
}

static void *connection_main(void *arg) {
	int fd = (int)(intptr_t)arg;
	connection_serve(fd);
	close(fd);
	return NULL;
}

int main(void) {
	signal(SIGPIPE, SIG_IGN);
	server_raise_nofile();
	int listener = server_listen();

	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			server_die("accept4");
		}
		pthread_t thread;
		int error = pthread_create(&thread, NULL, connection_main, (void *)(intptr_t)fd);
		if (error) {
			/* The client sees its connection closed and counts an error; the server goes on. */
			fprintf(stderr, "tpc_server: pthread_create: %s\n", strerror(error));
			close(fd);
			continue;
		}
		pthread_detach(thread);
	}
}
