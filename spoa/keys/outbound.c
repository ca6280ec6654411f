/*
 * keys/outbound: the credentials we use towards Azure.
 *
 *   outbound_configure --> held --> keys/token_cache, one for each credential
 *   outbound_header  ----/                     and audience
 *   outbound_redis  ----/
 */
#include "keys/outbound.h"

#include "base/log.h"
#include "keys/grant.h"
#include "keys/jose.h"
#include "keys/token_cache.h"

#include <stdlib.h>

/* azure.md 3.9 */
static const struct str redis_audience = STR_INIT("https://redis.azure.com");

static struct str token_of(struct str value)
{
	return str_from(value, sizeof(TOKEN_CACHE_BEARER) - 1);
}

/* A slot, known by all that the config says about it. */
struct held {
	struct held *next;
	struct token_cache *slot;
	bool wanted; /* used while configuring */
	uint8_t sum[32];
};

struct outbound {
	struct outbound_options o;
	struct token_cache_shared world;
	struct policy *policy;
	struct held *held;
	struct token_cache **by_index; /* of policy->resources */
	struct token_cache *redis;     /* NULL: not by token */
	char oid[37];                  /* of its token, when asked for */
};

/* ------------------------------------------------------------ configure */

/* What makes two credentials the same: every field, each under its length. */
static void sum_of(const struct policy_credential *c, struct str audience,
                   uint8_t sum[32])
{
	const struct str fields[] = {
		c->name,      c->endpoint,  c->header_value, c->tenant_id,
		c->client_id, c->object_id, c->resource_id,  c->secret,
		c->file,      audience,     c->key_header,
	};
	enum { N = sizeof(fields) / sizeof(fields[0]) };
	uint8_t parts[N + 1][32] = {{(uint8_t)c->type}};
	size_t i;

	for (i = 0; i < N; i++)
		jose_sha256(fields[i], parts[i + 1]);
	jose_sha256(str_of((const char *)parts, sizeof(parts)), sum);
}

static struct held *held_of_sum(const struct outbound *o, const uint8_t sum[32])
{
	struct held *h;

	for (h = o->held; h; h = h->next)
		if (memcmp(h->sum, sum, sizeof(h->sum)) == 0)
			return h;
	return NULL;
}

static struct str audience_of(const struct policy *p, size_t resource)
{
	const struct policy_resource *r = &p->resources[resource];

	return r->audience.len ? r->audience
	                       : p->credentials[r->credential].audience;
}

static struct held *held_new(struct outbound *o,
                             const struct policy_credential *c,
                             struct str audience, const uint8_t sum[32])
{
	struct held *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->slot = token_cache_new(&o->world, c, audience);
	if (!h->slot) {
		free(h);
		return NULL;
	}
	memcpy(h->sum, sum, sizeof(h->sum));
	h->next = o->held;
	o->held = h;
	return h;
}

/* A slot, made and started when there is none. One that stays but is failing
 * is tried at once: who reloads may have repaired the cause. */
static struct token_cache *want(struct outbound *o,
                                const struct policy_credential *c,
                                struct str audience)
{
	struct held *h;
	uint8_t sum[32];

	sum_of(c, audience, sum);
	h = held_of_sum(o, sum);
	if (!h)
		h = held_new(o, c, audience, sum);
	if (!h)
		return NULL;
	/* the same texts in the new policy: the old one goes */
	token_cache_refer(h->slot, c, audience);
	if (!h->wanted)
		token_cache_start(h->slot);
	h->wanted = true;
	return h->slot;
}

/* All are off the list before the first is freed: whoever waits for one is
 * woken by that, and asks again. */
static void drop_unwanted(struct outbound *o)
{
	struct held **at = &o->held, *h, *gone = NULL;

	while (*at) {
		h = *at;
		if (h->wanted) {
			at = &h->next;
			continue;
		}
		*at = h->next;
		h->next = gone;
		gone = h;
	}
	while (gone) {
		h = gone;
		gone = h->next;
		token_cache_free(h->slot);
		free(h);
	}
}

static void want_nothing(struct outbound *o)
{
	struct held *h;

	for (h = o->held; h; h = h->next)
		h->wanted = false;
}

