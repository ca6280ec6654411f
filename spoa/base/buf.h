/*
 * base/buf: a byte buffer that grows up to a maximum it was born with.
 *
 * Reaching the maximum, or running out of memory, fails that append and sets
 * `failed`; what is in the buffer stays as it was. Failure is sticky until
 * buf_clear(), so a writer may append many pieces and look once.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/str.h"

struct buf {
	char *p; /* owned; NULL until the first append */
	size_t len;
	size_t cap;
	size_t max;
	bool failed;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);

/* Empty it, keep the memory. */
void buf_clear(struct buf *b);

bool buf_add(struct buf *b, const void *p, size_t len);
bool buf_add_str(struct buf *b, struct str s);
bool buf_fmt(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* In decimal digits: what buf_fmt() does, for lines written all the time. */
bool buf_num(struct buf *b, int64_t v);

/* As a JSON string with its quotes: escapes quotes, backslash and control
 * characters, and replaces bytes that are not valid UTF-8 by U+FFFD. */
bool buf_json(struct buf *b, struct str s);

/* Room for `len` more bytes; the caller writes to p + len of the buffer and
 * then raises `len` itself. False when it would pass the maximum. */
bool buf_reserve(struct buf *b, size_t len);

/* Take the first n bytes away. */
void buf_consume(struct buf *b, size_t n);

static inline struct str buf_str(const struct buf *b)
{
	return str_of(b->p, b->len);
}

#endif
