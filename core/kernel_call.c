/* Reads /proc/self/task/TID/syscall, which says where a kernel thread waits. It may be refused, or not be there: then nothing is known. */
#include <fcntl.h>
#include <string.h>

#include "arch.h"
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

/* "NUMBER ARG*6 SP PC", or "running", or "-1 SP PC". */
struct kernel_call kernel_call_of(int32_t ktid) {
	struct kernel_call c = {0};
	char path[64] = "/proc/self/task/", digits[16], text[256], *d = digits + sizeof digits;
	int64_t v[9];
	*--d = '\0';
	do
		*--d = (char)('0' + ktid % 10);
	while ((ktid /= 10) != 0);
	strcat(strcat(path, d), "/syscall");
	long fd = SYS4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return c;
	long n = SYS3(SYS_read, fd, text, sizeof text - 1);
	SYS1(SYS_close, fd);
	if (n <= 0)
		return c;
	text[n] = '\0';
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
		c.sp = (uint64_t)v[7];
		c.pc = (uint64_t)v[8];
	} else if (count == 3) {
		c.sp = (uint64_t)v[1];
		c.pc = (uint64_t)v[2];
	}
	return c;
}
