/* scripts/goshim-gdb.py in a live process and in a core (EXT-4). Skipped where gdb is missing or may not look at another process. */
#include <criterion/criterion.h>

#include "child.h"

/* run ACTION: starts the program with stacks that gdb's gcore can save, waits until its threads wait. */
#define SHELL                                                                                                                              \
	"d=$(mktemp -d); mkfifo $d/in; touch $d/out; trap 'rm -r $d' EXIT; cd $d; script=$S/scripts/goshim-gdb.py; "                       \
	"g() { timeout 100 gdb -nx -q -batch \"$@\" </dev/null 2>&1; }; "                                                                  \
	"GOSHIM=guard=mprotect,ctl=$d/s LD_PRELOAD=$B/libgoshim.so $B/tests/helpers/inspected more <$d/in >$d/out & pid=$!; exec 7>$d/in; "      \
	"i=0; while ! $B/goshim ctl $pid deadlocks 2>/dev/null | grep -q stuck && [ $i -lt 400 ]; do i=$((i+1)); sleep 0.05; done; "

#define FINISH "exec 7>&-; wait $pid"

static void skip_without_gdb(void) {
	if (system("sleep 100 & p=$!; gdb -nx -q -batch -p $p -ex 'info proc' </dev/null 2>/dev/null | grep -q 'process'; s=$?; kill $p; exit $s") != 0)
		cr_skip_test("gdb cannot be used here");
}

static void expect_goroutines(struct child c) {
	expect_text(c, "     1  \"inspected\"      waiting   thread ");
	expect_text(c, "     4  \"conditional\"    waiting   thread ");
	expect_text(c, ", cond COND\n");
	expect_text(c, ", fd read ");
	expect_text(c, ", poll of descriptors 0, ");
	expect_text(c, "goroutine 4 \"conditional\" (waiting):\n#0  ");
	expect_text(c, "deep_waits_here (depth=depth@entry=3)");
	expect_text(c, "in arch_start ()");
	expect_text(c, "no goroutine 77");
	expect_text(c, " Ps, ");
	expect_text(c, "P 0: ");
	expect_text(c, "M 0: kernel thread ");
}

#define ADDRESS " | sed \"s/$(sed -n 's/^cond //p' out)\\$/COND/\""
#define LOOK "-x $script -ex 'info goroutines' -ex 'info sched' -ex 'goroutine 4 bt' -ex 'goroutine 77 bt'"

Test(gdb, live_process) {
	skip_without_gdb();
	expect_goroutines(child_run(SHELL "g -p $pid " LOOK ADDRESS "; " FINISH));
}

Test(gdb, core) {
	skip_without_gdb();
	expect_goroutines(child_run(SHELL "g -p $pid -ex 'generate-core-file core' >/dev/null; g $B/tests/helpers/inspected core " LOOK ADDRESS "; " FINISH));
}

/* ---- one that was preempted: its registers are where arch_preempt() has put them ---- */

/* look COMMAND...: gdb's backtrace of one that was, if there is one just now. start: the program at one P, so that there mostly is. */
#define HOGS                                                                                                                               \
	"d=$(mktemp -d); mkfifo $d/in; trap 'rm -r $d' EXIT; cd $d; script=$S/scripts/goshim-gdb.py; "                                     \
	"look() { timeout 100 gdb -nx -q -batch \"$@\" -x $script -ex 'goroutine all bt' </dev/null 2>&1 | "                              \
	"sed -n '/ (runnable):/,/ arch_start /p' >ready; grep -q computes ready; }; "                                                      \
	"start() { GOMAXPROCS=1 LD_PRELOAD=$B/libgoshim.so $B/tests/helpers/hogs <in >out & pid=$!; exec 7>in; "                           \
	"while ! grep -q ready out; do sleep 0.05; done; sleep 0.3; }; "

static void expect_preempted(struct child c) {
	expect_text(c, " (runnable):\n#0  ");
	expect_text(c, " g_preempt (g=");
	expect_text(c, " computes (arg=0x"); /* without "in" where it is at the first instruction of a line */
	expect_text(c, "in arch_start ()");
}

Test(gdb, preempted) {
	skip_without_gdb();
	expect_preempted(child_run(HOGS "start; i=0; while ! look -p $pid && [ $i -lt 20 ]; do i=$((i+1)); done; cat ready; " FINISH));
}

/* In the kernel's own core, and with guard markers in the stacks: they do not hinder it. */
Test(gdb, preempted_in_a_core_with_markers) {
	skip_without_gdb();
	if (system("p=$(cat /proc/sys/kernel/core_pattern); case $p in core*[/%]*) exit 1;; core*) ulimit -c unlimited;; *) exit 1;; esac 2>/dev/null") != 0)
		cr_skip_test("cores are not written to a file core, or may not be");
	expect_preempted(child_run(HOGS "ulimit -c unlimited; i=0; while [ $i -lt 20 ]; do i=$((i+1)); rm -f core*; start; kill -ABRT $pid; wait $pid 2>/dev/null; "
				   "exec 7>&-; look $B/tests/helpers/hogs core* && break; done; cat ready"));
}
