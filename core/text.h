/* Text without stdio, malloc or locks, for reports that are written while anything may be held: numbers and names into a buffer of
 * the caller's, written out when it is full. What does not reach the descriptor is dropped: a report must never block its
 * writer for longer than the descriptor does. */
#ifndef GOSHIM_TEXT_H
#define GOSHIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	int fd;
	bool is_socket; /* then a peer that is gone is no SIGPIPE */
	bool failed;    /* the descriptor refused: the rest is dropped */
	size_t length;
	char buf[2048];
};

void text_flush(struct text *t);
void text_bytes(struct text *t, const char *s, size_t n);
void text_str(struct text *t, const char *s);
void text_dec(struct text *t, int64_t n);
void text_hex(struct text *t, uint64_t n);      /* with 0x */
void text_time(struct text *t, int64_t ns);     /* "350 us", "12.5 s" */
void text_size(struct text *t, uint64_t bytes); /* "12 KiB" */
/* A name that comes from the program: what is not printable ASCII becomes '?'. At most max bytes. */
void text_name(struct text *t, const char *s, size_t max);

#endif
