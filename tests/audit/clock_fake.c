/* For LD_AUDIT: a wall clock of the process's own that it can set, because no test may set the machine's. Whoever binds clock_gettime() or clock_settime(), the
 * library that is preloaded as well, gets these. libc's own waits ask the kernel, and know nothing of it. */
#include <link.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic long ahead; /* s */

static int fake_gettime(clockid_t clock, struct timespec *now) {
	long r = syscall(SYS_clock_gettime, clock, now);
	if (clock == CLOCK_REALTIME)
		now->tv_sec += ahead;
	return (int)r;
}

static int fake_settime(clockid_t clock, const struct timespec *time) {
	struct timespec now;
	syscall(SYS_clock_gettime, clock, &now);
	ahead = time->tv_sec - now.tv_sec;
	return 0;
}

unsigned la_version(unsigned version) {
	return version;
}

unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) {
	(void)map;
	(void)namespace;
	(void)cookie;
	return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

uintptr_t la_symbind64(Elf64_Sym *sym, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags, const char *name) {
	(void)index;
	(void)from;
	(void)to;
	(void)flags;
	return strcmp(name, "clock_gettime") == 0   ? (uintptr_t)fake_gettime
	       : strcmp(name, "clock_settime") == 0 ? (uintptr_t)fake_settime
	                                            : sym->st_value;
}
