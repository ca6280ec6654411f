/*
 * store/blocked: who is blocked, as far as this process knows.
 *
 *   limits block --> Redis PREFIX:blocked --twice a second--> here
 *                                                              |
 *     HAProxy's lua/blocked.lua <--GET /blocked (ops)----------+
 *     decide/reserve, while Redis is away <--------------------+
 *
 * New requests of a blocked caller are refused by Redis itself (reserve.lua),
 * at once. This copy is for what Redis is not asked about: the streams that
 * run already. What was last read stays in force while Redis is away.
 */
#ifndef STORE_BLOCKED_H
#define STORE_BLOCKED_H

#include "base/buf.h"
#include "base/loop.h"
#include "store/redis_link.h"
#include "store/store.h"

enum {
	BLOCKED_FIRST_MS = 20,    /* until something is known */
	BLOCKED_ASK_MS = 500,     /* and so does lua/blocked.lua here */
	BLOCKED_SPREAD_MS = 1500, /* until everybody has read a change */
	BLOCKED_NAME_MAX = 512,   /* bytes of one line */
	BLOCKED_TEXT_MAX = 1001 * BLOCKED_NAME_MAX, /* blocked.lua: 1000 */
};

struct blocked;

/* `link` is borrowed and outlives this. NULL without memory. */
struct blocked *blocked_new(struct loop *loop, struct redis_link *link);
void blocked_free(struct blocked *b); /* accepts NULL */

/* Begin to ask, or (`shared` false: there is no Redis) stop, and then nobody
 * is blocked. `prefix` is copied; another one is another list. */
void blocked_configure(struct blocked *b, struct str prefix, bool shared);

/* False also as long as nothing was read. */
bool blocked_has(const struct blocked *b, const struct store_caller *caller);

/* "version N" and a line each: consumer:NAME, app:NAME or agent:NAME. False:
 * nothing was read yet. */
bool blocked_print(const struct blocked *b, struct buf *out);

#endif
