/*
 * keys/keyset: the two documents a tenant publishes, taken apart.
 *
 * OpenID Connect Discovery metadata and the JSON Web Key Set (RFC 7517) it
 * points to. Bytes in, keys out; no I/O.
 */
#ifndef KEYS_KEYSET_H
#define KEYS_KEYSET_H

#include "base/buf.h"
#include "keys/jose.h"

enum { KEYSET_MAX_KEYS = 256 };

struct keyset; /* immutable; all functions accept NULL: no keys */

/* Check metadata and append its jwks_uri to `uri`. NULL when all is well, else
 * a constant sentence: what was found. Its issuer must be `issuer`, or become
 * it when {tenantid} is replaced by `tid`; the jwks_uri must have scheme, host
 * and port of `authority`. */
const char *keyset_metadata(struct str text, struct str issuer, struct str tid,
                            struct str authority, struct buf *uri);

/* The usable keys of a key set; NULL when there is none or it is malformed,
 * then *why is a constant sentence. `tid` fills in {tenantid} of a key's own
 * issuer. */
struct keyset *keyset_parse(struct str text, struct str tid, const char **why);
void keyset_free(struct keyset *ks);

/* The key of that kid, and its own issuer (empty when it names none). Both
 * live as long as the set. */
bool keyset_find(const struct keyset *ks, struct str kid, struct jose_key **key,
                 struct str *issuer);

size_t keyset_count(const struct keyset *ks);
size_t keyset_passed_over(const struct keyset *ks); /* keys not usable */

/* Every key of `part` is in `whole`, with the same numbers and issuer. */
bool keyset_covers(const struct keyset *whole, const struct keyset *part);

#endif
