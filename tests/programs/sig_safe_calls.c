/* POSIX's async-signal-safe functions, each called by a handler, a line each (SIG-9): the handler interrupts a thread that waits, one that takes
 * locks, allocates, prints and makes threads without end, one that waits in the kernel, and main, which does a little of all that. What it returns is what
 * it returns anywhere, and none of them notices. Processes are made by _Fork(): fork() on top of malloc() waits for ever for the arena that its own thread
 * has in glibc; setuid() and setgid() are left out on top of pthread_create() and pthread_join(), as glibc's take the lock that those hold. */
#include <aio.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>
#include <wchar.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static char directory[] = "/tmp/sig_safe_calls.XXXXXX";
static int dir, file, pair[2], pty, listening;
static sem_t waited, done, spare;
static timer_t timer;
static struct aiocb aio;
static char buf[256];
static wchar_t wide[64];
static struct stat st;
static struct sockaddr_un name;
static socklen_t size;
static struct timespec ts;
static struct timeval tv;
static sigset_t set;
static struct termios term;
static void *volatile opaque; /* what the compiler knows nothing about */
static __thread volatile bool threading; /* this thread is inside pthread_create() or pthread_join() */

static void nothing(int sig) {
	(void)sig;
}

static long closing(int fd) {
	return fd < 0 ? -1 : close(fd);
}

/* In a child: its status, as waitpid()'s. */
#define CHILD(expr) \
	({ \
		pid_t child_ = _Fork(); \
		if (child_ == 0) { \
			signal(SIGABRT, SIG_DFL); \
			_exit((expr) == 0 ? 0 : 1); \
		} \
		int status_ = -1; \
		child_ < 0 ? -1 : waitpid(child_, &status_, 0) == child_ ? status_ : -1; \
	})
#define NUL ((char *)NULL)

