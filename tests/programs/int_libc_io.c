/* What libc waits for inside its own functions (FD-11): stdio on pipes and sockets, popen, the resolver. Signals and cancellation reach a
 * thread in there as they reach it in read(). */
#include "sync_test.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <resolv.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { READERS = 300, BIG = 300000, QUERIES = 100 };

/* ---- fgets on pipes and sockets, all waiting at once ------------------------------------------------------------------- */

static int ends[READERS][2];

static void *reads_line(void *arg) {
	int i = (int)(long)arg;
	char line[100] = "";
	FILE *in = fdopen(ends[i][0], "r");
	long sum = 0;
	while (fgets(line, sizeof line, in))
		sum += atol(line);
	bool end = feof(in) && !ferror(in);
	fclose(in);
	return (void *)(end ? sum : -1);
}

static void lines(void) {
	pthread_t t[READERS];
	long good = 0;
	for (long i = 0; i < READERS; i++) {
		CHECK(i % 2 ? pipe(ends[i]) == 0 : socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) == 0);
		pthread_create(&t[i], NULL, reads_line, (void *)i);
	}
	for (int round = 0; round < 3; round++) {
		for (int i = READERS; i-- > 0;)
			dprintf(ends[i][1], "%d\n%d\n", i, round);
	}
	for (int i = 0; i < READERS; i++) {
		void *sum;
		close(ends[i][1]);
		pthread_join(t[i], &sum);
		good += (long)sum == 3l * i + 3;
	}
	printf("%ld readers\n", good);
}

/* ---- a stream whose pipe is full -------------------------------------------------------------------------------------------- */

static void *writes_much(void *arg) {
	FILE *out = fdopen(*(int *)arg, "w");
	long n = 0;
	for (int i = 0; i < BIG / 10; i++)
		n += fputs("123456789\n", out) >= 0;
	return (void *)(fclose(out) == 0 ? n : -1);
}

static void full_pipe(void) {
	int p[2];
	char buf[1000];
	pthread_t t;
	long total = 0;
	ssize_t n;
	void *written;
	CHECK(pipe(p) == 0);
	pthread_create(&t, NULL, writes_much, &p[1]);
	while ((n = read(p[0], buf, sizeof buf)) > 0)
		total += n;
	pthread_join(t, &written);
	close(p[0]);
	printf("wrote %ld lines, read %ld bytes\n", (long)written, total);
}

/* ---- popen ---------------------------------------------------------------------------------------------------------------- */

static void *runs_command(void *arg) {
	char command[60], line[60] = "";
	snprintf(command, sizeof command, "sleep 0.2; echo out %d; exit %d", (int)(long)arg, (int)(long)arg);
	FILE *p = popen(command, "r");
	bool good = p && fgets(line, sizeof line, p) && atol(line + 4) == (long)arg;
	int status = p ? pclose(p) : -1;
	return (void *)(long)(good && WIFEXITED(status) && WEXITSTATUS(status) == (int)(long)arg);
}

static void commands(void) {
	pthread_t t[8];
	long good = 0;
	for (long i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, runs_command, (void *)i);
	for (int i = 0; i < 8; i++) {
		void *r;
		pthread_join(t[i], &r);
		good += (long)r;
	}
	printf("%ld commands\n", good);
}

/* ---- the resolver --------------------------------------------------------------------------------------------------------------- */

static int dns;
static struct sockaddr_in dns_address;

/* Answers when everybody has asked. */
static void *serves_names(void *arg) {
	static struct {
		unsigned char text[600];
		ssize_t n;
		struct sockaddr_in from;
	} q[QUERIES];
	(void)arg;
	for (int i = 0; i < QUERIES; i++) {
		socklen_t size = sizeof q[i].from;
		q[i].n = recvfrom(dns, q[i].text, 500, 0, (struct sockaddr *)&q[i].from, &size);
	}
	for (int i = 0; i < QUERIES; i++) {
		static const unsigned char answer[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3};
		q[i].text[2] |= 0x84;
		q[i].text[3] = 0x80;
		q[i].text[7] = 1;  /* one answer */
		q[i].text[11] = 0; /* no more */
		/* the question ends after its name, type and class */
		size_t end = 12 + strlen((char *)q[i].text + 12) + 1 + 4;
		memcpy(q[i].text + end, answer, sizeof answer);
		sendto(dns, q[i].text, end + sizeof answer, 0, (struct sockaddr *)&q[i].from, sizeof q[i].from);
	}
	return NULL;
}

