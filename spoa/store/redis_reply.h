/*
 * store/redis_reply: convert a reply of hiredis to struct redis_link_reply, so
 * that nothing above store/redis_link depends on hiredis.
 */
#ifndef STORE_REDIS_REPLY_H
#define STORE_REDIS_REPLY_H

#include "store/redis_link.h"

struct redisReply;

/* `v` receives the numbers of an array. `out` points into `v` and `r`, and is
 * valid as long as both. Strings and nil become LINK_TEXT. An array that is too
 * long or has an element that is no integer becomes a LINK_ERROR with an empty
 * text, as does any other type. */
void redis_reply_read(const struct redisReply *r,
                      int64_t v[REDIS_LINK_NUMBERS_MAX],
                      struct redis_link_reply *out);

#endif
