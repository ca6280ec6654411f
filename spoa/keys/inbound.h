/*
 * keys/inbound: a bearer token or gateway key -> identity, or why not.
 *
 * The order of a token's checks: form, tenant, key, the key's own issuer,
 * signature; then of its claims: issuer and version, tenant, audience, times,
 * who it is, whether that one may come in. A tenant whose scopes are empty
 * takes no delegated token, and one whose roles and callers are empty no
 * app-only token. A token is app-only when `idtyp` is "app", or when it is
 * absent and there is no `scp`; its scopes then count for nothing.
 *
 * Verified tokens are kept by the SHA-256 of the whole token, at most five
 * minutes and never past `exp`; a hit looks at `exp` again. Only successes
 * are kept.
 */
#ifndef KEYS_INBOUND_H
#define KEYS_INBOUND_H

#include "keys/jwks.h"
#include "keys/identity.h"

struct inbound;

struct inbound *inbound_new(const struct clock *clock, struct jwks *jwks,
                            struct metrics *metrics);
void inbound_free(struct inbound *in);

/* Forget verified tokens: after a reload, or of one tenant (GUID) when its
 * keys changed. An empty tid means all. */
void inbound_flush(struct inbound *in, struct str tid);

enum inbound_status {
	INBOUND_OK = 0,
	INBOUND_WAIT = 1, /* the waiter was queued: call again when woken */
	INBOUND_MALFORMED = 2,
	INBOUND_ALGORITHM = 3,
	INBOUND_TENANT = 4, /* tid not configured, or not that of iss */
	INBOUND_ISSUER = 5,
	INBOUND_UNKNOWN_KEY = 6,      /* kid */
	INBOUND_KEYS_UNAVAILABLE = 7, /* no key of the tenant was ever loaded */
	INBOUND_SIGNATURE = 8,
	INBOUND_AUDIENCE = 9,
	INBOUND_EXPIRED = 10,
	INBOUND_NOT_YET = 11,
	INBOUND_CLAIMS = 12,     /* a claim is missing or has the wrong form */
	INBOUND_PERMISSION = 13, /* no configured scope, role or caller */
	INBOUND_UNKNOWN_GATEWAY_KEY = 14,
	INBOUND_KEY_EXPIRED = 15,
	INBOUND_MEMORY = 16,
	INBOUND_UNKNOWN_SECRET = 17, /* decide/session */
};

/* INBOUND_OK: *out holds a reference the caller must give back. `retry` is
 * true when the caller was woken once already for this request: then
 * INBOUND_WAIT is not given again but INBOUND_UNKNOWN_KEY. */
enum inbound_status inbound_token(struct inbound *in, const struct policy *p,
                                  struct str token, struct waiter *w,
                                  bool retry, struct identity **out);

/* A gateway key, compared by SHA-256 in constant time. */
enum inbound_status inbound_key(struct inbound *in, const struct policy *p,
                                struct str key, struct identity **out);

/* Both proved: one identity, the token's, with the key's name. */
struct identity *inbound_merge(const struct identity *token,
                               const struct identity *key);

/* A sentence for the caller and a short code for the log. */
const char *inbound_code(enum inbound_status s); /* "token_expired" */
const char *inbound_message(enum inbound_status s);

#endif
