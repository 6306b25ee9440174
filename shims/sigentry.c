/* The kernel's way in: the handlers that are installed for the program's signals and for libc's own two.
 *
 * sig_entry() may interrupt anything, and decides by what it interrupted: a goroutine in user code runs the program's handler on the
 * kernel's frame (handler_enter); anything else leaves the signal in the ring. sig_resync() is the other direction: what the kernel
 * must know of the goroutine that an M switches to.
 *
 * Alternate stacks. The kernel's alternate stack of an M is the M's own (m->sigstack), always; preemption needs it, and nothing is to be
 * changed in a switch. What the program asked for is carried out here: the frame of a handler with SA_ONSTACK that arrives
 * on the M's stack is moved to where the kernel would have put it (frame_move): the goroutine's alternate stack, or the one it runs on. Only
 * then may the handler run, because it may park and the M's stack stays with the M. */
#include <linux/futex.h>

#include "../core/stack.h"
#include "io.h"
#include "isolate.h"
#include "race.h"
#include "siginternal.h"
#include "thread.h"

static void *restorer; /* libc's or arch/'s, for our raw rt_sigaction */
static void (*setxid_libc)(int, siginfo_t *, void *);

static bool is_fault(int sig, const siginfo_t *info) {
	return info->si_code > 0 &&
	       (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGTRAP || sig == SIGSYS);
}

/* Was it sent to this very thread? The kernel says SI_USER for what one's own write raises; a kill() of our own process does not come this
 * way (sigsend.c). */
static bool is_for_thread(struct g *g, int sig, const siginfo_t *info) {
	if (info->si_code == SI_TIMER)
		return sigtimer_of_main(info);
	/* Who reads its terminal from the background has the whole group told, and takes it on the way out of that call. */
	if ((sig == SIGTTIN || sig == SIGTTOU) && info->si_code == SI_KERNEL)
		return is_open(g, sig) && (atomic_load_explicit(&g->in_syscall, memory_order_relaxed) || atomic_load_explicit(&g->trying, memory_order_relaxed));
	return (info->si_code == SI_TKILL || ((sig == SIGPIPE || sig == SIGXFSZ) && info->si_code == SI_USER)) &&
	       info->si_pid == self_pid();
}

static bool is_tick(int sig, const siginfo_t *info) {
	if (info->si_code == SI_TIMER)
		return sig == SIGPROF || sig == SIGVTALRM || sigtimer_counts_cpu(info);
	return info->si_code == SI_KERNEL && (sig == SIGPROF || sig == SIGVTALRM || sig == SIGXCPU /* RLIMIT_CPU */);
}

static _Atomic bool own_noted; /* relaxed: set before the kernel is told */

void sig_own_note(void) {
	atomic_store_explicit(&own_noted, true, memory_order_relaxed);
}

/* A descriptor's signal that came to a pinned goroutine's kernel thread is for that goroutine: its number was given to the kernel as the owner's. (One for
 * the process may come that way, too; then it is for one of those who take it.) */
static struct g *owner_on(const struct g *g, int sig, const siginfo_t *info) {
	if (likely(!atomic_load_explicit(&own_noted, memory_order_relaxed)))
		return NULL;
	bool of_descriptor = (info->si_code >= POLL_IN && info->si_code <= POLL_HUP && sig != SIGCHLD) ||
			     info->si_code == SI_SIGIO || (sig == SIGIO && info->si_code == SI_KERNEL);
	struct m *m = of_descriptor && g->kind != G_FOREIGN ? g->m : NULL;
	return m ? m_owner(m) : NULL;
}

/* tgkill() of another process to this process's number, or, while nobody runs here, of this one: that is main's. From one that runs here libc means itself. */
static struct g *directed_at_main(const struct g *g, const siginfo_t *info) {
	const struct m *m = g->kind == G_FOREIGN ? NULL : g->m;
	bool directed = m && unlikely(m->first) && info->si_code == SI_TKILL && (g->kind == G_G0 || info->si_pid != self_pid());
	return directed && sigp.main_g && is_alive(sigp.main_g) ? sigp.main_g : NULL;
}

/* The goroutine for which alone a signal is, that came while g ran; NULL: whoever takes what is sent to the process. The tick of a timer that counts CPU
 * time is for the thread that used it, unless that blocks it, and not for main: a profiler lives on it (SIG-14). What the scheduler used counts as
 * used by one that runs. */