static long core_less(void) {
	struct rlimit none = {0, 0};
	return setrlimit(RLIMIT_CORE, &none);
}
/* Blocked, pending, then waited for. */
static void pend(void) {
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &one, NULL);
	raise(SIGUSR2);
}
static void unpend(void) {
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}
static long suspended(void) {
	sigset_t none;
	pend();
	pthread_sigmask(SIG_BLOCK, NULL, &none);
	sigdelset(&none, SIGUSR2);
	long r = sigsuspend(&none);
	int e = errno;
	unpend();
	errno = e;
	return r;
}
static long sigpaused(void) {
	pend();
	long r = sigpause(SIGUSR2);
	int e = errno;
	unpend();
	errno = e;
	return r;
}
static long was_pending(void) {
	sigset_t p;
	pend();
	long r = sigpending(&p) == 0 ? sigismember(&p, SIGUSR2) : -1;
	unpend();
	return r;
}
static long paused(void) { /* in a child */
	struct itimerval often = {{0, 5000}, {0, 5000}};
	signal(SIGALRM, nothing);
	setitimer(ITIMER_REAL, &often, NULL);
	return pause() == -1 && errno == EINTR ? 0 : 1;
}
/* SIG_HOLD, where this handler interrupted SIGUSR2's. */
static long resigned(void) {
	unpend();
	return sigset(SIGUSR2, nothing) == nothing;
}
static long jumped(void) {
	jmp_buf env;
	volatile int turns = 0;
	if (setjmp(env) == 0)
		longjmp(env, 1);
	return ++turns;
}
static long sigjumped(void) {
	sigjmp_buf env;
	volatile int turns = 0;
	if (sigsetjmp(env, 1) == 0)
		siglongjmp(env, 1);
	return ++turns;
}
static long connected(void) {
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size = sizeof name;
	getsockname(listening, (struct sockaddr *)&name, &size);
	long r = connect(fd, (struct sockaddr *)&name, size);
	close(fd);
	return r;
}
static long accepted(void) {
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size = sizeof name;
	getsockname(listening, (struct sockaddr *)&name, &size);
	connect(fd, (struct sockaddr *)&name, size);
	long r = closing(accept(listening, NULL, NULL));
	close(fd);
	return r;
}
static long bound(void) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	long r = bind(fd, (struct sockaddr *)&a, sizeof(sa_family_t)) || listen(fd, 1);
	close(fd);
	return r;
}
static long shut(void) {
	int fd[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
	long r = shutdown(fd[0], SHUT_WR) || read(fd[1], buf, 1) != 0;
	close(fd[0]);
	close(fd[1]);
	return r;
}
static long piped(void) {
	int fd[2];
	long r = pipe(fd);
	r |= write(fd[1], "x", 1) != 1 || read(fd[0], buf, 2) != 1;
	close(fd[0]);
	close(fd[1]);
	return r;
}
static long waits(void) {
	pid_t child = _Fork();
	if (child == 0)
		_exit(3);
	int status = 0;
	return wait(&status) == child ? WEXITSTATUS(status) : -1;
}
static long got(void) { return write(pair[1], "abc", 3) == 3 ? 0 : -1; }
static struct iovec iov = {buf, sizeof buf};
static struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
static struct iovec out_iov = {"abc", 3};
static struct msghdr out = {.msg_iov = &out_iov, .msg_iovlen = 1};
static struct pollfd polled;
static fd_set fds;
static struct sigaction action;
static char *const argv[] = {"true", NULL}, *const envp[] = {NULL};
static char *save;
static wchar_t *wide_save;
static long selected(void) { FD_ZERO(&fds); FD_SET(pair[0], &fds); tv = (struct timeval){0, 0}; return select(pair[0] + 1, &fds, NULL, NULL, &tv); }
static long pselected(void) { FD_ZERO(&fds); FD_SET(pair[0], &fds); ts = (struct timespec){0, 0}; return pselect(pair[0] + 1, &fds, NULL, NULL, &ts, NULL); }

#define CALLS \
	X(_Exit, CHILD((_Exit(5), 0))) X(_exit, CHILD((_exit(6), 0))) X(abort, CHILD((core_less(), abort(), 0))) X(accept, accepted()) \
	X(access, access("file", R_OK)) X(aio_error, aio_error(&aio)) X(aio_return, aio_return(&aio) >= 0) \
	X(aio_suspend, aio_suspend((const struct aiocb *[]){&aio}, 1, NULL)) X(alarm, (alarm(1000), alarm(60) > 0)) X(bind, bound()) \
	X(cfgetispeed, cfgetispeed(&term)) X(cfgetospeed, cfgetospeed(&term)) X(cfsetispeed, cfsetispeed(&term, B9600)) \
	X(cfsetospeed, cfsetospeed(&term, B9600)) X(chdir, chdir(".")) X(chmod, chmod("file", 0600)) X(chown, chown("file", -1, -1)) \
	X(clock_gettime, clock_gettime(CLOCK_REALTIME, &ts)) X(close, close(dup(file))) X(close_bad, close(-1)) X(connect, connected()) \
	X(creat, closing(creat("made", 0600))) X(dup, closing(dup(file))) X(dup2, closing(dup2(file, 900))) \
	X(execl, CHILD(execl("/bin/true", "true", NUL))) X(execle, CHILD(execle("/bin/true", "true", NUL, envp))) \
	X(execv, CHILD(execv("/bin/false", argv))) X(execve, CHILD(execve("/bin/true", argv, envp))) X(faccessat, faccessat(dir, "file", R_OK, 0)) \
	X(fchdir, fchdir(dir)) X(fchmod, fchmod(file, 0600)) X(fchmodat, fchmodat(dir, "file", 0600, 0)) X(fchown, fchown(file, -1, -1)) \
	X(fchownat, fchownat(dir, "file", -1, -1, 0)) X(fcntl, fcntl(file, F_GETFD)) X(fdatasync, fdatasync(pair[0])) \
	X(fexecve, CHILD(fexecve(open("/bin/true", O_RDONLY), argv, envp))) X(ffs, ffs((int)(long)opaque + 8)) X(fork, CHILD(0)) \
	X(fstat, fstat(file, &st)) X(fstatat, fstatat(dir, "file", &st, 0)) X(fsync, fsync(pair[0])) X(ftruncate, ftruncate(file, 10)) \
	X(futimens, futimens(file, NULL)) X(getegid, getegid() == getgid()) X(geteuid, geteuid() == getuid()) X(getgid, getgid() == getegid()) \
	X(getgroups, getgroups(0, NULL) >= 0) X(getpeername, (size = sizeof name, getpeername(pair[0], (struct sockaddr *)&name, &size))) \
	X(getpgrp, getpgrp() == getpgid(0)) X(getpid, getpid() == getpgid(0) || getpid() > 1) X(getppid, getppid() > 0) \
	X(getsockname, (size = sizeof name, getsockname(listening, (struct sockaddr *)&name, &size))) \
	X(getsockopt, (size = sizeof(int), getsockopt(pair[0], SOL_SOCKET, SO_TYPE, buf, &size))) X(getuid, getuid() == geteuid()) \
	X(htonl, htonl(0x01020304)) X(htons, htons(0x0102)) X(kill, kill(getpid(), SIGUSR2)) X(kill_null, kill(getpid(), 0)) \
	X(link, link("file", "linked") || unlink("linked")) X(linkat, linkat(dir, "file", dir, "linked", 0) || unlinkat(dir, "linked", 0)) \
	X(listen, bound()) X(longjmp, jumped()) X(lseek, lseek(file, 0, SEEK_END)) X(lstat, lstat("file", &st)) \
	X(memccpy, (char *)memccpy(buf, "memory", 'o', 7) - buf) X(memchr, (char *)memchr(buf, 'e', 3) - buf) X(memcmp, memcmp(buf, "mem", 3)) \
	X(memcpy, memcpy(buf, "copied", 7) == buf) X(memmove, memmove(buf, buf + 1, 6) == buf) X(memset, memset(buf, 0, 8) == buf) \
	X(mkdir, mkdir("folder", 0700) || rmdir("folder")) X(mkdirat, mkdirat(dir, "folder", 0700) || unlinkat(dir, "folder", AT_REMOVEDIR)) \
	X(mkfifo, mkfifo("fifo", 0600) || unlink("fifo")) X(mkfifoat, mkfifoat(dir, "fifo", 0600) || unlinkat(dir, "fifo", 0)) \
	X(mknod, mknod("fifo", S_IFIFO | 0600, 0) || unlink("fifo")) X(mknodat, mknodat(dir, "fifo", S_IFIFO | 0600, 0) || unlink("fifo")) \
	X(ntohl, ntohl(1)) X(ntohs, ntohs(1)) X(open, closing(open("file", O_RDONLY))) X(open_missing, open("missing", O_RDONLY)) \
	X(openat, closing(openat(dir, "file", O_RDONLY))) X(pause, CHILD(paused())) X(pipe, piped()) \
	X(poll, (polled = (struct pollfd){pair[0], POLLIN | POLLOUT, 0}, poll(&polled, 1, 0) * 1000 + polled.revents)) X(pselect, pselected()) \
	X(pthread_kill, pthread_kill(pthread_self(), SIGUSR2)) X(pthread_self, pthread_equal(pthread_self(), pthread_self()) != 0) \
	X(pthread_sigmask, pthread_sigmask(SIG_BLOCK, NULL, &set)) X(raise, raise(SIGUSR2)) X(read, got() ? -1 : read(pair[0], buf, 100)) \
	X(readlink, readlink("symbolic", buf, 100)) X(readlinkat, readlinkat(dir, "symbolic", buf, 100)) \
	X(recv, got() ? -1 : recv(pair[0], buf, 100, 0)) X(recv_none, recv(pair[0], buf, 100, MSG_DONTWAIT)) \
	X(recvfrom, got() ? -1 : recvfrom(pair[0], buf, 100, 0, NULL, NULL)) X(recvmsg, got() ? -1 : recvmsg(pair[0], &message, 0)) \
	X(rename, rename("file", "other") || rename("other", "file")) X(renameat, renameat(dir, "file", dir, "other") || rename("other", "file")) \
	X(rmdir, rmdir("missing")) X(select, selected()) X(sem_post, sem_post(&spare)) X(send, send(pair[1], "abc", 3, 0) + read(pair[0], buf, 100)) \
	X(sendmsg, sendmsg(pair[1], &out, 0) + read(pair[0], buf, 100)) X(sendto, sendto(pair[1], "abc", 3, 0, NULL, 0) + read(pair[0], buf, 100)) \
	X(setgid, threading ? 0 : setgid(getgid())) X(setpgid, CHILD(setpgid(0, 0))) X(setsid, CHILD(setsid() < 0)) \
	X(setsockopt, setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &(int){0}, sizeof(int))) X(setuid, threading ? 0 : setuid(getuid())) X(shutdown, shut()) \
	X(sigaction, sigaction(SIGUSR2, NULL, &action) || action.sa_handler != nothing) X(sigaddset, sigaddset(&set, SIGHUP)) \
	X(sigdelset, sigdelset(&set, SIGHUP)) X(sigemptyset, sigemptyset(&set)) X(sigfillset, sigfillset(&set)) \
	X(sigismember, sigismember(&set, SIGHUP)) X(siglongjmp, sigjumped()) X(signal, signal(SIGUSR2, nothing) == nothing) \
	X(sigpause, sigpaused()) X(sigpending, was_pending()) X(sigprocmask, sigprocmask(SIG_BLOCK, NULL, &set)) \
	X(sigqueue, sigqueue(getpid(), SIGUSR2, (union sigval){0})) X(sigset, resigned()) X(sigsuspend, suspended()) \
	X(sleep, sleep(0)) X(sockatmark, sockatmark(pair[0])) X(socket, closing(socket(AF_INET, SOCK_STREAM, 0))) X(socketpair, shut()) \
	X(stat, stat("file", &st)) X(stat_missing, stat("missing", &st)) X(stpcpy, stpcpy(buf, "abc") - buf) X(stpncpy, stpncpy(buf, "abc", 5) - buf) \
	X(strcat, strcat(buf, "d") == buf) X(strchr, strchr(buf, 'b') - buf) X(strcmp, strcmp(buf, "abcd") > 0) X(strcpy, strcpy(buf, "a b") == buf) \
	X(strcspn, strcspn(buf, " ")) X(strlen, strlen(buf)) X(strncat, strncat(buf, "cd", 1) == buf) X(strncmp, strncmp(buf, "a", 1)) \
	X(strncpy, strncpy(buf, "a b", 9) == buf) X(strnlen, strnlen(buf, 2)) X(strpbrk, strpbrk(buf, " ") - buf) X(strrchr, strrchr(buf, 'b') - buf) \
	X(strspn, strspn(buf, "a")) X(strstr, strstr(buf, "b") - buf) X(strtok_r, strtok_r(buf, " ", &save) == buf) \
	X(symlink, symlink("file", "second") || unlink("second")) X(symlinkat, symlinkat("file", dir, "second") || unlink("second")) \
	X(tcdrain, tcdrain(pty)) X(tcflow, tcflow(pty, TCOON)) X(tcflush, tcflush(pty, TCIOFLUSH)) X(tcgetattr, tcgetattr(pty, &term)) \
	X(tcgetpgrp, tcgetpgrp(file)) X(tcsendbreak, tcsendbreak(pty, 0)) X(tcsetattr, tcsetattr(pty, TCSANOW, &term)) X(tcsetpgrp, tcsetpgrp(file, 1)) \
	X(time, time(NULL) > 0) X(timer_getoverrun, timer_getoverrun(timer)) X(timer_gettime, timer_gettime(timer, &(struct itimerspec){})) \
	X(timer_settime, timer_settime(timer, 0, &(struct itimerspec){}, NULL)) X(times, times(&(struct tms){}) != -1) X(umask, umask(022)) \
	X(uname, uname(&(struct utsname){})) X(unlink, unlink("missing")) X(unlinkat, unlinkat(dir, "missing", 0)) X(utime, utime("file", NULL)) \
	X(utimensat, utimensat(dir, "file", NULL, 0)) X(utimes, utimes("file", NULL)) X(wait, waits()) X(waitpid, CHILD(1)) \
	X(wait_none, waitpid(-1, NULL, WNOHANG)) X(wcpcpy, wcpcpy(wide, L"abc") - wide) X(wcscat, wcscat(wide, L"d") == wide) \
	X(wcschr, wcschr(wide, L'b') - wide) X(wcscmp, wcscmp(wide, L"abcd")) X(wcscpy, wcscpy(wide, L"a b") == wide) X(wcslen, wcslen(wide)) \
	X(wcsstr, wcsstr(wide, L"b") - wide) X(wmemcpy, wmemcpy(wide, L"ab", 3) == wide) X(wmemset, wmemset(wide, L'x', 2) == wide) \
	X(wcpncpy, wcpncpy(wide, L"abc", 4) - wide) X(wcsncat, wcsncat(wide, L"de", 1) == wide) X(wcsncmp, wcsncmp(wide, L"abcx", 3)) \
	X(wcsncpy, wcsncpy(wide, L"abcd", 9) == wide) X(wcsnlen, wcsnlen(wide, 2)) X(wcspbrk, wcspbrk(wide, L"cb") - wide) X(wcsrchr, wcsrchr(wide, L'b') - wide) \
	X(wcscspn, wcscspn(wide, L"c")) X(wcsspn, wcsspn(wide, L"ab")) X(wmemchr, wmemchr(wide, L'c', 4) - wide) X(wmemcmp, wmemcmp(wide, L"abc", 3)) \
	X(wmemmove, wmemmove(wide, wide + 1, 3) == wide) X(wcstok, wcstok(wide, L"c", &wide_save) - wide) \
	X(write, write(pair[1], "abc", 3) + read(pair[0], buf, 100))

