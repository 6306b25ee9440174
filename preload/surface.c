/* The exported symbols in words: which family each belongs to, and how it waits. For the launcher's --list.
 *
 * Families are real.def's sections. libc's second names (__read, __read_chk, __open64_2, gsignal) are told by their first. How a call
 * waits is written down here, one line for each way; a symbol that is missing is found by the launcher's tests. */
#include "surface.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define SYMBOL_MAX 64

static const struct family {
	const char *symbol; /* NULL: the lines below belong to `name` */
	const char *name;
} families[] = {
#define REAL_SECTION(family) {NULL, family},
#define REAL(ret, name, params, version) {#name, NULL},
#include "real.def"
#undef REAL
};

static const struct way {
	const char *how;
	const char *symbols; /* separated by spaces */
} ways[] = {
	{"parks", "pthread_barrier_wait cnd_timedwait cnd_wait sleep usleep nanosleep clock_nanosleep thrd_sleep "
		  "pthread_once call_once pause "
		  "sigsuspend sigpause sigwait sigwaitinfo sigtimedwait thrd_exit pthread_exit"},
	{"parks; a kernel thread of libc's: hands off",
	 "pthread_join pthread_clockjoin_np pthread_timedjoin_np thrd_join"},
	{"parks; process-shared: hands off",
	 "pthread_cond_wait pthread_cond_timedwait pthread_cond_clockwait pthread_rwlock_rdlock pthread_rwlock_wrlock "
	 "pthread_rwlock_timedrdlock pthread_rwlock_timedwrlock pthread_rwlock_clockrdlock pthread_rwlock_clockwrlock "
	 "sem_wait "
	 "sem_timedwait sem_clockwait"},
	{"parks; process-shared or robust: hands off",
	 "pthread_mutex_lock pthread_mutex_setprioceiling pthread_mutex_timedlock pthread_mutex_clocklock mtx_lock mtx_timedlock"},
	{"parks on sockets and pipes; files hand off",
	 "read write readv writev preadv2 pwritev2 preadv64v2 pwritev64v2 sendfile sendfile64 splice tee vmsplice"},
	{"parks", "recv recvfrom recvmsg recvmmsg send sendto sendmsg sendmmsg accept accept4 connect poll ppoll "
		  "select pselect epoll_wait epoll_pwait "
		  "epoll_pwait2 eventfd_read eventfd_write"},
	{"hands off", "pread pread64 pwrite pwrite64 preadv preadv64 pwritev pwritev64 fsync fdatasync sync syncfs "
		      "sync_file_range msync fallocate "
		      "fallocate64 posix_fallocate posix_fallocate64 ftruncate ftruncate64 truncate truncate64 "
		      "copy_file_range getrandom flock lockf "
		      "lockf64 msgsnd msgrcv semop semtimedop mq_receive mq_send mq_timedreceive mq_timedsend tcdrain aio_suspend gai_suspend lio_listio "
		      "open open64 openat openat64 creat "
		      "creat64 close close_range closefrom dup2 dup3 fcntl fcntl64 ioctl wait wait3 wait4 waitpid "
		      "waitid system posix_spawn posix_spawnp "
		      "vfork"},
	{"as the call it makes; unknown ones hand off", "syscall"},
	{"yields", "sched_yield pthread_yield thrd_yield"},
	{"spins, then yields", "pthread_spin_lock"},
	{"on its kernel thread, with libc's own identity",
	 "setuid setgid seteuid setegid setreuid setregid setresuid setresgid setgroups initgroups"},
	{"on its kernel thread", "fork _Fork execl execle execlp execv execve execveat execvp execvpe fexecve popen wordexp getaddrinfo_a dlopen dlmopen __libc_start_main"},
	{"on a kernel thread of its own from then on", "prctl unshare setns setfsuid setfsgid personality capset ptrace arch_prctl ioperm iopl pkey_alloc pkey_set "
	 "io_uring_register_ring_fd io_uring_enable_rings"},
	{"does not wait", "dlsym dlvsym pthread_mutex_consistent pthread_mutex_consistent_np cnd_broadcast cnd_destroy cnd_init cnd_signal mtx_trylock mtx_unlock "
			  "pthread_barrier_destroy pthread_cond_broadcast "
			  "pthread_cond_destroy pthread_cond_init pthread_cond_signal pthread_mutex_trylock "
			  "pthread_mutex_unlock pthread_rwlock_tryrdlock "
			  "pthread_rwlock_trywrlock pthread_rwlock_unlock pthread_spin_destroy pthread_spin_init "
			  "pthread_spin_trylock pthread_spin_unlock "
			  "sem_post sem_trywait pthread_key_create getpriority setpriority nice prlimit prlimit64 getpgid getsid setpgid capget "
			  "process_vm_readv process_vm_writev sched_rr_get_interval gettid pthread_cancel "
			  "pthread_create pthread_detach __pthread_unwind_next "
			  "pthread_getaffinity_np pthread_getattr_np pthread_getcpuclockid pthread_getname_np clock_gettime clock_getres clock_settime getrusage "
			  "pthread_getschedparam pthread_key_delete "
			  "pthread_kill pthread_setaffinity_np pthread_setattr_default_np pthread_setname_np "
			  "pthread_setschedparam pthread_setschedprio "
			  "pthread_sigqueue pthread_tryjoin_np sched_getaffinity sched_getcpu sched_getparam sched_getscheduler "
			  "sched_setaffinity sched_setparam "
			  "sched_setscheduler thrd_create thrd_detach tss_create tss_delete dup epoll_create epoll_ctl "
			  "epoll_create1 eventfd inotify_init inotify_init1 "
			  "memfd_create pipe pipe2 setsockopt shutdown signalfd socket socketpair timerfd_create timer_create mq_notify aio_read aio_write aio_fsync timer_delete "
			  "timer_getoverrun timer_gettime timer_settime setitimer alarm ualarm longjmp "
			  "_longjmp siglongjmp __longjmp_chk makecontext setcontext swapcontext signal "
			  "sysv_signal bsd_signal ssignal kill killpg raise pthread_sigmask sigaction sigaltstack sighold "
			  "sigignore siginterrupt sigpending "
			  "sigprocmask sigqueue sigrelse sigset tgkill sigblock siggetmask sigsetmask pidfd_open pidfd_send_signal access faccessat fopen fopen64 fstatat fstatat64 "
			  "lstat lstat64 opendir readlink readlinkat stat stat64 statx "
			  "io_uring_queue_init io_uring_queue_init_params io_uring_queue_init_mem io_uring_setup mmap mmap64 mremap shmat clone"},
};

