/*
 * Requests and answers of protocols other than HTTP, given on the command line of the load generator as text in which
 * \r \n \t \\ and \xNN stand for bytes, and
 *
 *   %I   16 hexadecimal digits that no other request has
 *   %S   8 hexadecimal digits, the same
 *   %C   5 decimal digits, the number of the connection
 *   %%   a percent sign
 *
 * Every one has a fixed width, so that a request and its answer have the same length every time. An answer that quotes
 * the id proves that it belongs to the request, not to a neighbour's.
 */
#ifndef BENCH_TEMPLATE_H
#define BENCH_TEMPLATE_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct template {
	char *text; /* escapes done; fields filled in place each time */
	size_t len;
	struct {
		size_t at;
		char kind;
	} fields[16];
	int nfields;
};

static inline int template_field_width(char kind) {
	return kind == 'I' ? 16 : kind == 'S' ? 8 : kind == 'C' ? 5 : 0;
}

/* 0, or -1 when the text is not well formed. */
static inline int template_parse(struct template *t, const char *source) {
	t->text = malloc(strlen(source) * 8 + 1); /* the widest field is eight times its name */
	t->len = 0;
	t->nfields = 0;
	if (!t->text)
		return -1;
	for (const char *s = source; *s; s++) {
		unsigned byte;
		int width;
		if (*s == '\\' && s[1] == 'x' && sscanf(s + 2, "%2x", &byte) == 1 && s[3]) {
			t->text[t->len++] = (char)byte;
			s += 3;
		} else if (*s == '\\') {
			const char *names = "rnt\\", *name = s[1] ? strchr(names, s[1]) : NULL;
			if (!name)
				return -1;
			t->text[t->len++] = "\r\n\t\\"[name - names];
			s++;
		} else if (*s == '%' && s[1] == '%') {
			t->text[t->len++] = *++s;
		} else if (*s == '%') {
			if ((width = template_field_width(s[1])) == 0 || t->nfields == 16)
				return -1;
			t->fields[t->nfields].at = t->len;
			t->fields[t->nfields++].kind = *++s;
			t->len += (size_t)width;
		} else {
			t->text[t->len++] = *s;
		}
	}
	return 0;
}

/* The bytes for this id and connection; valid until the next call for the same template. */
static inline const char *template_fill(struct template *t, uint64_t id, int connection) {
	char digits[24];
	for (int i = 0; i < t->nfields; i++) {
		char kind = t->fields[i].kind;
		if (kind == 'I')
			snprintf(digits, sizeof digits, "%016" PRIx64, id);
		else if (kind == 'S')
			snprintf(digits, sizeof digits, "%08" PRIx32, (uint32_t)id);
		else
			snprintf(digits, sizeof digits, "%05d", connection);
		memcpy(t->text + t->fields[i].at, digits, (size_t)template_field_width(kind));
	}
	return t->text;
}

#endif
