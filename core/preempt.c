/* Preemption: a goroutine that runs on and on gives its P to others without having asked for it.
 *
 * sysmon asks (preempt_ask), the M is interrupted by a signal, the signal's handler (preempt_signal) changes the frame so that the goroutine
 * "calls" preempt_here() from wherever it is, with every register saved (arch_preempt), and that puts it into the queue and switches away. It
 * goes on later, on any M.
 *
 * Which signal, sent how. A program that installed no handler must never see EINTR, and poll(), nanosleep() and their like return that
 * even under SA_RESTART. To look whether a thread is in a system call and then to signal it is a race. So nobody signals: each M has a
 * POSIX timer on its own *CPU clock* of user mode, and sysmon sets that to expire after one more nanosecond of it. A thread that is in the
 * kernel uses none. When the timer expires at a tick of the kernel, the kernel (since 5.9, where POSIX_CPU_TIMERS_TASK_WORK) does not queue the
 * signal there and then, but marks the thread and queues it *on its way back to user mode*: no system call is ever interrupted, by construction, whether
 * we know of the call or not. (That takes the clock of user mode: only a tick that interrupts the program's own code advances it, and the way back from
 * there leads into no call. On the clock that counts all CPU time a tick inside io_uring_enter() expired the timer as well, and that call does work which is marked so
 * while it waits: the signal came there, and ended a wait that is never restarted. What computes in the kernel only is not preempted, and loses its P. CPUs that
 * the kernel runs without ticks, nohz_full, account user mode at its end instead: there io_uring_enter() can still be met.) Older kernels queue it in the tick, which may hit a thread inside a system call: there nobody is preempted and
 * sysmon takes Ps only (retake). The price is the tick, up to 4 ms of delay at 250 Hz.
 *
 * The signal's number is libc's SIGSETXID (33), told from libc's own use by its si_code, SI_TIMER. design.md named SIGURG, as Go does. But
 * a program may use SIGURG, block it in all its threads, and look at its mask and its pending signals; 33 is libc's own: no program's
 * mask ever holds it, no sigpending() or sigwait() shows it, and signal.c has the kernel's handler for it anyway.
 *
 * The frame of the signal must not be pushed onto the goroutine's stack: that may be a coroutine's of 4 KiB, full to the brim. Therefore the
 * handler runs on the M's own alternate stack (m->sigstack). The injected call does write to the interrupted stack: so it is made only where
 * we know the stack and that it has room (room_left).
 *
 * Where a goroutine is left alone: in the runtime (in_rt), in a bracketed system call, where it borrows the kernel thread's identity (its TCB is not
 * its own then), on a stack that is not its own, or that the program keeps within its own, for handlers or a coroutine (we learn of those by sigaltstack(),
 * swapcontext() and setcontext() only), and while the instruction pointer is in libc, ld.so, the vdso or in this library. The last
 * rule is about libc's inner locks (malloc's arenas, stdio, the loader): their waiters sleep in the kernel, so a holder that is queued
 * behind them would cost every one of them an M. There the timer is set again, TRIES times; then sysmon takes the P and the
 * kernel shares the CPU. So preemption is never needed for progress, it only makes it cheaper.
 *
 * The same interruption serves reports (dump.c): where a goroutine computes only its own kernel thread can tell without that it moves on meanwhile. The handler
 * follows the stack and writes down the frames, wherever the goroutine is but in the runtime and in bracketed calls; nothing else happens to it.
 *
 * And it shows who spins (spin_look): a goroutine that goes round in a loop until another thread writes is not made to give way, it loses its P (sysmon.c).
 *
 * Ownership: sysmon creates, sets and deletes the timers; the handler only sets its own M's again. m->preempt_g says who was meant; the
 * schedtick or the missing P tells whether that is still so.
 */
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>

#include "chaos.h"
#include "cpuclock.h"
#include "race.h"
#include "runtime.h"
#include "unwind.h"

#define TRIES 8u                    /* ticks of the kernel that a request stays */
#define C_ROOM (6ul << 10)          /* what preempt_here() may use below the injected frame, with a handler's frame on top */
#define RANGES_MAX 4u
#define SPIN_REGS 1u                /* of a loop that waits: the one that counts */
#define SPIN_LOOKS_FIRST 4u         /* found so once, and so often not, it spins no more ... */
#define SPIN_LOOKS 16u              /* ... and found so again */
#define SPIN_BYTES 64u              /* the size of such a loop */

