/*
 * Closed-loop load on an HTTP/1.1 keep-alive server at 127.0.0.1: N connections from one epoll loop; each sends a
 * request, takes the whole answer, checks every byte of it, and only then sends the next. The server's CPU time is
 * read from the server's own process clock (all its threads, also those that have ended) at both ends of the window,
 * so nothing the generator does is charged to it.
 *
 * What is expected: the bodies of http.h (-b BYTES each), or with -f DIR -n K the files DIR/0 ... DIR/K-1, asked for
 * in turn. With -r REQUEST -e ANSWER, templates as in template.h, it is any protocol whose answers are known in advance;
 * -i BYTES -I N is said first on each connection, and answered by N bytes (not looked at). How the server is reached: directly, or through a SOCKS5 proxy (-x PORT) or an HTTP proxy's CONNECT (-X
 * PORT).
 *
 * Phases, all in one event loop:
 *   connect   at most CONNECT_WINDOW half-open connections at a time, so that no SYN is dropped and retried a second
 *             later; each connection does one checked request as soon as it is open
 *   warm      all connections loop for -w seconds
 *   window    for -s seconds; counters, latencies and the CPU clock count here (-s 0 skips both)
 *   drain     requests in flight are awaited, still checked
 *   hold      with -h: prints "HOLD" with all connections open, waits for a line on stdin, then does one more checked
 *             request on each
 * With -k (churn) every connection is closed after its answer and made anew; the answer to a new connection's one
 * request is the operation.
 *
 * Output: progress lines "P seconds requests errors" once a second on request (-p), "HOLD", and at the end one line
 * of JSON. An answer that is wrong, torn or missing is an error, and so is a connection that makes no progress for -t
 * seconds; errors are counted in every phase. Exit status 0 also with errors: who runs it reads the count.
 */
#include "http.h"
#include "template.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECT_WINDOW = 128,
	HEAD_MAX_BYTES = 1024,
	READ_BYTES = 65536,
	FILES_MAX = 256,
	SERVERS_MAX = 16,
	ERROR_LINES = 5,  /* errors told on stderr; the rest is only counted */
	LATENCY_SUB = 32, /* histogram: 32 steps to each doubling, so a quantile is right to 3 % */
	LATENCY_SLOTS = 64 * LATENCY_SUB,
};

enum conn_state {
	CONN_CLOSED,   /* no socket; waits for its turn to connect */
	CONN_OPENING,  /* connect() in progress */
	CONN_GREETING, /* first answer of a SOCKS5 proxy outstanding */
	CONN_PREAMBLE, /* answer to what is said first outstanding */
	CONN_TUNNEL,   /* proxy's answer to our CONNECT outstanding */
	CONN_HEAD,     /* request sent, head of the answer not complete */
	CONN_BODY,     /* head done, `left` bytes of body outstanding */
	CONN_IDLE,     /* nothing outstanding */
};

struct conn {
	int fd;
	enum conn_state state;
	bool greeted;       /* did its first request */
	uint32_t have;      /* bytes in head[] */
	uint32_t failures;  /* in a row; a connection that fails too often is given up */
	uint64_t serial;    /* of its request */
	uint64_t sent_ns;   /* when the operation began */
	const char *expect; /* the body outstanding: next byte */
	size_t left;
	char head[HEAD_MAX_BYTES];
};

struct file {
	char *data;
	size_t size;
};

static struct options {
	int port, socks_port, proxy_port, connections, files;
	double seconds, warm_seconds, timeout_seconds;
	size_t body_bytes;
	const char *directory;
	struct template request, answer, preamble; /* no HTTP: request.text is set */
	size_t preamble_answer;
	pid_t servers[SERVERS_MAX];
	int nservers;
	bool churn, hold, progress;
} options = {
	.connections = 10, .seconds = 1.5, .warm_seconds = 0.3, .timeout_seconds = 30, .body_bytes = HTTP_BODY_BYTES};

