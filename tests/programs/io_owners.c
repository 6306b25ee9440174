/* Whom a descriptor's signals are for: a thread by its number in each of the calls that take one, which answer with it, too; and who takes a lease or asks to be told of a directory, whose
 * thread waits meanwhile and gets them all. Who is a group is that, and who is nobody is nobody, also when a thread has ended that had a kernel thread of its own. */
#include <sys/file.h>
#include <sys/prctl.h>

#include "io_test.h"

enum { LEASES = 30 };
static int pair[2], gate;
static volatile int told;
static volatile bool over;

static void handler(int sig) {
	(void)sig;
	__atomic_fetch_add(&told, 1, __ATOMIC_RELAXED);
}

static void *by_number(void *arg) {
	int own = gettid(), is = 0;
	struct f_owner_ex owner = {F_OWNER_TID, own};
	EQ(fcntl(pair[0], F_SETOWN, own), 0);
	EQ(ioctl(pair[0], FIOSETOWN, &own), 0);
	EQ(ioctl(pair[0], SIOCSPGRP, &own), 0);
	fcntl(pair[0], F_SETFL, O_ASYNC);
	EQ(write(pair[1], "x", 1), 1);
	while (told == 0)
		usleep(1000);
	EQ(fcntl(pair[0], F_SETOWN_EX, &owner), 0);
	EQ(fcntl(pair[0], F_GETOWN), own);
	EQ(ioctl(pair[0], FIOGETOWN, &is), 0);
	EQ(is, own);
	is = 0;
	EQ(ioctl(pair[0], SIOCGPGRP, &is), 0);
	EQ(is, own);
	is = getpid();
	EQ(ioctl(pair[0], FIOSETOWN, &is), 0);
	EQ(fcntl(pair[0], F_GETOWN), getpid());
	FAILS(ioctl(pair[0], FIOSETOWN, (void *)8), EFAULT);
	FAILS(fcntl(pair[0], F_SETOWN, 0x3fffffff), ESRCH);
	return arg;
}

static const char *leased(long i) {
	static __thread char name[64];
	snprintf(name, sizeof name, "/tmp/lease.%d.%ld", getpid(), i);
	return name;
}

/* Each on a kernel thread of its own for a moment, if that is how threads wait for a lock of a file. */
static void *leases(void *arg) {
	int fd = open(leased((long)arg), O_RDONLY | O_CREAT, 0600), mine = open(leased(LEASES), O_RDWR);
	EQ(flock(mine, LOCK_SH), 0);
	EQ(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
	close(mine);
	__atomic_fetch_add(&gate, 1, __ATOMIC_RELAXED);
	while (!over)
		usleep(10000);
	EQ(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
	close(fd);
	return arg;
}

static void all_leases(void) {
	pthread_t t[LEASES];
	int lock = open(leased(LEASES), O_RDWR | O_CREAT, 0600);
	EQ(flock(lock, LOCK_EX), 0);
	for (long i = 0; i < LEASES; i++)
		t[i] = start(leases, (void *)i);
	usleep(100000);
	flock(lock, LOCK_UN);
	while (gate < LEASES)
		usleep(1000);
	usleep(300000); /* kernel threads that nobody needs are gone by now */
	for (int i = 0; i < LEASES; i++) {
		told = 0;
		char name[64];
		strcpy(name, leased(i));
		pid_t child = fork();
		if (child == 0) {
			open(name, O_WRONLY | O_NONBLOCK);
			_exit(0);
		}
		while (waitpid(child, NULL, 0) < 0)
			continue;
		while (told == 0)
			usleep(1000);
	}
	over = true;
	for (int i = 0; i < LEASES; i++)
		join(t[i]);
	for (int i = 0; i <= LEASES; i++)
		unlink(leased(i));
	close(lock);
}

/* Main's is the process. */
static void of_main(void) {
	for (int i = 0; i < 20; i++) {
		usleep(1000);
		int fd = open(leased(0), O_RDONLY | O_CREAT, 0600), folder = open("/tmp", O_RDONLY | O_DIRECTORY);
		EQ(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
		EQ(fcntl(fd, F_GETOWN), getpid());
		EQ(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
		EQ(fcntl(folder, F_NOTIFY, DN_RENAME | DN_MULTISHOT), 0);
		EQ(fcntl(folder, F_GETOWN), getpid());
		EQ(fcntl(folder, F_NOTIFY, 0), 0);
		close(fd);
		close(folder);
	}
	unlink(leased(0));
}

static void owner_is(int fd, int owner) {
	int is = 1;
	EQ(fcntl(fd, F_GETOWN), owner);
	EQ(ioctl(fd, FIOGETOWN, &is), 0);
	EQ(is, owner);
	EQ(ioctl(fd, SIOCGPGRP, &is), 0);
	EQ(is, owner);
}

static void *sets_its_own(void *arg) {
	EQ(prctl(PR_SET_TIMERSLACK, 70000), 0);
	return arg;
}

static void nobody_and_group(void) {
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	for (int i = 0; i < 20; i++) {
		join(start(sets_its_own, NULL));
		usleep(1000); /* its kernel thread ends */
		owner_is(fd, 0);
	}
	EQ(fcntl(fd, F_SETOWN, -getpgrp()), 0);
	owner_is(fd, -getpgrp());
	close(fd);
}

int main(void) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGIO, &sa, NULL);
	EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	join(start(by_number, NULL));
	all_leases();
	of_main();
	nobody_and_group();
	printf("%d failures\n", failures);
	return failures != 0;
}
