/*
 * base/arena: the fixed-size workspace of one request.
 *
 *   mem                                   used                 size
 *    | request fields | host | path | ...  |        free         |
 *
 * Every allocation begins at a multiple of ARENA_ALIGN.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

/* The alignment of max_align_t on x86-64 and arm64. */
enum { ARENA_ALIGN = 16 };

void arena_init(struct arena *a, void *mem, size_t size)
{
	*a = (struct arena){.mem = mem, .size = size};
}

/* Allocate without zeroing: arena_str and arena_fmt write every byte. */
static char *arena_reserve(struct arena *a, size_t len)
{
	size_t at = (a->used + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);

	if (a->overflow || at > a->size || len > a->size - at) {
		a->overflow = true;
		return NULL;
	}
	a->used = at + len;
	return a->mem + at;
}

void *arena_alloc(struct arena *a, size_t len)
{
	char *p = arena_reserve(a, len);

	if (p)
		memset(p, 0, len);
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_reserve(a, s.len + 1);

	if (!p)
		return STR_NONE;
	if (s.len)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return str_of(p, s.len);
}

struct str arena_fmt(struct arena *a, const char *fmt, ...)
{
	/* The length is known after the text is written, so the text is
	 * written into all of the free space and its length is added to
	 * `used` afterwards. */
	char *p = arena_reserve(a, 0);
	size_t room;
	va_list ap;
	int n;

	if (!p)
		return STR_NONE;
	room = a->size - a->used;
	va_start(ap, fmt);
	n = vsnprintf(p, room, fmt, ap);
	va_end(ap);
	/* n == room has no space for the NUL: the text was cut */
	if (n < 0 || (size_t)n >= room) {
		a->overflow = true;
		return STR_NONE;
	}
	a->used += (size_t)n + 1;
	return str_of(p, (size_t)n);
}
