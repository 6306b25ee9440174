/* The control socket and its client, as a user meets them: tests/helpers/inspected runs under GOSHIM=ctl=1, the launcher talks to it.
 *
 * Off by default, for its user only, in no folder of others, refused to another user (SEC-12).
 *
 * What a report shows is asked for again until it is there: after "ready" the threads are about to wait, not certainly waiting. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "child.h"

/* ---- reports ---- */

Test(ctl, dump_names_every_wait) {
	struct child c = session("start ctl=$d/s; until_text 'stuck:' $B/goshim ctl $pid dump; finish");
	expect_text(c, "\"conditional\": waits: cond 0x");
	expect_text(c, "\"reader\": waits: fd read of descriptor ");
	expect_text(c, "\"sleeper\": waits: sleep, for ");
	expect_text(c, ", at most ");
	expect_text(c, "\"parent\": waits: join 0x");
	expect_text(c, " \"sleeper\", for ");
	expect_text(c, "made by goroutine 6]");
	expect_text(c, "waits: semaphore 0x");
	expect_text(c, "KiB in use of ");
	char *main_too = strstr(c.output, "goroutine 1 ");
	cr_expect(main_too && strncmp(strchr(main_too, '\n') + 1, "    stack 0x", 12) == 0, "%s", c.output);
	expect_text(c, "kernel thread ");
}

/* wait_text NAME: until that one waits. */
#define MORE "start ctl=$d/s more; wait_text() { until_text \"\\\"$1\\\": waits\" $B/goshim ctl $pid dump; }; of() { sed -n \"s/^$1 //p\" $d/out; }; "

Test(ctl, dump_names_what_is_polled) {
	struct child c = session(MORE "wait_text selector >/dev/null; wait_text poller | grep 'waits: poll' | sed \"s/$(of polled)/P/g\"; finish");
	expect_text(c, "\"poller\": waits: poll of descriptors P, P, P, P and 2 more, for ");
	expect_text(c, "\"selector\": waits: poll of descriptors 0, P, for ");
}

Test(ctl, dump_names_objects_by_their_addresses) {
	struct child c = session(MORE "for t in writer early conditional; do wait_text $t | grep \"$t.: waits\"; done | "
				 "sed \"s/$(of lock),/LOCK/; s/$(of barrier),/BARRIER/; s/$(of cond),/COND/\"; wait_text pauser | grep pauser; finish");
	expect_text(c, "waits: rwlock write LOCK");
	expect_text(c, "waits: barrier BARRIER");
	expect_text(c, "waits: cond COND");
	expect_text(c, "waits: pause, for ");
}

Test(ctl, dump_says_whose_a_kernel_thread_is) {
	struct child c = session(MORE "until_text '\"wired\": waits: semaphore' $B/goshim ctl $pid dump >/dev/null; until_text 'wired to' $B/goshim ctl $pid threads; finish");
	expect_text(c, ": wired to goroutine ");
}

Test(ctl, dump_has_backtraces) {
	struct child c = session("start ctl=$d/s; until_text '\"conditional\": waits: cond' $B/goshim ctl $pid dump | grep "
			     "-c ' deep_waits_here+'; finish");
	cr_expect(strcmp(c.output, "4\n") == 0, "%s", c.output);
	c = session("start ctl=$d/s; until_text '\"reader\": waits' $B/goshim ctl $pid dump; finish");
	expect_text(c, "  wait_read+");
	expect_text(c, "  main+");
	expect_text(c, "  _start+"); /* through libc, which has no frame pointers */
}

