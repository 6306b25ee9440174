/* syscall(2), libc's variadic entry: what programs use for calls that libc has no function for, and runtimes of other languages for more.
 *
 * Calls that a shim knows go to it, with the kernel's conventions where libc's differ. What ends, forks or identifies a thread is the
 * goroutine's. Everything else is the raw call, bracketed, because nobody knows how long it takes; a new descriptor it
 * may return gets a fresh slot. */
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <time.h>

#include "filter.h"
#include "io.h"
#include "mapping.h"
#include "pinned.h"
#include "process.h"
#include "sync.h"
#include "thread.h"
#include "tidcall.h"

struct raw_args {
	long a[6];
};

#define INT(i) ((int)x->a[i])
#define LONG(i) (x->a[i])
#define SIZE(i) ((size_t)x->a[i])
#define PTR(i) ((void *)x->a[i])

static bool returns_descriptor(long n) {
	switch (n) {
	case SYS_pidfd_open:
	case SYS_io_uring_setup:
	case SYS_perf_event_open:
	case SYS_userfaultfd:
	case SYS_fanotify_init:
	case SYS_fsopen:
	case SYS_fsmount:
	case SYS_open_tree:
	case SYS_openat2:
	case SYS_open_by_handle_at:
	case SYS_mq_open:
	case SYS_bpf:
	case SYS_eventfd2:
	case SYS_timerfd_create:
	case SYS_inotify_init1:
	case SYS_memfd_create:
	case SYS_epoll_create1:
		return true;
	default:
		return false;
	}
}

/* clone or clone3 with arguments that fork: memory of its own, the caller's stack. Everything else is a thread that the caller makes with its own hands. */
static bool clone_forks(long n, struct raw_args *x) {
	const struct clone_args *args = PTR(0);
	if (n == SYS_clone)
		return !(LONG(0) & CLONE_VM) && LONG(1) == 0;
	return args && SIZE(1) >= CLONE_ARGS_SIZE_VER0 && !(args->flags & CLONE_VM) && !args->stack;
}

/* The kernel says how many bytes it wrote, or that it has more CPUs. */
static long raw_getaffinity(pid_t tid, size_t size, cpu_set_t *set) {
	unsigned char probe[1024];
	long bytes = SYS3(SYS_sched_getaffinity, 0, size < sizeof probe ? size : sizeof probe, probe);
	if (bytes < 0)
		return sys_ret(bytes);
	return sched_getaffinity(tid, (size_t)bytes, set) == 0 ? bytes : -1;
}

/* The kernel's timer_t is an int, and SIGEV_THREAD another name of SIGEV_SIGNAL there. */
static int raw_timer_create(clockid_t clock, struct sigevent *event, int *id) {
	timer_t made;
	struct sigevent plain;
	if (event && event->sigev_notify == SIGEV_THREAD) {
		plain = *event;
		plain.sigev_notify = SIGEV_SIGNAL;
		event = &plain;
	}
	int r = timer_create(clock, event, &made);
	if (r == 0)
		*id = (int)(intptr_t)made;
	return r;
}

#define BAD(i, type, write) address_refused(PTR(i), sizeof(type), write)
#define BAD_GIVEN(i, type) (PTR(i) != NULL && BAD(i, type, false))

/* A structure that a shim would read or write itself: the kernel says what is wrong. */
static bool raw_address_bad(long n, struct raw_args *x) {
	switch (n) {
	case SYS_ppoll:
		return BAD_GIVEN(2, struct timespec);
	case SYS_pselect6:
		return BAD_GIVEN(4, struct timespec) || BAD_GIVEN(5, uintptr_t[2]);
#ifdef SYS_select
	case SYS_select:
		return BAD_GIVEN(4, struct timeval);
#endif
	case SYS_rt_sigqueueinfo:
		return BAD(2, siginfo_t, false);
	case SYS_rt_tgsigqueueinfo:
		return BAD(3, siginfo_t, false);
	case SYS_clock_gettime:
		return BAD(1, struct timespec, true);
	case SYS_clock_settime:
		return BAD(1, struct timespec, false);
	case SYS_timer_create:
		return BAD_GIVEN(1, struct sigevent) || BAD(2, int, true);
	case SYS_clone3:
		return address_refused(PTR(0), CLONE_ARGS_SIZE_VER0, false);
	default:
		return false;
	}
}

/* False: the kernel says what is wrong, or it is one of libc's own signals, of which sigaction() knows nothing. Which handler is whose, and that the runtime's is there
 * for it, it must know. */