extern const char *gnu_get_libc_version(void);

static struct {
	uintptr_t lo, hi;
} untouchable[RANGES_MAX];          /* code in which a goroutine is left alone */
static uint32_t ranges;
static uintptr_t main_low;          /* the first thread's stack does not reach below this */
static struct inner_stacks main_inner;
static bool supported;
static _Atomic bool sees;           /* somebody waits for frames */

static int range_of(struct dl_phdr_info *info, size_t size, void *arg) {
	const uintptr_t *anchors = arg;
	uintptr_t lo = UINTPTR_MAX, hi = 0;
	bool meant = false;
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + h->p_vaddr, to = from + h->p_memsz;
		if (h->p_type != PT_LOAD)
			continue;
		for (uint32_t a = 0; a < RANGES_MAX; a++)
			meant |= anchors[a] >= from && anchors[a] < to;
		if (!(h->p_flags & PF_X))
			continue;
		lo = from < lo ? from : lo;
		hi = to > hi ? to : hi;
	}
	if (meant && ranges < RANGES_MAX) {
		untouchable[ranges].lo = lo;
		untouchable[ranges++].hi = hi;
	}
	return 0;
}

/* CPU timers that never disturb a system call. */
static bool kernel_fits(void) {
	struct utsname u;
	uint32_t version[2] = {0, 0}, i = 0;
	if (SYS1(SYS_uname, &u) < 0)
		return false;
	for (const char *c = u.release; *c && i < 2; c++) {
		if (*c >= '0' && *c <= '9')
			version[i] = version[i] * 10 + (uint32_t)(*c - '0');
		else
			i++;
	}
	return version[0] > 5 || (version[0] == 5 && version[1] >= 11);
}

