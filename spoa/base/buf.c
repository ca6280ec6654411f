/*
 * base/buf: a byte buffer that grows up to a fixed maximum.
 *
 * All appends go through buf_reserve(), the only place that allocates and
 * that compares with the maximum.
 */
#include "base/buf.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The first allocation: most log lines and labels fit without a second one. */
enum { BUF_MIN_CAP = 256 };

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
	free(b->p);
	buf_init(b, b->max);
}

void buf_wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_done(b);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

bool buf_reserve(struct buf *b, size_t len)
{
	size_t cap = b->cap ? b->cap : BUF_MIN_CAP;
	char *p;

	if (b->failed || len > b->max - b->len) {
		b->failed = true;
		return false;
	}
	if (len <= b->cap - b->len)
		return true;
	/* doubling keeps the cost of n appends proportional to n */
	while (cap - b->len < len)
		cap *= 2;
	if (cap > b->max)
		cap = b->max;
	p = realloc(b->p, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

bool buf_add(struct buf *b, const void *p, size_t len)
{
	if (!buf_reserve(b, len))
		return false;
	if (len)
		memcpy(b->p + b->len, p, len);
	b->len += len;
	return true;
}

bool buf_add_str(struct buf *b, struct str s)
{
	return buf_add(b, s.p, s.len);
}

bool buf_fmt(struct buf *b, const char *fmt, ...)
{
	size_t room = b->cap - b->len;
	va_list ap;
	int n;

	if (b->failed)
		return false;
	/* The first attempt writes into the memory that is there, which is
	 * enough most of the time; only a text that did not fit is formatted
	 * a second time, into memory of its size and one byte for the NUL. */
	va_start(ap, fmt);
	n = vsnprintf(room ? b->p + b->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n < 0 || !buf_reserve(b, (size_t)n + 1)) {
		b->failed = true;
		return false;
	}
	if ((size_t)n >= room) {
		va_start(ap, fmt);
		vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	b->len += (size_t)n;
	return true;
}

bool buf_num(struct buf *b, int64_t v)
{
	char digits[20]; /* 2^63 has 19 digits; one more for the sign */
	size_t at = sizeof(digits);
	/* negated as unsigned: -INT64_MIN does not fit an int64_t */
	uint64_t rest = v < 0 ? -(uint64_t)v : (uint64_t)v;

	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (v < 0)
		digits[--at] = '-';
	return buf_add(b, digits + at, sizeof(digits) - at);
}

/* One character of a JSON string as its escape: the short form where RFC 8259
 * has one, else \u00XX. */
static void buf_add_escape(struct buf *b, unsigned char c)
{
	/* pairs of a character and the letter of its escape */
	static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	const char *at;

	for (at = named; *at; at += 2)
		if (c == (unsigned char)*at) {
			buf_add(b, "\\", 1);
			buf_add(b, at + 1, 1);
			return;
		}
	buf_fmt(b, "\\u%04x", c);
}

bool buf_json(struct buf *b, struct str s)
{
	buf_add(b, "\"", 1);
	while (s.len > 0) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = utf8_len(s);

		/* One byte at a time, so that a sequence that follows a
		 * broken byte is kept. DEL (0x7f) may stand in JSON unescaped
		 * but would reach a terminal. */
		if (n == 0) {
			buf_add(b, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f) {
			buf_add_escape(b, c);
		} else {
			buf_add(b, s.p, n);
		}
		s = str_from(s, n);
	}
	return buf_add(b, "\"", 1);
}

void buf_consume(struct buf *b, size_t n)
{
	/* The rest moves to the front. Callers consume when a write ended
	 * early, which is rare, so a ring buffer would not pay off. */
	if (n < b->len)
		memmove(b->p, b->p + n, b->len - n);
	b->len -= n;
}