#define X(id, expr) static long f_##id(void) { return (long)(expr); }
CALLS
#undef X
#define X(id, expr) {#id, f_##id},
static const struct {
	const char *name;
	long (*call)(void);
} calls[] = {CALLS};
#undef X

static volatile unsigned current;
static volatile long result;
static volatile int error, stop;

static void handler(int sig) {
	int saved = errno;
	(void)sig;
	errno = 0;
	result = calls[current].call();
	error = errno;
	errno = saved;
	sem_post(&done);
}

static void *parked(void *arg) {
	while (!stop)
		sem_wait(&waited);
	return arg;
}

static void *empty(void *arg) {
	return arg;
}

static void work(unsigned i, FILE *f) {
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&mutex);
	free(malloc(i % 5000));
	pthread_mutex_unlock(&mutex);
	fprintf(f, "%u\n", i);
	sched_yield();
	if (i % 64 == 0) {
		pthread_t t;
		threading = true;
		pthread_create(&t, NULL, empty, NULL);
		pthread_join(t, NULL);
		threading = false;
	}
}

static void *busy(void *arg) {
	FILE *f = fopen("/dev/null", "w");
	for (unsigned i = 0; !stop; i++)
		work(i, f);
	fclose(f);
	return arg;
}

static void *in_kernel(void *arg) {
	int fd = open("locked", O_RDWR);
	/* While main is in a handler of SIGUSR2 the kernel gives one that is sent to the process to anybody, and sigset() takes SA_RESTART away. */
	while (flock(fd, LOCK_EX) != 0)
		continue;
	close(fd);
	return arg;
}

