/*
 * keys/outbound: the credentials we use towards Azure.
 *
 * One token per credential and audience, fetched in the background, renewed
 * ahead of its end (azure.md 3.8: refresh_in, else half of a lifetime of two
 * hours or more, else five minutes before the end; +-10 %), one fetch in
 * flight, old token kept until it ends, backoff with jitter on failure. IMDS
 * error classes as in azure.md 3.2.
 */
#ifndef KEYS_OUTBOUND_H
#define KEYS_OUTBOUND_H

#include "base/clock.h"
#include "base/metrics.h"
#include "base/waiter.h"
#include "conf/policy.h"
#include "net/fetch.h"

struct outbound;

struct outbound_options {
	struct loop *loop;
	const struct clock *clock;
	struct fetch *fetch;
	struct metrics *metrics; /* may be NULL */
	unsigned worker;         /* its number, a label of gauges */
	const char *arc_dir;     /* for tests; NULL: GRANT_ARC_DIR */
	bool redis_only;         /* a command: nothing of the resources */
	/* There is a new token for Redis. May be NULL. */
	void (*redis_renewed)(void *ctx);
	void *ctx;
};

struct outbound *outbound_new(const struct outbound_options *o);
void outbound_free(struct outbound *o); /* wipes all tokens */

/* The credentials to hold, at start and after a reload: those of resources,
 * each for the audiences they name, and that of Redis. Tokens of credentials
 * that did not change are kept. The policy is referenced. Starts fetching. */
bool outbound_configure(struct outbound *o, struct policy *p);

/* Every resource of the policy has a usable credential. */
bool outbound_ready(const struct outbound *o);

enum outbound_answer {
	OUTBOUND_OK = 0,
	OUTBOUND_WAIT = 1,   /* being fetched; the waiter was queued */
	OUTBOUND_FAILED = 2, /* none, and the last try failed just now */
};

/* The header that authenticates us at resource number `resource`: name
 * "authorization" with "Bearer ..." or, for a static key, its header.
 * Both borrowed, valid until the next loop turn; they are secrets. */
enum outbound_answer outbound_header(struct outbound *o, const struct policy *p,
                                     unsigned resource, struct str *name,
                                     struct str *value, struct waiter *w);

/* Who we are to Redis by its credential (azure.md 3.10): the user of its URL,
 * else the object id in the token, and the token. Both borrowed, valid until
 * the next loop turn; the token is a secret. `w` may be NULL. */
enum outbound_answer outbound_redis(struct outbound *o, struct str *username,
                                    struct str *token, struct waiter *w);

#endif
