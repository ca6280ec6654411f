/*
 * keys/jwks: the signing keys of the configured tenants.
 *
 *   jwks_configure -> set_fetch -> metadata -> jwks_uri -> keys
 *   jwks_find      -/                             |
 *                   wakes waiters <- fetch_ended <-
 */
#include "keys/jwks.h"

#include "base/log.h"
#include "base/backoff.h"
#include "keys/keyset.h"

#include <stdlib.h>

enum {
	JWKS_REFRESH_S = 3600,
	JWKS_UNKNOWN_KID_S = 300,
	JWKS_RETRY_MIN_MS = 1000,
	JWKS_RETRY_MAX_MS = 60000,
	JWKS_DEADLINE_MS = 5000,
	JWKS_METADATA_MAX = 64 * 1024,
	JWKS_KEYS_MAX = 512 * 1024,
};

/* The keys of one tenant for tokens of one version. */
struct jwks_set {
	struct jwks_set *next;
	struct jwks *j;
	bool v1;
	bool wanted; /* used while configuring */
	/* copies of what the config says, so that a reload that changes
	 * nothing keeps the set */
	char *name, *tid, *authority, *issuer, *metadata;

	struct keyset *keys; /* NULL until the first good answer */
	struct fetch_job *job;
	struct loop_timer timer;
	uint64_t next_us;    /* when the timer should have fired */
	uint64_t unknown_us; /* when an unknown kid last made us ask */
	bool unknown_asked;
	unsigned n_failures; /* in a row */
	struct waiter *waiters;
	struct metric *ok, *error;
};

struct jwks {
	struct jwks_options o;
	struct jwks_set *sets;
};

static const char *version_of(const struct jwks_set *s)
{
	return s->v1 ? "1.0" : "2.0";
}

/* ------------------------------------------------------------- fetching */

static bool set_fetch(struct jwks_set *s);
static void got_keys(void *ctx, const struct fetch_result *res);

static void on_timer(void *data)
{
	set_fetch(data);
}

static void schedule(struct jwks_set *s, uint64_t after_ms)
{
	s->next_us = clock_mono_us(s->j->o.clock) + after_ms * 1000;
	loop_timer_start(s->j->o.loop, &s->timer, after_ms, on_timer, s);
}

static void count_keys(const struct jwks_set *s)
{
	struct jwks *j = s->j;
	const struct jwks_set *other;
	struct buf labels;
	int64_t n = 0;

	if (!j->o.metrics)
		return;
	for (other = j->sets; other; other = other->next)
		if (strcmp(other->name, s->name) == 0)
			n += (int64_t)keyset_count(other->keys);
	buf_init(&labels, 512);
	metrics_label(&labels, "tenant", str_c(s->name));
	metrics_worker(&labels, j->o.worker);
	metric_set(metrics_get(j->o.metrics, "foundry_jwks_keys",
	                       buf_str(&labels)),
	           n);
	buf_done(&labels);
}

/* One line per change of state: the first failure after a success. */
static void fetch_failed(struct jwks_set *s, const char *why, int status)
{
	uint64_t after_ms;
	struct buf line;

	s->n_failures++;
	if (s->error)
		metric_add(s->error, 1);
	after_ms = backoff_after(s->n_failures, s->j->o.retry_min_ms,
	                         JWKS_RETRY_MAX_MS);
	schedule(s, after_ms);
	if (s->n_failures > 1)
		return;
	buf_init(&line, 2048);
	log_field(&line, "tenant", str_c(s->name));
	log_field(&line, "ver", str_c(version_of(s)));
	log_field(&line, "found", str_c(why));
	if (status)
		log_field_num(&line, "status", status);
	log_field(&line, "msg",
	          s->keys ? STR("cannot refresh the signing keys; using those "
	                        "already loaded, trying again with pauses "
	                        "of up to 60 s")
	                  : STR("cannot load the signing keys; tokens of this "
	                        "tenant are refused, trying again with "
	                        "pauses of up to 60 s"));
	log_warn("jwks", "%" STR_FMT, STR_ARG(buf_str(&line)));
	buf_done(&line);
}

static void log_loaded(const struct jwks_set *s, const struct keyset *keys)
{
	struct buf line;

	buf_init(&line, 2048);
	log_field(&line, "tenant", str_c(s->name));
	log_field(&line, "ver", str_c(version_of(s)));
	log_field_num(&line, "keys", (int64_t)keyset_count(keys));
	log_field_num(&line, "passed_over", (int64_t)keyset_passed_over(keys));
	log_field(&line, "msg",
	          s->keys ? STR("signing keys refreshed")
	                  : STR("signing keys loaded"));
	log_info("jwks", "%" STR_FMT, STR_ARG(buf_str(&line)));
	buf_done(&line);
}

