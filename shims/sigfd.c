/* signalfd: signals that are read as records.
 *
 * The kernel gives a reader what is pending for his kernel thread and for the process. What is pending for one goroutine it does not know: that is in
 * the goroutine's queue.
 *
 * A signal that everybody blocks is made one for the process, when it is sent (sig_to_fd()), or when its goroutine asks for it here. It stays with
 * the kernel, and a kernel thread may wait for it.
 *
 * One that only its goroutine blocks would be taken by the others. So it stays in the queue, and is *lent* to the kernel for the time of a question
 * that does not wait: it is sent to the kernel thread that runs the goroutine, where the goroutine's mask blocks it, the question is asked, and what
 * is still pending is taken back. What did not come back was read, and leaves the queue. So the records, their order, and what poll, select and epoll say of the
 * descriptor are the kernel's by construction, and others who look meanwhile see nothing. The goroutine cannot move to another kernel thread meanwhile: it is
 * inside the runtime, and does not wait.
 *
 * Lending is for who was told "nothing" otherwise: sig_fd_due() costs those a load. A wait is ended by the sender (sig_send()), and who waits asks again. */
#include <sys/signalfd.h>

#include "fdtable.h"
#include "io.h"
#include "siginternal.h"

#define LENT_MAX 16 /* a read of more records is short */

_Atomic uint64_t sig_by_fd;

bool sig_to_fd(struct g *g, int sig, siginfo_t *info) {
	uint64_t bit = SIGBIT(sig);
	/* relaxed: a signalfd that is being made meanwhile is not older than the signal */
	if (likely(!(atomic_load_explicit(&sig_by_fd, memory_order_relaxed) & bit)) || !(atomic_load(&sigp.and_mask) & bit))
		return false;
	if (atomic_load(&sig_of(g)->waiting) & bit)
		return false; /* it is in sigwait(), and so may be others, who must not have it */
	sig_return(sig, info);
	return true;
}

/* What g has pending of `mask` and everybody blocks is to be found with the kernel from now on. */
static void give_to_all(struct g *g, uint64_t mask) {
	siginfo_t info;
	int sig;
	while ((sig = sig_queue_take(g, mask & mask_of(g) & atomic_load(&sigp.and_mask), &info)))
		sig_return(sig, &info);
}

/* An old kick would be the signal to the kernel, which keeps one of each number. */
static void forget_kicks(uint64_t which) {
	siginfo_t info;
	int sig;
	while ((sig = taken_from_kernel(which, &info)) > 0) {
		if (info.si_code != KICK_CODE)
			sig_ring_push(sig, &info, NULL);
	}
}

bool sig_fd_has(struct g *g, uint64_t blocked) {
	return (atomic_load(&sig_of(g)->pending) | atomic_load(&sigp.held)) & blocked;
}

long sig_fd_ask(struct g *g, long (*ask)(void *), void *arg) {
	siginfo_t lent[LENT_MAX], back;
	unsigned counts[NSIGNALS + 1] = {0};
	uint64_t which = 0;
	uint64_t due = atomic_load_explicit(&sig_by_fd, memory_order_relaxed) & mask_of(g);
	bool claims = atomic_load(&sigp.held) & due;
	if (unlikely(claims))
		sig_held_claim(g, due, true);
	give_to_all(g, due);
	unsigned n = sig_queue_copy(sig_of(g), due, lent, LENT_MAX);
	for (unsigned i = 0; i < n; i++)
		which |= SIGBIT(lent[i].si_signo);
	if (which)
		forget_kicks(which);
	for (unsigned i = 0; i < n; i++) {
		int sig = lent[i].si_signo;
		/* A thread may forge to itself what nobody may to others. No room, by RLIMIT_SIGPENDING: it stays in the queue. */
		if ((lent[i].si_code != TIMER_CODE || sigtimer_shown(&lent[i])) && kernel_queue_self(sig, &lent[i]) == 0)
			counts[sig]++;
	}
	long r = ask(arg);
	for (uint64_t left = which; left; left &= left - 1) {
		int sig = __builtin_ctzll(left) + 1;
		while (counts[sig] && taken_from_kernel(SIGBIT(sig), &back) > 0)
			counts[sig]--;
		while (counts[sig] && sig_queue_take(g, SIGBIT(sig), &back))
			counts[sig]--;
	}
	if (unlikely(claims))
		sig_queue_hand_on(g, 0);
	return r;
}

bool sig_fd_is(int fd) {
	static const char name[] = "anon_inode:[signalfd]";
	char path[32], found[sizeof name];
	if (!atomic_load_explicit(&sig_by_fd, memory_order_relaxed))
		return false;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return SYS4(SYS_readlinkat, AT_FDCWD, path, found, sizeof found) == sizeof name - 1 && memcmp(found, name, sizeof name - 1) == 0;
}

/* The program made a signalfd for these signals, or gave them to one. */
static void fd_made_for(uint64_t mask) {
	struct g *g = self_g();
	atomic_fetch_or_explicit(&sig_by_fd, mask, memory_order_relaxed);
	if (g)
		give_to_all(g, mask);
}

SHIM int signalfd(int fd, const sigset_t *mask, int flags) {
	int r = CALL_REAL(signalfd, fd, mask, flags);
	if (r >= 0)
		fd_made_for(sigset_bits(mask));
	if (fd == -1 && r >= 0)
		fd_made(r, KIND_ANON, flags & (O_NONBLOCK | O_CLOEXEC), NULL);
	return r;
}
