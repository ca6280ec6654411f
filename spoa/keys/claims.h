/*
 * keys/claims: the claims of a verified token -> identity, or why not.
 *
 * The second half of keys/inbound: everything that is asked of a token after
 * its signature (azure.md 1.5 - 1.7).
 */
#ifndef KEYS_CLAIMS_H
#define KEYS_CLAIMS_H

#include "keys/inbound.h"

enum { CLAIMS_MAX_ROLES = 256, CLAIMS_MAX_GROUPS = 256 };

/* `now_s`: unix seconds. INBOUND_OK: *out has one reference, the caller's. A
 * token with more roles or groups than fit is refused, not cut. */
enum inbound_status claims_identity(const struct jose_claims *c,
                                    const struct policy_tenant *t, int tenant,
                                    int64_t now_s, struct identity **out);

/* The identity of a gateway key; `exp` is the key's end, 0 when it has none.
 * NULL without memory. */
struct identity *claims_of_key(struct str name, int64_t exp);

/* A copy. */
struct identity *claims_again(const struct identity *of);

/* A copy of a token's identity that also has a gateway key's name. */
struct identity *claims_copy(const struct identity *token, struct str key);

#endif
