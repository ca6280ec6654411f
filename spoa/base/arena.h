/*
 * base/arena: the fixed-size workspace of one request.
 *
 * Everything a request makes lives here and dies with it. Nothing is freed
 * alone. When the space is used up, `overflow` is set and stays set, and all
 * further calls give NULL / an empty str: callers may go on and look once at
 * the end (the pipeline turns it into a verdict).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

struct arena {
	char *mem; /* owned by whoever called arena_init */
	size_t size;
	size_t used;
	bool overflow;
};

/* Work in `mem`; it must be aligned for any type and outlive the arena. */
void arena_init(struct arena *a, void *mem, size_t size);

/* Forget all that was made. */
void arena_reset(struct arena *a);

/* `len` zeroed bytes, aligned for any type. NULL on overflow. */
void *arena_alloc(struct arena *a, size_t len);

/* A copy of s; also NUL-terminated behind its length. */
struct str arena_str(struct arena *a, struct str s);

/* printf into the arena; also NUL-terminated behind its length. */
struct str arena_fmt(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
