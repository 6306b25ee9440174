/* What goroutines do and kernel threads here do not: 40,000 live threads with default stacks, a million in a few seconds, errors of join that
 * glibc does not report. */
#include <criterion/criterion.h>

#include "child.h"

static void expect_output(const char *procs, const char *program, const char *output) {
	struct child c = child_run("$B/goshim --procs %s $B/tests/helpers/%s", procs, program);
	cr_expect(c.status == 0 && strcmp(c.output, output) == 0, "GOMAXPROCS=%s %s: status %d\n%s", procs, program, c.status, c.output);
}

/* MEM-4 */
Test(scale, forty_thousand_live) {
	expect_output("1", "forty_thousand all", "ok\n");
	expect_output("2", "forty_thousand all", "ok\n");
	expect_output("8", "forty_thousand all", "ok\n");
}

/* The other kind of guard takes two mappings each: refused at vm.max_map_count as NPTL is, and no harm done (MEM-5, RES-3). */
Test(scale, forty_thousand_with_mprotect_guards) {
	struct child c = child_run("$B/goshim --set guard=mprotect $B/tests/helpers/forty_thousand");
	cr_expect(c.status == 0 && strcmp(c.output, "ok\n") == 0, "status %d\n%s", c.status, c.output);
}

Test(scale, million_in_a_row) {
	expect_output("1", "million 1000000", "ok\n");
	expect_output("2", "million 1000000", "ok\n");
	expect_output("8", "million 1000000", "ok\n");
}

Test(scale, join_errors) {
	static const char expected[] = "two join one: Invalid argument\nA joins B joins A: Resource deadlock avoided\njoin: Success\n";
	expect_output("1", "join_errors", expected);
	expect_output("2", "join_errors", expected);
	expect_output("8", "join_errors", expected);
}

/* Who accepts lets those that it accepted before begin: at one P nobody else could have run them. (A turn is 16; sysmon may take
 * the P for longer on a busy machine.) */
Test(scale, accept_takes_turns) {
	struct child c = child_run("$B/goshim --procs 1 $B/tests/helpers/accept_turn");
	int most = atoi(c.output);
	cr_expect(c.status == 0 && most >= 1 && most <= 48, "status %d\n%s", c.status, c.output);
}