static struct file files[FILES_MAX];
static struct conn *conns;
static int epoll;
static uint64_t serial; /* of the last request sent */
static int opening, open_now, busy, greeted, given_up;
static int next_closed; /* where the search for a closed connection goes on */
static uint64_t requests, errors, reconnects;
static uint64_t latency[LATENCY_SLOTS], latency_max;
static bool looping;  /* connections send their next request by themselves */
static bool counting; /* inside the window */

static void die(const char *what) {
	fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t clock_ns(clockid_t id) {
	struct timespec t;
	if (clock_gettime(id, &t) < 0)
		die("the server's CPU clock");
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) {
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t server_cpu_ns(void) {
	uint64_t sum = 0;
	for (int i = 0; i < options.nservers; i++) {
		clockid_t id;
		if ((errno = clock_getcpuclockid(options.servers[i], &id)) != 0)
			die("clock_getcpuclockid");
		sum += clock_ns(id);
	}
	return sum;
}

static int latency_slot(uint64_t ns) {
	if (ns < LATENCY_SUB)
		return (int)ns;
	int top = 63 - __builtin_clzll(ns);
	return (top - 4) * LATENCY_SUB + (int)((ns >> (top - 5)) - LATENCY_SUB);
}

static uint64_t latency_slot_ns(int slot) {
	if (slot < LATENCY_SUB)
		return (uint64_t)slot;
	int top = slot / LATENCY_SUB + 4;
	return (uint64_t)(LATENCY_SUB + slot % LATENCY_SUB) << (top - 5);
}

static double latency_quantile_us(double q) {
	uint64_t total = 0, seen = 0;
	for (int i = 0; i < LATENCY_SLOTS; i++)
		total += latency[i];
	for (int i = 0; i < LATENCY_SLOTS; i++) {
		seen += latency[i];
		if (seen > 0 && (double)seen >= q * (double)total)
			return (double)latency_slot_ns(i) / 1e3;
	}
	return 0;
}

static int conn_number(const struct conn *c) {
	return (int)(c - conns);
}

static bool conn_outstanding(const struct conn *c) {
	return c->state != CONN_CLOSED && c->state != CONN_IDLE;
}

/* The only place where a state changes: keeps the counts of connections opening, open and busy. */
static void conn_become(struct conn *c, enum conn_state state) {
	opening += (state == CONN_OPENING) - (c->state == CONN_OPENING);
	open_now += (state > CONN_OPENING) - (c->state > CONN_OPENING);
	busy -= conn_outstanding(c);
	c->state = state;
	busy += conn_outstanding(c);
}

static void conn_close(struct conn *c) {
	if (c->state == CONN_CLOSED)
		return;
	close(c->fd);
	c->fd = -1;
	conn_become(c, CONN_CLOSED);
}

static void conn_fail(struct conn *c, const char *why) {
	static const char *const state[] = {
		[CONN_CLOSED] = "before it was opened",
		[CONN_OPENING] = "while it was opened",
		[CONN_GREETING] = "when it had greeted the proxy",
		[CONN_PREAMBLE] = "when it had said what comes first",
		[CONN_TUNNEL] = "when it had asked the proxy to connect",
		[CONN_HEAD] = "when it had asked",
		[CONN_BODY] = "in the answer",
		[CONN_IDLE] = "when it waited for nothing",
	};
	if (errors++ < ERROR_LINES)
		fprintf(stderr, "loadgen: connection %d: %s %s, %.3f s after its operation began\n", conn_number(c), why, state[c->state],
			(double)(now_ns() - c->sent_ns) / 1e9);
	if (c->state != CONN_OPENING)
		reconnects++;
	if (++c->failures == 3)
		given_up++;
	conn_close(c);
}

static bool conn_send(struct conn *c, const void *data, size_t len) {
	ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
	if (n == (ssize_t)len)
		return true;
	/* A hundred bytes on a socket with nothing unacknowledged always fit: a short write is an error here, too. */
	conn_fail(c, n < 0 ? strerror(errno) : "short write");
	return false;
}

static uint64_t request_id(const struct conn *c) {
	return c->serial * 0x9e3779b97f4a7c15u;
}

static void body_expect(struct conn *c);

static void request_send(struct conn *c) {
	char buf[256];
	int len;
	if (!options.churn) /* with churn the operation began at connect() */
		c->sent_ns = now_ns();
	c->serial = ++serial;
	c->have = 0;
	if (options.request.text) {
		const char *text = template_fill(&options.request, request_id(c), conn_number(c));
		body_expect(c);
		if (conn_send(c, text, options.request.len))
			conn_become(c, CONN_BODY);
		return;
	}
	if (options.files > 0)
		len = snprintf(buf, sizeof buf, "GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			       (int)(c->serial % (unsigned)options.files));
	else
		len = snprintf(buf, sizeof buf, "GET /%016" PRIx64 " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
			       request_id(c));
	if (conn_send(c, buf, (size_t)len))
		conn_become(c, CONN_HEAD);
}

/* The socket is connected: greets the proxy in between, if there is one. */
static void conn_opened(struct conn *c) {
	char buf[128];
	if (options.preamble.text) {
		if (conn_send(c, options.preamble.text, options.preamble.len))
			conn_become(c, CONN_PREAMBLE);
	} else if (options.socks_port) {
		if (conn_send(c, "\x05\x01\x00", 3))
			conn_become(c, CONN_GREETING);
	} else if (options.proxy_port) {
		int len = snprintf(buf, sizeof buf, "CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
				   options.port, options.port);
		if (conn_send(c, buf, (size_t)len))
			conn_become(c, CONN_TUNNEL);
	} else {
		request_send(c);
	}
}

/* With 14,000 connections a second and more, one address runs out of ports that are not in TIME_WAIT: each connect() then takes 2 ms to find one, which is neither
 * side's time. From many addresses; the port is found by connect(), as without this. */
static void conn_rotate(struct conn *c) {
	enum { ADDRESSES = 64 };
	static unsigned turn;
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + turn++ % ADDRESSES)};
	int on = 1;
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0)
		die("bind");
}

