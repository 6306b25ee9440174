/* Name resolution, in libc's own code with libc's own sockets and locks, from 200 threads at once. */
#include "sync_test.h"

#include <arpa/inet.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>

static _Atomic int finished;

static void *resolves(void *arg) {
	static const char *const names[] = {"127.0.0.1", "localhost", "::1", "127.0.0.2"};
	long wrong = 0;
	for (int i = 0; i < 5; i++) {
		struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *list = NULL;
		const char *name = names[((long)arg + i) % 4];
		int r = getaddrinfo(name, "80", &hints, &list);
		if (r != 0) {
			wrong += strcmp(name, "localhost") != 0; /* a machine without that name in its hosts file is no fault of ours */
			continue;
		}
		int n = 0;
		for (struct addrinfo *a = list; a; a = a->ai_next) {
			char text[INET6_ADDRSTRLEN] = "";
			n++;
			if (a->ai_family == AF_INET) {
				struct sockaddr_in *in = (struct sockaddr_in *)a->ai_addr;
				inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
				wrong += strncmp(text, "127.0.0.", 8) != 0 || ntohs(in->sin_port) != 80;
			}
		}
		wrong += n == 0;
		freeaddrinfo(list);
		/* Databases with a lock each, and a reentrant form. */
		char buffer[4096];
		struct passwd entry, *found = NULL;
		wrong += getpwuid_r(0, &entry, buffer, sizeof buffer, &found) != 0;
		wrong += found && strcmp(found->pw_name, "root") != 0;
		struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		char host[100];
		wrong += getnameinfo((struct sockaddr *)&any, sizeof any, host, sizeof host, NULL, 0, NI_NUMERICHOST) != 0;
		wrong += strcmp(host, "127.0.0.1") != 0;
	}
	finished++;
	return (void *)wrong;
}

int main(void) {
	static pthread_t t[200];
	long wrong = 0;
	test_begin();
	for (long i = 0; i < 200; i++)
		t[i] = start(resolves, (void *)i);
	for (int i = 0; i < 200; i++)
		wrong += join(t[i]);
	EQ(wrong, 0);
	EQ(finished, 200);
	return test_end();
}