static bool raw_sigaction(struct raw_args *x, long *r) {
	const struct ksigaction *set = PTR(1);
	struct ksigaction *old = PTR(2);
	struct sigaction to, was;
	if (SIZE(3) != 8 || INT(0) < 1 || INT(0) >= _NSIG || INT(0) == SIGCANCEL_NR || INT(0) == SIGSETXID_NR || BAD_GIVEN(1, struct ksigaction) ||
	    (old && BAD(2, struct ksigaction, true)))
		return false;
	memset(&to, 0, sizeof to);
	if (set) {
		to.sa_handler = (void (*)(int))set->handler;
		to.sa_flags = (int)(set->flags & ~(unsigned long)SA_RESTORER_FLAG);
		sigset_store(&to.sa_mask, set->mask);
	}
	*r = sigaction(INT(0), set ? &to : NULL, old ? &was : NULL) == 0 ? 0 : -errno;
	if (*r == 0 && old)
		*old = (struct ksigaction){.handler = (void *)was.sa_handler, .flags = (unsigned long)(unsigned)was.sa_flags, .mask = sigset_bits(&was.sa_mask)};
	return true;
}

#define TIMER(i) ((timer_t)(intptr_t)INT(i))

/* As raw_known(). A success does not return. */
static bool raw_exec(long n, struct raw_args *x, long *r) {
	if (n == SYS_execve)
		execve(PTR(0), PTR(1), PTR(2));
	else if (n == SYS_execveat)
		execveat(INT(0), PTR(1), PTR(2), PTR(3), INT(4));
	else
		return false;
	*r = -errno;
	return true;
}

