/*
 * keys/token_cache: the credential for one audience.
 *
 *   token_cache_start, token_cache_value, timer
 *     |
 *     '-> tcache_fetch -> grant_init -> tcache_send <- tcache_send_proof
 *                                          |                  ^
 *                                          v                  | 401 of the
 *                                   tcache_on_answer ---------' Arc agent
 *                                     |           |
 *                    tcache_store_token           tcache_fetch_failed
 *                            renew_in_s           backoff, Retry-After
 *                                     |           |
 *                                     '-----.-----'
 *                                           v
 *                           tcache_schedule (timer), waiters_wake
 */
#include "keys/token_cache.h"

#include "base/log.h"
#include "base/backoff.h"
#include "keys/grant.h"

#include <stdlib.h>

enum {
	/* Of one exchange. Identity endpoints answer within a second; a
	 * request that waits is refused earlier, at its decision timeout. */
	TCACHE_DEADLINE_MS = 10000,
	/* Bytes: a token of GRANT_TOKEN_MAX and the JSON around it. */
	TCACHE_ANSWER_MAX = 64 * 1024,
	/* Backoff between failures. IMDS asks for exponential waits of at most
	 * 60 s (azure.md 3.2). */
	TCACHE_RETRY_MIN_MS = 1000,
	TCACHE_RETRY_MAX_MS = 60000,
	/* After an answer that says the request itself is wrong
	 * (grant_is_misconfigured()): a person has to mend that, in the config
	 * or in Azure. Also the longest Retry-After that counts. */
	TCACHE_MISCONFIGURED_MS = 120000,
	/* At least, after 410: IMDS is being updated, which takes up to 70 s;
	 * MSAL waits as long (azure.md 3.2). */
	TCACHE_GONE_MS = 10000,
	/* A token with less to live is not used: it could end before Azure
	 * checks it. */
	TCACHE_MARGIN_S = 10,
};

/* The value of a header. A request that has borrowed one may still use it
 * after it was replaced, until its ACK is sent at the end of the loop turn. */
struct token_cache_secret {
	struct token_cache_secret *next; /* when retired */
	size_t len;
	char text[]; /* no NUL */
};

struct token_cache {
	struct token_cache_shared *shared;
	const struct policy_credential *c; /* borrowed from the policy */
	struct str audience;               /* likewise */
	struct grant grant;                /* the request; while job is set */

	struct token_cache_secret *value; /* owned; NULL: no token yet */
	bool endless;                     /* a static key */
	int64_t exp;                      /* unix seconds; not if endless */

	struct fetch_job *job;   /* NULL: no fetch in flight */
	struct loop_timer timer; /* of the next fetch */
	uint64_t next_us;        /* when timer is to fire, monotonic */
	unsigned n_failures;     /* in a row */
	bool misconfigured;      /* the last answer was of that class */
	struct waiter *waiters;  /* for the end of the fetch in flight */
	struct metric *ok, *error, *expiry; /* NULL without metrics */
};

/* -------------------------------------------------------------- secrets */

static void tcache_secret_free(struct token_cache_secret *s)
{
	if (!s)
		return;
	explicit_bzero(s->text, s->len);
	free(s);
}

static struct token_cache_secret *tcache_secret_new(struct str prefix,
                                                    struct str text)
{
	struct token_cache_secret *s =
		malloc(sizeof(*s) + prefix.len + text.len);

	if (!s)
		return NULL;
	s->next = NULL;
	s->len = prefix.len + text.len;
	if (prefix.len)
		memcpy(s->text, prefix.p, prefix.len);
	memcpy(s->text + prefix.len, text.p, text.len);
	return s;
}

/* Wipe and free what was retired. */
static void tcache_on_sweep(void *data)
{
	struct token_cache_shared *shared = data;

	while (shared->retired) {
		struct token_cache_secret *s = shared->retired;

		shared->retired = s->next;
		tcache_secret_free(s);
	}
}

/* Free a value when nobody can borrow it any more. A timer of 0 ms started in
 * this turn fires in the next one, after the callbacks of the turn's end
 * (loop_turn) have sent all ACKs of this turn. */
static void tcache_retire(struct token_cache_shared *shared,
                          struct token_cache_secret *s)
{
	if (!s)
		return;
	s->next = shared->retired;
	shared->retired = s;
	loop_timer_start(shared->loop, &shared->sweep, 0, tcache_on_sweep,
	                 shared);
}

