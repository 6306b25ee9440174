/* Shared by the tables of what ends a wait: every call that waits, what it waits for, and what makes it end. A cell is one such call in a thread of
 * its own, with objects of its own. Plain POSIX and GNU; nothing of goshim. */
#ifndef WAITING_H
#define WAITING_H

#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

enum { LONG_S = 1000 };

struct cell {
	const struct call *call;
	int fd[3]; /* [0] is waited for */
	int id;    /* a queue, a process */
	char path[64];
	sem_t sem;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pthread_rwlock_t rwlock;
	pthread_barrier_t barrier;
	mtx_t mtx;
	cnd_t cnd;
	pthread_t thread, other;
	FILE *file;
	aio_context_t context;
	struct aiocb aio;
	uint32_t word;
	int go;
	volatile int handled; /* by the thread itself */
	bool went_on;
	long result;
	int error;
	int finished;
};

/* For programs whose threads wait with something set that the kernel keeps per thread: they define WIRED first. */
static inline void wire(void) {
#ifdef WIRED
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#endif
}

static void must(bool ok, const char *what) {
	if (!ok) {
		printf("cannot %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static struct timespec later(clockid_t clock) {
	struct timespec ts;
	clock_gettime(clock, &ts);
	ts.tv_sec += LONG_S;
	return ts;
}

static const struct timespec rel = {LONG_S, 0};
static char big[1 << 20];

/* An error number that is returned instead of set. */
static long number(int error) {
	errno = error;
	return error ? -1 : 0;
}

/* ---- objects -------------------------------------------------------------------------------------------------------- */

static void nothing(struct cell *c) { (void)c; }
static void m_pipe(struct cell *c) { must(pipe(c->fd) == 0, "pipe"); }
static void m_sockets(struct cell *c) { must(socketpair(AF_UNIX, SOCK_STREAM, 0, c->fd) == 0, "socketpair"); }
static void m_timed(struct cell *c) {
	struct timeval tv = {LONG_S, 0};
	m_sockets(c);
	setsockopt(c->fd[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	setsockopt(c->fd[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}
static void fill(int fd) {
	int flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, big, 4096) > 0)
		continue;
	while (write(fd, big, 1) > 0)
		continue;
	fcntl(fd, F_SETFL, flags);
}
/* [0] is the end that is full. */
static void turn(struct cell *c) {
	int other = c->fd[0];
	c->fd[0] = c->fd[1];
	c->fd[1] = other;
}
static void m_pipe_empty(struct cell *c) { m_pipe(c); turn(c); }
static void m_pipe_full(struct cell *c) { m_pipe(c); turn(c); fill(c->fd[0]); }
static void m_sockets_full(struct cell *c) { m_sockets(c); fill(c->fd[0]); }
static void m_timed_full(struct cell *c) { m_timed(c); fill(c->fd[0]); }
static void m_sockets_three(struct cell *c) { m_sockets(c); must(write(c->fd[1], "abc", 3) == 3, "write"); }
static void m_listener(struct cell *c) {
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t size = sizeof a;
	c->fd[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	c->fd[1] = -1;
	must(bind(c->fd[0], (struct sockaddr *)&a, sizeof(sa_family_t)) == 0 && listen(c->fd[0], 0) == 0, "listen"); /* a name of the kernel's */
	getsockname(c->fd[0], (struct sockaddr *)&a, &size);
}
static void m_listener_timed(struct cell *c) {
	struct timeval tv = {LONG_S, 0};
	m_listener(c);
	setsockopt(c->fd[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
}
static int dial(int listener, int fd) {
	struct sockaddr_un a;
	socklen_t size = sizeof a;
	getsockname(listener, (struct sockaddr *)&a, &size);
	return connect(fd, (struct sockaddr *)&a, size);
}
/* A listener with a full backlog, [0] is to be connected to it. */
static void m_backlog(struct cell *c) {
	m_listener(c);
	c->fd[2] = c->fd[0];
	c->fd[1] = socket(AF_UNIX, SOCK_STREAM, 0);
	must(dial(c->fd[2], c->fd[1]) == 0, "connect");
	c->fd[0] = socket(AF_UNIX, SOCK_STREAM, 0);
}
static void m_backlog_timed(struct cell *c) {
	struct timeval tv = {LONG_S, 0};
	m_backlog(c);
	setsockopt(c->fd[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}
static void m_packets(struct cell *c) { must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, c->fd) == 0, "socketpair"); }
static void m_internet(struct cell *c, int kind) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	c->fd[0] = socket(AF_INET, kind, 0);
	must(bind(c->fd[0], (struct sockaddr *)&a, sizeof a) == 0, "bind");
	getsockname(c->fd[0], (struct sockaddr *)&a, &size);
	if (kind == SOCK_STREAM)
		listen(c->fd[0], 8);
	c->fd[1] = socket(AF_INET, kind, 0);
	must(connect(c->fd[1], (struct sockaddr *)&a, sizeof a) == 0, "connect");
}
static void m_datagrams(struct cell *c) { m_internet(c, SOCK_DGRAM); }
static void m_tcp(struct cell *c) {
	m_internet(c, SOCK_STREAM);
	c->fd[2] = c->fd[0];
	c->fd[0] = accept(c->fd[2], NULL, NULL);
}
static void m_tcp_listener(struct cell *c) { m_internet(c, SOCK_STREAM); close(accept(c->fd[0], NULL, NULL)); close(c->fd[1]); c->fd[1] = -1; }
static void m_event(struct cell *c) { c->fd[0] = eventfd(0, 0); }
static void m_event_full(struct cell *c) { c->fd[0] = eventfd(0, 0); eventfd_write(c->fd[0], UINT64_MAX - 1); }
static void m_timer(struct cell *c) { c->fd[0] = timerfd_create(CLOCK_MONOTONIC, 0); }
static void m_inotify(struct cell *c) {
	snprintf(c->path, sizeof c->path, "/tmp/waiting.%d.XXXXXX", (int)getpid());
	must((c->fd[1] = mkstemp(c->path)) >= 0, "mkstemp");
	c->fd[0] = inotify_init();
	inotify_add_watch(c->fd[0], c->path, IN_MODIFY);
	unlink(c->path);
	struct pollfd p = {c->fd[0], POLLIN, 0};
	char events[4096];
	while (poll(&p, 1, 0) == 1)
		read(c->fd[0], events, sizeof events);
}
static void m_signalfd(struct cell *c) {
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGHUP); /* blocked in all threads */
	c->fd[0] = signalfd(-1, &s, 0);
}
static void m_epoll(struct cell *c) {
	struct epoll_event e = {.events = EPOLLIN};
	must(pipe(&c->fd[1]) == 0, "pipe");
	c->fd[0] = epoll_create1(0);
	epoll_ctl(c->fd[0], EPOLL_CTL_ADD, c->fd[1], &e);
}
static void m_pty(struct cell *c) {
	must((c->fd[0] = posix_openpt(O_RDWR | O_NOCTTY)) >= 0 && grantpt(c->fd[0]) == 0 && unlockpt(c->fd[0]) == 0, "open a terminal");
	must((c->fd[1] = open(ptsname(c->fd[0]), O_RDWR | O_NOCTTY)) >= 0, "open a terminal");
}
/* Two descriptions of one file; [1] holds a lock. */
static void m_file(struct cell *c) {
	snprintf(c->path, sizeof c->path, "/tmp/waiting.%d.XXXXXX", (int)getpid());
	must((c->fd[1] = mkstemp(c->path)) >= 0, "mkstemp");
	must((c->fd[0] = open(c->path, O_RDWR)) >= 0, "open");
	unlink(c->path);
}
static void m_flock(struct cell *c) { m_file(c); must(flock(c->fd[1], LOCK_EX) == 0, "flock"); }
static void m_lock(struct cell *c) {
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	m_file(c);
	must(fcntl(c->fd[1], F_OFD_SETLK, &l) == 0, "lock a file");
}
static void m_fifo(struct cell *c) {
	snprintf(c->path, sizeof c->path, "/tmp/waiting.%d.%p", (int)getpid(), (void *)c);
	must(mkfifo(c->path, 0600) == 0, "mkfifo");
}
static void m_sendfile(struct cell *c) {
	m_pipe_full(c);
	c->fd[2] = open("/proc/self/exe", O_RDONLY);
}
static void m_splice(struct cell *c) {
	int from[2];
	m_pipe_full(c);
	must(pipe(from) == 0, "pipe");
	must(write(from[1], "abc", 3) == 3, "write");
	c->fd[2] = from[0];
}
static void m_stdio(struct cell *c) { m_pipe(c); c->file = fdopen(c->fd[0], "r"); }
static void m_stdio_full(struct cell *c) { m_pipe_full(c); c->file = fdopen(c->fd[0], "w"); }
static void m_aio(struct cell *c) {
	m_pipe(c);
	c->aio = (struct aiocb){.aio_fildes = c->fd[0], .aio_buf = c->path, .aio_nbytes = 1, .aio_sigevent.sigev_notify = SIGEV_NONE,
				.aio_lio_opcode = LIO_READ};
	must(aio_read(&c->aio) == 0, "aio_read");
}
static void m_lio(struct cell *c) {
	m_pipe(c);
	c->aio = (struct aiocb){.aio_fildes = c->fd[0], .aio_buf = c->path, .aio_nbytes = 1, .aio_lio_opcode = LIO_READ};
}
static void m_context(struct cell *c) { syscall(SYS_io_setup, 8, &c->context); c->fd[0] = eventfd(0, 0); }
static void m_stdio_wide(struct cell *c) { m_stdio(c); fwide(c->file, 1); }
static void m_stdio_raw(struct cell *c) { m_stdio_full(c); setvbuf(c->file, NULL, _IONBF, 0); }
static void m_queue(struct cell *c) { must((c->id = msgget(IPC_PRIVATE, 0600)) >= 0, "msgget"); }
static void m_queue_full(struct cell *c) {
	m_queue(c);
	struct { long type; char text[4096]; } m = {.type = 1};
	while (msgsnd(c->id, &m, sizeof m.text, IPC_NOWAIT) == 0)
		continue;
}
static void m_semaphore(struct cell *c) { must((c->id = semget(IPC_PRIVATE, 1, 0600)) >= 0, "semget"); }
static void m_mq(struct cell *c) {
	struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 8};
	snprintf(c->path, sizeof c->path, "/waiting.%d.%p", (int)getpid(), (void *)c);
	must((c->id = mq_open(c->path, O_RDWR | O_CREAT, 0600, &attr)) >= 0, "mq_open");
	mq_unlink(c->path);
}
static void m_mq_full(struct cell *c) { m_mq(c); mq_send(c->id, "x", 1, 0); }
static void m_sem(struct cell *c) { sem_init(&c->sem, 0, 0); }
static void m_sem_shared(struct cell *c) { sem_init(&c->sem, 1, 0); }
static void mutex_held(struct cell *c, int shared, int robust, int protocol) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, shared);
	pthread_mutexattr_setrobust(&a, robust);
	pthread_mutexattr_setprotocol(&a, protocol);
	must(number(pthread_mutex_init(&c->mutex, &a)) == 0, "make a mutex");
	pthread_mutex_lock(&c->mutex);
}
static void m_mutex(struct cell *c) { mutex_held(c, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE); }
static void m_mutex_shared(struct cell *c) { mutex_held(c, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE); }
static void m_mutex_robust(struct cell *c) { mutex_held(c, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE); }
static void m_mutex_pi(struct cell *c) { mutex_held(c, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT); }
static void m_mutex_pi_robust(struct cell *c) { mutex_held(c, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_INHERIT); }
static void m_mtx(struct cell *c) { mtx_init(&c->mtx, mtx_timed); cnd_init(&c->cnd); mtx_lock(&c->mtx); }
static void m_cnd(struct cell *c) { mtx_init(&c->mtx, mtx_timed); cnd_init(&c->cnd); }
static void m_cond(struct cell *c) { pthread_mutex_init(&c->mutex, NULL); pthread_cond_init(&c->cond, NULL); }
static void m_cond_shared(struct cell *c) {
	pthread_mutexattr_t m;
	pthread_condattr_t a;
	pthread_mutexattr_init(&m);
	pthread_mutexattr_setpshared(&m, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&c->mutex, &m);
	pthread_condattr_init(&a);
	pthread_condattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&c->cond, &a);
}
static void m_rwlock(struct cell *c) { pthread_rwlock_init(&c->rwlock, NULL); pthread_rwlock_wrlock(&c->rwlock); }
static void m_rwlock_shared(struct cell *c) {
	pthread_rwlockattr_t a;
	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_rwlock_init(&c->rwlock, &a);
	pthread_rwlock_wrlock(&c->rwlock);
}
static void m_rwlock_read(struct cell *c) { pthread_rwlock_init(&c->rwlock, NULL); pthread_rwlock_rdlock(&c->rwlock); }
static void m_barrier_shared(struct cell *c) {
	pthread_barrierattr_t a;
	pthread_barrierattr_init(&a);
	pthread_barrierattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&c->barrier, &a, 2);
}
static void m_barrier(struct cell *c) { pthread_barrier_init(&c->barrier, NULL, 2); }
static void *locks(void *arg) {
	struct cell *c = arg;
	pthread_mutex_lock(&c->mutex);
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}
static void m_joined(struct cell *c) {
	m_mutex(c);
	pthread_create(&c->other, NULL, locks, c);
}
static void m_child(struct cell *c) {
	c->id = fork();
	if (c->id == 0)
		for (;;)
			pause();
}
static void m_popen(struct cell *c) {
	must(pipe(c->fd) == 0, "pipe");
	fcntl(c->fd[1], F_SETFD, FD_CLOEXEC);
	char command[64];
	snprintf(command, sizeof command, "exec head -c 1 </dev/fd/%d >/dev/null", c->fd[0]);
	must((c->file = popen(command, "r")) != NULL, "popen");
}

