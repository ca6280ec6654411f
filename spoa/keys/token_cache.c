/*
 * keys/token_cache: one credential for one audience.
 *
 *   token_cache_start -> slot_fetch -> endpoint -> token -> header value
 *                  ^    ^           |                   |
 *                  |    +- proof <--+ (Arc's challenge) |
 *                  timer <- renewal or backoff <--------+-> waiters
 */
#include "keys/token_cache.h"

#include "base/log.h"
#include "base/backoff.h"
#include "keys/grant.h"

#include <stdlib.h>

enum {
	SLOT_DEADLINE_MS = 10000,
	SLOT_ANSWER_MAX = 64 * 1024,
	SLOT_RETRY_MIN_MS = 1000,
	SLOT_RETRY_MAX_MS = 60000,
	SLOT_MISCONFIGURED_MS = 120000,
	SLOT_GONE_MS = 10000, /* 410: IMDS is being updated, up to 70 s */
	SLOT_MARGIN_S = 10,   /* a token that ends on its way is no use */
};

/* A header value on its way out; it outlives its replacement until the next
 * loop turn, because requests of this turn may hold it. */
struct secret {
	struct secret *next;
	size_t len;
	char text[];
};

struct token_cache {
	struct token_cache_shared *w;
	const struct policy_credential *c; /* the caller's */
	struct str audience;               /* the caller's, too */
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
	struct token_cache_shared *w = data;

	while (w->retired) {
		struct secret *s = w->retired;

		w->retired = s->next;
		secret_free(s);
	}
}

/* libev looks at timers after the turn's end, so one of 0 ms runs when all
 * that was borrowed in this turn has been written out. */
static void retire(struct token_cache_shared *w, struct secret *s)
{
	if (!s)
		return;
	s->next = w->retired;
	w->retired = s;
	loop_timer_start(w->loop, &w->sweep, 0, sweep, w);
}

/* ------------------------------------------------------------- fetching */

bool token_cache_usable(const struct token_cache *s)
{
	return s->value && (s->endless ||
	                    clock_real_s(s->w->clock) + SLOT_MARGIN_S < s->exp);
}

static void slot_fetch(struct token_cache *s);

static void on_timer(void *data)
{
	slot_fetch(data);
}

static void schedule(struct token_cache *s, uint64_t after_ms)
{
	s->next_us = clock_mono_us(s->w->clock) + after_ms * 1000;
	loop_timer_start(s->w->loop, &s->timer, after_ms, on_timer, s);
}

static uint64_t retry_after_ms(const struct token_cache *s,
                               const struct fetch_result *res)
{
	uint64_t wait_ms = backoff_after(s->n_failures, SLOT_RETRY_MIN_MS,
	                                 SLOT_RETRY_MAX_MS);
	uint64_t least_ms = 0;

	if (s->misconfigured)
		return backoff_jitter(SLOT_MISCONFIGURED_MS);
	if (res && res->retry_after_s > 0)
		least_ms = (uint64_t)res->retry_after_s * 1000;
	else if (res && res->status == 410)
		least_ms = SLOT_GONE_MS;
	/* a day's Retry-After must not switch us off for a day */
	if (least_ms > SLOT_MISCONFIGURED_MS)
		least_ms = SLOT_MISCONFIGURED_MS;
	return wait_ms > least_ms ? wait_ms : least_ms;
}

static void log_slot(struct buf *line, const struct token_cache *s)
{
	log_field(line, "credential", s->c->name);
	log_field(line, "audience", s->audience);
}