static struct g *meant_for(struct g *g, int sig, const siginfo_t *info) {
	struct g *owner = owner_on(g, sig, info);
	if (owner || (owner = directed_at_main(g, info)))
		return owner;
	if (g->kind <= G_MAIN && (is_for_thread(g, sig, info) || (is_tick(sig, info) && is_open(g, sig))))
		return g;
	if (g->kind <= G_MAIN || !is_tick(sig, info))
		return NULL;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		struct g *runs = atomic_load_explicit(&m->curg, memory_order_relaxed);
		if (is_open(runs, sig) && !atomic_load_explicit(&runs->in_syscall, memory_order_relaxed))
			return runs;
	}
	return NULL;
}

/* The kernel restarts the call that g was in, or ends it: g is in it again, as it was. */
static void syscall_again(struct g *g, uint32_t in_syscall) {
	syscall_enter(g);
	if (in_syscall == SYSCALL_WAITS)
		syscall_repeats(g);
}

/* Outside the runtime on g, in a signal's frame: route what is in the ring, run what is ours. It may park in here, and come back elsewhere: the M that it leaves goes on
 * with what this frame, and those below, block in the kernel. So kmask says that meanwhile; by single bits, as reserved_entry() may add some on top. */
static void look_now(struct g *g) {
	uint32_t in_syscall = atomic_load_explicit(&g->in_syscall, memory_order_relaxed);
	uint64_t frames;
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, 0, &frames, 8);
	in_rt_up(g);
	frames &= ~g->m->kmask;
	__atomic_fetch_or(&g->m->kmask, frames, __ATOMIC_RELAXED);
	rt_leave(g);
	if (in_syscall)
		syscall_exit(g);
	sig_deliver(g);
	if (in_syscall && self_g())
		syscall_again(g, in_syscall);
	if (!self_g())
		return;
	in_rt_up(g);
	__atomic_fetch_and(&g->m->kmask, ~(frames & ~mask_of(g)), __ATOMIC_RELAXED);
	rt_leave(g);
}

/* The process stops in here and goes on from here, if the kernel does not ignore that (an orphaned process group). After it the default action may have to wait
 * again. */
static void stop_here(int sig) {
	uint64_t open = SIGBIT(sig), before = 0;
	SYS4(SYS_rt_sigprocmask, SIG_UNBLOCK, &open, &before, 8);
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
	if (!process_in_vfork())
		sig_default_arm(sig);
}

/* The signal is back at SIG_DFL, by the program while a kick of ours may have been on its way, or by SA_RESETHAND, and the kernel still has
 * sig_entry(): a true signal gets its default action now. It is blocked in here, or will be, and acts on return. */
static void default_action(int sig, siginfo_t *info, bool whatever_is_set) {
	struct ksigaction dfl = {.handler = (void *)SIG_DFL}, was;
	if (default_ignores(sig))
		return;
	uint64_t open = SIGBIT(sig) & arch_signals_open;
	if (open)
		SYS4(SYS_rt_sigprocmask, SIG_BLOCK, &open, 0, 8);
	SYS4(SYS_rt_sigaction, sig, &dfl, &was, 8);
	/* Another thread has set a handler meanwhile: the signal is for that one. (Not yet there: its own system call comes after ours.) */
	if (unlikely(handler_of(sig) != NULL) && !whatever_is_set)
		SYS4(SYS_rt_sigaction, sig, &was, 0, 8);
	if (kernel_queue_self(sig, info) < 0)
		SYS3(SYS_tgkill, self_pid(), self_ktid(), sig);
	if (sig_stops(sig))
		stop_here(sig);
}

/* The default action of sig is due, but all who would have it, or the one whom it is for (*to), are in handlers that mask it. */
static bool default_waits(struct g *g, int sig, const siginfo_t *info, struct g **to) {
	if (!(SIGBIT(sig) & DEFAULT_WAITS) || !g || g->kind == G_FOREIGN || g->in_vfork || process_in_vfork() || !sigp.main_g)
		return false;
	*to = meant_for(g, sig, info);
	return !is_open(*to ? *to : sig_taker(sig), sig);
}

static bool on_sigstack(const struct m *m, uintptr_t sp) {
	return m->sigstack && sp - (uintptr_t)m->sigstack < m->sigstack_bytes;
}

/* Every frame on a goroutine ends so: sigreturn must not restore an alternate stack, because on which M it will happen nobody knows, a nested
 * handler may wait. Flags that do not exist make the kernel leave alone what is armed there. */
