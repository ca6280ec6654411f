/*
 * keys/inbound: authenticates a caller by its bearer token or gateway key.
 *
 * A token is checked in this order, and the first failure is the result: form,
 * tenant, signing key, the issuer that the key is bound to, signature; then
 * its claims (keys/claims): issuer and version, tenant, audience, times,
 * caller, permission.
 *
 * Verified tokens are cached by the SHA-256 of the whole token for five
 * minutes, never past `exp`, and only for the policy that judged them. Only
 * successes are cached: a failure may end without the token changing (keys
 * that are loaded, a clock), and failures would let anyone fill the cache. A
 * hit costs 1 us, a verification 23 us and more (azure.md 2.2).
 */
#ifndef KEYS_INBOUND_H
#define KEYS_INBOUND_H

#include "keys/jwks.h"
#include "keys/identity.h"

struct inbound;

/* `clock` and `jwks` are borrowed and must outlive it; `metrics` may be NULL.
 * NULL without memory. */
struct inbound *inbound_new(const struct clock *clock, struct jwks *jwks,
                            struct metrics *metrics);
void inbound_free(struct inbound *in); /* accepts NULL */

/* Forget verified tokens: all of them after a reload (empty `tid`), or those
 * of the tenant with GUID `tid` when a key of it was withdrawn. */
void inbound_flush(struct inbound *in, struct str tid);

enum inbound_status {
	INBOUND_OK = 0,
	INBOUND_WAIT = 1, /* the waiter was queued: call again when woken */
	INBOUND_MALFORMED = 2,
	INBOUND_ALGORITHM = 3,
	INBOUND_TENANT = 4, /* tid is not configured, or not that of iss */
	INBOUND_ISSUER = 5,
	INBOUND_UNKNOWN_KEY = 6,      /* no such kid in the tenant's key set */
	INBOUND_KEYS_UNAVAILABLE = 7, /* no key of the tenant was ever loaded */
	INBOUND_SIGNATURE = 8,
	INBOUND_AUDIENCE = 9,
	INBOUND_EXPIRED = 10,
	INBOUND_NOT_YET = 11,    /* before nbf */
	INBOUND_CLAIMS = 12,     /* a claim is missing or has the wrong form */
	INBOUND_PERMISSION = 13, /* no configured scope, role or caller */
	INBOUND_UNKNOWN_GATEWAY_KEY = 14,
	INBOUND_KEY_EXPIRED = 15, /* of a gateway key */
	INBOUND_MEMORY = 16,
	/* not from here: decide/session, for the secrets of sessions */
	INBOUND_UNKNOWN_SECRET = 17,
};

/* Authenticate by a bearer token of at most JOSE_TOKEN_MAX bytes. INBOUND_OK:
 * *out is a reference that the caller must give back. INBOUND_WAIT: the
 * signing key is being fetched, and `w` is woken when that ends; then call
 * again with `retry` true, by which the result is INBOUND_UNKNOWN_KEY or
 * INBOUND_KEYS_UNAVAILABLE instead of a second wait. Otherwise *out is
 * untouched. */
enum inbound_status inbound_token(struct inbound *in, const struct policy *p,
                                  struct str token, struct waiter *w,
                                  bool retry, struct identity **out);

/* Authenticate by a gateway key: its SHA-256 is compared, in constant time,
 * with those of the policy. *out as of inbound_token(). */
enum inbound_status inbound_key(struct inbound *in, const struct policy *p,
                                struct str key, struct identity **out);

/* The identity of a caller that has proved both: the token's, with the name of
 * the key. A new reference, the caller's; NULL without memory. */
struct identity *inbound_merge(const struct identity *token,
                               const struct identity *key);

/* A short code for logs and error bodies ("token_expired"), and a sentence for
 * the caller. Constants. */
const char *inbound_code(enum inbound_status s);
const char *inbound_message(enum inbound_status s);

#endif