static uintptr_t main_stack_low(void) {
	struct rlimit rl;
	/* The kernel puts this string at the very end of the stack; what a raised limit adds is not counted on. */
	uintptr_t end = (getauxval(AT_EXECFN) + 4095) & ~4095ul, low = end - (128ul << 10);
	if (SYS4(SYS_prlimit64, 0, RLIMIT_STACK, 0, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY)
		low = end - rl.rlim_cur;
	else if (rl.rlim_cur == RLIM_INFINITY)
		low = end - (8ul << 20);
	return low;
}

void preempt_main_stack(uintptr_t *lo, uintptr_t *hi) {
	*lo = main_low;
	*hi = (getauxval(AT_EXECFN) + 4095) & ~4095ul;
}

void preempt_inner_stack(struct g *g, const void *at, size_t size) {
	bool is_main = !g || g->kind != G_GOROUTINE;
	struct inner_stacks *inner = is_main ? &main_inner : &g->inner;
	uintptr_t lo, hi, from = (uintptr_t)at, to = from + size;
	if (!main_low) /* before the runtime starts */
		main_low = main_stack_low();
	if (is_main) {
		if (from < main_low) /* most often */
			return;
		preempt_main_stack(&lo, &hi);
	} else {
		lo = (uintptr_t)g->stack.lo;
		hi = (uintptr_t)g->stack.hi;
	}
	if (from < lo || from >= hi)
		return;
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	if (here >= inner->hi && here < hi) /* of those that it knows of the frames have gone */
		*inner = (struct inner_stacks){0};
	inner->lo = inner->hi && inner->lo < from ? inner->lo : from;
	inner->hi = inner->hi > to ? inner->hi : to;
}

void preempt_init(void) {
	const uintptr_t anchors[RANGES_MAX] = {(uintptr_t)preempt_init, (uintptr_t)gnu_get_libc_version, getauxval(AT_BASE),
	                                       getauxval(AT_SYSINFO_EHDR)};
	ranges = 0;
	dl_iterate_phdr(range_of, (void *)anchors);
	main_low = main_stack_low();
	supported = kernel_fits() && arch_preempt_init();
	atomic_store_explicit(&sees, false, memory_order_relaxed); /* in a fork's child nobody waits */
}

/* ---- sysmon's side ------------------------------------------------------------------------------------------------- */

int64_t preempt_cpu_time(struct m *m) {
	struct timespec ts;
	if (SYS2(SYS_clock_gettime, cpuclock_of_ktid(m->ktid), &ts) < 0)
		return -1;
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static long timer_fire_soon(int32_t timer) {
	struct itimerspec soon = {.it_value = {0, 1}};
	return SYS4(SYS_timer_settime, timer, 0, &soon, 0);
}

/* By sysmon. A timer that is set already stays: expired at a tick it goes off on its thread's way back to the program, which on a busy machine may have to wait for a
 * CPU for much longer than until the next question. Set again meanwhile it would begin anew, and so never go off. */
static bool timer_fires(struct m *m) {
	struct itimerspec left;
	if (SYS2(SYS_timer_gettime, m->timer_id, &left) == 0 && (left.it_value.tv_sec || left.it_value.tv_nsec))
		return true;
	if (timer_fire_soon(m->timer_id) == 0)
		return true;
	/* The kernel thread that it was made for has ended, and m's new one has got the number: the next question makes another. */
	SYS1(SYS_timer_delete, m->timer_id);
	m->timer_ktid = 0;
	return false;
}

/* m's timer; a struct m that has a new kernel thread gets a new one. */
static bool timer_have(struct m *m) {
	if (m->timer_ktid == m->ktid)
		return true;
	if (m->timer_ktid)
		SYS1(SYS_timer_delete, m->timer_id);
	m->timer_ktid = 0;
	struct sigevent event;
	memset(&event, 0, sizeof event);
	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = PREEMPT_SIGNAL;
	event._sigev_un._tid = m->ktid;
	if (MAY_FAIL_UNSEEN(-EAGAIN, SYS3(SYS_timer_create, cpuclock_user_of_ktid(m->ktid), &event, &m->timer_id)) < 0)
		return false; /* RLIMIT_SIGPENDING, or the thread is ending */
	m->timer_ktid = m->ktid;
	return true;
}

unsigned preempt_timers(void) {
	unsigned n = 0;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next)
		n += __atomic_load_n(&m->timer_ktid, __ATOMIC_RELAXED) != 0;
	return n;
}

bool preempt_is_on(void) {
	return supported && sched_config.preempt;
}

bool preempt_ask(struct m *m, struct g *g, uint32_t tick, enum preempt_how how) {
	if (!preempt_is_on() || !__atomic_load_n(&m->sigstack, __ATOMIC_RELAXED) ||
	    (__atomic_load_n(&g->wired_m, __ATOMIC_RELAXED) && !atomic_load_explicit(&g->wish, memory_order_relaxed)) || !timer_have(m))
		return false;
	/* relaxed, also in the handler: asked for the second time the first question may still be looked at, and mixed with this one it costs a try or a
	 * preemption that was not due */
	atomic_store_explicit(&m->preempt_tick, tick, memory_order_relaxed);
	atomic_store_explicit(&m->preempt_tries, TRIES, memory_order_relaxed);
	atomic_store_explicit(&m->preempt_how, how, memory_order_relaxed);
	/* release: the handler, which finds g there, sees these three */
	atomic_store_explicit(&m->preempt_g, g, memory_order_release);
	return timer_fires(m);
}

/* ---- for reports ---- */

bool preempt_see(struct m *m, struct g *g) {
	/* Who has a kernel thread to itself may have a filter of system calls, and to follow a stack takes some. */
	if (!preempt_is_on() || !__atomic_load_n(&m->sigstack, __ATOMIC_RELAXED) || __atomic_load_n(&g->wired_m, __ATOMIC_RELAXED))
		return false;
	/* relaxed: a handler that was late for the last report has it until it is done */
	if (atomic_load_explicit(&m->seen.state, memory_order_relaxed) != SEE_NOTHING)
		return false;
	m->seen.g = g;
	atomic_store_explicit(&sees, true, memory_order_relaxed); /* sysmon_poke() comes after it */
	/* release: the handler, which finds this, sees g */
	atomic_store_explicit(&m->seen.state, SEE_WANTED, memory_order_release);
	return true;
}

struct seen *preempt_seen(struct g *g) {
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		/* acquire: pairs with see_here() */
		if (atomic_load_explicit(&m->seen.state, memory_order_acquire) == SEE_DONE && m->seen.g == g)
			return &m->seen;
	}
	return NULL;
}

