/* Text without stdio (see text.h). */
#include "text.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "arch.h"

void text_flush(struct text *t) {
	size_t done = 0;
	while (done < t->length && !t->failed) {
		long n = t->is_socket ? SYS6(SYS_sendto, t->fd, t->buf + done, t->length - done, MSG_NOSIGNAL, 0, 0)
				      : SYS3(SYS_write, t->fd, t->buf + done, t->length - done);
		if (n > 0)
			done += (size_t)n;
		else if (n != -EINTR)
			t->failed = true;
	}
	t->length = 0;
}

void text_bytes(struct text *t, const char *s, size_t n) {
	while (n) {
		size_t part = sizeof t->buf - t->length;
		if (part > n)
			part = n;
		memcpy(t->buf + t->length, s, part);
		t->length += part;
		s += part;
		n -= part;
		if (t->length == sizeof t->buf)
			text_flush(t);
	}
}

void text_str(struct text *t, const char *s) {
	text_bytes(t, s, strlen(s));
}

static void digits(struct text *t, uint64_t n, unsigned base) {
	char buffer[24], *p = buffer + sizeof buffer;
	do
		*--p = "0123456789abcdef"[n % base];
	while ((n /= base) != 0);
	text_bytes(t, p, (size_t)(buffer + sizeof buffer - p));
}

void text_dec(struct text *t, int64_t n) {
	if (n < 0)
		text_bytes(t, "-", 1);
	digits(t, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 10);
}

void text_hex(struct text *t, uint64_t n) {
	text_bytes(t, "0x", 2);
	digits(t, n, 16);
}

void text_time(struct text *t, int64_t ns) {
	if (ns < 0)
		ns = 0;
	if (ns < 1000000) {
		text_dec(t, ns / 1000);
		text_str(t, " us");
	} else if (ns < 1000000000) {
		text_dec(t, ns / 1000000);
		text_str(t, " ms");
	} else {
		text_dec(t, ns / 1000000000);
		text_bytes(t, ".", 1);
		text_dec(t, ns / 100000000 % 10);
		text_str(t, " s");
	}
}

void text_size(struct text *t, uint64_t bytes) {
	text_dec(t, (int64_t)((bytes + 1023) >> 10));
	text_str(t, " KiB");
}

void text_name(struct text *t, const char *s, size_t max) {
	for (; max && *s; s++, max--) {
		char c = *s >= ' ' && *s <= '~' && *s != '"' ? *s : '?';
		text_bytes(t, &c, 1);
	}
}
