/*
 * spop/value: typed data of SPOP (SPOE.txt 3.1).
 *
 *   | flags: 4 bits, type: 4 bits | data: none, varint, address or string |
 */
#include "spop/value.h"

/* Of the first byte of a value: the type, and the flag that is a boolean. */
enum { TYPE_MASK = 0x0f, FLAG_TRUE = 0x10 };

struct spop_value value_read(struct cursor *c)
{
	uint8_t head = cursor_u8(c);
	struct spop_value v = {.type = (enum spop_type)(head & TYPE_MASK)};

	switch (v.type) {
	case SPOP_NULL:
		break;
	case SPOP_BOOL:
		v.boolean = (head & FLAG_TRUE) != 0;
		break;
	case SPOP_INT32:
	case SPOP_UINT32:
	case SPOP_INT64:
	case SPOP_UINT64: /* all four are varints; negatives take 10 bytes */
		v.number = (int64_t)cursor_varint(c);
		break;
	case SPOP_IPV4:
		v.bytes = cursor_take(c, 4);
		break;
	case SPOP_IPV6:
		v.bytes = cursor_take(c, 16);
		break;
	case SPOP_STR:
	case SPOP_BIN:
		v.bytes = cursor_string(c);
		break;
	default: /* reserved: with its length unknown the rest is unreadable */
		c->bad = true;
	}
	if (c->bad)
		return (struct spop_value){.type = SPOP_NULL};
	return v;
}

/* cursor_varint() adds the continuation bits to the value, so they are
 * subtracted here before each shift. */
bool value_write_varint(struct buf *b, uint64_t v)
{
	unsigned char out[10]; /* 4 bits in the first, 7 in each further one */
	size_t n = 0;

	if (v < 240) {
		out[n++] = (unsigned char)v;
		return buf_add(b, out, n);
	}
	out[n++] = (unsigned char)(v | 240);
	v = (v - 240) >> 4;
	while (v >= 128) {
		out[n++] = (unsigned char)(v | 128);
		v = (v - 128) >> 7;
	}
	out[n++] = (unsigned char)v;
	return buf_add(b, out, n);
}

bool value_write_string(struct buf *b, struct str s)
{
	value_write_varint(b, s.len);
	return buf_add_str(b, s);
}

/* Append the first byte of a value: type and flags. */
static void typed_put_head(struct buf *b, unsigned char head)
{
	buf_add(b, &head, 1);
}

bool value_write_str(struct buf *b, struct str s)
{
	typed_put_head(b, SPOP_STR);
	return value_write_string(b, s);
}

bool value_write_bool(struct buf *b, bool v)
{
	typed_put_head(b, v ? SPOP_BOOL | FLAG_TRUE : SPOP_BOOL);
	return !b->failed;
}

bool value_write_int64(struct buf *b, int64_t v)
{
	typed_put_head(b, SPOP_INT64);
	return value_write_varint(b, (uint64_t)v);
}

bool value_write_uint32(struct buf *b, uint32_t v)
{
	typed_put_head(b, SPOP_UINT32);
	return value_write_varint(b, v);
}
