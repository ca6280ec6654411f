/*
 * net/held: bytes of a connection that cannot be parsed yet.
 *
 *   shared read buffer --held_add--> | p .. len | room .. size |
 *   next bytes ---------held_fill-->             ^ until the frame is whole
 *
 * Most frames arrive whole and are parsed where they were read, so only a
 * connection that has an incomplete frame, or is full, owns such memory.
 */
#include "net/held.h"

#include <stdlib.h>

bool held_add(struct held *h, struct str bytes, size_t size)
{
	char *p = realloc(h->p, size);

	if (!p)
		return false;
	h->p = p;
	h->size = size;
	held_fill(h, &bytes);
	return true;
}

void held_fill(struct held *h, struct str *bytes)
{
	struct str part = str_first(*bytes, h->size - h->len);

	/* memcpy from or to NULL is undefined even for 0 bytes (C11 7.24.1) */
	if (part.len)
		memcpy(h->p + h->len, part.p, part.len);
	h->len += part.len;
	*bytes = str_from(*bytes, part.len);
}

/* The parser of a held frame may hold the rest again, so the bytes leave the
 * connection before they are parsed. */
struct held held_take(struct held *h)
{
	struct held all = *h;

	*h = (struct held){NULL, 0, 0};
	return all;
}

void held_done(struct held *h)
{
	free(h->p);
	*h = (struct held){NULL, 0, 0};
}