/* They write it down themselves, when they are interrupted; on a busy machine not all in one report. Also how much of its stack each uses. */
Test(ctl, dump_shows_who_computes) {
	struct child c = session("program=hogs; export GOMAXPROCS=4; start ctl=$d/s; i=0; n=0; "
				 "while [ $n -lt 4 ] && [ $i -lt 200 ]; do i=$((i+1)); o=$($B/goshim ctl $pid dump); "
				 "n=$(printf %%s \"$o\" | grep -A2 'runs on kernel thread' | grep -A1 'in use of' | grep -c '#0 .* computes+'); done; "
				 "printf '%%s\\n' \"$o\"; finish");
	char *one = strstr(c.output, " runs on kernel thread ");
	cr_assert(one, "%s", c.output);
	cr_expect(strstr(one, "KiB in use of ") && strstr(one, "  computes+") && strstr(one, "#3 "), "%s", c.output);
	cr_expect(!strstr(c.output, "no backtrace"), "%s", c.output);
}

/* One that was interrupted, and waits for its turn, is shown from there on. */
Test(ctl, dump_shows_who_was_preempted) {
	struct child c = session("program=hogs; export GOMAXPROCS=1; start ctl=$d/s; i=0; "
				 "while o=$($B/goshim ctl $pid dump | grep -A5 'is ready to run'); ! printf %%s \"$o\" | grep -q ' computes+' && [ $i -lt 200 ]; do i=$((i+1)); done; "
				 "printf '%%s\n' \"$o\"; finish");
	expect_text(c, "KiB in use of ");
	expect_text(c, " computes+");
}

Test(ctl, dump_says_why_it_does_not_show_who_computes) {
	struct child c = session("program=hogs; start ctl=$d/s,preempt=0; until_text 'no backtrace: nobody is interrupted here' $B/goshim ctl $pid dump; finish");
	expect_text(c, "no backtrace: nobody is interrupted here");
}

/* Reports, one after the other, on threads that throw exceptions and compute in malloc() and stdio: these notice nothing. Such a program is soon over: again, until
 * one that computes was met. */
Test(ctl, dump_disturbs_nobody_who_computes) {
	static const char *const programs[] = {"pre_unwind", "pre_libc"};
	for (size_t i = 0; i < 2; i++) {
		struct child c = session("mkdir -m 700 $d/s; t=$B/tests/programs/%s; $t >$d/plain; r=100; "
					 "while r=$((r-1)); GOSHIM=ctl=$d/s LD_PRELOAD=$B/libgoshim.so $t >$d/out & pid=$!; "
					 "while kill -0 $pid 2>/dev/null; do $B/goshim ctl $pid dump >>$d/dumps 2>&1; done; wait $pid; s=$?; "
					 "[ $s = 0 ] && cmp $d/out $d/plain && ! grep -q 'runs on kernel thread' $d/dumps && [ $r -gt 0 ]; do :; done; "
					 "grep -q 'runs on kernel thread' $d/dumps && cmp $d/out $d/plain && echo undisturbed; exit $s",
					 programs[i]);
		cr_expect(c.status == 0 && strcmp(c.output, "undisturbed\n") == 0, "%s: %s", programs[i], c.output);
	}
}

Test(ctl, deadlocks_are_found) {
	struct child c = session("start ctl=$d/s; until_text 'stuck:' $B/goshim ctl $pid deadlocks; finish");
	expect_text(c, "deadlock: goroutine 2 \"lefty\" waits: mutex 0x");
	expect_text(c, "held by goroutine 3 \"righty\"");
	expect_text(c, "          goroutine 3 \"righty\" waits: mutex 0x");
	expect_text(c, " \"forlorn\" waits: mutex 0x");
	expect_text(c, ", which has ended");
}

/* Of many threads, and of mutexes that are waited for in the kernel. */
Test(ctl, deadlocks_of_every_kind) {
	static const char *const kinds[] = {"1500", "3 robust", "3 shared", "1 robust", "3 rwlock", "1 rwlock", "2 readers", "2 callback"};
	static const int threads[] = {1500, 3, 3, 1, 3, 1, 2, 2};
	for (int i = 0; i < 8; i++) {
		char all[16];
		snprintf(all, sizeof all, "%d\n", threads[i]);
		struct child c = session("program=deadlocked; start ctl=$d/s %s; until_text '^deadlock: [gk]' $B/goshim ctl $pid deadlocks | "
				     "grep -c ' waits: .* 0x.*, held by [gk][oe]r.* [0-9]'; finish", kinds[i]);
		cr_expect_str_eq(c.output, all, "%s: %s", kinds[i], c.output);
	}
}