/* ------------------------------------------------------------- fetching */

bool token_cache_usable(const struct token_cache *tc)
{
	return tc->value &&
	       (tc->endless ||
	        clock_real_s(tc->shared->clock) + TCACHE_MARGIN_S < tc->exp);
}

static void tcache_fetch(struct token_cache *tc);

static void tcache_on_timer(void *data)
{
	tcache_fetch(data);
}

/* next_us is kept beside the timer for tcache_is_due(), which must not depend
 * on the timer having fired: the loop may be late. */
static void tcache_schedule(struct token_cache *tc, uint64_t after_ms)
{
	tc->next_us = clock_mono_us(tc->shared->clock) + after_ms * 1000;
	loop_timer_start(tc->shared->loop, &tc->timer, after_ms,
	                 tcache_on_timer, tc);
}

/* The wait after a failure: the backoff, or longer when the endpoint says so.
 * `res` is NULL when no request could be made. */
static uint64_t tcache_retry_after_ms(const struct token_cache *tc,
                                      const struct fetch_result *res)
{
	uint64_t wait_ms = backoff_after(tc->n_failures, TCACHE_RETRY_MIN_MS,
	                                 TCACHE_RETRY_MAX_MS);
	uint64_t least_ms = 0;

	if (tc->misconfigured)
		return backoff_jitter(TCACHE_MISCONFIGURED_MS);
	if (res && res->retry_after_s > 0)
		least_ms = (uint64_t)res->retry_after_s * 1000;
	else if (res && res->status == 410)
		least_ms = TCACHE_GONE_MS;
	/* a Retry-After of a day must not disable the credential for a day */
	if (least_ms > TCACHE_MISCONFIGURED_MS)
		least_ms = TCACHE_MISCONFIGURED_MS;
	return wait_ms > least_ms ? wait_ms : least_ms;
}

static void tcache_log_name(struct buf *line, const struct token_cache *tc)
{
	log_field(line, "credential", tc->c->name);
	log_field(line, "audience", tc->audience);
}

static void tcache_log_failure(const struct token_cache *tc, const char *why,
                               const struct fetch_result *res,
                               uint64_t after_ms)
{
	struct buf line, said;

	buf_init(&line, 2048);
	buf_init(&said, 512);
	tcache_log_name(&line, tc);
	log_field(&line, "found", str_c(why));
	if (res && res->status)
		log_field_num(&line, "status", res->status);
	if (res && res->status != 200 && grant_error(res->body, &said))
		log_field(&line, "said", buf_str(&said));
	log_field_num(&line, "retry_in_ms", (int64_t)after_ms);
	log_field(&line, "msg",
	          tc->misconfigured ? STR("the identity endpoint refuses this "
	                                  "credential: check it in the config "
	                                  "and in Azure")
	          : token_cache_usable(tc)
	                  ? STR("cannot renew the token; using the one "
	                        "already there until it ends")
	                  : STR("cannot get a token; requests that "
	                        "need it are refused until there is "
	                        "one"));
	log_at(tc->misconfigured ? LOG_ERROR : LOG_WARN, "outbound",
	       "%" STR_FMT, STR_ARG(buf_str(&line)));
	buf_done(&said);
	buf_done(&line);
}

/* Schedule the next try. Logged once per change of state: the first failure
 * after a success, and whenever its class changes. */
static void tcache_fetch_failed(struct token_cache *tc, const char *why,
                                const struct fetch_result *res)
{
	bool was = tc->misconfigured;
	uint64_t after_ms;

	tc->misconfigured = res && grant_is_misconfigured(res->status);
	tc->n_failures++;
	if (tc->error)
		metric_add(tc->error, 1);
	after_ms = tcache_retry_after_ms(tc, res);
	tcache_schedule(tc, after_ms);
	if (tc->n_failures == 1 || was != tc->misconfigured)
		tcache_log_failure(tc, why, res, after_ms);
}

/* Take over a new token and schedule its renewal. Logged when it is the first
 * one, or ends a failure; not at every renewal. False without memory. */
