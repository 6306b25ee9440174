/* Other libraries in LD_PRELOAD beside ours, in both orders (INT-4): allocators that replace malloc (INT-2: they are
 * called while we look up symbols), and libfaketime, which wraps the same
 * functions as we do. And an auditing library, with its own namespace (INT-5). */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <unistd.h>

#include "child.h"

/* `fronts`: it has functions of its own for what we serve, so it must be called before us; behind us it would not be called, and we stand aside. */
static void stacked(const char *library, bool fronts, const char *environment) {
	if (access(library, R_OK) != 0)
		cr_skip_test("%s is not installed", library);
	for (int order = 0; order < 2; order++) {
		const char *format = order ? "%s:$B/libgoshim.so" : "$B/libgoshim.so:%s";
		char preload[300];
		snprintf(preload, sizeof preload, format, library);
		struct child c = child_run("export %s GOMAXPROCS=2 LD_PRELOAD=%s; $B/tests/helpers/works && $B/tests/helpers/inside", environment, preload);
		if (fronts && !order)
			cr_expect(strstr(c.output, "must come before libgoshim.so in LD_PRELOAD; running on kernel threads\n") &&
			                  strstr(c.output, "works on kernel threads\n"),
			          "%s: %d\n%s", preload, c.status, c.output);
		else
			cr_expect(c.status == 0 && strstr(c.output, "works on goroutines\n") && strstr(c.output, "few\n200 through\n"),
			          "%s: %d\n%s", preload, c.status, c.output);
	}
}

#define FOLDER "/usr/lib/x86_64-linux-gnu/"

Test(stacked, jemalloc) {
	stacked(FOLDER "libjemalloc.so.2", false, "");
}

Test(stacked, tcmalloc) {
	stacked(FOLDER "libtcmalloc_minimal.so.4", false, "");
}

/* It stands in front of sockets and descriptors, and finds libc's own by a handle. */
Test(stacked, socket_wrapper) {
	stacked(FOLDER "libsocket_wrapper.so", true, "SOCKET_WRAPPER_DIR=$B");
}

Test(stacked, uid_wrapper) {
	stacked(FOLDER "libuid_wrapper.so", true, "UID_WRAPPER=1");
}

Test(stacked, faketime) {
	stacked(FOLDER "faketime/libfaketimeMT.so.1", true, "FAKETIME=+0 FAKETIME_DONT_FAKE_MONOTONIC=1");
}

/* `what` is what of the calls the auditing library, NAME.so, looks at. */
static void audited(const char *name, const char *what) {
	char command[2000];
	snprintf(command, sizeof command,
	         "printf '%%s\\n' '#include <link.h>' 'unsigned la_version(unsigned v) { return v; }' "
	         "'unsigned la_objopen(struct link_map *m, Lmid_t l, uintptr_t *c) { return 3; }' '%s' >$B/%s.c && "
	         "gcc -shared -fPIC -D_GNU_SOURCE -w $B/%s.c -o $B/%s.so && "
	         "LD_AUDIT=$B/%s.so LD_PRELOAD=$B/libgoshim.so GOMAXPROCS=2 $B/tests/helpers/works",
	         what, name, name, name, name);
	struct child c = child_run("%s", command);
	cr_expect(c.status == 0 && strstr(c.output, "works on goroutines\n"), "%d\n%s", c.status, c.output);
}

Test(stacked, audit) {
	audited("audit", "");
}

#ifdef __x86_64__
/* Both ends of a call: the loader calls the function itself then, on a copy of the caller's frame, and is whom the function returns to. */
Test(stacked, audit_of_calls) {
	audited("audit_of_calls", "Elf64_Addr la_x86_64_gnu_pltenter(Elf64_Sym *s, unsigned n, uintptr_t *r, uintptr_t *d, La_x86_64_regs *g, unsigned *f, "
	        "const char *name, long *size) { *size = 512; return s->st_value; } "
	        "unsigned la_x86_64_gnu_pltexit(Elf64_Sym *s, unsigned n, uintptr_t *r, uintptr_t *d, const La_x86_64_regs *g, "
	        "La_x86_64_retval *o, const char *name) { return 0; }");
}
#endif

/* TIM-2: waits for a time of the wall clock follow it when it is set. */
Test(stacked, clock_set) {
	struct child c = child_run("gcc -shared -fPIC -D_GNU_SOURCE -Wall -Wextra -Werror $S/tests/audit/clock_fake.c -o $B/clock_fake.so && "
	                           "for p in 1 2 8; do LD_AUDIT=$B/clock_fake.so LD_PRELOAD=$B/libgoshim.so GOMAXPROCS=$p $B/tests/helpers/clock_set; done");
	int oks = 0;
	for (const char *p = c.output; (p = strstr(p, "\nok\n")); p++)
		oks++;
	cr_expect(c.status == 0 && oks == 3, "%d\n%s", c.status, c.output);
}

/* ---- programs that a compiler's sanitizer watches ---- */

/* tests/helpers/works built with `flags`, run with `how` in front. */
static struct child sanitized(const char *name, const char *compiler, const char *how) {
	return child_run("%s -std=gnu11 -D_GNU_SOURCE -g -pthread -fsanitize=%s $S/tests/helpers/works.c -o $B/works_%s_%s && "
	                 "export GOMAXPROCS=2; %s $B/works_%s_%s",
	                 compiler, name, compiler, name, how, compiler, name);
}

/* A runtime that is a library must come first, and the program fails if it does not: nothing can be done about that but to say so. */
Test(stacked, sanitizer_as_library) {
	static const char *const names[] = {"address", "thread"};
	for (int i = 0; i < 2; i++) {
		struct child c = sanitized(names[i], "gcc", "$B/goshim");
		cr_expect(c.status == 0 && strstr(c.output, "is linked with a sanitizer's library") && strstr(c.output, "works on kernel threads\n"), "%d\n%s",
		          c.status, c.output);
	}
	struct child c = sanitized("address", "gcc", "LD_PRELOAD=$(gcc -print-file-name=libasan.so):$B/libgoshim.so");
	cr_expect(c.status == 0 && strstr(c.output, "works on goroutines\n"), "%d\n%s", c.status, c.output);
}

/* A runtime inside the program. */
Test(stacked, sanitizer_inside) {
	struct child c = sanitized("thread", "clang", "LD_PRELOAD=$B/libgoshim.so");
	cr_expect(c.status == 0 && strstr(c.output, "goshim: ThreadSanitizer") && strstr(c.output, "works on kernel threads\n"), "%d\n%s", c.status, c.output);
	c = sanitized("address", "clang", "LD_PRELOAD=$B/libgoshim.so");
	cr_expect(c.status == 0 && strstr(c.output, "works on goroutines\n"), "%d\n%s", c.status, c.output);
}
