/* GOSHIM=panic=isolate: a thread that crashes ends alone, and the process goes on.
 *
 * Off (the default) nothing of this runs, and a crash is the kernel's affair. On, the kernel has sig_entry() also for the five signals of a
 * crash for which the program has no handler, and that asks isolate_crash(). What may be isolated is judged on the M's own alternate stack, as the
 * crashed stack may be full to its end:
 *
 *   - it must be a goroutine, not main, not a kernel thread of libc's; in code of the program, not in the runtime (in_rt), which may hold
 *     locks of ours, nor between the brackets of a system call; and not the last thread;
 *   - SIGSEGV, SIGBUS, SIGFPE, SIGILL: by a fault of its own (the kernel's si_code), not sent by somebody. SIGABRT: by abort(), which assert() and std::terminate() end in;
 *   - its stack, read from the inside out, must show nobody who holds what others need: the allocator, the loader, libc's inner locks
 *     (stack_refuses). libc is entered in too many ways to list those that lock, so those that do not are listed; a leaf that the program
 *     called itself (memcpy, strlen) is harmless anyhow. Callbacks from libc are judged by whoever called them (qsort is harmless, exit is not);
 *   - not more than `panic_limit` a minute.
 *
 * Otherwise the default action is taken: the signal, the exit status and the core are those of a program without us.
 *
 * The end. The frame is changed so that the goroutine "calls" end_alone() at the top of its stack, over what was there. No code of the program runs in
 * it any more: no destructor, no cleanup handler, no destructor of thread-specific data. All of them would work on what the crash has left half
 * done; and a guard object's destructor would unlock just the mutex whose data is in pieces. So mutexes stay locked (or are unlocked,
 * if the user says so: release), robust ones get their owner-died mark, sockets that nobody else ever used are closed so that peers do not wait for ever,
 * memory is lost. Who joins gets PTHREAD_CANCELED, wait groups and tasks of go_spawn() are told.
 *
 * "Used" (pd->user): read, written, connected, accepted from or waited for. Who made a socket and hands its number to a thread has not used it.
 * What was opened before the first thread, or came from another process, counts as used by many.
 *
 * Locks: none. What is shared is the count of the minute and the table of the lost, both lock-free, since a crash can come anywhere. */
#include "isolate.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/auxv.h>

#include "../core/dump.h"
#include "../core/text.h"
#include "io.h"
#include "process.h"
#include "siginternal.h"
#include "thread.h"

#define WINDOW_S 60
#define WALK_MAX 256
#define LOST_MAX 256u
#define RELEASE_MAX 1024 /* levels of a recursive mutex */

static bool wanted, active, release;
static uint32_t limit;

/* ---- which code is which ---------------------------------------------------------------------------------------------------- */

