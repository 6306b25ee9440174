/* eventfd, timerfd, signalfd, inotify, terminals, FIFOs, devices: what blocks, what comes back. */
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "terminal_test.h"

static void *late_value(void *arg) {
	uint64_t v = 5;
	settle();
	EQ(write(*(int *)arg, &v, 8), 8);
	return NULL;
}

static void *late_read(void *arg) {
	uint64_t v;
	settle();
	EQ(read(*(int *)arg, &v, 8), 8);
	return NULL;
}

static void eventfds(void) {
	uint64_t v = 0;
	int fd = eventfd(3, 0);
	EQ(read(fd, &v, 8), 8);
	EQ(v, 3);
	pthread_t t = start(late_value, &fd);
	EQ(eventfd_read(fd, &v), 0);
	EQ(v, 5);
	join(t);
	FAILS(read(fd, &v, 4), EINVAL);
	v = ~0ull;
	FAILS(write(fd, &v, 8), EINVAL);
	/* a writer that waits */
	EQ(eventfd_write(fd, ~0ull - 1), 0);
	t = start(late_read, &fd);
	EQ(eventfd_write(fd, 7), 0);
	join(t);
	EQ(read(fd, &v, 8), 8);
	EQ(v, 7);
	close(fd);
	fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	EQ(read(fd, &v, 8), 8);
	EQ(v, 1);
	EQ(read(fd, &v, 8), 8);
	FAILS(read(fd, &v, 8), EAGAIN);
	close(fd);
	fd = eventfd(0, 0);
	FAILS(read(fd, &v, 4), EINVAL); /* also where there is nothing: it does not wait */
	close(fd);
}

static void timerfds(void) {
	uint64_t v = 0;
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec in = {.it_value = {0, 40000000}, .it_interval = {0, 40000000}};
	EQ(timerfd_settime(fd, 0, &in, NULL), 0);
	TAKES(38, 500, EQ(read(fd, &v, 8), 8));
	CHECK(v >= 1);
	usleep(100000);
	EQ(read(fd, &v, 8), 8);
	CHECK(v >= 2);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	EQ(poll(&p, 1, 1000), 1);
	close(fd);
	fd = timerfd_create(CLOCK_MONOTONIC, 0);
	FAILS(read(fd, &v, 4), EINVAL);
	close(fd);
}

static void signalfds(void) {
	sigset_t set;
	struct signalfd_siginfo info;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	EQ(poll(&p, 1, 20), 0);
	kill(getpid(), SIGUSR2);
	EQ(poll(&p, 1, 1000), 1);
	EQ(read(fd, &info, sizeof info), sizeof info);
	EQ(info.ssi_signo, SIGUSR2);
	for (int i = 0; i < 2; i++) {
		FAILS(read(fd, &info, 8), EINVAL);
		FAILS(read(fd, &info, 4), EINVAL);
	}
	close(fd);
}

static void *late_file(void *arg) {
	settle();
	close(open(arg, O_CREAT | O_WRONLY, 0600));
	return NULL;
}

static void inotifies(const char *dir) {
	char buf[4096], path[200];
	int fd = inotify_init1(IN_CLOEXEC);
	CHECK(inotify_add_watch(fd, dir, IN_CREATE) >= 0);
	snprintf(path, sizeof path, "%s/new", dir);
	pthread_t t = start(late_file, path);
	EQ(read(fd, buf, sizeof buf) > 0, 1);
	struct inotify_event *e = (struct inotify_event *)buf;
	EQ(strcmp(e->name, "new"), 0);
	join(t);
	unlink(path);
	close(fd);
}

static void *fifo_reader(void *arg) {
	char c = 0;
	int fd = open(arg, O_RDONLY);
	CHECK(fd >= 0);
	EQ(read(fd, &c, 1), 1);
	EQ(c, 'f');
	EQ(read(fd, &c, 1), 0);
	/* another writer comes: the same descriptor has a writer again */
	EQ(read(fd, &c, 1), 0);
	close(fd);
	return NULL;
}

static void fifos(const char *dir) {
	char path[200];
	snprintf(path, sizeof path, "%s/fifo", dir);
	EQ(mkfifo(path, 0600), 0);
	FAILS(open(path, O_WRONLY | O_NONBLOCK), ENXIO);
	pthread_t t = start(fifo_reader, path);
	settle();
	int fd = open(path, O_WRONLY);
	CHECK(fd >= 0);
	write_all(fd, "f", 1);
	close(fd);
	join(t);
	/* both ends in one: neither blocks */
	fd = open(path, O_RDWR);
	struct reader r = {.fd = fd};
	t = start(read_once, &r);
	settle();
	write_all(fd, "self", 4);
	join(t);
	EQ(r.got, 4);
	close(fd);
	unlink(path);
}

static void *late_line(void *arg) {
	settle();
	write_all(*(int *)arg, "line\n", 5);
	return NULL;
}

static void terminals(void) {
	char buf[100];
	int master, slave;
	struct termios t;
	terminal_open(&master, &slave, &t);
	pthread_t w = start(late_line, &master);
	EQ(read(slave, buf, sizeof buf), 5);
	join(w);
	write_all(slave, "to master", 9);
	EQ(read(master, buf, sizeof buf), 9);
	terminal_raw(slave, &t, 0, 1);
	TAKES(90, 600, EQ(read(slave, buf, sizeof buf), 0));
	terminal_raw(slave, &t, 5, 0);
	write_all(master, "12", 2);
	w = start(late_line, &master);
	EQ(read(slave, buf, sizeof buf) >= 5, 1);
	join(w);
	EQ(tcdrain(slave), 0);
	close(slave);
	FAILS(read(master, buf, 1), EIO);
	close(master);
}

static void devices(void) {
	char buf[16] = {1};
	int fd = open("/dev/null", O_RDWR);
	EQ(read(fd, buf, 16), 0);
	EQ(write(fd, buf, 16), 16);
	close(fd);
	fd = open("/dev/zero", O_RDONLY);
	EQ(read(fd, buf, 16), 16);
	EQ(buf[0], 0);
	close(fd);
	fd = open("/dev/full", O_WRONLY);
	FAILS(write(fd, buf, 1), ENOSPC);
	close(fd);
	fd = open("/dev/urandom", O_RDONLY);
	EQ(read(fd, buf, 16), 16);
	close(fd);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	FAILS(read(fd, buf, 16), EISDIR);
	close(fd);
}

int main(void) {
	char dir[] = "/tmp/io_special.XXXXXX";
	if (!mkdtemp(dir))
		return 1;
	become_threaded();
	eventfds();
	done("eventfd");
	timerfds();
	done("timerfd");
	signalfds();
	done("signalfd");
	inotifies(dir);
	done("inotify");
	fifos(dir);
	done("fifo");
	terminals();
	done("terminal");
	devices();
	done("devices");
	rmdir(dir);
	return failures != 0;
}
