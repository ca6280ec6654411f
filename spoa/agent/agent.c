/* agent: one worker, and everything it owns. */
#include "agent/agent.h"

#include "base/log.h"
#include "conf/load.h"
#include "upstream/health.h"
#include "decide/ownership.h"
#include "decide/estimate.h"
#include "upstream/feedback.h"
#include "decide/pipeline.h"
#include "agent/ops.h"
#include "spop/notify.h"
#include "store/blocked.h"
#include "store/redis_link.h"
#include "store/open_reservations.h"
#include "usage/settle.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	AGENT_MAX_REQUESTS = 4096, /* undecided at once */
	AGENT_MAX_CONNS = 4096,    /* from HAProxy */
	AGENT_DRAIN_MS = 10000,
	AGENT_TICK_MS = 1000,
	AGENT_LINES_MS = 5,
	AGENT_DRAIN_TICK_MS = 20, /* is it over yet? */
	AGENT_ERRORS_MAX = 65536, /* text of a bad config */
};

/* A NOTIFY: which message is it? One frame carries one message, because each
 * of ours has a group of its own; HAProxy 3.1-3.2 may also send none. */
static void on_notify(void *ctx, struct conn_ref ref, const struct frame *f,
                      size_t ack_limit)
{
	struct agent *a = ctx;
	struct cursor c = notify_begin(f);
	struct notify_message m;

	if (!notify_message(&c, &m))
		conns_acknowledge(a, ref, ack_limit);
	else if (str_eq(m.name, STR("upstream_error")))
		feedback_upstream_error(a, ref, f, ack_limit);
	else if (str_eq(m.name, STR("created")))
		created(a, ref, f, ack_limit);
	else if (str_eq(m.name, STR("deleted")))
		ownership_deleted(a, ref, f, ack_limit);
	else
		pipeline_start(a, ref, f, ack_limit);
}

/* Undecided requests of a lost connection go on: what they reserved must be
 * given back, and that happens where the answer finds nobody. */
static void on_closed(void *ctx, uint32_t slot, uint32_t generation)
{
	(void)ctx;
	(void)slot;
	(void)generation;
}

static void on_keys_changed(void *ctx, struct str tenant_id)
{
	struct agent *a = ctx;

	if (a->inbound)
		inbound_flush(a->inbound, tenant_id);
}

/* ----------------------------------------------------- who we are to Redis */

static bool on_redis_login(void *ctx, struct redis_login *who)
{
	struct agent *a = ctx;

	return outbound_redis(a->outbound, &who->username, &who->password,
	                      NULL) == OUTBOUND_OK;
}

static void on_redis_renewed(void *ctx)
{
	struct agent *a = ctx;

	redis_link_renew(store_redis_link(a->redis));
}

/* --------------------------------------------------------------- the end */

static void on_tick(void *ctx);

static void stop_if_drained(struct agent *a)
{
	if (a->draining && a->conns_drained &&
	    requests_count(a->requests) == 0 &&
	    store_redis_pending(a->redis) == 0)
		loop_stop(a->loop);
}

static void on_drained(void *ctx)
{
	struct agent *a = ctx;

	a->conns_drained = true;
	stop_if_drained(a);
}

static void on_drain_limit(void *ctx)
{
	struct agent *a = ctx;

	log_warn("agent",
	         "worker=%u msg=\"gave up draining with %zu "
	         "undecided requests\"",
	         a->worker, requests_count(a->requests));
	loop_stop(a->loop);
}

static void on_terminate(void *ctx)
{
	struct agent *a = ctx;

	if (a->draining)
		return;
	a->draining = true;
	log_info("agent", "worker=%u msg=\"draining\" connections=%zu",
	         a->worker, conns_count(a->conns));
	loop_timer_start(a->loop, &a->drain_limit, AGENT_DRAIN_MS,
	                 on_drain_limit, a);
	loop_timer_start(a->loop, &a->tick, AGENT_DRAIN_TICK_MS, on_tick, a);
	conns_drain(a->conns);
}

static void on_hangup(void *ctx)
{
	agent_reload(ctx);
}

static void on_tick(void *ctx)
{
	struct agent *a = ctx;

	metric_add(a->expired,
	           (int64_t)open_reservations_sweep(a->open_reservations, clock_mono_us(a->clock)));
	ops_update_gauges(a);
	ledger_tick(a->ledger);
	stop_if_drained(a);
	loop_timer_start(a->loop, &a->tick,
	                 a->draining ? AGENT_DRAIN_TICK_MS : AGENT_TICK_MS,
	                 on_tick, a);
}

/* ------------------------------------------------------------ the policy */

