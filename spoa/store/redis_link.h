/*
 * store/redis_link: one connection to Redis with automatic reconnect, and the
 * door to hiredis.
 *
 *   start -> connect -> TLS -> store/redis_setup -> up
 *     ^                                              |
 *     +-- 50 ms .. 5 s, with jitter <---- down <-----+
 *
 * Of several endpoints it uses the one that accepts writes, the primary. An
 * endpoint that cannot be reached, does not answer, or is a replica is left for
 * the next one in the list.
 *
 * It calls the scripts of store/scripts and knows nothing of limits. It does
 * not use the timeouts of hiredis: each write restarts their timer, so under
 * load a dead server would never be noticed (azure.md 2.4). Instead a
 * connection with calls in flight is closed when nothing was received on it for
 * REDIS_LINK_SILENT deadlines.
 *
 * Endpoints are best configured as numeric addresses. hiredis resolves a name
 * with a blocking resolver call when it connects, which stops the loop for that
 * time.
 */
#ifndef STORE_REDIS_LINK_H
#define STORE_REDIS_LINK_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/str.h"
#include "conf/policy.h"
#include "store/redis_setup.h"

enum {
	/* Deadlines (redis.deadline_ms) without any reply before the connection
	 * is closed: 1.2 s by default. Fewer would close it during a short
	 * pause of Redis, such as the fork of a snapshot. */
	REDIS_LINK_SILENT = 8,
	/* reserve.lua needs 3 keys + 5 + 5 * STORE_MAX_CHARGES = 88 */
	REDIS_LINK_ARGS_MAX = 96,
	/* reserve.lua answers 4 + 3 * STORE_MAX_CHARGES = 52 */
	REDIS_LINK_NUMBERS_MAX = 64,
};

struct redis_link;

enum redis_link_kind {
	LINK_NUMBERS = 0, /* an array of integers */
	LINK_TEXT = 3,    /* a string (n = 1), or nil (n = 0) */
	LINK_ERROR = 1,   /* Redis returned an error, or an unexpected type */
	LINK_LOST = 2,    /* the connection broke; whether the call was
	                   * executed is unknown */
};

/* Valid during the callback that gets it. */
struct redis_link_reply {
	enum redis_link_kind kind;
	const int64_t *v; /* LINK_NUMBERS */
	size_t n;
	struct str text;  /* LINK_TEXT */
	struct str error; /* LINK_ERROR: the text of Redis, may be empty */
};

typedef void redis_link_reply_cb(void *ctx,
                                 const struct redis_link_reply *reply);

struct redis_link_events {
	/* Calls are possible from now on. */
	void (*up)(void *ctx);
	/* After a lost connection, and after each failed attempt to connect.
	 * `why` is for a log line and valid during the call; the next attempt
	 * follows after `retry_ms`. */
	void (*down)(void *ctx, struct str why, uint64_t retry_ms);
	void *ctx;
};

/* `loop` and `clock` are borrowed, `events` is copied. NULL without memory. */
struct redis_link *redis_link_new(struct loop *loop, const struct clock *clock,
                                  const struct redis_link_events *events);

/* Returns the login for a policy that names a credential. False: there is no
 * token yet. The strings are borrowed until the next turn of the loop. */
typedef bool redis_link_login_fn(void *ctx, struct redis_login *who);

/* Set that function. Call it before redis_link_start(). */
void redis_link_login(struct redis_link *l, redis_link_login_fn *fn, void *ctx);

/* The token has changed. An open connection is sent AUTH with it, without
 * interrupting the calls in flight, and is closed when Redis refuses it; Azure
 * closes a connection whose token has expired (azure.md 3.10). Without a
 * connection one is tried at once. Does nothing when the policy names no
 * credential. */
void redis_link_renew(struct redis_link *l);

/* Calls no callback. Accepts NULL. */
void redis_link_free(struct redis_link *l);

/* Connect to the endpoints of `to`, from the loop. `to` is borrowed until the
 * next start, stop or refer. Calls in flight end with LINK_LOST before this
 * returns. */
void redis_link_start(struct redis_link *l, const struct policy_redis *to);
void redis_link_stop(struct redis_link *l);

/* After a reload that changed nothing of the connection: borrow the same
 * settings from the new policy. */
void redis_link_refer(struct redis_link *l, const struct policy_redis *to);

/* The endpoint in use, or the next one to try; within the `down` callback the
 * one that has failed. Only after redis_link_start(). */
const struct policy_endpoint *redis_link_endpoint(const struct redis_link *l);

bool redis_link_is_up(const struct redis_link *l);

/* Close this connection and connect to the next endpoint, because the server
 * said that it cannot be written to (READONLY, LOADING, ...). Calls in flight
 * end with LINK_LOST before this returns. */
void redis_link_drop(struct redis_link *l, const char *why);

/* EVALSHA of a script; its keys come first in argv, which is copied. False: not
 * up, too many arguments, or no memory; cb does not run. Otherwise cb runs
 * once, later, unless the link is freed first. When Redis answers NOSCRIPT, the
 * script is loaded and called again, once. */
bool redis_link_call(struct redis_link *l, enum script script,
                     const struct str *argv, size_t argc,
                     redis_link_reply_cb *cb, void *ctx);

/* Name and version of the library, for -V. */
const char *redis_link_library(void);

#endif
