/* Chaos: makes what is rare happen often.
 *
 * A scheduler's bugs hide in interleavings that a quiet machine shows once a week. GOSHIM=chaos=SEED makes the sites named in chaos.h
 * take their unlikely branch in p percent of all cases (a weight per site: a delay costs more than a yield). GOSHIM=fail=N makes the N-th
 * call that may fail do so, once; a driver counts N up until nothing was refused any more (scripts/fail).
 *
 * A program must not be able to tell chaos from a busy machine. So:
 *   - a wait is interrupted (CHAOS_INTR), but no handler ran: the shim finds that and waits on, the program sees no EINTR. POSIX allows that error
 *     after a handler that ran only, so a program without handlers need not expect it. Where one did run, one that ends such a call, after the program made the
 *     call and before it waits, the wait may end at once, with EINTR or what has been moved (io_ends_by_chaos()): natively the signal may have come then. The runtime's
 *     own calls into the kernel do fail with EINTR;
 *   - a read of a TCP socket that blocks comes back short, as the network may cut it, but never shorter than the smallest segment. Pipes and Unix sockets give natively
 *     what is there, so chaos does not shorten their reads. On a descriptor with O_NONBLOCK a short count says that nothing more is there, or that the buffer is full,
 *     and who waits for edges believes it (epoll(7)): none is forced there. Writes that block go out in parts, but the loop that writes the rest is ours, and nothing
 *     that the kernel moves as a whole (PIPE_BUF, messages) is cut;
 *   - a kernel thread that was given a P wakes late (CHAOS_WAKE, m.c), as on a machine whose CPUs are busy; what sysmon would find too wakes none;
 *   - what is refused (CHAOS_REFUSE) is what the runtime can do without: a kernel thread, a registration with epoll, a guard marker, a cache. Where
 *     the program would see an error it is left alone; fail=N is for those, and GOSHIM=chaos_errors=1 for memory and threads, in programs that take EAGAIN from
 *     pthread_create() as NPTL's may say it.
 *
 * What a seed reproduces. Each decision is a hash of the seed, the site, the goroutine (its number in order of creation; an M's or P-less
 * thread's own number) and how many decisions that goroutine has made. No state is shared, so what a goroutine is told depends on
 * what it did itself and not on how the others ran: at GOMAXPROCS=1 a program whose behaviour does not depend on time meets the same decisions
 * in the same places each time. What it does not reproduce: the kernel's own scheduling of Ms, arrival of events and timers, and so, with several
 * Ps, the order of what different goroutines do. A failing seed therefore fails often, not always. Rejected: one generator for
 * all (any difference in timing shifts all later decisions), and one per M (the same goroutine meets other decisions whenever it migrates).
 */
#include "chaos.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "runtime.h"

#define FULL_WEIGHT 16u

/* Sixteenths of p. Never 16 where a loop tries again until it is spared. */
static const uint8_t weight[CHAOS_SITES] = {
	[CHAOS_YIELD] = 16, [CHAOS_MIGRATE] = 16, [CHAOS_STEAL] = 16, [CHAOS_HANDOFF] = 8,
	[CHAOS_DELAY] = 4,  [CHAOS_WAKE] = 8,     [CHAOS_PART] = 16, [CHAOS_INTR] = 8,
	[CHAOS_REFUSE] = 8,  [CHAOS_PROCS] = 4,
};

uint8_t chaos_modes;

static uint64_t chaos_seed, fail_nth;
static uint32_t threshold[CHAOS_SITES]; /* of 2^32 */
static _Atomic uint64_t fail_count;
static _Atomic uint32_t nameless; /* decisions of threads without a G */