/* A kernel thread that is no goroutine is not one that has ended. */
Test(ctl, who_is_no_goroutine_holds_as_well) {
	struct child c = session("program=deadlocked; start ctl=$d/s 2 held; until_text 'held by kernel thread' $B/goshim ctl $pid dump; "
				 "$B/goshim ctl $pid deadlocks; finish");
	expect_text(c, " waits: mutex 0x");
	expect_text(c, ": none of the runtime's");
	expect_no_text(c, "which has ended");
	expect_text(c, "\nno deadlock\n");
}

/* Only the kernel knows until when such a one waits. */
Test(ctl, who_is_no_goroutine_waits_with_a_limit) {
	struct child c = session("program=deadlocked; start ctl=$d/s 2 timed; until_text 'with a time limit' $B/goshim ctl $pid threads; "
				 "until_text 'held by kernel thread' $B/goshim ctl $pid dump >/dev/null; $B/goshim ctl $pid deadlocks; finish");
	expect_text(c, ": none of the runtime's, waits: mutex 0x");
	expect_text(c, ", held by goroutine 2 \"deadlocked\", for ");
	expect_text(c, "\nno deadlock\n");
}

Test(ctl, no_deadlock_where_there_is_none) {
	struct child c = session("start ctl=$d/s fork; set -- $(grep child $d/out); $B/goshim ctl $2 deadlocks; finish");
	cr_expect(strcmp(c.output, "no deadlock\n") == 0, "%s", c.output);
}

/* A goroutine that blocks its kernel thread where nobody saw it coming is named, with the call and the time. */
Test(ctl, pinned_threads_are_named) {
	struct child c = session("export GOMAXPROCS=1; start ctl=$d/s pinned; until_text pinned $B/goshim ctl $pid "
			     "threads; until_text '\"m.pinned\": 1,' $B/goshim ctl $pid stats | grep pinned; "
			     "until_text '\"unseen\": runs' $B/goshim ctl $pid dump; finish");
	expect_text(c, " \"unseen\", in system call nanosleep (0x");
	expect_text(c, ", pinned for ");
	expect_text(c, "\"m.pinned\": 1,");
	expect_text(c, " \"unseen\": runs on kernel thread ");
	expect_text(c, "  sleep_by_itself+0x"); /* followed from where the kernel says it is */
	expect_text(c, "  wait_unseen+0x");     /* ... through a frame whose base register the kernel does not tell */
	expect_text(c, "  arch_start+0x");
}

Test(ctl, stats_are_json) {
	struct child c = session(
		"start ctl=$d/s; $B/goshim ctl $pid stats | python3 -c 'import json, sys; d = json.load(sys.stdin); "
		"print(d[\"g.live\"], d[\"g.created\"] >= 9, d[\"sched.switches\"] > 0, all(isinstance(v, int) for v "
		"in d.values()))'; finish");
	cr_expect(strcmp(c.output, "9 True True True\n") == 0, "%s", c.output);
}

Test(ctl, trace_line) {
	struct child c = session("start ctl=$d/s; GOMAXPROCS=2 timeout 5 $B/goshim ctl $pid trace 10 | head -n 2; finish");
	expect_text(c, "ms: gomaxprocs=");
	expect_text(c, " runqueue=0 [");
}

Test(ctl, schedtrace_on_stderr) {
	struct child c = session("GOMAXPROCS=2 start schedtrace=20; until_text SCHED cat $d/err; finish");
	expect_text(c, "ms: gomaxprocs=2 idleprocs=");
}

/* ---- GOMAXPROCS while it runs ---- */

