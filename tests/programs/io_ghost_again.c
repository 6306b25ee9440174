/* A call waits in the kernel, its number is closed or becomes another's, and then signals come whose handler runs in another thread. The call is not disturbed: it goes on with
 * what it began with, and what the number means by then is left alone (FD-1, FD-3). With a handler that has calls restarted, and with one that has not. */
#include "io_test.h"

#include <mqueue.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { SIGNALS = 5 };
static int fd;
static mqd_t queue;

/* The one that waits may be chosen to take a signal. Then its call is made again by its number, or fails: also on kernel threads. */
static __thread bool waits;
static volatile bool taken, about;

static void handler(int sig) {
	(void)sig;
	if (waits)
		taken = true;
}

#define UNTAKEN(check) \
	do { \
		if (!taken) \
			check; \
	} while (0)

static pthread_t waiter(void *(*waits_for)(void *)) {
	taken = about = false;
	pthread_t t = start(waits_for, NULL);
	while (!about)
		usleep(1000);
	usleep(50000);
	return t;
}

/* For main, from another process, which knows kernel threads only. (To the process, whoever is asked to take one may find that another has: then the kernel makes the call again by its
 * number, and nobody is told.) */
static void disturb(void) {
	pid_t parent = getpid(), child = fork();
	int status;
	if (child == 0) {
		for (int i = 3; i < 64; i++)
			close(i);
		for (int i = 0; i < SIGNALS; i++) {
			syscall(SYS_tgkill, parent, parent, SIGUSR1);
			usleep(10000);
		}
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0)
		continue;
	/* Nor by another signal's handler that changes: who waits in the kernel may be asked whether it has one of those. */
	for (int i = 0; i < SIGNALS; i++) {
		signal(SIGUSR2, i % 2 ? SIG_IGN : handler);
		usleep(10000);
	}
}

static void *waits_flock(void *arg) {
	waits = about = true;
	long got = (long)flock(fd, LOCK_EX);
	waits = false;
	UNTAKEN(EQ(got, 0));
	return arg;
}

static void *waits_ofd(void *arg) {
	struct flock lock = {.l_type = F_WRLCK};
	waits = about = true;
	long got = (long)fcntl(fd, F_OFD_SETLKW, &lock);
	waits = false;
	UNTAKEN(EQ(got, 0));
	return arg;
}

/* Another's lock is waited for; the file that gets the number stays free. */
static void locks(void *(*waits_for)(void *), bool ofd) {
	char a[] = "/tmp/ghostXXXXXX", b[] = "/tmp/ghostXXXXXX";
	struct flock all = {.l_type = F_WRLCK}, none = {.l_type = F_UNLCK};
	int holder = mkstemp(a), other = mkstemp(b), look;
	fd = open(a, O_RDWR);
	EQ(ofd ? fcntl(holder, F_OFD_SETLK, &all) : flock(holder, LOCK_EX), 0);
	pthread_t t = waiter(waits_for);
	EQ(dup2(other, fd), fd);
	close(other);
	look = open(b, O_RDWR);
	unlink(a);
	unlink(b);
	disturb();
	UNTAKEN(EQ(ofd ? fcntl(look, F_OFD_SETLK, &all) : flock(look, LOCK_EX | LOCK_NB), 0));
	close(look);
	EQ(ofd ? fcntl(holder, F_OFD_SETLK, &none) : flock(holder, LOCK_UN), 0);
	join(t);
	close(fd);
	close(holder);
}

/* fcntl()'s locks of the same file, taken after the number was closed, outlive the wait; until the program closes the file. */
static void record_locks(void) {
	char a[] = "/tmp/ghostXXXXXX";
	struct flock all = {.l_type = F_WRLCK};
	int holder = mkstemp(a), status;
	fd = open(a, O_RDWR);
	EQ(flock(holder, LOCK_EX), 0);
	pthread_t t = waiter(waits_flock);
	close(fd);
	int null = open("/dev/null", O_RDONLY), locked = open(a, O_RDWR); /* null has the number */
	EQ(fcntl(locked, F_SETLK, &all), 0);
	EQ(flock(holder, LOCK_UN), 0);
	join(t);
	for (int still = 1; still >= 0; still--) {
		pid_t child = fork();
		if (child == 0) {
			fcntl(open(a, O_RDWR), F_GETLK, &all);
			_exit(all.l_type != F_UNLCK);
		}
		EQ(waitpid(child, &status, 0), child);
		EQ(WEXITSTATUS(status), still);
		close(locked);
	}
	unlink(a);
	close(null);
	close(holder);
}

