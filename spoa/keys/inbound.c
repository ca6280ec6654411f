/*
 * keys/inbound: authenticates a caller by its bearer token or gateway key.
 *
 *   inbound_token -> inb_cache_find --hit----------------------> identity
 *                          | miss                                   ^
 *                    inb_verify_token                               |
 *                      jose_split -> inb_find_tenant                |
 *                      inb_find_key (jwks_find) --> INBOUND_WAIT    |
 *                      jose_verify                                  |
 *                      claims_identity -> inb_cache_add ------------'
 *
 *   inbound_key -> SHA-256 -> policy keys -> claims_of_key --> identity
 */
#include "keys/inbound.h"

#include "base/map.h"
#include "keys/claims.h"

#include <assert.h>
#include <stdlib.h>

enum {
	/* Verified tokens of a worker, about 1 kB each. A caller uses a token
	 * for an hour or more, so this is the number of callers within five
	 * minutes that are served without a new verification. */
	INBOUND_CACHE_MAX = 4096,
	/* Bounds for how long a result is used whose signing key was withdrawn
	 * meanwhile, beside the callback `changed` of keys/jwks. */
	INBOUND_CACHE_S = 300,
};

/* One verified token. */
struct inb_entry {
	struct inb_entry *next, **prev; /* oldest first */
	uint8_t sum[32];                /* SHA-256 of the token */
	struct identity *identity;      /* a reference */
	/* The policy that judged it. Only compared, never followed: it may be
	 * freed. A new one at the same address cannot match, as a reload
	 * flushes the cache. */
	const struct policy *policy;
	uint64_t stale_us; /* monotonic time from which it is not used */
};

struct inbound {
	const struct clock *clock;
	struct jwks *jwks;
	struct map by_sum; /* to struct inb_entry, borrowed from the list */
	struct inb_entry *oldest, **newest; /* newest: where to append */
	struct metric *hit, *miss;          /* NULL without metrics */
};

/* ---------------------------------------------------------------- cache */

/* A SHA-256 as a key of the map. */
static struct str inb_sum_str(const uint8_t sum[32])
{
	return str_of((const char *)sum, 32);
}

/* Requests that use the identity keep it by a reference of their own. */
static void inb_cache_del(struct inbound *in, struct inb_entry *e)
{
	map_del(&in->by_sum, inb_sum_str(e->sum));
	*e->prev = e->next;
	if (e->next)
		e->next->prev = e->prev;
	else
		in->newest = e->prev;
	identity_unref(e->identity);
	free(e);
}

/* The identity of a verified token, borrowed from the cache; NULL when it is
 * not there or does not hold any more. An entry that does not is deleted. */
static struct identity *inb_cache_find(struct inbound *in,
                                       const struct policy *p,
                                       const uint8_t sum[32])
{
	struct inb_entry *e = map_get(&in->by_sum, inb_sum_str(sum));

	if (!e)
		return NULL;
	if (e->policy == p && clock_mono_us(in->clock) < e->stale_us &&
	    clock_real_s(in->clock) < e->identity->exp)
		return e->identity;
	inb_cache_del(in, e);
	return NULL;
}

/* A full cache drops its oldest entry, and is slower without memory for a new
 * one; neither changes a result. */
static void inb_cache_add(struct inbound *in, const struct policy *p,
                          const uint8_t sum[32], struct identity *identity)
{
	struct inb_entry *e;

	/* accepted only within the skew: inb_cache_find() would not take it */
	if (clock_real_s(in->clock) >= identity->exp)
		return;
	if (in->by_sum.n >= INBOUND_CACHE_MAX)
		inb_cache_del(in, in->oldest);
	e = calloc(1, sizeof(*e));
	if (!e)
		return;
	memcpy(e->sum, sum, sizeof(e->sum));
	if (!map_put(&in->by_sum, inb_sum_str(sum), e)) {
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
	struct inb_entry *e = in->oldest, *next;

	for (; e; e = next) {
		next = e->next;
		if (tid.len == 0 || str_eq(e->identity->tid, tid))
			inb_cache_del(in, e);
	}
}

static struct metric *inb_cache_metric(struct metrics *m, const char *result)
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
	in->hit = inb_cache_metric(metrics, "hit");
	in->miss = inb_cache_metric(metrics, "miss");
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

static enum inbound_status inb_status_of_jose(enum jose_status s)
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
	case JOSE_MALFORMED:
		break;
	}
	return INBOUND_MALFORMED;
}