Test(ctl, gomaxprocs) {
	struct child c = session("export GOMAXPROCS=2; start ctl=$d/s; for n in '' 300 '' 0 3; do $B/goshim ctl $pid "
			     "gomaxprocs $n; done; finish");
	expect_text(c, "2\n2 -> 256\n256\ngoshim: process ");
	expect_text(c, ": gomaxprocs: must be a number of 1 or more\n256 -> 3\n");
}

/* It changes under full load, 1 to 8, all the time: nobody is lost, nor a timer (TIM-1). GOSHIM_SECONDS: for longer. */
Test(ctl, gomaxprocs_under_load) {
	struct child c = session("program=loaded; export GOMAXPROCS=2; start ctl=$d/s; timeout 100 python3 "
			     "$S/tests/helpers/change_procs.py $d/s/$pid.sock "
			     "${GOSHIM_SECONDS:-3}; exec 7>&-; i=0; while ! grep -q done $d/out && [ $i -lt 600 ]; do "
			     "i=$((i+1)); sleep 0.05; done; "
			     "grep done $d/out || { $B/goshim ctl $pid dump; kill -9 $pid; }; wait $pid");
	cr_expect(strcmp(c.output, "wrong answers: 0\nall done, 50 of 50\n") == 0, "%s", c.output);
}

/* What computes gives way as well: with fewer Ps each waits in its turn. (Not all but one at any time: on a busy machine the kernel lets the one with the P stand
 * still, and another goes on beside it.) */
Test(ctl, fewer_procs_for_who_computes) {
	struct child c = session("program=hogs; export GOMAXPROCS=4; start ctl=$d/s; $B/goshim ctl $pid gomaxprocs 1; i=0; : >$d/ready; "
				 "while [ $(sort -u $d/ready | wc -l) -lt 4 ] && [ $i -lt 500 ]; do i=$((i+1)); "
				 "$B/goshim ctl $pid dump | sed -n 's/^goroutine \\([0-9]*\\) .*is ready to run.*/\\1/p' >>$d/ready; done; "
				 "sort -nu $d/ready | tr '\\n' ' '; finish");
	cr_expect(strcmp(c.output, "4 -> 1\n2 3 4 5 ") == 0, "%s", c.output);
}

/* Who lost its P to one that then went to sleep has it back, also where nobody else runs any more. */
Test(ctl, idle_proc_for_who_computes) {
	struct child c = session("program=astray; export GOMAXPROCS=1; start ctl=$d/s; until_text '\"m.pinned\": 0' $B/goshim ctl $pid stats | grep -c 'pinned\": 0'; finish");
	cr_expect(strcmp(c.output, "1\n") == 0, "%s", c.output);
}

/* GOSHIM=batch: the kernel threads that wait have the policy that is asked for, and sysmon the program's. */
Test(ctl, batch_always_and_never) {
	struct child c = session("program=loaded; export GOMAXPROCS=2; start batch=2,ctl=$d/s; until_text SCHED_BATCH chrt -a -p $pid | grep -q SCHED_BATCH && echo always; "
				 "chrt -a -p $pid | grep -q SCHED_OTHER && echo but one; exec 7>&-; wait $pid; "
				 "start batch=0,ctl=$d/s; sleep 0.3; chrt -a -p $pid | grep -c SCHED_BATCH; exec 7>&-; wait $pid");
	cr_expect(strcmp(c.output, "always\nbut one\n0\n") == 0, "%s", c.output);
}

/* Who has locked a robust mutex that is shared keeps no kernel thread for it, but while it has one. */
Test(ctl, robust_for_now) {
	struct child c = session("program=robust_once; export GOMAXPROCS=2; start ctl=$d/s; [ $(ls /proc/$pid/task | wc -l) -lt 40 ] && echo few; finish");
	cr_expect(strcmp(c.output, "few\n") == 0, "%s", c.output);
}

/* ---- cancelling a family ---- */