static void frame_end(ucontext_t *context) {
	context->uc_stack = (stack_t){.ss_flags = 0x40};
}

/* Is this frame on top of another that the kernel had made, and whose handling has not begun? */
static bool on_unbegun(const void *context) {
	return arch_context_pc(context) - (uintptr_t)arch_signal_entry < (uintptr_t)arch_entries_end - (uintptr_t)arch_signal_entry;
}

/* Asynchronous cancellation of g, in a signal's frame, `here`. Not on the M's own stack, which it must not wait on: that frame is moved first. Who comes where
 * this may not act leaves it to the end of the frame below it (entry_and_end()), or to who leaves the runtime. */
static void cancel_in_frame(struct g *g, const void *here) {
	if (likely(!on_sigstack(g->m, (uintptr_t)here)))
		sig_cancel_look(g);
}

/* A frame on the M's own stack, for a handler that will run now. Returns if it may stay there. The kernel has SA_ONSTACK for SIGSEGV also where the
 * program has not: then it goes to the stack that was interrupted, if there is room. */
static void frame_move(struct g *g, const struct sigrecord *h, int sig, siginfo_t *info, void *context) {
	struct sigstate *s = sig_of(g);
	ucontext_t *uc = context;
	uintptr_t sp = arch_context_sp(context), lowest = 0;
	bool on = sig_on_altstack(s, sp), wants = !h || (h->flags & SA_ONSTACK), enters = wants && s->alt_sp && !on;
	if (on || enters)
		lowest = (uintptr_t)s->alt_sp;
	else if (!wants && sp - (uintptr_t)g->stack.lo < (uintptr_t)(g->stack.hi - g->stack.lo))
		lowest = (uintptr_t)g->stack.lo;
	uintptr_t top = enters ? lowest + s->alt_size : sp;
	uc->uc_stack = sig_altstack_save(s);
	void *frame = arch_sigframe_move(&context, &info, top, lowest, !enters);
	if (!frame) { /* no room: the kernel, too, ends the process then */
		default_action(SIGSEGV, info, true);
		return;
	}
	arch_sigframe_enter(frame, sig, info, context, sig_entry);
}

/* A handler has returned; g is to have `mask`, and the kernel will put `asked`, at least, into this M, whichever it is by now, when sigreturn is made of
 * `context`. */
static void handler_left(struct g *g, uint64_t mask, uint64_t asked, ucontext_t *context, uint32_t in_syscall) {
	struct sigstate *s = sig_of(g);
	mask_store(g, mask);
	sig_handler_done(g, s);
	if (atomic_load_explicit(&s->attention, memory_order_relaxed) && !sig_must_defer(g))
		sig_queue_run(g);
	if (in_syscall && self_g())
		syscall_again(g, in_syscall);
	if (!self_g())
		return;
	/* From here to the sigreturn no park: nested signals only. */
	in_rt_up(g);
	kmask_set(g->m, asked);
	if (!sig_on_altstack(s, (uintptr_t)context)) /* as sigreturn, which does not change what is in use */
		sig_altstack_set(s, &context->uc_stack);
	rt_leave(g);
}

/* Case 1: the handler on the kernel's frame. Keeps the goroutine's view of mask and alternate stack as the kernel
 * keeps a thread's. inside: called inside the runtime. */