bool outbound_configure(struct outbound *o, struct policy *p)
{
	struct token_cache **by_index =
		calloc(p->n_resources + 1, sizeof(*by_index));
	struct policy *old = o->policy;
	bool ok = true;
	size_t i;

	if (!by_index)
		return false;
	want_nothing(o);
	for (i = 0; i < p->n_resources && !o->o.redis_only; i++) {
		by_index[i] =
			want(o, &p->credentials[p->resources[i].credential],
		             audience_of(p, i));
		ok = ok && by_index[i];
	}
	o->redis = NULL;
	if (p->redis.credential) {
		o->redis = want(o, p->redis.credential, redis_audience);
		ok = ok && o->redis;
	}
	free(o->by_index);
	o->by_index = by_index;
	o->policy = policy_ref(p);
	drop_unwanted(o);
	policy_unref(old);
	return ok;
}

static void on_renewed(void *ctx, struct token_cache *s)
{
	struct outbound *o = ctx;
	struct str token;

	if (s != o->redis || !token_cache_usable(s) ||
	    !token_cache_value(s, &token))
		return;
	if (o->policy->redis.username.len == 0 &&
	    !jose_oid(token_of(token), o->oid))
		log_error("outbound",
		          "msg=\"the token for Redis names no object id: write "
		          "the user into redis.url\"");
	if (o->o.redis_renewed)
		o->o.redis_renewed(o->o.ctx);
}

struct outbound *outbound_new(const struct outbound_options *options)
{
	struct outbound *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->o = *options;
	o->world = (struct token_cache_shared){
		.loop = options->loop,
		.clock = options->clock,
		.fetch = options->fetch,
		.metrics = options->metrics,
		.worker = options->worker,
		.arc_dir = options->arc_dir ? options->arc_dir : GRANT_ARC_DIR,
		.renewed = on_renewed,
		.ctx = o,
	};
	return o;
}

void outbound_free(struct outbound *o)
{
	if (!o)
		return;
	want_nothing(o);
	free(o->by_index);
	o->by_index = NULL;
	o->redis = NULL;
	drop_unwanted(o);
	policy_unref(o->policy);
	o->policy = NULL;
	token_cache_shared_done(&o->world);
	free(o);
}

/* --------------------------------------------------------------- asking */

bool outbound_ready(const struct outbound *o)
{
	size_t i;

	for (i = 0; o->policy && i < o->policy->n_resources; i++)
		if (!o->by_index[i] || !token_cache_usable(o->by_index[i]))
			return false;
	return o->policy != NULL;
}

/* A request may still hold the policy before the last reload: then its
 * credential is looked up by content. */
static struct token_cache *slot_of(const struct outbound *o,
                                   const struct policy *p, unsigned resource)
{
	const struct held *h;
	uint8_t sum[32];

	if (resource >= p->n_resources)
		return NULL;
	if (p == o->policy)
		return o->by_index[resource];
	sum_of(&p->credentials[p->resources[resource].credential],
	       audience_of(p, resource), sum);
	h = held_of_sum(o, sum);
	return h ? h->slot : NULL;
}

static enum outbound_answer ask(struct token_cache *s, struct str *value,
                                struct waiter *w)
{
	if (!s)
		return OUTBOUND_FAILED;
	if (token_cache_value(s, value))
		return OUTBOUND_OK;
	return w && token_cache_wait(s, w) ? OUTBOUND_WAIT : OUTBOUND_FAILED;
}

enum outbound_answer outbound_header(struct outbound *o, const struct policy *p,
                                     unsigned resource, struct str *name,
                                     struct str *value, struct waiter *w)
{
	struct token_cache *s = slot_of(o, p, resource);
	enum outbound_answer answer = ask(s, value, w);

	if (answer == OUTBOUND_OK)
		*name = token_cache_header(s);
	return answer;
}

enum outbound_answer outbound_redis(struct outbound *o, struct str *username,
                                    struct str *token, struct waiter *w)
{
	enum outbound_answer answer = ask(o->redis, token, w);

	if (answer != OUTBOUND_OK)
		return answer;
	*token = token_of(*token);
	*username = o->policy->redis.username;
	if (username->len > 0)
		return OUTBOUND_OK;
	if (!jose_oid(*token, o->oid))
		return OUTBOUND_FAILED; /* said when it came */
	*username = str_c(o->oid);
	return OUTBOUND_OK;
}