Test(ctl, cancel_reaches_descendants_only) {
	struct child c = session(
		"program=family; start ctl=$d/s; gid() { until_text \"\\\"$1\\\"\" $B/goshim ctl $pid dump | "
		"sed -n \"s/^goroutine \\([0-9]*\\) .$1.: .*/\\1/p\"; }; $B/goshim ctl $pid cancel $(gid grandchild); "
		"until_text 'grandchild is' cat $d/out >/dev/null; $B/goshim ctl $pid cancel $(gid root); until_text "
		"'deep is' cat $d/out >/dev/null; "
		"until_text 'root is' cat $d/out >/dev/null; until_text 'orphan is' cat $d/out >/dev/null; until_text "
		"'child is' cat $d/out >/dev/null; "
		"finish; grep -v ready $d/out | sort");
	cr_expect(strcmp(c.output, "cancelled 1 goroutine\ncancelled 25 goroutines\nchild is cancelled\ndeep is "
				   "cancelled\nend\ngrandchild is cancelled\n"
				   "orphan is cancelled\nroot is cancelled\n") == 0,
		  "%s", c.output);
}

Test(ctl, cancel_nobody) {
	struct child c = session("start ctl=$d/s; $B/goshim ctl $pid cancel 999999; echo status $?; $B/goshim ctl $pid "
			     "cancel 0; finish");
	expect_text(c, ": cancel: there is no such goroutine\nstatus 1\n");
}

/* ---- GOSHIM=io_deadline ---- */

Test(ctl, io_deadline) {
	struct child c =
		child_run("GOSHIM=io_deadline=1 LD_PRELOAD=$B/libgoshim.so timeout 60 $B/tests/helpers/dead_peer");
	static const char expected[] =
		"read: -1, Resource temporarily unavailable\nrecv: -1, Resource temporarily unavailable\n"
		"send: some went, Resource temporarily unavailable\n"
		"splice from: -1, Resource temporarily unavailable\n"
		"sendfile: -1, Resource temporarily unavailable\n"
		"splice to: -1, Resource temporarily unavailable\n"
		"connect, unix: -1, Resource temporarily unavailable\ntimeout of unix now: 0\n"
		"connect, tcp: -1, Operation now in progress\ntimeout of tcp now: 0\n"
		"restarted: -1, Resource temporarily unavailable\npipe: 1\naccept: a connection\n";
	cr_expect(strcmp(c.output, expected) == 0, "%s", c.output);
}

/* ---- who may, and what is left ---- */

Test(ctl, off_by_default) {
	struct child c = session("start verbose=0; $B/goshim ctl $pid stats; echo status $?; finish");
	expect_text(c, " has no control socket in /run/user/");
	expect_text(c, ": it must be started with GOSHIM=ctl=1");
	expect_text(c, "status 1\n");
}

Test(ctl, permissions) {
	struct child c = session("umask 0; start ctl=$d/s; stat -c %%a $d/s $d/s/$pid.sock; finish; ls -A $d/s | wc -l");
	cr_expect(strcmp(c.output, "700\n600\n0\n") == 0, "%s", c.output);
}

Test(ctl, folder_of_others_is_refused) {
	struct child c = session("mkdir -m 755 $d/s; start ctl=$d/s; sed s,$d,D, $d/err; ls -A $d/s; $B/goshim ctl $pid stats 2>&1 | sed s,$d,D,; finish");
	expect_text(c, "goshim: GOSHIM=ctl: no control socket: D/s: the folder is not this user's alone (it must be 0700)\n");
	expect_text(c, " has no control socket in D/s, ");
	expect_text(c, "if it was, its stderr says why it could not use a folder\n");
}

Test(ctl, linked_folder_is_refused) {
	struct child c =
		session("mkdir -m 700 $d/real; ln -s $d/real $d/s; start ctl=$d/s; sed s,$d,D, $d/err; ls -A $d/real; finish");
	cr_expect(strcmp(c.output, "goshim: GOSHIM=ctl: no control socket: D/s: cannot open the folder: ENOTDIR, not a folder, or a link to one\n") == 0, "%s", c.output);
}

