/* A thread that sends on a socket which another one is connecting waits for the connection. To an address that is not the loopback's, if there is one,
 * with a listener that lets nobody in at first. */
#include <ifaddrs.h>
#include <net/if.h>

#include "io_test.h"

static struct sockaddr_in at;
static _Atomic pid_t connector, sender;
static int fd;

static void *connect_one(void *arg) {
	connector = gettid();
	EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	return arg;
}

static void *send_one(void *arg) {
	sender = gettid();
	EQ(send(fd, "x", 1, 0), 1);
	return arg;
}

static void choose_address(void) {
	struct ifaddrs *all = NULL;
	at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (getifaddrs(&all))
		return;
	for (struct ifaddrs *a = all; a; a = a->ifa_next) {
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET && !(a->ifa_flags & IFF_LOOPBACK) && (a->ifa_flags & IFF_UP))
			at.sin_addr = ((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr;
	}
	freeifaddrs(all);
}

int main(void) {
	socklen_t size = sizeof at;
	int first[2], l = socket(AF_INET, SOCK_STREAM, 0);
	char b;
	alarm(60);
	become_threaded();
	choose_address();
	EQ(bind(l, (struct sockaddr *)&at, size), 0);
	EQ(getsockname(l, (struct sockaddr *)&at, &size), 0);
	EQ(listen(l, 0), 0);
	for (int i = 0; i < 2; i++) { /* one more than there is room for: it, and all behind it, try again in a second */
		first[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		CHECK(connect(first[i], (struct sockaddr *)&at, size) == 0 || errno == EINPROGRESS);
	}
	settle();
	fd = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t c = start(connect_one, NULL);
	await_sleeping(&connector);
	settle();
	pthread_t s = start(send_one, NULL);
	await_sleeping(&sender);
	close(first[1]);
	close(accept(l, NULL, NULL));
	int peer = accept(l, NULL, NULL);
	join(c);
	join(s);
	EQ(read(peer, &b, 1), 1);
	done("sent while it was being connected");
	return failures != 0;
}