/* On main, with the threads' signals for itself blocked. */
static void both(void) {
	struct timespec soon;
	FILE *f = fopen("/dev/null", "w");
	for (unsigned i = 0; !stop; i++) {
		for (int n = 0; n < 20; n++)
			work(i, f);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec = (soon.tv_nsec + 1000000) % 1000000000;
		sem_timedwait(&waited, &soon);
	}
	fclose(f);
}

static void prepare(void) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct sigevent none = {.sigev_notify = SIGEV_NONE};
	if (!mkdtemp(directory) || chdir(directory) < 0)
		exit(2);
	dir = open(".", O_RDONLY);
	file = open("file", O_RDWR | O_CREAT, 0600);
	symlink("file", "symbolic");
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	listening = socket(AF_UNIX, SOCK_STREAM, 0);
	bind(listening, (struct sockaddr *)&a, sizeof(sa_family_t));
	listen(listening, 8);
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	grantpt(master);
	unlockpt(master);
	pty = open(ptsname(master), O_RDWR | O_NOCTTY);
	tcgetattr(pty, &term);
	timer_create(CLOCK_MONOTONIC, &none, &timer);
	aio = (struct aiocb){.aio_fildes = file, .aio_buf = buf, .aio_nbytes = 1};
	aio_read(&aio);
	aio_suspend((const struct aiocb *[]){&aio}, 1, NULL);
	sem_init(&waited, 0, 0);
	sem_init(&done, 0, 0);
	sem_init(&spare, 0, 0);
}

