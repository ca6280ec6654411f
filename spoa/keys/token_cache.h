/*
 * keys/token_cache: one credential for one audience: its token, or its static
 * key.
 *
 * The token is fetched in the background and renewed ahead of its end; the old
 * one is kept until then (keys/outbound says when). The request for a token is
 * put together for each fetch, so that files that others renew are read anew,
 * and no secret is kept in between.
 */
#ifndef KEYS_TOKEN_CACHE_H
#define KEYS_TOKEN_CACHE_H

#include "base/clock.h"
#include "base/metrics.h"
#include "base/waiter.h"
#include "conf/policy.h"
#include "net/fetch.h"

/* What stands before a token in the value. */
#define TOKEN_CACHE_BEARER "Bearer "

struct token_cache;
struct secret;

/* What all slots of a worker share; the owner fills the upper part. */
struct token_cache_shared {
	struct loop *loop;
	const struct clock *clock;
	struct fetch *fetch;
	struct metrics *metrics; /* may be NULL */
	unsigned worker;         /* its number, a label of gauges */
	const char *arc_dir;     /* where the Arc agent keeps its proofs */
	/* s has a new token. May be NULL. */
	void (*renewed)(void *ctx, struct token_cache *s);
	void *ctx;

	struct secret *retired; /* private: values that may still be borrowed */
	struct loop_timer sweep;
};

/* Wipes what was retired. After the last slot. */
void token_cache_shared_done(struct token_cache_shared *w);

/* NULL without memory, or when a static key is empty. `c` and what `audience`
 * points to are referenced until the next token_cache_refer(). */
struct token_cache *token_cache_new(struct token_cache_shared *w,
                                    const struct policy_credential *c,
                                    struct str audience);
void token_cache_free(
	struct token_cache *s); /* wakes who waits; accepts NULL */

/* The same texts at another place, after a reload. */
void token_cache_refer(struct token_cache *s, const struct policy_credential *c,
                       struct str audience);

/* Fetch, when there is no token or the last try has failed. */
void token_cache_start(struct token_cache *s);

bool token_cache_usable(const struct token_cache *s);

/* "Bearer TOKEN", or the static key: borrowed until the next loop turn, and a
 * secret. False when there is none that is good. Fetches when it is time. */
bool token_cache_value(struct token_cache *s, struct str *value);

/* Queue w for the end of the fetch that goes on; false when none does. */
bool token_cache_wait(struct token_cache *s, struct waiter *w);

/* The name of the header that its value goes into. */
struct str token_cache_header(const struct token_cache *s);

#endif
