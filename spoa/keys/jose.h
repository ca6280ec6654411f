/*
 * keys/jose: the door to libjwt and to OpenSSL's RSA verification and SHA-256.
 *
 * A token is checked in three calls, and nothing of it may be believed before
 * the second:
 *
 *   jose_split        form: three parts, base64url without padding and with a
 *                     canonical last character (RFC 7515, 2), strict JSON
 *                     (base/json), `alg` exactly RS256, no `crit`, no `b64`
 *   jose_verify       trust: the signature, by OpenSSL
 *   jose_claims_new   the claims, by libjwt
 *
 * The signature is not left to libjwt 1.x: that takes the algorithm from the
 * token's header, so a token signed with HS256 and the public key as secret
 * passes, and it parses the PEM key for every token: 500 us instead of 23
 * (azure.md 2.2). Header members that name keys (jwk, jku, x5u, x5c) are never
 * looked at.
 */
#ifndef KEYS_JOSE_H
#define KEYS_JOSE_H

#include "base/str.h"

enum {
	/* Bytes of a token; longer ones are refused. Tokens of Entra are 1.5
	 * to 2.5 kB, with the 200 groups that they may carry (azure.md 1.7)
	 * about 13 kB. */
	JOSE_TOKEN_MAX = 16384,
	/* Bytes. Entra's kids are thumbprints: 27 characters for SHA-1, 43
	 * for SHA-256. */
	JOSE_KID_MAX = 128,
};

enum jose_status {
	JOSE_OK = 0,
	JOSE_MALFORMED = 1, /* not three parts, not base64url, not JSON, a
	                     * wrong typ, or more than one tid */
	JOSE_ALGORITHM = 2, /* alg is not RS256, or crit or b64 is there */
	JOSE_KEY = 3,       /* no kid, or one that is too long */
	JOSE_SIGNATURE = 4, /* the signature is empty */
};

/* A public RSA key for jose_verify(), of 2048 to 8192 bits, with e at least
 * 65537. Numbers as in a JWK (RFC 7518, 6.3.1). NULL for any other key, or
 * without memory. */
struct jose_key;
struct jose_key *jose_key_new(struct str n_b64url, struct str e_b64url);
void jose_key_free(struct jose_key *k); /* accepts NULL */

/* A token that was split and not verified. The caller provides the memory;
 * there is nothing to free. */
struct jose_token {
	char kid[JOSE_KID_MAX + 1];
	char ver[8];            /* "1.0", "2.0", else empty or any text */
	char tid[37];           /* GUID in lower case, else empty */
	struct str raw;         /* the whole token; borrowed from the caller */
	struct str signed_part; /* header.payload, within raw */
	uint8_t sig[1024];      /* of keys of up to 8192 bits */
	size_t sig_len;
};

/* Check the form of a token and split it. kid, ver and tid are not verified
 * yet: they only choose the key to verify with. Fails when the payload has
 * `tid` twice, in any letter case: two readers could see two tenants. */
enum jose_status jose_split(struct str token, struct jose_token *out);

/* The object id of the gateway's own token: `oid` of its payload, if that is a
 * GUID. Not verified: the token came from the identity endpoint by TLS, and
 * only its receiver decides by it. False, and `oid` untouched, without one. */
bool jose_oid(struct str token, char oid[37]);

/* Whether `t` was signed with `k`: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518,
 * 3.3), and a signature exactly as long as the modulus. False also without
 * memory. A key is for one thread. */
bool jose_verify(const struct jose_token *t, struct jose_key *k);

/* The claims of a token that jose_verify() has accepted. The result is the
 * caller's and independent of `t`. NULL without memory, or when libjwt cannot
 * read them. */
struct jose_claims;
struct jose_claims *jose_claims_new(const struct jose_token *t);
void jose_claims_free(struct jose_claims *c); /* accepts NULL */

/* A string claim, NUL-terminated, borrowed from `c`. Empty, and p NULL, when
 * it is absent or no string; jose_claim_present() tells which. */
struct str jose_claim_str(const struct jose_claims *c, const char *name);

/* A NumericDate (RFC 7519, 2) in unix seconds: a JSON integer from 0 to the
 * year 9999. False, and *out untouched, when it is absent or anything else:
 * a string, a fraction, an exponent. */
bool jose_claim_time(const struct jose_claims *c, const char *name,
                     int64_t *out);

bool jose_claim_present(const struct jose_claims *c, const char *name);

/* Call `each` for every entry of a claim that is an array of strings; the
 * entry is valid during the call. An absent claim is an empty array. False,
 * without a call, when the claim is anything else. */
bool jose_claim_strs(const struct jose_claims *c, const char *name,
                     void (*each)(void *ctx, struct str s), void *ctx);

/* Without memory this aborts the process: no value may stand for a digest. */
void jose_sha256(struct str s, uint8_t out[32]);

/* HMAC-SHA256 (RFC 2104). Aborts without memory, as jose_sha256() does. */
enum { JOSE_HMAC_LEN = 32 };
void jose_hmac_sha256(struct str key, struct str s, uint8_t out[JOSE_HMAC_LEN]);

/* Random bytes for keys. False when the system has none. */
bool jose_random(void *out, size_t len);

/* Names and versions of the libraries, for -V; static memory. */
const char *jose_library(void);

#endif