/* Calls with a shim, or that concern the goroutine. True: *r is the kernel-style result. libc's functions leave -1 and errno. */
static bool raw_known(struct g *g, long n, struct raw_args *x, long *r) {
	long done;
	if (raw_address_bad(n, x))
		return false;
	switch (n) {
	case SYS_gettid:
		*r = g->tid;
		return true;
	case SYS_futex:
		*r = shim_futex(g, PTR(0), INT(1), (uint32_t)LONG(2), PTR(3), PTR(4), (uint32_t)LONG(5));
		return true;
	case SYS_read:
		*r = io_read(g, INT(0), PTR(1), SIZE(2));
		return true;
	case SYS_write:
		*r = io_write(g, INT(0), PTR(1), SIZE(2));
		return true;
	case SYS_readv:
		*r = io_readv(g, INT(0), PTR(1), INT(2));
		return true;
	case SYS_writev:
		*r = io_writev(g, INT(0), PTR(1), INT(2));
		return true;
	case SYS_clock_nanosleep:
		if (INT(0) == CLOCK_THREAD_CPUTIME_ID) /* libc has an error of its own for it, and does not ask the kernel */
			return false;
		*r = -clock_nanosleep(INT(0), INT(1), PTR(2), PTR(3));
		return true;
	case SYS_ppoll:
		*r = raw_ppoll(g, PTR(0), SIZE(1), PTR(2), PTR(3), SIZE(4));
		return true;
	case SYS_pselect6:
		*r = raw_pselect(g, INT(0), PTR(1), PTR(2), PTR(3), PTR(4), PTR(5));
		return true;
	case SYS_rt_sigprocmask:
		/* Libraries find out so whether memory can be read: a `how` that there is not, and EINVAL or EFAULT. */
		if (SIZE(3) != 8 || (INT(0) != SIG_BLOCK && INT(0) != SIG_UNBLOCK && INT(0) != SIG_SETMASK))
			return false;
		if (PTR(1) && SYS4(SYS_rt_sigprocmask, -1, PTR(1), NULL, 8) == -EFAULT) {
			*r = -EFAULT;
			return true;
		}
		*r = -pthread_sigmask(INT(0), PTR(1), PTR(2));
		return true;
	case SYS_rt_sigtimedwait:
		if (SIZE(3) != 8)
			return false;
		*r = shim_sigtimedwait(g, PTR(0), PTR(1), PTR(2));
		return true;
	case SYS_rt_sigqueueinfo:
		*r = shim_sigqueueinfo(INT(0), 0, INT(1), PTR(2));
		return true;
	case SYS_rt_tgsigqueueinfo:
		if (INT(1) <= 0)
			return false;
		*r = shim_sigqueueinfo(INT(0), INT(1), INT(2), PTR(3));
		return true;
	case SYS_rt_sigsuspend:
	case SYS_rt_sigpending:
		if (SIZE(1) != 8)
			return false;
		done = n == SYS_rt_sigsuspend ? sigsuspend(PTR(0)) : sigpending(PTR(0));
		break;
	case SYS_signalfd4:
		if (SIZE(2) != 8)
			return false;
		done = signalfd(INT(0), PTR(1), INT(3));
		break;
	/* clang-format off */
	case SYS_kill: done = kill(INT(0), INT(1)); break;
	case SYS_pidfd_send_signal: done = pidfd_send_signal(INT(0), INT(1), PTR(2), (unsigned)LONG(3)); break;
	case SYS_prctl: done = prctl(INT(0), SIZE(1), SIZE(2), SIZE(3), SIZE(4)); break;
	case SYS_tkill: done = shim_tkill(INT(0), INT(1)); break;
	case SYS_tgkill: done = shim_tgkill(INT(0), INT(1), INT(2)); break;
	case SYS_exit:
		thread_vanish(g, INT(0));
	case SYS_exit_group:
		SYS1(SYS_exit_group, INT(0));
		__builtin_unreachable();
	case SYS_recvfrom: done = recvfrom(INT(0), PTR(1), SIZE(2), INT(3), (__SOCKADDR_ARG){.__sockaddr__ = PTR(4)}, PTR(5)); break;
	case SYS_recvmsg: done = recvmsg(INT(0), PTR(1), INT(2)); break;
	case SYS_recvmmsg: done = recvmmsg(INT(0), PTR(1), (unsigned)LONG(2), INT(3), PTR(4)); break;
	case SYS_sendto: done = sendto(INT(0), PTR(1), SIZE(2), INT(3), (__CONST_SOCKADDR_ARG){.__sockaddr__ = PTR(4)}, (socklen_t)LONG(5)); break;
	case SYS_sendmsg: done = sendmsg(INT(0), PTR(1), INT(2)); break;
	case SYS_sendmmsg: done = sendmmsg(INT(0), PTR(1), (unsigned)LONG(2), INT(3)); break;
	case SYS_accept: done = accept(INT(0), (__SOCKADDR_ARG){.__sockaddr__ = PTR(1)}, PTR(2)); break;
	case SYS_accept4: done = accept4(INT(0), (__SOCKADDR_ARG){.__sockaddr__ = PTR(1)}, PTR(2), INT(3)); break;
	case SYS_connect: done = connect(INT(0), (__CONST_SOCKADDR_ARG){.__sockaddr__ = PTR(1)}, (socklen_t)LONG(2)); break;
	case SYS_socket: done = socket(INT(0), INT(1), INT(2)); break;
	case SYS_socketpair: done = socketpair(INT(0), INT(1), INT(2), PTR(3)); break;
	case SYS_shutdown: done = shutdown(INT(0), INT(1)); break;
	case SYS_setsockopt: done = setsockopt(INT(0), INT(1), INT(2), PTR(3), (socklen_t)LONG(4)); break;
	case SYS_close: done = close(INT(0)); break;
	case SYS_close_range: done = close_range((unsigned)LONG(0), (unsigned)LONG(1), INT(2)); break;
	case SYS_unshare: done = unshare(INT(0)); break;
	case SYS_dup: done = dup(INT(0)); break;
	case SYS_dup3: done = dup3(INT(0), INT(1), INT(2)); break;
	case SYS_flock: done = flock(INT(0), INT(1)); break;
	case SYS_fcntl: done = fcntl(INT(0), INT(1), PTR(2)); break;
	case SYS_ioctl: done = ioctl(INT(0), SIZE(1), PTR(2)); break;
	case SYS_pipe2: done = pipe2(PTR(0), INT(1)); break;
	case SYS_openat: done = openat(INT(0), PTR(1), INT(2), (mode_t)LONG(3)); break;
	case SYS_clock_gettime: done = clock_gettime(INT(0), PTR(1)); break;
	case SYS_clock_getres: done = clock_getres(INT(0), PTR(1)); break;
	case SYS_clock_settime: done = clock_settime(INT(0), PTR(1)); break;
	case SYS_getrusage: done = getrusage(INT(0), PTR(1)); break;
	case SYS_sched_setaffinity: done = sched_setaffinity(INT(0), SIZE(1), PTR(2)); break;
	case SYS_sched_getaffinity: done = raw_getaffinity(INT(0), SIZE(1), PTR(2)); break;
	case SYS_sched_setscheduler: done = sched_setscheduler(INT(0), INT(1), PTR(2)); break;
	case SYS_sched_getscheduler: done = sched_getscheduler(INT(0)); break;
	case SYS_sched_setparam: done = sched_setparam(INT(0), PTR(1)); break;
	case SYS_sched_getparam: done = sched_getparam(INT(0), PTR(1)); break;
	case SYS_timer_create: done = raw_timer_create(INT(0), PTR(1), PTR(2)); break;
	case SYS_timer_settime: done = timer_settime(TIMER(0), INT(1), PTR(2), PTR(3)); break;
	case SYS_timer_gettime: done = timer_gettime(TIMER(0), PTR(1)); break;
	case SYS_timer_getoverrun: done = timer_getoverrun(TIMER(0)); break;
	case SYS_timer_delete: done = timer_delete(TIMER(0)); break;
	case SYS_setitimer: done = setitimer((__itimer_which_t)INT(0), PTR(1), PTR(2)); break;
	case SYS_setpriority: done = setpriority((__priority_which_t)INT(0), (id_t)INT(1), INT(2)); break;
	case SYS_semop: done = semop(INT(0), PTR(1), SIZE(2)); break;
	case SYS_semtimedop: done = semtimedop(INT(0), PTR(1), SIZE(2), PTR(3)); break;
	case SYS_nanosleep: done = nanosleep(PTR(0), PTR(1)); break;
	case SYS_sched_yield: done = sched_yield(); break;
	case SYS_sigaltstack: done = sigaltstack(PTR(0), PTR(1)); break;
	case SYS_sendfile: done = sendfile(INT(0), INT(1), PTR(2), SIZE(3)); break;
	case SYS_splice: done = splice(INT(0), PTR(1), INT(2), PTR(3), SIZE(4), (unsigned)LONG(5)); break;
	case SYS_tee: done = tee(INT(0), INT(1), SIZE(2), (unsigned)LONG(3)); break;
	case SYS_vmsplice: done = vmsplice(INT(0), PTR(1), SIZE(2), (unsigned)LONG(3)); break;
	case SYS_wait4: done = wait4(INT(0), PTR(1), INT(2), PTR(3)); break;
	case SYS_epoll_pwait: done = epoll_pwait(INT(0), PTR(1), INT(2), INT(3), PTR(4)); break;
	case SYS_epoll_pwait2: done = epoll_pwait2(INT(0), PTR(1), INT(2), PTR(3), PTR(4)); break;
	case SYS_clone:
		if (LONG(0) == SIGCHLD && LONG(1) == 0) { /* a plain fork in disguise */
			done = _Fork();
			break;
		}
		/* fallthrough */
	case SYS_clone3:
		if (!clone_forks(n, x))
			return false;
		*r = process_clone(n, x->a);
		return true;
#ifdef SYS_open /* calls that newer architectures do not have any more */
	case SYS_fork:
	case SYS_vfork: done = _Fork(); break; /* a vfork child would return into this frame */
	case SYS_open: done = open(PTR(0), INT(1), (mode_t)LONG(2)); break;
	case SYS_creat: done = creat(PTR(0), (mode_t)LONG(1)); break;
	case SYS_pipe: done = pipe(PTR(0)); break;
	case SYS_dup2: done = dup2(INT(0), INT(1)); break;
	case SYS_poll: done = poll(PTR(0), SIZE(1), INT(2)); break;
	case SYS_select: done = select(INT(0), PTR(1), PTR(2), PTR(3), PTR(4)); break;
	case SYS_pause: done = pause(); break;
	case SYS_epoll_wait: done = epoll_wait(INT(0), PTR(1), INT(2), INT(3)); break;
	case SYS_epoll_create: done = epoll_create(INT(0)); break;
	case SYS_eventfd: done = eventfd((unsigned)LONG(0), 0); break;
	case SYS_inotify_init: done = inotify_init(); break;
#endif
	/* clang-format on */
	default:
		return raw_exec(n, x, r) || shim_futex_two(g, n, x->a, r) || tid_syscall(n, x->a, r);
	}
	*r = done == -1 ? -errno : done;
	return true;
}

