/*
 * spop/value: typed data of SPOP (SPOE.txt 3.1).
 *
 * The type is the low nibble of the first byte, the flags are the high one.
 * SPOE.txt draws them the other way round; HAProxy does it as here
 * (haproxy.md 1).
 */
#ifndef SPOP_VALUE_H
#define SPOP_VALUE_H

#include "base/buf.h"
#include "spop/cursor.h"

/* The numbers on the wire; 10 to 15 are reserved. */
enum spop_type {
	SPOP_NULL = 0,
	SPOP_BOOL = 1,
	SPOP_INT32 = 2,
	SPOP_UINT32 = 3,
	SPOP_INT64 = 4,
	SPOP_UINT64 = 5,
	SPOP_IPV4 = 6,
	SPOP_IPV6 = 7,
	SPOP_STR = 8,
	SPOP_BIN = 9,
};

/* What does not belong to the type is 0. */
struct spop_value {
	enum spop_type type;
	bool boolean;     /* BOOL */
	int64_t number;   /* the integer types; UINT64 as two's complement */
	struct str bytes; /* STR, BIN; 4 bytes of IPV4, 16 of IPV6: a view */
};

/* Read one value. A reserved type, whose length is unknown, is an error of the
 * cursor. After any error the value is SPOP_NULL; it must not be used. */
struct spop_value value_read(struct cursor *c);

/* Append to a buffer; false when it has failed (base/buf). */
bool value_write_varint(struct buf *b, uint64_t v);
bool value_write_string(struct buf *b, struct str s); /* without a type */
bool value_write_str(struct buf *b, struct str s);    /* a value: STR */
bool value_write_bool(struct buf *b, bool v);         /* a value: BOOL */
bool value_write_int64(struct buf *b, int64_t v);     /* a value: INT64 */
bool value_write_uint32(struct buf *b, uint32_t v);   /* a value: UINT32 */

#endif
