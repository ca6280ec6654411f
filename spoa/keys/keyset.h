/*
 * keys/keyset: parses the two documents that a tenant publishes: OpenID
 * Connect Discovery metadata, and the JSON Web Key Set (RFC 7517) it points
 * to. Bytes in, keys out; no I/O, no logging.
 *
 * A key is usable when its kty is RSA, its use is absent or "sig", its alg is
 * absent or "RS256" (Entra names none, azure.md 1.2), its kid has 1 to 128
 * bytes, and jose_key_new() accepts its numbers. Others are passed over. Two
 * different keys under one kid make both unusable: which of them is meant
 * cannot be known. The same key twice is one key.
 */
#ifndef KEYS_KEYSET_H
#define KEYS_KEYSET_H

#include "base/buf.h"
#include "keys/jose.h"

/* Distinct kids in a set; Entra publishes about ten. More is an error. */
enum { KEYSET_MAX_KEYS = 256 };

struct keyset; /* immutable; all functions accept NULL: no keys */

/* Check a metadata document and append its jwks_uri to `uri`. Its issuer must
 * be `issuer`, or become it when {tenantid} is replaced by `tid`
 * (azure.md 1.2); the jwks_uri must have scheme, host and port of `authority`.
 * NULL when it is good, else a constant sentence that says what was found. */
const char *keyset_metadata(struct str text, struct str issuer, struct str tid,
                            struct str authority, struct buf *uri);

/* The usable keys of a key set. `tid` fills in {tenantid} of the issuer that a
 * key is bound to. The result is the caller's (keyset_free()). NULL when the
 * text is malformed, has no usable key or too many, or without memory; *why is
 * then a constant sentence. */
struct keyset *keyset_parse(struct str text, struct str tid, const char **why);
void keyset_free(struct keyset *ks);

/* The usable key of that kid, and the issuer it is bound to (empty when it
 * names none). Both live as long as the set. False, and both untouched, when
 * there is none. */
bool keyset_find(const struct keyset *ks, struct str kid, struct jose_key **key,
                 struct str *issuer);

size_t keyset_count(const struct keyset *ks);       /* usable keys */
size_t keyset_passed_over(const struct keyset *ks); /* the others */

/* Whether every usable key of `part` is in `whole` under the same kid, with
 * the same numbers and issuer. */
bool keyset_covers(const struct keyset *whole, const struct keyset *part);

#endif
