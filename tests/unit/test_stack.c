/* Stack slots: guards that fault where they should, both back ends, sizes never below what a kernel thread would have (SEC-5), reuse, refusals. */
#include "core_test.h"
#include "runtime.h"
#include "stack.h"

#include <sys/mount.h>

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)
#define PAGE ((size_t)4096)
#define NOT_ALLOWED 88 /* exit status of a child that may not do what its test needs */

static void init_with(bool mprotect, size_t size) {
	sched_config.stack_mprotect = mprotect;
	sched_config.stack_default = size;
	cr_assert(stack_init() == 0);
	if (mprotect)
		cr_assert(!stack_uses_markers());
}

static void markers(void) {
	init_with(false, 0);
}

static void mprotected(void) {
	init_with(true, 0);
}

static bool guard_markers_work(void) {
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool works = madvise(page, PAGE, 102 /* MADV_GUARD_INSTALL */) == 0;
	munmap(page, PAGE);
	return works;
}

/* ---- where a child dies ---- */

static char *touched;
static bool touch_by_write;

static void expect_segv(int sig, siginfo_t *info, void *context) {
	(void)context;
	_exit(sig == SIGSEGV && info->si_addr == touched && (info->si_code == SEGV_ACCERR || info->si_code == SEGV_MAPERR) ? 77 : 78);
}

