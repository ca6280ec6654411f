/*
 * keys: the RSA keys of the pretended tenant, and signing with them.
 */
#ifndef SIM_KEYS_H
#define SIM_KEYS_H

#include "text.h"

struct keys;
struct key;

/* Two published keys (never assume there is one: signing-key-rollover) and
 * one that is in no JWKS. */
struct keys *keys_new(void);
void keys_free(struct keys *k);

/* The key that signs; NULL when every key was dropped. */
const struct key *keys_current(const struct keys *k);
const struct key *keys_other(const struct keys *k);
const struct key *keys_find(const struct keys *k, const char *kid);
const char *key_kid(const struct key *key);

/* A new key signs from now on; the others stay published or are dropped. */
const struct key *keys_rotate(struct keys *k, bool drop_old);

/* Take a key out of the JWKS; NULL means the one that signs. */
bool keys_drop(struct keys *k, const char *kid);

/* {"keys":[...]} as Entra writes it: no `alg` member. */
void keys_jwks(const struct keys *k, const char *issuer, struct sb *out);

/* Append the base64url signature of `text` for JWS algorithm `alg`: RS256,
 * RS384, RS512, PS256; HS256 keyed with the public key in the form `hmac_key`
 * ("pem", "der" or "modulus": the algorithm confusion attacks); "none" in
 * any letter case gives nothing. An unknown name signs as RS256. */
void keys_sign(const struct key *key, const char *alg, const char *hmac_key,
               const char *text, size_t len, struct sb *out);

/* True when `sig` is the RS256 or PS256 signature of `text` by the holder of
 * the PEM certificate. */
bool keys_check_cert(const char *pem, bool pss, const char *text, size_t len,
                     const struct sb *sig);

/* Append the base64url SHA-256 (x5t#S256) or SHA-1 (x5t) of the PEM
 * certificate; nothing when it is none. */
void keys_thumbprint(const char *pem, bool sha256, struct sb *out);

#endif