/* Hand a policy to everybody who keeps something of it. */
static bool configure(struct agent *a, struct policy *p)
{
	const char *error = NULL;

	if (!jwks_configure(a->jwks, p) || !outbound_configure(a->outbound, p))
		return false;
	if (p->redis.enabled && !store_redis_configure(a->redis, p, &error)) {
		log_error("agent", "redis: %s", error ? error : "no memory");
		return false;
	}
	blocked_configure(a->blocked, p->redis.prefix, p->redis.enabled);
	ledger_configure(a->ledger, p->ledger.file, p->ledger.max_bytes);
	if (!objects_configure(a->objects, p->redis.prefix, p->redis.enabled,
	                       p->objects.ttl_days * UINT64_C(86400000)))
		return false;
	log_set_level((enum log_level)p->log_level);
	return true;
}

static void count_reload(struct agent *a, const char *labels)
{
	metric_add(
		metrics_get(a->metrics, "foundry_reloads_total", str_c(labels)),
		1);
}

static bool strs_equal(const struct strs *a, const struct strs *b)
{
	size_t i;

	for (i = 0; a->n == b->n && i < a->n; i++)
		if (!str_eq(a->v[i], b->v[i]))
			return false;
	return a->n == b->n;
}

static void warn_what_needs_restart(const struct policy *old,
                                    const struct policy *new)
{
	if (!strs_equal(&old->listen.spop, &new->listen.spop) ||
	    !str_eq(old->listen.usage, new->listen.usage) ||
	    !str_eq(old->listen.http, new->listen.http) ||
	    old->workers != new->workers)
		log_warn("agent", "msg=\"listen and workers change only at a "
		                  "restart; everything else is in force\"");
}

static void log_errors(struct buf *errors)
{
	struct str rest = buf_str(errors);

	while (rest.len > 0) {
		size_t n = str_find(rest, '\n');

		log_error("config", "%" STR_FMT, STR_ARG(str_first(rest, n)));
		rest = str_from(rest, n + 1);
	}
}

void agent_reload(struct agent *a)
{
	struct policy *old = a->policy, *new;
	struct buf errors;

	buf_init(&errors, AGENT_ERRORS_MAX);
	new = conf_load(old->file, &errors);
	log_errors(&errors);
	buf_done(&errors);
	if (!new) {
		count_reload(a, "result=\"refused\"");
		log_error("agent",
		          "worker=%u msg=\"%s has errors: the old "
		          "configuration stays in force\"",
		          a->worker, old->file);
		return;
	}
	warn_what_needs_restart(old, new);
	a->policy = new;
	/* verified tokens were judged by the old tenants */
	inbound_flush(a->inbound, STR_NONE);
	if (!configure(a, new)) {
		a->policy = old;
		configure(a, old);
		policy_unref(new);
		count_reload(a, "result=\"failed\"");
		log_error("agent",
		          "worker=%u msg=\"reload failed: the old "
		          "configuration stays in force\"",
		          a->worker);
		return;
	}
	policy_unref(old);
	count_reload(a, "result=\"ok\"");
	log_info("agent", "worker=%u msg=\"%s loaded\"", a->worker, new->file);
}

bool agent_ready(const struct agent *a, const char **why_not)
{
	*why_not = NULL;
	if (a->draining)
		*why_not = "stopping";
	else if (a->policy->n_tenants > 0 && !jwks_ready(a->jwks))
		*why_not = "signing keys of a tenant are not loaded";
	else if (!outbound_ready(a->outbound))
		*why_not = "an outbound credential has no token yet";
	else if (a->policy->redis.enabled && a->policy->redis.required &&
	         !store_redis_connected(a->redis))
		*why_not = "Redis is not connected";
	return !*why_not;
}

/* -------------------------------------------------------------- building */

static bool make_parts(struct agent *a)
{
	struct jwks_options jwks = {
		.clock = a->clock,
		.metrics = a->metrics,
		.worker = a->worker,
		.changed = on_keys_changed,
		.ctx = a,
	};
	struct outbound_options outbound = {
		.clock = a->clock,
		.metrics = a->metrics,
		.worker = a->worker,
		.redis_renewed = on_redis_renewed,
		.ctx = a,
	};

	a->loop = loop_new();
	a->requests = requests_new(AGENT_MAX_REQUESTS);
	a->memory = store_memory_new(a->clock);
	a->ledger = ledger_new(a->clock, a->metrics);
	a->estimator = estimator_new();
	a->health = health_new(a->clock);
	if (!a->loop || !a->requests || !a->memory || !a->ledger ||
	    !a->estimator || !a->health)
		return false;
	a->fetch = fetch_new(a->loop, NULL);
	a->redis = store_redis_new(a->loop, a->clock, a->metrics);
	if (!a->fetch || !a->redis)
		return false;
	store_redis_label(a->redis, a->worker);
	redis_link_login(store_redis_link(a->redis), on_redis_login, a);
	a->objects = objects_new(a->clock, store_redis_link(a->redis));
	a->blocked = blocked_new(a->loop, store_redis_link(a->redis));
	if (!a->objects || !a->blocked)
		return false;
	jwks.loop = a->loop;
	jwks.fetch = a->fetch;
	a->jwks = jwks_new(&jwks);
	outbound.loop = a->loop;
	outbound.fetch = a->fetch;
	a->outbound = outbound_new(&outbound);
	if (!a->jwks || !a->outbound)
		return false;
	a->inbound = inbound_new(a->clock, a->jwks, a->metrics);
	return a->inbound != NULL;
}