static void touch(void) {
	struct sigaction sa = {.sa_sigaction = expect_segv, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	if (touch_by_write)
		*(volatile char *)touched = 1;
	else
		(void)*(volatile char *)touched;
}

static bool faults_at(char *at) {
	touched = at;
	for (int i = 0; i < 2; i++) {
		touch_by_write = i;
		int status = child_status(touch);
		cr_assert(status == 0 || status == 77 << 8, "fault elsewhere: 0x%x", status);
		if (status == 0)
			return false;
	}
	return true;
}

/* Every byte usable, the guard below as large as promised. */
static void check(struct stack *s, size_t size, size_t guard) {
	cr_assert(s->size == size && s->guard == guard);
	cr_assert((size_t)(s->hi - s->lo) >= size);
	cr_assert((uintptr_t)s->lo % PAGE == 0 && (uintptr_t)s->hi % PAGE == 0);
	*(volatile char *)s->lo = 1;
	*(volatile char *)(s->hi - 1) = 1;
	if (guard) {
		cr_expect(faults_at(s->lo - 1));
		cr_expect(faults_at(s->lo - guard), "guard is smaller than asked for");
	}
}

static void guard_faults(void) {
	struct stack s, t;
	for (size_t i = 0; i < 3; i++) {
		static const size_t sizes[] = {32 * KIB, 256 * KIB, 8 * MIB}, guards[] = {4096, 64 * KIB, 4096};
		cr_assert(stack_alloc(sizes[i], guards[i], &s) == 0);
		cr_assert(stack_alloc(sizes[i], guards[i], &t) == 0);
		check(&s, sizes[i], guards[i]);
		check(&t, sizes[i], guards[i]);
		stack_release(&s);
		cr_assert(stack_alloc(sizes[i], guards[i], &s) == 0);
		check(&s, sizes[i], guards[i]); /* a used slot kept its guard */
	}
}

Test(stack, markers_fault, .init = markers) {
	if (!guard_markers_work())
		cr_skip_test("this kernel has no guard markers");
	cr_expect(stack_uses_markers());
	guard_faults();
}

Test(stack, mprotect_faults, .init = mprotected) {
	guard_faults();
}

Test(stack, no_guard, .init = markers) {
	struct stack s;
	cr_assert(stack_alloc(64 * KIB, 0, &s) == 0);
	check(&s, 64 * KIB, 0);
	stack_release(&s);
}

Test(stack, guard_is_rounded_up, .init = markers) {
	struct stack s;
	cr_assert(stack_alloc(64 * KIB, 1, &s) == 0);
	cr_expect(s.guard == PAGE && faults_at(s.lo - PAGE));
}

/* ---- sizes ---- */

Test(stack, defaults) {
	struct rlimit rl;
	struct stack s;
	getrlimit(RLIMIT_STACK, &rl);
	init_with(false, 0);
	cr_assert(stack_alloc(0, PAGE, &s) == 0);
	cr_expect(s.size == (rl.rlim_cur == RLIM_INFINITY ? 2 * MIB : rl.rlim_cur), "NPTL's rule (RES-5)");
	rl.rlim_cur = 1 * MIB;
	setrlimit(RLIMIT_STACK, &rl);
	init_with(false, 0);
	cr_assert(stack_alloc(0, PAGE, &s) == 0);
	cr_expect(s.size == 1 * MIB);
	init_with(false, 100 * KIB);
	cr_assert(stack_alloc(0, PAGE, &s) == 0);
	cr_expect(s.size == 100 * KIB && (size_t)(s.hi - s.lo) >= 100 * KIB);
	init_with(false, 1);
	cr_assert(stack_alloc(0, PAGE, &s) == 0);
	cr_expect(s.size >= 16 * KIB);
}

Test(stack, impossible_sizes, .init = markers) {
	static const size_t bad[] = {SIZE_MAX, SIZE_MAX - PAGE, SIZE_MAX - 20 * KIB, SIZE_MAX / 2, (size_t)1 << 47};
	struct stack s;
	for (size_t i = 0; i < LENGTH(bad); i++) {
		cr_expect(stack_alloc(bad[i], PAGE, &s) == -EAGAIN, "size %zx", bad[i]);
		cr_expect(stack_alloc(64 * KIB, bad[i], &s) == -EAGAIN, "guard %zx", bad[i]);
	}
	cr_expect(stack_alloc(64 * KIB, PAGE, &s) == 0);
}

/* More different sizes than there are classes: the others get mappings of their own. */
Test(stack, many_sizes, .init = markers) {
	static struct stack s[100];
	for (size_t i = 0; i < LENGTH(s); i++) {
		cr_assert(stack_alloc((i + 4) * 8 * KIB, PAGE, &s[i]) == 0);
		cr_assert((size_t)(s[i].hi - s[i].lo) >= (i + 4) * 8 * KIB);
		memset(s[i].lo, 0xa5, (size_t)(s[i].hi - s[i].lo));
	}
	cr_expect(faults_at(s[99].lo - 1) && faults_at(s[0].lo - 1));
	for (size_t i = 0; i < LENGTH(s); i++)
		stack_release(&s[i]);
	cr_expect(faults_at(s[99].lo), "its mapping is gone");
	for (size_t i = 0; i < LENGTH(s); i++)
		cr_assert(stack_alloc((i + 4) * 8 * KIB, PAGE, &s[i]) == 0);
}

Test(stack, slots_do_not_overlap, .init = markers) {
	static struct stack s[400];
	for (size_t i = 0; i < LENGTH(s); i++) {
		cr_assert(stack_alloc(i % 2 ? 64 * KIB : 2 * MIB, PAGE, &s[i]) == 0);
		*(size_t *)(void *)s[i].lo = i;
		*(size_t *)(void *)(s[i].hi - 8) = i;
	}
	for (size_t i = 0; i < LENGTH(s); i++) {
		cr_assert(*(size_t *)(void *)s[i].lo == i && *(size_t *)(void *)(s[i].hi - 8) == i);
		for (size_t k = 0; k < i; k++)
			cr_assert(s[k].hi <= s[i].lo - PAGE || s[i].hi <= s[k].lo - PAGE);
	}
}

/* ---- memory ---- */

static size_t resident(struct stack *s) {
	size_t pages = (size_t)(s->hi - s->lo) / PAGE, n = 0;
	unsigned char in_core[4096];
	cr_assert(pages <= sizeof in_core && mincore(s->lo, pages * PAGE, in_core) == 0);
	for (size_t i = 0; i < pages; i++)
		n += in_core[i] & 1;
	return n;
}

Test(stack, pages_come_on_touch_and_go_on_release, .init = markers) {
	struct stack s, again;
	cr_assert(stack_alloc(8 * MIB, PAGE, &s) == 0);
	cr_expect(resident(&s) == 0);
	for (int i = 1; i <= 10; i++)
		s.hi[-i * (int)PAGE] = 1;
	cr_expect(resident(&s) == 10, "%zu: no huge pages, no read-ahead", resident(&s));
	stack_release(&s);
	cr_assert(stack_alloc(8 * MIB, PAGE, &again) == 0);
	cr_expect(again.lo == s.lo, "the slot used last is used first");
	cr_expect(resident(&again) == 0 && again.hi[-1] == 0, "a used slot is clean");
}

/* What is locked cannot be given back; the page that tcb_make() expects to be zero is, nevertheless. */
Test(stack, a_locked_slot_is_clean_on_top, .init = markers) {
	struct stack s, again;
	cr_assert(stack_alloc(64 * KIB, PAGE, &s) == 0);
	memset(s.hi - 2 * PAGE, 1, 2 * PAGE);
	cr_assert(syscall(SYS_mlock, s.hi - 2 * PAGE, 2 * PAGE) == 0); /* AddressSanitizer has a mlock() that does nothing */
	stack_release(&s);
	cr_assert(stack_alloc(64 * KIB, PAGE, &again) == 0);
	cr_expect(again.lo == s.lo && again.hi[-2 * (int)PAGE] == 1 && again.hi[-(int)PAGE] == 0 && again.hi[-1] == 0);
}

Test(stack, trim, .init = markers) {
	struct stack s;
	cr_assert(stack_alloc(1 * MIB, PAGE, &s) == 0);
	memset(s.lo, 1, (size_t)(s.hi - s.lo));
	size_t all = resident(&s);
	char *sp = s.hi - 10 * PAGE - 200;
	stack_trim(&s, sp);
	cr_expect(resident(&s) == 11, "%zu of %zu", resident(&s), all);
	for (char *p = sp - 128; p < s.hi; p++)
		cr_assert(*p == 1, "trimmed above the red zone");
	sp = s.hi - 10 * PAGE; /* the red zone reaches into the page below */
	memset(s.lo, 1, (size_t)(s.hi - s.lo));
	stack_trim(&s, sp);
	cr_expect(sp[-128] == 1 && resident(&s) == 11);
	stack_trim(&s, s.lo); /* nothing below */
	stack_trim(&s, s.lo + 64);
	cr_expect(resident(&s) == 11 && faults_at(s.lo - 1));
}

static size_t mappings(void) {
	size_t n = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	for (int c; (c = fgetc(f)) != EOF;)
		n += c == '\n';
	fclose(f);
	return n;
}

/* MEM-4 */
Test(stack, markers_cost_no_mappings, .init = markers) {
	if (!stack_uses_markers())
		cr_skip_test("this kernel has no guard markers");
	static struct stack s[2000];
	size_t before = mappings();
	for (size_t i = 0; i < LENGTH(s); i++)
		cr_assert(stack_alloc(64 * KIB, PAGE, &s[i]) == 0);
	cr_expect(mappings() - before < 100, "%zu mappings for 2000 stacks", mappings() - before);
}

static size_t address_space(void) {
	size_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	must(f && fscanf(f, "%zu", &pages) == 1);
	fclose(f);
	return pages * PAGE;
}

/* MEM-7: one page of a stack is one page of memory. */
static void no_huge_pages(void) {
	struct stack s;
	char line[300], low[40];
	bool found = false, refused = false;
	must(stack_init() == 0);
	must(stack_alloc(8 * MIB, PAGE, &s) == 0);
	FILE *f = fopen("/proc/self/smaps", "r");
	while (f && fgets(line, sizeof line, f) && !(found && refused)) {
		unsigned long lo, hi;
		if (sscanf(line, "%lx-%lx %39s", &lo, &hi, low) == 3)
			found = lo <= (uintptr_t)s.lo && (uintptr_t)s.hi <= hi;
		refused = found && strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " nh");
	}
	must(f && found && refused);
}

