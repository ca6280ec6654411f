/*
 * base/buf: a byte buffer that grows up to a fixed maximum.
 *
 * The maximum is given when the buffer is made, so every place that collects
 * bytes states its bound there (STYLE 22).
 *
 * Errors: an append that would exceed the maximum, or that finds no memory,
 * appends nothing, returns false and sets `failed`. `failed` stays set until
 * buf_clear(), and every append fails while it is set. A writer may therefore
 * append many pieces and check once at the end; what was appended before the
 * failure is still in the buffer.
 *
 * The text is not NUL-terminated.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/str.h"

struct buf {
	char *p;    /* owned by the buffer; NULL until the first append */
	size_t len; /* bytes in use */
	size_t cap; /* bytes allocated; at most max */
	size_t max; /* bytes allowed */
	bool failed;
};

/* Start an empty buffer; allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* Free the memory. The buffer is then as after buf_init(). */
void buf_done(struct buf *b);

/* The same for a buffer that has held a secret: its memory is zeroed first. A
 * buffer that grew has left copies in freed memory, so the writer of a secret
 * reserves all of it before (buf_reserve). */
void buf_wipe(struct buf *b);

/* Empty the buffer and clear `failed`; the memory is kept for reuse. */
void buf_clear(struct buf *b);

bool buf_add(struct buf *b, const void *p, size_t len);
bool buf_add_str(struct buf *b, struct str s);

/* printf. The maximum must have room for one byte more than the text, because
 * vsnprintf writes a NUL. */
bool buf_fmt(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* `v` in decimal. Same result as buf_fmt("%lld"), without the cost of
 * vsnprintf: usage records and ledger lines consist of numbers. */
bool buf_num(struct buf *b, int64_t v);

/* `s` as a JSON string with its quotes (RFC 8259, section 7): quotes,
 * backslash and control characters are escaped, and each byte that is not
 * part of valid UTF-8 is replaced by U+FFFD. On failure a part of it may have
 * been appended. */
bool buf_json(struct buf *b, struct str s);

/* Make room for `len` more bytes. The caller writes at p + len of the buffer
 * and then adds to `len` itself. Pointers into the buffer become invalid. */
bool buf_reserve(struct buf *b, size_t len);

/* Remove the first n bytes; n must not exceed the length. */
void buf_consume(struct buf *b, size_t n);

/* The content as a view, valid until the next call that changes the buffer. */
static inline struct str buf_str(const struct buf *b)
{
	return str_of(b->p, b->len);
}

#endif
