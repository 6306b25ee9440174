/* goshim.h: the programs of tests/golib, and the examples.
 *
 * Each test of a program runs with GOMAXPROCS 1, 2 and 8, and where the library stands aside (ASIDE is set for those few promises that
 * only goroutines keep). An example runs as all four compilers' languages made it. Names: what the roadmap calls the step, then the property. */
#include <criterion/criterion.h>

#include "child.h"

static void expect_ok(const char *program, const char *test, const char *environment) {
	struct child c = child_run("%s $B/tests/golib/%s %s", environment, program, test);
	cr_expect(c.status == 0 && strcmp(c.output, "ok\n") == 0, "%s %s %s: status %d\n%s", environment, program, test, c.status, c.output);
}

static void everywhere(const char *program, const char *test) {
	expect_ok(program, test, "GOMAXPROCS=1");
	expect_ok(program, test, "GOMAXPROCS=2");
	expect_ok(program, test, "GOMAXPROCS=8");
	expect_ok(program, test, "GOSHIM=off=1 ASIDE=1");
}

#define GOLIB(suite, name, program, test)                   \
	Test(suite, name) {                                 \
		everywhere(program, test);                  \
	}

GOLIB(step1_cond, single_waiter, "sync", "cond_single_waiter")
GOLIB(step1_cond, multi_waiter, "sync", "cond_multi_waiter")
GOLIB(step1_cond, spurious_wakeup_resilience, "sync", "cond_spurious")
GOLIB(step1_cond, notifications_and_handlers, "sync", "cond_signal_storm")
GOLIB(step1_cond, context, "sync", "cond_context")
GOLIB(step1_cond, cancel, "sync", "cond_cancel")
GOLIB(step1_cond, handler_ends_the_waiter, "sync", "cond_handler_ends")

Test(step1_cond, isolated_in_a_handler) {
	expect_ok("sync", "cond_isolated", "GOMAXPROCS=1 GOSHIM=panic=isolate");
	expect_ok("sync", "cond_isolated", "GOMAXPROCS=2 GOSHIM=panic=isolate");
}

GOLIB(step2_gomaxprocs, increase, "roadmap", "procs_increase")
GOLIB(step2_gomaxprocs, decrease, "roadmap", "procs_decrease")
GOLIB(step2_gomaxprocs, toggle_under_load, "roadmap", "procs_toggle")

GOLIB(step3_stack, hundred_thousand_levels, "roadmap", "stack_deep_recursion")
GOLIB(step3_stack, window_grows, "roadmap", "stack_window_grows")

GOLIB(step3_stack, small_when_parked, "roadmap", "stack_is_small")
GOLIB(step3_stack, values_are_gone, "roadmap", "stack_values_are_gone")

Test(step3_stack, memory_below_is_given_back) {
	expect_ok("roadmap", "stack_is_given_back", "GOMAXPROCS=1 GOSHIM=trim=1");
	expect_ok("roadmap", "stack_is_given_back", "GOMAXPROCS=2 GOSHIM=trim=1");
}

GOLIB(step4_preempt, hogs, "roadmap", "preempt_hogs")
GOLIB(step4_preempt, parked_undisturbed, "roadmap", "preempt_parked_undisturbed")

GOLIB(step5_netpoll, echo_without_blocked_threads, "roadmap", "netpoll_echo")
GOLIB(step5_netpoll, reader_frees_its_p, "roadmap", "netpoll_frees_p")
GOLIB(step5_netpoll, wait_fd, "roadmap", "netpoll_wait")
GOLIB(step5_netpoll, closed_while_waited_for, "sync", "fd_is_closed")

GOLIB(step6_panic, does_not_abort, "panic", "unwinds_and_handler")
GOLIB(step6_panic, others_go_on, "panic", "others_go_on")
GOLIB(step6_panic, pthread_panics, "panic", "pthread_panics")
GOLIB(step6_panic, recover_returns_payload, "panic", "recover_payload")
GOLIB(step6_panic, main_is_not_swallowed, "panic", "main_panics")
GOLIB(step6_panic, protect, "panic", "protect")
GOLIB(step6_panic, last_panic_counts, "panic", "last_panic_counts")
GOLIB(step6_panic, protect_while_unwinding, "panic", "protect_while_unwinding")
GOLIB(step6_panic, protect_and_go_on, "panic", "protect_and_go_on")
GOLIB(step6_panic, exit_in_deferred, "panic", "exit_in_deferred")
GOLIB(step6_panic, runtime_starts_inside, "panic", "start_inside")
GOLIB(step6_panic, child_of_fork, "panic", "child_panics")
GOLIB(step6_panic, destructors, "cxx", "destructors_run")
GOLIB(step6_panic, protect_and_exceptions, "cxx", "protect_is_left_by_exception")
GOLIB(step6_panic, protect_in_cxx, "cxx", "protect_nests")

GOLIB(step7_context, cancel_propagates, "ctx", "cancel_propagates")
GOLIB(step7_context, done_receives, "ctx", "done_receives")
GOLIB(step7_context, deadline_fires, "ctx", "deadline_fires")
GOLIB(step7_context, durations, "ctx", "durations")
GOLIB(step7_context, done_in_select, "ctx", "done_in_select")
GOLIB(step7_context, values, "ctx", "values")
GOLIB(step7_context, no_leak, "ctx", "no_leak")
GOLIB(step7_context, hundred_thousand_children, "ctx", "hundred_thousand_children")
GOLIB(step7_context, deep_chain, "ctx", "deep_chain")
GOLIB(step7_context, all_at_once, "ctx", "all_at_once")
GOLIB(step7_context, made_of_nothing, "ctx", "made_of_nothing")
GOLIB(step7_context, child_lets_go, "ctx", "child_lets_go")