/* ---- calls ---------------------------------------------------------------------------------------------------------- */

#define CALL(name, ...) \
	static long name(struct cell *c) { __VA_ARGS__ }
#define BYTE char b[8]; struct iovec iov = {b, 1}; struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1}; struct mmsghdr mm = {.msg_hdr = m}; \
	(void)b, (void)m, (void)mm;

CALL(c_read, BYTE return read(c->fd[0], b, 1);)
CALL(c_read_eight, uint64_t v; return read(c->fd[0], &v, 8) == 8 ? 0 : -1;)
CALL(c_readv, BYTE return readv(c->fd[0], &iov, 1);)
CALL(c_read_raw, BYTE return syscall(SYS_read, c->fd[0], b, 1);)
CALL(c_read_events, char b[512]; return read(c->fd[0], b, sizeof b) > 0 ? 0 : -1;)
/* What programs built with -D_FORTIFY_SOURCE call, and those built for large files. */
extern ssize_t __read_chk(int, void *, size_t, size_t), __recv_chk(int, void *, size_t, size_t, int);
extern ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
extern int __poll_chk(struct pollfd *, nfds_t, int, size_t), __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
extern char *__fgets_chk(char *, size_t, int, FILE *);
extern size_t __fread_chk(void *, size_t, size_t, size_t, FILE *);
extern int __dprintf_chk(int, int, const char *, ...), __open_2(const char *, int), __open64_2(const char *, int);
extern int __openat_2(int, const char *, int), __openat64_2(int, const char *, int);
CALL(c_read_chk, BYTE return __read_chk(c->fd[0], b, 1, sizeof b);)
CALL(c_recv_chk, BYTE return __recv_chk(c->fd[0], b, 1, sizeof b, 0);)
CALL(c_recvfrom_chk, BYTE return __recvfrom_chk(c->fd[0], b, 1, sizeof b, 0, NULL, NULL);)
CALL(c_poll_chk, struct pollfd p = {c->fd[0], POLLIN, 0}; return __poll_chk(&p, 1, -1, sizeof p);)
CALL(c_ppoll_chk, struct pollfd p = {c->fd[0], POLLIN, 0}; return __ppoll_chk(&p, 1, NULL, NULL, sizeof p);)
CALL(c_fgets_chk, char b[8]; return __fgets_chk(b, sizeof b, sizeof b, c->file) ? 0 : -1;)
CALL(c_fread_chk, char b; return __fread_chk(&b, 1, 1, 1, c->file) == 1 ? 0 : -1;)
CALL(c_dprintf_chk, return __dprintf_chk(c->fd[0], 1, "x");)
#define OPENED(how) c->fd[0] = how; return c->fd[0] < 0 ? -1 : 0;
CALL(c_open64, OPENED(open64(c->path, O_RDONLY)))
CALL(c_openat, OPENED(openat(AT_FDCWD, c->path, O_RDONLY)))
CALL(c_openat64, OPENED(openat64(AT_FDCWD, c->path, O_RDONLY)))
CALL(c_open_2, OPENED(__open_2(c->path, O_RDONLY)))
CALL(c_open64_2, OPENED(__open64_2(c->path, O_RDONLY)))
CALL(c_openat_2, OPENED(__openat_2(AT_FDCWD, c->path, O_RDONLY)))
CALL(c_openat64_2, OPENED(__openat64_2(AT_FDCWD, c->path, O_RDONLY)))
CALL(c_fopen64, c->file = fopen64(c->path, "r"); return c->file ? 0 : -1;)
CALL(c_setlkw64, struct flock64 l = {.l_type = F_WRLCK, .l_whence = SEEK_SET}; return fcntl64(c->fd[0], F_SETLKW64, &l);)
CALL(c_lockf64, return lockf64(c->fd[0], F_LOCK, 0);)
CALL(c_sendfile64, off64_t at = 0; return sendfile64(c->fd[0], c->fd[2], &at, 1);)
CALL(c_preadv2, BYTE return preadv2(c->fd[0], &iov, 1, -1, 0);)
CALL(c_pwritev2, struct iovec iov = {big, 1}; return pwritev2(c->fd[0], &iov, 1, -1, 0);)
CALL(c_thrd_join, return thrd_join(c->other, NULL) == thrd_success ? 0 : -1;)
CALL(c_write, return write(c->fd[0], "x", 1);)
CALL(c_write_big, return write(c->fd[0], big, sizeof big);)
CALL(c_send_big, long r = send(c->fd[0], big, sizeof big, 0); return r > 0 && r < (long)sizeof big ? 1 : r;) /* how much fits is the kernel's */
CALL(c_writev, struct iovec iov = {big, 1}; return writev(c->fd[0], &iov, 1);)
CALL(c_write_eight, return eventfd_write(c->fd[0], 1);)
CALL(c_recv, BYTE return recv(c->fd[0], b, 1, 0);)
CALL(c_recv_all, BYTE return recv(c->fd[0], b, 8, MSG_WAITALL);)
CALL(c_recvfrom, BYTE return recvfrom(c->fd[0], b, 1, 0, NULL, NULL);)
CALL(c_recvmsg, BYTE return recvmsg(c->fd[0], &m, 0);)
CALL(c_recvmmsg, BYTE return recvmmsg(c->fd[0], &mm, 1, 0, NULL);)
CALL(c_send, return send(c->fd[0], "x", 1, 0);)
CALL(c_sendto, return sendto(c->fd[0], "x", 1, 0, NULL, 0);)
CALL(c_sendmsg, BYTE return sendmsg(c->fd[0], &m, 0);)
CALL(c_sendmmsg, BYTE return sendmmsg(c->fd[0], &mm, 1, 0);)
CALL(c_accept, return accept(c->fd[0], NULL, NULL) < 0 ? -1 : 0;)
CALL(c_accept4, return accept4(c->fd[0], NULL, NULL, SOCK_CLOEXEC) < 0 ? -1 : 0;)
CALL(c_connect, return dial(c->fd[2], c->fd[0]);)
CALL(c_poll, struct pollfd p = {c->fd[0], POLLIN, 0}; return poll(&p, 1, -1);)
CALL(c_poll_timed, struct pollfd p = {c->fd[0], POLLIN, 0}; return poll(&p, 1, LONG_S * 1000);)
CALL(c_poll_nothing, (void)c; return poll(NULL, 0, LONG_S * 1000);)
CALL(c_ppoll, struct pollfd p = {c->fd[0], POLLIN, 0}; return ppoll(&p, 1, NULL, NULL);)
CALL(c_ppoll_timed, struct pollfd p = {c->fd[0], POLLIN, 0}; sigset_t s; sigemptyset(&s); return ppoll(&p, 1, &rel, &s);)
#define SET fd_set s; FD_ZERO(&s); FD_SET(c->fd[0], &s);
CALL(c_select, SET return select(c->fd[0] + 1, &s, NULL, NULL, NULL);)
CALL(c_select_timed, SET struct timeval tv = {LONG_S, 0}; return select(c->fd[0] + 1, &s, NULL, NULL, &tv);)
CALL(c_select_nothing, struct timeval tv = {LONG_S, 0}; (void)c; return select(0, NULL, NULL, NULL, &tv);)
CALL(c_pselect, SET return pselect(c->fd[0] + 1, &s, NULL, NULL, NULL, NULL);)
CALL(c_epoll_wait, struct epoll_event e; return epoll_wait(c->fd[0], &e, 1, -1);)
CALL(c_epoll_timed, struct epoll_event e; return epoll_wait(c->fd[0], &e, 1, LONG_S * 1000);)
CALL(c_epoll_pwait, struct epoll_event e; sigset_t s; sigemptyset(&s); return epoll_pwait(c->fd[0], &e, 1, -1, &s);)
CALL(c_epoll_pwait2, struct epoll_event e; return epoll_pwait2(c->fd[0], &e, 1, &rel, NULL);)
CALL(c_nanosleep, struct timespec left = {0, 0}; (void)c; return nanosleep(&rel, &left) == -1 && left.tv_sec > 0 ? -1 : 1;)
CALL(c_clock_relative, struct timespec left = {0, 0}; (void)c; return number(clock_nanosleep(CLOCK_MONOTONIC, 0, &rel, &left)) < 0 && left.tv_sec > 0 ? -1 : 1;)
CALL(c_clock_absolute, struct timespec ts = later(CLOCK_REALTIME); (void)c; return number(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL));)
CALL(c_usleep, (void)c; return usleep(999999999);)
CALL(c_sleep, (void)c; return sleep(LONG_S) > 0 ? number(EINTR) : 0;)
CALL(c_thrd_sleep, (void)c; return thrd_sleep(&rel, NULL);)
CALL(c_pause, (void)c; return pause();)
CALL(c_sigsuspend, sigset_t s; (void)c; sigemptyset(&s); sigaddset(&s, SIGHUP); return sigsuspend(&s);)
#define HUP sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP);
CALL(c_sigwait, int sig; HUP (void)c; return number(sigwait(&s, &sig));)
CALL(c_sigwaitinfo, HUP (void)c; return sigwaitinfo(&s, NULL) == SIGHUP ? 0 : -1;)
CALL(c_sigtimedwait, HUP (void)c; return sigtimedwait(&s, NULL, &rel) == SIGHUP ? 0 : -1;)
CALL(c_flock, return flock(c->fd[0], LOCK_EX);)
CALL(c_setlkw, struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET}; return fcntl(c->fd[0], F_SETLKW, &l);)
CALL(c_ofd_setlkw, struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET}; return fcntl(c->fd[0], F_OFD_SETLKW, &l);)
CALL(c_lockf, return lockf(c->fd[0], F_LOCK, 0);)
CALL(c_open, c->fd[0] = open(c->path, O_RDONLY); return c->fd[0] < 0 ? -1 : 0;)
CALL(c_fopen, c->file = fopen(c->path, "r"); return c->file ? 0 : -1;)
CALL(c_sendfile, off_t at = 0; return sendfile(c->fd[0], c->fd[2], &at, 1);)
CALL(c_splice, return splice(c->fd[2], NULL, c->fd[0], NULL, 1, 0);)
CALL(c_tee, return tee(c->fd[2], c->fd[0], 1, 0);)
CALL(c_vmsplice, struct iovec iov = {big, 1}; return vmsplice(c->fd[0], &iov, 1, 0);)
CALL(c_fgetc, return fgetc(c->file) == EOF ? -1 : 0;)
CALL(c_fgets, char b[8]; return fgets(b, sizeof b, c->file) ? 0 : -1;)
CALL(c_fread, char b; return fread(&b, 1, 1, c->file) == 1 ? 0 : -1;)
CALL(c_fflush, fputc('x', c->file); return fflush(c->file);)
CALL(c_dprintf, return dprintf(c->fd[0], "x");)
CALL(c_aio, const struct aiocb *list[] = {&c->aio}; return aio_suspend(list, 1, NULL);)
CALL(c_aio_timed, const struct aiocb *list[] = {&c->aio}; return aio_suspend(list, 1, &rel);)
CALL(c_lio, struct aiocb *list[] = {&c->aio}; return lio_listio(LIO_WAIT, list, 1, NULL);)
struct text { long type; char text[4096]; };
CALL(c_msgrcv, struct text m; return msgrcv(c->id, &m, sizeof m.text, 0, 0) < 0 ? -1 : 0;)
CALL(c_msgsnd, struct text m = {.type = 1}; return msgsnd(c->id, &m, sizeof m.text, 0);)
CALL(c_semop, struct sembuf b = {0, -1, 0}; return semop(c->id, &b, 1);)
CALL(c_semtimedop, struct sembuf b = {0, -1, 0}; return semtimedop(c->id, &b, 1, &rel);)
CALL(c_mq_receive, char b[8]; return mq_receive(c->id, b, 8, NULL);)
CALL(c_mq_timedreceive, char b[8]; struct timespec ts = later(CLOCK_REALTIME); return mq_timedreceive(c->id, b, 8, NULL, &ts);)
CALL(c_mq_send, return mq_send(c->id, "x", 1, 0);)
CALL(c_mq_timedsend, struct timespec ts = later(CLOCK_REALTIME); return mq_timedsend(c->id, "x", 1, 0, &ts);)
CALL(c_sem_wait, return sem_wait(&c->sem);)
CALL(c_sem_timedwait, struct timespec ts = later(CLOCK_REALTIME); return sem_timedwait(&c->sem, &ts);)
CALL(c_sem_clockwait, struct timespec ts = later(CLOCK_MONOTONIC); return sem_clockwait(&c->sem, CLOCK_MONOTONIC, &ts);)
CALL(c_waitpid, return waitpid(c->id, NULL, 0) < 0 ? -1 : 0;)
CALL(c_wait4, return wait4(c->id, NULL, 0, NULL) < 0 ? -1 : 0;)
CALL(c_waitid, siginfo_t info; return waitid(P_PID, (id_t)c->id, &info, WEXITED);)
CALL(c_wait, (void)c; return wait(NULL) < 0 ? -1 : 0;)
CALL(c_wait3, (void)c; return wait3(NULL, 0, NULL) < 0 ? -1 : 0;)
CALL(c_pclose, return pclose(c->file) < 0 ? -1 : 0;)
CALL(c_mutex, return number(pthread_mutex_lock(&c->mutex));)
CALL(c_mutex_timed, struct timespec ts = later(CLOCK_REALTIME); return number(pthread_mutex_timedlock(&c->mutex, &ts));)
CALL(c_mutex_clock, struct timespec ts = later(CLOCK_MONOTONIC); return number(pthread_mutex_clocklock(&c->mutex, CLOCK_MONOTONIC, &ts));)
CALL(c_mtx, return mtx_lock(&c->mtx) == thrd_success ? 0 : -1;)
CALL(c_mtx_timed, struct timespec ts = later(CLOCK_REALTIME); return mtx_timedlock(&c->mtx, &ts) == thrd_success ? 0 : -1;)
/* POSIX allows spurious wake-ups; NPTL has none for signals. */
CALL(c_cond, int r = 0; int turns = 0; pthread_mutex_lock(&c->mutex); while (!c->go) r = pthread_cond_wait(&c->cond, &c->mutex), turns++;
	pthread_mutex_unlock(&c->mutex); return turns == 1 ? number(r) : 99;)
