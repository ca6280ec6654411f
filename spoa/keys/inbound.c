/*
 * keys/inbound: a bearer token or gateway key -> identity, or why not.
 *
 *   token -> cache --hit-------------------------------> identity
 *              \-> jose_split -> tenant -> jwks_find      ^
 *                  -> jose_verify -> claims -> vetted -> kept
 */
#include "keys/inbound.h"

#include "base/map.h"
#include "keys/claims.h"

#include <assert.h>
#include <stdlib.h>

enum {
	INBOUND_CACHE_MAX = 4096,
	INBOUND_CACHE_S = 300,
};

struct entry {                      /* one verified token */
	struct entry *next, **prev; /* oldest first */
	uint8_t sum[32];
	struct identity *identity;
	const struct policy *policy; /* the one it was judged by; only compared,
	                              * never followed */
	uint64_t stale_us;
};

struct inbound {
	const struct clock *clock;
	struct jwks *jwks;
	struct map by_sum;
	struct entry *oldest, **newest;
	struct metric *hit, *miss;
};

/* ---------------------------------------------------------------- cache */

static struct str sum_str(const uint8_t sum[32])
{
	return str_of((const char *)sum, 32);
}

static void forget(struct inbound *in, struct entry *e)
{
	map_del(&in->by_sum, sum_str(e->sum));
	*e->prev = e->next;
	if (e->next)
		e->next->prev = e->prev;
	else
		in->newest = e->prev;
	identity_unref(e->identity);
	free(e);
}

/* An entry that no longer holds is taken out, so that it is not asked for
 * again and its place is free. */
static struct identity *recall(struct inbound *in, const struct policy *p,
                               const uint8_t sum[32])
{
	struct entry *e = map_get(&in->by_sum, sum_str(sum));

	if (!e)
		return NULL;
	if (e->policy == p && clock_mono_us(in->clock) < e->stale_us &&
	    clock_real_s(in->clock) < e->identity->exp)
		return e->identity;
	forget(in, e);
	return NULL;
}

static void remember(struct inbound *in, const struct policy *p,
                     const uint8_t sum[32], struct identity *identity)
{
	struct entry *e;

	/* accepted by the skew alone: not worth a place */
	if (clock_real_s(in->clock) >= identity->exp)
		return;
	if (in->by_sum.n >= INBOUND_CACHE_MAX)
		forget(in, in->oldest);
	e = calloc(1, sizeof(*e));
	if (!e)
		return; /* slower, not wrong */
	memcpy(e->sum, sum, sizeof(e->sum));
	if (!map_put(&in->by_sum, sum_str(sum), e)) {
		free(e);
		return;
	}
	e->identity = identity_ref(identity);
	e->policy = p;
	e->stale_us =
		clock_mono_us(in->clock) + (uint64_t)INBOUND_CACHE_S * 1000000;
	e->prev = in->newest;
	*in->newest = e;
	in->newest = &e->next;
}

void inbound_flush(struct inbound *in, struct str tid)
{
	struct entry *e = in->oldest, *next;

	for (; e; e = next) {
		next = e->next;
		if (tid.len == 0 || str_eq(e->identity->tid, tid))
			forget(in, e);
	}
}

static struct metric *cache_metric(struct metrics *m, const char *result)
{
	struct buf labels;
	struct metric *c;

	if (!m)
		return NULL;
	buf_init(&labels, 256);
	metrics_label(&labels, "result", str_c(result));
	c = metrics_get(m, "foundry_token_cache_total", buf_str(&labels));
	buf_done(&labels);
	return c;
}

struct inbound *inbound_new(const struct clock *clock, struct jwks *jwks,
                            struct metrics *metrics)
{
	struct inbound *in = calloc(1, sizeof(*in));

	if (!in)
		return NULL;
	in->clock = clock;
	in->jwks = jwks;
	in->newest = &in->oldest;
	in->hit = cache_metric(metrics, "hit");
	in->miss = cache_metric(metrics, "miss");
	map_init(&in->by_sum, INBOUND_CACHE_MAX);
	return in;
}