/* A login that left XDG_RUNTIME_DIR behind, or somebody else's. */
Test(ctl, runtime_folder_that_cannot_be_had) {
	struct child c = session("u=$(id -u); export XDG_RUNTIME_DIR=$d/none; start ctl=1; $B/goshim ctl $pid stats | grep g.live; ls /tmp/goshim-$u/$pid.sock | sed s/-$u/-UID/ | sed s/$pid/PID/; finish; "
				 "mkdir -p -m 755 $d/open/goshim; export XDG_RUNTIME_DIR=$d/open; start ctl=1; $B/goshim ctl $pid stats | grep g.live; cat $d/err; finish");
	cr_expect_str_eq(c.output, "  \"g.live\": 9,\n/tmp/goshim-UID/PID.sock\n  \"g.live\": 9,\n", "%s", c.output);
}

Test(ctl, another_user) {
	if (geteuid() != 0)
		cr_skip_test("needs root, to be another user");
	/* Even where the folder lets him through, the peer's uid does not; as root, every other user is another one. */
	struct child c = session(
		"chmod 755 $d; start ctl=$d/s; chmod 755 $d/s; chmod 666 $d/s/$pid.sock; python3 -c '"
		"import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
		"print(s.recv(100))' $d/s/$pid.sock; chmod 700 $d/s; finish");
	expect_text(c, "not yours");
	expect_text(c, "\\x001'");
}

/* A daemon's socket lies where the user that it was has his, and only root knows who that was. */
Test(ctl, another_user_than_at_first) {
	if (geteuid() != 0)
		cr_skip_test("needs root, to become another user");
	static const char *const when[] = {"early", "late"};
	for (int i = 0; i < 2; i++) {
		struct child c = session("program=drops_root; start ctl=1 %s; $B/goshim ctl $pid stats | grep g.live; finish; rm -f /tmp/goshim-0/$pid.sock",
				     when[i]);
		cr_expect_str_eq(c.output, "  \"g.live\": 1,\n", "%s: %s", when[i], c.output);
	}
}

/* Descriptors and other threads of the program look as they would without the socket. */
Test(ctl, program_does_not_see_it) {
	struct child c =
		session("start verbose=0; ls /proc/$pid/fd >$d/plain; finish; : >$d/out; start ctl=$d/s; "
		    "$B/goshim ctl $pid dump >/dev/null; ls /proc/$pid/fd | diff - $d/plain && echo same; finish");
	cr_expect(strcmp(c.output, "same\n") == 0, "%s", c.output);
}

Test(ctl, fork_leaves_it_to_the_parent) {
	struct child c = session("start ctl=$d/s fork; set -- $(grep child $d/out); for p in $pid $2; do "
			     "$B/goshim ctl $p stats | grep g.live; done; finish; sleep 0.3; ls -A $d/s");
	expect_text(c, "\"g.live\": 9,\n");
	expect_text(c, "\"g.live\": 2,\n");
}

Test(ctl, bad_peers_do_no_harm) {
	struct child c = session("start ctl=$d/s; python3 -c '"
			     "import socket, sys\n"
			     "def talk(data):\n"
			     "    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
			     "    if data is None: return s.close()\n"
			     "    s.sendall(data); s.shutdown(socket.SHUT_WR)\n"
			     "    try: return s.makefile(\"rb\").read()\n"
			     "    except ConnectionResetError: return b\"\"\n"
			     "talk(None); print(talk(b\"x\" * 4096)[:9]); print(talk(b\"\\0\\n\")[:7]); "
			     "print(talk(b\"stats extra words\\n\")[:1])\n"
			     "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b\"dump\\n\"); "
			     "s.close()' $d/s/$pid.sock; "
			     "$B/goshim ctl $pid stats | grep g.live; finish");
	expect_text(c, "b''\n");
	expect_text(c, "b'unknown'\n");
	expect_text(c, "\"g.live\": 9,\n");
}

