/* What a thread leaves behind in libc: the resolver's sockets that were to stay open are closed as it ends, and the next begins with no
 * error of its own, of the resolver or of the loader (TLS-7). */
#include "sync_test.h"
#include "process_test.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <resolv.h>
#include <sys/socket.h>

enum { THREADS = 10, QUESTION = 12 };
static int server;
static struct sockaddr_in address = {.sin_family = AF_INET};

static int descriptors(void) {
	return files_in("/proc/self/fd");
}

/* There is no such name. Until it is asked less than a question. */
static void *answers(void *arg) {
	unsigned char message[512];
	struct sockaddr_in peer;
	socklen_t size = sizeof peer;
	ssize_t n;
	while ((n = recvfrom(server, message, sizeof message, 0, (struct sockaddr *)&peer, &size)) >= QUESTION) {
		message[2] |= 0x80;
		message[3] = 0x80 | 3;
		sendto(server, message, (size_t)n, 0, (struct sockaddr *)&peer, size);
		size = sizeof peer;
	}
	return arg;
}

static void asks(void) {
	unsigned char answer[512];
	EQ(res_init(), 0);
	_res.nscount = 1;
	_res.nsaddr_list[0] = address;
	_res.options |= RES_STAYOPEN;
	_res.retrans = _res.retry = 1;
	EQ(res_query("example.test", C_IN, T_A, answer, sizeof answer), -1);
	EQ(h_errno, HOST_NOT_FOUND);
}

static void *asks_and_ends(void *arg) {
	int before = descriptors();
	asks();
	EQ(descriptors(), before + 1);
	if (arg)
		pthread_exit(NULL);
	return NULL;
}

static void *asks_and_is_cancelled(void *arg) {
	asks();
	pthread_cancel(pthread_self());
	pthread_testcancel();
	return arg;
}

static void sockets(void) {
	static void *(*const kinds[])(void *) = {asks_and_ends, asks_and_is_cancelled};
	join(start(asks_and_ends, NULL)); /* what is opened once is open */
	int before = descriptors();
	for (long i = 0; i < THREADS; i++)
		join(start(kinds[i % 2], (void *)(i & 2)));
	EQ(descriptors(), before);
	step("sockets");
}

static void *leaves_errors(void *arg) {
	h_errno = NO_RECOVERY;
	errno = ERANGE;
	CHECK(!dlopen("/nonexistent/library.so", RTLD_NOW));
	return arg;
}

static void *has_none(void *arg) {
	EQ(errno, 0);
	EQ(h_errno, 0);
	CHECK(!dlerror());
	return arg;
}

static void errors(void) {
	for (int i = 0; i < THREADS; i++) {
		join(start(leaves_errors, NULL));
		join(start(has_none, NULL));
	}
	step("errors");
}

int main(void) {
	socklen_t size = sizeof address;
	test_begin();
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server = socket(AF_INET, SOCK_DGRAM, 0);
	EQ(bind(server, (struct sockaddr *)&address, sizeof address), 0);
	EQ(getsockname(server, (struct sockaddr *)&address, &size), 0);
	pthread_t t = start(answers, NULL);
	sockets();
	EQ(sendto(server, "", 1, 0, (struct sockaddr *)&address, size), 1);
	join(t);
	errors();
	return test_end();
}
