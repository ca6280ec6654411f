/*
 * keys/outbound: the credentials we use towards Azure.
 *
 *   outbound_configure -> slot_fetch -> endpoint -> token -> header value
 *   outbound_header    -/  ^    ^           |                   |
 *                          |    +- proof <--+ (Arc's challenge) |
 *                          timer <- renewal or backoff <--------+-> waiters
 *
 * A slot reads what it is made of from the policy that was configured last:
 * the request for a token is put together for each fetch, so that files that
 * others renew are read anew, and no secret is kept in between.
 */
#include "keys/outbound.h"

#include "base/log.h"
#include "keys/backoff.h"
#include "keys/grant.h"
#include "keys/jose.h"

#include <stdlib.h>

enum {
	OUTBOUND_DEADLINE_MS = 10000,
	OUTBOUND_ANSWER_MAX = 64 * 1024,
	OUTBOUND_RETRY_MIN_MS = 1000,
	OUTBOUND_RETRY_MAX_MS = 60000,
	OUTBOUND_MISCONFIGURED_MS = 120000,
	OUTBOUND_GONE_MS = 10000, /* 410: IMDS is being updated, up to 70 s */
	OUTBOUND_MARGIN_S = 10,   /* a token that ends on its way is no use */
};

/* azure.md 3.9 */
static const struct str redis_audience = STR_INIT("https://redis.azure.com");
static const struct str bearer = STR_INIT("Bearer ");

/* A header value on its way out; it outlives its replacement until the next
 * loop turn, because requests of this turn may hold it. */
struct secret {
	struct secret *next;
	size_t len;
	char text[];
};

/* One credential for one audience. */
struct outbound_slot {
	struct outbound_slot *next;
	struct outbound *o;
	bool wanted;     /* used while configuring */
	uint8_t sum[32]; /* of all that the config says about it */
	const struct policy_credential *c; /* in o->policy */
	struct str audience;               /* there, too */
	struct grant grant;                /* while there is a job */

	struct secret *value; /* NULL: no token yet */
	bool endless;         /* a static key */
	int64_t exp;          /* unix seconds */

	struct fetch_job *job;
	struct loop_timer timer;
	uint64_t next_us;    /* when to fetch again */
	unsigned n_failures; /* in a row */
	bool misconfigured;  /* the last answer was of that class */
	struct waiter *waiters;
	struct metric *ok, *error, *expiry;
};

struct outbound {
	struct outbound_options o;
	struct policy *policy;
	struct outbound_slot *slots;
	struct outbound_slot **by_index; /* of policy->resources */
	struct outbound_slot *redis;     /* NULL: not by token */
	char oid[37];                    /* of its token, when asked for */
	struct secret *retired;
	struct loop_timer sweep;
};

/* -------------------------------------------------------------- secrets */

static void secret_free(struct secret *s)
{
	if (!s)
		return;
	explicit_bzero(s->text, s->len);
	free(s);
}

static struct secret *secret_new(struct str prefix, struct str text)
{
	struct secret *s = malloc(sizeof(*s) + prefix.len + text.len);

	if (!s)
		return NULL;
	s->next = NULL;
	s->len = prefix.len + text.len;
	if (prefix.len)
		memcpy(s->text, prefix.p, prefix.len);
	memcpy(s->text + prefix.len, text.p, text.len);
	return s;
}

static void sweep(void *data)
{
	struct outbound *o = data;

	while (o->retired) {
		struct secret *s = o->retired;

		o->retired = s->next;
		secret_free(s);
	}
}

/* libev looks at timers after the turn's end, so one of 0 ms runs when all
 * that was borrowed in this turn has been written out. */
static void retire(struct outbound *o, struct secret *s)
{
	if (!s)
		return;
	s->next = o->retired;
	o->retired = s;
	loop_timer_start(o->o.loop, &o->sweep, 0, sweep, o);
}

/* ------------------------------------------------------------- fetching */

static bool usable(const struct outbound_slot *s)
{
	return s->value &&
	       (s->endless ||
	        clock_real_s(s->o->o.clock) + OUTBOUND_MARGIN_S < s->exp);
}

static void slot_fetch(struct outbound_slot *s);

static void on_timer(void *data)
{
	slot_fetch(data);
}

static void schedule(struct outbound_slot *s, uint64_t after_ms)
{
	s->next_us = clock_mono_us(s->o->o.clock) + after_ms * 1000;
	loop_timer_start(s->o->o.loop, &s->timer, after_ms, on_timer, s);
}

