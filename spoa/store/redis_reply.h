/*
 * store/redis_reply: an answer of hiredis as plain data.
 */
#ifndef STORE_REDIS_REPLY_H
#define STORE_REDIS_REPLY_H

#include "store/redis_link.h"

struct redisReply;

/* `v` gets the numbers of a list. What `out` points to is in `v` or in `r`. A
 * list that is too long, or of anything but numbers, is an error without a
 * text. */
void redis_reply_read(const struct redisReply *r,
                      int64_t v[REDIS_LINK_NUMBERS_MAX],
                      struct redis_link_reply *out);

#endif
