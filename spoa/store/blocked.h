/*
 * store/blocked: this process's copy of the list of blocked callers.
 *
 *   limits block --> Redis PREFIX:blocked --twice a second--> here
 *                                                              |
 *     HAProxy's lua/blocked.lua <--GET /blocked (ops)----------+
 *     decide/reserve, while Redis is away <--------------------+
 *
 * reserve.lua refuses new requests of a blocked caller at once, without this
 * list; in mode lease this takes up to LEASE_FRESH_MS. The copy is for the
 * cases in which Redis is not asked: streams that are already running, and
 * reserves while Redis is away. While Redis does not answer, the last list
 * stays in force.
 */
#ifndef STORE_BLOCKED_H
#define STORE_BLOCKED_H

#include "base/buf.h"
#include "base/loop.h"
#include "store/redis_link.h"
#include "store/store.h"

enum {
	BLOCKED_FIRST_MS = 20, /* poll interval before the first answer: a new
	                        * worker has no list to fall back on */
	BLOCKED_ASK_MS = 500,  /* poll interval after it; lua/blocked.lua polls
	                        * the agent at the same interval */
	/* Time until every HAProxy has read a change: two polls and one more
	 * half second. `limits unblock` waits for it. */
	BLOCKED_SPREAD_MS = 1500,
	BLOCKED_NAME_MAX = 512, /* bytes of one line, and of the key */
	/* scripts/blocked.lua keeps 1000 names; one more line is the version */
	BLOCKED_TEXT_MAX = 1001 * BLOCKED_NAME_MAX,
};

struct blocked;

/* Polls nothing before blocked_configure(). Both arguments are borrowed. NULL
 * without memory. A poll in flight points into it, so free the link next,
 * without running the loop in between. */
struct blocked *blocked_new(struct loop *loop, struct redis_link *link);
void blocked_free(struct blocked *b); /* accepts NULL */

/* Start to poll PREFIX:blocked. `shared` false means that there is no Redis:
 * polling stops and the list is empty. `prefix` is copied; when it changes, the
 * list of the old prefix is forgotten. */
void blocked_configure(struct blocked *b, struct str prefix, bool shared);

/* True when the caller's consumer, app or agent is on the list. False also
 * before the first answer: unknown does not mean blocked. */
bool blocked_has(const struct blocked *b, const struct store_caller *caller);

/* Append the list: "version N", then one line per name: consumer:NAME, app:NAME
 * or agent:NAME. N is the time of the last change in ms since 1970, 0 when
 * there was none. False: no list was read yet, or `out` is full. */
bool blocked_print(const struct blocked *b, struct buf *out);

#endif
