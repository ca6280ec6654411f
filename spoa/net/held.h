/*
 * net/held: bytes of a connection that cannot be parsed yet.
 *
 * Either a frame that arrived in part, or complete frames of a connection
 * that has too many unanswered requests (net/conn). An idle connection holds
 * nothing and so has no read buffer of its own.
 *
 *   p ---> [ len bytes received | room for the rest ]
 *          '------------- size -------------------'
 */
#ifndef NET_HELD_H
#define NET_HELD_H

#include "base/str.h"

/* A zeroed struct is empty. */
struct held {
	char *p;     /* owned; NULL: nothing is held */
	size_t len;  /* bytes received */
	size_t size; /* bytes allocated; parse again when len reaches it */
};

/* Append `bytes` and set the size to `size`, which must be at least the
 * number of bytes held so far plus those of `bytes`, and not 0. False
 * without memory; nothing has changed then. */
bool held_add(struct held *h, struct str bytes, size_t size);

/* Move bytes from the front of `bytes` until `size` is reached or `bytes` is
 * empty; `bytes` is what remains. */
void held_fill(struct held *h, struct str *bytes);

/* Move everything out: the caller owns the result (held_done()), and nothing
 * is held afterwards. */
struct held held_take(struct held *h);

/* Free; what is held is lost. Accepts an empty one. */
void held_done(struct held *h);

#endif
