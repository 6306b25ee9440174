/* Running the handlers of queued signals, and when: signal.c's "Running a queued handler" is the rule, this is the code.
 *
 * Everything here runs on the goroutine that the signal was sent to. A handler may do what a program may: park, come back on another
 * M, fork, jump away. So nothing of the M is kept over the call of one, and after it self_g() is asked whether this still is a
 * goroutine. */
#include "isolate.h"
#include "siginternal.h"

/* The mask of g and of the M under it. Not accounted. */
static void mask_force(struct g *g, uint64_t mask) {
	rt_enter(g);
	mask &= ~SIG_NEVER_BLOCKED;
	mask_store(g, mask);
	sig_kernel_mask(g->m, mask);
	rt_leave(g);
}

uint64_t sig_handler_mask(const struct sigrecord *h, int sig) {
	return (h->mask | (h->flags & SA_NODEFER ? 0 : SIGBIT(sig))) & ~SIG_NEVER_BLOCKED;
}

/* The handler is gone, flags and mask stay: the kernel has those that it knows, but for two that are ours in what it has. */
static void reset_note(int sig, const struct sigrecord *h) {
	const int ours = SA_SIGINFO | (int)SA_RESETHAND;
	struct sigaction now;
	if (sig_kernel_action(sig, NULL, &now) == 0)
		sig_default_note(sig, (now.sa_flags & ~ours) | (h->flags & ours), h->mask);
}

bool sig_handler_take(int sig, struct sigrecord *h) {
	if (likely(!(h->flags & (int)SA_RESETHAND)))
		return true;
	/* The kernel keeps sig_entry(), which finds no record from now on. */
	if (!atomic_compare_exchange_strong(&sig_handlers[sig], &h, NULL))
		return false;
	reset_note(sig, h);
	if (unlikely(isolate_catches(sig)))
		isolate_arm(sig);
	return true;
}

/* After a handler returned and the mask is back: what it blocked may wait in the queue (no sender set `attention`
 * for it), or be held. */
void sig_handler_done(struct g *g, struct sigstate *s) {
	s->handlers++;
	if (atomic_load(&s->pending) & ~mask_of(g)) /* seq_cst: Dekker with sig_send() */
		attention_set(s);
	if (__builtin_expect(s->counted != mask_of(g), 0)) {
		rt_enter(g);
		sig_account(s, mask_of(g));
		rt_leave(g);
	}
	sig_queue_hand_on(g, 0); /* once it counts that g blocks them */
	if (__builtin_expect(atomic_load(&sigp.held) != 0, 0)) {
		rt_enter(g);
		sig_ring_drain(true);
		rt_leave(g);
	}
}

/* One call of a handler, on whichever stack it belongs. */
struct handler_call {
	struct g *g;
	struct sigrecord *h;
	siginfo_t *info;
	ucontext_t *context;
	int sig;
	bool forked; /* this is the child of a fork in the handler */
};

/* Called and, but in a child, left inside the runtime: no other signal gets between the switch of stacks and the handler, as none does in the
 * kernel. */
static void handler_call(void *arg) {
	struct handler_call *call = arg;
	rt_leave(call->g);
	fdcall_abandon(call->g);
	uint64_t waited = sig_waits_abandon(call->g);
	cancel_now(call->g); /* SIGCANCEL may have come in the runtime, and the handler may compute for ever */
	call->h->handler(call->sig, call->info, call->context);
	call->forked = !self_g();
	if (!call->forked) {
		rt_enter(call->g);
		sig_waits_resume(call->g, waited);
	}
}

static unsigned handler_run(struct g *g, int sig, siginfo_t *info, uint64_t allowed, uint64_t *back, bool on_top);

/* Inside the runtime. As sig_queue_take(), also of what is held behind one that g has taken. */
static int take_next(struct g *g, uint64_t allowed, siginfo_t *info) {
	allowed &= ~mask_of(g);
	if (unlikely(atomic_load(&sigp.held) & allowed))
		sig_ring_drain(true);
	return sig_queue_take(g, allowed, info);
}

/* What else of `allowed` may be handled, before a handler whose mask is in force begins. Inside the runtime, unless one forked and this is the child. */
static void handlers_on_top(struct g *g, uint64_t allowed) {
	siginfo_t info;
	int sig;
	uint64_t back = mask_of(g);
	while (self_g() && (sig = take_next(g, allowed, &info)))
		handler_run(g, sig, &info, allowed, &back, true);
}