static void log_failure(const struct token_cache *s, const char *why,
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
	          : token_cache_usable(s)
	                  ? STR("cannot renew the token; using the one "
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
static void fetch_failed(struct token_cache *s, const char *why,
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

static bool keep_token(struct token_cache *s, const struct grant_token *t)
{
	struct secret *value =
		secret_new(STR(TOKEN_CACHE_BEARER), t->access_token);
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
	retire(s->w, s->value);
	s->value = value;
	s->exp = clock_real_s(s->w->clock) + t->lifetime_s;
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

static bool slot_send(struct token_cache *s)
{
	struct fetch_request r = {
		.url = str_c(s->grant.url),
		.allow_http = s->grant.plain_http,
		.headers = s->grant.headers,
		.body = str_c(s->grant.body),
		.deadline_ms = SLOT_DEADLINE_MS,
		.max_answer = SLOT_ANSWER_MAX,
	};

	s->job = fetch_start(s->w->fetch, &r, got_answer, s);
	return s->job != NULL;
}

/* The answer to the Arc agent's challenge is on its way; false with `why`. */
static bool proving(struct token_cache *s, const struct fetch_result *res,
                    struct buf *why)
{
	if (!grant_prove(&s->grant, res->challenge, s->w->arc_dir, why))
		return false;
	if (slot_send(s))
		return true;
	buf_fmt(why, "the request could not be started");
	return false;
}

/* NULL when there is a token now. */
static const char *take_answer(struct token_cache *s,
                               const struct fetch_result *res)
{
	struct grant_answer *answer;
	struct grant_token token;
	const char *why = NULL;

	if (res->error)
		return res->error;
	if (res->status != 200)
		return "the identity endpoint answered with an error";
	answer = grant_answer_new(res->body, clock_real_s(s->w->clock), &token,
	                          &why);
	if (answer && !keep_token(s, &token))
		why = "out of memory";
	grant_answer_free(answer);
	return why;
}

static void got_answer(void *ctx, const struct fetch_result *res)
{
	struct token_cache *s = ctx;
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
	else if (s->w->renewed)
		s->w->renewed(s->w->ctx, s);
	buf_done(&why);
	waiters_wake(&s->waiters);
}

static void slot_fetch(struct token_cache *s)
{
	int64_t now_s = clock_real_s(s->w->clock);
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

/* ------------------------------------------------------- begin and end */

void token_cache_free(struct token_cache *s)
{
	if (!s)
		return;
	fetch_cancel(s->job);
	loop_timer_stop(&s->timer);
	s->job = NULL;
	waiters_wake(&s->waiters); /* who waits asks again and finds no such
	                              credential */
	retire(s->w, s->value);
	grant_done(&s->grant);
	free(s);
}

static struct metric *fetches(const struct token_cache *s, const char *result)
{
	struct buf labels;
	struct metric *m;

	buf_init(&labels, 512);
	metrics_label(&labels, "credential", s->c->name);
	metrics_label(&labels, "result", str_c(result));
	m = metrics_get(s->w->metrics, "foundry_token_fetches_total",
	                buf_str(&labels));
	buf_done(&labels);
	return m;
}

static struct metric *expiry(const struct token_cache *s)
{
	struct buf labels;
	struct metric *m;

	buf_init(&labels, 512);
	metrics_label(&labels, "credential", s->c->name);
	metrics_label(&labels, "audience", s->audience);
	metrics_worker(&labels, s->w->worker);
	m = metrics_get(s->w->metrics, "foundry_token_expiry_seconds",
	                buf_str(&labels));
	buf_done(&labels);
	return m;
}

struct token_cache *token_cache_new(struct token_cache_shared *w,
                                    const struct policy_credential *c,
                                    struct str audience)
{
	struct token_cache *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->w = w;
	s->c = c;
	s->audience = audience;
	s->endless = c->type == CRED_KEY;
	if (s->endless && c->secret.len > 0)
		s->value = secret_new(STR_NONE, c->secret);
	if (s->endless && !s->value) {
		token_cache_free(s);
		return NULL;
	}
	if (s->endless || !w->metrics)
		return s;
	s->ok = fetches(s, "ok");
	s->error = fetches(s, "error");
	s->expiry = expiry(s);
	return s;
}

void token_cache_shared_done(struct token_cache_shared *w)
{
	loop_timer_stop(&w->sweep);
	sweep(w);
}

void token_cache_refer(struct token_cache *s, const struct policy_credential *c,
                       struct str audience)
{
	s->c = c;
	s->audience = audience;
}

void token_cache_start(struct token_cache *s)
{
	if (!s->endless && (!s->value || s->n_failures > 0))
		slot_fetch(s);
}

/* --------------------------------------------------------------- asking */

/* Time to fetch: the plan says so, or a token ended before its renewal (the
 * machine slept, its clock was set) and nothing has failed yet. */
static bool is_due(const struct token_cache *s)
{
	if (s->endless || s->job)
		return false;
	return clock_mono_us(s->w->clock) >= s->next_us ||
	       (!token_cache_usable(s) && s->n_failures == 0);
}

bool token_cache_value(struct token_cache *s, struct str *value)
{
	if (is_due(s))
		slot_fetch(s);
	if (!token_cache_usable(s))
		return false;
	*value = str_of(s->value->text, s->value->len);
	return true;
}

bool token_cache_wait(struct token_cache *s, struct waiter *w)
{
	if (s->job)
		waiters_add(&s->waiters, w);
	return s->job != NULL;
}

struct str token_cache_header(const struct token_cache *s)
{
	if (!s->endless)
		return STR("authorization");
	return s->c->key_header.len ? s->c->key_header : STR("api-key");
}
