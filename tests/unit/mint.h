/*
 * mint: keys and tokens made while a test runs, good ones and forged ones.
 *
 * All texts returned are malloc'ed; the test frees them.
 */
#ifndef TESTS_UNIT_MINT_H
#define TESTS_UNIT_MINT_H

#include "base/str.h"

#include <openssl/evp.h>

struct mint_key {
	EVP_PKEY *pkey;
	char *n, *e; /* base64url, as in a JWK */
};

void mint_key_init(struct mint_key *k, unsigned bits, unsigned exponent);
void mint_key_done(struct mint_key *k);

char *mint_b64(const void *p, size_t len);

/* The public key as PEM and as DER (SubjectPublicKeyInfo). */
char *mint_pem(const struct mint_key *k, size_t *len);
char *mint_der(const struct mint_key *k, size_t *len);

/* header "." payload "." signature, each part encoded. */
char *mint_raw(struct str header, struct str payload, struct str sig);

/* Signed by k: PKCS1-v1_5, or PSS, with the digest of that name. */
char *mint_rsa(const struct mint_key *k, const char *digest, bool pss,
               struct str header, struct str payload);

/* RS256 under {"alg":"RS256","typ":"JWT","kid":kid}. */
char *mint(const struct mint_key *k, const char *kid, const char *payload);

/* HS256 with any bytes as the secret. */
char *mint_hs256(struct str secret, struct str header, struct str payload);

#endif