/* Of io_uring_enter(): its argument is a structure; and that tells when the wait is to end, or where the kernel has the rest of it. The last two since Linux 6.12 and 6.13. */
enum { ENTER_EXT_ARG = 1u << 3, ENTER_ABS_TIMER = 1u << 5, ENTER_EXT_ARG_REG = 1u << 6 };

/* A call that is the kernel's, and may be made again. */
struct raw_call {
	long n;
	struct raw_args *args;
	const struct timespec *timeout; /* from its beginning; NULL: none, or none that can be read */
	int64_t deadline;
	struct timespec left;
	struct io_uring_getevents_arg enter; /* the program's, with what is left */
};

static void raw_call_begin(struct raw_call *c, long n, struct raw_args *x) {
	const struct timespec *timeout = NULL;
	const struct io_uring_getevents_arg *enter = PTR(4);
	c->n = n;
	c->args = x;
	c->deadline = -1;
	if (n == SYS_io_getevents || n == SYS_io_pgetevents) {
		timeout = PTR(4);
	} else if (n == SYS_io_uring_enter && (LONG(3) & (ENTER_EXT_ARG | ENTER_ABS_TIMER | ENTER_EXT_ARG_REG)) == ENTER_EXT_ARG &&
		   SIZE(5) == sizeof *enter && !address_bad(enter)) {
		c->enter = *enter;
		timeout = (const struct timespec *)(uintptr_t)enter->ts;
	}
	c->timeout = timeout && !address_bad(timeout) ? timeout : NULL;
}