static bool make_doors(struct agent *a, const struct agent_sockets *s)
{
	struct conns_options conns = {
		.loop = a->loop,
		.metrics = a->metrics,
		.on_notify = on_notify,
		.on_closed = on_closed,
		.on_drained = on_drained,
		.ctx = a,
		.max_frame = SPOP_MAX_FRAME,
		.max_conns = AGENT_MAX_CONNS,
	};
	size_t i;

	a->conns = conns_new(&conns);
	if (!a->conns)
		return false;
	for (i = 0; i < s->n_spop; i++)
		if (!conns_listen(a->conns, s->spop[i]))
			return false;
	if (s->usage >= 0) {
		a->udp = udp_new(a->loop, s->usage, settle_datagram, a);
		if (!a->udp)
			return false;
	}
	if (s->http >= 0) {
		a->http = http_new(a->loop, s->http, ops_get, a);
		if (!a->http)
			return false;
	}
	return true;
}

static void find_series(struct agent *a)
{
	char labels[32];
	unsigned i;

	a->expired = metrics_get(
		a->metrics, "foundry_reservations_expired_total", STR_NONE);
	metrics_histogram(a->metrics, "foundry_decision_seconds", STR_NONE,
	                  &a->decision_time);
	for (i = 0; i < REQUEST_N_STEPS; i++) {
		snprintf(labels, sizeof(labels), "step=\"%s\"",
		         pipeline_step_name(i));
		metrics_histogram(a->metrics, "foundry_step_seconds",
		                  str_c(labels), &a->step_time[i]);
	}
}

struct agent *agent_new(struct policy *p, const struct agent_sockets *s,
                        const struct agent_shared *shared, unsigned worker)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->clock = &clock_system;
	a->metrics = shared->metrics;
	a->open_reservations = shared->open_reservations;
	a->worker = worker;
	a->n_workers = p->workers;
	a->policy = policy_ref(p);
	find_series(a);
	if (!make_parts(a) || !make_doors(a, s) || !configure(a, p)) {
		log_error("agent", "worker=%u msg=\"could not start\"", worker);
		agent_free(a);
		return NULL;
	}
	return a;
}

void agent_free(struct agent *a)
{
	struct request *r;

	if (!a)
		return;
	http_free(a->http);
	udp_free(a->udp);
	while (a->requests && (r = requests_oldest(a->requests)) != NULL) {
		identity_unref(r->plan.identity);
		policy_unref(r->policy);
		waiter_cancel(&r->wait);
		loop_timer_stop(&r->again);
		requests_release(a->requests, r);
	}
	conns_free(a->conns);
	settle_forget(a);
	inbound_free(a->inbound);
	jwks_free(a->jwks);
	outbound_free(a->outbound);
	fetch_free(a->fetch);
	objects_free(a->objects);
	blocked_free(a->blocked);
	store_redis_free(a->redis);
	store_memory_free(a->memory);
	ledger_free(a->ledger);
	estimator_free(a->estimator);
	health_free(a->health);
	requests_free(a->requests);
	policy_unref(a->policy);
	loop_free(a->loop);
	free(a);
}

static void on_lines(void *data)
{
	(void)data;
	log_flush();
}

static void on_first_line(void *ctx)
{
	struct agent *a = ctx;

	loop_timer_start(a->loop, &a->lines, AGENT_LINES_MS, on_lines, a);
}

void agent_run(struct agent *a)
{
	loop_signal_start(a->loop, &a->sigterm, SIGTERM, on_terminate, a);
	loop_signal_start(a->loop, &a->sigint, SIGINT, on_terminate, a);
	loop_signal_start(a->loop, &a->sighup, SIGHUP, on_hangup, a);
	loop_timer_start(a->loop, &a->tick, AGENT_TICK_MS, on_tick, a);
	ops_update_gauges(a);
	log_info("agent", "worker=%u msg=\"serving\"", a->worker);
	log_collect(on_first_line, a);
	loop_run(a->loop);
	log_collect(NULL, NULL);
	loop_timer_stop(&a->lines);
	loop_signal_stop(&a->sigterm);
	loop_signal_stop(&a->sigint);
	loop_signal_stop(&a->sighup);
	loop_timer_stop(&a->tick);
	loop_timer_stop(&a->drain_limit);
	loop_timer_stop(&a->deadline);
	log_info("agent", "worker=%u msg=\"stopped\"", a->worker);
}