static void fetch_succeeded(struct jwks_set *s, struct keyset *keys)
{
	bool same = s->keys && keyset_covers(s->keys, keys) &&
	            keyset_covers(keys, s->keys);
	bool lost = s->keys && !keyset_covers(keys, s->keys);

	if (s->ok)
		metric_add(s->ok, 1);
	if (!same || s->n_failures > 0)
		log_loaded(s, keys);
	s->n_failures = 0;
	keyset_free(s->keys);
	s->keys = keys;
	count_keys(s);
	schedule(s, backoff_jitter((uint64_t)s->j->o.refresh_s * 1000));
	if (lost && s->j->o.changed)
		s->j->o.changed(s->j->o.ctx, str_c(s->tid));
}

static bool start(struct jwks_set *s, struct str url, size_t max,
                  void (*done)(void *ctx, const struct fetch_result *res))
{
	struct fetch_request r = {
		.url = url,
		/* a simulator's authority; never a way down from https */
		.allow_http =
			str_starts_nocase(str_c(s->authority), STR("http://")),
		.deadline_ms = s->j->o.deadline_ms,
		.max_answer = max,
	};

	s->job = fetch_start(s->j->o.fetch, &r, done, s);
	return s->job != NULL;
}

static void got_metadata(void *ctx, const struct fetch_result *res)
{
	struct jwks_set *s = ctx;
	const char *why = res->error;
	struct buf uri;

	s->job = NULL;
	buf_init(&uri, 2048);
	if (!why && res->status != 200)
		why = "the metadata endpoint answered with an error";
	if (!why)
		why = keyset_metadata(res->body, str_c(s->issuer),
		                      str_c(s->tid), str_c(s->authority), &uri);
	if (!why && !start(s, buf_str(&uri), JWKS_KEYS_MAX, got_keys))
		why = "the request for the keys could not be started";
	buf_done(&uri);
	if (!why)
		return;
	fetch_failed(s, why, res->status);
	waiters_wake(&s->waiters);
}

static void got_keys(void *ctx, const struct fetch_result *res)
{
	struct jwks_set *s = ctx;
	const char *why = res->error;
	struct keyset *keys = NULL;

	s->job = NULL;
	if (!why && res->status != 200)
		why = "the keys endpoint answered with an error";
	if (!why)
		keys = keyset_parse(res->body, str_c(s->tid), &why);
	if (keys)
		fetch_succeeded(s, keys);
	else
		fetch_failed(s, why, res->status);
	waiters_wake(&s->waiters);
}

/* Begin, unless one is under way. False when it cannot be begun. */
static bool set_fetch(struct jwks_set *s)
{
	if (s->job)
		return true;
	loop_timer_stop(&s->timer);
	if (start(s, str_c(s->metadata), JWKS_METADATA_MAX, got_metadata))
		return true;
	fetch_failed(s, "the request could not be started", 0);
	return false;
}

/* ------------------------------------------------------------ configure */

static void set_free(struct jwks_set *s)
{
	if (!s)
		return;
	fetch_cancel(s->job);
	loop_timer_stop(&s->timer);
	s->job = NULL;
	waiters_wake(&s->waiters); /* who waits asks again and finds no such
	                              tenant */
	keyset_free(s->keys);
	free(s->name);
	free(s->tid);
	free(s->authority);
	free(s->issuer);
	free(s->metadata);
	free(s);
}

static struct metric *fetch_metric(const struct jwks_set *s, const char *result)
{
	struct buf labels;
	struct metric *m;

	if (!s->j->o.metrics)
		return NULL;
	buf_init(&labels, 512);
	metrics_label(&labels, "tenant", str_c(s->name));
	metrics_label(&labels, "result", str_c(result));
	m = metrics_get(s->j->o.metrics, "foundry_jwks_fetches_total",
	                buf_str(&labels));
	buf_done(&labels);
	return m;
}

static struct jwks_set *set_new(struct jwks *j, const struct policy_tenant *t,
                                bool v1)
{
	struct jwks_set *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->j = j;
	s->v1 = v1;
	s->name = str_dup(t->name);
	s->tid = str_dup(t->id);
	s->authority = str_dup(t->authority);
	s->issuer = str_dup(v1 ? t->issuer_v1 : t->issuer_v2);
	s->metadata = str_dup(v1 ? t->metadata_v1 : t->metadata_v2);
	if (!s->name || !s->tid || !s->authority || !s->issuer ||
	    !s->metadata) {
		set_free(s);
		return NULL;
	}
	s->ok = fetch_metric(s, "ok");
	s->error = fetch_metric(s, "error");
	return s;
}