void inbound_free(struct inbound *in)
{
	if (!in)
		return;
	inbound_flush(in, STR_NONE);
	map_done(&in->by_sum);
	free(in);
}

/* --------------------------------------------------------------- tokens */

static enum inbound_status of_jose(enum jose_status s)
{
	switch (s) {
	case JOSE_OK:
		return INBOUND_OK;
	case JOSE_ALGORITHM:
		return INBOUND_ALGORITHM;
	case JOSE_KEY:
		return INBOUND_UNKNOWN_KEY;
	case JOSE_SIGNATURE:
		return INBOUND_SIGNATURE;
	case JOSE_MEMORY:
		return INBOUND_MEMORY;
	case JOSE_MALFORMED:
		break;
	}
	return INBOUND_MALFORMED;
}

/* Index of the tenant with that GUID, or -1. */
static int tenant_of(const struct policy *p, struct str tid)
{
	size_t i;

	for (i = 0; tid.len > 0 && i < p->n_tenants; i++)
		if (str_eq_nocase(p->tenants[i].id, tid))
			return (int)i;
	return -1;
}

/* azure.md 1.2: a key may sign for one issuer only. The keys of the v1 set
 * carry the tenant's v2 issuer, so for v1 tokens that one is as good. */
static bool key_may_sign(struct str key_issuer, const struct policy_tenant *t,
                         bool v1)
{
	return key_issuer.len == 0 || str_eq(key_issuer, t->issuer_v2) ||
	       (v1 && str_eq(key_issuer, t->issuer_v1));
}

static enum inbound_status find_key(struct inbound *in,
                                    const struct policy_tenant *t,
                                    const struct jose_token *token,
                                    struct waiter *w, struct jose_key **key)
{
	bool v1 = strcmp(token->ver, "1.0") == 0;
	struct str key_issuer;

	switch (jwks_find(in->jwks, t->id, str_c(token->ver), str_c(token->kid),
	                  key, &key_issuer, w)) {
	case JWKS_FOUND:
		return key_may_sign(key_issuer, t, v1) ? INBOUND_OK
		                                       : INBOUND_ISSUER;
	case JWKS_WAIT:
		return INBOUND_WAIT;
	case JWKS_UNAVAILABLE:
		return INBOUND_KEYS_UNAVAILABLE;
	case JWKS_UNKNOWN:
		break;
	}
	return INBOUND_UNKNOWN_KEY;
}

static enum inbound_status verify(struct inbound *in, const struct policy *p,
                                  struct str token, struct waiter *w,
                                  struct identity **out)
{
	struct jose_token t;
	struct jose_claims *claims;
	struct jose_key *key = NULL;
	enum inbound_status s;
	int tenant;

	s = of_jose(jose_split(token, &t));
	if (s != INBOUND_OK)
		return s;
	tenant = tenant_of(p, str_c(t.tid));
	if (tenant < 0)
		return INBOUND_TENANT;
	s = find_key(in, &p->tenants[tenant], &t, w, &key);
	if (s != INBOUND_OK)
		return s;
	if (!jose_verify(&t, key))
		return INBOUND_SIGNATURE;
	claims = jose_claims_new(&t);
	if (!claims)
		return INBOUND_CLAIMS;
	s = claims_identity(claims, &p->tenants[tenant], tenant,
	                    clock_real_s(in->clock), out);
	jose_claims_free(claims);
	return s;
}

enum inbound_status inbound_token(struct inbound *in, const struct policy *p,
                                  struct str token, struct waiter *w,
                                  bool retry, struct identity **out)
{
	enum inbound_status s;
	struct identity *known;
	uint8_t sum[32];

	/* before hashing: the length is the caller's choice */
	if (token.len == 0 || token.len > JOSE_TOKEN_MAX)
		return INBOUND_MALFORMED;
	jose_sha256(token, sum);
	known = recall(in, p, sum);
	if (known) {
		if (in->hit)
			metric_add(in->hit, 1);
		*out = identity_ref(known);
		return INBOUND_OK;
	}
	if (in->miss)
		metric_add(in->miss, 1);
	s = verify(in, p, token, retry ? NULL : w, out);
	if (s == INBOUND_OK)
		remember(in, p, sum, *out);
	return s;
}

