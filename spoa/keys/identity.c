/* keys/identity: who is calling, as far as it was proved. */
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

struct str identity_owner(struct arena *a, const struct identity *who)
{
	if (who->tid.len == 0)
		return arena_fmt(a, "key:%" STR_FMT, STR_ARG(who->key));
	return arena_fmt(a, "token:%" STR_FMT "/%" STR_FMT "/%" STR_FMT,
	                 STR_ARG(who->tid), STR_ARG(who->app),
	                 STR_ARG(who->object));
}
