/* What a terminal says that readiness does not tell: to who does not wait, to the background, to who waits as it goes; and that its writers take turns. */
#include "terminal_test.h"

enum { RECORD = 16000, RECORDS = 5 };

static int slave;

static void reads_without_waiting(void) {
	char buf[8];
	int master;
	struct termios t;
	terminal_open(&master, &slave, &t);
	EQ(fcntl(slave, F_SETFL, O_NONBLOCK), 0);
	FAILS(read(slave, buf, sizeof buf), EAGAIN);
	terminal_raw(slave, &t, 0, 0);
	EQ(read(slave, buf, sizeof buf), 0);
	EQ(read(slave, buf, sizeof buf), 0);
	terminal_raw(slave, &t, 1, 0);
	FAILS(read(slave, buf, sizeof buf), EAGAIN);
	write_all(master, "abc", 3);
	EQ(tcdrain(master), 0);
	EQ(poll(&(struct pollfd){.fd = slave, .events = POLLIN}, 1, -1), 1);
	EQ(read(slave, buf, sizeof buf), 3);
	FAILS(read(slave, buf, sizeof buf), EAGAIN);
	close(master);
	EQ(read(slave, buf, sizeof buf), 0);
	close(slave);
}

static void *reads_in_background(void *arg) {
	char c;
	for (int flags = O_NONBLOCK; flags >= 0; flags -= O_NONBLOCK) {
		EQ(fcntl(slave, F_SETFL, flags), 0);
		FAILS(read(slave, &c, 1), EIO);
		FAILS(readv(slave, &(struct iovec){&c, 1}, 1), EIO);
	}
	return arg;
}

/* A process in the background of its session, which ignores the signal for it. Forked before there are threads. */
static void background(void) {
	char name[100];
	int master = posix_openpt(O_RDWR | O_NOCTTY), status = -1;
	EQ(grantpt(master), 0);
	EQ(unlockpt(master), 0);
	snprintf(name, sizeof name, "%s", ptsname(master));
	fflush(stdout);
	if (fork() == 0) {
		setsid();
		slave = open(name, O_RDWR);
		pid_t child = fork();
		if (child == 0) {
			EQ(setpgid(0, 0), 0);
			signal(SIGTTIN, SIG_IGN);
			join(start(reads_in_background, NULL));
			fflush(stdout);
			_exit(failures);
		}
		EQ(waitpid(child, &status, 0), child);
		_exit(status != 0);
	}
	wait(&status);
	EQ(status, 0);
	close(master);
}

static void *writes(void *arg) {
	char record[RECORD];
	memset(record, *(char *)arg, RECORD);
	for (int i = 0; i < RECORDS; i++)
		write_all(slave, record, RECORD);
	return NULL;
}

static void records(void) {
	char buf[4096], last = 0;
	long in_a_row = 0, split = 0, got = 0;
	int master;
	struct termios t;
	terminal_open(&master, &slave, &t);
	cfmakeraw(&t);
	EQ(tcsetattr(slave, TCSANOW, &t), 0);
	pthread_t a = start(writes, "A"), b = start(writes, "B");
	while (got < 2 * RECORD * RECORDS) {
		ssize_t n = read(master, buf, sizeof buf);
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++, in_a_row++) {
			if (buf[i] == last)
				continue;
			split += in_a_row % RECORD != 0;
			in_a_row = 0;
			last = buf[i];
		}
		got += n;
	}
	join(a);
	join(b);
	EQ(got, 2 * RECORD * RECORDS);
	EQ(split, 0);
	close(slave);
	close(master);
}

static void handler(int sig) {
	(void)sig;
}

static void *writes_much(void *arg) {
	static char much[100000];
	struct reader *r = arg;
	r->tid = gettid();
	r->got = write(slave, much, sizeof much);
	return NULL;
}

/* After a part the call ends with that, whatever the handler's flags; or the thread with it. */
static void interrupted(void) {
	int master;
	struct termios t;
	terminal_open(&master, &slave, &t);
	for (int i = 0; i < 2; i++) {
		struct reader r = {.fd = slave};
		sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART}, NULL);
		pthread_t w = start(writes_much, &r);
		await_waiting(&r);
		if (i) {
			EQ(pthread_cancel(w), 0);
			CHECK(join(w) == PTHREAD_CANCELED);
			break;
		}
		EQ(pthread_kill(w, SIGUSR1), 0);
		join(w);
		CHECK(r.got > 0 && r.got < 100000);
		EQ(tcflush(slave, TCIOFLUSH), 0);
		EQ(tcflush(master, TCIOFLUSH), 0);
	}
	close(slave);
	close(master);
}

/* An error for who waits when the other end closes, the end for who comes later. */
static void hung_up(void) {
	char c;
	int master;
	struct termios t;
	terminal_open(&master, &slave, &t);
	struct reader r = {.fd = slave};
	pthread_t w = start(read_once, &r);
	await_waiting(&r);
	write_all(master, "\4", 1);
	join(w);
	EQ(r.got, 0); /* the end of the input is none of the terminal */
	r = (struct reader){.fd = slave};
	w = start(read_once, &r);
	await_waiting(&r);
	close(master);
	join(w);
	EQ(r.got, -1);
	EQ(r.error, EIO);
	EQ(read(slave, &c, 1), 0);
	close(slave);
}

int main(void) {
	alarm(60);
	background();
	done("background");
	become_threaded();
	reads_without_waiting();
	done("reads without waiting");
	records();
	done("records");
	interrupted();
	done("interrupted");
	hung_up();
	done("hung up");
	return failures != 0;
}
