/* Waiting for child processes: the kernel's own call, bracketed. Children who have ended already are found by a first try, so that the P
 * stays for them. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "io.h"

/* A child has ended. `waited`: since `seen`, because the call had to wait for it; else that is known of the children made last. */
static void child_ended(struct g *g, pid_t child, bool waited, uint32_t seen) {
	if (waited || sig_child_seen(child, &seen))
		sig_child_settle(g, child, seen);
}

/* Only the caller's own children (__WNOTHREAD) are to the kernel those of the kernel thread that it is on. One that is known to be its own needs no such care; what is asked of all
 * its children, or of another's, the kernel answers for that kernel thread. */
static int options_for(struct g *g, pid_t child, int options) {
	if (unlikely(options & __WNOTHREAD) && sig_child_of(g, child))
		options &= ~__WNOTHREAD;
	return options;
}

static long wait4_goroutine(struct g *g, pid_t pid, int *status, int options, struct rusage *usage) {
	int own_status;
	status = status ? status : &own_status;
	shim_testcancel(g);
	options = options_for(g, pid, options);
	uint32_t seen = sig_seen(SIGCHLD);
	long r = SYS4(SYS_wait4, pid, status, options | WNOHANG, usage);
	bool waits = r == 0 && !(options & WNOHANG);
	if (waits)
		r = BRACKET_WAITS(g, CANCEL_MAKES, SYS_MAKES4(g, SYS_wait4, pid, status, options, usage));
	if (r > 0 && (WIFEXITED(*status) || WIFSIGNALED(*status)))
		child_ended(g, (pid_t)r, waits, seen);
	rt_check(g); /* what the child sent to this thread, it has before it learns that the child ended */
	return io_ret(g, r);
}

SHIM pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage) {
	struct g *g = io_g();
	return g ? (pid_t)wait4_goroutine(g, pid, status, options, usage)
		 : CALL_REAL(wait4, pid, status, options, usage);
}

SHIM pid_t wait3(int *status, int options, struct rusage *usage) {
	struct g *g = io_g();
	return g ? (pid_t)wait4_goroutine(g, -1, status, options, usage) : CALL_REAL(wait3, status, options, usage);
}

SHIM pid_t waitpid(pid_t pid, int *status, int options) {
	struct g *g = io_g();
	return g ? (pid_t)wait4_goroutine(g, pid, status, options, NULL) : CALL_REAL(waitpid, pid, status, options);
}

SHIM_ALIAS(waitpid, __waitpid);

SHIM pid_t wait(int *status) {
	struct g *g = io_g();
	return g ? (pid_t)wait4_goroutine(g, -1, status, 0, NULL) : CALL_REAL(wait, status);
}

SHIM_ALIAS(wait, __wait);

SHIM int waitid(idtype_t type, id_t id, siginfo_t *info, int options) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(waitid, type, id, info, options);
	shim_testcancel(g);
	options = options_for(g, type == P_PID ? (pid_t)id : -1, options);
	siginfo_t own;
	siginfo_t *at = info ? info : &own;
	uint32_t seen = sig_seen(SIGCHLD);
	long r = SYS5(SYS_waitid, type, id, at, options | WNOHANG, NULL);
	bool waits = r == 0 && at->si_pid == 0 && !(options & WNOHANG);
	if (waits)
		r = BRACKET_WAITS(g, CANCEL_MAKES, SYS_MAKES5(g, SYS_waitid, type, id, at, options, NULL));
	if (r == 0 && at->si_pid != 0 && (at->si_code == CLD_EXITED || at->si_code == CLD_KILLED || at->si_code == CLD_DUMPED))
		child_ended(g, at->si_pid, waits, seen);
	rt_check(g); /* as above */
	return (int)io_ret(g, r);
}
