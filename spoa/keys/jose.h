/*
 * keys/jose: the door to OpenSSL's RSA and digests and to libjwt.
 *
 * Verification happens here, with keys parsed once (azure.md 2.2, 2.3):
 * strict split and base64url (RFC 7515, 2: no padding, canonical last
 * character), strict JSON of header and payload (base/json), `alg` exactly
 * "RS256", no `crit`, EVP signature check - and only then are the claims read
 * through libjwt. Header members that name keys (jwk, jku, x5u, x5c) are
 * never looked at.
 */
#ifndef KEYS_JOSE_H
#define KEYS_JOSE_H

#include "base/str.h"

enum {
	JOSE_TOKEN_MAX = 16384, /* bytes; longer tokens are refused */
	JOSE_KID_MAX = 128,
};

enum jose_status {
	JOSE_OK = 0,
	JOSE_MALFORMED = 1, /* not three parts, not base64url, not JSON */
	JOSE_ALGORITHM = 2, /* anything but RS256, or `crit` */
	JOSE_KEY = 3,       /* no kid, or a kid that is too long */
	JOSE_SIGNATURE = 4,
	JOSE_MEMORY = 5,
};

/* A public RSA key, at least 2048 bits, e >= 65537. */
struct jose_key;
struct jose_key *jose_key_new(struct str n_b64url, struct str e_b64url);
void jose_key_free(struct jose_key *k);

/* A token taken apart but not yet believed. Owned by the caller. */
struct jose_token {
	char kid[JOSE_KID_MAX + 1];
	char ver[8];    /* "1.0" / "2.0": picks the metadata; unverified */
	char tid[37];   /* GUID lower case: picks the tenant; unverified */
	struct str raw; /* the whole token; borrowed from the caller */
	struct str signed_part;
	uint8_t sig[1024];
	size_t sig_len;
};

/* Split and check the form. Reads kid, and unverified ver and tid, which only
 * choose the key to try. Fails when `tid` stands twice, in any letter case. */
enum jose_status jose_split(struct str token, struct jose_token *out);

/* The object id in a token that was given to us, which nobody has to verify:
 * `oid` of its payload, when that is a GUID. */
bool jose_oid(struct str token, char oid[37]);

/* True when the signature is the key's: RSASSA-PKCS1-v1_5 with SHA-256, and
 * exactly as long as the modulus. */
bool jose_verify(const struct jose_token *t, struct jose_key *k);

/* The claims of a token that jose_verify() accepted (libjwt). */
struct jose_claims;
struct jose_claims *jose_claims_new(const struct jose_token *t);
void jose_claims_free(struct jose_claims *c);

/* A string claim, NUL-terminated; empty with p NULL when absent or not a
 * string. Borrowed from c. */
struct str jose_claim_str(const struct jose_claims *c, const char *name);

/* A NumericDate: a JSON integer, not negative. False when absent or of any
 * other form (string, fraction, exponent, out of range). */
bool jose_claim_time(const struct jose_claims *c, const char *name,
                     int64_t *out);

bool jose_claim_present(const struct jose_claims *c, const char *name);

/* A claim that is an array of strings: calls `each` for every entry, which is
 * valid during that call. False when it is present but is not one (then
 * nothing was called); an absent claim is an empty array. */
bool jose_claim_strs(const struct jose_claims *c, const char *name,
                     void (*each)(void *ctx, struct str s), void *ctx);

void jose_sha256(struct str s, uint8_t out[32]);

/* Names and versions of the libraries, for -V. */
const char *jose_library(void);

#endif