void chaos_configure(uint64_t seed, uint32_t percent, uint64_t nth) {
	chaos_seed = seed;
	fail_nth = nth;
	atomic_store_explicit(&fail_count, 0, memory_order_relaxed);
	for (int i = 0; i < CHAOS_SITES; i++)
		threshold[i] = (uint32_t)((uint64_t)UINT32_MAX * percent * weight[i] / (100 * FULL_WEIGHT));
	chaos_modes = (seed ? CHAOS_RANDOM : 0) | (nth ? CHAOS_NTH : 0);
}

void chaos_show_errors(void) {
	if (chaos_modes & CHAOS_RANDOM)
		chaos_modes |= CHAOS_ERRORS;
}

/* Not before the runtime has started: it would stand aside, and there would be no chaos at all. */
bool chaos_error(void) {
	return (chaos_modes & CHAOS_ERRORS) && sched_started() && chaos_roll(CHAOS_REFUSE);
}

void chaos_spare(enum chaos_site site) {
	threshold[site] = 0;
}

/* splitmix64's finaliser */
static uint64_t mix(uint64_t x) {
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
	x = (x ^ x >> 27) * 0x94D049BB133111EBull;
	return x ^ x >> 31;
}

static uint64_t draw(enum chaos_site site) {
	struct g *g = tls_g;
	uint64_t who = 0, count;
	if (g) {
		/* Ms and threads of the program's have kernel ids that differ from run to run. */
		who = g->kind <= G_MAIN ? (uint64_t)(uint32_t)g->tid : g->kind == G_G0 && g->m ? 1 + g->m->id : 0;
		count = g->chaos_count++;
	} else {
		count = atomic_fetch_add_explicit(&nameless, 1, memory_order_relaxed);
	}
	return mix(mix(chaos_seed + who * 0x9E3779B97F4A7C15ull) + (count * CHAOS_SITES + site) * 0xD1B54A32D192ED03ull);
}

bool chaos_roll(enum chaos_site site) {
	return (chaos_modes & CHAOS_RANDOM) && (uint32_t)draw(site) < threshold[site];
}

void chaos_delay_slow(void) {
	if (!chaos_roll(CHAOS_DELAY))
		return;
	uint64_t r = draw(CHAOS_DELAY);
	if (r % 4) {
		SYS0(SYS_sched_yield);
	} else {
		struct timespec ts = {0, (long)(r / 4 % 100000)};
		SYS2(SYS_nanosleep, &ts, 0); /* EINTR: shorter is as good */
	}
}

size_t chaos_part_slow(size_t bytes) {
	if (bytes < 2 || !chaos_roll(CHAOS_PART))
		return bytes;
	uint64_t r = draw(CHAOS_PART);
	return 1 + (r >> 8) % (r & 1 ? bytes : bytes < 16 ? bytes : 16);
}

void chaos_yield_slow(void) {
	struct g *g = g_goroutine();
	if (!g || g->in_rt || g->in_vfork || atomic_load_explicit(&g->in_syscall, memory_order_relaxed) || !chaos_roll(CHAOS_YIELD))
		return;
	g_yield(g);
}

/* ---- fail=N -------------------------------------------------------------------------------------------------------- */

static char *append(char *at, const char *text) {
	size_t n = strlen(text);
	memcpy(at, text, n);
	return at + n;
}

static char *append_number(char *at, uint64_t n) {
	char digits[20];
	size_t i = 0;
	do
		digits[i++] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	while (i)
		*at++ = digits[--i];
	return at;
}

bool chaos_nth(const char *file, int line, const char *what) {
	if (!(chaos_modes & CHAOS_NTH) || atomic_fetch_add_explicit(&fail_count, 1, memory_order_relaxed) + 1 != fail_nth)
		return false;
	/* The driver looks for this line: without it N is beyond the end. Names are our own and short. */
	char text[256], *at = append(text, "goshim: fail=");
	at = append(append_number(at, fail_nth), ": ");
	at = append(append(append(at, what), " at "), file);
	*at++ = ':';
	at = append_number(at, (uint64_t)line);
	*at++ = '\n';
	SYS3(SYS_write, 2, text, at - text);
	return true;
}
