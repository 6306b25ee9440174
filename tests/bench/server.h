/* What the two benchmark servers share: the listening socket on the loopback address and how they announce it. */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static inline void server_die(const char *what) {
	perror(what);
	exit(1);
}

/* A descriptor for each connection: takes what the hard limit allows. */
static inline void server_raise_nofile(void) {
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Listens on 127.0.0.1 at a port the kernel picks and prints "PORT n", the sign that connections are welcome. */
static inline int server_listen(void) {
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		server_die("listen");
	printf("PORT %d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

#endif
