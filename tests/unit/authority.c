/* authority: what a tenant publishes, served on loopback. */
#include "authority.h"

#include "test.h"

#include <stdio.h>

static void answer_metadata(struct authority *a, int v, struct buf *out)
{
	struct buf body;

	a->n_metadata++;
	buf_init(&body, 4096);
	buf_fmt(&body, "{\"issuer\":\"%s\",\"jwks_uri\":\"%s\"}", a->issuer[v],
	        a->jwks_uri[v]);
	httpd_answer(out, a->metadata_status, a->headers, buf_str(&body));
	buf_done(&body);
}

static void answer(void *ctx, const struct httpd_request *r, struct buf *out)
{
	struct authority *a = ctx;
	int v = memmem(r->target.p, r->target.len, "v2.0", 4) ? V2 : V1;

	if (!str_eq(r->method, STR("GET")) ||
	    !memmem(r->head.p, r->head.len, "User-Agent: foundry-spoa\r\n", 26))
		a->bad_request = true;
	if (memmem(r->target.p, r->target.len, "/.well-known/", 13)) {
		if (a->hold)
			a->n_metadata++;
		else
			answer_metadata(a, v, out);
	} else if (memmem(r->target.p, r->target.len, "/keys", 5)) {
		a->n_keys++;
		if (!a->hold)
			httpd_answer(out, a->keys_status, a->headers,
			             buf_str(&a->keys[v]));
	} else {
		a->bad_request = true;
		httpd_answer(out, 404, "", STR(""));
	}
}

void authority_init(struct authority *a, struct loop *l)
{
	*a = (struct authority){
		.metadata_status = 200, .keys_status = 200, .headers = ""};
	a->h = httpd_new(l, answer, a);
	snprintf(a->base, sizeof(a->base), "http://127.0.0.1:%u",
	         httpd_port(a->h));
	snprintf(a->issuer_v1, sizeof(a->issuer_v1),
	         "https://sts.windows.net/" AUTHORITY_TID "/");
	snprintf(a->issuer_v2, sizeof(a->issuer_v2),
	         "%s/" AUTHORITY_TID "/v2.0", a->base);
	snprintf(a->metadata_v1, sizeof(a->metadata_v1),
	         "%s/" AUTHORITY_TID "/.well-known/openid-configuration",
	         a->base);
	snprintf(a->metadata_v2, sizeof(a->metadata_v2),
	         "%s/" AUTHORITY_TID "/v2.0/.well-known/openid-configuration",
	         a->base);
	memcpy(a->issuer[V1], a->issuer_v1, sizeof(a->issuer_v1));
	memcpy(a->issuer[V2], a->issuer_v2, sizeof(a->issuer_v2));
	snprintf(a->jwks_uri[V1], sizeof(a->jwks_uri[V1]),
	         "%s/" AUTHORITY_TID "/discovery/keys", a->base);
	snprintf(a->jwks_uri[V2], sizeof(a->jwks_uri[V2]),
	         "%s/" AUTHORITY_TID "/discovery/v2.0/keys", a->base);
	buf_init(&a->keys[V1], 1 << 20);
	buf_init(&a->keys[V2], 1 << 20);
}

void authority_done(struct authority *a)
{
	httpd_free(a->h);
	buf_done(&a->keys[V1]);
	buf_done(&a->keys[V2]);
	assert_false(a->bad_request);
}

void authority_publish(struct authority *a, const struct mint_key *const *keys,
                       const char *const *kids, const char *const *extra,
                       size_t n)
{
	size_t i;
	int v;

	for (v = V1; v <= V2; v++) {
		buf_clear(&a->keys[v]);
		buf_add_str(&a->keys[v], STR("{\"keys\":["));
		for (i = 0; i < n; i++)
			buf_fmt(&a->keys[v],
			        "%s{\"kty\":\"RSA\",\"kid\":\"%s\","
			        "\"n\":\"%s\",\"e\":\"%s\"%s}",
			        i ? "," : "", kids[i], keys[i]->n, keys[i]->e,
			        extra && extra[i] ? extra[i] : "");
		buf_add_str(&a->keys[v], STR("]}"));
		assert_false(a->keys[v].failed);
	}
}

void authority_tenant(const struct authority *a, struct policy_tenant *out)
{
	*out = (struct policy_tenant){
		.name = STR("contoso"),
		.id = STR(AUTHORITY_TID),
		.authority = str_c(a->base),
		.issuer_v1 = str_c(a->issuer_v1),
		.issuer_v2 = str_c(a->issuer_v2),
		.metadata_v1 = str_c(a->metadata_v1),
		.metadata_v2 = str_c(a->metadata_v2),
		.skew_s = 60,
	};
}
