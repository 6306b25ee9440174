/* A request for cancellation that is pending when a call is made that need not wait: POSIX's cancellation points, with what they would take at
 * hand, and the functions that may be one as libc decides. A line each: whether the call acted on the request, what it returned otherwise, and what
 * is left of what it would have taken (CAN-1): a call that acts has no effect. Then the same with cancellation disabled, when none may act.
 *
 * Calls that wait, and requests that come meanwhile, are in cancel_waiting. Left out is what breaks on kernel threads: dprintf() leaves its stream in the
 * list of all streams, and getpwnam() & co. (without _r) keep their lock. So is joining a thread that has ended: it acts if it has not yet ended.
 * And mkdtemp(): now and then its first random number will not do, and what it calls for another acts. */
#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fmtmsg.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <iconv.h>
#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <nl_types.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <termios.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>
#include <utmpx.h>
#include <wchar.h>
#include <wordexp.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#pragma GCC diagnostic ignored "-Wunused-result"

extern ssize_t __read_chk(int, void *, size_t, size_t), __pread_chk(int, void *, size_t, off_t, size_t);
extern ssize_t __pread64_chk(int, void *, size_t, off64_t, size_t), __recv_chk(int, void *, size_t, size_t, int);
extern ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
extern int __poll_chk(struct pollfd *, nfds_t, int, size_t), __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
extern int __open_2(const char *, int), __open64_2(const char *, int), __openat_2(int, const char *, int), __openat64_2(int, const char *, int);
extern char *__fgets_chk(char *, size_t, int, FILE *), *__fgets_unlocked_chk(char *, size_t, int, FILE *);
extern size_t __fread_chk(void *, size_t, size_t, size_t, FILE *);
extern int __fprintf_chk(FILE *, int, const char *, ...), __vfprintf_chk(FILE *, int, const char *, va_list);
extern ssize_t __read(int, void *, size_t), __write(int, const void *, size_t), __pread64(int, void *, size_t, off64_t);
extern ssize_t __pwrite64(int, const void *, size_t, off64_t), __send(int, const void *, size_t, int);
extern int __open(const char *, int, ...), __open64(const char *, int, ...), __close(int), __fcntl(int, int, ...), __poll(struct pollfd *, nfds_t, int);
extern int __select(int, fd_set *, fd_set *, fd_set *, struct timeval *), __connect(int, const struct sockaddr *, socklen_t);
extern int __nanosleep(const struct timespec *, struct timespec *), __sigpause(int, int), __sigsuspend(const sigset_t *);
extern pid_t __wait(int *), __waitpid(pid_t, int *, int);

static struct {
	unsigned row;
	bool disabled, returned;
	long result;
	int error, cleaned;
} here;

/* ---- what the calls take, made anew for each ------------------------------------------------------------------------- */

static char directory[] = "/tmp/cancel_pending.XXXXXX", buf[4096];
static wchar_t wide[64];
static int dir, file, null, fds[2] = {-1, -1}, third = -1, queue = -1, semaphores = -1, status;
static mqd_t posted = -1;
static sem_t sem;
static mtx_t mtx;
static cnd_t cnd;
static pthread_mutex_t mutex;
static pthread_cond_t cond;
static pthread_rwlock_t rwlock;
static pthread_barrier_t barrier;
static pid_t child;
static FILE *in, *out;
static DIR *folder;
static fpos_t pos;
static struct aiocb aio;
static struct stat st;
static struct sockaddr_un at;
static socklen_t size;
static struct pollfd polled;
static struct epoll_event event;
static fd_set set;
static struct timeval tv;
static struct flock region;
static struct msghdr message;
static struct mmsghdr many;
static struct iovec iov;
static struct passwd pw, *pwp;
static struct group gr, *grp;
static struct utmpx utmp;
static struct tm tm;
static time_t now;
static sigset_t one;
static void *mapped;
static struct { long type; char text[8]; } text;
static const struct timespec short_time = {0, 1000}, long_time = {1000, 0};

static struct timespec later(clockid_t clock) {
	struct timespec ts;
	clock_gettime(clock, &ts);
	ts.tv_sec += 1000;
	return ts;
}

