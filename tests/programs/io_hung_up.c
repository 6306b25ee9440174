/* Descriptors that have hung up or are in error, and that nobody asks about any more, cost nothing (POL-5): pipes whose other end is closed, sockets that were
 * reset, Unix pairs. Somebody has waited for each before. CPU time, while all wait and while others compute. */
#include "sync_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include "sleeping.h"

enum { KINDS = 4, N = 13 * KINDS, HOGS = 8, ROUNDS = 40 };
static struct end {
	int kept, other;
	_Atomic pid_t tid;
} end[N];

/* Reads a byte that comes later; of a full pipe, writes one when there is room. */
static void *waits(void *arg) {
	struct end *e = arg;
	char c = 'x';
	e->tid = gettid();
	if ((e - end) % KINDS == 3)
		return (void *)(write(e->kept, &c, 1) - 1);
	return (void *)(read(e->kept, &c, 1) - 1);
}

static void tcp_pair(int s[2]) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct linger reset = {1, 0};
	socklen_t length = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0);
	EQ(bind(l, (struct sockaddr *)&a, sizeof a), 0);
	EQ(listen(l, 1), 0);
	EQ(getsockname(l, (struct sockaddr *)&a, &length), 0);
	s[0] = socket(AF_INET, SOCK_STREAM, 0);
	EQ(connect(s[0], (struct sockaddr *)&a, sizeof a), 0);
	s[1] = accept(l, NULL, NULL);
	EQ(setsockopt(s[1], SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
	close(l);
}

/* Fills it: what is written waits. */
static void full_pipe(int s[2]) {
	static const char page[4096];
	int fds[2];
	EQ(pipe2(fds, O_NONBLOCK), 0);
	while (write(fds[1], page, sizeof page) > 0)
		continue;
	EQ(fcntl(fds[0], F_SETFL, 0), 0);
	EQ(fcntl(fds[1], F_SETFL, 0), 0);
	s[0] = fds[1];
	s[1] = fds[0];
}

static void end_make(struct end *e) {
	int s[2] = {-1, -1};
	switch ((e - end) % KINDS) {
	case 0:
		EQ(pipe(s), 0);
		break;
	case 1:
		tcp_pair(s);
		break;
	case 2:
		EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
		break;
	default:
		full_pipe(s);
	}
	e->kept = s[0];
	e->other = s[1];
}

static void end_satisfy(struct end *e) {
	char page[4096];
	if ((e - end) % KINDS == 3)
		EQ(read(e->other, page, sizeof page), sizeof page);
	else
		EQ(write(e->other, page, 1), 1);
}

static long long cpu_of(pthread_t t) {
	clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
	EQ(pthread_getcpuclockid(t, &clock), 0);
	return now_ns(clock);
}

static _Atomic bool stop;

static void *computes(void *arg) {
	while (!stop)
		continue;
	return arg;
}

static void *reads_one(void *arg) {
	char c;
	return (void *)(read(*(int *)arg, &c, 1) - 1);
}

/* Of the time that the process computes, how many hundredths are the hogs'? The rest is the price of looking after them, and after what hung up. */
static long share(void) {
	pthread_t hog[HOGS];
	long long from[HOGS], all, theirs = 0;
	for (int i = 0; i < HOGS; i++)
		hog[i] = start(computes, NULL);
	for (int i = 0; i < HOGS; i++)
		from[i] = cpu_of(hog[i]);
	all = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	/* Main goes on, too: each of these waits ends. */
	for (int i = 0; i < ROUNDS; i++)
		usleep(10000);
	for (int i = 0; i < HOGS; i++)
		theirs += cpu_of(hog[i]) - from[i];
	all = now_ns(CLOCK_PROCESS_CPUTIME_ID) - all;
	stop = true;
	for (int i = 0; i < HOGS; i++)
		join(hog[i]);
	return (long)(theirs * 100 / all);
}

int main(void) {
	pthread_t t[N], elsewhere;
	int other[2];
	test_begin();
	signal(SIGPIPE, SIG_IGN);
	EQ(pipe(other), 0);
	elsewhere = start(reads_one, &other[0]);
	for (int i = 0; i < N; i++) {
		end_make(&end[i]);
		t[i] = start(waits, &end[i]);
	}
	for (int i = 0; i < N; i++)
		await_sleeping(&end[i].tid);
	for (int i = 0; i < N; i++)
		end_satisfy(&end[i]);
	for (int i = 0; i < N; i++)
		EQ(join(t[i]), 0);
	step("waited");
	for (int i = 0; i < N; i++)
		close(end[i].other);
	usleep(300000); /* what looks after the threads calms down */
	long long before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	usleep(1000000);
	long long used = now_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
	fprintf(stderr, "idle: %lld us of a second\n", used / 1000);
	CHECK(used < 100000000); /* who is woken again and again takes all of it; beside others' work a build that checks itself has taken 23 ms */
	step("idle");
	long percent = share();
	fprintf(stderr, "%ld %% are the threads'\n", percent);
	CHECK(percent >= 85);
	step("busy");
	EQ(write(other[1], "x", 1), 1);
	EQ(join(elsewhere), 0);
	for (int i = 0; i < N; i++) { /* they say what they have to say when somebody asks */
		char c;
		ssize_t r = i % KINDS == 3 ? write(end[i].kept, "x", 1) : read(end[i].kept, &c, 1);
		EQ(r, i % KINDS == 0 || i % KINDS == 2 ? 0 : -1);
		if (r < 0)
			EQ(errno, i % KINDS == 1 ? ECONNRESET : EPIPE);
	}
	return test_end();
}
