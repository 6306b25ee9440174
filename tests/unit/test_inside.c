/* What waits inside libc parks its goroutine, because libc's code was changed to lead to us; and where that is refused, all works as well. */
#include <criterion/criterion.h>

#include "child.h"

#define expect(cond, c) cr_expect(cond, "%s: status %d\n%s", #cond, (c).status, (c).output)
#define LEFT "waits inside libc are left to sysmon"

static struct child inside(int procs, const char *settings, const char *confine) {
	return child_run(
		"export LD_PRELOAD=$B/libgoshim.so GOMAXPROCS=%d GOSHIM=%s; %s%s%s $B/tests/helpers/inside maps", procs,
		settings, *confine ? "$B/tests/helpers/confine " : "", confine, *confine ? " --" : "");
}

Test(inside, parks) {
	for (int procs = 1; procs <= 8; procs *= 2) {
		struct child c = inside(procs, "verbose=1", "");
		expect(c.status == 0, c);
		expect(!strstr(c.output, LEFT), c);
		expect(strstr(c.output, "\nfew\n"), c);
		expect(strstr(c.output, "\n200 through\n"), c);
	}
}

/* SEC-10 */
Test(inside, code_is_never_writable) {
	struct child c = inside(2, "verbose=1", "");
	expect(!strstr(c.output, "rwx"), c);
	expect(strstr(c.output, "libc's code in several mappings\n"), c);
	c = inside(2, "verbose=1,patch=0", "");
	expect(strstr(c.output, "libc's code in one mapping\n"), c);
}

Test(inside, refused) {
	struct child c = inside(2, "verbose=1", "mremap=1");
	if (c.status == 77)
		cr_skip_test("%s", c.output);
	expect(c.status == 0, c);
	expect(strstr(c.output, LEFT ": libc's pages may not be replaced here\n"), c);
	expect(strstr(c.output, "libc's code in one mapping\n"), c);
	expect(strstr(c.output, "\nmany\n"), c);
	expect(strstr(c.output, "\n200 through\n"), c);
	c = inside(2, "patch=1", "mremap=1"); /* no word of it if nobody asks */
	expect(!strstr(c.output, "goshim:"), c);
}

Test(inside, not_wanted) {
	struct child c = inside(1, "verbose=1,patch=0", "");
	expect(c.status == 0, c);
	expect(strstr(c.output, LEFT ": GOSHIM=patch=0\n"), c);
	expect(strstr(c.output, "\n200 through\n"), c);
}
