/*
 * keys/identity: the caller of a request, as its credentials have proved it.
 *
 * Made by keys/claims in one block of memory, so that the last reference frees
 * it with one free(). The cache of keys/inbound and every request that runs
 * with it hold a reference each.
 */
#include "keys/identity.h"

#include <assert.h>
#include <stdlib.h>

void identity_unref(struct identity *i)
{
	if (!i)
		return;
	assert(i->refs > 0);
	if (--i->refs == 0)
		free(i);
}

/* Stored with objects: another form would take them away from their owners. */
struct str identity_owner(struct arena *a, const struct identity *who)
{
	if (who->tid.len == 0)
		return arena_fmt(a, "key:%" STR_FMT, STR_ARG(who->key));
	return arena_fmt(a, "token:%" STR_FMT "/%" STR_FMT "/%" STR_FMT,
	                 STR_ARG(who->tid), STR_ARG(who->app),
	                 STR_ARG(who->object));
}