static uint64_t retry_after_ms(const struct outbound_slot *s,
                               const struct fetch_result *res)
{
	uint64_t wait_ms = backoff_after(s->n_failures, OUTBOUND_RETRY_MIN_MS,
	                                 OUTBOUND_RETRY_MAX_MS);
	uint64_t least_ms = 0;

	if (s->misconfigured)
		return backoff_jitter(OUTBOUND_MISCONFIGURED_MS);
	if (res && res->retry_after_s > 0)
		least_ms = (uint64_t)res->retry_after_s * 1000;
	else if (res && res->status == 410)
		least_ms = OUTBOUND_GONE_MS;
	/* a day's Retry-After must not switch us off for a day */
	if (least_ms > OUTBOUND_MISCONFIGURED_MS)
		least_ms = OUTBOUND_MISCONFIGURED_MS;
	return wait_ms > least_ms ? wait_ms : least_ms;
}

static void log_slot(struct buf *line, const struct outbound_slot *s)
{
	log_field(line, "credential", s->c->name);
	log_field(line, "audience", s->audience);
}

static void log_failure(const struct outbound_slot *s, const char *why,
                        const struct fetch_result *res, uint64_t after_ms)
{
	struct buf line, said;

	buf_init(&line, 2048);
	buf_init(&said, 512);
	log_slot(&line, s);
	log_field(&line, "found", str_c(why));
	if (res && res->status)
		log_field_num(&line, "status", res->status);
	if (res && res->status != 200 && grant_error(res->body, &said))
		log_field(&line, "said", buf_str(&said));
	log_field_num(&line, "retry_in_ms", (int64_t)after_ms);
	log_field(&line, "msg",
	          s->misconfigured ? STR("the identity endpoint refuses this "
	                                 "credential: check it in the config "
	                                 "and in Azure")
	          : usable(s) ? STR("cannot renew the token; using the one "
	                            "already there until it ends")
	                      : STR("cannot get a token; requests that "
	                            "need it are refused until there is "
	                            "one"));
	log_at(s->misconfigured ? LOG_ERROR : LOG_WARN, "outbound", "%" STR_FMT,
	       STR_ARG(buf_str(&line)));
	buf_done(&said);
	buf_done(&line);
}

/* One line per change of state: ok -> failing -> misconfigured -> ... */
static void fetch_failed(struct outbound_slot *s, const char *why,
                         const struct fetch_result *res)
{
	bool was = s->misconfigured;
	uint64_t after_ms;

	s->misconfigured = res && grant_is_misconfigured(res->status);
	s->n_failures++;
	if (s->error)
		metric_add(s->error, 1);
	after_ms = retry_after_ms(s, res);
	schedule(s, after_ms);
	if (s->n_failures == 1 || was != s->misconfigured)
		log_failure(s, why, res, after_ms);
}

static bool keep_token(struct outbound_slot *s, const struct grant_token *t)
{
	struct secret *value = secret_new(bearer, t->access_token);
	struct buf line;

	if (!value)
		return false;
	if (!s->value || s->n_failures > 0) {
		buf_init(&line, 1024);
		log_slot(&line, s);
		log_field_num(&line, "expires_in_s", t->lifetime_s);
		log_field_num(&line, "renew_in_s", t->renew_in_s);
		log_field(&line, "msg", STR("token received"));
		log_info("outbound", "%" STR_FMT, STR_ARG(buf_str(&line)));
		buf_done(&line);
	}
	retire(s->o, s->value);
	s->value = value;
	s->exp = clock_real_s(s->o->o.clock) + t->lifetime_s;
	s->n_failures = 0;
	s->misconfigured = false;
	if (s->ok)
		metric_add(s->ok, 1);
	if (s->expiry)
		metric_set(s->expiry, s->exp);
	schedule(s, (uint64_t)t->renew_in_s * 1000);
	return true;
}

static void got_answer(void *ctx, const struct fetch_result *res);

static bool slot_send(struct outbound_slot *s)
{
	struct fetch_request r = {
		.url = str_c(s->grant.url),
		.allow_http = s->grant.plain_http,
		.headers = s->grant.headers,
		.body = str_c(s->grant.body),
		.deadline_ms = OUTBOUND_DEADLINE_MS,
		.max_answer = OUTBOUND_ANSWER_MAX,
	};

	s->job = fetch_start(s->o->o.fetch, &r, got_answer, s);
	return s->job != NULL;
}

/* The answer to the Arc agent's challenge is on its way; false with `why`. */
static bool proving(struct outbound_slot *s, const struct fetch_result *res,
                    struct buf *why)
{
	if (!grant_prove(&s->grant, res->challenge, s->o->o.arc_dir, why))
		return false;
	if (slot_send(s))
		return true;
	buf_fmt(why, "the request could not be started");
	return false;
}

/* NULL when there is a token now. */
static const char *take_answer(struct outbound_slot *s,
                               const struct fetch_result *res)
{
	struct grant_answer *answer;
	struct grant_token token;
	const char *why = NULL;

	if (res->error)
		return res->error;
	if (res->status != 200)
		return "the identity endpoint answered with an error";
	answer = grant_answer_new(res->body, clock_real_s(s->o->o.clock),
	                          &token, &why);
	if (answer && !keep_token(s, &token))
		why = "out of memory";
	grant_answer_free(answer);
	return why;
}