static void none(void) {}
static void p_pipe(void) { pipe(fds); write(fds[1], "abc", 3); }
static void p_sockets(void) { socketpair(AF_UNIX, SOCK_STREAM, 0, fds); write(fds[1], "abc", 3); }
static void p_event(void) { fds[0] = eventfd(1, 0); }
static void p_timer(void) {
	struct itimerspec its = {.it_value.tv_nsec = 1};
	fds[0] = timerfd_create(CLOCK_MONOTONIC, 0);
	timerfd_settime(fds[0], 0, &its, NULL);
	poll(&(struct pollfd){fds[0], POLLIN, 0}, 1, -1);
}
static void p_epoll(void) {
	p_pipe();
	third = epoll_create1(0);
	event = (struct epoll_event){.events = EPOLLIN};
	epoll_ctl(third, EPOLL_CTL_ADD, fds[0], &event);
}
static void p_listener(void) {
	at = (struct sockaddr_un){.sun_family = AF_UNIX};
	size = sizeof at;
	fds[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	bind(fds[0], (struct sockaddr *)&at, sizeof(sa_family_t));
	listen(fds[0], 8);
	getsockname(fds[0], (struct sockaddr *)&at, &size);
	fds[1] = socket(AF_UNIX, SOCK_STREAM, 0);
}
static void p_dialled(void) { p_listener(); connect(fds[1], (struct sockaddr *)&at, size); }
static void p_terminal(void) {
	fds[1] = posix_openpt(O_RDWR | O_NOCTTY);
	grantpt(fds[1]);
	unlockpt(fds[1]);
	fds[0] = open(ptsname(fds[1]), O_RDWR | O_NOCTTY);
}
static void p_map(void) { mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0); }
static void p_queue(void) { queue = msgget(IPC_PRIVATE, 0600); text.type = 1; msgsnd(queue, &text, 1, 0); }
static void p_semaphore(void) { semaphores = semget(IPC_PRIVATE, 1, 0600); semop(semaphores, &(struct sembuf){0, 1, 0}, 1); }
static void p_mq(void) {
	struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 8};
	char name[64];
	snprintf(name, sizeof name, "/cancel_pending.%d", (int)getpid());
	posted = mq_open(name, O_RDWR | O_CREAT, 0600, &attr);
	mq_unlink(name);
	mq_send(posted, "x", 1, 0);
}
static void p_sem(void) { sem_init(&sem, 0, 1); }
static void p_objects(void) {
	pthread_mutex_init(&mutex, NULL);
	pthread_cond_init(&cond, NULL);
	pthread_rwlock_init(&rwlock, NULL);
	pthread_barrier_init(&barrier, NULL, 1);
	mtx_init(&mtx, mtx_timed);
	cnd_init(&cnd);
}
static void p_child(void) {
	siginfo_t info;
	child = fork();
	if (child == 0)
		_exit(3);
	waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
}
static void p_aio(void) {
	aio = (struct aiocb){.aio_fildes = file, .aio_buf = buf, .aio_nbytes = 1, .aio_sigevent.sigev_notify = SIGEV_NONE, .aio_lio_opcode = LIO_READ};
	aio_read(&aio);
	while (aio_error(&aio) == EINPROGRESS)
		sched_yield();
}
static void p_lio(void) { aio = (struct aiocb){.aio_fildes = file, .aio_buf = buf, .aio_nbytes = 1, .aio_lio_opcode = LIO_READ}; }
static void p_in(void) { in = fopen("file", "r"); }
static void p_used(void) { p_in(); fgetc(in); }
static void p_out(void) { out = fopen("/dev/null", "w"); }
static void p_full(void) { p_out(); fputs("x", out); }
static void p_raw(void) { p_out(); setvbuf(out, NULL, _IONBF, 0); }
static void p_folder(void) { folder = opendir("."); }
static void p_file(void) { close(open("made", O_CREAT | O_RDWR, 0600)); }

/* ---- what is left of it ----------------------------------------------------------------------------------------------- */

static int bytes(int fd) { int n = -1; ioctl(fd, FIONREAD, &n); return n; }
static int open_still(int fd) { return fcntl(fd, F_GETFD) >= 0; }
static int there(const char *name) { return access(name, F_OK) == 0; }
static int sem_left(void) { int n = -1; sem_getvalue(&sem, &n); return n; }
static int messages(void) { struct msqid_ds ds; msgctl(queue, IPC_STAT, &ds); return (int)ds.msg_qnum; }
static int mq_left(void) { struct mq_attr attr; mq_getattr(posted, &attr); return (int)attr.mq_curmsgs; }
static int connections(void) { return poll(&(struct pollfd){fds[0], POLLIN, 0}, 1, 0); }
static int child_left(void) { return waitpid(child, NULL, 0) == child; }
static int pending(void) {
	struct timespec zero = {0, 0};
	return sigtimedwait(&one, NULL, &zero) == SIGUSR2;
}
static int unlocked(FILE *f) {
	if (ftrylockfile(f) != 0)
		return 0;
	funlockfile(f);
	return 1;
}
static int mutex_free(void) { return pthread_mutex_trylock(&mutex) == 0; }

/* ---- the calls ----------------------------------------------------------------------------------------------------------- */

static int walked(const char *path, const struct stat *s, int flag, struct FTW *ftw) { (void)path, (void)s, (void)flag, (void)ftw; return 0; }
static long with_list(int (*f)(FILE *, const char *, va_list), FILE *to, const char *format, ...) {
	va_list list;
	va_start(list, format);
	long r = f(to, format, list);
	va_end(list);
	return r;
}
static int chk(FILE *f, const char *format, va_list list) { return __vfprintf_chk(f, 1, format, list); }
static long spawned(void) {
	pid_t pid;
	char *argv[] = {"true", NULL};
	if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, NULL) != 0)
		return -1;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return waitpid(pid, NULL, 0) == pid;
}
static long shut(FILE *f) { return f ? fclose(f) : -1; }
static long keep(int fd) { third = fd; return fd < 0 ? -1 : 0; }
static long conditional(void) { /* its owner gives it back to nobody but us */
	struct timespec ts = later(CLOCK_REALTIME);
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push((void (*)(void *))(void *)pthread_mutex_unlock, &mutex);
	ts.tv_sec -= 2000; /* over already: with cancellation disabled it comes back */
	pthread_cond_timedwait(&cond, &mutex, &ts);
	pthread_cleanup_pop(1);
	return 0;
}
static long conditional_clock(void) {
	struct timespec ts = {1, 0};
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push((void (*)(void *))(void *)pthread_mutex_unlock, &mutex);
	pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &ts);
	pthread_cleanup_pop(1);
	return 0;
}

