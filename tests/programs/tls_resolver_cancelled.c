/* A thread is cancelled while libc waits for a name server's answer, and what libc keeps of the query ends with it: the next thread's first query reads the
 * settings, as in any fresh thread (TLS-12). */
#include "sync_test.h"

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <sys/socket.h>

static struct sockaddr_in server;

static void *asks(void *arg) {
	unsigned char answer[512];
	res_init();
	_res.nscount = 1;
	_res.nsaddr_list[0] = server;
	_res.retrans = 30;
	res_query("name.test", ns_c_in, ns_t_a, answer, sizeof answer);
	return arg;
}

/* A name that no query has room for: nothing is sent. */
static void *asks_in_vain(void *arg) {
	char name[100];
	unsigned char answer[512];
	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = '\0';
	EQ(_res.options & RES_INIT, 0);
	EQ(res_query(name, ns_c_in, ns_t_a, answer, sizeof answer), -1);
	CHECK(_res.options & RES_INIT);
	CHECK(_res.nscount > 0);
	return arg;
}

int main(void) {
	char query[512];
	socklen_t size = sizeof server;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	test_begin();
	server.sin_family = AF_INET;
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	EQ(bind(fd, (struct sockaddr *)&server, sizeof server), 0);
	EQ(getsockname(fd, (struct sockaddr *)&server, &size), 0);
	for (int i = 0; i < 20; i++) {
		pthread_t t = start(asks, NULL);
		CHECK(recv(fd, query, sizeof query, 0) > 0);
		EQ(pthread_cancel(t), 0);
		CHECK(join(t) == (long)PTHREAD_CANCELED);
		for (int next = 0; next < 3; next++)
			EQ(join(start(asks_in_vain, (void *)1)), 1);
	}
	return test_end();
}