static void redis_came(struct outbound *o)
{
	const struct secret *v = o->redis->value;
	struct str token = str_from(str_of(v->text, v->len), bearer.len);

	if (o->policy->redis.username.len == 0 && !jose_oid(token, o->oid))
		log_error("outbound",
		          "msg=\"the token for Redis names no object id: write "
		          "the user into redis.url\"");
	if (o->o.redis_renewed)
		o->o.redis_renewed(o->o.ctx);
}

static void got_answer(void *ctx, const struct fetch_result *res)
{
	struct outbound_slot *s = ctx;
	const char *failed;
	struct buf why;

	s->job = NULL;
	buf_init(&why, GRANT_WHY_MAX);
	if (s->c->type == CRED_ARC && res->status == 401 &&
	    proving(s, res, &why)) {
		buf_done(&why);
		return;
	}
	grant_done(&s->grant);
	buf_add(&why, "", 1);
	failed = why.len > 1 ? why.p : take_answer(s, res);
	if (failed)
		fetch_failed(s, failed, res);
	else if (s == s->o->redis)
		redis_came(s->o);
	buf_done(&why);
	waiters_wake(&s->waiters);
}

static void slot_fetch(struct outbound_slot *s)
{
	int64_t now_s = clock_real_s(s->o->o.clock);
	struct buf why;

	if (s->job || s->endless)
		return;
	loop_timer_stop(&s->timer);
	buf_init(&why, GRANT_WHY_MAX);
	if (grant_init(&s->grant, s->c, s->audience, now_s, &why) &&
	    !slot_send(s)) {
		grant_done(&s->grant);
		buf_fmt(&why, "the request could not be started");
	}
	if (!s->job) {
		buf_add(&why, "", 1);
		fetch_failed(s, why.len > 1 ? why.p : "out of memory", NULL);
	}
	buf_done(&why);
}

/* ------------------------------------------------------------ configure */

static void slot_free(struct outbound_slot *s)
{
	if (!s)
		return;
	fetch_cancel(s->job);
	loop_timer_stop(&s->timer);
	s->job = NULL;
	waiters_wake(&s->waiters); /* who waits asks again and finds no such
	                              credential */
	retire(s->o, s->value);
	grant_done(&s->grant);
	free(s);
}

static struct metric *fetches(const struct outbound_slot *s, const char *result)
{
	struct buf labels;
	struct metric *m;

	buf_init(&labels, 512);
	metrics_label(&labels, "credential", s->c->name);
	metrics_label(&labels, "result", str_c(result));
	m = metrics_get(s->o->o.metrics, "foundry_token_fetches_total",
	                buf_str(&labels));
	buf_done(&labels);
	return m;
}

static struct metric *expiry(const struct outbound_slot *s)
{
	struct buf labels;
	struct metric *m;

	buf_init(&labels, 512);
	metrics_label(&labels, "credential", s->c->name);
	metrics_label(&labels, "audience", s->audience);
	metrics_worker(&labels, s->o->o.worker);
	m = metrics_get(s->o->o.metrics, "foundry_token_expiry_seconds",
	                buf_str(&labels));
	buf_done(&labels);
	return m;
}

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

static struct outbound_slot *slot_new(struct outbound *o,
                                      const struct policy_credential *c,
                                      struct str audience,
                                      const uint8_t sum[32])
{
	struct outbound_slot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->o = o;
	s->c = c;
	s->audience = audience;
	memcpy(s->sum, sum, sizeof(s->sum));
	s->endless = c->type == CRED_KEY;
	if (s->endless && c->secret.len > 0)
		s->value = secret_new(STR_NONE, c->secret);
	if (s->endless && !s->value) {
		slot_free(s);
		return NULL;
	}
	if (s->endless || !o->o.metrics)
		return s;
	s->ok = fetches(s, "ok");
	s->error = fetches(s, "error");
	s->expiry = expiry(s);
	return s;
}

static struct outbound_slot *slot_of_sum(const struct outbound *o,
                                         const uint8_t sum[32])
{
	struct outbound_slot *s;

	for (s = o->slots; s; s = s->next)
		if (memcmp(s->sum, sum, sizeof(s->sum)) == 0)
			return s;
	return NULL;
}

static struct str audience_of(const struct policy *p, size_t resource)
{
	const struct policy_resource *r = &p->resources[resource];

	return r->audience.len ? r->audience
	                       : p->credentials[r->credential].audience;
}

/* A slot, made and started when there is none. One that stays but is failing
 * is tried at once: who reloads may have repaired the cause. */