enum { TARGETS = 4 };
static pthread_t targets[TARGETS];

static void *conducts(void *arg) {
	sigset_t mine;
	sigemptyset(&mine); /* what the handlers send to the process is theirs */
	sigaddset(&mine, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &mine, NULL);
	for (current = 0; current < sizeof calls / sizeof *calls; current++) {
		printf("%-18s", calls[current].name);
		for (int i = 0; i < TARGETS; i++) {
			pthread_kill(targets[i], SIGUSR1);
			while (sem_wait(&done) != 0)
				continue;
			printf("%s %ld%s%s", i ? ";" : "", result, result == -1 ? " " : "", result == -1 ? strerror(error) : "");
		}
		printf("\n");
		fflush(stdout);
	}
	stop = 1;
	sem_post(&waited);
	sem_post(&waited);
	return arg;
}

int main(void) {
	pthread_t conductor;
	alarm(60);
	prepare();
	int lock = open("locked", O_RDWR | O_CREAT, 0600);
	flock(lock, LOCK_EX);
	signal(SIGUSR1, handler);
	signal(SIGUSR2, nothing);
	pthread_create(&targets[0], NULL, parked, NULL);
	pthread_create(&targets[1], NULL, busy, NULL);
	pthread_create(&targets[2], NULL, in_kernel, NULL);
	targets[3] = pthread_self();
	pthread_create(&conductor, NULL, conducts, NULL);
	both();
	pthread_join(conductor, NULL);
	close(lock);
	for (int i = 0; i < 3; i++)
		pthread_join(targets[i], NULL);
	unlink("file");
	unlink("locked");
	unlink("made");
	unlink("symbolic");
	rmdir(directory);
	puts("all went on");
	return 0;
}
