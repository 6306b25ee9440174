/*
 * The reference the thread-per-connection server is held against: the same answers from one thread and one
 * edge-triggered epoll, written by hand. On its happy path a request costs one epoll_wait share, one read and one
 * write: a read shorter than its buffer has drained the socket, so the read that would only say EAGAIN is left out
 * (with edge triggering, later bytes are a new event).
 *
 * epoll_server [-b BYTES] [-a]
 *   -b  size of a body, a multiple of 16, at most 65536 (default 64)
 *   -a  accept connections and do nothing else, not even register them: what a connection costs the kernel with no
 *       server behind it, the baseline of the memory figures
 */
#include "http.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BODY_MAX_BYTES = 65536 };

struct connection {
	int fd;
	size_t have; /* bytes of an incomplete request in `in` */
	char *rest;  /* unsent part of an answer, or NULL; while it is there nothing is read */
	size_t rest_len, rest_done;
	char in[HTTP_REQUEST_BYTES];
};

static size_t body_bytes = HTTP_BODY_BYTES;
static char answer[HTTP_HEAD_BYTES + BODY_MAX_BYTES];

static void connection_close(struct connection *c) {
	close(c->fd); /* the last descriptor of the socket: epoll forgets it, too */
	free(c->rest);
	free(c);
}

/* Sends what is left of a kept answer. 1: all sent, 0: the socket is full, -1: the connection is dead. */
static int rest_send(struct connection *c) {
	while (c->rest_done < c->rest_len) {
		ssize_t n = write(c->fd, c->rest + c->rest_done, c->rest_len - c->rest_done);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		c->rest_done += (size_t)n;
	}
	free(c->rest);
	c->rest = NULL;
	return 1;
}

/* Sends the answer in `answer`; what the socket does not take is kept. As rest_send(). */
static int answer_send(struct connection *c, size_t len) {
	ssize_t n = write(c->fd, answer, len);
	if (n == (ssize_t)len)
		return 1;
	if (n < 0 && errno != EAGAIN)
		return -1;
	size_t done = n < 0 ? 0 : (size_t)n;
	c->rest = malloc(len - done);
	if (!c->rest)
		return -1;
	memcpy(c->rest, answer + done, len - done);
	c->rest_len = len - done;
	c->rest_done = 0;
	return rest_send(c);
}

/* Answers every complete request in c->in. As rest_send(). */
static int requests_answer(struct connection *c) {
	for (;;) {
		const char *id;
		int used = http_request_parse(c->in, c->have, &id);
		if (used <= 0)
			return used < 0 ? -1 : 1;
		size_t len = http_answer_make(answer, id, body_bytes);
		c->have -= (size_t)used;
		memmove(c->in, c->in + used, c->have);
		int sent = answer_send(c, len);
		if (sent <= 0)
			return sent;
	}
}

/*
 * One event: false when the connection is over. `ending`: the event said that the client has shut its side; then the
 * end of the stream may be waiting behind the bytes of a short read with no further event to tell of it, so it is
 * read to the end.
 */
static bool connection_run(struct connection *c, bool ending) {
	if (c->rest) {
		int sent = rest_send(c);
		if (sent > 0)
			sent = requests_answer(c);
		if (sent <= 0)
			return sent == 0;
	}
	for (;;) {
		size_t room = sizeof c->in - c->have;
		ssize_t n = read(c->fd, c->in + c->have, room);
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		c->have += (size_t)n;
		int sent = requests_answer(c);
		if (sent <= 0)
			return sent == 0;
		if ((size_t)n < room && !ending)
			return true;
	}
}

static void connections_accept(int epoll, int listener) {
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EAGAIN)
				return;
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			server_die("accept4");
		}
		struct connection *c = calloc(1, sizeof *c);
		if (!c)
			server_die("calloc");
		c->fd = fd;
		struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
			server_die("epoll_ctl");
	}
}

static void accept_only(int listener) {
	while (accept4(listener, NULL, NULL, SOCK_CLOEXEC) >= 0 || errno == EINTR || errno == ECONNABORTED)
		;
	server_die("accept4");
}

int main(int argc, char **argv) {
	bool only_accept = false;
	for (int opt; (opt = getopt(argc, argv, "ab:")) != -1;) {
		if (opt == 'a')
			only_accept = true;
		else if (opt == 'b')
			body_bytes = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (body_bytes == 0 || body_bytes > BODY_MAX_BYTES || body_bytes % HTTP_ID_BYTES != 0) {
		fprintf(stderr, "epoll_server: -b takes a multiple of %d up to %d\n", HTTP_ID_BYTES, BODY_MAX_BYTES);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	server_raise_nofile();
	int listener = server_listen();
	if (only_accept)
		accept_only(listener);

	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll < 0 || fcntl(listener, F_SETFL, O_NONBLOCK) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
		server_die("epoll");

	for (;;) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll, events, 256, -1);
		if (n < 0 && errno != EINTR)
			server_die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;
			if (!c)
				connections_accept(epoll, listener);
			else if (!connection_run(c, events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
				connection_close(c);
		}
	}
}
