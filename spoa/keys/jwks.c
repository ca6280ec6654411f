/*
 * keys/jwks: the signing keys of the configured tenants.
 *
 *   jwks_configure \
 *   jwks_find       >-> jwks_fetch_set -- GET metadata --> jwks_on_metadata
 *   timer          /                                          |
 *     ^                                    keyset_metadata    | GET jwks_uri
 *     |                                                       v
 *     |            jwks_fetch_succeeded <-- keyset_parse <- jwks_on_keys
 *     |            jwks_fetch_failed    <--'
 *     '-- jwks_schedule <--'   then waiters_wake
 *
 * The old key set serves until a new one has been parsed as a whole.
 */
#include "keys/jwks.h"

#include "base/log.h"
#include "base/backoff.h"
#include "keys/keyset.h"

#include <stdlib.h>

enum {
	/* hourly, and for an unknown kid not more often than every five
	 * minutes: what Microsoft recommends (azure.md 1.4) */
	JWKS_REFRESH_S = 3600,
	JWKS_UNKNOWN_KID_S = 300,
	/* backoff between failures; without keys every token of the tenant is
	 * refused, so the waits stay short */
	JWKS_RETRY_MIN_MS = 1000,
	JWKS_RETRY_MAX_MS = 60000,
	/* of each of the two exchanges; public documents behind a CDN */
	JWKS_DEADLINE_MS = 5000,
	/* bytes; a metadata document is about 2 kB */
	JWKS_METADATA_MAX = 64 * 1024,
	/* bytes; KEYSET_MAX_KEYS keys of about 2 kB with their certificate */
	JWKS_KEYS_MAX = 512 * 1024,
};

/* The keys of one tenant for tokens of one version. */
struct jwks_set {
	struct jwks_set *next;
	struct jwks *j;
	bool v1;     /* tokens of version 1.0, else 2.0 */
	bool wanted; /* by the policy that is configured now */
	/* Copies of the tenant's config: the set outlives the policy it came
	 * from, and is kept when a reload changes none of them. */
	char *name, *tid, *authority, *issuer, *metadata;

	struct keyset *keys;       /* owned; NULL until the first good answer */
	struct fetch_job *job;     /* metadata or keys; NULL: none in flight */
	struct loop_timer timer;   /* of the next fetch */
	uint64_t next_us;          /* when timer is to fire, monotonic */
	uint64_t unknown_us;       /* of the last fetch for an unknown kid */
	bool unknown_asked;        /* unknown_us is set */
	unsigned n_failures;       /* in a row */
	struct waiter *waiters;    /* for the end of the fetch in flight */
	struct metric *ok, *error; /* NULL without metrics */
};

struct jwks {
	struct jwks_options o;
	struct jwks_set *sets;
};

static const char *jwks_version_of(const struct jwks_set *s)
{
	return s->v1 ? "1.0" : "2.0";
}

/* ------------------------------------------------------------- fetching */

static bool jwks_fetch_set(struct jwks_set *s);
static void jwks_on_keys(void *ctx, const struct fetch_result *res);

static void jwks_on_timer(void *data)
{
	jwks_fetch_set(data);
}

static void jwks_schedule(struct jwks_set *s, uint64_t after_ms)
{
	s->next_us = clock_mono_us(s->j->o.clock) + after_ms * 1000;
	loop_timer_start(s->j->o.loop, &s->timer, after_ms, jwks_on_timer, s);
}

/* The gauge is per tenant, so it adds up the sets of both versions. */
static void jwks_update_gauge(const struct jwks_set *s)
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

/* Schedule the next try. Logged once per change of state: the first failure
 * after a success, or after the start. */
