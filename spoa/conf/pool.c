/*
 * conf/pool: the memory of one policy, in blocks that are freed together.
 *
 *   blocks --> newest | used | free |  --> older | used | lost |  --> NULL
 *
 * Only the newest block is allocated from. Memory comes zeroed, which the raw
 * structs rely on: an option that is not given is 0, NULL or false.
 */
#include "conf/pool.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* 16 kB hold a small configuration in one block; a larger array gets a block of
 * its own. */
enum { BLOCK = 16384, ALIGN = alignof(max_align_t) };

/* `mem` is aligned for any type, and each allocation is a multiple of that. */
struct pool_block {
	struct pool_block *next;
	size_t size;
	size_t used;
	alignas(max_align_t) char mem[];
};

struct pool *pool_new(void)
{
	return calloc(1, sizeof(struct pool));
}

void pool_free(struct pool *p)
{
	struct pool_block *b, *next;

	if (!p)
		return;
	/* it is not known which of the strings are secrets, so all are wiped */
	for (b = p->blocks; b; b = next) {
		next = b->next;
		explicit_bzero(b->mem, b->size);
		free(b);
	}
	free(p);
}

/* The unused rest of the block before is lost. */
static struct pool_block *pool_add_block(struct pool *p, size_t len)
{
	size_t size = len > BLOCK ? len : BLOCK;
	struct pool_block *b;

	if (size > POOL_MAX - p->total)
		return NULL;
	b = calloc(1, sizeof(*b) + size);
	if (!b)
		return NULL;
	b->size = size;
	b->next = p->blocks;
	p->blocks = b;
	p->total += size;
	return b;
}

/* The first test keeps n * size from overflowing. 0 bytes get an address of
 * their own, so that NULL always means failure. */
void *pool_alloc(struct pool *p, size_t n, size_t size)
{
	struct pool_block *b = p->blocks;
	size_t len;
	void *at;

	if (n > POOL_MAX / (size ? size : 1)) {
		p->failed = true;
		return NULL;
	}
	len = n * size;
	len = (len + ALIGN - 1) / ALIGN * ALIGN;
	if (len == 0)
		len = ALIGN;
	if (!b || len > b->size - b->used)
		b = pool_add_block(p, len);
	if (!b) {
		p->failed = true;
		return NULL;
	}
	at = b->mem + b->used;
	b->used += len;
	return at;
}

/* One byte more, which stays 0: paths and URLs go to functions of libc. */
struct str pool_str(struct pool *p, struct str s)
{
	char *z = pool_alloc(p, s.len + 1, 1);

	if (!z)
		return STR_NONE;
	if (s.len)
		memcpy(z, s.p, s.len);
	return str_of(z, s.len);
}

struct str pool_lower(struct pool *p, struct str s)
{
	char *z = pool_alloc(p, s.len + 1, 1);

	if (!z)
		return STR_NONE;
	str_copy_lower(z, s);
	return str_of(z, s.len);
}

struct str pool_fmt(struct pool *p, const char *fmt, ...)
{
	va_list ap;
	char *z;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	z = n < 0 ? NULL : pool_alloc(p, (size_t)n + 1, 1);
	if (!z) {
		p->failed = true;
		return STR_NONE;
	}
	va_start(ap, fmt);
	vsnprintf(z, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return str_of(z, (size_t)n);
}