Test(stack, no_huge_pages) {
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0)
		cr_skip_test("this kernel has no transparent huge pages");
	for (int i = 0; i < 2; i++) {
		sched_config.stack_mprotect = i;
		expect_child_ok(no_huge_pages);
	}
}

/* ---- where slots are (SEC-6) ---- */

enum { SHUFFLED = 32, ROOM_SHUFFLED = 192 * 1024 };

/* How many of these, allocated in a row, lie next to the one before. */
static size_t adjacent(const struct stack *s, size_t count) {
	size_t n = 0;
	for (size_t i = 1; i < count; i++) {
		size_t apart = (size_t)(s[i].lo > s[i - 1].lo ? s[i].lo - s[i - 1].lo : s[i - 1].lo - s[i].lo);
		n += apart < 2 * ROOM_SHUFFLED;
	}
	return n;
}

static void slots_are_shuffled(void) {
	static struct stack s[2][SHUFFLED];
	/* What is left of the slab, in a child's own order: the same slots are there, and each is given once. */
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < SHUFFLED; i++)
			must(stack_alloc(ROOM_SHUFFLED, PAGE, &s[again][i]) == 0);
		must(adjacent(s[again], SHUFFLED) < SHUFFLED / 2);
		must(stack_init() == 0);
	}
	for (size_t i = 0; i < SHUFFLED; i++) {
		for (size_t k = 0; k < SHUFFLED; k++)
			must(s[0][i].lo != s[1][k].lo);
		*s[0][i].lo = *s[1][i].lo = 1;
	}
	/* The beginnings are spread over all sixteen lines, as good as surely. */
	unsigned lines = 0;
	for (size_t i = 0; i < 2 * SHUFFLED; i++)
		lines |= 1u << stack_colour(&s[i / SHUFFLED][i % SHUFFLED]) / 64;
	must(__builtin_popcount(lines) >= 12);
}

