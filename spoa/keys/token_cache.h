/*
 * keys/token_cache: the credential for one audience: an access token that is
 * renewed in the background, or a static key of a resource.
 *
 * A token is fetched by one exchange with its identity endpoint, renewed ahead
 * of its end (grant_renew_in()), and used until it ends when a renewal fails;
 * renewals are then repeated with backoff. At most one fetch per cache is in
 * flight. The request for a token is put together anew for each fetch, so that
 * files which other programs renew (keys/grant) are read again, and neither a
 * federated token nor a private key is kept in memory in between.
 *
 * A static key never ends and is never fetched.
 */
#ifndef KEYS_TOKEN_CACHE_H
#define KEYS_TOKEN_CACHE_H

#include "base/clock.h"
#include "base/metrics.h"
#include "base/waiter.h"
#include "conf/policy.h"
#include "net/fetch.h"

/* The value of a token begins with it (RFC 6750, 2.1); that of a static key
 * does not. */
#define TOKEN_CACHE_BEARER "Bearer "

struct token_cache;
struct token_cache_secret;

/* What all token caches of a worker share. The owner (keys/outbound) fills in
 * all but the last two fields, before the first token_cache_new(), and keeps
 * it in place until after the last token_cache_free(). Nothing of it is owned
 * but `retired`. */
struct token_cache_shared {
	struct loop *loop;
	const struct clock *clock;
	struct fetch *fetch;
	struct metrics *metrics; /* may be NULL */
	unsigned worker;         /* its number, a label of gauges */
	const char *arc_dir;     /* GRANT_ARC_DIR, or another for tests */
	/* `tc` has a new token. From the loop, before the waiters are woken;
	 * must not free `tc`. May be NULL. */
	void (*renewed)(void *ctx, struct token_cache *tc);
	void *ctx;

	/* private: replaced values that callers may still borrow */
	struct token_cache_secret *retired;
	struct loop_timer sweep;
};

/* Wipe and free the replaced values. After the last token_cache_free(). */
void token_cache_shared_done(struct token_cache_shared *shared);

/* A cache without a token; token_cache_start() fetches one. `c` and the text
 * of `audience` are borrowed until the next token_cache_refer() or
 * token_cache_free(). NULL without memory, or when a static key is empty. */
struct token_cache *token_cache_new(struct token_cache_shared *shared,
                                    const struct policy_credential *c,
                                    struct str audience);

/* Cancels a fetch, wakes those who wait (they ask again and find no such
 * cache, so it must be out of the owner's reach before), and wipes the token
 * once nobody can borrow it any more. Accepts NULL. */
void token_cache_free(struct token_cache *tc);

/* Borrow the same credential and audience from another policy, after a
 * reload. The texts must be equal: the token stays. */
void token_cache_refer(struct token_cache *tc,
                       const struct policy_credential *c, struct str audience);

/* Fetch a token now if there is none or the last fetch has failed; does
 * nothing while a fetch is in flight, or for a static key. */
void token_cache_start(struct token_cache *tc);

/* Whether there is a static key, or a token with at least 10 s to live. */
bool token_cache_usable(const struct token_cache *tc);

/* The value of the header: "Bearer TOKEN", or the static key. A secret,
 * borrowed until the next loop turn. False, and *value untouched, when there
 * is none that is usable. Starts a fetch when one is due, also while the old
 * token is still usable. */
bool token_cache_value(struct token_cache *tc, struct str *value);

/* Put `w` on the list of those to wake when the fetch in flight ends, whatever
 * its result. False, and `w` is not touched, when no fetch is in flight. */
bool token_cache_wait(struct token_cache *tc, struct waiter *w);

/* The name, in lower case, of the header that the value goes into:
 * "authorization", or for a static key "api-key" unless the credential names
 * another. Borrowed as `c` is. */
struct str token_cache_header(const struct token_cache *tc);

#endif