/* A queued signal on its goroutine. Called and left inside the runtime, so that between taking the signal from the
 * queue and masking it no kick lets a later one overtake it. The kernel makes the frames of all signals that it may deliver before it goes back to the
 * program: so of several that were pending the lowest is taken first and its handler runs last, unless it masks the others, and it alone decides whether
 * a call goes on. *back: the mask that it returns to, and may change. on_top: that is another handler's, which is not accounted either. 1: a handler ran; 3: one without SA_RESTART did; 0: neither (check self_g(): it may have forked). */
static unsigned handler_run(struct g *g, int sig, siginfo_t *info, uint64_t allowed, uint64_t *back, bool on_top) {
	struct sigrecord *h = handler_of(sig);
	struct sigstate *s = sig_of(g);
	if (!h || !sig_handler_take(sig, h)) {
		/* Default or ignored by now: the kernel knows what that means. */
		if (kernel_queue_self(sig, info) < 0) /* only the first thread may forge kill()'s siginfo */
			SYS3(SYS_tgkill, self_pid(), self_ktid(), sig);
		return 0;
	}
	ucontext_t context;
	memset(&context, 0, sizeof context);
	getcontext(&context);
	uintptr_t pc = arch_context_pc(&context), sp = arch_context_sp(&context);
	sigset_store(&context.uc_sigmask, *back);
	/* As the kernel: on the alternate stack if the handler asks for it, there is one, and we are not on it. */
	bool enters = (h->flags & SA_ONSTACK) && s->alt_sp && !sig_on_altstack(s, (uintptr_t)&context);
	void *alt_top = (char *)s->alt_sp + s->alt_size;
	context.uc_stack = sig_altstack_save(s);
	mask_force(g, mask_of(g) | sig_handler_mask(h, sig));
	handlers_on_top(g, allowed);
	if (self_g())
		sig_queue_hand_on(g, sig);
	s->ending += !(h->flags & (int)SA_RESTART);
	struct handler_call call = {.g = g, .h = h, .info = info, .context = &context, .sig = sig, .forked = !self_g()};
	struct arch_fp fp;
	arch_fp_begin(&fp);
	if (call.forked) /* in one of those: in the child libc's signals are the kernel's */
		h->handler(sig, info, &context);
	else if (enters)
		arch_call_on(alt_top, handler_call, &call);
	else
		handler_call(&call);
	arch_fp_end(&fp, &context);
	uint64_t after = sigset_bits(&context.uc_sigmask);
	if (!sig_on_altstack(s, (uintptr_t)&context)) /* as sigreturn would */
		sig_altstack_set(s, &context.uc_stack);
	*back = after; /* in a fork's child, too: a handler that waits with a mask of its own has put that there */
	if (call.forked) {
		SYS2(SYS_sigaltstack, &context.uc_stack, 0);
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &after, 0, 8);
		return 0;
	}
	mask_force(g, after);
	if (!on_top)
		sig_handler_done(g, s);
	if (unlikely(arch_context_pc(&context) != pc || arch_context_sp(&context) != sp)) {
		/* It goes on elsewhere, as the kernel would have it: a jump out of the handler, and of the call that it was in. The registers are those that a call may change, too, but for
		 * the results'. */
		rt_leave(g);
		setcontext(&context);
		rt_enter(g);
	}
	return h->flags & SA_RESTART ? 1 : 3;
}

/* Everything of `allowed` that is deliverable in g's queue. `one_mask`: in a call that brought a mask of its own. As in the kernel, the first handler
 * then returns to the mask that was before the call, which ends it: what it masked itself stays pending until then. The first alone decides whether a call ends,
 * not those that ran on top of it or come after it. Called inside the runtime, left outside. */
static unsigned queue_run(struct g *g, uint64_t allowed, bool one_mask) {
	unsigned ran = 0, now;
	uint32_t ending = sig_of(g)->ending;
	siginfo_t info;
	int sig;
	while (!(one_mask && ran) && (sig = take_next(g, allowed, &info))) {
		uint64_t mask = mask_of(g);
		now = handler_run(g, sig, &info, allowed, one_mask ? &sig_of(g)->back : &mask, false);
		ran = ran ? ran : now;
		if (!self_g())
			return 0;
		sig_of(g)->ending = ending + (ran == 3);
	}
	if (one_mask)
		sig_of(g)->defer = true; /* before we leave the runtime, which would run the rest */
	rt_leave(g);
	return ran;
}