/* Again with what is left of its time, or under a stream of signals for others it would never be over. */
static long raw_call_make(struct raw_call *c) {
	struct raw_args *x = c->args;
	if (unlikely(c->timeout != NULL)) {
		const struct timespec *left = timeout_left(&c->left, c->timeout, &c->deadline);
		c->enter.ts = (uintptr_t)left;
		x->a[4] = c->n == SYS_io_uring_enter ? (long)&c->enter : (long)left;
	}
	return SYS6(c->n, x->a[0], x->a[1], x->a[2], x->a[3], x->a[4], x->a[5]);
}

static bool in_vfork(void) {
	return tls_g && tls_g->in_vfork;
}

SHIM long syscall(long n, ...) {
	struct raw_args x;
	va_list ap;
	va_start(ap, n);
	for (int i = 0; i < 6; i++)
		x.a[i] = va_arg(ap, long); /* those that were not passed are garbage, as they are in libc's */
	va_end(ap);
	struct g *g = io_g();
	if (!g && n == SYS_futex && !in_vfork()) /* goroutines may wait for the same word */
		return sys_ret(shim_futex(NULL, (uint32_t *)x.a[0], (int)x.a[1], (uint32_t)x.a[2],
					  (const struct timespec *)x.a[3], (uint32_t *)x.a[4], (uint32_t)x.a[5]));
	long r;
	if (!g && !in_vfork() && shim_futex_two(NULL, n, x.a, &r))
		return sys_ret(r);
	if (unlikely(n == SYS_rt_sigaction) && !in_vfork() && raw_sigaction(&x, &r))
		return sys_ret(r);
	if (unlikely(n == SYS_seccomp) && x.a[0] == SECCOMP_SET_MODE_FILTER) {
		pin_self();
		return sys_ret(filter_install(n, x.a[0], x.a[1], (const struct sock_fprog *)x.a[2], x.a[3], x.a[4]));
	}
	if (!g) {
		if (!in_vfork() && raw_exec(n, &x, &r))
			return sys_ret(r);
		mapping_before(n, x.a);
		r = CALL_REAL(syscall, n, x.a[0], x.a[1], x.a[2], x.a[3], x.a[4], x.a[5]);
		mapping_after(n, x.a, r == -1 ? -errno : r);
		return n == SYS_io_uring_setup ? uring_made(r) : r;
	}
	/* No call made this way is a cancellation point; what a waiter calls most needs no protection. */
	bool held = n != SYS_futex && n != SYS_gettid && shim_cancel_hold(g), known = raw_known(g, n, &x, &r);
	shim_cancel_release(g, held);
	if (known)
		return sys_ret(r);
	if (unlikely(pinned_syscall(n, x.a)))
		pin_self();
	mapping_before(n, x.a);
	if (unlikely(n == SYS_set_tid_address)) {
		SYS1(n, x.a[0]);
		return g->tid;
	}
	struct raw_call call;
	raw_call_begin(&call, n, &x);
	r = BRACKET(g, raw_call_make(&call));
	mapping_after(n, x.a, r);
	if (n == SYS_io_uring_setup)
		uring_made(r);
	if (r >= 0 && returns_descriptor(n))
		fd_made((int)r, KIND_UNKNOWN, 0, NULL);
	else if (r >= 0 && n == SYS_pidfd_getfd)
		fd_received((int)r);
	return sys_ret(r);
}