static void jwks_fetch_failed(struct jwks_set *s, const char *why, int status)
{
	uint64_t after_ms;
	struct buf line;

	s->n_failures++;
	if (s->error)
		metric_add(s->error, 1);
	after_ms = backoff_after(s->n_failures, s->j->o.retry_min_ms,
	                         JWKS_RETRY_MAX_MS);
	jwks_schedule(s, after_ms);
	if (s->n_failures > 1)
		return;
	buf_init(&line, 2048);
	log_field(&line, "tenant", str_c(s->name));
	log_field(&line, "ver", str_c(jwks_version_of(s)));
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

static void jwks_log_loaded(const struct jwks_set *s, const struct keyset *keys)
{
	struct buf line;

	buf_init(&line, 2048);
	log_field(&line, "tenant", str_c(s->name));
	log_field(&line, "ver", str_c(jwks_version_of(s)));
	log_field_num(&line, "keys", (int64_t)keyset_count(keys));
	log_field_num(&line, "passed_over", (int64_t)keyset_passed_over(keys));
	log_field(&line, "msg",
	          s->keys ? STR("signing keys refreshed")
	                  : STR("signing keys loaded"));
	log_info("jwks", "%" STR_FMT, STR_ARG(buf_str(&line)));
	buf_done(&line);
}

/* Replace the key set and schedule the refresh. Logged when the keys are other
 * ones, or a failure ends. */
static void jwks_fetch_succeeded(struct jwks_set *s, struct keyset *keys)
{
	bool same = s->keys && keyset_covers(s->keys, keys) &&
	            keyset_covers(keys, s->keys);
	bool lost = s->keys && !keyset_covers(keys, s->keys);

	if (s->ok)
		metric_add(s->ok, 1);
	if (!same || s->n_failures > 0)
		jwks_log_loaded(s, keys);
	s->n_failures = 0;
	keyset_free(s->keys);
	s->keys = keys;
	jwks_update_gauge(s);
	jwks_schedule(s, backoff_jitter((uint64_t)s->j->o.refresh_s * 1000));
	if (lost && s->j->o.changed)
		s->j->o.changed(s->j->o.ctx, str_c(s->tid));
}

static bool jwks_start_fetch(struct jwks_set *s, struct str url, size_t max,
                             void (*done)(void *ctx,
                                          const struct fetch_result *res))
{
	struct fetch_request r = {
		.url = url,
		/* only where the config itself names an http:// authority (a
	         * simulator); keyset_metadata() compares the scheme, so an
	         * https authority never leads to http */
		.allow_http =
			str_starts_nocase(str_c(s->authority), STR("http://")),
		.deadline_ms = s->j->o.deadline_ms,
		.max_answer = max,
	};

	s->job = fetch_start(s->j->o.fetch, &r, done, s);
	return s->job != NULL;
}

/* First exchange. Its success starts the second one and wakes nobody: the keys
 * are not there yet. */
static void jwks_on_metadata(void *ctx, const struct fetch_result *res)
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
	if (!why &&
	    !jwks_start_fetch(s, buf_str(&uri), JWKS_KEYS_MAX, jwks_on_keys))
		why = "the request for the keys could not be started";
	buf_done(&uri);
	if (!why)
		return;
	jwks_fetch_failed(s, why, res->status);
	waiters_wake(&s->waiters);
}

/* Second exchange. */
static void jwks_on_keys(void *ctx, const struct fetch_result *res)
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
		jwks_fetch_succeeded(s, keys);
	else
		jwks_fetch_failed(s, why, res->status);
	waiters_wake(&s->waiters);
}

/* Start a fetch unless one is in flight. False when it cannot be started. */
static bool jwks_fetch_set(struct jwks_set *s)
{
	if (s->job)
		return true;
	loop_timer_stop(&s->timer);
	if (jwks_start_fetch(s, str_c(s->metadata), JWKS_METADATA_MAX,
	                     jwks_on_metadata))
		return true;
	jwks_fetch_failed(s, "the request could not be started", 0);
	return false;
}

/* ------------------------------------------------------------ configure */

static void jwks_free_set(struct jwks_set *s)
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

static struct metric *jwks_fetch_metric(const struct jwks_set *s,
                                        const char *result)
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

static struct jwks_set *jwks_new_set(struct jwks *j,
                                     const struct policy_tenant *t, bool v1)
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
		jwks_free_set(s);
		return NULL;
	}
	s->ok = jwks_fetch_metric(s, "ok");
	s->error = jwks_fetch_metric(s, "error");
	return s;
}

/* Whether the set was made of the same config: a change of issuer or URL makes
 * a new one, so that no key fetched for the old config is used with it. */
static bool jwks_set_matches(const struct jwks_set *s,
                             const struct policy_tenant *t, bool v1)
{
	return s->v1 == v1 && str_eq(str_c(s->name), t->name) &&
	       str_eq(str_c(s->tid), t->id) &&
	       str_eq(str_c(s->authority), t->authority) &&
	       str_eq(str_c(s->issuer), v1 ? t->issuer_v1 : t->issuer_v2) &&
	       str_eq(str_c(s->metadata), v1 ? t->metadata_v1 : t->metadata_v2);
}

/* Mark the set of a tenant and version, or make and fetch it. A tenant without
 * a metadata URL for a version takes no tokens of that version. False without
 * memory. */
