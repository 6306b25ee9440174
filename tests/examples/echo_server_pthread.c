/* echo_server.c in plain pthreads: run it under the preload, and its threads are goroutines, too. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address;
static int messages;
static long total;

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

static pthread_t spawn(void *(*fn)(void *), int n) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, fn, (void *)(intptr_t)n) != 0)
		abort();
	return thread;
}

static void *accept_all(void *arg) {
	int listener = (int)(intptr_t)arg, fd;
	while ((fd = accept(listener, NULL, NULL)) >= 0)
		pthread_detach(spawn(serve, fd));
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
	__atomic_add_fetch(&total, good, __ATOMIC_RELAXED);
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
	pthread_t acceptor = spawn(accept_all, listener), *thread = (pthread_t *)calloc((size_t)clients, sizeof *thread);
	for (int i = 0; i < clients; i++)
		thread[i] = spawn(client, i);
	for (int i = 0; i < clients; i++)
		pthread_join(thread[i], NULL);
	shutdown(listener, SHUT_RDWR);
	pthread_join(acceptor, NULL);
	close(listener);
	free(thread);
	printf("%ld messages\n", total);
	return total == (long)clients * messages ? 0 : 1;
}