bool preempt_see_waits(void) {
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		uint32_t state = atomic_load_explicit(&m->seen.state, memory_order_relaxed);
		if (state == SEE_WANTED || state == SEE_NOW)
			return true;
	}
	return false;
}

void preempt_see_end(void) {
	atomic_store_explicit(&sees, false, memory_order_relaxed);
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		/* What a handler writes just now it goes on to write, and the next report passes that M by. */
		uint32_t wanted = SEE_WANTED, done = SEE_DONE;
		if (!atomic_compare_exchange_strong_explicit(&m->seen.state, &wanted, SEE_NOTHING, memory_order_relaxed, memory_order_relaxed))
			atomic_compare_exchange_strong_explicit(&m->seen.state, &done, SEE_NOTHING, memory_order_relaxed, memory_order_relaxed);
	}
}

void preempt_see_ask(void) {
	if (!atomic_load_explicit(&sees, memory_order_relaxed))
		return;
	for (struct m *m = __atomic_load_n(&sched.all_m, __ATOMIC_ACQUIRE); m; m = m->all_next) {
		if (atomic_load_explicit(&m->seen.state, memory_order_relaxed) == SEE_WANTED && atomic_load_explicit(&m->ktid, memory_order_relaxed) && timer_have(m))
			timer_fires(m);
	}
}

/* In the handler. Its stack has room: to follow a frame takes less than a handler's own frames do. */
static void see_here(struct g *g, const void *context) {
	uint32_t wanted = SEE_WANTED;
	if (g->kind > G_MAIN || g->in_vfork || g->in_rt != 0 || atomic_load_explicit(&g->in_syscall, memory_order_relaxed))
		return;
	struct seen *seen = &g->m->seen;
	/* acquire: pairs with preempt_see() */
	if (atomic_load_explicit(&seen->state, memory_order_relaxed) != SEE_WANTED ||
	    !atomic_compare_exchange_strong_explicit(&seen->state, &wanted, SEE_NOW, memory_order_acquire, memory_order_relaxed))
		return;
	struct unwind_frame f = {.interrupted = true};
	arch_signal_regs(context, f.reg, &f.known);
	seen->sp = f.reg[ARCH_DWARF_SP];
	seen->count = 0;
	seen->exact = 0;
	do {
		seen->exact |= (uint64_t)f.interrupted << seen->count;
		seen->pc[seen->count++] = unwind_pc(&f);
	} while (seen->count < SEEN_FRAMES && unwind_step(&f, NULL));
	/* release: pairs with preempt_seen(). Another one that runs here meanwhile was not meant. */
	atomic_store_explicit(&seen->state, seen->g == g ? SEE_DONE : SEE_NOTHING, memory_order_release);
}

/* ---- the M's side ---------------------------------------------------------------------------------------------------- */

bool preempt_leaves_alone(uintptr_t pc) {
	for (uint32_t i = 0; i < ranges; i++) {
		if (pc >= untouchable[i].lo && pc < untouchable[i].hi)
			return true;
	}
	return false;
}

/* Is sp on g's own stack, with room for the injected frame? Below what is on an inner one are frames of the outer. */
static bool room_left(const struct g *g, uintptr_t sp) {
	uintptr_t need = arch_preempt_bytes() + C_ROOM;
	const struct inner_stacks *inner = g->kind == G_MAIN ? &main_inner : &g->inner;
	if (sp > inner->lo && sp <= inner->hi)
		return false;
	if (g->kind == G_MAIN)
		return sp > main_low + need && sp < getauxval(AT_EXECFN);
	return sp <= (uintptr_t)g->stack.hi && sp > (uintptr_t)g->stack.lo && sp - (uintptr_t)g->stack.lo > need;
}

/* The same run of the same goroutine that sysmon meant? */
static bool still_meant(struct m *m, struct g *g) {
	/* acquire: pairs with preempt_ask() */
	if (atomic_load_explicit(&m->preempt_g, memory_order_acquire) != g)
		return false;
	if (!m->p || atomic_load_explicit(&m->retake, memory_order_relaxed) >= RETAKE_TAKEN)
		return true; /* it lost its P meanwhile and runs on */
	/* the tick's lower half, as sysmon noted it */
	return (uint32_t)atomic_load_explicit(&m->p->schedtick, memory_order_relaxed) == atomic_load_explicit(&m->preempt_tick, memory_order_relaxed);
}