static struct outbound_slot *want(struct outbound *o,
                                  const struct policy_credential *c,
                                  struct str audience)
{
	struct outbound_slot *s;
	uint8_t sum[32];

	sum_of(c, audience, sum);
	s = slot_of_sum(o, sum);
	if (!s) {
		s = slot_new(o, c, audience, sum);
		if (!s)
			return NULL;
		s->next = o->slots;
		o->slots = s;
	}
	/* the same texts in the new policy: the old one goes */
	s->c = c;
	s->audience = audience;
	if (!s->wanted && !s->endless && (!s->value || s->n_failures > 0))
		slot_fetch(s);
	s->wanted = true;
	return s;
}

static void drop_unwanted(struct outbound *o)
{
	struct outbound_slot **at = &o->slots, *s, *gone = NULL;

	while (*at) {
		s = *at;
		if (s->wanted) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		s->next = gone;
		gone = s;
	}
	while (gone) {
		s = gone;
		gone = s->next;
		slot_free(s);
	}
}

bool outbound_configure(struct outbound *o, struct policy *p)
{
	struct outbound_slot **by_index =
		calloc(p->n_resources + 1, sizeof(*by_index));
	struct policy *old = o->policy;
	struct outbound_slot *s;
	bool ok = true;
	size_t i;

	if (!by_index)
		return false;
	for (s = o->slots; s; s = s->next)
		s->wanted = false;
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

struct outbound *outbound_new(const struct outbound_options *options)
{
	struct outbound *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->o = *options;
	if (!o->o.arc_dir)
		o->o.arc_dir = GRANT_ARC_DIR;
	return o;
}

void outbound_free(struct outbound *o)
{
	struct outbound_slot *s;

	if (!o)
		return;
	for (s = o->slots; s; s = s->next)
		s->wanted = false;
	free(o->by_index);
	o->by_index = NULL;
	drop_unwanted(o);
	policy_unref(o->policy);
	o->policy = NULL;
	loop_timer_stop(&o->sweep);
	sweep(o);
	free(o);
}

/* --------------------------------------------------------------- asking */

bool outbound_ready(const struct outbound *o)
{
	size_t i;

	for (i = 0; o->policy && i < o->policy->n_resources; i++)
		if (!o->by_index[i] || !usable(o->by_index[i]))
			return false;
	return o->policy != NULL;
}

/* A request may still hold the policy before the last reload: then its
 * credential is looked up by content. */
static struct outbound_slot *slot_of(const struct outbound *o,
                                     const struct policy *p, unsigned resource)
{
	uint8_t sum[32];

	if (resource >= p->n_resources)
		return NULL;
	if (p == o->policy)
		return o->by_index[resource];
	sum_of(&p->credentials[p->resources[resource].credential],
	       audience_of(p, resource), sum);
	return slot_of_sum(o, sum);
}

/* Time to fetch: the plan says so, or a token ended before its renewal (the
 * machine slept, its clock was set) and nothing has failed yet. */
static bool is_due(const struct outbound_slot *s)
{
	if (s->endless || s->job)
		return false;
	return clock_mono_us(s->o->o.clock) >= s->next_us ||
	       (!usable(s) && s->n_failures == 0);
}

static enum outbound_answer ask(struct outbound_slot *s, struct str *value,
                                struct waiter *w)
{
	if (!s)
		return OUTBOUND_FAILED;
	if (is_due(s))
		slot_fetch(s);
	if (usable(s)) {
		*value = str_of(s->value->text, s->value->len);
		return OUTBOUND_OK;
	}
	if (s->job && w) {
		waiters_add(&s->waiters, w);
		return OUTBOUND_WAIT;
	}
	return OUTBOUND_FAILED;
}

enum outbound_answer outbound_header(struct outbound *o, const struct policy *p,
                                     unsigned resource, struct str *name,
                                     struct str *value, struct waiter *w)
{
	struct outbound_slot *s = slot_of(o, p, resource);
	enum outbound_answer answer = ask(s, value, w);

	if (answer == OUTBOUND_OK)
		*name = !s->endless            ? STR("authorization")
		        : s->c->key_header.len ? s->c->key_header
		                               : STR("api-key");
	return answer;
}

enum outbound_answer outbound_redis(struct outbound *o, struct str *username,
                                    struct str *token, struct waiter *w)
{
	enum outbound_answer answer = ask(o->redis, token, w);

	if (answer != OUTBOUND_OK)
		return answer;
	*token = str_from(*token, bearer.len);
	*username = o->policy->redis.username;
	if (username->len > 0)
		return OUTBOUND_OK;
	if (!jose_oid(*token, o->oid))
		return OUTBOUND_FAILED; /* said when it came */
	*username = str_c(o->oid);
	return OUTBOUND_OK;
}