CALL(c_cond_timed, struct timespec ts = later(CLOCK_REALTIME); int r = 0; int turns = 0; pthread_mutex_lock(&c->mutex);
	while (!c->go) r = pthread_cond_timedwait(&c->cond, &c->mutex, &ts), turns++; pthread_mutex_unlock(&c->mutex); return turns == 1 ? number(r) : 99;)
CALL(c_cnd, int r = thrd_success; int turns = 0; mtx_lock(&c->mtx); while (!c->go) r = cnd_wait(&c->cnd, &c->mtx), turns++;
	mtx_unlock(&c->mtx); return turns == 1 && r == thrd_success ? 0 : 99;)
CALL(c_rdlock, return number(pthread_rwlock_rdlock(&c->rwlock));)
CALL(c_wrlock, return number(pthread_rwlock_wrlock(&c->rwlock));)
CALL(c_timedrdlock, struct timespec ts = later(CLOCK_REALTIME); return number(pthread_rwlock_timedrdlock(&c->rwlock, &ts));)
CALL(c_timedwrlock, struct timespec ts = later(CLOCK_REALTIME); return number(pthread_rwlock_timedwrlock(&c->rwlock, &ts));)
CALL(c_barrier, pthread_barrier_wait(&c->barrier); return 0;)
CALL(c_join, return number(pthread_join(c->other, NULL));)
CALL(c_timedjoin, struct timespec ts = later(CLOCK_REALTIME); return number(pthread_timedjoin_np(c->other, NULL, &ts));)
CALL(c_futex, return syscall(SYS_futex, &c->word, FUTEX_WAIT_PRIVATE, 0, NULL);)
CALL(c_futex_timed, return syscall(SYS_futex, &c->word, FUTEX_WAIT_PRIVATE, 0, &rel);)
CALL(c_futex_bitset, struct timespec ts = later(CLOCK_MONOTONIC); return syscall(SYS_futex, &c->word, FUTEX_WAIT_BITSET_PRIVATE, 0, &ts, NULL, 1);)
/* The kernel's own calls, which are no cancellation points. */
CALL(c_raw_poll, struct pollfd p = {c->fd[0], POLLIN, 0}; return syscall(SYS_ppoll, &p, 1, NULL, NULL, 8);)
CALL(c_raw_nanosleep, (void)c; return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &rel, NULL);)
CALL(c_raw_epoll, struct epoll_event e; return syscall(SYS_epoll_pwait, c->fd[0], &e, 1, -1, NULL, 8);)
CALL(c_raw_recv, BYTE return syscall(SYS_recvfrom, c->fd[0], b, 1, 0, NULL, NULL);)
CALL(c_raw_accept, return syscall(SYS_accept4, c->fd[0], NULL, NULL, 0) < 0 ? -1 : 0;)
CALL(c_raw_write, return syscall(SYS_write, c->fd[0], "x", 1);)
CALL(c_raw_wait, return syscall(SYS_wait4, c->id, NULL, 0, NULL) < 0 ? -1 : 0;)
CALL(c_raw_flock, return syscall(SYS_flock, c->fd[0], LOCK_EX);)
CALL(c_io_getevents, struct io_event e; return syscall(SYS_io_getevents, c->context, 1, 1, &e, NULL);)
CALL(c_read_timed, BYTE return readv(c->fd[0], &iov, 1);)
CALL(c_pselect_timed, SET sigset_t m; sigemptyset(&m); sigaddset(&m, SIGHUP); return pselect(c->fd[0] + 1, &s, NULL, NULL, &rel, &m);)
CALL(c_epoll_pwait_timed, struct epoll_event e; sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP); return epoll_pwait(c->fd[0], &e, 1, LONG_S * 1000, &s);)
CALL(c_recvmmsg_timed, BYTE struct timespec ts = rel; return recvmmsg(c->fd[0], &mm, 1, 0, &ts);)
CALL(c_cond_clock, struct timespec ts = later(CLOCK_MONOTONIC); int r = 0; int turns = 0; pthread_mutex_lock(&c->mutex);
	while (!c->go) r = pthread_cond_clockwait(&c->cond, &c->mutex, CLOCK_MONOTONIC, &ts), turns++;
	pthread_mutex_unlock(&c->mutex); return turns == 1 ? number(r) : 99;)
