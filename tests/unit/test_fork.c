/* A fork's child when others of the parent held the core's locks at that moment (FRK-1): all of them, each lock that the core has one of, found by its name in this program's
 * symbol table. Nobody is there to let go of them; a child that makes threads must not wait for that. */
#include "sched_test.h"

#include <link.h>

#include "cpuclock.h"

static struct lock *locks[32];
static int lock_count;

static int first_base(struct dl_phdr_info *info, size_t size, void *base) {
	(void)size;
	*(uintptr_t *)base = info->dlpi_addr;
	return 1;
}

static bool is_lock(const char *name) {
	const char *end = strstr(name, "_lock");
	return end && (end[5] == '\0' || end[5] == '.'); /* a static one in a function has a number behind it */
}

static void find_locks(void) {
	char command[64], line[256], type, name[64];
	unsigned long at, size;
	uintptr_t base = 0;
	dl_iterate_phdr(first_base, &base);
	snprintf(command, sizeof command, "nm -S /proc/%d/exe", (int)getpid());
	FILE *pipe = popen(command, "r");
	must(pipe);
	while (fgets(line, sizeof line, pipe)) {
		if (sscanf(line, "%lx %lx %c %63s", &at, &size, &type, name) != 4 || size != sizeof(struct lock) ||
		    !strchr("bBdD", type) || !is_lock(name))
			continue;
		must((size_t)lock_count < LENGTH(locks));
		locks[lock_count++] = (struct lock *)(base + at);
	}
	pclose(pipe);
	locks[lock_count++] = &sched.lock;
}

static _Atomic uint32_t counter;

static void count(void *arg) {
	(void)arg;
	sleep_ns(1000);
	atomic_fetch_add(&counter, cpu_time(g_self()) >= 0);
}

static void child(void) {
	for (int i = 0; i < lock_count; i++)
		locks[i]->word = 2; /* held, and waited for */
	sched_fork_child();
	tasks = counter = 0;
	start(2);
	for (int i = 0; i < 100; i++)
		go(count, NULL);
	wait_all();
	must(counter == 100);
	for (int i = 0; i < lock_count; i++)
		yield_until(locks[i]->word == 0); /* somebody may hold it right now, and lets go */
}

static void child_that_starts(void) {
	must(g_self()->kind == G_FOREIGN);
	sched.lock.word = 2;
	sched_fork_child();
	start(2);
	go(count, NULL);
	wait_all();
}

/* Kernel threads alone take it, too: each that waits has a G for that. */
Test(fork, lock_of_the_dead_before_the_start) {
	int status = child_status(child_that_starts);
	cr_expect(status == 0, "0x%x", status);
}

Test(fork, locks_of_the_dead) {
	find_locks();
	cr_expect(lock_count >= 8, "%d locks found", lock_count);
	start(2);
	go(count, NULL);
	wait_all();
	int status = child_status(child);
	cr_expect(status == 0, "0x%x", status);
}