GOLIB(chan, unbuffered, "chan", "unbuffered")
GOLIB(chan, buffered, "chan", "buffered")
GOLIB(chan, element_sizes, "chan", "element_sizes")
GOLIB(chan, try_and_length, "chan", "try_and_length")
GOLIB(chan, close_wakes, "chan", "close_wakes")
GOLIB(chan, many_to_many, "chan", "many_to_many")
GOLIB(chan, contexts, "chan", "contexts")
GOLIB(chan, many_blocked, "chan", "many_blocked")
GOLIB(select, basics, "chan", "select_basics")
GOLIB(select, fair, "chan", "select_fair")
GOLIB(select, same_channel, "chan", "select_same_channel")
GOLIB(select, rounds, "chan", "select_rounds")
GOLIB(timer, timers_and_tickers, "chan", "timers")
GOLIB(timer, restart, "chan", "timers_restart")

GOLIB(sync, mutex, "sync", "mutex_counts")
GOLIB(sync, mutex_context, "sync", "mutex_context")
GOLIB(sync, wait_group, "sync", "wg_waits")
GOLIB(sync, wait_group_ends_with_its_waiter, "sync", "wg_ends_with_its_waiter")
GOLIB(sync, wait_group_is_used_again, "sync", "wg_is_used_again")
GOLIB(sync, tasks, "sync", "task_results")
GOLIB(sync, sleep_and_self, "sync", "sleep_and_self")
GOLIB(sync, before_the_runtime, "sync", "before_the_runtime")
GOLIB(sync, fork_child, "sync", "fork_child")
GOLIB(sync, wired, "roadmap", "wired_goroutines")
GOLIB(sync, std_thread, "cxx", "with_std_thread")
GOLIB(sync, thread_locals, "cxx", "thread_locals")

/* Preloaded instead of linked: the same symbols, found the same way. */
Test(golib, preloaded_as_well) {
	struct child c = child_run("LD_PRELOAD=$B/libgoshim.so $B/tests/golib/chan many_to_many");
	cr_expect(c.status == 0 && strcmp(c.output, "ok\n") == 0, "status %d\n%s", c.status, c.output);
}

/* What is installed is enough to build against. */
Test(golib, install_and_pkg_config) {
	const char *source = getenv("GOSHIM_SOURCE");
	struct child c = child_run("d=$(mktemp -d) && env -u MAKEFLAGS -u MAKELEVEL make -s -C %s install BUILD=$B PREFIX=/opt DESTDIR=$d && sed -i \"s|/opt|$d/opt|\" $d/opt/lib/pkgconfig/goshim.pc"
				   " && export PKG_CONFIG_PATH=$d/opt/lib/pkgconfig LD_LIBRARY_PATH=$d/opt/lib"
				   " && gcc %s/tests/examples/prime_sieve.c -o $d/sieve $(pkg-config --cflags --libs goshim) && $d/sieve 5; r=$?; rm -rf $d; exit $r",
				   source ? source : ".", source ? source : ".");
	cr_expect(c.status == 0 && strcmp(c.output, "2\n3\n5\n7\n11\n") == 0, "status %d\n%s", c.status, c.output);
}

/* ---- examples ------------------------------------------------------------------------------------------------------------ */

static void example_as(const char *how, const char *name, const char *args, const char *output) {
	struct child c = child_run("%s/%s %s", how, name, args);
	cr_expect(c.status == 0 && strcmp(c.output, output) == 0, "%s/%s: status %d\n%s", how, name, c.status, c.output);
}

static void example(const char *name, const char *args, const char *output) {
	example_as("GOMAXPROCS=1 $B/tests/examples/gcc-c11", name, args, output);
	example_as("GOMAXPROCS=2 $B/tests/examples/clang-c11", name, args, output);
	example_as("GOMAXPROCS=2 $B/tests/examples/g++-c++17", name, args, output);
	example_as("GOMAXPROCS=8 $B/tests/examples/clang++-c++17", name, args, output);
	example_as("GOSHIM=off=1 $B/tests/examples/gcc-c11", name, args, output);
}

/* The same in pthreads: natively, and on goroutines. */
static void twin(const char *name, const char *output) {
	example_as("$B/tests/examples/gcc-c11", name, "", output);
	example_as("$B/goshim $B/tests/examples/clang++-c++17", name, "", output);
}

Test(example, bounded_buffer) {
	example("bounded_buffer", "", "sum 2002000\n");
	twin("bounded_buffer_pthread", "sum 2002000\n");
}

Test(example, echo_server) {
	example("echo_server", "20 50", "1000 messages\n");
	twin("echo_server_pthread", "1000 messages\n");
}

Test(example, prime_sieve) {
	example("prime_sieve", "10", "2\n3\n5\n7\n11\n13\n17\n19\n23\n29\n");
}

Test(example, skynet) {
	example("skynet", "1000", "499500\n");
	example_as("GOMAXPROCS=2 $B/tests/examples/gcc-c11", "skynet", "100000", "4999950000\n");
}

Test(example, fan_out) {
	example("fan_out", "", "found one, the others: cancelled\nthe long one: deadline exceeded\n");
}

Test(example, panicking_worker) {
	example("panicking_worker", "", "8 done, 1 recovered, 1 seen by the handler, 10 released\n");
}
