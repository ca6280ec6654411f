/*
 * conf/pool: the memory of one policy.
 *
 * A list of blocks that only grows. Nothing is freed alone: all strings and
 * arrays of a policy are released together with it, and are wiped then, because
 * secrets are among them.
 */
#ifndef CONF_POOL_H
#define CONF_POOL_H

#include "base/str.h"

/* Bytes; a larger policy is treated as "out of memory". A gateway.json has at
 * most 8 MB (conf/load), and its raw and built structs are larger than its
 * text. */
enum { POOL_MAX = 64 << 20 };

struct pool_block;

struct pool {
	struct pool_block *blocks; /* newest first */
	size_t total;              /* bytes of all blocks */
	bool failed; /* sticky: a call has returned NULL. conf/load asks once
	              * in the end, so builders need not pass it on. */
};

/* NULL without memory. */
struct pool *pool_new(void);
void pool_free(struct pool *p); /* accepts NULL; wipes */

/* `n` zeroed elements of `size` bytes, aligned for any type. NULL without
 * memory or beyond POOL_MAX; never NULL otherwise, also for 0 bytes. */
void *pool_alloc(struct pool *p, size_t n, size_t size);

/* A copy, followed by a NUL that is not counted. STR_NONE without memory. */
struct str pool_str(struct pool *p, struct str s);

/* The same in lower case (ASCII only). */
struct str pool_lower(struct pool *p, struct str s);

/* Formatted as by printf(), followed by a NUL. STR_NONE without memory. */
struct str pool_fmt(struct pool *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
