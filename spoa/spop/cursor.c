/*
 * spop/cursor: reading of wire bytes with bounds.
 *
 * Every read ends in cursor_take(), the only place that compares a length with
 * what is left. It compares lengths, not pointers: p + n could overflow (STYLE
 * 18).
 */
#include "spop/cursor.h"

struct cursor cursor_of(struct str bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.p;

	/* NULL + 0 is undefined in C; an empty str may have no pointer */
	return (struct cursor){p, bytes.len ? p + bytes.len : p, false};
}

size_t cursor_left(const struct cursor *c)
{
	return c->bad ? 0 : (size_t)(c->end - c->p);
}

struct str cursor_take(struct cursor *c, uint64_t n)
{
	struct str s;

	if (n > cursor_left(c)) {
		c->bad = true;
		return STR_NONE;
	}
	if (n == 0 || c->bad)
		return STR_NONE;
	s = str_of((const char *)c->p, (size_t)n);
	c->p += n;
	return s;
}

uint8_t cursor_u8(struct cursor *c)
{
	struct str s = cursor_take(c, 1);

	return s.len ? (uint8_t)s.p[0] : 0;
}

uint32_t cursor_be32(struct cursor *c)
{
	struct str s = cursor_take(c, 4);
	const unsigned char *b = (const unsigned char *)s.p;

	if (s.len == 0)
		return 0;
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
	       (uint32_t)b[2] << 8 | b[3];
}

/*
 * A first byte below 240 is the value. Else it is the start of a sum: the byte,
 * plus each further byte shifted by 4, 11, 18 ... bits. The last one is below
 * 128. The whole bytes are added, with the bits that mark a continuation, so
 * each value has exactly one encoding.
 *
 * The number of bytes needs no limit of its own: the tenth is shifted by 60
 * bits, where a continuation bit alone exceeds 64 bits, which is an error.
 */
uint64_t cursor_varint(struct cursor *c)
{
	uint64_t v = cursor_u8(c);
	unsigned shift = 4;
	uint64_t b;

	if (v < 240)
		return v;
	do {
		b = cursor_u8(c);
		if (b > (UINT64_MAX - v) >> shift)
			c->bad = true;
		if (c->bad)
			return 0;
		v += b << shift;
		shift += 7;
	} while (b >= 128);
	return v;
}

struct str cursor_string(struct cursor *c)
{
	return cursor_take(c, cursor_varint(c));
}
