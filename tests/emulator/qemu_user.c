/* Preloaded into qemu-user itself (the host's program, not the guest's): puts right what it does to its guests that a kernel does not, as far as
 * the tests meet it. Nothing of goshim is in here, and native runs have it, too.
 *
 *   - rt_sigqueueinfo, rt_tgsigqueueinfo: qemu leaves the end of the siginfo as it was on its stack. The kernel refuses that (E2BIG) for values of
 *     si_code that it does not know.
 *   - fork() while another guest thread is in clone(): the child has qemu's lock around clone(), held by nobody, and hangs at its first thread. A lock
 *     whose owner is no thread of the child is taken to be free.
 *   - /proc/self/task counts a thread of qemu's own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KERNEL_SIGINFO_BYTES 48

static pid_t born; /* the process that this was loaded into, or the child that was forked from it */
static int forked;

static void in_child(void) {
	born = getpid();
	forked = 1;
}

__attribute__((constructor)) static void start(void) {
	born = getpid();
	pthread_atfork(NULL, NULL, in_child);
}

static void siginfo_end(void *info) {
	memset((char *)info + KERNEL_SIGINFO_BYTES, 0, sizeof(siginfo_t) - KERNEL_SIGINFO_BYTES);
}

long syscall(long number, ...) {
	static long (*real)(long, ...);
	long a[6];
	va_list ap;
	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_rt_sigqueueinfo)
		siginfo_end((void *)a[2]);
	else if (number == SYS_rt_tgsigqueueinfo)
		siginfo_end((void *)a[3]);
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int pthread_mutex_lock(pthread_mutex_t *m) {
	static int (*real)(pthread_mutex_t *);
	if (!real)
		real = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
	if (forked && pthread_mutex_trylock(m) == 0)
		return 0;
	if (forked) {
		int owner = m->__data.__owner;
		if (owner && owner != gettid() && tgkill(born, owner, 0) < 0 && errno == ESRCH)
			memset(m, 0, sizeof *m);
	}
	return real(m);
}

int fstatat64(int dir, const char *path, struct stat64 *st, int flags) {
	static int (*real)(int, const char *, struct stat64 *, int);
	if (!real)
		real = (int (*)(int, const char *, struct stat64 *, int))dlsym(RTLD_NEXT, "fstatat64");
	int r = real(dir, path, st, flags);
	if (r == 0 && strcmp(path, "/proc/self/task") == 0)
		st->st_nlink--;
	return r;
}