/* Functions of libc that hold nothing while the program's code, or a fault, is under them. */
static const char *const harmless_names[] = {
	"abort",
	"raise",
	"gsignal",
	"pthread_kill",
	"__assert_fail",
	"__assert_perror_fail",
	"__assert",
	"__stack_chk_fail",
	"__chk_fail",
	"__memcpy_chk",
	"__memmove_chk",
	"__mempcpy_chk",
	"__memset_chk",
	"__strcpy_chk",
	"__stpcpy_chk",
	"__strcat_chk",
	"__strncpy_chk",
	"__strncat_chk",
	"__sprintf_chk",
	"__snprintf_chk",
	"__vsprintf_chk",
	"__vsnprintf_chk",
	"__longjmp_chk",
	"__fdelt_chk",
	"qsort",
	"qsort_r",
	"bsearch",
	"lfind",
	"lsearch",
	"tfind",
	"twalk",
	"twalk_r",
	"strdup",
	"__strdup",
	"strndup",
	"__strndup",
	"strtok",
	"strtok_r",
	"__strtok_r",
	"strsep",
	"atoi",
	"atol",
	"atoll",
	"atof",
	"strtol",
	"strtoll",
	"strtoul",
	"strtoull",
	"strtod",
	"strtof",
	"__isoc23_strtol",
	"__isoc23_strtoul",
	"sprintf",
	"snprintf",
	"vsprintf",
	"vsnprintf",
	"sscanf",
	"__isoc99_sscanf",
	"__isoc23_sscanf",
	"strcasestr",
	"strstr",
	"memmem",
	"getopt",
	"getopt_long",
	"inet_ntop",
	"inet_pton",
	"__call_tls_dtors",
};
static const char *const allocator_names[] = {
	"malloc",        "free",           "calloc",   "realloc",   "reallocarray", "memalign",
	"aligned_alloc", "posix_memalign", "valloc",   "pvalloc",   "malloc_trim",  "malloc_usable_size",
	"malloc_info",   "malloc_stats",   "mallinfo", "mallinfo2", "mallopt",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uintptr_t harmless[COUNT(harmless_names)], allocator[COUNT(allocator_names)],
	libc_allocator[COUNT(allocator_names)];
static uintptr_t abort_at;
static uintptr_t libc_object, loader_object, allocator_object;

static uintptr_t object_start(uintptr_t pc) {
	struct unwind_object o;
	return unwind_object_hook && unwind_object_hook(pc, &o) ? o.start : 0;
}

static bool is_one_of(uintptr_t function, const uintptr_t *list, size_t n) {
	for (size_t i = 0; function && i < n; i++) {
		if (list[i] == function)
			return true;
	}
	return false;
}

/* A replaced malloc counts with its whole library, unless that is the program itself. */
static void allocator_find(uintptr_t program) {
	for (size_t i = 0; i < COUNT(allocator_names); i++) {
		allocator[i] = (uintptr_t)dlsym(RTLD_DEFAULT, allocator_names[i]);
		libc_allocator[i] = (uintptr_t)dlsym(RTLD_NEXT, allocator_names[i]);
	}
	uintptr_t object = object_start(allocator[0]);
	allocator_object = object != libc_object && object != program ? object : 0;
}

static void code_find(void) {
	abort_at = (uintptr_t)real.abort;
	libc_object = object_start(abort_at);
	loader_object = object_start(getauxval(AT_BASE));
	for (size_t i = 0; i < COUNT(harmless_names); i++)
		harmless[i] = (uintptr_t)dlsym(RTLD_NEXT, harmless_names[i]);
	allocator_find(object_start(getauxval(AT_ENTRY)));
	(void)dlerror(); /* a libc may lack some of them; the program must not find an error that is not its own */
}

/* ---- judgement ---------------------------------------------------------------------------------------------------------------- */

/* A call through a bad pointer: back to who made it. */
static void wild_call_undo(struct unwind_frame *f) {
#if ARCH_CALL_PUSHES
	uint64_t to;
	if (!peek(&to, f->reg[ARCH_DWARF_SP], sizeof to))
		return;
	f->reg[ARCH_DWARF_SP] += sizeof to;
#else
	uint64_t to = f->reg[30];
#endif
	f->reg[ARCH_DWARF_PC] = to;
	f->interrupted = false;
}

/* Frames of libc, one calling the other. The outermost is where it was entered. */
struct libc_run {
	unsigned frames;
	bool leaf; /* its innermost is what faulted */
	uintptr_t entry;
};

static bool run_is_bad(const struct libc_run *r) {
	return r->frames && !(r->frames == 1 && r->leaf) && !is_one_of(r->entry, harmless, COUNT(harmless));
}

/* Why the goroutine cannot be ended where it is; NULL: it can. *aborts: abort() is under way. */
static const char *stack_refuses(struct unwind_frame f, struct unwind_cache *cache, bool *aborts) {
	struct libc_run run = {0};
	*aborts = false;
	for (unsigned n = 0; n < WALK_MAX; n++) {
		uintptr_t object = object_start(unwind_pc(&f) - !f.interrupted), function = unwind_function(&f);
		struct unwind_frame up = f;
		bool more = unwind_step(&up, cache);
		if (object && object == loader_object)
			return "inside the dynamic loader";
		if ((object && object == allocator_object) || is_one_of(function, allocator, COUNT(allocator)) ||
		    is_one_of(function, libc_allocator, COUNT(libc_allocator)))
			return "inside malloc";
		*aborts |= function && function == abort_at;
		bool trampoline = more && up.interrupted; /* from which a handler returns: libc's, and nobody's call */
		if (object && object == libc_object && !trampoline) {
			run.leaf = n == 0;
			run.frames++;
			run.entry = function;
		} else if (run_is_bad(&run)) {
			break;
		} else {
			run = (struct libc_run){0};
		}
		if (!more)
			break;
		f = up;
	}
	return run_is_bad(&run) ? "inside libc" : NULL;
}

/* One more in this minute? The minute begins with the first. High half: when (seconds, CLOCK_MONOTONIC); low half: how many. */
static bool limit_take(uint32_t *nth) {
	static _Atomic uint64_t window;
	uint64_t now = (uint64_t)(nanotime() / 1000000000), was = atomic_load_explicit(&window, memory_order_relaxed),
		 next;
	do {
		bool fresh = !was || now - (was >> 32) >= WINDOW_S;
		next = fresh ? now << 32 | 1 : was + 1;
		if ((uint32_t)next > limit)
			return false;
		/* relaxed: the number is all there is */
	} while (!atomic_compare_exchange_weak_explicit(&window, &was, next, memory_order_relaxed,
							memory_order_relaxed));
	*nth = (uint32_t)next;
	return true;
}

/* ---- the report ------------------------------------------------------------------------------------------------------------------ */

static const char *signal_name(int sig) {
	switch (sig) {
	case SIGSEGV:
		return "SIGSEGV";
	case SIGBUS:
		return "SIGBUS";
	case SIGFPE:
		return "SIGFPE";
	case SIGILL:
		return "SIGILL";
	default:
		return "SIGABRT";
	}
}

static void text_begin(struct text *t) {
	t->fd = 2;
	t->is_socket = t->failed = false;
	t->length = 0;
}

/* Everything is blocked here: what the write raised where nobody reads stderr any more would strike this kernel thread later, and end the process. */
static void text_end(struct text *t) {
	uint64_t pipe = SIGBIT(SIGPIPE);
	struct timespec now = {0};
	text_flush(t);
	if (t->failed)
		SYS4(SYS_rt_sigtimedwait, &pipe, NULL, &now, 8);
}

static void report_head(struct text *t, struct g *g, int sig, const siginfo_t *info, uint64_t pc) {
	text_begin(t);
	text_str(t, "goshim: ");
	dump_who(t, g);
	text_str(t, " [thread ");
	text_dec(t, g->tid);
	text_str(t, "]: ");
	text_str(t, signal_name(sig));
	if (sig != SIGABRT) {
		text_str(t, " at address ");
		text_hex(t, (uint64_t)(uintptr_t)info->si_addr);
	}
	text_str(t, ", pc ");
	text_hex(t, pc);
}

static void report_end(struct text *t, struct unwind_frame *f, struct unwind_cache *cache) {
	text_str(t, "\n");
	dump_frames(t, f, cache);
	text_end(t);
}

/* ---- those that have ended ----------------------------------------------------------------------------------------------------------- */

/* What deadlock reports say of a mutex whose owner was isolated. The newest LOST_MAX; read without a lock, by dump_lost_hook. */
struct lost {
	_Atomic int32_t tid; /* 0: none, or being written */
	char remark[96];
};
static struct lost lost[LOST_MAX];
static _Atomic uint32_t lost_count;

static const char *lost_remark(int32_t tid) {
	for (uint32_t i = 0; i < LOST_MAX; i++) {
		/* acquire: pairs with the release in lost_add() */
		if (atomic_load_explicit(&lost[i].tid, memory_order_acquire) == tid)
			return lost[i].remark;
	}
	return NULL;
}

/* `t` is for the making of the remark only. */
static void lost_add(struct g *g, int sig, struct text *t) {
	struct lost *l = &lost[atomic_fetch_add_explicit(&lost_count, 1, memory_order_relaxed) % LOST_MAX];
	text_begin(t);
	text_str(t, "which ");
	text_str(t, signal_name(sig));
	text_str(t, " ended (");
	dump_who(t, g);
	text_str(t, ")");
	text_bytes(t, "", 1);
	atomic_store_explicit(&l->tid, 0, memory_order_relaxed);
	memcpy(l->remark, t->buf, t->length < sizeof l->remark ? t->length : sizeof l->remark);
	l->remark[sizeof l->remark - 1] = '\0';
	atomic_store_explicit(&l->tid, g->tid, memory_order_release);
	text_begin(t);
}

/* ---- the end -------------------------------------------------------------------------------------------------------------------------- */

static void line_begin(struct text *t, struct g *g, const char *what) {
	text_str(t, "goshim: ");
	dump_who(t, g);
	text_str(t, what);
}

static void mutexes_settle(struct g *g, struct text *t) {
	pthread_mutex_t *m;
	bool any = false;
	while ((m = held_next(g))) {
		if (!any)
			line_begin(t, g,
				   release ? ": mutexes it held, now unlocked:"
					   : ": mutexes it held, which stay locked:");
		any = true;
		text_str(t, " ");
		text_hex(t, (uint64_t)(uintptr_t)m);
		for (int i = 0;
		     release && i < RELEASE_MAX && __atomic_load_n(&m->__data.__owner, __ATOMIC_RELAXED) == g->tid; i++)
			pthread_mutex_unlock(m);
	}
	if (any)
		text_str(t, "\n");
}

static void sockets_close(struct g *g, struct text *t) {
	bool any = false;
	for (int fd = -1; (fd = fd_next_used_by(g->id, fd)) >= 0;) {
		if (!any)
			line_begin(t, g, ": sockets only it used, now closed:");
		any = true;
		text_str(t, " ");
		text_dec(t, fd);
		fd_closing(fd);
		SYS1(SYS_close, fd);
	}
	if (any)
		text_str(t, "\n");
}

/* On the goroutine, at the top of its stack, with every signal blocked. */
static void end_alone(void *arg) {
	struct g *g = arg;
	struct text t;
	lost_add(g, thread_of(g)->isolated, &t);
	mutexes_settle(g, &t);
	sockets_close(g, &t);
	text_end(&t);
	thread_abandon(g);
}

/* Nothing of the program is to run on it from here on: as in a handler, the mask is not accounted; sig_thread_exit() settles that. */
static void silence(struct g *g, ucontext_t *context) {
	uint64_t all = ~SIG_NEVER_BLOCKED;
	mask_store(g, all);
	kmask_set(g->m, all);
	sigset_store(&context->uc_sigmask, all);
}

bool isolate_crash(struct g *g, int sig, siginfo_t *info, void *context) {
	bool fault = info->si_code > 0 && sig != SIGABRT, aborts;
	bool own = info->si_code == SI_TKILL && info->si_pid == self_pid() && sig == SIGABRT;
	if (!g || g->kind != G_GOROUTINE || process_in_vfork() || !sched_started() || !(fault || own))
		return false;
	struct thread *t = thread_of(g);
	struct unwind_frame f = {.interrupted = true};
	struct unwind_cache *cache = unwind_cache_get();
	struct text text;
	uint32_t nth = 0;
	arch_signal_regs(context, f.reg, &f.known);
	uint64_t pc = unwind_pc(&f);
	if (!object_start(pc))
		wild_call_undo(&f);
	const char *why = stack_refuses(f, cache, &aborts);
	if (own && !aborts) { /* pthread_kill() */
		unwind_cache_put(cache);
		return false;
	}
	if (g->in_rt || atomic_load_explicit(&g->in_syscall, memory_order_relaxed))
		why = "inside the runtime";
	else if (t->isolated)
		why = "it was ending already";
	else if (g_count() < 2)
		why = "it is the last thread";
	else if (!why && !limit_take(&nth))
		why = "too many in a minute (panic_limit)";
	report_head(&text, g, sig, info, pc);
	if (why) {
		text_str(&text, "; not isolated: ");
		text_str(&text, why);
	} else {
		text_str(&text, "; it ends alone, ");
		text_dec(&text, nth);
		text_str(&text, " of ");
		text_dec(&text, limit);
		text_str(&text, " this minute");
	}
	report_end(&text, &f, cache);
	unwind_cache_put(cache);
	if (why)
		return false;
	t->isolated = (uint8_t)sig;
	silence(g, context);
	arch_context_redirect(context, g->stack_top, end_alone, g);
	return true;
}

/* ---- start --------------------------------------------------------------------------------------------------------------------------------- */

void isolate_configure(bool on, bool release_mutexes, uint32_t per_minute) {
	wanted = on;
	release = release_mutexes;
	limit = per_minute;
}

bool isolate_catches(int sig) {
	return active && (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGABRT);
}

uint64_t isolate_open(const struct g *g) {
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	uint64_t open = 0;
	for (size_t i = 0; active && g->kind == G_GOROUTINE && i < COUNT(faults); i++)
		open |= handler_of(faults[i]) ? 0 : SIGBIT(faults[i]);
	return open;
}

void isolate_arm(int sig) {
	struct sigaction set = {.sa_sigaction = arch_signal_entry, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
	sigset_store(&set.sa_mask, ~0ull);
	sig_kernel_action(sig, &set, NULL);
}

void isolate_start(void) {
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	if (!wanted || !unwind_object_hook)
		return;
	if (!active)
		code_find();
	active = true;
	dump_lost_hook = lost_remark;
	fd_users_noted = true;
	mutex_note_all();
	for (size_t i = 0; i < COUNT(signals); i++) {
		struct sigaction old;
		if (sig_kernel_action(signals[i], NULL, &old) < 0 || old.sa_handler != SIG_DFL)
			continue;
		sig_default_note(signals[i], old.sa_flags, sigset_bits(&old.sa_mask));
		isolate_arm(signals[i]);
	}
}