Test(stack, slots_are_shuffled) {
	for (int i = 0; i < 2; i++) {
		sched_config.stack_mprotect = i;
		expect_child_ok(slots_are_shuffled);
	}
}

/* Two processes that were one, each with a slab of its own at the same place: not in the same order. */
static void a_child_has_its_own_order(void) {
	static struct stack s[SHUFFLED];
	int place[2][2];
	ptrdiff_t from[2][SHUFFLED];
	for (int child = 0; child < 2; child++) {
		must(pipe(place[child]) == 0);
		if (fork() == 0) {
			must(stack_init() == 0);
			for (size_t i = 0; i < SHUFFLED; i++)
				must(stack_alloc(ROOM_SHUFFLED, PAGE, &s[i]) == 0);
			for (size_t i = 0; i < SHUFFLED; i++)
				from[0][i] = s[i].lo - s[0].lo;
			must(write(place[child][1], from[0], sizeof from[0]) == sizeof from[0]);
			_exit(0);
		}
		close(place[child][1]);
	}
	for (int child = 0; child < 2; child++)
		must(read(place[child][0], from[child], sizeof from[child]) == sizeof from[child]);
	must(memcmp(from[0], from[1], sizeof from[0]) != 0);
}

Test(stack, a_child_has_its_own_order) {
	sched_config.stack_mprotect = false;
	expect_child_ok(a_child_has_its_own_order);
}

/* What nobody uses of a slab goes, what is used stays, also where the two alternate. */
static void unused_slots_go(void) {
	static struct stack s[2 * SHUFFLED];
	must(stack_init() == 0);
	size_t before = address_space();
	for (size_t i = 0; i < SHUFFLED; i++)
		must(stack_alloc(ROOM_SHUFFLED, PAGE, &s[i]) == 0);
	must(address_space() - before >= SHUFFLED * 2 * (size_t)ROOM_SHUFFLED);
	stack_reserve_drop();
	must(address_space() - before < SHUFFLED * (ROOM_SHUFFLED + 64 * KIB));
	for (size_t i = SHUFFLED; i < 2 * SHUFFLED; i++)
		must(stack_alloc(ROOM_SHUFFLED, PAGE, &s[i]) == 0);
	for (size_t i = 0; i < 2 * SHUFFLED; i++)
		*s[i].lo = *(s[i].hi - 1) = 1;
}

