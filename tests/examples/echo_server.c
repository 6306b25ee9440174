/* An echo server with a goroutine for each connection, and its clients. Plain blocking calls: they park the goroutine. Arguments: clients, messages of each. */
#include <arpa/inet.h>
#include <goshim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address;
static int messages;
static go_chan *echoed; /* long: how many messages came back to one client */

static void *serve(void *arg) {
	int fd = (int)(intptr_t)arg;
	char text[256];
	ssize_t n;
	while ((n = read(fd, text, sizeof text)) > 0) {
		if (write(fd, text, (size_t)n) != n)
			break;
	}
	close(fd);
	return NULL;
}

static void *accept_all(void *arg) {
	int listener = (int)(intptr_t)arg, fd;
	while ((fd = accept(listener, NULL, NULL)) >= 0)
		go_spawn(serve, (void *)(intptr_t)fd);
	return NULL; /* the listener was shut down */
}

static void *client(void *arg) {
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	long good = 0;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
		for (int i = 0; i < messages; i++) {
			char text[64], answer[64];
			int n = snprintf(text, sizeof text, "client %d message %d", (int)(intptr_t)arg, i);
			if (write(fd, text, (size_t)n) != n || recv(fd, answer, (size_t)n, MSG_WAITALL) != n)
				break;
			good += memcmp(text, answer, (size_t)n) == 0;
		}
	}
	close(fd);
	go_send(echoed, &good);
	return NULL;
}

int main(int argc, char **argv) {
	int clients = argc > 1 ? atoi(argv[1]) : 20, listener = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t length = sizeof address;
	messages = argc > 2 ? atoi(argv[2]) : 50;
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 128) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
		perror("echo_server");
		return 1;
	}
	echoed = go_chan_make(sizeof(long), 0);
	go_spawn(accept_all, (void *)(intptr_t)listener);
	for (int i = 0; i < clients; i++)
		go_spawn(client, (void *)(intptr_t)i);
	long total = 0, good;
	for (int i = 0; i < clients; i++) {
		go_recv(echoed, &good);
		total += good;
	}
	shutdown(listener, SHUT_RDWR);
	close(listener);
	printf("%ld messages\n", total);
	return total == (long)clients * messages ? 0 : 1;
}