#define FOUND(x) ((x) != NULL)
#define ROWS \
	/* required */ \
	X("accept", p_dialled, keep(accept(fds[0], NULL, NULL)), connections()) X("accept4", p_dialled, keep(accept4(fds[0], NULL, NULL, 0)), connections()) \
	X("aio_suspend", p_aio, aio_suspend((const struct aiocb *[]){&aio}, 1, NULL), 0) \
	X("clock_nanosleep", none, clock_nanosleep(CLOCK_MONOTONIC, 0, &short_time, NULL), 0) \
	X("clock_nanosleep absolute", none, clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &short_time, NULL), 0) \
	X("clock_nanosleep invalid", none, clock_nanosleep(12345, 0, &short_time, NULL), 0) \
	X("close", p_pipe, close(fds[0]), open_still(fds[0])) X("close -1", none, close(-1), 0) X("__close", p_sockets, __close(fds[0]), open_still(fds[0])) \
	X("connect", p_listener, connect(fds[1], (struct sockaddr *)&at, size), connections()) \
	X("__connect", p_listener, __connect(fds[1], (struct sockaddr *)&at, size), connections()) \
	X("creat", none, keep(creat("made", 0600)), there("made")) X("creat64", none, keep(creat64("made", 0600)), there("made")) \
	X("fcntl F_SETLKW", none, (region.l_type = F_WRLCK, fcntl(file, F_SETLKW, &region)), 0) \
	X("fcntl64 F_SETLKW", none, (region.l_type = F_UNLCK, fcntl64(file, F_SETLKW, &region)), 0) \
	X("__fcntl F_SETLKW", none, (region.l_type = F_UNLCK, __fcntl(file, F_SETLKW, &region)), 0) \
	X("fdatasync", none, fdatasync(file), 0) X("fsync", none, fsync(file), 0) X("lockf", none, lockf(file, F_LOCK, 0), 0) \
	X("lockf64", none, lockf64(file, F_ULOCK, 0), 0) X("mq_receive", p_mq, mq_receive(posted, buf, 8, NULL), mq_left()) \
	X("mq_send", p_mq, mq_send(posted, "x", 1, 0), mq_left()) \
	X("mq_timedreceive", p_mq, mq_timedreceive(posted, buf, 8, NULL, &(struct timespec){0, 0}), mq_left()) \
	X("mq_timedsend", p_mq, mq_timedsend(posted, "x", 1, 0, &(struct timespec){0, 0}), mq_left()) \
	X("msgrcv", p_queue, msgrcv(queue, &text, 8, 0, 0), messages()) X("msgrcv IPC_NOWAIT", p_queue, msgrcv(queue, &text, 8, 7, IPC_NOWAIT), messages()) \
	X("msgsnd", p_queue, msgsnd(queue, &text, 1, 0), messages()) X("msync", p_map, msync(mapped, 4096, MS_SYNC), 0) \
	X("nanosleep", none, nanosleep(&short_time, NULL), 0) X("__nanosleep", none, __nanosleep(&short_time, NULL), 0) \
	X("nanosleep zero", none, nanosleep(&(struct timespec){0, 0}, NULL), 0) X("nanosleep invalid", none, nanosleep(&(struct timespec){-1, 0}, NULL), 0) \
	X("open", none, keep(open("file", O_RDONLY)), 0) X("open O_CREAT", none, keep(open("made", O_RDWR | O_CREAT, 0600)), there("made")) \
	X("open missing", none, open("missing", O_RDONLY), 0) X("open64", none, keep(open64("made", O_RDWR | O_CREAT, 0600)), there("made")) \
	X("__open", none, keep(__open("made", O_RDWR | O_CREAT, 0600)), there("made")) X("__open64", none, keep(__open64("made", O_RDWR | O_CREAT, 0600)), there("made")) \
	X("__open_2", none, keep(__open_2("file", O_RDONLY)), 0) X("__open64_2", none, keep(__open64_2("file", O_RDONLY)), 0) \
	X("openat", none, keep(openat(dir, "made", O_RDWR | O_CREAT, 0600)), there("made")) X("openat64", none, keep(openat64(dir, "made", O_RDWR | O_CREAT, 0600)), there("made")) \
	X("__openat_2", none, keep(__openat_2(dir, "file", O_RDONLY)), 0) X("__openat64_2", none, keep(__openat64_2(dir, "file", O_RDONLY)), 0) \
	X("poll", p_pipe, (polled = (struct pollfd){fds[0], POLLIN, 0}, poll(&polled, 1, -1)), 0) X("poll zero", p_pipe, poll(&polled, 0, 0), 0) \
	X("__poll", p_pipe, (polled = (struct pollfd){fds[0], POLLIN, 0}, __poll(&polled, 1, -1)), 0) \
	X("__poll_chk", p_pipe, (polled = (struct pollfd){fds[0], POLLIN, 0}, __poll_chk(&polled, 1, -1, sizeof polled)), 0) \
	X("ppoll", p_pipe, (polled = (struct pollfd){fds[0], POLLIN, 0}, ppoll(&polled, 1, NULL, NULL)), 0) \
	X("__ppoll_chk", p_pipe, (polled = (struct pollfd){fds[0], POLLIN, 0}, __ppoll_chk(&polled, 1, NULL, NULL, sizeof polled)), 0) \
	X("pread", none, pread(file, buf, 4, 0), 0) X("pread64", none, pread64(file, buf, 4, 0), 0) X("__pread64", none, __pread64(file, buf, 4, 0), 0) \
	X("__pread_chk", none, __pread_chk(file, buf, 4, 0, 4), 0) X("__pread64_chk", none, __pread64_chk(file, buf, 4, 0, 4), 0) \
	X("preadv", none, (iov = (struct iovec){buf, 4}, preadv(file, &iov, 1, 0)), 0) X("preadv64", none, (iov = (struct iovec){buf, 4}, preadv64(file, &iov, 1, 0)), 0) \
	X("preadv2", p_pipe, (iov = (struct iovec){buf, 4}, preadv2(fds[0], &iov, 1, -1, 0)), bytes(fds[0])) \
	X("preadv64v2", none, (iov = (struct iovec){buf, 4}, preadv64v2(file, &iov, 1, 0, 0)), 0) \
	X("pselect", p_pipe, (set = (fd_set){}, FD_SET(fds[0], &set), pselect(fds[0] + 1, &set, NULL, NULL, NULL, NULL)), 0) \
	X("pthread_cond_timedwait", p_objects, conditional(), mutex_free()) X("pthread_cond_clockwait", p_objects, conditional_clock(), mutex_free()) \
	X("pthread_testcancel", none, (pthread_testcancel(), 0), 0) \
	X("pwrite", none, pwrite(file, "F", 1, 0), pread(file, buf, 1, 0) * buf[0]) X("pwrite64", none, pwrite64(file, "G", 1, 0), pread(file, buf, 1, 0) * buf[0]) \
	X("__pwrite64", none, __pwrite64(file, "H", 1, 0), pread(file, buf, 1, 0) * buf[0]) \
	X("pwritev", none, (iov = (struct iovec){"I", 1}, pwritev(file, &iov, 1, 0)), pread(file, buf, 1, 0) * buf[0]) \
	X("pwritev64", none, (iov = (struct iovec){"J", 1}, pwritev64(file, &iov, 1, 0)), pread(file, buf, 1, 0) * buf[0]) \
	X("pwritev2", p_pipe, (iov = (struct iovec){"K", 1}, pwritev2(fds[1], &iov, 1, -1, 0)), bytes(fds[0])) \
	X("pwritev64v2", none, (iov = (struct iovec){"f", 1}, pwritev64v2(file, &iov, 1, 0, 0)), pread(file, buf, 1, 0) * buf[0]) \
	X("read pipe", p_pipe, read(fds[0], buf, 8), bytes(fds[0])) X("read socket", p_sockets, read(fds[0], buf, 8), bytes(fds[0])) \
	X("read file", none, read(file, buf, 2), lseek(file, 0, SEEK_CUR)) X("read eventfd", p_event, read(fds[0], buf, 8), connections()) \
	X("read timerfd", p_timer, read(fds[0], buf, 8), connections()) X("read nothing", p_pipe, read(fds[0], buf, 0), bytes(fds[0])) \
	X("read -1", none, read(-1, buf, 1), 0) X("__read", p_pipe, __read(fds[0], buf, 8), bytes(fds[0])) \
	X("__read_chk", p_pipe, __read_chk(fds[0], buf, 8, 8), bytes(fds[0])) X("readv", p_pipe, (iov = (struct iovec){buf, 4}, readv(fds[0], &iov, 1)), bytes(fds[0])) \
	X("recv", p_sockets, recv(fds[0], buf, 8, 0), bytes(fds[0])) X("recv MSG_DONTWAIT", p_sockets, recv(fds[0], buf, 8, MSG_DONTWAIT), bytes(fds[0])) \
	X("__recv_chk", p_sockets, __recv_chk(fds[0], buf, 8, 8, 0), bytes(fds[0])) X("recvfrom", p_sockets, recvfrom(fds[0], buf, 8, 0, NULL, NULL), bytes(fds[0])) \
	X("__recvfrom_chk", p_sockets, __recvfrom_chk(fds[0], buf, 8, 8, 0, NULL, NULL), bytes(fds[0])) \
	X("recvmsg", p_sockets, (iov = (struct iovec){buf, 4}, message = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, recvmsg(fds[0], &message, 0)), bytes(fds[0])) \
	X("recvmmsg", p_sockets, (iov = (struct iovec){buf, 4}, many.msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, recvmmsg(fds[0], &many, 1, 0, NULL)), bytes(fds[0])) \
	X("select", p_pipe, (set = (fd_set){}, FD_SET(fds[0], &set), select(fds[0] + 1, &set, NULL, NULL, NULL)), 0) \
	X("__select", p_pipe, (set = (fd_set){}, tv = (struct timeval){0, 0}, __select(0, &set, NULL, NULL, &tv)), 0) \
	X("sem_wait", p_sem, sem_wait(&sem), sem_left()) X("sem_timedwait", p_sem, sem_timedwait(&sem, &long_time), sem_left()) \
	X("sem_clockwait", p_sem, sem_clockwait(&sem, CLOCK_MONOTONIC, &long_time), sem_left()) X("sem_trywait", p_sem, sem_trywait(&sem), sem_left()) \
	X("send", p_sockets, send(fds[1], "d", 1, 0), bytes(fds[0])) X("__send", p_sockets, __send(fds[1], "d", 1, 0), bytes(fds[0])) \
	X("sendmsg", p_sockets, (iov = (struct iovec){"d", 1}, message = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, sendmsg(fds[1], &message, 0)), bytes(fds[0])) \
	X("sendmmsg", p_sockets, (iov = (struct iovec){"d", 1}, many.msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, sendmmsg(fds[1], &many, 1, 0)), bytes(fds[0])) \
	X("sendto", p_sockets, sendto(fds[1], "d", 1, 0, NULL, 0), bytes(fds[0])) \
	X("sigtimedwait", none, (raise(SIGUSR2), sigtimedwait(&one, NULL, &long_time)), pending()) X("sigwaitinfo", none, (raise(SIGUSR2), sigwaitinfo(&one, NULL)), 0) \
	X("sigwait", none, (raise(SIGUSR2), sigwait(&one, &status)), 0) X("sleep", none, sleep(0), 0) X("usleep", none, usleep(1), 0) X("usleep zero", none, usleep(0), 0) \
	X("system", none, system("exit 3"), 0) X("system NULL", none, system(NULL), 0) X("tcdrain", p_terminal, tcdrain(fds[0]), 0) \
	X("thrd_sleep", none, thrd_sleep(&short_time, NULL), 0) \
	X("wait", p_child, wait(&status) == child, child_left()) X("__wait", p_child, __wait(&status) == child, child_left()) \
	X("waitpid", p_child, waitpid(child, &status, 0) == child, child_left()) X("waitpid WNOHANG", p_child, waitpid(child, &status, WNOHANG) == child, child_left()) \
	X("__waitpid", p_child, __waitpid(child, &status, 0) == child, child_left()) X("waitid", p_child, waitid(P_PID, (id_t)child, NULL, WEXITED), child_left()) \
	X("wait3", p_child, wait3(&status, 0, NULL) == child, child_left()) X("wait4", p_child, wait4(child, &status, 0, NULL) == child, child_left()) \
	X("write pipe", p_pipe, write(fds[1], "d", 1), bytes(fds[0])) X("write socket", p_sockets, write(fds[1], "d", 1), bytes(fds[0])) \
	X("write eventfd", p_event, (*(uint64_t *)buf = 1, write(fds[0], buf, 8)), 0) X("write -1", none, write(-1, buf, 1), 0) \
	X("__write", p_pipe, __write(fds[1], "d", 1), bytes(fds[0])) X("writev", p_pipe, (iov = (struct iovec){"d", 1}, writev(fds[1], &iov, 1)), bytes(fds[0])) \
	/* libc's own */ \
	X("epoll_wait", p_epoll, epoll_wait(third, &event, 1, -1), 0) X("epoll_pwait", p_epoll, epoll_pwait(third, &event, 1, -1, NULL), 0) \
	X("epoll_pwait2", p_epoll, epoll_pwait2(third, &event, 1, NULL, NULL), 0) X("eventfd_read", p_event, eventfd_read(fds[0], (eventfd_t *)buf), connections()) \
	X("eventfd_write", p_event, eventfd_write(fds[0], 1), 0) X("sendfile", p_pipe, sendfile(fds[1], file, &(off_t){0}, 1), bytes(fds[0])) \
	X("splice", p_pipe, splice(fds[0], NULL, null, NULL, 1, 0), bytes(fds[0])) \
	X("vmsplice", p_pipe, (iov = (struct iovec){"d", 1}, vmsplice(fds[1], &iov, 1, 0)), bytes(fds[0])) X("tee", p_pipe, tee(fds[0], fds[1], 1, SPLICE_F_NONBLOCK), 0) \
	X("copy_file_range", none, copy_file_range(file, &(off64_t){0}, file, &(off64_t){100}, 1, 0), 0) X("flock", none, flock(file, LOCK_EX), 0) \
	X("getrandom", none, getrandom(buf, 4, 0), 0) X("getentropy", none, getentropy(buf, 4), 0) X("sync_file_range", none, sync_file_range(file, 0, 1, 0), 0) \
	X("fallocate", none, fallocate(file, 0, 0, 10), 0) X("fallocate64", none, fallocate64(file, 0, 0, 10), 0) X("ftruncate", none, ftruncate(file, 10), 0) \
	X("posix_fallocate64", none, posix_fallocate64(file, 0, 10), 0) X("semop", p_semaphore, semop(semaphores, &(struct sembuf){0, -1, 0}, 1), semctl(semaphores, 0, GETVAL)) \
	X("semtimedop", p_semaphore, semtimedop(semaphores, &(struct sembuf){0, -1, 0}, 1, &long_time), semctl(semaphores, 0, GETVAL)) \
	\
	\
	X("pthread_mutex_lock", p_objects, pthread_mutex_lock(&mutex) | pthread_mutex_unlock(&mutex), mutex_free()) X("mtx_lock", p_objects, mtx_lock(&mtx) | mtx_unlock(&mtx), 0) \
	X("pthread_barrier_wait", p_objects, pthread_barrier_wait(&barrier), 0) X("pthread_cond_signal", p_objects, pthread_cond_signal(&cond), 0) \
	X("sem_post", p_sem, sem_post(&sem), sem_left()) X("sched_yield", none, sched_yield(), 0) X("thrd_yield", none, (thrd_yield(), 0), 0) \
	X("pthread_kill", none, pthread_kill(pthread_self(), 0), 0) X("syscall read", p_pipe, syscall(SYS_read, fds[0], buf, 8), bytes(fds[0])) \
	X("syscall nanosleep", none, syscall(SYS_nanosleep, &short_time, NULL), 0) X("dup", none, keep(dup(file)), 0) X("dup2", none, keep(dup2(file, 900)), 0) \
	X("close_range", none, close_range(900, 900, 0), 0) X("shutdown", p_sockets, shutdown(fds[0], SHUT_RDWR), 0) X("socket", none, keep(socket(AF_UNIX, SOCK_STREAM, 0)), 0) \
	X("bind", none, bind(-1, NULL, 0), 0) X("listen", none, listen(-1, 0), 0) X("pipe", none, pipe(fds), 0) X("socketpair", none, socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0) \
	/* optional */ \
	X("access", none, access("file", R_OK), 0) X("catopen", none, catopen("none", 0) == (nl_catd)-1, 0) X("chmod", none, chmod("file", 0600), 0) X("chown", none, chown("file", -1, -1), 0) \
	X("closedir", p_folder, (closedir(folder), folder = NULL, 0), 0) X("ctime", none, FOUND(ctime(&now)), 0) X("dlopen", none, FOUND(dlopen("libm.so.6", RTLD_NOW)), 0) \
	X("faccessat", none, faccessat(dir, "file", R_OK, 0), 0) X("fchmod", none, fchmod(file, 0600), 0) X("fchown", none, fchown(file, -1, -1), 0) \
	X("fclose", p_in, (fclose(in), in = NULL, 0), 0) X("fcntl F_GETFL", none, fcntl(file, F_GETFL) >= 0, 0) \
	X("fcntl F_SETLK", none, (region.l_type = F_UNLCK, fcntl(file, F_SETLK, &region)), 0) X("fcntl F_DUPFD", none, keep(fcntl(file, F_DUPFD, 0)), 0) \
	X("fflush", p_full, fflush(out), unlocked(out)) X("fflush all", p_full, fflush(NULL), unlocked(out)) X("fgetc", p_in, fgetc(in), unlocked(in)) \
	X("fgetc buffered", p_used, fgetc(in), unlocked(in)) X("fgetpos", p_used, fgetpos(in, &pos), unlocked(in)) X("fgets", p_in, FOUND(fgets(buf, 8, in)), unlocked(in)) \
	X("__fgets_chk", p_in, FOUND(__fgets_chk(buf, 8, 8, in)), unlocked(in)) X("__fgets_unlocked_chk", p_in, FOUND(__fgets_unlocked_chk(buf, 8, 8, in)), unlocked(in)) \
	X("__fread_chk", p_in, __fread_chk(buf, 8, 1, 4, in), unlocked(in)) X("__fprintf_chk", p_raw, __fprintf_chk(out, 1, "%s", "x"), unlocked(out)) \
	X("__vfprintf_chk", p_raw, with_list(chk, out, "%s", "x"), unlocked(out)) X("fgetwc", p_in, fgetwc(in), unlocked(in)) X("fgetws", p_in, FOUND(fgetws(wide, 8, in)), unlocked(in)) \
	X("fopen", none, shut(fopen("file", "r")), 0) X("fopen w", none, shut(fopen("made", "w")), there("made")) X("fopen64", none, shut(fopen64("file", "r")), 0) \
	X("fdopen", p_pipe, shut(fdopen(fds[0], "r")), 0) X("fpathconf", none, fpathconf(file, _PC_NAME_MAX), 0) X("fprintf", p_out, fprintf(out, "%d", 7), unlocked(out)) \
	X("fprintf unbuffered", p_raw, fprintf(out, "%d", 7), unlocked(out)) X("fputc", p_raw, fputc('x', out), unlocked(out)) X("fputs", p_raw, fputs("x", out), unlocked(out)) \
	X("fputwc", p_raw, (long)fputwc(L'x', out), unlocked(out)) X("fputws", p_raw, fputws(L"x", out), unlocked(out)) X("fread", p_in, fread(buf, 1, 4, in), unlocked(in)) \
	X("fread_unlocked", p_in, fread_unlocked(buf, 1, 4, in), unlocked(in)) \
	X("fscanf", p_in, fscanf(in, "%8s", buf), unlocked(in)) X("fseek", p_used, fseek(in, 2, SEEK_SET), unlocked(in)) X("fseeko", p_full, fseeko(out, 0, SEEK_SET), unlocked(out)) \
	X("fsetpos", p_used, fgetpos(in, &pos) | fsetpos(in, &pos), unlocked(in)) X("fstat", none, fstat(file, &st), 0) X("fstatat", none, fstatat(dir, "file", &st, 0), 0) \
	X("ftell", p_used, ftell(in), unlocked(in)) X("ftello", p_full, ftello(out), unlocked(out)) X("futimens", none, futimens(file, NULL), 0) \
	X("fwide", p_in, fwide(in, 1), unlocked(in)) X("fwprintf", p_raw, fwprintf(out, L"%d", 7), unlocked(out)) X("fwrite", p_raw, fwrite("abc", 1, 3, out), unlocked(out)) \
	X("fwrite buffered", p_out, fwrite("abc", 1, 3, out), unlocked(out)) X("fwscanf", p_in, fwscanf(in, L"%8ls", wide), unlocked(in)) \
	X("getaddrinfo", none, ({ struct addrinfo *a_ = NULL; int r_ = getaddrinfo("127.0.0.1", "80", NULL, &a_); if (a_) freeaddrinfo(a_); r_; }), 0) \
	X("getaddrinfo localhost", none, ({ struct addrinfo *a_ = NULL; int r_ = getaddrinfo("localhost", NULL, NULL, &a_); if (a_) freeaddrinfo(a_); r_; }), 0) \
	X("getc", p_in, getc(in), unlocked(in)) X("getc_unlocked", p_in, getc_unlocked(in), unlocked(in)) X("getchar", none, getchar() == EOF, unlocked(stdin)) \
	X("getcwd", none, FOUND(getcwd(buf, sizeof buf)), 0) X("getdelim", p_in, ({ char *l_ = NULL; size_t n_ = 0; ssize_t r_ = getdelim(&l_, &n_, 'l', in); free(l_); r_; }), unlocked(in)) \
	X("getgrent", none, FOUND(getgrent()), 0) X("endgrent", none, (endgrent(), 0), 0) \
	X("getgrgid_r", none, getgrgid_r(0, &gr, buf, sizeof buf, &grp), 0) X("getgrnam_r", none, getgrnam_r("root", &gr, buf, sizeof buf, &grp), 0) \
	X("gethostent", none, (gethostent(), 0), 0) X("endhostent", none, (endhostent(), 0), 0) X("gethostid", none, (gethostid(), 0), 0) \
	X("gethostname", none, gethostname(buf, sizeof buf), 0) X("getline", p_in, ({ char *l_ = NULL; size_t n_ = 0; ssize_t r_ = getline(&l_, &n_, in); free(l_); r_; }), unlocked(in)) \
	X("getlogin", none, (getlogin(), 0), 0) \
	X("getpwent", none, FOUND(getpwent()), 0) X("endpwent", none, (endpwent(), 0), 0) \
	X("getpwnam_r", none, getpwnam_r("root", &pw, buf, sizeof buf, &pwp), 0) X("getpwuid_r", none, getpwuid_r(0, &pw, buf, sizeof buf, &pwp), 0) \
	X("getservent", none, (getservent(), 0), 0) \
	X("setutxent", none, (setutxent(), 0), 0) X("getutxent", none, (getutxent(), 0), 0) X("getutxid", none, (utmp.ut_type = BOOT_TIME, getutxid(&utmp), 0), 0) X("endutxent", none, (endutxent(), 0), 0) \
	X("getwc", p_in, getwc(in), unlocked(in)) X("glob", none, ({ glob_t g_; int r_ = glob("f*", 0, NULL, &g_); globfree(&g_); r_; }), 0) \
	X("iconv_open", none, ({ iconv_t i_ = iconv_open("UTF-8", "UTF-16"); i_ == (iconv_t)-1 ? -1 : iconv_close(i_); }), 0) X("ioctl", p_pipe, ioctl(fds[0], FIONREAD, &status), 0) \
	X("link", none, link("file", "made"), there("made")) X("linkat", none, linkat(dir, "file", dir, "made", 0), there("made")) \
	X("lio_listio", p_lio, lio_listio(LIO_WAIT, (struct aiocb *[]){&aio}, 1, NULL), 0) X("lio_listio LIO_NOWAIT", p_lio, lio_listio(LIO_NOWAIT, (struct aiocb *[]){&aio}, 1, NULL), 0) \
	X("localtime", none, FOUND(localtime(&now)), 0) X("localtime_r", none, FOUND(localtime_r(&now, &tm)), 0) X("lockf F_TEST", none, lockf(file, F_TEST, 0), 0) \
	X("lseek", none, lseek(file, 0, SEEK_SET), 0) X("lstat", none, lstat("file", &st), 0) X("mkdir", none, mkdir("folder", 0700) | rmdir("folder"), 0) \
	X("mkdirat", none, mkdirat(dir, "folder", 0700) | rmdir("folder"), 0) \
	X("mkfifo", none, mkfifo("made", 0600), there("made")) X("mkfifoat", none, mkfifoat(dir, "made", 0600), there("made")) X("mknod", none, mknod("made", S_IFIFO | 0600, 0), there("made")) \
	X("mkstemp", none, keep(mkstemp(strcpy(buf, "tXXXXXX"))) | unlink(buf), 0) X("mktime", none, mktime(&tm) != -1, 0) X("nftw", none, nftw(".", walked, 4, FTW_PHYS), 0) \
	X("opendir", none, FOUND(folder = opendir(".")), 0) X("openlog", none, (openlog("cancel", LOG_NDELAY, LOG_USER), 0), 0) X("syslog", none, (syslog(LOG_DEBUG, "%.0s", ""), 0), 0) \
	X("closelog", none, (closelog(), 0), 0) X("pathconf", none, pathconf(".", _PC_NAME_MAX), 0) X("perror", none, (perror(""), 0), unlocked(stderr)) \
	X("popen", none, ({ FILE *p_ = popen("true", "r"); pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL); p_ ? pclose(p_) : -1; }), 0) X("posix_fadvise", none, posix_fadvise(file, 0, 0, POSIX_FADV_NORMAL), 0) \
	X("posix_fallocate", none, posix_fallocate(file, 0, 10), 0) X("posix_openpt", none, keep(posix_openpt(O_RDWR | O_NOCTTY)), 0) X("posix_spawn", none, spawned(), 0) \
	X("psignal", none, (psignal(SIGUSR2, ""), 0), unlocked(stderr)) X("pthread_rwlock_rdlock", p_objects, pthread_rwlock_rdlock(&rwlock), 0) \
	X("pthread_rwlock_timedrdlock", p_objects, pthread_rwlock_timedrdlock(&rwlock, &long_time), 0) X("pthread_rwlock_timedwrlock", p_objects, pthread_rwlock_timedwrlock(&rwlock, &long_time), 0) \
	X("pthread_rwlock_wrlock", p_objects, pthread_rwlock_wrlock(&rwlock), 0) X("ptsname", p_terminal, FOUND(ptsname(fds[1])), 0) X("putc", p_raw, putc('x', out), unlocked(out)) \
	X("putc_unlocked", p_raw, putc_unlocked('x', out), unlocked(out)) X("putwc", p_raw, (long)putwc(L'x', out), unlocked(out)) X("readdir", p_folder, FOUND(readdir(folder)), 0) \
	X("readlink", none, readlink("missing", buf, 8), 0) X("readlinkat", none, readlinkat(dir, "missing", buf, 8), 0) X("remove", p_file, remove("made"), there("made")) \
	X("rename", p_file, rename("made", "made"), 0) X("renameat", p_file, renameat(dir, "made", dir, "made"), 0) X("rewind", p_used, (rewind(in), 0), unlocked(in)) \
	X("rewinddir", p_folder, (rewinddir(folder), 0), 0) X("scandir", none, ({ struct dirent **l_ = NULL; int n_ = scandir(".", &l_, NULL, NULL); for (int i_ = 0; i_ < n_; i_++) free(l_[i_]); free(l_); n_ > 0; }), 0) \
	X("sockatmark", p_sockets, sockatmark(fds[0]), 0) X("stat", none, stat("file", &st), 0) X("strerror", none, FOUND(strerror(2)), 0) X("strftime", none, strftime(buf, 8, "%Y", &tm) > 0, 0) \
	X("symlink", none, symlink("file", "made"), 0) X("symlinkat", none, symlinkat("file", dir, "made"), 0) X("tmpfile", none, shut(tmpfile()), 0) \
	X("tmpnam", none, FOUND(tmpnam(buf)), 0) X("ttyname", p_terminal, FOUND(ttyname(fds[0])), 0) X("tzset", none, (tzset(), 0), 0) X("ungetc", p_used, ungetc('x', in), unlocked(in)) \
	X("ungetwc", p_in, (long)ungetwc(L'x', in), unlocked(in)) X("unlink", p_file, unlink("made"), there("made")) X("unlinkat", p_file, unlinkat(dir, "made", 0), there("made")) \
	X("utimensat", none, utimensat(dir, "file", NULL, 0), 0) X("utimes", none, utimes("file", NULL), 0) X("vfprintf", p_raw, with_list(vfprintf, out, "%s", "x"), unlocked(out)) \
	X("wordexp", none, ({ wordexp_t w_; int r_ = wordexp("f*", &w_, 0); wordfree(&w_); r_; }), 0) X("cnd_signal", p_objects, cnd_signal(&cnd), 0) \
	X("sigsuspend", none, (raise(SIGUSR2), sigdelset(&one, SIGUSR2), sigsuspend(&one)), 0) X("__sigsuspend", none, (raise(SIGUSR2), sigdelset(&one, SIGUSR2), __sigsuspend(&one)), 0) \
	X("sigpause", none, (raise(SIGUSR2), sigpause(SIGUSR2)), 0) X("__sigpause", none, (raise(SIGUSR2), __sigpause(SIGUSR2, 1)), 0) \
	X("freopen", p_in, FOUND(in = freopen("/dev/null", "r", in)), 0) \
	X("fclose full", p_full, (fclose(out), out = NULL, 0), 0) /* the last: libc may leave the stream locked, and fflush(NULL) would wait for it */