Test(stack, unused_slots_go) {
	for (int i = 0; i < 2; i++) {
		sched_config.stack_mprotect = i;
		expect_child_ok(unused_slots_go);
	}
}

/* ---- refusals ---- */

static void address_space_is_out(void) {
	static struct stack s[200];
	struct rlimit none = {0, 0};
	size_t n = 0;
	must(stack_init() == 0);
	must(stack_alloc(64 * KIB, PAGE, &s[0]) == 0);
	must(setrlimit(RLIMIT_AS, &none) == 0);
	for (n = 1; n < LENGTH(s) && stack_alloc(64 * KIB, PAGE, &s[n]) == 0; n++)
		;
	must(n < LENGTH(s)); /* the slab is used up, another is refused */
	must(stack_alloc(64 * KIB, PAGE, &s[n]) == -EAGAIN);
	must(stack_alloc(8 * MIB, PAGE, &s[n]) == -EAGAIN); /* another class */
	stack_release(&s[3]); /* the list of free slots cannot be made either: no crash */
	must(stack_init() == (sched_config.stack_mprotect ? 0 : -ENOMEM));
}

Test(stack, address_space_is_out) {
	for (int i = 0; i < 2; i++) {
		sched_config.stack_mprotect = i;
		expect_child_ok(address_space_is_out);
	}
}

/* MEM-6: room for a few stacks, but not for a whole slab: it takes what there is. */
static void little_address_space(void) {
	static struct stack s[64];
	struct rlimit some = {address_space() + 40 * MIB, RLIM_INFINITY};
	size_t n = 0;
	must(stack_init() == 0);
	must(setrlimit(RLIMIT_AS, &some) == 0);
	while (n < LENGTH(s) && stack_alloc(8 * MIB, PAGE, &s[n]) == 0)
		n++;
	must(n >= 3 && n <= 5);
	must(stack_alloc(8 * MIB, PAGE, &s[n]) == -EAGAIN);
	for (size_t i = 0; i < n; i++)
		*s[i].lo = *(s[i].hi - 1) = 1;
}

Test(stack, little_address_space) {
	expect_child_ok(little_address_space);
}

/* MEM-6: where a limit counts it, what one stack took is there for another size, or for the program, once it is released. */
static void address_space_comes_back(void) {
	static struct stack s[5];
	must(stack_init() == 0);
	must(stack_alloc(2 * MIB, PAGE, &s[0]) == 0 && !stack_is_single(&s[0])); /* the rest of its slab is reserved */
	struct rlimit some = {address_space() + 45 * MIB, RLIM_INFINITY};
	must(setrlimit(RLIMIT_AS, &some) == 0);
	for (size_t round = 0; round < 3; round++) {
		size_t before = address_space(), size = (round + 8) * MIB;
		for (size_t i = 1; i < 4; i++) {
			must(stack_alloc(size, PAGE, &s[i]) == 0 && stack_is_single(&s[i]));
			must(stack_mapped_bytes(&s[i]) == size + PAGE);
			*s[i].lo = *(s[i].hi - 1) = 1;
		}
		must(faults_at(s[1].lo - 1));
		for (size_t i = 1; i < 4; i++)
			stack_release(&s[i]);
		must(address_space() <= before + MIB);
	}
	must(stack_reserve_is_costly() && stack_alloc(100 * MIB, PAGE, &s[4]) == -EAGAIN);
	stack_reserve_drop();
	must(stack_alloc(100 * MIB, PAGE, &s[4]) == 0);
	*s[0].lo = *(s[0].hi - 1) = 1; /* this one is in use */
	stack_release(&s[0]);
	must(stack_alloc(2 * MIB, PAGE, &s[1]) == 0 && s[1].lo == s[0].lo && faults_at(s[1].lo - 1));
}

Test(stack, address_space_comes_back) {
	for (int i = 0; i < 2; i++) {
		sched_config.stack_mprotect = i;
		expect_child_ok(address_space_comes_back);
	}
}

