/* A server with a thread for each of 2,000 connections, and a process of its own that talks over all of them: as many requests at a time as there are
 * connections, each answered by its thread, which counts it under one lock. Some connections end and are made anew between the rounds. */
#include <sys/resource.h>

#include "io_test.h"

enum { CONNECTIONS = 2000, ROUNDS = 6, LARGEST = 3000, ANEW = 10 /* one in so many, each round */, ALL = CONNECTIONS + ROUNDS * (CONNECTIONS / ANEW) };

static struct sockaddr_in at;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static int live, requests;

static size_t request_size(int connection, int round) {
	return 4 + (size_t)(connection * 7919 + round * 104729) % (LARGEST - 4);
}

static void request_fill(char *to, size_t n, int connection, int round) {
	for (size_t i = 0; i < n; i++)
		to[i] = (char)(connection + round * 31 + (int)i * 7);
	uint32_t size = (uint32_t)n;
	memcpy(to, &size, sizeof size);
}

static void client(void) {
	static int fds[CONNECTIONS];
	char sent[LARGEST], got[LARGEST];
	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = dial(&at);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < CONNECTIONS; i++) {
			size_t n = request_size(i, round);
			request_fill(sent, n, i, round);
			write_all(fds[i], sent, n);
		}
		for (int i = 0; i < CONNECTIONS; i++) {
			size_t n = request_size(i, round);
			request_fill(sent, n, i, round);
			EQ(read_full(fds[i], got, n), n);
			CHECK(memcmp(sent, got, n) == 0);
		}
		for (int i = round % ANEW; i < CONNECTIONS; i += ANEW) {
			close(fds[i]);
			fds[i] = dial(&at);
		}
	}
	for (int i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
}

static void *serve(void *arg) {
	int fd = (int)(intptr_t)arg;
	char buf[LARGEST];
	uint32_t size;
	for (;;) {
		ssize_t n = recv(fd, &size, sizeof size, MSG_WAITALL);
		if (n == 0)
			break;
		EQ(n, sizeof size);
		if (n != sizeof size)
			break;
		memcpy(buf, &size, sizeof size);
		EQ(read_full(fd, buf + sizeof size, size - sizeof size), size - sizeof size);
		pthread_mutex_lock(&mutex);
		requests++;
		pthread_mutex_unlock(&mutex);
		write_all(fd, buf, size);
	}
	close(fd);
	pthread_mutex_lock(&mutex);
	if (--live == 0)
		pthread_cond_signal(&ended);
	pthread_mutex_unlock(&mutex);
	return NULL;
}

int main(void) {
	struct rlimit files = {ALL + 100, ALL + 100}; /* the server's threads may be slow to close the old ones */
	EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
	int l = listener(CONNECTIONS, &at), status = -1, accepted = 0;
	pid_t child = fork();
	if (child == 0) {
		close(l);
		client();
		fflush(stdout);
		_exit(failures != 0);
	}
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	while (accepted < ALL) {
		pthread_t t;
		int fd = accept(l, NULL, NULL);
		CHECK(fd >= 0);
		if (fd < 0)
			break;
		accepted++;
		pthread_mutex_lock(&mutex);
		live++;
		pthread_mutex_unlock(&mutex);
		EQ(pthread_create(&t, &small, serve, (void *)(intptr_t)fd), 0);
	}
	pthread_mutex_lock(&mutex);
	while (live)
		pthread_cond_wait(&ended, &mutex);
	pthread_mutex_unlock(&mutex);
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
	printf("%d connections accepted, %d requests answered\n", accepted, requests);
	return failures != 0;
}