static bool jwks_want_set(struct jwks *j, const struct policy_tenant *t,
                          bool v1)
{
	struct jwks_set *s;

	if ((v1 ? t->metadata_v1 : t->metadata_v2).len == 0)
		return true;
	for (s = j->sets; s; s = s->next)
		if (jwks_set_matches(s, t, v1)) {
			s->wanted = true;
			return true;
		}
	s = jwks_new_set(j, t, v1);
	if (!s)
		return false;
	s->wanted = true;
	s->next = j->sets;
	j->sets = s;
	jwks_fetch_set(s);
	return true;
}

/* Free the sets that are not marked. All are taken off the list before the
 * first is freed: that wakes its waiters, which ask again at once and must not
 * find a set that is about to go. */
static void jwks_drop_unwanted(struct jwks *j)
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
		jwks_update_gauge(s); /* to what is left under its name */
		jwks_free_set(s);
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
		ok = jwks_want_set(j, &p->tenants[i], true) && ok;
		ok = jwks_want_set(j, &p->tenants[i], false) && ok;
	}
	jwks_drop_unwanted(j);
	return ok;
}

static unsigned jwks_or_default(unsigned value, unsigned fallback)
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
		jwks_or_default(o->unknown_kid_interval_s, JWKS_UNKNOWN_KID_S);
	j->o.refresh_s = jwks_or_default(o->refresh_s, JWKS_REFRESH_S);
	j->o.retry_min_ms = jwks_or_default(o->retry_min_ms, JWKS_RETRY_MIN_MS);
	j->o.deadline_ms = jwks_or_default(o->deadline_ms, JWKS_DEADLINE_MS);
	return j;
}

void jwks_free(struct jwks *j)
{
	struct jwks_set *s;

	if (!j)
		return;
	for (s = j->sets; s; s = s->next)
		s->wanted = false;
	jwks_drop_unwanted(j);
	free(j);
}

/* --------------------------------------------------------------- asking */

static bool jwks_same_tenant(const struct jwks_set *a, const struct jwks_set *b)
{
	return strcmp(a->tid, b->tid) == 0;
}

bool jwks_ready(const struct jwks *j)
{
	const struct jwks_set *s, *other;

	for (s = j->sets; s; s = s->next) {
		bool has = false;

		for (other = j->sets; other && !has; other = other->next)
			has = jwks_same_tenant(s, other) && other->keys;
		if (!has)
			return false;
	}
	return true;
}

static struct jwks_set *jwks_find_set(struct jwks *j, struct str tid, bool v1)
{
	struct jwks_set *s;

	for (s = j->sets; s; s = s->next)
		if (s->v1 == v1 && str_eq(str_c(s->tid), tid))
			return s;
	return NULL;
}

/* The set has no key for a kid. True when a fetch is in flight, which may have
 * been started here. The limit for unknown kids is per set and not per kid:
 * kids are chosen by whoever sends tokens, at no cost (azure.md 1.4). */
static bool jwks_refetch_set(struct jwks_set *s, uint64_t now_us)
{
	uint64_t interval_us =
		(uint64_t)s->j->o.unknown_kid_interval_s * 1000000;

	if (s->job)
		return true;
	if (!s->keys) /* never loaded: the backoff decides when to try */
		return now_us >= s->next_us && jwks_fetch_set(s);
	if (s->unknown_asked && now_us - s->unknown_us < interval_us)
		return false;
	s->unknown_asked = true;
	s->unknown_us = now_us;
	return jwks_fetch_set(s);
}

enum jwks_answer jwks_find(struct jwks *j, struct str tid, struct str ver,
                           struct str kid, struct jose_key **key,
                           struct str *key_issuer, struct waiter *w)
{
	struct jwks_set *s = jwks_find_set(j, tid, str_eq(ver, STR("1.0")));
	uint64_t now_us = clock_mono_us(j->o.clock);

	if (!s)
		return JWKS_UNAVAILABLE;
	if (keyset_find(s->keys, kid, key, key_issuer)) {
		/* a refresh is due although its timer has not fired yet (the
		 * loop is late); the key found serves meanwhile */
		if (now_us >= s->next_us)
			jwks_fetch_set(s);
		return JWKS_FOUND;
	}
	if (jwks_refetch_set(s, now_us) && w) {
		waiters_add(&s->waiters, w);
		return JWKS_WAIT;
	}
	return s->keys ? JWKS_UNKNOWN : JWKS_UNAVAILABLE;
}
