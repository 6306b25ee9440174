/* One accepts what a hundred clients wait for and makes a thread for each: prints how many connections at most were accepted and not yet
 * begun with. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 100

static atomic_int begun;

static void *serve(void *arg) {
	atomic_fetch_add(&begun, 1);
	close((int)(intptr_t)arg);
	return NULL;
}

int main(void) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0), client[CLIENTS], most = 0;
	pthread_t thread[CLIENTS];
	if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, CLIENTS) || getsockname(listener, (struct sockaddr *)&at, &size))
		exit(1);
	for (int i = 0; i < CLIENTS; i++) {
		client[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(client[i], (struct sockaddr *)&at, size))
			exit(2);
	}
	for (int i = 0; i < CLIENTS; i++) {
		int fd = accept(listener, NULL, NULL);
		int waiting = i + 1 - atomic_load(&begun);
		if (waiting > most)
			most = waiting;
		if (fd < 0 || pthread_create(&thread[i], NULL, serve, (void *)(intptr_t)fd))
			exit(3);
	}
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(thread[i], NULL);
	printf("%d\n", most);
	return 0;
}
