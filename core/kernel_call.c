/* Reads what the kernel tells in /proc, of kernel threads above all: the file `syscall` of one says where it waits. It may be refused, or not be there:
 * then nothing is known. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "arch.h"
#include "chaos.h"
#include "kernel_call.h"

static const char *number_get(const char *s, int64_t *value) {
	bool negative = *s == '-';
	uint64_t v = 0;
	s += negative;
	if (s[0] == '0' && s[1] == 'x') {
		for (s += 2; (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'f'); s++)
			v = v * 16 + (uint64_t)(*s <= '9' ? *s - '0' : *s - 'a' + 10);
	} else {
		for (; *s >= '0' && *s <= '9'; s++)
			v = v * 10 + (uint64_t)(*s - '0');
	}
	*value = negative ? -(int64_t)v : (int64_t)v;
	return *s == ' ' ? s + 1 : s;
}

static char *number_put(char *to, uint32_t n) {
	char digits[16], *d = digits + sizeof digits;
	*--d = '\0';
	do
		*--d = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	return stpcpy(to, d);
}

long kernel_file_read(const char *path, char *text, size_t room) {
	long fd = MAY_FAIL(-EMFILE, SYS4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
	if (fd < 0)
		return fd;
	long n = SYS3(SYS_read, fd, text, room - 1);
	SYS1(SYS_close, fd);
	if (n >= 0)
		text[n] = '\0';
	return n;
}

bool kernel_number_after(const char *text, const char *field, uint64_t *value) {
	const char *at = strstr(text, field);
	if (!at)
		return false;
	*value = 0;
	for (at += strlen(field); *at >= '0' && *at <= '9'; at++)
		*value = *value * 10 + (uint64_t)(*at - '0');
	return true;
}

long task_file_read(int32_t pid, int32_t tid, const char *name, char *text, size_t room) {
	char path[64], *at = stpcpy(path, "/proc/");
	at = pid ? number_put(at, (uint32_t)pid) : stpcpy(at, "self");
	at = number_put(stpcpy(at, "/task/"), (uint32_t)tid);
	stpcpy(stpcpy(at, "/"), name);
	return kernel_file_read(path, text, room);
}

bool kernel_thread_exists(int32_t tid) {
	char path[64];
	number_put(stpcpy(path, "/proc/self/task/"), (uint32_t)tid);
	return SYS3(SYS_faccessat, AT_FDCWD, path, 0 /* F_OK */) == 0;
}

/* "NUMBER ARG*6 SP PC", or "running", or "-1 SP PC". */
struct kernel_call kernel_call_of(int32_t ktid) {
	struct kernel_call c = {0};
	char text[256];
	int64_t v[9];
	if (task_file_read(0, ktid, "syscall", text, sizeof text) <= 0)
		return c;
	c.known = true;
	c.running = text[0] == 'r';
	if (c.running)
		return c;
	const char *s = text;
	int count = 0;
	while (count < 9 && *s && *s != '\n')
		s = number_get(s, &v[count++]);
	c.number = v[0];
	if (count == 9) {
		c.arg0 = (uint64_t)v[1];
		c.arg3 = (uint64_t)v[4];
		c.sp = (uint64_t)v[7];
		c.pc = (uint64_t)v[8];
	} else if (count == 3) {
		c.sp = (uint64_t)v[1];
		c.pc = (uint64_t)v[2];
	}
	return c;
}