static void conn_open(struct conn *c) {
	int port = options.socks_port   ? options.socks_port
		   : options.proxy_port ? options.proxy_port
					: options.port,
	    on = 1;
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	c->have = 0;
	c->sent_ns = now_ns();
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	conn_become(c, CONN_OPENING);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (options.churn)
		conn_rotate(c);
	int done = connect(c->fd, (struct sockaddr *)&address, sizeof address);
	if (done < 0 && errno != EINPROGRESS) {
		conn_fail(c, strerror(errno));
		return;
	}
	struct epoll_event event = {.events = done < 0 ? EPOLLOUT : EPOLLIN, .data.ptr = c};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
		die("epoll_ctl");
	if (done == 0)
		conn_opened(c);
}

static void conn_connected(struct conn *c) {
	int error = 0;
	socklen_t len = sizeof error;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		conn_fail(c, strerror(error ? error : errno));
		return;
	}
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
		die("epoll_ctl");
	conn_opened(c);
}

static void request_done(struct conn *c) {
	uint64_t took = now_ns() - c->sent_ns;
	c->failures = 0;
	conn_become(c, CONN_IDLE);
	if (counting) {
		requests++;
		latency[latency_slot(took)]++;
		if (took > latency_max)
			latency_max = took;
	}
	if (!c->greeted) {
		c->greeted = true;
		greeted++;
	}
	if (options.churn) {
		conn_close(c);
		if (looping)
			conn_open(c);
	} else if (looping) {
		request_send(c);
	}
}

