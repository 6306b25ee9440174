/* Clocks that count a thread's CPU time, and what getrusage() says of a thread: a goroutine's, not the kernel thread's it runs on (TIM-5).
 *
 * A thread's clock has a number that names the thread, made from its thread id as the kernel does: there are programs that make it themselves. Whoever
 * asks for such a clock comes here by clock_gettime(), which is also the way to all other clocks: they cost a comparison more. Timers on these clocks are
 * in sigtimer.c. */
#include <sys/resource.h>
#include <time.h>

#include "../core/cpuclock.h"
#include "../core/runtime.h"
#include "io.h"
#include "thread.h"

struct g *cpuclock_thread(clockid_t clock) {
	if (likely(clock >= 0 && clock != CLOCK_THREAD_CPUTIME_ID))
		return NULL;
	struct g *g = g_goroutine();
	if (clock == CLOCK_THREAD_CPUTIME_ID)
		return g && !g->in_vfork ? g : NULL;
	if (!sched_started() || (tls_g && tls_g->in_vfork))
		return NULL;
	/* Others' anybody may ask for, a kernel thread made inside libc as well. */
	pid_t tid = (pid_t)~(uint32_t)(clock >> 3);
	return !cpuclock_is_ktids(clock) ? NULL : tid == 0 ? g : thread_numbered(tid);
}

SHIM int clock_gettime(clockid_t clock, struct timespec *time) {
	struct g *g = cpuclock_thread(clock);
	if (likely(!g))
		return CALL_REAL(clock_gettime, clock, time);
	if (address_unwritable(time))
		return (int)sys_ret(-EFAULT);
	int64_t ns = cpu_time(g);
	*time = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	return 0;
}

SHIM int clock_getres(clockid_t clock, struct timespec *step) {
	return CALL_REAL(clock_getres, cpuclock_thread(clock) ? CLOCK_THREAD_CPUTIME_ID : clock, step);
}

/* The kernel refuses: by the caller's, as it does not know other goroutines' numbers. */
SHIM int clock_settime(clockid_t clock, const struct timespec *time) {
	return CALL_REAL(clock_settime, clock < 0 && cpuclock_thread(clock) ? cpuclock_of_ktid(0) : clock, time);
}

SHIM int pthread_getcpuclockid(pthread_t thread, clockid_t *clock) {
	REAL_READY();
	struct g *g = sched_started() ? thread_g(thread) : NULL;
	if (!g)
		return real.pthread_getcpuclockid(thread, clock);
	if (thread_ended(g))
		return ESRCH;
	cpu_time(g); /* counts from now on: what it will have used is asked for later */
	*clock = cpuclock_of_ktid(g->tid);
	return 0;
}

/* Times are the goroutine's, split as the kernel thread's are; the other counts are the kernel thread's. */
SHIM int getrusage(__rusage_who_t who, struct rusage *usage) {
	REAL_READY();
	int r = real.getrusage(who, usage);
	struct g *g = r == 0 && who == RUSAGE_THREAD ? cpuclock_thread(CLOCK_THREAD_CPUTIME_ID) : NULL;
	if (!g)
		return r;
	int64_t us = cpu_time(g) / 1000;
	int64_t user = usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec;
	int64_t both = user + usage->ru_stime.tv_sec * 1000000 + usage->ru_stime.tv_usec;
	user = both ? (int64_t)((double)us * (double)user / (double)both) : us;
	usage->ru_utime = (struct timeval){.tv_sec = user / 1000000, .tv_usec = user % 1000000};
	us -= user;
	usage->ru_stime = (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
	return 0;
}