/* ----------------------------------------------------------------- keys */

enum inbound_status inbound_key(struct inbound *in, const struct policy *p,
                                struct str key, struct identity **out)
{
	const struct policy_key *found = NULL;
	struct identity *identity;
	uint8_t sum[32];
	size_t i;

	jose_sha256(key, sum);
	/* all of them, always: how long it takes says nothing about which */
	for (i = 0; i < p->n_keys; i++)
		if (str_eq_secret(sum_str(sum), sum_str(p->keys[i].sha256)))
			found = &p->keys[i];
	explicit_bzero(sum, sizeof(sum));
	if (!found || key.len == 0)
		return INBOUND_UNKNOWN_GATEWAY_KEY;
	if (found->not_after != 0 &&
	    clock_real_s(in->clock) >= found->not_after)
		return INBOUND_KEY_EXPIRED;
	identity = claims_of_key(found->name, found->not_after);
	if (!identity)
		return INBOUND_MEMORY;
	*out = identity;
	return INBOUND_OK;
}

struct identity *inbound_merge(const struct identity *token,
                               const struct identity *key)
{
	return claims_copy(token, key->key);
}

/* ---------------------------------------------------------------- words */

static const struct {
	const char *code, *message;
} words[] = {
	[INBOUND_OK] = {"ok", "The credential is accepted."},
	[INBOUND_WAIT] = {"keys_pending",
                          "The signing keys are being fetched."},
	[INBOUND_MALFORMED] = {"token_malformed",
                               "The bearer token is not a well-formed JWT."},
	[INBOUND_ALGORITHM] = {"token_algorithm",
                               "The token must be signed with RS256 and use no "
                               "critical header."},
	[INBOUND_TENANT] = {"token_tenant",
                            "The token is of a tenant that is not allowed "
                            "here."},
	[INBOUND_ISSUER] = {"token_issuer",
                            "The issuer of the token is not one of its "
                            "tenant."},
	[INBOUND_UNKNOWN_KEY] = {"token_unknown_key",
                                 "The token names a signing key that its "
                                 "tenant does not publish."},
	[INBOUND_KEYS_UNAVAILABLE] = {"keys_unavailable",
                                      "The signing keys of the tenant cannot "
                                      "be loaded right now; try again "
                                      "shortly."},
	[INBOUND_SIGNATURE] = {"token_signature",
                               "The signature of the token is not valid."},
	[INBOUND_AUDIENCE] = {"token_audience",
                              "The token is for another audience; ask for one "
                              "for this gateway."},
	[INBOUND_EXPIRED] = {"token_expired", "The token has expired."},
	[INBOUND_NOT_YET] = {"token_not_yet_valid",
                             "The token is not valid yet."},
	[INBOUND_CLAIMS] = {"token_claims",
                            "A claim of the token is missing or has the wrong "
                            "form."},
	[INBOUND_PERMISSION] = {"token_permission",
                                "The token has none of the scopes or roles "
                                "needed here, and its caller is not listed."},
	[INBOUND_UNKNOWN_GATEWAY_KEY] = {"key_unknown",
                                         "The gateway key is not known."},
	[INBOUND_KEY_EXPIRED] = {"key_expired", "The gateway key has expired."},
	[INBOUND_MEMORY] = {"out_of_memory",
                            "The gateway is out of memory; try again "
                            "shortly."},
	[INBOUND_UNKNOWN_SECRET] = {"session_secret_unknown",
                                    "A call needs the secret of a realtime "
                                    "session that was made through this "
                                    "gateway, as its bearer token and only "
                                    "credential."},
};

const char *inbound_code(enum inbound_status s)
{
	assert((size_t)s < sizeof(words) / sizeof(words[0]));
	return words[s].code;
}

const char *inbound_message(enum inbound_status s)
{
	assert((size_t)s < sizeof(words) / sizeof(words[0]));
	return words[s].message;
}
