/* Chaos: what a seed decides, how often, and that the N-th call fails and no other. */
#include "chaos.h"
#include "sched_test.h"

#define ROUNDS 4000

static struct g self;

static void be(int32_t tid) {
	self = (struct g){.kind = G_GOROUTINE, .tid = tid};
	tls_g = &self;
}

/* A goroutine's decisions as a string of bits. */
static void decide(int32_t tid, bool *out) {
	be(tid);
	for (int i = 0; i < ROUNDS; i++)
		out[i] = chaos((enum chaos_site)(i % CHAOS_SITES));
}

static int differences(const bool *a, const bool *b) {
	int n = 0;
	for (int i = 0; i < ROUNDS; i++)
		n += a[i] != b[i];
	return n;
}

Test(chaos, a_seed_and_a_goroutine_decide) {
	static bool first[ROUNDS], again[ROUNDS], other_g[ROUNDS], other_seed[ROUNDS];
	chaos_configure(7, 50, 0);
	decide(100, first);
	decide(101, other_g);
	decide(100, again);
	chaos_configure(8, 50, 0);
	decide(100, other_seed);
	cr_expect(differences(first, again) == 0);
	cr_expect(differences(first, other_g) > ROUNDS / 8);
	cr_expect(differences(first, other_seed) > ROUNDS / 8);
}

Test(chaos, strikes_as_often_as_asked) {
	static const uint32_t percent[] = {1, 10, 100};
	for (size_t i = 0; i < LENGTH(percent); i++) {
		chaos_configure(3, percent[i], 0);
		be(1);
		uint32_t hits = 0;
		for (int n = 0; n < 100000; n++)
			hits += chaos(CHAOS_YIELD);
		cr_expect(hits > percent[i] * 1000 / 2 && hits <= 100000 && hits < percent[i] * 2000, "%u at %u %%", hits, percent[i]);
	}
}

Test(chaos, off_means_off) {
	chaos_configure(0, 100, 0);
	be(1);
	for (int i = 0; i < CHAOS_SITES; i++)
		cr_expect(!chaos((enum chaos_site)i));
	cr_expect(chaos_part(1000) == 1000);
	cr_expect(self.chaos_count == 0);
	cr_expect(MAY_FAIL(-1, 5) == 5 && MAY_FAIL_UNSEEN(-1, 5) == 5);
}

Test(chaos, a_spared_site_is_spared_and_no_other) {
	chaos_configure(3, 100, 0);
	chaos_spare(CHAOS_REFUSE);
	be(1);
	uint32_t others = 0;
	for (int i = 0; i < ROUNDS; i++) {
		cr_expect(!chaos(CHAOS_REFUSE));
		others += chaos(CHAOS_YIELD);
	}
	cr_expect(others > ROUNDS / 2);
}

Test(chaos, a_part_is_never_empty_and_never_more) {
	chaos_configure(1, 100, 0);
	be(1);
	cr_expect(chaos_part(0) == 0 && chaos_part(1) == 1);
	for (size_t bytes = 2; bytes < 3000; bytes++) {
		size_t part = chaos_part(bytes);
		cr_assert(part >= 1 && part <= bytes, "%zu of %zu", part, bytes);
	}
}

Test(chaos, the_nth_call_fails_once) {
	be(1);
	for (int nth = 1; nth <= 5; nth++) {
		chaos_configure(0, 10, (uint64_t)nth);
		for (int call = 1; call <= 8; call++) {
			int done = 0;
			int r = MAY_FAIL(-ENOMEM, (done = 1, 7));
			cr_expect(r == (call == nth ? -ENOMEM : 7) && done == (call != nth), "call %d of %d: %d", call, nth, r);
		}
	}
	/* fail=N without a seed forces nothing else. */
	chaos_configure(0, 100, 1000000);
	for (int i = 0; i < CHAOS_SITES; i++)
		cr_expect(!chaos((enum chaos_site)i));
}

static uint32_t refusals(void) {
	uint32_t n = 0;
	for (int i = 0; i < 1000; i++)
		n += MAY_FAIL_SEEN(-ENOMEM, 0) != 0;
	return n;
}

/* Where the program would see it only if it is said to accept that, and once the runtime runs: else that would stand aside. */
Test(chaos, errors_are_shown_to_who_accepts_them) {
	chaos_configure(5, 100, 0);
	be(1);
	cr_expect(refusals() == 0);
	chaos_show_errors();
	cr_expect(refusals() == 0);
	tls_g = NULL;
	start(1);
	uint32_t n = refusals();
	cr_expect(n > 300 && n < 700, "%u", n);
	chaos_configure(5, 100, 0);
	cr_expect(refusals() == 0);
	chaos_configure(0, 100, 0);
	chaos_show_errors();
	cr_expect(refusals() == 0);
}