static bool set_is(const struct jwks_set *s, const struct policy_tenant *t,
                   bool v1)
{
	return s->v1 == v1 && str_eq(str_c(s->name), t->name) &&
	       str_eq(str_c(s->tid), t->id) &&
	       str_eq(str_c(s->authority), t->authority) &&
	       str_eq(str_c(s->issuer), v1 ? t->issuer_v1 : t->issuer_v2) &&
	       str_eq(str_c(s->metadata), v1 ? t->metadata_v1 : t->metadata_v2);
}

static bool want(struct jwks *j, const struct policy_tenant *t, bool v1)
{
	struct jwks_set *s;

	if ((v1 ? t->metadata_v1 : t->metadata_v2).len == 0)
		return true;
	for (s = j->sets; s; s = s->next)
		if (set_is(s, t, v1)) {
			s->wanted = true;
			return true;
		}
	s = set_new(j, t, v1);
	if (!s)
		return false;
	s->wanted = true;
	s->next = j->sets;
	j->sets = s;
	set_fetch(s);
	return true;
}

static void drop_unwanted(struct jwks *j)
{
	struct jwks_set **at = &j->sets, *s, *gone = NULL;

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
		count_keys(s); /* of what is left under its name */
		set_free(s);
	}
}

bool jwks_configure(struct jwks *j, struct policy *p)
{
	struct jwks_set *s;
	bool ok = true;
	size_t i;

	for (s = j->sets; s; s = s->next)
		s->wanted = false;
	for (i = 0; i < p->n_tenants; i++) {
		ok = want(j, &p->tenants[i], true) && ok;
		ok = want(j, &p->tenants[i], false) && ok;
	}
	drop_unwanted(j);
	return ok;
}

static unsigned or_default(unsigned value, unsigned fallback)
{
	return value ? value : fallback;
}

struct jwks *jwks_new(const struct jwks_options *o)
{
	struct jwks *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->o = *o;
	j->o.unknown_kid_interval_s =
		or_default(o->unknown_kid_interval_s, JWKS_UNKNOWN_KID_S);
	j->o.refresh_s = or_default(o->refresh_s, JWKS_REFRESH_S);
	j->o.retry_min_ms = or_default(o->retry_min_ms, JWKS_RETRY_MIN_MS);
	j->o.deadline_ms = or_default(o->deadline_ms, JWKS_DEADLINE_MS);
	return j;
}

void jwks_free(struct jwks *j)
{
	struct jwks_set *s;

	if (!j)
		return;
	for (s = j->sets; s; s = s->next)
		s->wanted = false;
	drop_unwanted(j);
	free(j);
}

/* --------------------------------------------------------------- asking */

static bool same_tenant(const struct jwks_set *a, const struct jwks_set *b)
{
	return strcmp(a->tid, b->tid) == 0;
}

bool jwks_ready(const struct jwks *j)
{
	const struct jwks_set *s, *other;

	for (s = j->sets; s; s = s->next) {
		bool has = false;

		for (other = j->sets; other && !has; other = other->next)
			has = same_tenant(s, other) && other->keys;
		if (!has)
			return false;
	}
	return true;
}

static struct jwks_set *set_of(struct jwks *j, struct str tid, bool v1)
{
	struct jwks_set *s;

	for (s = j->sets; s; s = s->next)
		if (s->v1 == v1 && str_eq(str_c(s->tid), tid))
			return s;
	return NULL;
}

/* True when a fetch is under way, begun now if it may be. */
static bool ask_again(struct jwks_set *s, uint64_t now_us)
{
	uint64_t interval_us =
		(uint64_t)s->j->o.unknown_kid_interval_s * 1000000;

	if (s->job)
		return true;
	if (!s->keys) /* the backoff decides, not who asks */
		return now_us >= s->next_us && set_fetch(s);
	if (s->unknown_asked && now_us - s->unknown_us < interval_us)
		return false;
	s->unknown_asked = true;
	s->unknown_us = now_us;
	return set_fetch(s);
}

enum jwks_answer jwks_find(struct jwks *j, struct str tid, struct str ver,
                           struct str kid, struct jose_key **key,
                           struct str *key_issuer, struct waiter *w)
{
	struct jwks_set *s = set_of(j, tid, str_eq(ver, STR("1.0")));
	uint64_t now_us = clock_mono_us(j->o.clock);

	if (!s)
		return JWKS_UNAVAILABLE;
	if (keyset_find(s->keys, kid, key, key_issuer)) {
		if (now_us >= s->next_us)
			set_fetch(s); /* the timer overslept */
		return JWKS_FOUND;
	}
	if (ask_again(s, now_us) && w) {
		waiters_add(&s->waiters, w);
		return JWKS_WAIT;
	}
	return s->keys ? JWKS_UNKNOWN : JWKS_UNAVAILABLE;
}