/* Index of the tenant with that GUID in the policy, -1 when there is none (an
 * empty `tid` is none). */
static int inb_find_tenant(const struct policy *p, struct str tid)
{
	size_t i;

	for (i = 0; tid.len > 0 && i < p->n_tenants; i++)
		if (str_eq_nocase(p->tenants[i].id, tid))
			return (int)i;
	return -1;
}

/* A key that names an issuer may sign for that one only (azure.md 1.2). The
 * keys in the set for v1 name the v2 issuer of the tenant, so that one is
 * accepted for v1 tokens, too, as Microsoft's own library does. */
static bool inb_key_may_sign(struct str key_issuer,
                             const struct policy_tenant *t, bool v1)
{
	return key_issuer.len == 0 || str_eq(key_issuer, t->issuer_v2) ||
	       (v1 && str_eq(key_issuer, t->issuer_v1));
}

/* The signing key that the token names. The tenant is that of the token's
 * unverified tid, which is safe: the key set of another tenant has no key that
 * verifies its signature. */
static enum inbound_status inb_find_key(struct inbound *in,
                                        const struct policy_tenant *t,
                                        const struct jose_token *token,
                                        struct waiter *w, struct jose_key **key)
{
	bool v1 = strcmp(token->ver, "1.0") == 0;
	struct str key_issuer;

	switch (jwks_find(in->jwks, t->id, str_c(token->ver), str_c(token->kid),
	                  key, &key_issuer, w)) {
	case JWKS_FOUND:
		return inb_key_may_sign(key_issuer, t, v1) ? INBOUND_OK
		                                           : INBOUND_ISSUER;
	case JWKS_WAIT:
		return INBOUND_WAIT;
	case JWKS_UNAVAILABLE:
		/* the fault of the gateway or of Entra: 503 and not 401 */
		return INBOUND_KEYS_UNAVAILABLE;
	case JWKS_UNKNOWN:
		break;
	}
	return INBOUND_UNKNOWN_KEY;
}

/* All checks of a token that is not in the cache. `w` NULL: do not wait. */
static enum inbound_status inb_verify_token(struct inbound *in,
                                            const struct policy *p,
                                            struct str token, struct waiter *w,
                                            struct identity **out)
{
	struct jose_token t;
	struct jose_claims *claims;
	struct jose_key *key = NULL;
	enum inbound_status s;
	int tenant;

	s = inb_status_of_jose(jose_split(token, &t));
	if (s != INBOUND_OK)
		return s;
	tenant = inb_find_tenant(p, str_c(t.tid));
	if (tenant < 0)
		return INBOUND_TENANT;
	s = inb_find_key(in, &p->tenants[tenant], &t, w, &key);
	if (s != INBOUND_OK)
		return s;
	if (!jose_verify(&t, key))
		return INBOUND_SIGNATURE;
	/* from here on the token is what its tenant has signed */
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

	/* before hashing: the caller chooses the length */
	if (token.len == 0 || token.len > JOSE_TOKEN_MAX)
		return INBOUND_MALFORMED;
	jose_sha256(token, sum);
	known = inb_cache_find(in, p, sum);
	if (known) {
		if (in->hit)
			metric_add(in->hit, 1);
		*out = identity_ref(known);
		return INBOUND_OK;
	}
	if (in->miss)
		metric_add(in->miss, 1);
	s = inb_verify_token(in, p, token, retry ? NULL : w, out);
	if (s == INBOUND_OK)
		inb_cache_add(in, p, sum, *out);
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
	/* No early exit: the time taken must not tell which key matched, or
	 * how many were compared before. */
	for (i = 0; i < p->n_keys; i++)
		if (str_eq_secret(inb_sum_str(sum),
		                  inb_sum_str(p->keys[i].sha256)))
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

/* ---------------------------------------------------------------- texts */

/* The messages go to the caller: what is wrong with its credential, and no
 * value of the token or of the config. */
static const struct {
	const char *code, *message;
} inb_texts[] = {
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
	assert((size_t)s < sizeof(inb_texts) / sizeof(inb_texts[0]));
	return inb_texts[s].code;
}

const char *inbound_message(enum inbound_status s)
{
	assert((size_t)s < sizeof(inb_texts) / sizeof(inb_texts[0]));
	return inb_texts[s].message;
}