/* In this child the system says that it counts every reservation (vm.overcommit_memory is 2), to whoever asks. false: not allowed to. */
static bool overcommit_seems_strict(void) {
	char name[] = "/tmp/overcommit.XXXXXX";
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	int fd = mkstemp(name);
	must(fd >= 0 && write(fd, "2\n", 2) == 2);
	bool bound = mount(name, "/proc/sys/vm/overcommit_memory", NULL, MS_BIND, NULL) == 0;
	close(fd);
	unlink(name);
	return bound;
}

static size_t reserved_for_one(void) {
	static struct stack s;
	must(stack_init() == 0);
	size_t before = address_space();
	must(stack_alloc(8 * MIB, PAGE, &s) == 0);
	*s.lo = *(s.hi - 1) = 1;
	return address_space() - before;
}

/* MEM-6: MAP_NORESERVE is not heard then, so nothing is reserved ahead: what one thread costs is what NPTL's would. */
static void strict_overcommit(void) {
	must(reserved_for_one() > 64 * MIB);
	if (!overcommit_seems_strict())
		_exit(NOT_ALLOWED);
	must(reserved_for_one() < 12 * MIB);
}

Test(stack, strict_overcommit) {
	int status = child_status(strict_overcommit);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALLOWED)
		cr_skip_test("no mount namespace of its own");
	cr_expect(status == 0, "wait status 0x%x", status);
}

/* MEM-5: an old kernel or a filter says EINVAL to the marker. */
static void markers_are_refused(void) {
	struct stack s;
	syscall_refuse(SYS_madvise, 2, 102, EINVAL);
	sched_config.stack_mprotect = false;
	must(stack_init() == 0 && !stack_uses_markers());
	must(stack_alloc(64 * KIB, PAGE, &s) == 0);
	touched = s.lo - 1;
	touch_by_write = true;
	touch();
}

Test(stack, markers_are_refused) {
	cr_expect(child_status(markers_are_refused) == 77 << 8);
}

/* MEM-4, MEM-5: no more mappings for guards. Never a stack without the guard that was asked for, not even the second time. */
static void guards_are_refused(void) {
	struct stack s, again;
	must(stack_init() == 0);
	must(stack_alloc(64 * KIB, PAGE, &s) == 0);
	if (sched_config.stack_mprotect)
		syscall_refuse(SYS_mprotect, 2, PROT_NONE, ENOMEM);
	else
		syscall_refuse(SYS_madvise, 2, 102, ENOMEM);
	if (!sched_config.stack_mprotect) /* it falls back to mprotect (MEM-14) */
		syscall_refuse(SYS_mprotect, 2, PROT_NONE, ENOMEM);
	for (int i = 0; i < 10; i++)
		must(stack_alloc(64 * KIB, PAGE, &again) == -EAGAIN);
	stack_release(&s);
	must(stack_alloc(64 * KIB, PAGE, &again) == 0 && again.lo == s.lo); /* its guard is from before */
	must(stack_alloc(64 * KIB, PAGE, &again) == -EAGAIN);
	must(stack_alloc(64 * KIB, 0, &again) == 0); /* none asked for */
}

Test(stack, guards_are_refused) {
	for (int i = 0; i < 2; i++) {
		sched_config.stack_mprotect = i;
		expect_child_ok(guards_are_refused);
	}
}

/* ---- many kernel threads ---- */

static struct stack *_Atomic exchange[64];

static void *churn(void *arg) {
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	for (int i = 0; i < 4000; i++) {
		struct stack *mine = malloc(sizeof *mine);
		must(stack_alloc(noise(&seed) % 2 ? 64 * KIB : 2 * MIB, PAGE, mine) == 0);
		*(struct stack **)(void *)mine->lo = mine;
		*(struct stack **)(void *)(mine->hi - 8) = mine;
		struct stack *other = atomic_exchange(&exchange[noise(&seed) % LENGTH(exchange)], mine);
		if (other) {
			must(*(struct stack **)(void *)other->lo == other && *(struct stack **)(void *)(other->hi - 8) == other);
			stack_release(other);
			free(other);
		}
	}
	return NULL;
}

Test(stack, kernel_threads, .init = markers) {
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		t[i] = thread_start(churn, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < 4; i++)
		thread_join(t[i]);
}
