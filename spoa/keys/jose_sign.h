/*
 * keys/jose_sign: the part of the door to OpenSSL that uses a private key. It
 * makes client assertions (RFC 7523, 2.2), by which an app proves to Entra
 * that it has the key of its certificate (azure.md 3.7).
 *
 *   PEM -> key + its certificate -> {"alg":"PS256","x5t#S256":...} . claims
 *                                   -> RSASSA-PSS with SHA-256 -> assertion
 *
 * Key and certificate are parsed for every assertion, which is once per token
 * (about an hour), and wiped: a file that was renewed is used at once, and the
 * key is not in memory in between.
 */
#ifndef KEYS_JOSE_SIGN_H
#define KEYS_JOSE_SIGN_H

#include "base/buf.h"

enum {
	/* bytes: a key of 8192 bits is 6.4 kB, a certificate about 2 kB */
	JOSE_PEM_MAX = 65536,
	/* bytes: a signature of 8192 bits is 1.4 kB, the rest below 1 kB */
	JOSE_ASSERTION_MAX = 8192,
	/* Entra advises 5 to 10 minutes (azure.md 3.7) */
	JOSE_ASSERTION_LIFE_S = 300,
};

/* All borrowed. */
struct jose_assertion {
	/* An RSA key of 2048 to 8192 bits without a passphrase, and its
	 * certificate, in any order. Further certificates (a chain) are
	 * ignored. A secret. */
	struct str pem;
	struct str client_id; /* becomes iss and sub */
	struct str audience;  /* becomes aud: the URL of the token endpoint */
	int64_t now_s;        /* unix seconds: becomes nbf and iat */
};

/* Append an assertion to `out`, valid for JOSE_ASSERTION_LIFE_S from now_s,
 * with a random jti. NULL when it is there; else a constant text that says what
 * is wrong, and the length of `out` is what it was. A certificate that has
 * ended or has not begun is refused here, as Entra would say less. */
const char *jose_sign(const struct jose_assertion *a, struct buf *out);

#endif
