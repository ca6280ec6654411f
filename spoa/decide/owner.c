/* decide/owner: the name under which what a caller makes is remembered. */
#include "decide/owner.h"

struct str identity_owner(struct arena *a, const struct identity *who)
{
	if (who->tid.len == 0)
		return arena_fmt(a, "key:%" STR_FMT, STR_ARG(who->key));
	return arena_fmt(a, "token:%" STR_FMT "/%" STR_FMT "/%" STR_FMT,
	                 STR_ARG(who->tid), STR_ARG(who->app),
	                 STR_ARG(who->object));
}