/* The body this connection must get; valid until the next call. */
static void body_expect(struct conn *c) {
	static char *body;
	if (options.files > 0) {
		const struct file *file = &files[c->serial % (unsigned)options.files];
		c->expect = file->data;
		c->left = file->size;
		return;
	}
	if (options.request.text) {
		c->expect = template_fill(&options.answer, request_id(c), conn_number(c));
		c->left = options.answer.len;
		return;
	}
	/* One buffer is enough while one connection is looked at; it is made again when a torn body goes on later
	 * (answer_take). */
	char id[HTTP_ID_BYTES + 1];
	if (!body && !(body = malloc(options.body_bytes)))
		die("malloc");
	snprintf(id, sizeof id, "%016" PRIx64, request_id(c));
	for (size_t i = 0; i < options.body_bytes; i += HTTP_ID_BYTES)
		memcpy(body + i, id, HTTP_ID_BYTES);
	c->expect = body;
	c->left = options.body_bytes;
}

/* The head in c->head[0..len) is complete: 0 and c->expect/left set, or what is wrong with it. */
static const char *head_check(struct conn *c, size_t len) {
	char *length = NULL;
	c->head[len - 1] = 0;
	if (strncmp(c->head, "HTTP/1.1 200 ", 13) != 0)
		return "status is not 200";
	for (char *line = strstr(c->head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, "content-length:", 15) == 0)
			length = line + 17;
	if (!length)
		return "no Content-Length";
	body_expect(c);
	return strtoull(length, NULL, 10) == c->left ? NULL : "wrong Content-Length";
}

/* Takes bytes of the answer to a request; all of buf must belong to it. */
static void answer_take(struct conn *c, const char *buf, size_t len) {
	if (c->state == CONN_HEAD) {
		size_t room = sizeof c->head - c->have, part = len < room ? len : room, before = c->have;
		memcpy(c->head + before, buf, part);
		c->have += (uint32_t)part;
		char *end = memmem(c->head, c->have, "\r\n\r\n", 4);
		if (!end) {
			if (part == room)
				conn_fail(c, "head too long");
			return;
		}
		size_t head = (size_t)(end + 4 - c->head);
		const char *wrong = head_check(c, head);
		if (wrong) {
			conn_fail(c, wrong);
			return;
		}
		buf += head - before;
		len -= head - before;
		conn_become(c, CONN_BODY);
	} else if (options.files == 0) {
		size_t left = c->left;
		body_expect(c);
		c->expect += c->left - left;
		c->left = left;
	}
	if (len > c->left) {
		conn_fail(c, "more bytes than asked for");
		return;
	}
	if (memcmp(buf, c->expect, len) != 0) {
		conn_fail(c, "wrong body");
		return;
	}
	c->expect += len;
	c->left -= len;
	if (c->left == 0)
		request_done(c);
}

/* Takes bytes of a proxy's answer; the tunnel is open when it is complete. */
static void tunnel_take(struct conn *c, const char *buf, size_t len) {
	if (len > sizeof c->head - 1 - c->have) {
		conn_fail(c, "proxy's answer too long");
		return;
	}
	memcpy(c->head + c->have, buf, len);
	c->have += (uint32_t)len;
	c->head[c->have] = 0;
	if (c->state == CONN_PREAMBLE) {
		if (c->have > options.preamble_answer)
			conn_fail(c, "first answer too long");
		else if (c->have == options.preamble_answer)
			request_send(c);
	} else if (c->state == CONN_GREETING) {
		if (c->have < 2)
			return;
		if (c->have > 2 || memcmp(c->head, "\x05\x00", 2) != 0) {
			conn_fail(c, "SOCKS5 greeting refused");
			return;
		}
		unsigned char ask[10] = {
			5, 1, 0, 1, 127, 0, 0, 1, (unsigned char)(options.port >> 8), (unsigned char)options.port};
		c->have = 0;
		if (conn_send(c, ask, sizeof ask))
			conn_become(c, CONN_TUNNEL);
	} else if (options.socks_port) {
		if (c->have < 10)
			return;
		if (c->have > 10 || memcmp(c->head, "\x05\x00\x00\x01", 4) != 0)
			conn_fail(c, "SOCKS5 connect refused");
		else
			request_send(c);
	} else if (strstr(c->head, "\r\n\r\n")) {
		if (strncmp(c->head, "HTTP/1.", 7) != 0 || strncmp(c->head + 8, " 200", 4) != 0)
			conn_fail(c, "CONNECT refused");
		else
			request_send(c);
	}
}