static void *waits_eventfd(void *arg) {
	uint64_t five = 5;
	waits = about = true;
	long got = (long)write(fd, &five, sizeof five);
	waits = false;
	UNTAKEN(EQ(got, (ssize_t)sizeof five));
	return arg;
}

static void events(void) {
	uint64_t value = UINT64_MAX - 1;
	fd = eventfd(0, 0);
	EQ(write(fd, &value, sizeof value), (ssize_t)sizeof value);
	int same = dup(fd), other = eventfd(0, EFD_NONBLOCK);
	pthread_t t = waiter(waits_eventfd);
	EQ(dup2(other, fd), fd);
	disturb();
	UNTAKEN(FAILS(read(other, &value, sizeof value), EAGAIN));
	EQ(read(same, &value, sizeof value), (ssize_t)sizeof value);
	join(t);
	if (!taken) {
		EQ(read(same, &value, sizeof value), (ssize_t)sizeof value);
		EQ(value, 5);
	}
	close(same);
	close(other);
	close(fd);
}

static struct sockaddr_un name = {.sun_family = AF_UNIX};
static socklen_t name_size;

static void *waits_connect(void *arg) {
	waits = about = true;
	long got = (long)connect(fd, (struct sockaddr *)&name, name_size);
	waits = false;
	UNTAKEN(EQ(got, 0));
	return arg;
}

static void connection(void) {
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0);
	name_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)sprintf(name.sun_path + 1, "ghost %d", getpid()));
	EQ(bind(listener, (struct sockaddr *)&name, name_size), 0);
	EQ(listen(listener, 0), 0);
	EQ(connect(first, (struct sockaddr *)&name, name_size), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	pthread_t t = waiter(waits_connect);
	close(fd);
	disturb();
	close(accept(listener, NULL, NULL));
	join(t);
	close(listener);
	close(first);
}

static void *waits_message(void *arg) {
	char text[64];
	waits = about = true;
	long got = (long)mq_receive(queue, text, sizeof text, NULL);
	waits = false;
	UNTAKEN(EQ(got, 3));
	return arg;
}

static void messages(void) {
	char path[32];
	struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 64};
	sprintf(path, "/ghost%d", getpid());
	queue = mq_open(path, O_RDWR | O_CREAT, 0600, &attr);
	if (queue == (mqd_t)-1)
		return; /* this kernel has none, or not here */
	mqd_t same = mq_open(path, O_WRONLY);
	mq_unlink(path);
	pthread_t t = waiter(waits_message);
	EQ(mq_close(queue), 0);
	disturb();
	EQ(mq_send(same, "abc", 3, 0), 0);
	join(t);
	mq_close(same);
}

/* What is made at the first use is there, however unlucky that is. */
static void *warms_up(void *arg) {
	for (int i = 0; i < 50; i++) {
		int ends[2];
		char c;
		EQ(pipe(ends), 0);
		EQ(write(ends[1], "x", 1), 1);
		EQ(read(ends[0], &c, 1), 1);
		close(ends[0]);
		close(ends[1]);
	}
	return arg;
}

int main(void) {
	join(start(warms_up, NULL));
	for (int restarts = 0; restarts < 2; restarts++) {
		struct sigaction sa = {.sa_handler = handler, .sa_flags = restarts ? SA_RESTART : 0};
		sigaction(SIGUSR1, &sa, NULL);
		locks(waits_flock, false);
		locks(waits_ofd, true);
		record_locks();
		events();
		connection();
		messages();
	}
	printf("%d failures\n", failures);
	return failures != 0;
}