static void *asks(void *arg) {
	struct __res_state state = {0};
	unsigned char answer[600];
	char name[50];
	CHECK(res_ninit(&state) == 0);
	state.nscount = 1;
	state.nsaddr_list[0] = dns_address;
	state.retrans = 20;
	state.retry = 1;
	snprintf(name, sizeof name, "host%d.example.", (int)(long)arg);
	int n = res_nquery(&state, name, 1, 1, answer, sizeof answer);
	res_nclose(&state);
	return (void *)(long)(n > 16 && memcmp(answer + n - 4, "\12\1\2\3", 4) == 0);
}

static void names(void) {
	pthread_t server, t[QUERIES];
	socklen_t size = sizeof dns_address;
	long good = 0;
	dns = socket(AF_INET, SOCK_DGRAM, 0);
	dns_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CHECK(bind(dns, (struct sockaddr *)&dns_address, size) == 0);
	CHECK(getsockname(dns, (struct sockaddr *)&dns_address, &size) == 0);
	pthread_create(&server, NULL, serves_names, NULL);
	for (long i = 0; i < QUERIES; i++)
		pthread_create(&t[i], NULL, asks, (void *)i);
	for (int i = 0; i < QUERIES; i++) {
		void *r;
		pthread_join(t[i], &r);
		good += (long)r;
	}
	pthread_join(server, NULL);
	close(dns);
	printf("%ld names\n", good);
}

static void *looks_up(void *arg) {
	struct addrinfo *list = NULL, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	char host[100] = "";
	(void)arg;
	int r = getaddrinfo("127.0.0.1", "80", &hints, &list);
	if (r == 0) {
		r = getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST);
		freeaddrinfo(list);
	}
	return (void *)(long)(r == 0 && strcmp(host, "127.0.0.1") == 0);
}

static void addresses(void) {
	pthread_t t[50];
	long good = 0;
	for (long i = 0; i < 50; i++)
		pthread_create(&t[i], NULL, looks_up, NULL);
	for (int i = 0; i < 50; i++) {
		void *r;
		pthread_join(t[i], &r);
		good += (long)r;
	}
	printf("%ld addresses\n", good);
}

/* ---- signals and cancellation ------------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t handled;
static _Atomic int in_fgets, cleaned;
static FILE *quiet; /* nobody ever writes there */

static void handler(int sig) {
	(void)sig;
	handled++;
}

static void *waits_for_line(void *arg) {
	char line[10];
	(void)arg;
	in_fgets = 1;
	char *r = fgets(line, sizeof line, quiet);
	int error = errno;
	in_fgets = 2;
	clearerr(quiet);
	return (void *)(long)(r ? 0 : error);
}

static void interrupted(void) {
	struct sigaction sa = {.sa_handler = handler};
	pthread_t t;
	void *error;
	sigaction(SIGUSR1, &sa, NULL);
	in_fgets = 0;
	pthread_create(&t, NULL, waits_for_line, NULL);
	while (in_fgets != 2) { /* it may not be in read() yet when one comes */
		pthread_kill(t, SIGUSR1);
		usleep(1000);
	}
	pthread_join(t, &error);
	printf("fgets: %s, handler %s\n", strerror((int)(long)error), handled ? "ran" : "did not run");
}

static void cleanup(void *arg) {
	(void)arg;
	cleaned = 1;
}

static void *is_cancelled(void *arg) {
	char line[10];
	(void)arg;
	pthread_cleanup_push(cleanup, NULL);
	in_fgets = 1;
	fgets(line, sizeof line, quiet);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *locks_stream(void *arg) {
	(void)arg;
	return (void *)(long)(ftrylockfile(quiet) == 0 ? (funlockfile(quiet), 1) : 0);
}

static void cancelled(void) {
	pthread_t t;
	void *r;
	in_fgets = 0;
	pthread_create(&t, NULL, is_cancelled, NULL);
	while (!in_fgets)
		sched_yield();
	usleep(2000); /* either way it is cancelled in fgets() */
	pthread_cancel(t);
	pthread_join(t, &r);
	printf("cancelled: %d, cleaned up: %d", r == PTHREAD_CANCELED, cleaned);
	pthread_create(&t, NULL, locks_stream, NULL);
	pthread_join(t, &r);
	printf(", stream free: %ld\n", (long)r);
}

int main(void) {
	int p[2];
	CHECK(pipe(p) == 0);
	quiet = fdopen(p[0], "r");
	lines();
	full_pipe();
	commands();
	names();
	addresses();
	interrupted();
	cancelled();
	return 0;
}