/* What others want of it needs no switch, if it may stay here: so it is done wherever the goroutine computes, in libc as well. No handler of the program's runs on
 * this stack: not rt_exit(). */
static void wish_here(struct g *g) {
	if (g->in_rt != 0 || atomic_load_explicit(&g->in_syscall, memory_order_relaxed))
		return;
	in_rt_up(g);
	if (wish_comes_true_here(g))
		wish_check(g);
	in_rt_drop(g);
}

/* Found where it was the last time, and with the same in its registers but one, it goes round in a loop that computes nothing but, maybe, how often it has: it waits for
 * another thread to write. Between such loops it may do what it waited for, so it is taken for one that spins until it was found elsewhere several times, or
 * sysmon finds it asleep. True: there was a last time, on this M. */
static bool spin_look(struct m *m, struct g *g, const void *context) {
	uint64_t reg[ARCH_DWARF_REGS], known, vectors = arch_signal_vectors(context);
	uint32_t changed = 0;
	arch_signal_regs(context, reg, &known);
	for (uint32_t r = 0; r < ARCH_DWARF_REGS; r++) {
		if (r != ARCH_DWARF_PC && reg[r] != m->looked_reg[r])
			changed += r == ARCH_DWARF_SP ? SPIN_REGS + 1 : 1;
	}
	bool near = reg[ARCH_DWARF_PC] - m->looked_reg[ARCH_DWARF_PC] + SPIN_BYTES <= 2 * SPIN_BYTES;
	bool again = m->looked_g == g, there = near && changed <= SPIN_REGS;
	uint8_t was = atomic_load_explicit(&g->spins, memory_order_relaxed);
	if (again && !there)
		atomic_store_explicit(&g->spins, was - (was > 0), memory_order_relaxed);
	else if (again && vectors == m->looked_vectors) /* else it has done something in between */
		atomic_store_explicit(&g->spins, was ? SPIN_LOOKS : SPIN_LOOKS_FIRST, memory_order_relaxed);
	m->looked_g = g;
	m->looked_vectors = vectors;
	memcpy(m->looked_reg, reg, sizeof reg);
	return again;
}

/* Only looked at, or spinning, or to be looked at once more before it has to give way: it goes on. */
static bool may_go_on(struct m *m, struct g *g, const void *context) {
	enum preempt_how how = atomic_load_explicit(&m->preempt_how, memory_order_relaxed);
	if (how == PREEMPT_GIVE_WAY || g->in_rt != 0)
		return false;
	if (!spin_look(m, g, context) && how == PREEMPT_UNLESS_SPINS) {
		timer_fire_soon(m->timer_id);
		return true;
	}
	if (how == PREEMPT_UNLESS_SPINS && !g_spins(g))
		return false;
	atomic_store_explicit(&m->preempt_g, NULL, memory_order_relaxed);
	return true;
}

static void give_way(struct g *g, void *context) {
	if (g->kind > G_MAIN || g->in_vfork)
		return;
	if (__builtin_expect(atomic_load_explicit(&g->wish, memory_order_relaxed), 0))
		wish_here(g);
	if (g->wired_m)
		return;
	struct m *m = g->m;
	if (!still_meant(m, g) || may_go_on(m, g, context))
		return;
	uintptr_t sp = arch_context_sp(context);
	if (g->in_rt == 0 && !atomic_load_explicit(&g->in_syscall, memory_order_relaxed) &&
	    !preempt_leaves_alone(arch_context_pc(context)) && room_left(g, sp) && arch_preempt_inject(context)) {
		atomic_store_explicit(&m->preempt_g, NULL, memory_order_relaxed);
		return;
	}
	uint32_t tries = atomic_load_explicit(&m->preempt_tries, memory_order_relaxed);
	if (tries) {
		atomic_store_explicit(&m->preempt_tries, tries - 1, memory_order_relaxed);
		timer_fire_soon(m->timer_id);
	}
}

void preempt_signal(void *context) {
	struct g *g = tls_g;
	if (!g)
		return;
	RACE_SAME_THREAD();
	see_here(g, context);
	give_way(g, context);
	RACE_SAME_THREAD();
}

void preempt_here(void) {
	g_preempt(tls_g);
}
