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
}

#define ADDRESS " | sed \"s/$(sed -n 's/^cond //p' out)\\$/COND/\""
#define LOOK "-x $script -ex 'info goroutines' -ex 'goroutine 4 bt' -ex 'goroutine 77 bt'"

Test(gdb, live_process) {
	skip_without_gdb();
	expect_goroutines(child_run(SHELL "g -p $pid " LOOK ADDRESS "; " FINISH));
}

Test(gdb, core) {
	skip_without_gdb();
	expect_goroutines(child_run(SHELL "g -p $pid -ex 'generate-core-file core' >/dev/null; g $B/tests/helpers/inspected core " LOOK ADDRESS "; " FINISH));
}