static const struct alias {
	const char *symbol, *of;
} aliases[] = {{"gsignal", "raise"},          {"__xpg_sigpause", "sigpause"}, {"__sysv_signal", "signal"},
	       {"sysv_signal", "signal"},     {"ssignal", "signal"},          {"_longjmp", "siglongjmp"},
	       {"longjmp", "siglongjmp"},     {"sigblock", "sigprocmask"},    {"sigsetmask", "sigprocmask"},
	       {"siggetmask", "sigprocmask"}, {"sigpause", "sigsuspend"},     {"truncate", "truncate64"},
	       {"ftruncate", "ftruncate64"},  {"aio_suspend64", "aio_suspend"}, {"lio_listio64", "lio_listio"},
	       {"aio_read64", "aio_read"},    {"aio_write64", "aio_write"},   {"aio_fsync64", "aio_fsync"},
	       {"mq_close", "close"}};

static const char *family_named(const char *symbol) {
	const char *name = NULL;
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
		if (!families[i].symbol)
			name = families[i].name;
		else if (strcmp(families[i].symbol, symbol) == 0)
			return name;
	}
	return NULL;
}

static const char *how_named(const char *symbol) {
	size_t length = strlen(symbol);
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		for (const char *s = ways[i].symbols; *s; s += strcspn(s, " "), s += *s == ' ') {
			if (strcspn(s, " ") == length && strncmp(s, symbol, length) == 0)
				return ways[i].how;
		}
	}
	return NULL;
}

/* What `look` says of the symbol or, failing that, of the name it stands for. */
static const char *look_up(const char *symbol, const char *(*look)(const char *)) {
	static const char *const endings[] = {"_chk", "_2"};
	char base[SYMBOL_MAX];
	const char *found = look(symbol);
	for (size_t i = 0; i < sizeof aliases / sizeof aliases[0] && !found; i++) {
		if (strcmp(aliases[i].symbol, symbol) == 0)
			found = look(aliases[i].of);
	}
	if (found || strncmp(symbol, "__", 2) != 0 || strlen(symbol) >= sizeof base)
		return found;
	strcpy(base, symbol + 2);
	for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
		size_t length = strlen(base), end = strlen(endings[i]);
		if (length > end && strcmp(base + length - end, endings[i]) == 0)
			base[length - end] = '\0';
	}
	return look(base);
}

const char *surface_family(const char *symbol) {
	if (strncmp(symbol, "go_", 3) == 0)
		return "goshim";
	if (strncmp(symbol, "io_uring_", 9) == 0)
		return "liburing"; /* real.def has libc's functions only */
	const char *name = look_up(symbol, family_named);
	return name ? name : "other";
}

const char *surface_how(const char *symbol) {
	if (strncmp(symbol, "go_", 3) == 0)
		return "a call of goshim.h";
	return look_up(symbol, how_named);
}
