/*
 * base/arena: the fixed-size workspace of one request.
 *
 * A bump allocator: an allocation moves `used` forward, nothing is freed
 * alone, and all allocations end together with the request. The size is fixed
 * (struct request has REQUEST_ARENA bytes), so one request cannot take memory
 * from the others, and no step of the decision has to free anything.
 *
 * Errors: the first allocation that does not fit sets `overflow`, which stays
 * set until arena_init(). All later allocations return NULL
 * or an empty str. A caller may therefore make many allocations and check
 * `overflow` once at the end (decide/pipeline turns it into a refusal).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

struct arena {
	char *mem;   /* owned by the caller of arena_init */
	size_t size; /* bytes of mem */
	size_t used; /* bytes handed out; secrets are wiped up to here */
	bool overflow;
};

/* Allocate from the `size` bytes at `mem`, which must be aligned to 16 bytes
 * and outlive the arena. */
void arena_init(struct arena *a, void *mem, size_t size);

/* `len` zeroed bytes, aligned for any type. NULL on overflow. */
void *arena_alloc(struct arena *a, size_t len);

/* A copy of s; a NUL follows its last byte. Empty on overflow. */
struct str arena_str(struct arena *a, struct str s);

/* The text of a printf; a NUL follows its last byte. Empty on overflow, never
 * truncated. */
struct str arena_fmt(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