static bool tcache_store_token(struct token_cache *tc,
                               const struct grant_token *t)
{
	struct token_cache_secret *value =
		tcache_secret_new(STR(TOKEN_CACHE_BEARER), t->access_token);
	struct buf line;

	if (!value)
		return false;
	if (!tc->value || tc->n_failures > 0) {
		buf_init(&line, 1024);
		tcache_log_name(&line, tc);
		log_field_num(&line, "expires_in_s", t->lifetime_s);
		log_field_num(&line, "renew_in_s", t->renew_in_s);
		log_field(&line, "msg", STR("token received"));
		log_info("outbound", "%" STR_FMT, STR_ARG(buf_str(&line)));
		buf_done(&line);
	}
	tcache_retire(tc->shared, tc->value);
	tc->value = value;
	tc->exp = clock_real_s(tc->shared->clock) + t->lifetime_s;
	tc->n_failures = 0;
	tc->misconfigured = false;
	if (tc->ok)
		metric_add(tc->ok, 1);
	if (tc->expiry)
		metric_set(tc->expiry, tc->exp);
	tcache_schedule(tc, (uint64_t)t->renew_in_s * 1000);
	return true;
}

static void tcache_on_answer(void *ctx, const struct fetch_result *res);

/* net/fetch copies everything, but the grant is kept until the answer: the Arc
 * agent may want it again with a proof. */
static bool tcache_send(struct token_cache *tc)
{
	struct fetch_request r = {
		.url = str_c(tc->grant.url),
		.allow_http = tc->grant.plain_http,
		.headers = tc->grant.headers,
		.body = str_c(tc->grant.body),
		.deadline_ms = TCACHE_DEADLINE_MS,
		.max_answer = TCACHE_ANSWER_MAX,
	};

	tc->job = fetch_start(tc->shared->fetch, &r, tcache_on_answer, tc);
	return tc->job != NULL;
}

/* Answer the challenge of the Arc agent (azure.md 3.4): send the same request
 * again with the key that the challenge names. False with `why`. */
static bool tcache_send_proof(struct token_cache *tc,
                              const struct fetch_result *res, struct buf *why)
{
	if (!grant_prove(&tc->grant, res->challenge, tc->shared->arc_dir, why))
		return false;
	if (tcache_send(tc))
		return true;
	buf_fmt(why, "the request could not be started");
	return false;
}

/* Store the token of an answer. NULL, or what is wrong with the answer: a text
 * that lives as long as `res`. */
static const char *tcache_read_answer(struct token_cache *tc,
                                      const struct fetch_result *res)
{
	struct grant_answer *answer;
	struct grant_token token;
	const char *why = NULL;

	if (res->error)
		return res->error;
	if (res->status != 200)
		return "the identity endpoint answered with an error";
	answer = grant_answer_new(res->body, clock_real_s(tc->shared->clock),
	                          &token, &why);
	if (answer && !tcache_store_token(tc, &token))
		why = "out of memory";
	grant_answer_free(answer);
	return why;
}

/* The exchange has ended. The waiters are woken after a failure, too: they
 * ask again, and are refused. */
static void tcache_on_answer(void *ctx, const struct fetch_result *res)
{
	struct token_cache *tc = ctx;
	const char *failed;
	struct buf why;

	tc->job = NULL;
	buf_init(&why, GRANT_WHY_MAX);
	if (tc->c->type == CRED_ARC && res->status == 401 &&
	    tcache_send_proof(tc, res, &why)) {
		buf_done(&why);
		return;
	}
	grant_done(&tc->grant);
	buf_add(&why, "", 1);
	failed = why.len > 1 ? why.p : tcache_read_answer(tc, res);
	if (failed)
		tcache_fetch_failed(tc, failed, res);
	else if (tc->shared->renewed)
		tc->shared->renewed(tc->shared->ctx, tc);
	buf_done(&why);
	waiters_wake(&tc->waiters);
}

/* Start a fetch unless one is in flight. A request that cannot be made (a file
 * that is missing, for one) is a failure like any other. */
static void tcache_fetch(struct token_cache *tc)
{
	int64_t now_s = clock_real_s(tc->shared->clock);
	struct buf why;

	if (tc->job || tc->endless)
		return;
	loop_timer_stop(&tc->timer);
	buf_init(&why, GRANT_WHY_MAX);
	if (grant_init(&tc->grant, tc->c, tc->audience, now_s, &why) &&
	    !tcache_send(tc)) {
		grant_done(&tc->grant);
		buf_fmt(&why, "the request could not be started");
	}
	if (!tc->job) {
		buf_add(&why, "", 1);
		tcache_fetch_failed(tc, why.len > 1 ? why.p : "out of memory",
		                    NULL);
	}
	buf_done(&why);
}