CALL(c_cnd_timed, struct timespec ts = later(CLOCK_REALTIME); int r = thrd_success; int turns = 0; mtx_lock(&c->mtx);
	while (!c->go) r = cnd_timedwait(&c->cnd, &c->mtx, &ts), turns++; mtx_unlock(&c->mtx); return turns == 1 && r == thrd_success ? 0 : 99;)
CALL(c_clockrdlock, struct timespec ts = later(CLOCK_MONOTONIC); return number(pthread_rwlock_clockrdlock(&c->rwlock, CLOCK_MONOTONIC, &ts));)
CALL(c_clockwrlock, struct timespec ts = later(CLOCK_MONOTONIC); return number(pthread_rwlock_clockwrlock(&c->rwlock, CLOCK_MONOTONIC, &ts));)
CALL(c_clockjoin, struct timespec ts = later(CLOCK_MONOTONIC); return number(pthread_clockjoin_np(c->other, NULL, CLOCK_MONOTONIC, &ts));)
CALL(c_waitv, struct { uint64_t val, uaddr; uint32_t flags, reserved; } v = {0, (uintptr_t)&c->word, 2 | FUTEX_PRIVATE_FLAG, 0};
	return syscall(449, &v, 1, 0, NULL, 0) < 0 ? -1 : 0;) /* futex_waitv, of 32 bits */
