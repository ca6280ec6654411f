/*
 * authority: what a tenant publishes, served on loopback, with faults to set.
 */
#ifndef TESTS_UNIT_AUTHORITY_H
#define TESTS_UNIT_AUTHORITY_H

#include "conf/policy.h"
#include "httpd.h"
#include "mint.h"

#define AUTHORITY_TID "aaaaaaaa-0000-4000-8000-000000000001"

enum { V1 = 0, V2 = 1 };

struct authority {
	struct httpd *h;
	char base[64];

	/* what it answers, by version; the test may change all of it */
	char issuer[2][256];
	char jwks_uri[2][256];
	struct buf keys[2]; /* the JWKS document */
	int metadata_status, keys_status;
	const char *headers; /* more header lines of every answer */
	bool hold;           /* never answer */

	unsigned n_metadata, n_keys; /* requests seen */
	bool bad_request;            /* one that we should never have made */

	/* the URLs and issuers as the config would have them */
	char issuer_v1[256], issuer_v2[256];
	char metadata_v1[256], metadata_v2[256];
};

void authority_init(struct authority *a, struct loop *l);
void authority_done(struct authority *a);

/* Publish these keys in both versions; an entry of `extra` (may be NULL) is
 * appended to each JWK object, beginning with a comma. */
void authority_publish(struct authority *a, const struct mint_key *const *keys,
                       const char *const *kids, const char *const *extra,
                       size_t n);

/* A tenant as conf/load would make it, pointing here. */
void authority_tenant(const struct authority *a, struct policy_tenant *out);

#endif