static void conn_readable(struct conn *c) {
	static char buf[READ_BYTES];
	ssize_t n = recv(c->fd, buf, sizeof buf, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		conn_fail(c, strerror(errno));
	else if (n == 0)
		conn_fail(c, "closed by the server");
	else if (c->state == CONN_IDLE)
		conn_fail(c, "bytes nobody asked for");
	else if (c->state == CONN_HEAD || c->state == CONN_BODY)
		answer_take(c, buf, (size_t)n);
	else
		tunnel_take(c, buf, (size_t)n);
}

/* Connections on their way to their first answer. */
static int conns_coming(void) {
	return opening + (open_now > greeted ? open_now - greeted : 0);
}

/* Opens closed connections: in the loop every one, before it those that had no answer yet; none that failed three times
 * in a row. */
static void conns_open(void) {
	for (int tried = 0; tried < options.connections && conns_coming() < CONNECT_WINDOW; tried++) {
		struct conn *c = &conns[next_closed];
		next_closed = (next_closed + 1) % options.connections;
		if (c->state == CONN_CLOSED && c->failures < 3 && (looping || !c->greeted))
			conn_open(c);
	}
}

/* Connections that wait longer than the limit fail. Called a few times a second. */
static void conns_expire(void) {
	uint64_t now = now_ns(), limit = (uint64_t)(options.timeout_seconds * 1e9);
	for (int i = 0; i < options.connections; i++)
		if (conn_outstanding(&conns[i]) && now - conns[i].sent_ns > limit)
			conn_fail(&conns[i], "timed out");
}

/* Runs the loop until deadline (0: none), or until done() says so. */
static void loop_run(uint64_t deadline, bool (*done)(void)) {
	static uint64_t next_tick, start;
	struct epoll_event events[512];

	if (!start)
		start = next_tick = now_ns();
	while (!done || !done()) {
		uint64_t now = now_ns();
		if (deadline && now >= deadline)
			return;
		if (now >= next_tick) {
			static unsigned ticks;
			next_tick = now + 250000000u;
			conns_expire();
			if (options.progress && ticks++ % 4 == 0)
				printf("P %.1f %" PRIu64 " %" PRIu64 " %d\n", (double)(now - start) / 1e9, requests,
				       errors, open_now);
		}
		if (looping || greeted < options.connections)
			conns_open();
		uint64_t until = deadline && deadline < next_tick ? deadline : next_tick;
		int n = epoll_wait(epoll, events, 512, (int)((until - now) / 1000000u) + 1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			if (c->state == CONN_OPENING)
				conn_connected(c);
			else if (c->state != CONN_CLOSED)
				conn_readable(c);
		}
	}
}

static bool all_greeted(void) {
	return greeted + given_up >= options.connections && (!options.churn || busy == 0);
}

static bool none_busy(void) {
	return busy == 0;
}

static void verify_all(void) {
	for (int i = 0; i < options.connections; i++)
		if (conns[i].state == CONN_IDLE)
			request_send(&conns[i]);
	loop_run(0, none_busy);
}

static void files_load(void) {
	for (int i = 0; i < options.files; i++) {
		char path[4096];
		struct stat st;
		snprintf(path, sizeof path, "%s/%d", options.directory, i);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			die(path);
		files[i].size = (size_t)st.st_size;
		files[i].data = mmap(NULL, files[i].size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
		if (files[i].data == MAP_FAILED)
			die(path);
		close(fd);
	}
}

static void usage(void) {
	fprintf(stderr,
		"usage: loadgen -P PORT [-c CONNECTIONS] [-s SECONDS] [-w WARM_SECONDS] [-t TIMEOUT_SECONDS] "
		"[-b BODY_BYTES]\n"
		"               [-f DIRECTORY -n FILES] [-x SOCKS5_PORT | -X PROXY_PORT] [-S SERVER_PID]... [-k] "
		"[-h] [-p]\n"
		"               [-r REQUEST -e ANSWER [-i PREAMBLE -I ANSWER_BYTES]]\n");
	exit(2);
}

static void template_read(struct template *t, const char *text) {
	if (template_parse(t, text) < 0)
		usage();
}

static void options_read(int argc, char **argv) {
	for (int opt; (opt = getopt(argc, argv, "P:c:s:w:t:b:f:n:x:X:S:r:e:i:I:khp")) != -1;)
		switch (opt) {
		case 'P':
			options.port = atoi(optarg);
			break;
		case 'c':
			options.connections = atoi(optarg);
			break;
		case 's':
			options.seconds = atof(optarg);
			break;
		case 'w':
			options.warm_seconds = atof(optarg);
			break;
		case 't':
			options.timeout_seconds = atof(optarg);
			break;
		case 'b':
			options.body_bytes = strtoul(optarg, NULL, 10);
			break;
		case 'f':
			options.directory = optarg;
			break;
		case 'n':
			options.files = atoi(optarg);
			break;
		case 'x':
			options.socks_port = atoi(optarg);
			break;
		case 'X':
			options.proxy_port = atoi(optarg);
			break;
		case 'S':
			if (options.nservers == SERVERS_MAX)
				usage();
			options.servers[options.nservers++] = (pid_t)atoi(optarg);
			break;
		case 'r':
			template_read(&options.request, optarg);
			break;
		case 'e':
			template_read(&options.answer, optarg);
			break;
		case 'i':
			template_read(&options.preamble, optarg);
			break;
		case 'I':
			options.preamble_answer = strtoul(optarg, NULL, 10);
			break;
		case 'k':
			options.churn = true;
			break;
		case 'h':
			options.hold = true;
			break;
		case 'p':
			options.progress = true;
			break;
		default:
			usage();
		}
	if (options.port <= 0 || options.connections <= 0 || options.files > FILES_MAX ||
	    !options.directory != (options.files == 0) || options.body_bytes % HTTP_ID_BYTES != 0 ||
	    options.body_bytes == 0 || !options.request.text != !options.answer.text)
		usage();
}

int main(int argc, char **argv) {
	struct rlimit limit;

	options_read(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	files_load();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	conns = calloc((size_t)options.connections, sizeof *conns);
	if (epoll < 0 || !conns)
		die("start");

	loop_run(0, all_greeted);
	uint64_t begin = 0, end = 0, cpu_begin = 0, cpu_end = 0;
	if (options.seconds > 0) {
		looping = true;
		if (!options.churn)
			for (int i = 0; i < options.connections; i++)
				if (conns[i].state == CONN_IDLE)
					request_send(&conns[i]);
		loop_run(now_ns() + (uint64_t)(options.warm_seconds * 1e9), NULL);
		counting = true;
		begin = now_ns();
		cpu_begin = server_cpu_ns();
		loop_run(begin + (uint64_t)(options.seconds * 1e9), NULL);
		cpu_end = server_cpu_ns();
		end = now_ns();
		counting = looping = false;
		loop_run(0, none_busy);
	}
	int open_end = open_now;
	if (options.hold) {
		char line[16];
		printf("HOLD\n");
		if (!fgets(line, sizeof line, stdin))
			return 0; /* whoever started us is gone */
		verify_all();
	}
	double seconds = (double)(end - begin) / 1e9;
	printf("{\"requests\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"reconnects\": %" PRIu64
	       ", \"open\": %d, \"seconds\": %.3f, "
	       "\"server_cpu_ns\": %" PRIu64 ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
	       requests, errors, reconnects, open_end, seconds, cpu_end - cpu_begin, latency_quantile_us(0.5),
	       latency_quantile_us(0.99), (double)latency_max / 1e3);
	return 0;
}