static void handler_enter(struct g *g, struct sigrecord *h, int sig, siginfo_t *info, ucontext_t *context, bool inside) {
	struct sigstate *s = sig_of(g);
	uint64_t virtual_before = mask_of(g), kernel_before = sigset_bits(&context->uc_sigmask);
	in_rt_up(g); /* no nested signal between these stores; no retake check: nothing of the P is touched */
	uint64_t added = sig_handler_mask(h, sig);
	mask_store(g, (virtual_before | added) & ~SIG_NEVER_BLOCKED);
	kmask_set(g->m, kernel_before | added);
	if (context->uc_stack.ss_sp == g->m->sigstack) /* not a moved frame */
		context->uc_stack = sig_altstack_save(s);
	rt_leave(g);
	if (inside)
		rt_leave(g);

	uint32_t in_syscall = atomic_load_explicit(&g->in_syscall, memory_order_relaxed);
	if (in_syscall)
		syscall_exit(g); /* handlers are user code; it may park here for want of a P */
	fdcall_abandon(g);
	uint64_t waited = sig_waits_abandon(g);
	sig_queue_hand_on(g, sig);
	cancel_in_frame(g, context); /* it may compute for ever */

	uint32_t was = s->ending, ending = was + !(h->flags & (int)SA_RESTART);
	s->ending = ending;
	h->handler(sig, info, context);

	if (!self_g()) /* it forked, and this is the child */
		return;
	sig_waits_resume(g, waited);
	uint64_t asked = sigset_bits(&context->uc_sigmask);
	/* What only the frames below block whose handlers have not begun: the kernel had several to deliver at once. They end one by one, and some run no handler. */
	uint64_t below = kernel_before & ~virtual_before;
	/* Unless it changed the mask it returns to. */
	handler_left(g, asked == kernel_before ? virtual_before : asked & ~below & ~SIG_NEVER_BLOCKED, asked & ~below, context,
		     in_syscall);
	if (on_unbegun(context))
		ending = was; /* that one decides */
	s->ending = ending; /* without those that ran on top of it, or after it: it alone decided about the call */
}

/* A handler has returned that began before there were goroutines, and in which the runtime started: that took the handler's mask for main's. */
static void started_inside(struct g *g, ucontext_t *context) {
	uint64_t asked = sigset_bits(&context->uc_sigmask);
	handler_left(g, asked & ~SIG_NEVER_BLOCKED, asked, context, false);
}

/* Is it abort() by libc itself where no handler may run: in setuid(), which some threads could do and others not (process.c), by the caller's identity or in
 * libc's handler? The program's handler runs all the same, at once and with whichever identity: what abort() does next is the default action. */
static bool abort_inside(struct g *g, const siginfo_t *info, const void *context) {
	return info->si_code == SI_TKILL && info->si_pid == self_pid() &&
	       (g->kind > G_MAIN || sig_must_defer(g) || on_sigstack(g->m, arch_context_sp(context)));
}

/* SIGSEGV that the kernel would have given its default action, had it known of the goroutine's mask and handlers: a fault that nobody handles, that is blocked (in its
 * own handler, say), or whose handler has no stack. */
static bool segv_by_default(struct g *g, const struct sigrecord *h, const siginfo_t *info, const void *context) {
	if (!h)
		return true;
	if (!is_fault(SIGSEGV, info) || !g || g->kind > G_MAIN || g->in_vfork)
		return false;
	return (mask_of(g) & SIGBIT(SIGSEGV)) || on_sigstack(g->m, arch_context_sp(context));
}

/* It goes to the ring, and on as soon as somebody may look. */
static void signal_waits(struct g *g, int sig, const siginfo_t *info, struct g *to) {
	sig_ring_push(sig, info, to);
	if (g->kind == G_G0)
		sysmon_poke(); /* this M may be past its last look before it sleeps */
	if (g->kind <= G_MAIN && g->in_rt == 0)
		look_now(g); /* routes; handlers that must wait for shim_interrupted() do */
}

