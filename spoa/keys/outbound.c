/*
 * keys/outbound: the credentials that the gateway uses towards Azure.
 *
 *   policy: resource -> credential, audience
 *                            |
 *      outb_sum_credential   v     SHA-256 of all their fields
 *                     outb_entry { sum, token_cache }
 *                            ^                 |
 *   outbound_header ---------|                 '-> value of the header
 *     (by index: this policy; by sum: an older one)
 *   outbound_redis ----------'
 *
 * A reload marks the entries that the new policy wants, makes those that are
 * missing, and drops the rest. Comparing by a hash of every field, and not by
 * name, keeps the token of what did not change, and never keeps one that
 * belonged to another secret or tenant under the same name.
 */
#include "keys/outbound.h"

#include "base/log.h"
#include "keys/grant.h"
#include "keys/jose.h"
#include "keys/token_cache.h"

#include <stdlib.h>

/* azure.md 3.9; keys/grant makes the scope of it. */
static const struct str outb_redis_audience =
	STR_INIT("https://redis.azure.com");

/* The token in the value of a token cache. */
static struct str outb_bearer_token(struct str value)
{
	return str_from(value, sizeof(TOKEN_CACHE_BEARER) - 1);
}

/* A credential for one audience. */
struct outb_entry {
	struct outb_entry *next;
	struct token_cache *cache; /* owned */
	bool wanted;               /* by the policy that is configured now */
	uint8_t sum[32];           /* outb_sum_credential() */
};

struct outbound {
	struct outbound_options o;
	struct token_cache_shared shared;
	struct policy *policy; /* a reference; NULL before the first one */
	struct outb_entry *entries;
	struct token_cache **by_index; /* of policy->resources; borrowed from
	                                * entries, NULL: no memory for it */
	struct token_cache *redis;     /* NULL: Redis has no credential */
	char oid[37];                  /* GUID in the token for Redis */
};

/* ------------------------------------------------------------ configure */

/* What makes two credentials the same: their type and every field of them, and
 * the audience. Each field is hashed on its own first, so that no text can
 * move from one field to the next without changing the sum. A new field of
 * struct policy_credential must be added here. */
static void outb_sum_credential(const struct policy_credential *c,
                                struct str audience, uint8_t sum[32])
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

static struct outb_entry *outb_find_entry(const struct outbound *o,
                                          const uint8_t sum[32])
{
	struct outb_entry *e;

	for (e = o->entries; e; e = e->next)
		if (memcmp(e->sum, sum, sizeof(e->sum)) == 0)
			return e;
	return NULL;
}

/* A resource may name an audience of its own, as Foundry projects need
 * another one than model endpoints (azure.md 3.9). */
static struct str outb_audience(const struct policy *p, size_t resource)
{
	const struct policy_resource *r = &p->resources[resource];

	return r->audience.len ? r->audience
	                       : p->credentials[r->credential].audience;
}

static struct outb_entry *outb_new_entry(struct outbound *o,
                                         const struct policy_credential *c,
                                         struct str audience,
                                         const uint8_t sum[32])
{
	struct outb_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->cache = token_cache_new(&o->shared, c, audience);
	if (!e->cache) {
		free(e);
		return NULL;
	}
	memcpy(e->sum, sum, sizeof(e->sum));
	e->next = o->entries;
	o->entries = e;
	return e;
}

/* The token cache of a credential and audience, made and started when there is
 * none. One that stays but is failing is tried at once: a reload often follows
 * the repair of its cause. NULL without memory. */
static struct token_cache *outb_want_cache(struct outbound *o,
                                           const struct policy_credential *c,
                                           struct str audience)
{
	struct outb_entry *e;
	uint8_t sum[32];

	outb_sum_credential(c, audience, sum);
	e = outb_find_entry(o, sum);
	if (!e)
		e = outb_new_entry(o, c, audience, sum);
	if (!e)
		return NULL;
	/* equal texts, but those of the new policy: the old one is released */
	token_cache_refer(e->cache, c, audience);
	if (!e->wanted)
		token_cache_start(e->cache);
	e->wanted = true;
	return e->cache;
}

/* Free the entries that no policy wants. All are taken off the list before
 * the first is freed: that wakes its waiters, which ask again at once, and
 * must not find an entry that is about to go. */
