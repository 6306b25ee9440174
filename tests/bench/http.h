/*
 * The one kind of HTTP exchange the benchmark programs speak, shared by the two servers and the load generator so
 * that all three agree on every byte:
 *
 *	GET /0123456789abcdef HTTP/1.1      sixteen lower-case hex digits, different in every request
 *	200, Content-Length: N              body = those sixteen digits over and over, N bytes
 *
 * The body depends on the request, so an answer that went to the wrong connection, came twice or was torn is a wrong
 * body and is counted.
 */
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum {
	HTTP_ID_BYTES = 16,
	HTTP_BODY_BYTES = 64,     /* default size of a body */
	HTTP_REQUEST_BYTES = 512, /* longest request a server takes */
	HTTP_HEAD_BYTES = 128,    /* longest head of an answer a server makes */
};

static inline bool http_id_valid(const char *id) {
	for (int i = 0; i < HTTP_ID_BYTES; i++)
		if (!((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f')))
			return false;
	return true;
}

/* The request at the start of buf[0..len): its length, 0 when it is not complete yet, -1 when it is not one of ours.
 * *id points into buf. */
static inline int http_request_parse(const char *buf, size_t len, const char **id) {
	static const char start[] = "GET /";
	const char *end = memmem(buf, len, "\r\n\r\n", 4);
	if (!end)
		return len >= HTTP_REQUEST_BYTES ? -1 : 0;
	if ((size_t)(end - buf) < sizeof start - 1 + HTTP_ID_BYTES || memcmp(buf, start, sizeof start - 1) != 0)
		return -1;
	*id = buf + sizeof start - 1;
	return http_id_valid(*id) ? (int)(end + 4 - buf) : -1;
}

/* Writes head and body (body_bytes of it, a multiple of HTTP_ID_BYTES) to out, which has room for HTTP_HEAD_BYTES +
 * body_bytes. */
static inline size_t http_answer_make(char *out, const char *id, size_t body_bytes) {
	int head = snprintf(out, HTTP_HEAD_BYTES,
			    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", body_bytes);
	for (size_t i = 0; i < body_bytes; i += HTTP_ID_BYTES)
		memcpy(out + head + i, id, HTTP_ID_BYTES);
	return (size_t)head + body_bytes;
}

#endif
