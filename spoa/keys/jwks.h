/*
 * keys/jwks: the signing keys of the configured tenants.
 *
 * One key set per tenant and token version, because both have a metadata
 * document of their own (azure.md 1.1): metadata -> jwks_uri -> keys by kid.
 * A set is fetched at start and refreshed every hour (+-10 %); an unknown kid
 * makes it refresh at once, but at most every five minutes. When a fetch fails
 * the last good set stays in use, without limit of time, and the fetch is
 * repeated after 1 s to 60 s. At most one fetch per set is in flight
 * (azure.md 1.4).
 *
 * Nothing in a token chooses a URL. Fetched are the metadata URLs of the
 * config, and the jwks_uri of a metadata document whose issuer is the
 * configured one, if it has scheme, host and port of the tenant's authority.
 *
 * keys/keyset says which keys of a set are usable.
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

/* All pointers are borrowed and must outlive the jwks. */
struct jwks_options {
	struct loop *loop;
	const struct clock *clock;
	struct fetch *fetch;
	struct metrics *metrics; /* may be NULL */
	unsigned worker;         /* its number, a label of gauges */
	/* A refresh of a tenant's set no longer has a key that it had before:
	 * cached results of its signatures must go (inbound_flush()). From the
	 * loop, never from within jwks_find(). May be NULL. */
	void (*changed)(void *ctx, struct str tenant_id);
	void *ctx;
	/* For tests; 0 stands for the default. */
	unsigned unknown_kid_interval_s; /* 300 */
	unsigned refresh_s;              /* 3600 */
	unsigned retry_min_ms;           /* 1000 */
	unsigned deadline_ms;            /* of one exchange, 5000 */
};

/* Nothing is fetched before jwks_configure(). NULL without memory. */
struct jwks *jwks_new(const struct jwks_options *o);

/* Cancels all fetches and wakes those who wait. Accepts NULL. */
void jwks_free(struct jwks *j);

/* The tenants to hold keys for from now on, at start and after a reload. Sets
 * whose tenant did not change in name, GUID or URLs are kept, with their keys;
 * others are made and fetched, or dropped, which wakes those who wait. The
 * policy is only read, during this call. False without memory; then some
 * tenants may have no set, and their tokens are refused. */
bool jwks_configure(struct jwks *j, struct policy *p);

/* Whether every configured tenant has keys for at least one version. True
 * without tenants. */
bool jwks_ready(const struct jwks *j);

enum jwks_answer {
	JWKS_FOUND = 0,
	JWKS_UNKNOWN = 1,     /* the set has no such key, and may not be
	                       * refreshed again so soon */
	JWKS_WAIT = 2,        /* a fetch is in flight; the waiter was queued */
	JWKS_UNAVAILABLE = 3, /* no such tenant, or its keys were never loaded:
	                       * the fault is not the caller's */
};

/* Look up the key `kid` of the tenant with GUID `tid` (lower case), for tokens
 * of version `ver` ("1.0"; anything else means 2.0).
 *
 * JWKS_FOUND: *key and *key_issuer are borrowed until control returns to the
 * loop. *key_issuer is the issuer that the key is bound to, {tenantid} filled
 * in, and empty when it names none; the caller must compare it (azure.md 1.2).
 * JWKS_WAIT: `w` is woken when the fetch ends, whatever its result; ask again
 * then. A caller that must not wait passes NULL for `w` and gets JWKS_UNKNOWN
 * or JWKS_UNAVAILABLE instead; a fetch is started all the same. */
enum jwks_answer jwks_find(struct jwks *j, struct str tid, struct str ver,
                           struct str kid, struct jose_key **key,
                           struct str *key_issuer, struct waiter *w);

#endif
