/* store/redis_reply: convert a reply of hiredis to plain data. */
#include "store/redis_reply.h"

#include <hiredis/hiredis.h>

/* *out stays an error when the array does not fit: a part of an answer is worse
 * than none. */
static void rply_read_numbers(const redisReply *r, int64_t *v,
                              struct redis_link_reply *out)
{
	size_t i;

	if (r->elements > REDIS_LINK_NUMBERS_MAX)
		return;
	for (i = 0; i < r->elements; i++) {
		if (r->element[i]->type != REDIS_REPLY_INTEGER)
			return;
		v[i] = r->element[i]->integer;
	}
	out->kind = LINK_NUMBERS;
	out->v = v;
	out->n = r->elements;
}

void redis_reply_read(const struct redisReply *r,
                      int64_t v[REDIS_LINK_NUMBERS_MAX],
                      struct redis_link_reply *out)
{
	*out = (struct redis_link_reply){.kind = LINK_ERROR};
	if (r->type == REDIS_REPLY_ERROR) {
		out->error = str_of(r->str, r->len);
	} else if (r->type == REDIS_REPLY_NIL) { /* `false` in Lua */
		out->kind = LINK_TEXT;
	} else if (r->type == REDIS_REPLY_STRING) {
		out->kind = LINK_TEXT;
		out->text = str_of(r->str, r->len);
		out->n = 1;
	} else if (r->type == REDIS_REPLY_ARRAY) {
		rply_read_numbers(r, v, out);
	}
}
