/*
 * keys/outbound: the credentials that the gateway uses towards Azure.
 *
 * One token per credential and audience (keys/token_cache), fetched at start
 * and in the background, renewed ahead of its end (azure.md 3.8: refresh_in
 * when the endpoint names it; else half of a lifetime of two hours or more;
 * else five minutes before the end; each +-10 %). One fetch in flight per
 * token; the old token is used until it ends; backoff with jitter on failure,
 * by the classes of errors of IMDS (azure.md 3.2).
 *
 * A request borrows the token that is there, also while a renewal is in
 * flight; only where there is none that is usable does it wait for a fetch.
 */
#ifndef KEYS_OUTBOUND_H
#define KEYS_OUTBOUND_H

#include "base/clock.h"
#include "base/metrics.h"
#include "base/waiter.h"
#include "conf/policy.h"
#include "net/fetch.h"

struct outbound;

/* All pointers are borrowed and must outlive the outbound. */
struct outbound_options {
	struct loop *loop;
	const struct clock *clock;
	struct fetch *fetch;
	struct metrics *metrics; /* may be NULL */
	unsigned worker;         /* its number, a label of gauges */
	const char *arc_dir;     /* NULL: GRANT_ARC_DIR; others for tests */
	bool redis_only;         /* for commands: no credential of a resource */
	/* There is a new token for Redis, to be sent by AUTH on the open
	 * connection. From the loop. May be NULL. */
	void (*redis_renewed)(void *ctx);
	void *ctx;
};

/* Nothing is fetched before outbound_configure(). NULL without memory. */
struct outbound *outbound_new(const struct outbound_options *o);

/* Cancels all fetches, wakes those who wait, wipes all tokens. Borrowed values
 * end here, too. Accepts NULL. */
void outbound_free(struct outbound *o);

/* The credentials to hold from now on: those of the resources of `p`, each for
 * the audiences that the resources name, and that of Redis. At start and after
 * a reload. Tokens of credentials that did not change in any field are kept;
 * others are fetched; one that is failing is tried at once. A reference of `p`
 * is held until the next call. False without memory: some resources may then
 * have no credential, until a later call succeeds. */
bool outbound_configure(struct outbound *o, struct policy *p);

/* Whether every resource of the policy has a usable credential. False before
 * outbound_configure(). */
bool outbound_ready(const struct outbound *o);

enum outbound_answer {
	OUTBOUND_OK = 0,
	OUTBOUND_WAIT = 1,   /* a fetch is in flight; the waiter was queued */
	OUTBOUND_FAILED = 2, /* none usable, and nothing to wait for */
};

/* The header that authenticates the gateway at resource number `resource` of
 * `p`, which may be a policy before the last reload: "authorization" with
 * "Bearer TOKEN", or for a static key its own header. OUTBOUND_OK: both are
 * borrowed until the next loop turn; *value is a secret. Otherwise they are
 * untouched. `w` may be NULL: OUTBOUND_FAILED then stands for OUTBOUND_WAIT. */
enum outbound_answer outbound_header(struct outbound *o, const struct policy *p,
                                     unsigned resource, struct str *name,
                                     struct str *value, struct waiter *w);

/* User and password for AUTH at Redis with Entra (azure.md 3.10): the user of
 * redis.url, else the object id in the token; and the token, without "Bearer".
 * OUTBOUND_OK: both are borrowed until the next loop turn; *token is a secret.
 * OUTBOUND_FAILED also when the policy has no credential for Redis. `w` as in
 * outbound_header(). */
enum outbound_answer outbound_redis(struct outbound *o, struct str *username,
                                    struct str *token, struct waiter *w);

#endif