static void entry(int sig, siginfo_t *info, void *context) {
	struct g *g = tls_g;
	struct sigrecord *h = handler_of(sig);
	if (unlikely(!h) && isolate_catches(sig) && info->si_code != KICK_CODE) {
		if (!isolate_crash(g, sig, info, context))
			default_action(sig, info, false);
		return;
	}
	if (unlikely(SIGBIT(sig) & arch_signals_open) && info->si_code != KICK_CODE && segv_by_default(g, h, info, context)) {
		default_action(sig, info, h != NULL);
		return;
	}
	if (unlikely(sig == SIGABRT) && g && h && abort_inside(g, info, context)) {
		if (sig_handler_take(sig, h))
			h->handler(sig, info, context);
		return;
	}
	if (g && g->kind <= G_MAIN && on_sigstack(g->m, (uintptr_t)context) && !process_in_vfork()) {
		bool fault = is_fault(sig, info);
		if (on_sigstack(g->m, arch_context_sp(context))) {
			/* On top of ourselves, before that frame was moved. It waits until somebody leaves the runtime, or for sysmon: to look in the frame
			 * below, before its handler's mask is in force, would let a storm of signals pile up frames. */
			if (!fault) {
				if (info->si_code != KICK_CODE)
					sig_ring_push(sig, info, meant_for(g, sig, info));
				return;
			}
		} else if (g->in_rt == 0 || fault) {
			frame_move(g, h, sig, info, context);
		}
	}
	if (unlikely(!h) && info->si_code != KICK_CODE) {
		struct g *to = NULL;
		if (default_waits(g, sig, info, &to))
			signal_waits(g, sig, info, to);
		else
			default_action(sig, info, false);
		return;
	}
	if (likely(!g) || (g->kind == G_FOREIGN && g->in_rt == 0) || process_in_vfork()) {
		/* A kick is never the signal: it meets a parent that is back from vfork() and not yet through vfork_after(), which looks
		 * at the queue itself. */
		if (!h || info->si_code == KICK_CODE)
			return;
		if (process_in_vfork()) { /* the table is the parent's, what the kernel has is the child's */
			struct ksigaction dfl = {.handler = (void *)SIG_DFL};
			if (h->flags & (int)SA_RESETHAND)
				SYS4(SYS_rt_sigaction, sig, &dfl, 0, 8);
			h->handler(sig, info, context);
		} else if (sig_handler_take(sig, h)) {
			h->handler(sig, info, context);
		} else {
			default_action(sig, info, false);
		}
		return;
	}
	bool kicked = info->si_code == KICK_CODE;
	if (is_fault(sig, info)) {
		/* The kernel says of a guard marker that nothing is mapped there; a kernel thread's guard is, without access. */
		if (sig == SIGSEGV && info->si_code == SEGV_MAPERR && stack_marker_at(&g->stack, info->si_addr))
			info->si_code = SEGV_ACCERR;
		if (!sig_handler_take(sig, h))
			default_action(sig, info, false);
		else if (g->kind <= G_MAIN)
			handler_enter(g, h, sig, info, context, false);
		else
			h->handler(sig, info, context);
		return;
	}
	if (g->kind > G_MAIN || sig_must_defer(g)) {
		if (kicked) /* it is in a queue; g looks when it leaves the runtime */
			return;
		struct g *to = meant_for(g, sig, info);
		if (g->kind == G_FOREIGN)
			rt_deliver_hook = sig_deliver; /* the runtime may not have started */
		signal_waits(g, sig, info, to);
		return;
	}
	if (kicked) {
		/* A true frame for a true handler; the rest of the queue follows it. */
		sig_interrupt_spend(g);
		/* Until it is masked: preempted in between, it would run the handler of the next one first. */
		in_rt_up(g);
		if ((mask_of(g) & SIGBIT(sig)) || !h || !sig_queue_take(g, SIGBIT(sig), info)) {
			rt_leave(g);
			look_now(g);
			return;
		}
	} else {
		struct g *to = meant_for(g, sig, info);
		/* To the process main goes first, as in the kernel's choice of a thread, but for a child of another's. */
		struct g *parent = unlikely(sig == SIGCHLD) ? sig_taker_of(sig, info) : NULL;
		bool ours = to ? to == g
			    : parent ? parent == g
			       : is_open(g, sig) && (g == sigp.main_g || !takes(sigp.main_g, sig));
		if (unlikely(info->si_code == THREAD_CODE)) {
			struct g *told = sig_told(info);
			if (!told)
				return; /* it has ended meanwhile */
			ours = told == g;
			if (ours)
				info->si_code = SI_TKILL;
		}
		if (!ours) {
			sig_ring_push(sig, info, to);
			look_now(g);
			return;
		}
		if (unlikely(info->si_code == SI_TIMER) && !sigtimer_handled(info)) {
			look_now(g);
			return;
		}
	}
	if (h && sig_handler_take(sig, h)) {
		if (!kicked)
			sig_seen_add(sig); /* now: it may wait for a child itself, or leave by siglongjmp() */
		handler_enter(g, h, sig, info, context, kicked);
	} else if (h) {
		if (kicked)
			rt_leave(g);
		default_action(sig, info, false);
	}
}

/* What reserved_entry() has asked for on top of sig_entry() since this began, which puts back the mask that it found, or `asked`, which a handler has put there: the
 * kernel makes both frames at once, where both signals are pending. What kmask says is blocked is blocked; sysmon and the first kernel thread, while it
 * runs nobody, are told what to open, too. Who comes still later is told in vain: then the first signal that it ought not to have taken brings it here. */
