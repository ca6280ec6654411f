/*
 * keys/jose and keys/claims: tokens and claims that a stranger wrote.
 *
 * An input that begins with '{' is a payload: it is wrapped into a token of
 * good form, so that the claims are reached; all else is a token as it came.
 */
#include "base/buf.h"
#include "keys/claims.h"
#include "keys/jose.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TID "aaaaaaaa-0000-4000-8000-000000000001"

static const struct str audience = STR_INIT("api://gateway");
static const struct str scope = STR_INIT("invoke");
static const struct str role = STR_INIT("Gateway.Use");

static const struct policy_tenant tenant = {
	.id = STR_INIT(TID),
	.issuer_v1 = STR_INIT("https://sts.windows.net/" TID "/"),
	.issuer_v2 = STR_INIT("https://login/" TID "/v2.0"),
	.audiences = {&audience, 1},
	.scopes = {&scope, 1},
	.roles = {&role, 1},
	.skew_s = 60,
};

static void add_base64url(struct buf *out, struct str s)
{
	static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"
				  "qrstuvwxyz0123456789-_";
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t i;

	for (i = 0; i < s.len; i++) {
		acc = acc << 8 | (unsigned char)s.p[i];
		for (bits += 8; bits >= 6; bits -= 6)
			buf_add(out, &abc[acc >> (bits - 6) & 63], 1);
	}
	if (bits)
		buf_add(out, &abc[acc << (6 - bits) & 63], 1);
}

static void count(void *ctx, struct str s)
{
	*(size_t *)ctx += s.len;
}

static void read_claims(const struct jose_token *t)
{
	struct jose_claims *c = jose_claims_new(t);
	struct identity *i = NULL;
	int64_t exp;
	size_t n = 0;

	if (!c)
		return;
	if (jose_claim_time(c, "exp", &exp) && exp < 0)
		abort();
	jose_claim_strs(c, "roles", count, &n);
	if (claims_identity(c, &tenant, 0, 1800000000, &i) == INBOUND_OK) {
		/* who got in belongs to the tenant and has not expired */
		if (!str_eq(i->tid, tenant.id) || i->exp + 60 <= 1800000000 ||
		    (i->app.len == 0 && i->object.len == 0))
			abort();
		identity_unref(i);
	} else if (i) {
		abort();
	}
	jose_claims_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_of((const char *)data, size);
	struct jose_token t;
	struct buf wrapped;

	buf_init(&wrapped, 1 << 20);
	if (str_starts(in, STR("{"))) {
		/* {"alg":"RS256","kid":"k"} */
		buf_add_str(&wrapped,
		            STR("eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ."));
		add_base64url(&wrapped, in);
		buf_add_str(&wrapped, STR(".AA"));
		in = buf_str(&wrapped);
	}
	if (jose_split(in, &t) == JOSE_OK) {
		if (t.sig_len == 0 || t.sig_len > sizeof(t.sig) ||
		    t.kid[0] == '\0')
			abort();
		read_claims(&t);
	}
	buf_done(&wrapped);
	return 0;
}
