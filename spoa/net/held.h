/*
 * net/held: bytes of a connection that wait for the rest of their frame, in
 * memory of exactly the size that is needed.
 */
#ifndef NET_HELD_H
#define NET_HELD_H

#include "base/str.h"

struct held {
	char *p; /* owned; NULL: nothing is held */
	size_t len;
	size_t size; /* when len reaches it, there is something to parse */
};

/* Hold `bytes`, too, and room up to `size` in all, which is not less than what
 * is held. False without memory; then nothing has changed. */
bool held_add(struct held *h, struct str bytes, size_t size);

/* Moves bytes over until it is full. */
void held_fill(struct held *h, struct str *bytes);

/* All of it, for the caller to free; afterwards nothing is held. */
struct held held_take(struct held *h);

void held_done(struct held *h);

#endif