/* ------------------------------------------------------- begin and end */

void token_cache_free(struct token_cache *tc)
{
	if (!tc)
		return;
	fetch_cancel(tc->job);
	loop_timer_stop(&tc->timer);
	tc->job = NULL;
	/* a waiter asks its owner (keys/outbound) again, which does not list
	 * this cache any more */
	waiters_wake(&tc->waiters);
	tcache_retire(tc->shared, tc->value);
	grant_done(&tc->grant);
	free(tc);
}

static struct metric *tcache_fetch_metric(const struct token_cache *tc,
                                          const char *result)
{
	struct buf labels;
	struct metric *m;

	buf_init(&labels, 512);
	metrics_label(&labels, "credential", tc->c->name);
	metrics_label(&labels, "result", str_c(result));
	m = metrics_get(tc->shared->metrics, "foundry_token_fetches_total",
	                buf_str(&labels));
	buf_done(&labels);
	return m;
}

static struct metric *tcache_expiry_metric(const struct token_cache *tc)
{
	struct buf labels;
	struct metric *m;

	buf_init(&labels, 512);
	metrics_label(&labels, "credential", tc->c->name);
	metrics_label(&labels, "audience", tc->audience);
	metrics_worker(&labels, tc->shared->worker);
	m = metrics_get(tc->shared->metrics, "foundry_token_expiry_seconds",
	                buf_str(&labels));
	buf_done(&labels);
	return m;
}

struct token_cache *token_cache_new(struct token_cache_shared *shared,
                                    const struct policy_credential *c,
                                    struct str audience)
{
	struct token_cache *tc = calloc(1, sizeof(*tc));

	if (!tc)
		return NULL;
	tc->shared = shared;
	tc->c = c;
	tc->audience = audience;
	tc->endless = c->type == CRED_KEY;
	if (tc->endless && c->secret.len > 0)
		tc->value = tcache_secret_new(STR_NONE, c->secret);
	if (tc->endless && !tc->value) {
		token_cache_free(tc);
		return NULL;
	}
	if (tc->endless || !shared->metrics)
		return tc;
	tc->ok = tcache_fetch_metric(tc, "ok");
	tc->error = tcache_fetch_metric(tc, "error");
	tc->expiry = tcache_expiry_metric(tc);
	return tc;
}

void token_cache_shared_done(struct token_cache_shared *shared)
{
	loop_timer_stop(&shared->sweep);
	tcache_on_sweep(shared);
}

void token_cache_refer(struct token_cache *tc,
                       const struct policy_credential *c, struct str audience)
{
	tc->c = c;
	tc->audience = audience;
}

void token_cache_start(struct token_cache *tc)
{
	if (!tc->endless && (!tc->value || tc->n_failures > 0))
		tcache_fetch(tc);
}

/* --------------------------------------------------------------- asking */

/* Whether to fetch without waiting for the timer: its time has passed, or the
 * token ended before its renewal, because the machine slept (monotonic time
 * and timers stand still then) or its clock was set. After a failure the
 * backoff alone decides. */
static bool tcache_is_due(const struct token_cache *tc)
{
	if (tc->endless || tc->job)
		return false;
	return clock_mono_us(tc->shared->clock) >= tc->next_us ||
	       (!token_cache_usable(tc) && tc->n_failures == 0);
}

bool token_cache_value(struct token_cache *tc, struct str *value)
{
	if (tcache_is_due(tc))
		tcache_fetch(tc);
	if (!token_cache_usable(tc))
		return false;
	*value = str_of(tc->value->text, tc->value->len);
	return true;
}

bool token_cache_wait(struct token_cache *tc, struct waiter *w)
{
	if (tc->job)
		waiters_add(&tc->waiters, w);
	return tc->job != NULL;
}

struct str token_cache_header(const struct token_cache *tc)
{
	if (!tc->endless)
		return STR("authorization");
	return tc->c->key_header.len ? tc->c->key_header : STR("api-key");
}
