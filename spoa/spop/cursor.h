/*
 * spop/cursor: all reading of wire bytes.
 *
 * A cursor walks forward over borrowed bytes and latches its first error:
 * after that every read gives zero / empty, so callers read a whole structure
 * and look once. Code above never moves raw pointers.
 */
#ifndef SPOP_CURSOR_H
#define SPOP_CURSOR_H

#include "base/str.h"

struct cursor {
	const unsigned char *p;
	const unsigned char *end;
	bool bad;
};

struct cursor cursor_of(struct str bytes);
size_t cursor_left(const struct cursor *c);

uint8_t cursor_u8(struct cursor *c);
uint32_t cursor_be32(struct cursor *c);

/* SPOE.txt 3.2.1, "peers" varint; at most 10 bytes, 64 bits. */
uint64_t cursor_varint(struct cursor *c);

/* n bytes; a view. */
struct str cursor_take(struct cursor *c, uint64_t n);

/* varint length + bytes; a view. */
struct str cursor_string(struct cursor *c);

#endif
