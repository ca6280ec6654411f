/*
 * keys/claims: checks the claims of a verified token and makes an identity of
 * them (azure.md 1.5 to 1.7). The second half of keys/inbound, apart because
 * it needs no keys and no I/O. Also makes all other identities.
 *
 * The order of the checks: issuer and version, tenant, audience, times, form
 * of the caller's claims, permission. A token is app-only when `idtyp` is
 * "app", or when `idtyp` is absent and there is no `scp`; scopes of an app-only
 * token do not count.
 *
 *   delegated  one of the tenant's `scopes` must be in `scp`
 *   app-only   one of its `roles` must be in `roles`, or the app or object id
 *              in its `callers`
 *
 * So a tenant without `scopes` takes no delegated tokens, and one without
 * `roles` and `callers` no app-only tokens. Tenant and object id alone are not
 * enough: any service principal of a tenant may get a token for any of its
 * applications (azure.md 1.7).
 */
#ifndef KEYS_CLAIMS_H
#define KEYS_CLAIMS_H

#include "keys/inbound.h"

/* Entra puts at most 200 groups into a token (azure.md 1.7). A token with more
 * than these is refused (INBOUND_CLAIMS), not cut: what is cut off could be
 * what a rule asks for. */
enum { CLAIMS_MAX_ROLES = 256, CLAIMS_MAX_GROUPS = 256 };

/* Check the claims `c` against tenant `t`, which is number `tenant` of its
 * policy, at `now_s` in unix seconds. INBOUND_OK: *out is a new reference, the
 * caller's; otherwise it is untouched. */
enum inbound_status claims_identity(const struct jose_claims *c,
                                    const struct policy_tenant *t, int tenant,
                                    int64_t now_s, struct identity **out);

/* The following return a new reference, the caller's, which copies all texts;
 * NULL without memory. */

/* The identity of the gateway key `name`; `exp`: unix seconds at which the key
 * ends, 0 when it has no end. */
struct identity *claims_of_key(struct str name, int64_t exp);

/* A copy of `of`. */
struct identity *claims_again(const struct identity *of);

/* A copy of a token's identity with the name of a gateway key added: the kind
 * is IDENTITY_BOTH. */
struct identity *claims_copy(const struct identity *token, struct str key);

#endif
