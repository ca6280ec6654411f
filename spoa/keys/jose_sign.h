/*
 * keys/jose_sign: the part of the door to OpenSSL that holds a private key:
 * client assertions (RFC 7523, 2.2) signed with a certificate's key.
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
	JOSE_PEM_MAX = 65536,
	JOSE_ASSERTION_MAX = 8192,
	JOSE_ASSERTION_LIFE_S = 300, /* Entra advises 5 to 10 minutes */
};

struct jose_assertion {
	/* Text with an RSA key of at least 2048 bits, not encrypted, and its
	 * certificate, in any order; further certificates (a chain) do not
	 * matter. */
	struct str pem;
	struct str client_id; /* who says so: iss and sub */
	struct str audience;  /* the URL of the token endpoint */
	int64_t now_s;
};

/* Append an assertion that is valid from now on for JOSE_ASSERTION_LIFE_S and
 * has a random jti. NULL, or why not, a constant text; then nothing of use is
 * in `out`. A certificate that has ended, or has yet to begin, is refused. */
const char *jose_sign(const struct jose_assertion *a, struct buf *out);

#endif