/* One that never comes to the end of its line does not keep the others out: it is let go before it has said all that a line may have. */
Test(ctl, slow_peer_is_let_go) {
	struct child c = session("start ctl=$d/s; python3 -c '"
			     "import select, socket, sys\n"
			     "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); said = 0\n"
			     "while said < 127 and not select.select([s], [], [], 0.2)[0]:\n"
			     "    s.sendall(b\"x\"); said += 1\n"
			     "print(\"let go\" if said < 127 else \"heard out\")' $d/s/$pid.sock; $B/goshim ctl $pid stats | grep g.live; finish");
	cr_expect_str_eq(c.output, "let go\n  \"g.live\": 9,\n", "%s", c.output);
}

/* ---- the client's complaints: one line, and what to do ---- */

Test(ctl, wrong_usage) {
	struct child c = child_run("$B/goshim ctl");
	expect_status(c, 2);
	expect_text(c, "usage: goshim ctl PID COMMAND");
	c = child_run("$B/goshim ctl $$ bogus");
	expect_status(c, 2);
	expect_text(c, "bogus");
	static const struct {
		const char *arguments, *complaint;
	} wrong[] = {
		{"$$ gomaxprocs many", "goshim: gomaxprocs many: N must be a number (see goshim ctl --help)\n"},
		{"$$ trace x", "goshim: trace x: MS must be a number (see goshim ctl --help)\n"},
		{"$$ trace 0", "goshim: trace 0: must be a number of 1 or more\n"},
		{"$$ cancel", "goshim: cancel needs GID (see goshim ctl --help)\n"},
		{"$$ cancel x", "goshim: cancel x: GID must be a number (see goshim ctl --help)\n"},
		{"$$ cancel 1 2", "goshim: 2: cancel takes no such argument (see goshim ctl --help)\n"},
		{"$$ dump extra", "goshim: extra: dump takes no such argument (see goshim ctl --help)\n"},
		{"word dump", "goshim: word: not a process id (see goshim ctl --help)\n"},
		{"0 dump", "goshim: 0: not a process id (see goshim ctl --help)\n"},
		{"-1 dump", "goshim: -1: not a process id (see goshim ctl --help)\n"},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		c = child_run("$B/goshim ctl %s", wrong[i].arguments);
		expect_status(c, 2);
		cr_expect_str_eq(c.output, wrong[i].complaint, "%s: %s", wrong[i].arguments, c.output);
	}
	c = child_run("$B/goshim ctl --help");
	expect_status(c, 0);
}

Test(ctl, wrong_process) {
	struct child c = child_run("sleep 0 & p=$!; wait; $B/goshim ctl $p dump");
	expect_status(c, 1);
	expect_text(c, ": no such process\n");
	c = child_run("sleep 5 & $B/goshim ctl $! dump; s=$?; kill $!; exit $s");
	expect_status(c, 1);
	expect_text(c, " does not run under goshim\n");
	c = session("start ctl=$d/s nothreads; $B/goshim ctl $pid dump; echo status $?; finish");
	expect_text(c, "status 1\n");
	expect_text(c, "have made a thread;");
}

Test(ctl, bad_setting) {
	struct child c = child_run("$B/goshim --set ctl=relative ls");
	expect_status(c, 2);
	expect_text(c, "ctl=relative: must be 0, 1 or the full path");
	c = child_run("$B/goshim --set schedtrace=0 ls");
	expect_status(c, 2);
}

/* Who spins for a lock gives way to its holder by itself (SYN-18): a switch for each turn. Otherwise the P is taken from who spins, some milliseconds later, and
 * from then on they are two kernel threads. */
Test(ctl, spinning_gives_way) {
	struct child c = session("export GOMAXPROCS=1; program=spin_turns start ctl=$d/s; $B/goshim ctl $pid stats | "
				 "grep sched.switches | tr -dc 0-9; finish");
	cr_expect(atol(c.output) > 1000, "%s", c.output);
}
