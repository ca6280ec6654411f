/*
 * spop/cursor: reading of wire bytes with bounds.
 *
 * A cursor moves forward over borrowed bytes. The first read that does not fit
 * sets `bad`; from then on every read returns zero or an empty str and moves
 * nothing. Callers therefore read a whole structure and check `bad` once at
 * the end, and no other code of spop/ handles raw pointers (STYLE 19).
 *
 * Every str that is returned is a view into the bytes given to cursor_of().
 */
#ifndef SPOP_CURSOR_H
#define SPOP_CURSOR_H

#include "base/str.h"

struct cursor {
	const unsigned char *p;   /* the next byte */
	const unsigned char *end; /* behind the last byte */
	bool bad;                 /* a read failed; never cleared */
};

/* A cursor at the start of `bytes`, which must outlive it and its views. */
struct cursor cursor_of(struct str bytes);

/* The number of bytes that are left; 0 after an error. */
size_t cursor_left(const struct cursor *c);

uint8_t cursor_u8(struct cursor *c);

/* 4 bytes in network byte order. */
uint32_t cursor_be32(struct cursor *c);

/* A variable-length integer in the encoding of HAProxy's peers protocol
 * (SPOE.txt 3.1): at most 10 bytes. A value above 2^64 - 1 is an error. */
uint64_t cursor_varint(struct cursor *c);

/* The next n bytes. */
struct str cursor_take(struct cursor *c, uint64_t n);

/* A string or binary: its length as a varint, then its bytes. */
struct str cursor_string(struct cursor *c);

#endif