#define X(name, prepare, call, left) name,
static const char *const names[] = {ROWS};
#undef X
enum { CALLS = sizeof names / sizeof *names };
#define X(name, prepare, call, left) prepare,
static void (*const prepares[])(void) = {ROWS};
#undef X
#define X(name, prepare, call, left) \
	if (i == n++) \
		return (long)(call);
static long call(unsigned i) {
	unsigned n = 0;
	ROWS
	return -1;
}
#undef X
#define X(name, prepare, call, left) \
	if (i == n++) \
		return left;
static int left(unsigned i) {
	unsigned n = 0;
	ROWS
	return -1;
}
#undef X

/* ---- a row --------------------------------------------------------------------------------------------------------------- */

static void first(void *arg) { (void)arg; here.cleaned = here.cleaned * 10 + 1; }
static void second(void *arg) { (void)arg; here.cleaned = here.cleaned * 10 + 2; }

static void *thread(void *arg) {
	pthread_cleanup_push(first, NULL);
	pthread_cleanup_push(second, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cancel(pthread_self());
	if (!here.disabled)
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	errno = 0;
	here.result = call(here.row);
	here.error = errno;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	here.returned = true;
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	return arg;
}

static int descriptors(void) {
	int n = 0;
	for (int fd = 0; fd < 64; fd++)
		n += open_still(fd);
	return n;
}

static void handler(int sig) { (void)sig; }

static void forget(void) {
	if (in)
		fclose(in);
	if (out)
		fclose(out);
	if (folder)
		closedir(folder);
	if (mapped)
		munmap(mapped, 4096);
	/* each by its own call: as a queue, a semaphore's number may be another program's */
	if (queue >= 0)
		msgctl(queue, IPC_RMID, NULL);
	if (semaphores >= 0)
		semctl(semaphores, 0, IPC_RMID);
	if (posted >= 0)
		mq_close(posted);
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (third >= 0)
		close(third);
	unlink("made");
	in = out = NULL;
	folder = NULL;
	mapped = NULL;
	fds[0] = fds[1] = third = queue = semaphores = posted = -1;
}

static void run(unsigned row, bool disabled) {
	pthread_t t;
	void *joined;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR2);
	lseek(file, 0, SEEK_SET);
	int before = descriptors();
	prepares[row]();
	memset(&here, 0, sizeof here);
	here.row = row;
	here.disabled = disabled;
	pthread_create(&t, NULL, thread, NULL);
	pthread_join(t, &joined);
	printf("%-28s%-10s", names[row], disabled ? "disabled" : "");
	if (here.returned)
		printf("returned %ld%s%s", here.result, here.result == -1 ? " " : "", here.result == -1 ? strerror(here.error) : "");
	else
		printf("%s", joined == PTHREAD_CANCELED && here.cleaned == 21 ? "cancelled" : "cancelled wrongly");
	printf(", %d left", left(row));
	/* What a stream that was cancelled while it was closed, or opened anew, still has, is libc's secret. */
	if (!here.returned && (strncmp(names[row], "fclose", 6) == 0 || strcmp(names[row], "freopen") == 0))
		in = out = NULL;
	forget();
	if (descriptors() != before)
		printf(", descriptors %+d", descriptors() - before);
	printf("\n");
	fflush(stdout);
}

int main(void) {
	alarm(60);
	if (!mkdtemp(directory) || chdir(directory) < 0)
		return 2;
	freopen("/dev/null", "r", stdin);
	signal(SIGUSR2, handler);
	dir = open(".", O_RDONLY);
	null = open("/dev/null", O_WRONLY);
	file = open("file", O_RDWR | O_CREAT, 0600);
	write(file, "file, with a line\n", 18);
	time(&now);
	sigemptyset(&one);
	sigaddset(&one, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &one, NULL);
	forget();
	for (unsigned row = 0; row < CALLS; row++)
		run(row, false), run(row, true);
	unlink("file");
	rmdir(directory);
	_exit(0); /* not exit(): streams that were cancelled in the middle of something are not flushed */
}
