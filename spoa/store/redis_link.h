/*
 * store/redis_link: one connection to Redis that keeps itself up, and the door
 * to hiredis.
 *
 *   start -> connect -> TLS -> store/redis_setup -> up
 *     ^                                              |
 *     +-- 50 ms .. 5 s, with jitter <---- down <-----+
 *
 * Of several endpoints one is used, the one that lets us write. Which that is
 * may change: an endpoint that cannot be reached, is silent, or is a replica is
 * left for the next one in the list.
 *
 * It calls the scripts of store/scripts and knows nothing of limits. hiredis
 * is used without its timeouts: every write pushes its timer on, so under load
 * a dead server would never be noticed. Here, a connection with calls under
 * way on which nothing at all is heard for REDIS_LINK_SILENT deadlines is
 * given up.
 *
 * Addresses are best given as numbers. hiredis resolves a name when it
 * connects, and that blocks the loop for as long as the resolver takes; it
 * happens only when connecting.
 */
#ifndef STORE_REDIS_LINK_H
#define STORE_REDIS_LINK_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/str.h"
#include "conf/policy.h"
#include "store/redis_setup.h"

enum {
	REDIS_LINK_SILENT = 8,
	REDIS_LINK_ARGS_MAX = 96,
	REDIS_LINK_NUMBERS_MAX = 64,
};

struct redis_link;

enum redis_link_kind {
	LINK_NUMBERS = 0, /* a list of integers */
	LINK_TEXT = 3,    /* a string; n is 0 where Redis has none */
	LINK_ERROR = 1,   /* Redis said no, or something else entirely */
	LINK_LOST = 2,    /* the connection broke; it may have been done */
};

struct redis_link_reply {
	enum redis_link_kind kind;
	const int64_t *v;
	size_t n;
	struct str text;  /* LINK_TEXT, for this call */
	struct str error; /* LINK_ERROR: as Redis wrote it, for this call */
};

typedef void redis_link_reply_cb(void *ctx,
                                 const struct redis_link_reply *reply);

struct redis_link_events {
	void (*up)(void *ctx);
	/* Also when the first attempt fails, and each one after it. `why` is
	 * for people and valid during the call. */
	void (*down)(void *ctx, struct str why, uint64_t retry_ms);
	void *ctx;
};

struct redis_link *redis_link_new(struct loop *loop, const struct clock *clock,
                                  const struct redis_link_events *events);

/* Who we are, where the policy names a credential for that: false when there
 * is nothing to show yet. Both borrowed until the next turn of the loop. */
typedef bool redis_link_login_fn(void *ctx, struct redis_login *who);

/* Before the start. */
void redis_link_login(struct redis_link *l, redis_link_login_fn *fn, void *ctx);

/* There is something else to show: a connection that stands is authenticated
 * anew, with all that is under way on it, and given up when that is refused;
 * without a connection one is tried at once. Does nothing where the policy
 * names no credential. */
void redis_link_renew(struct redis_link *l);

/* Without any callback. */
void redis_link_free(struct redis_link *l);

/* Connect to `to`, which is referenced until the next start or stop. Calls
 * under way end with LINK_LOST before this returns. */
void redis_link_start(struct redis_link *l, const struct policy_redis *to);
void redis_link_stop(struct redis_link *l);

/* The same endpoints under another pointer: nothing happens to the connection.
 */
void redis_link_refer(struct redis_link *l, const struct policy_redis *to);

/* The endpoint in use, or the one that was tried last; within `down` that of
 * the attempt that has failed. Only after a start. */
const struct policy_endpoint *redis_link_endpoint(const struct redis_link *l);

bool redis_link_is_up(const struct redis_link *l);

/* Give this connection up and make another: the server said that it is no
 * longer what it was. */
void redis_link_drop(struct redis_link *l, const char *why);

/* EVALSHA of a script, its keys first in argv. False: not up, or out of
 * memory; cb does not run. Else cb runs once, later, but for
 * redis_link_free(). When Redis has forgotten the script, it is loaded and
 * called again, once. */
bool redis_link_call(struct redis_link *l, enum script script,
                     const struct str *argv, size_t argc,
                     redis_link_reply_cb *cb, void *ctx);

/* Name and version of the library, for -V. */
const char *redis_link_library(void);

#endif
