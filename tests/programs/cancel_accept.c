/* Cancellation around accept() and open(): the thread is cancelled at any moment of a loop that makes a descriptor and hands it to a
 * cleanup handler. Whatever the moment, the descriptor is the thread's or was never made: none is left over (CAN-1).
 * `cancel_accept ROUNDS` cancels more often. libc's own calls have a window in which a descriptor is lost (seen natively under load), so what is expected
 * is in a file. */
#include "io_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>

enum { CLIENTS = 2 };

static int listening;
static struct sockaddr_in address;
static atomic_int stop;

static void close_it(void *fd) {
	int old;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old); /* close() is a cancellation point */
	if (*(int *)fd >= 0)
		close(*(int *)fd);
	pthread_setcancelstate(old, NULL);
}

static void *accepts(void *arg) {
	atomic_int *started = arg;
	*started = 1;
	for (;;) {
		int fd = -1;
		pthread_cleanup_push(close_it, &fd);
		fd = accept(listening, NULL, NULL);
		pthread_cleanup_pop(1);
		pthread_cleanup_push(close_it, &fd);
		fd = open("/dev/null", O_RDONLY);
		pthread_cleanup_pop(1);
	}
	return NULL;
}

/* Connects, and goes on at once. */
static void *connects(void *arg) {
	(void)arg;
	while (!stop) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct linger hard = {1, 0};
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		connect(fd, (struct sockaddr *)&address, sizeof address);
		close(fd);
	}
	return NULL;
}

static int descriptors(void) {
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int main(int argc, char **argv) {
	int rounds = argc > 1 ? atoi(argv[1]) : 3000;
	socklen_t length = sizeof address;
	pthread_t client[CLIENTS];
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(listening, (struct sockaddr *)&address, sizeof address) == 0);
	CHECK(listen(listening, 64) == 0);
	CHECK(getsockname(listening, (struct sockaddr *)&address, &length) == 0);
	/* The first cancellation loads the unwinder, the first wait makes what it needs. */
	int before = 0;
	for (int i = 0; i < CLIENTS; i++)
		pthread_create(&client[i], NULL, connects, NULL);
	for (int round = 0; round < rounds; round++) {
		atomic_int started = 0;
		pthread_t t;
		void *result;
		pthread_create(&t, NULL, accepts, &started);
		for (int spin = round % 7; !started || spin > 0; spin--)
			sched_yield();
		pthread_cancel(t);
		pthread_join(t, &result);
		CHECK(result == PTHREAD_CANCELED);
		if (round == 100)
			before = descriptors();
	}
	stop = 1;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(client[i], NULL);
	/* While they ran, each client may have had one open. */
	CHECK(descriptors() <= before + CLIENTS);
	done("no descriptor is left over");
	return failures != 0;
}
