/* The scheduler without sysmon, which would find within two ticks what a lost wake-up left queued: here it is held for ever, and who was made ready while the last M
 * went to sleep must run all the same. */
#include "sched_test.h"

#include <linux/futex.h>

#include "chaos.h"

enum { ROUNDS = 2000 };

static _Atomic uint32_t asked, answered, held = 1, is_held;

static void hold_sysmon(void) {
	while (atomic_load(&held)) {
		atomic_store(&is_held, 1);
		SYS4(SYS_futex, &held, FUTEX_WAIT_PRIVATE, 1, NULL);
	}
}

static void release_sysmon(void) {
	atomic_store(&held, 0);
	SYS3(SYS_futex, &held, FUTEX_WAKE_PRIVATE, 1);
}

static void asker(void *arg) {
	(void)arg;
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		atomic_store(&asked, i);
		while (atomic_load(&answered) != i)
			futex_wait(&answered, i - 1, -1, FUTEX_ANY, false, "answer");
	}
}

/* Answers at another moment each time, between who asks being about to wait and the M that it left being asleep. */
static void *answerer(void *arg) {
	uint32_t seed = 1;
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		for (uint32_t spins = 0; atomic_load(&asked) != i; spins++) {
			if (spins % 4096 == 4095)
				sched_yield(); /* on one CPU */
		}
		for (uint32_t n = noise(&seed) % 512; n; n--)
			arch_relax();
		atomic_store(&answered, i);
		futex_wake(&answered, 1, FUTEX_ANY);
	}
	return arg;
}

TEST_PROCS(wakeups, none_is_lost_without_sysmon) {
	start(procs);
	chaos_configure(1, 100, 0); /* the kernel takes the CPU away in the worst places */
	for (int site = 0; site < CHAOS_SITES; site++) {
		if (site != CHAOS_DELAY)
			chaos_spare((enum chaos_site)site);
	}
	__atomic_store_n(&sig_sysmon_hook, hold_sysmon, __ATOMIC_RELEASE);
	while (!atomic_load(&is_held))
		usleep(100);
	pthread_t t = thread_start(answerer, NULL);
	go(asker, NULL);
	wait_all();
	thread_join(t);
	release_sysmon();
	cr_expect(answered == ROUNDS);
}