static void outb_drop_unwanted(struct outbound *o)
{
	struct outb_entry **at = &o->entries, *e, *gone = NULL;

	while (*at) {
		e = *at;
		if (e->wanted) {
			at = &e->next;
			continue;
		}
		*at = e->next;
		e->next = gone;
		gone = e;
	}
	while (gone) {
		e = gone;
		gone = e->next;
		token_cache_free(e->cache);
		free(e);
	}
}

static void outb_unmark_all(struct outbound *o)
{
	struct outb_entry *e;

	for (e = o->entries; e; e = e->next)
		e->wanted = false;
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
	outb_unmark_all(o);
	for (i = 0; i < p->n_resources && !o->o.redis_only; i++) {
		by_index[i] = outb_want_cache(
			o, &p->credentials[p->resources[i].credential],
			outb_audience(p, i));
		ok = ok && by_index[i];
	}
	o->redis = NULL;
	if (p->redis.credential) {
		o->redis = outb_want_cache(o, p->redis.credential,
		                           outb_redis_audience);
		ok = ok && o->redis;
	}
	free(o->by_index);
	o->by_index = by_index;
	o->policy = policy_ref(p);
	outb_drop_unwanted(o);
	policy_unref(old);
	return ok;
}

/* Only Redis needs to be told: its connection was authenticated with the old
 * token, while a request to a resource takes the token of its moment. */
static void outb_on_renewed(void *ctx, struct token_cache *tc)
{
	struct outbound *o = ctx;
	struct str token;

	if (tc != o->redis || !token_cache_usable(tc) ||
	    !token_cache_value(tc, &token))
		return;
	if (o->policy->redis.username.len == 0 &&
	    !jose_oid(outb_bearer_token(token), o->oid))
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
	o->shared = (struct token_cache_shared){
		.loop = options->loop,
		.clock = options->clock,
		.fetch = options->fetch,
		.metrics = options->metrics,
		.worker = options->worker,
		.arc_dir = options->arc_dir ? options->arc_dir : GRANT_ARC_DIR,
		.renewed = outb_on_renewed,
		.ctx = o,
	};
	return o;
}

void outbound_free(struct outbound *o)
{
	if (!o)
		return;
	outb_unmark_all(o);
	free(o->by_index);
	o->by_index = NULL;
	o->redis = NULL;
	outb_drop_unwanted(o);
	policy_unref(o->policy);
	o->policy = NULL;
	token_cache_shared_done(&o->shared);
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

/* The token cache of a resource. A request keeps the policy it began with, so
 * after a reload `p` may be an older one, whose indexes mean nothing here:
 * then the credential is looked up by its content. NULL when it is not held
 * any more, or never was. */
static struct token_cache *outb_find_cache(const struct outbound *o,
                                           const struct policy *p,
                                           unsigned resource)
{
	const struct outb_entry *e;
	uint8_t sum[32];

	if (resource >= p->n_resources)
		return NULL;
	if (p == o->policy)
		return o->by_index[resource];
	outb_sum_credential(&p->credentials[p->resources[resource].credential],
	                    outb_audience(p, resource), sum);
	e = outb_find_entry(o, sum);
	return e ? e->cache : NULL;
}

/* The value of a token cache, or whether to wait for it. */
static enum outbound_answer outb_ask_value(struct token_cache *tc,
                                           struct str *value, struct waiter *w)
{
	if (!tc)
		return OUTBOUND_FAILED;
	if (token_cache_value(tc, value))
		return OUTBOUND_OK;
	return w && token_cache_wait(tc, w) ? OUTBOUND_WAIT : OUTBOUND_FAILED;
}

enum outbound_answer outbound_header(struct outbound *o, const struct policy *p,
                                     unsigned resource, struct str *name,
                                     struct str *value, struct waiter *w)
{
	struct token_cache *tc = outb_find_cache(o, p, resource);
	enum outbound_answer answer = outb_ask_value(tc, value, w);

	if (answer == OUTBOUND_OK)
		*name = token_cache_header(tc);
	return answer;
}

enum outbound_answer outbound_redis(struct outbound *o, struct str *username,
                                    struct str *token, struct waiter *w)
{
	enum outbound_answer answer = outb_ask_value(o->redis, token, w);

	if (answer != OUTBOUND_OK)
		return answer;
	*token = outb_bearer_token(*token);
	*username = o->policy->redis.username;
	if (username->len > 0)
		return OUTBOUND_OK;
	if (!jose_oid(*token, o->oid))
		return OUTBOUND_FAILED; /* outb_on_renewed() has logged it */
	*username = str_c(o->oid);
	return OUTBOUND_OK;
}