CALL(c_getline, char *l = NULL; size_t n = 0; long r = getline(&l, &n, c->file) > 0 ? 0 : -1; free(l); return r;)
CALL(c_fscanf, char b[8]; return fscanf(c->file, "%7s", b) == 1 ? 0 : -1;)
CALL(c_isoc99_fscanf, extern int __isoc99_fscanf(FILE *, const char *, ...); char b[8]; return __isoc99_fscanf(c->file, "%7s", b) == 1 ? 0 : -1;)
CALL(c_fgetwc, return fgetwc(c->file) == WEOF ? -1 : 0;)
CALL(c_fgets_unlocked, char b[8]; return fgets_unlocked(b, sizeof b, c->file) ? 0 : -1;)
CALL(c_fputc, return fputc('x', c->file) == EOF ? -1 : 0;)
CALL(c_fwrite, return fwrite("x", 1, 1, c->file) == 1 ? 0 : -1;)
CALL(c_fprintf, return fprintf(c->file, "%d", 7) == 1 ? 0 : -1;)
extern int __fprintf_chk(FILE *, int, const char *, ...);
CALL(c_fprintf_chk, return __fprintf_chk(c->file, 1, "%d", 7) == 1 ? 0 : -1;)

/* ---- what they wait for ----------------------------------------------------------------------------------------------- */

