/*
 * conf/pool: the memory of one policy.
 *
 * A list of blocks that only grows. Everything in it dies together, and is
 * wiped then, because secrets are among it.
 */
#ifndef CONF_POOL_H
#define CONF_POOL_H

#include "base/str.h"

enum { POOL_MAX = 64 << 20 }; /* bytes; more is treated as no memory */

struct pool_block;

struct pool {
	struct pool_block *blocks; /* newest first */
	size_t total;
	bool failed; /* sticky: some call has given NULL */
};

/* NULL without memory. */
struct pool *pool_new(void);
void pool_free(struct pool *p); /* accepts NULL; wipes */

/* `n` zeroed elements of `size` bytes, aligned for any type. NULL when there
 * is no memory or too much was asked for; never NULL otherwise, also for 0. */
void *pool_alloc(struct pool *p, size_t n, size_t size);

/* A copy with a NUL behind it; empty without memory. */
struct str pool_str(struct pool *p, struct str s);

/* The same in lower case (ASCII). */
struct str pool_lower(struct pool *p, struct str s);

/* printf into the pool, with a NUL behind it; empty without memory. */
struct str pool_fmt(struct pool *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
