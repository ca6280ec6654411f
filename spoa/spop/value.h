/*
 * spop/value: typed data of SPOP (SPOE.txt 3.2.1).
 *
 * The type is the low nibble of the first byte, flags the high one; that is
 * what HAProxy does, though the document reads the other way.
 */
#ifndef SPOP_VALUE_H
#define SPOP_VALUE_H

#include "base/buf.h"
#include "spop/cursor.h"

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

struct spop_value {
	enum spop_type type;
	bool boolean;
	int64_t number;   /* all integer types; UINT64 as two's complement */
	struct str bytes; /* STR, BIN, and the 4 / 16 bytes of addresses */
};

/* Unknown types latch the cursor's error. */
struct spop_value value_read(struct cursor *c);

bool value_write_varint(struct buf *b, uint64_t v);
bool value_write_string(struct buf *b, struct str s); /* length + bytes */
bool value_write_str(struct buf *b, struct str s);    /* typed STR */
bool value_write_bool(struct buf *b, bool v);
bool value_write_int64(struct buf *b, int64_t v);
bool value_write_uint32(struct buf *b, uint32_t v);

#endif