static uint64_t mask_after(const struct g *g, uint64_t asked) {
	if (g->kind > G_MAIN && g->tid == atomic_load(&sigp.sysmon_tid))
		return atomic_load(&sigp.and_mask);
	struct m *m = g->m;
	if (!m)
		return asked;
	if (g->kind != G_G0 || m != sigp.first || !atomic_load_explicit(&sigp.first_idle, memory_order_relaxed) || !is_alive(sigp.main_g))
		return asked | __atomic_load_n(&m->kmask, __ATOMIC_RELAXED);
	uint64_t want;
	do {
		want = atomic_load(&sigp.main_mask);
		__atomic_store_n(&m->kmask, want, __ATOMIC_SEQ_CST); /* and the loads: Dekker with main_mask_set() */
	} while (atomic_load(&sigp.main_mask) != want);
	return want;
}

/* The call that g waits in, on a description whose number the program has closed or replaced meanwhile: the kernel would begin it again by that number. It ends, and who
 * made it asks again by what the number has become (FDCALL_HELD). A handler of g's own has let go of it before: that is restarted as it would be natively. */
static void restart_as_ghost(struct g *g, void *context) {
	const struct fdcall *c = thread_of(g)->fdcall;
	if (unlikely(c != NULL) && c->pd && atomic_load_explicit(&g->in_syscall, memory_order_relaxed) && __atomic_load_n(&c->pd->fd, __ATOMIC_RELAXED) != c->fd)
		arch_context_skip_syscall(context);
}

static inline void signal_count(void) {
	struct g *g = tls_g;
	if (g)
		g->signals++;
}

static void entry_and_end(int sig, siginfo_t *info, void *context) {
	bool goroutines = self_g() != NULL, kicked = info->si_code == KICK_CODE;
	entry(sig, info, context);
	if (!kicked)
		sig_seen_add(sig);
	struct g *g = tls_g; /* not the one of before: this may be the child of a fork in a handler */
	if (!g || g->kind == G_FOREIGN || g->in_vfork || process_in_vfork())
		return;
	if (g->kind <= G_MAIN) {
		if (unlikely(!goroutines))
			started_inside(g, context);
		restart_as_ghost(g, context);
		cancel_in_frame(g, context); /* the call below may be restarted, and nobody else looks */
		frame_end(context);
	}
	ucontext_t *uc = context;
	sigset_store(&uc->uc_sigmask, mask_after(g, sigset_bits(&uc->uc_sigmask)) & ~arch_signals_open);
}

void sig_entry(int sig, siginfo_t *info, void *context) {
	arch_tp_settle(context);
	if (RACE_COMES_AGAIN(sig, info, context))
		return;
	RACE_SAME_THREAD(); /* it may interrupt before the switch to this G is over */
	signal_count();
	entry_and_end(sig, info, context);
	RACE_SAME_THREAD(); /* or when the one away from it has begun, which ends after all of this */
}

/* What kmask says is blocked the kernel blocks at every moment, also between the two changes: who asks whether a signal may be on its way here goes by it
 * (settle_ask()). The mask is changed before the system call and compared after: reserved_entry() may add to both in between. */
