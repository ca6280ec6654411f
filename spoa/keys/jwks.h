/*
 * keys/jwks: the signing keys of the configured tenants.
 *
 * Per tenant and token version: metadata -> jwks_uri -> keys by kid. Fetched
 * at start, refreshed hourly (+-10 %), at once for an unknown kid but at most
 * every five minutes; the last good set is kept when a fetch fails, and tried
 * again after 1 s to 60 s; one fetch in flight per set (azure.md 1.4). Only
 * URLs of the config and the jwks_uri of a metadata document whose issuer is
 * the configured one are fetched; the jwks_uri must have scheme, host and
 * port of the tenant's authority.
 *
 * A key counts when it is RSA, not for encryption, of RS256 or no named
 * algorithm, and good enough for jose_key_new(); others are passed over. Two
 * different keys under one kid are both refused: which one is meant cannot be
 * known.
 */
#ifndef KEYS_JWKS_H
#define KEYS_JWKS_H

#include "base/clock.h"
#include "base/metrics.h"
#include "base/waiter.h"
#include "conf/policy.h"
#include "net/fetch.h"
#include "keys/jose.h"

struct jwks;

struct jwks_options {
	struct loop *loop;
	const struct clock *clock;
	struct fetch *fetch;
	struct metrics *metrics; /* may be NULL */
	unsigned worker;         /* its number, a label of gauges */
	/* A key of a tenant went away: verdicts it gave must go. May be NULL.
	 * Never called from within jwks_find(). */
	void (*changed)(void *ctx, struct str tenant_id);
	void *ctx;
	/* For tests; 0 stands for the default. */
	unsigned unknown_kid_interval_s; /* 300 */
	unsigned refresh_s;              /* 3600 */
	unsigned retry_min_ms;           /* 1000 */
	unsigned deadline_ms;            /* of one exchange, 5000 */
};

struct jwks *jwks_new(const struct jwks_options *o);
void jwks_free(struct jwks *j);

/* The tenants to hold keys for, at start and after a reload. Sets of tenants
 * that stay are kept. The policy is only read. Starts fetching. False without
 * memory; then some tenants may have no keys. */
bool jwks_configure(struct jwks *j, struct policy *p);

/* Every configured tenant has at least one key. */
bool jwks_ready(const struct jwks *j);

enum jwks_answer {
	JWKS_FOUND = 0,
	JWKS_UNKNOWN = 1,     /* no such key, and it is too soon to ask again */
	JWKS_WAIT = 2,        /* a fetch is under way: ask again when told */
	JWKS_UNAVAILABLE = 3, /* no key of this set was ever loaded */
};

/* The key `kid` of the tenant with GUID `tid`, for tokens of version `ver`
 * ("1.0", anything else is 2.0).
 * JWKS_FOUND: *key and *key_issuer (empty when the key names none; with
 * {tenantid} filled in) are valid until control returns to the loop; the
 * caller compares *key_issuer with the token's issuer.
 * JWKS_WAIT: w was put on the wait list. A caller who does not want to wait
 * passes NULL and is told JWKS_UNKNOWN or JWKS_UNAVAILABLE instead. */
enum jwks_answer jwks_find(struct jwks *j, struct str tid, struct str ver,
                           struct str kid, struct jose_key **key,
                           struct str *key_issuer, struct waiter *w);

#endif