unsigned sig_queue_run_some(struct g *g, uint64_t allowed) {
	rt_enter(g);
	return queue_run(g, allowed, false);
}

/* The interrupt that came with a signal is spent: the next wait must not end for it. A cancellation's stays. */
void sig_interrupt_spend(struct g *g) {
	if (g_interrupt_clear(g) && shim_cancel_pending(g))
		g_interrupt(g);
}

/* Everything deliverable in g's queue. Called inside the runtime, left outside. */
static unsigned queue_run_all(struct g *g, bool one_mask) {
	struct sigstate *s = sig_of(g);
	attention_clear(s); /* before the look: who queues after it sets it again */
	/* Not yet: SIGCANCEL has met the runtime, and no caller need ask for it; or g is on its way into sigwait(), which will not look any more, and needs the kick
	 * that sysmon repeats. */
	if (unlikely(cancel_due(g)) || unlikely(atomic_load(&s->pending) & atomic_load(&s->waiting)))
		attention_set(s);
	return queue_run(g, ~0ull, one_mask);
}

unsigned sig_queue_run(struct g *g) {
	rt_enter(g);
	return queue_run_all(g, false);
}

/* A wait was ended for a signal and its shim has not asked yet, or a mask is in force for one call only. */
bool sig_must_defer(struct g *g) {
	return g->in_rt || g->in_vfork || sig_of(g)->defer ||
	       atomic_load_explicit(&g->wake, memory_order_relaxed) == WAKE_INTR;
}

/* Outside the runtime, after what was inside: SIGCANCEL may have come there, where it does not act. */
void sig_cancel_look(struct g *g) {
	if (self_g() && !sig_must_defer(g))
		cancel_now(g);
}

/* The core calls this when the current goroutine (or foreign thread) leaves the runtime, or from a g0 (NULL), while
 * rt_pending != 0. */
void sig_deliver(struct g *g) {
	if (!g) {
		sig_ring_drain(false);
		return;
	}
	if (unlikely(g->kind == G_FOREIGN) && !sched_started()) {
		sig_foreign_deliver(g);
		return;
	}
	rt_enter(g);
	sig_ring_drain(false);
	rt_leave(g);
	if (g->kind > G_MAIN || sig_must_defer(g))
		return;
	cancel_now(g);
	if (atomic_load_explicit(&sig_of(g)->attention, memory_order_relaxed)) {
		sig_interrupt_spend(g); /* before the queue: who queues later interrupts again */
		if (sig_queue_run(g) && self_g())
			rt_check(g); /* what a handler masked may have gone to the kernel meanwhile, and have come back as the mask did */
		sig_cancel_look(g);
	}
}

bool shim_stray(struct g *g) {
	struct sigstate *s = sig_of(g);
	g_interrupt_clear(g); /* first, as below */
	rt_enter(g);
	sig_ring_drain(false);
	rt_leave(g);
	if ((atomic_load_explicit(&s->pending, memory_order_relaxed) & ~mask_of(g)) || shim_cancel_pending(g) ||
	    sig_fd_due(g))
		return false;
	/* What comes before this store is queued, has set the interrupt again, and ends the next wait. */
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	return true;
}

bool shim_interrupted(struct g *g, bool restartable) {
	if (g->kind > G_MAIN)
		return true; /* a foreign thread: the kernel ran the handler */
	struct sigstate *s = sig_of(g);
	/* First: until the queue has been looked at, a kick leaves the signal there. Its handler, run by the kernel's frame, would be none that ended the wait, and
	 * the wait would go on. */
	rt_enter(g);
	/* In this order: who interrupts after the clear has queued before, or sets it again. */
	g_interrupt_clear(g);
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	bool defer = s->defer;
	sig_ring_drain(false);
	s->defer = false;
	unsigned ran = queue_run_all(g, defer);
	if (unlikely(g->kind > G_MAIN))
		return true; /* it forked, and this is the child */
	s->defer = defer;
	return ran && (!restartable || (ran & 2));
}