static void e_one(struct cell *c) { must(write(c->fd[1], "x\n", 2) == 2, "write"); }
static void e_rest(struct cell *c) { must(write(c->fd[1], "defgh", 5) == 5, "write"); }
static void e_all(struct cell *c) { must(write(c->fd[1], "abcdefgh", 8) == 8, "write"); }
static void e_drain(struct cell *c) { while (read(c->fd[1], big, 65536) == 65536) continue; }
/* Who writes more than fits. */
static bool ended(struct cell *c) {
	return __atomic_load_n(&c->finished, __ATOMIC_SEQ_CST);
}
static void e_swallow(struct cell *c) {
	struct pollfd p = {c->fd[1], POLLIN, 0};
	while (!ended(c))
		if (poll(&p, 1, 1) == 1)
			read(c->fd[1], big, sizeof big);
}
static void e_event(struct cell *c) { eventfd_write(c->fd[0], 1); }
static void e_event_drain(struct cell *c) { eventfd_t v; eventfd_read(c->fd[0], &v); }
static void e_timer(struct cell *c) { struct itimerspec its = {.it_value.tv_nsec = 1}; timerfd_settime(c->fd[0], 0, &its, NULL); }
static void e_epoll(struct cell *c) { write(c->fd[2], "x", 1); }
static void e_dial(struct cell *c) { c->fd[1] = socket(AF_UNIX, SOCK_STREAM, 0); dial(c->fd[0], c->fd[1]); }
static void e_backlog(struct cell *c) { close(accept(c->fd[2], NULL, NULL)); }
static void e_hup(struct cell *c) { pthread_kill(c->thread, SIGHUP); }
static void e_kill(struct cell *c) { (void)c; kill(getpid(), SIGHUP); } /* nobody else waits for it by now */
static void e_flock(struct cell *c) { flock(c->fd[1], LOCK_UN); }
static void e_unlock(struct cell *c) { struct flock l = {.l_type = F_UNLCK, .l_whence = SEEK_SET}; fcntl(c->fd[1], F_OFD_SETLK, &l); }
static void e_fifo(struct cell *c) { c->fd[1] = open(c->path, O_WRONLY); }
static void e_queue(struct cell *c) { struct { long type; char text[1]; } m = {.type = 1}; msgsnd(c->id, &m, 1, 0); }
static void e_queue_drain(struct cell *c) { struct text m; msgrcv(c->id, &m, sizeof m.text, 0, 0); }
static void e_semaphore(struct cell *c) { struct sembuf b = {0, 1, 0}; semop(c->id, &b, 1); }
static void e_mq(struct cell *c) { mq_send(c->id, "x", 1, 0); }
static void e_mq_drain(struct cell *c) { char b[8]; mq_receive(c->id, b, 8, NULL); }
static void e_sem(struct cell *c) { sem_post(&c->sem); }
static void e_child(struct cell *c) { kill(c->id, SIGKILL); }
static void e_mutex(struct cell *c) { pthread_mutex_unlock(&c->mutex); }
static void e_mtx(struct cell *c) { mtx_unlock(&c->mtx); }
static void e_cond(struct cell *c) {
	pthread_mutex_lock(&c->mutex);
	c->go = 1;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->mutex);
}
static void e_cnd(struct cell *c) { mtx_lock(&c->mtx); c->go = 1; cnd_signal(&c->cnd); mtx_unlock(&c->mtx); }
static void e_rwlock(struct cell *c) { pthread_rwlock_unlock(&c->rwlock); }
static void e_barrier(struct cell *c) { pthread_barrier_wait(&c->barrier); }
static void e_futex(struct cell *c) {
	__atomic_store_n(&c->word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &c->word, FUTEX_WAKE_PRIVATE, 1);
}

static void e_packet(struct cell *c) { must(write(c->fd[1], "x", 1) == 1, "write"); }
static void e_tcp(struct cell *c) {
	struct sockaddr_in a;
	socklen_t size = sizeof a;
	getsockname(c->fd[0], (struct sockaddr *)&a, &size);
	connect(c->fd[1] = socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, size);
}
static void e_context(struct cell *c) {
	struct iocb b = {.aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = (uint32_t)c->fd[0], .aio_buf = POLLOUT}, *list[] = {&b};
	must(syscall(SYS_io_submit, c->context, 1, list) == 1, "io_submit");
}