void sig_kernel_mask(struct m *m, uint64_t want) {
	uint64_t kernel = want & ~arch_signals_open, both;
	do {
		both = m->kmask & want;
		kmask_set(m, both);
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &kernel, 0, 8);
		/* relaxed: this thread's own handlers are all that may come between */
	} while (!__atomic_compare_exchange_n(&m->kmask, &both, want, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

/* g is about to unwind, maybe out of frames: what they block in the kernel may be more than kmask says, or than the program asked for, and no sigreturn follows. */
void sig_frames_leave(struct g *g) {
	in_rt_up(g);
	sig_kernel_mask(g->m, mask_of(g));
	rt_leave(g);
}

/* Makes the kernel's mask of this M that of g. In the switch, inside the runtime. */
void sig_resync(struct g *g) {
	struct m *m = g->m;
	uint64_t want = mask_of(g);
	if (m->kmask != want) {
		sig_kernel_mask(m, want);
		if (unlikely(m == sigp.first))
			sig_kicks_forget(want);
	}
}

/* The first kernel thread is about to run nobody, or does no longer. What another process directs at it is main's, and nobody else can take it: so it has main's mask,
 * whoever ran here last. Neighbours mostly share one, then this costs no system call. */
void sig_idle(struct m *m, bool idle) {
	if (!idle) {
		/* relaxed: this thread's own handlers look; who sends a kick that comes too late asked for nothing that the next goroutine's mask is not */
		atomic_store_explicit(&sigp.first_idle, false, memory_order_relaxed);
		return;
	}
	if (!is_alive(sigp.main_g))
		return;
	/* seq_cst, and the load of the mask: Dekker with main_mask_set() */
	atomic_store(&sigp.first_idle, true);
	uint64_t want;
	while ((want = atomic_load(&sigp.main_mask)) != __atomic_load_n(&m->kmask, __ATOMIC_RELAXED))
		sig_kernel_mask(m, want);
}

/* ---- libc's two signals ------------------------------------------------------------------------------------------ */

static struct m *m_of_ktid(int32_t ktid) {
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		if (m->ktid == ktid)
			return m;
	}
	return NULL;
}

uintptr_t process_tcb_of(int32_t ktid) {
	struct m *m = m_of_ktid(ktid);
	if (!m)
		return 0;
	/* libc knows the first kernel thread by main's TCB, the others by the one that is their g0's. */
	return ktid == self_pid() ? sigp.main_g->ctx.tp : m->g0.ctx.tp;
}

/* Not arch_tp(): the compiler takes that for a constant and reads it again where it likes. */
__attribute__((noinline)) uintptr_t process_tp(void) {
	uintptr_t tp = arch_tp();
	__asm__ volatile("" : "+r"(tp) : : "memory");
	return tp;
}

__attribute__((noinline)) void process_tp_set(struct arch_thread *self, uintptr_t tp) {
	arch_tp_set(self, tp);
}

/* Does the interrupted code have a signal blocked that its kernel thread, by what we know, has not? Then the kernel has called sig_entry() for it, which has not got as
 * far as to queue it, or to call the handler. (Or a mask is just being changed. SA_NODEFER hides it.) */
static void settle_answer(const struct m *m, const ucontext_t *uc) {
	uint64_t open = ~(m ? __atomic_load_n(&m->kmask, __ATOMIC_RELAXED) : atomic_load(&sigp.and_mask));
	if (sigset_bits(&uc->uc_sigmask) & open & atomic_load(&sigp.settle_which))
		atomic_fetch_add(&sigp.settle_found, 1);
	atomic_fetch_add(&sigp.settle_answers, 1); /* last: who counts these looks at the others then */
}

/* SIGSETXID. From a timer it is the program's (sigtimer.c) or preemption's; from another process a tgkill(); with KICK_CODE it is and_broadcast()'s or
 * sig_stopped_settle()'s; else libc asks this kernel thread to change its identity, and its handler must find the kernel thread's TCB, not a goroutine's. Everything is
 * blocked in here. */
static void reserved_signal(int sig, siginfo_t *info, void *context) {
	if (info->si_code == SI_TIMER) {
		if (!sigtimer_expired(info))
			preempt_signal(context);
		return;
	}
	if (sig_told_by_setxid(info))
		return;
	int32_t ktid = self_ktid();
	if (info->si_code == KICK_CODE) {
		ucontext_t *uc = context;
		if (info->si_value.sival_int == KICK_SETTLE) {
			settle_answer(m_of_ktid(ktid), uc);
			return;
		}
		uint64_t and_now = atomic_load(&sigp.and_mask);
		if (ktid == atomic_load(&sigp.sysmon_tid)) {
			sigset_store(&uc->uc_sigmask, and_now);
		} else {
			struct g *g = tls_g;
			struct m *m = m_of_ktid(ktid);
			if (m && m == sigp.first && atomic_load_explicit(&sigp.first_idle, memory_order_relaxed) && is_alive(sigp.main_g)) {
				uint64_t want = atomic_load(&sigp.main_mask); /* and_mask is part of it */
				sigset_store(&uc->uc_sigmask, want & ~arch_signals_open);
				kmask_set(m, want);
			} else if (m && (!g || g->kind > G_MAIN || g->in_rt || !is_alive(g))) {
				sigset_store(&uc->uc_sigmask, sigset_bits(&uc->uc_sigmask) | and_now);
				kmask_set(m, m->kmask | and_now);
			}
		}
		if (info->si_value.sival_int == KICK_UNASKED)
			return;
		atomic_fetch_add(&sigp.acks, 1);
		SYS3(SYS_futex, &sigp.acks, FUTEX_WAKE_PRIVATE, 1);
		return;
	}
	if (!setxid_libc)
		return;
	struct m *m = m_of_ktid(ktid);
	struct arch_thread *thread = m ? &m->thread : NULL;
	uintptr_t tcb = process_tcb_of(ktid), mine = process_tp();
	if (tcb && tcb != mine)
		process_tp_set(thread, tcb);
	setxid_libc(sig, info, context);
	if (tcb && tcb != mine)
		process_tp_set(thread, mine);
}

static void reserved_entry(int sig, siginfo_t *info, void *context) {
	arch_tp_settle(context);
	if (RACE_COMES_AGAIN(sig, info, context))
		return;
	RACE_AFTER(&sigp.reserved);
	RACE_SAME_THREAD(); /* the stack that it runs on is the M's, whoever's G that runs */
	signal_count();
	reserved_signal(sig, info, context);
	struct g *g = tls_g;
	if (g && g->kind <= G_MAIN && !g->in_vfork && !process_in_vfork())
		restart_as_ghost(g, context); /* it is restarted after this one as well */
	RACE_SAME_THREAD();
}

/* SIGCANCEL: pthread_cancel() sends it to an M. It may be another goroutine by now that runs there; then it means
 * nothing. */
void sig_cancel_entry(int sig, siginfo_t *info, void *context) {
	arch_tp_settle(context);
	if (RACE_COMES_AGAIN(sig, info, context))
		return;
	signal_count();
	struct g *g = self_g();
	if (g && !on_unbegun(context)) /* whose signal may be for another, so that one goes on first */
		cancel_in_frame(g, context);
}

void sig_reserve(void) {
	int none = 0;
	if (atomic_load_explicit(&sigp.reserved, memory_order_acquire) == 2 ||
	    !atomic_compare_exchange_strong(&sigp.reserved, &none, 1))
		return;
	struct ksigaction old, set;
	if (SYS4(SYS_rt_sigaction, SIGSETXID_NR, 0, &old, 8) < 0 || !old.handler) {
		atomic_store(&sigp.reserved, 0); /* libc has not created a thread yet: later */
		return;
	}
	restorer = old.flags & SA_RESTORER_FLAG ? old.restorer
						: arch_restorer(); /* without the flag the word is anything */
	if ((void (*)(int, siginfo_t *, void *))old.handler != reserved_entry)
		setxid_libc = (void (*)(int, siginfo_t *, void *))old.handler;
	set = (struct ksigaction){.handler = (void *)reserved_entry,
				  .flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK | SA_RESTORER_FLAG,
				  .restorer = restorer,
				  .mask = ~arch_signals_open};
	RACE_BEFORE(&sigp.reserved);
	SYS4(SYS_rt_sigaction, SIGSETXID_NR, &set, 0, 8);
	/* Blocked in itself: of a burst, each to a waiter who does not get a CPU, the kernel would put as many frames on its stack at once. A goroutine that is
	 * cancelled in there never returns: sig_frames_leave() opens it. */
	set = (struct ksigaction){.handler = (void *)arch_cancel_entry,
				  .flags = SA_SIGINFO | SA_RESTORER_FLAG,
				  .restorer = restorer,
				  .mask = 0};
	SYS4(SYS_rt_sigaction, SIGCANCEL_NR, &set, 0, 8);
	atomic_store_explicit(&sigp.reserved, 2, memory_order_release);
}

/* sysmon, each time it wakes. It receives what no running goroutine accepts; a goroutine whose kick missed it is
 * kicked again. */
void sig_sysmon(void) {
	if (unlikely(!atomic_load_explicit(&sigp.sysmon_tid, memory_order_relaxed))) {
		sig_reserve();
		lock_acquire(&sigp.and_lock, LOCK_SIGMASK);
		uint64_t mask = atomic_load(&sigp.and_mask);
		atomic_store(&sigp.sysmon_tid, self_ktid());
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
		lock_release(&sigp.and_lock);
	}
	sigtimer_look();
	sig_trap_look();
	if (likely(atomic_load_explicit(&rt_pending, memory_order_relaxed) == 0))
		return;
	sig_ring_drain(false);
	/* Only who runs can have been missed. */
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		struct g *g = atomic_load_explicit(&m->curg, memory_order_relaxed);
		if (!g || !is_alive(g) || !atomic_load_explicit(&sig_of(g)->attention, memory_order_relaxed))
			continue;
		uint64_t pending = atomic_load(&sig_of(g)->pending) & (~mask_of(g) | atomic_load(&sig_of(g)->waiting));
		if (pending && m->ktid)
			sig_kick(g, m->ktid, __builtin_ctzll(pending) + 1);
	}
}