static const struct call {
	const char *name;
	void (*make)(struct cell *);
	long (*call)(struct cell *);
	void (*end)(struct cell *);
	bool alone; /* takes what another cell waits for; last in the table */
} calls[] = {
	{"read pipe", m_pipe, c_read, e_one},
	{"read socket", m_sockets, c_read, e_one},
	{"read socket, SO_RCVTIMEO", m_timed, c_read, e_one},
	{"read eventfd", m_event, c_read_eight, e_event},
	{"read timerfd", m_timer, c_read_eight, e_timer},
	{"read inotify", m_inotify, c_read_events, e_one},
	{"read terminal", m_pty, c_read, e_one},
	{"readv pipe", m_pipe, c_readv, e_one},
	{"syscall(SYS_read)", m_pipe, c_read_raw, e_one},
	{"write pipe", m_pipe_full, c_write, e_drain},
	{"write pipe, part", m_pipe_empty, c_write_big, e_swallow},
	{"write socket", m_sockets_full, c_write, e_drain},
	{"write eventfd", m_event_full, c_write_eight, e_event_drain},
	{"writev pipe", m_pipe_full, c_writev, e_drain},
	{"recv", m_sockets, c_recv, e_one},
	{"recv, SO_RCVTIMEO", m_timed, c_recv, e_one},
	{"recv MSG_WAITALL", m_sockets, c_recv_all, e_all},
	{"recv MSG_WAITALL, part", m_sockets_three, c_recv_all, e_rest},
	{"recvfrom", m_sockets, c_recvfrom, e_one},
	{"recvmsg", m_sockets, c_recvmsg, e_one},
	{"recvmsg, SO_RCVTIMEO", m_timed, c_recvmsg, e_one},
	{"recvmmsg", m_sockets, c_recvmmsg, e_one},
	{"send", m_sockets_full, c_send, e_drain},
	{"send, SO_SNDTIMEO", m_timed_full, c_send, e_drain},
	{"send, part", m_sockets, c_send_big, e_swallow},
	{"sendto", m_sockets_full, c_sendto, e_drain},
	{"sendmsg", m_sockets_full, c_sendmsg, e_drain},
	{"sendmmsg", m_sockets_full, c_sendmmsg, e_drain},
	{"accept", m_listener, c_accept, e_dial},
	{"accept, SO_RCVTIMEO", m_listener_timed, c_accept, e_dial},
	{"accept4", m_listener, c_accept4, e_dial},
	{"connect", m_backlog, c_connect, e_backlog},
	{"connect, SO_SNDTIMEO", m_backlog_timed, c_connect, e_backlog},
	{"poll", m_pipe, c_poll, e_one},
	{"poll, timeout", m_pipe, c_poll_timed, e_one},
	{"poll, nothing", nothing, c_poll_nothing, nothing},
	{"ppoll", m_pipe, c_ppoll, e_one},
	{"ppoll, timeout, mask", m_pipe, c_ppoll_timed, e_one},
	{"select", m_pipe, c_select, e_one},
	{"select, timeout", m_pipe, c_select_timed, e_one},
	{"select, nothing", nothing, c_select_nothing, nothing},
	{"pselect", m_pipe, c_pselect, e_one},
	{"epoll_wait", m_epoll, c_epoll_wait, e_epoll},
	{"epoll_wait, timeout", m_epoll, c_epoll_timed, e_epoll},
	{"epoll_pwait", m_epoll, c_epoll_pwait, e_epoll},
	{"epoll_pwait2", m_epoll, c_epoll_pwait2, e_epoll},
	{"nanosleep", nothing, c_nanosleep, nothing},
	{"clock_nanosleep", nothing, c_clock_relative, nothing},
	{"clock_nanosleep absolute", nothing, c_clock_absolute, nothing},
	{"usleep", nothing, c_usleep, nothing},
	{"sleep", nothing, c_sleep, nothing},
	{"thrd_sleep", nothing, c_thrd_sleep, nothing},
	{"pause", nothing, c_pause, nothing},
	{"sigsuspend", nothing, c_sigsuspend, nothing},
	{"sigwait", nothing, c_sigwait, e_hup},
	{"sigwaitinfo", nothing, c_sigwaitinfo, e_hup},
	{"sigtimedwait", nothing, c_sigtimedwait, e_hup},
	{"read signalfd", m_signalfd, c_read_events, e_kill},
	{"flock", m_flock, c_flock, e_flock},
	{"fcntl F_SETLKW", m_lock, c_setlkw, e_unlock},
	{"fcntl F_OFD_SETLKW", m_lock, c_ofd_setlkw, e_unlock},
	{"lockf", m_lock, c_lockf, e_unlock},
	{"open FIFO", m_fifo, c_open, e_fifo},
	{"fopen FIFO", m_fifo, c_fopen, e_fifo},
	{"sendfile", m_sendfile, c_sendfile, e_drain},
	{"splice", m_splice, c_splice, e_drain},
	{"tee", m_splice, c_tee, e_drain},
	{"vmsplice", m_pipe_full, c_vmsplice, e_drain},
	{"fgetc", m_stdio, c_fgetc, e_one},
	{"fgets", m_stdio, c_fgets, e_one},
	{"fread", m_stdio, c_fread, e_one},
	{"fflush", m_stdio_full, c_fflush, e_drain},
	{"dprintf", m_pipe_full, c_dprintf, e_drain},
	{"aio_suspend", m_aio, c_aio, e_one},
	{"aio_suspend, timeout", m_aio, c_aio_timed, e_one},
	{"lio_listio", m_lio, c_lio, e_one},
	{"msgrcv", m_queue, c_msgrcv, e_queue},
	{"msgsnd", m_queue_full, c_msgsnd, e_queue_drain},
	{"semop", m_semaphore, c_semop, e_semaphore},
	{"semtimedop", m_semaphore, c_semtimedop, e_semaphore},
	{"mq_receive", m_mq, c_mq_receive, e_mq},
	{"mq_timedreceive", m_mq, c_mq_timedreceive, e_mq},
	{"mq_send", m_mq_full, c_mq_send, e_mq_drain},
	{"mq_timedsend", m_mq_full, c_mq_timedsend, e_mq_drain},
	{"sem_wait", m_sem, c_sem_wait, e_sem},
	{"sem_wait shared", m_sem_shared, c_sem_wait, e_sem},
	{"sem_timedwait", m_sem, c_sem_timedwait, e_sem},
	{"sem_clockwait", m_sem, c_sem_clockwait, e_sem},
	{"waitpid", m_child, c_waitpid, e_child},
	{"wait4", m_child, c_wait4, e_child},
	{"waitid", m_child, c_waitid, e_child},
	{"pclose", m_popen, c_pclose, e_one},
	{"mutex lock", m_mutex, c_mutex, e_mutex},
	{"mutex timedlock", m_mutex, c_mutex_timed, e_mutex},
	{"mutex clocklock", m_mutex, c_mutex_clock, e_mutex},
	{"mutex lock shared", m_mutex_shared, c_mutex, e_mutex},
	{"mutex lock robust", m_mutex_robust, c_mutex, e_mutex},
	{"mutex timedlock robust", m_mutex_robust, c_mutex_timed, e_mutex},
	{"mutex lock PI", m_mutex_pi, c_mutex, e_mutex},
	{"mtx_lock", m_mtx, c_mtx, e_mtx},
	{"mtx_timedlock", m_mtx, c_mtx_timed, e_mtx},
	{"cond wait", m_cond, c_cond, e_cond},
	{"cond timedwait", m_cond, c_cond_timed, e_cond},
	{"cond wait shared", m_cond_shared, c_cond, e_cond},
	{"cnd_wait", m_cnd, c_cnd, e_cnd},
	{"rwlock rdlock", m_rwlock, c_rdlock, e_rwlock},
	{"rwlock wrlock", m_rwlock, c_wrlock, e_rwlock},
	{"rwlock timedrdlock", m_rwlock, c_timedrdlock, e_rwlock},
	{"rwlock timedwrlock", m_rwlock, c_timedwrlock, e_rwlock},
	{"barrier wait", m_barrier, c_barrier, e_barrier},
	{"join", m_joined, c_join, e_mutex},
	{"timedjoin", m_joined, c_timedjoin, e_mutex},
	{"futex wait", nothing, c_futex, e_futex},
	{"futex wait, timeout", nothing, c_futex_timed, e_futex},
	{"futex wait, deadline", nothing, c_futex_bitset, e_futex},
	{"__read_chk", m_pipe, c_read_chk, e_one},
	{"__recv_chk", m_sockets, c_recv_chk, e_one},
	{"__recvfrom_chk", m_sockets, c_recvfrom_chk, e_one},
	{"__poll_chk", m_pipe, c_poll_chk, e_one},
	{"__ppoll_chk", m_pipe, c_ppoll_chk, e_one},
	{"__fgets_chk", m_stdio, c_fgets_chk, e_one},
	{"__fread_chk", m_stdio, c_fread_chk, e_one},
	{"__dprintf_chk", m_pipe_full, c_dprintf_chk, e_drain},
	{"open64 FIFO", m_fifo, c_open64, e_fifo},
	{"openat FIFO", m_fifo, c_openat, e_fifo},
	{"openat64 FIFO", m_fifo, c_openat64, e_fifo},
	{"__open_2 FIFO", m_fifo, c_open_2, e_fifo},
	{"__open64_2 FIFO", m_fifo, c_open64_2, e_fifo},
	{"__openat_2 FIFO", m_fifo, c_openat_2, e_fifo},
	{"__openat64_2 FIFO", m_fifo, c_openat64_2, e_fifo},
	{"fopen64 FIFO", m_fifo, c_fopen64, e_fifo},
	{"fcntl64 F_SETLKW64", m_lock, c_setlkw64, e_unlock},
	{"lockf64", m_lock, c_lockf64, e_unlock},
	{"sendfile64", m_sendfile, c_sendfile64, e_drain},
	{"preadv2", m_pipe, c_preadv2, e_one},
	{"pwritev2", m_pipe_full, c_pwritev2, e_drain},
	{"thrd_join", m_joined, c_thrd_join, e_mutex},
	{"readv, SO_RCVTIMEO", m_timed, c_read_timed, e_one},
	{"recvfrom, SO_RCVTIMEO", m_timed, c_recvfrom, e_one},
	{"recvmmsg, SO_RCVTIMEO", m_timed, c_recvmmsg, e_one},
	{"recvmmsg, timeout", m_sockets, c_recvmmsg_timed, e_one},
	{"write, SO_SNDTIMEO", m_timed_full, c_write, e_drain},
	{"writev, SO_SNDTIMEO", m_timed_full, c_writev, e_drain},
	{"sendto, SO_SNDTIMEO", m_timed_full, c_sendto, e_drain},
	{"sendmsg, SO_SNDTIMEO", m_timed_full, c_sendmsg, e_drain},
	{"sendmmsg, SO_SNDTIMEO", m_timed_full, c_sendmmsg, e_drain},
	{"accept4, SO_RCVTIMEO", m_listener_timed, c_accept4, e_dial},
	{"recv packet", m_packets, c_recv, e_packet},
	{"recv datagram", m_datagrams, c_recv, e_packet},
	{"recvmsg datagram", m_datagrams, c_recvmsg, e_packet},
	{"read TCP", m_tcp, c_read, e_one},
	{"recv TCP", m_tcp, c_recv, e_one},
	{"accept TCP", m_tcp_listener, c_accept, e_tcp},
	{"pselect, timeout, mask", m_pipe, c_pselect_timed, e_one},
	{"epoll_pwait, timeout", m_epoll, c_epoll_pwait_timed, e_epoll},
	{"syscall(SYS_ppoll)", m_pipe, c_raw_poll, e_one},
	{"syscall(clock_nanosleep)", nothing, c_raw_nanosleep, nothing},
	{"syscall(SYS_epoll_pwait)", m_epoll, c_raw_epoll, e_epoll},
	{"syscall(SYS_recvfrom)", m_sockets, c_raw_recv, e_one},
	{"syscall(SYS_accept4)", m_listener, c_raw_accept, e_dial},
	{"syscall(SYS_write)", m_pipe_full, c_raw_write, e_drain},
	{"syscall(SYS_wait4)", m_child, c_raw_wait, e_child},
	{"syscall(SYS_flock)", m_flock, c_raw_flock, e_flock},
	{"io_getevents", m_context, c_io_getevents, e_context},
	{"sem_timedwait shared", m_sem_shared, c_sem_timedwait, e_sem},
	{"sem_clockwait shared", m_sem_shared, c_sem_clockwait, e_sem},
	{"mutex timedlock shared", m_mutex_shared, c_mutex_timed, e_mutex},
	{"mutex timedlock PI", m_mutex_pi, c_mutex_timed, e_mutex},
	{"mutex lock PI robust", m_mutex_pi_robust, c_mutex, e_mutex},
	{"cond clockwait", m_cond, c_cond_clock, e_cond},
	{"cond timedwait shared", m_cond_shared, c_cond_timed, e_cond},
	{"cnd_timedwait", m_cnd, c_cnd_timed, e_cnd},
	{"rwlock clockrdlock", m_rwlock, c_clockrdlock, e_rwlock},
	{"rwlock clockwrlock", m_rwlock, c_clockwrlock, e_rwlock},
	{"rwlock rdlock shared", m_rwlock_shared, c_rdlock, e_rwlock},
	{"rwlock wrlock shared", m_rwlock_shared, c_wrlock, e_rwlock},
	{"rwlock wrlock, read", m_rwlock_read, c_wrlock, e_rwlock},
	{"barrier wait shared", m_barrier_shared, c_barrier, e_barrier},
	{"clockjoin", m_joined, c_clockjoin, e_mutex},
	{"futex_waitv", nothing, c_waitv, e_futex},
	{"getline", m_stdio, c_getline, e_one},
	{"fscanf", m_stdio, c_fscanf, e_one},
	{"__isoc99_fscanf", m_stdio, c_isoc99_fscanf, e_one},
	{"fgetwc", m_stdio_wide, c_fgetwc, e_one},
	{"fgets_unlocked", m_stdio, c_fgets_unlocked, e_one},
	{"fputc", m_stdio_raw, c_fputc, e_drain},
	{"fwrite", m_stdio_raw, c_fwrite, e_drain},
	{"fprintf", m_stdio_raw, c_fprintf, e_drain},
	{"__fprintf_chk", m_stdio_raw, c_fprintf_chk, e_drain},
	{"wait", m_child, c_wait, e_child, true},
	{"wait3", m_child, c_wait3, e_child, true},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* The call, and what came of it. */
static inline void cell_call(struct cell *c) {
	errno = 0;
	c->result = c->call->call(c);
	c->error = c->result == -1 ? errno : 0;
	__atomic_store_n(&c->finished, 1, __ATOMIC_SEQ_CST);
}

/* A name in /tmp and what outlives the process. */
static void cell_remove(struct cell *c) {
	if (c->call->make == m_queue || c->call->make == m_queue_full)
		msgctl(c->id, IPC_RMID, NULL);
	if (c->call->make == m_semaphore)
		semctl(c->id, 0, IPC_RMID);
	if (c->call->make == m_fifo)
		unlink(c->path);
}

#endif
