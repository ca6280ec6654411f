/*
 * agent: one worker, and everything it owns.
 *
 *   agent_new   agt_make_parts -> agt_open_doors -> agt_lend_parts
 *               -> agent_configure (the policy is in force)
 *   agent_run   signals and timers -> loop, until SIGTERM or SIGINT:
 *               agt_on_terminate -> conns_drain -> agt_stop_if_drained, or
 *               agt_on_drain_limit
 *   agent_free  doors first, then what their callbacks use
 *
 * What comes in, and where it goes:
 *   NOTIFY      agt_on_notify -> agt_messages[], else decide/pipeline
 *   datagram    settle_datagram (usage/settle)
 *   GET         ops_get (agent/ops)
 *   SIGHUP      reload (agent/reload)
 *   new keys    agt_on_keys_changed -> the cache of verified tokens
 *   new token   agt_on_redis_renewed -> the connection to Redis
 *
 * Layers below do not know this file. They get the parts they use in structs
 * (agt_lend_parts), and call up through callbacks only.
 */
#include "agent/agent.h"

#include "agent/ops.h"
#include "agent/reload.h"
#include "base/log.h"
#include "decide/ownership.h"
#include "decide/pipeline.h"
#include "decide/step.h"
#include "keys/inbound.h"
#include "keys/jose.h"
#include "keys/outbound.h"
#include "net/acknowledge.h"
#include "net/fetch.h"
#include "request/table.h"
#include "spop/notify.h"
#include "store/blocked.h"
#include "store/objects.h"
#include "store/open_reservations.h"
#include "store/redis_link.h"
#include "store/shared_key.h"
#include "upstream/health.h"
#include "usage/estimator.h"
#include "usage/ledger.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All of these are choices of ours. */
enum {
	/* Undecided requests at once; the next one is refused. Bounds memory:
	 * each has a workspace of REQUEST_ARENA bytes. */
	AGENT_MAX_REQUESTS = 4096,
	/* Connections from HAProxy at once; it opens some per thread. */
	AGENT_MAX_CONNS = 4096,
	/* Longest drain. Far above the decision timeout (250 ms by default), so
	 * that settlements reach a Redis that was away for seconds. */
	AGENT_DRAIN_MS = 10000,
	/* Gauges, the ledger's rotation, expired reservations: what ledger_tick
	 * and open_reservations_sweep ask for. */
	AGENT_TICK_MS = 1000,
	/* The same while draining: how late its end may be noticed. */
	AGENT_DRAIN_TICK_MS = 20,
	/* How long base/log may hold a line back to write several at once. */
	AGENT_LOG_WAIT_MS = 5,
};

/* --------------------------------------------------------------- messages
 *
 * Messages of spoe-gateway.conf that report something and need no verdict. Each
 * handler sends the ACK itself: decide/ownership only when the store has
 * answered. */

static void agt_on_upstream_error(struct agent *a, struct conn_ref ref,
                                  const struct frame *f, size_t ack_limit)
{
	feedback_upstream_error(&a->feedback, ref, f, ack_limit);
}

static void agt_on_created(struct agent *a, struct conn_ref ref,
                           const struct frame *f, size_t ack_limit)
{
	ownership_created(&a->decider, ref, f, ack_limit);
}

static void agt_on_deleted(struct agent *a, struct conn_ref ref,
                           const struct frame *f, size_t ack_limit)
{
	ownership_deleted(&a->decider, ref, f, ack_limit);
}

static const struct {
	struct str name;
	void (*handle)(struct agent *a, struct conn_ref ref,
	               const struct frame *f, size_t ack_limit);
} agt_messages[] = {
	{STR_INIT("upstream_error"), agt_on_upstream_error},
	{STR_INIT("created"), agt_on_created},
	{STR_INIT("deleted"), agt_on_deleted},
};

/* Dispatches a NOTIFY by the name of its message. A frame of ours carries one
 * message, because each has a group of its own (spoe-gateway.conf). HAProxy
 * 3.1-3.2 also sends frames without any; they need an ACK, too. A name that is
 * not in the table goes to the pipeline: `admit` and `admit_head` are decided,
 * anything else is refused as malformed, so an unknown message can never let a
 * request pass. */
static void agt_on_notify(void *ctx, struct conn_ref ref, const struct frame *f,
                          size_t ack_limit)
{
	struct agent *a = ctx;
	struct cursor c = notify_begin(f);
	struct notify_message m;
	size_t i;

	if (!notify_message(&c, &m)) {
		acknowledge(a->conns, ref, ack_limit);
		return;
	}
	for (i = 0; i < sizeof(agt_messages) / sizeof(*agt_messages); i++)
		if (str_eq(m.name, agt_messages[i].name)) {
			agt_messages[i].handle(a, ref, f, ack_limit);
			return;
		}
	pipeline_start(&a->decider, ref, f, ack_limit);
}

/* Signing keys of a tenant were replaced: a token that was verified with a key
 * which is gone must not be served from the cache. */
static void agt_on_keys_changed(void *ctx, struct str tenant_id)
{
	struct agent *a = ctx;

	if (a->inbound)
		inbound_flush(a->inbound, tenant_id);
}

/* --------------------------------------------------- credential for Redis
 *
 * The store does not know how tokens are fetched, so they pass through here:
 *
 *   keys/outbound --agt_on_redis_renewed--> redis_link_renew
 *   keys/outbound <---agt_on_redis_login--- store/redis_link, as it connects */

static bool agt_on_redis_login(void *ctx, struct redis_login *who)
{
	struct agent *a = ctx;

	return outbound_redis(a->outbound, &who->username, &who->password,
	                      NULL) == OUTBOUND_OK;
}

/* An Entra token ends: the open connection authenticates with the next one
 * before Redis would close it (azure.md 3.10). */
static void agt_on_redis_renewed(void *ctx)
{
	struct agent *a = ctx;

	redis_link_renew(store_redis_link(a->redis));
}

/* ------------------------------------------------------------------ drain
 *
 * Three things must be over before the loop stops: the connections (every
 * answer is out, and AGENT-DISCONNECT was said), the parked requests, and the
 * settlements that Redis has not confirmed. No one event marks the last of
 * them, so the tick looks, and more often than usual. */

static void agt_on_tick(void *ctx);

static void agt_stop_if_drained(struct agent *a)
{
	if (a->draining && a->conns_drained &&
	    requests_count(a->requests) == 0 &&
	    store_redis_pending(a->redis) == 0)
		loop_stop(a->loop);
}

static void agt_on_drained(void *ctx)
{
	struct agent *a = ctx;

	a->conns_drained = true;
	agt_stop_if_drained(a);
}

/* A key or Redis did not answer in time. HAProxy refuses requests whose agent
 * is gone; their reservations stay charged with the estimate. */
static void agt_on_drain_limit(void *ctx)
{
	struct agent *a = ctx;

	log_warn("agent",
	         "worker=%u msg=\"gave up draining with %zu "
	         "undecided requests\"",
	         a->worker, requests_count(a->requests));
	loop_stop(a->loop);
}

static void agt_on_terminate(void *ctx)
{
	struct agent *a = ctx;

	if (a->draining)
		return;
	a->draining = true;
	log_info("agent", "worker=%u msg=\"draining\" connections=%zu",
	         a->worker, conns_count(a->conns));
	loop_timer_start(a->loop, &a->drain_limit, AGENT_DRAIN_MS,
	                 agt_on_drain_limit, a);
	loop_timer_start(a->loop, &a->tick, AGENT_DRAIN_TICK_MS, agt_on_tick,
	                 a);
	conns_drain(a->conns);
}

/* SIGHUP; with several workers the parent sends it to each (agent/workers). */
static void agt_on_hangup(void *ctx)
{
	reload(ctx);
}

static void agt_on_tick(void *ctx)
{
	struct agent *a = ctx;

	metric_add(a->expired, (int64_t)open_reservations_sweep(
				       a->open, clock_mono_us(a->clock)));
	ops_update_gauges(a);
	ledger_tick(a->ledger);
	agt_stop_if_drained(a);
	loop_timer_start(a->loop, &a->tick,
	                 a->draining ? AGENT_DRAIN_TICK_MS : AGENT_TICK_MS,
	                 agt_on_tick, a);
}

/* ------------------------------------------------------------ the policy */

/* Requests in progress keep the policy they began with, by a reference of their
 * own. Parts that outlive requests get the new one here. */
bool agent_configure(struct agent *a, struct policy *p)
{
	const char *error = NULL;

	a->policy = a->decider.policy = a->settler.policy = p;
	if (!jwks_configure(a->jwks, p) || !outbound_configure(a->outbound, p))
		return false;
	if (p->redis.enabled && !store_redis_configure(a->redis, p, &error)) {
		log_error("agent", "redis: %s", error ? error : "no memory");
		return false;
	}
	blocked_configure(a->blocked, p->redis.prefix, p->redis.enabled);
	shared_key_configure(a->shared_key, p->redis.prefix, p->redis.enabled);
	ledger_configure(a->ledger, p->ledger.file, p->ledger.max_bytes);
	if (!objects_configure(a->objects, p->redis.prefix, p->redis.enabled,
	                       p->objects.ttl_days * UINT64_C(86400000)))
		return false;
	log_set_level((enum log_level)p->log_level);
	return true;
}

/* The first reason that applies is told. A worker whose policy does not require
 * Redis is ready without it: each limit says what then applies
 * (on_store_failure). */
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

/* --------------------------------------------------------------- building
 *
 * Each part is given the parts it uses as it is made, so the order is that of
 * the layers. After a failure agent_free() frees what there is: every x_free()
 * accepts NULL. */

/* The key that is offered to Redis when no node has made one yet. */
static struct shared_key *agt_new_shared_key(struct agent *a)
{
	uint8_t first[SHARED_KEY_LEN];
	struct shared_key *k = NULL;

	if (a->seal && jose_random(first, sizeof(first)))
		k = shared_key_new(a->loop, store_redis_link(a->redis), first,
		                   seal_set_shared, a->seal);
	explicit_bzero(first, sizeof(first));
	return k;
}

static bool agt_make_parts(struct agent *a)
{
	struct requests_options requests = {
		.clock = a->clock,
		.max = AGENT_MAX_REQUESTS,
		.run = pipeline_run,
		.expire = pipeline_expire,
	};
	struct jwks_options jwks = {
		.clock = a->clock,
		.metrics = a->metrics,
		.worker = a->worker,
		.changed = agt_on_keys_changed,
		.ctx = a,
	};
	struct outbound_options outbound = {
		.clock = a->clock,
		.metrics = a->metrics,
		.worker = a->worker,
		.redis_renewed = agt_on_redis_renewed,
		.ctx = a,
	};

	a->loop = loop_new();
	requests.loop = a->loop;
	a->requests = requests_new(&requests);
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
	redis_link_login(store_redis_link(a->redis), agt_on_redis_login, a);
	a->objects = objects_new(a->clock, store_redis_link(a->redis));
	a->blocked = blocked_new(a->loop, store_redis_link(a->redis));
	a->shared_key = agt_new_shared_key(a);
	if (!a->objects || !a->blocked || !a->shared_key)
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

/* After the parts, because callbacks come in as soon as the loop runs. The
 * sockets were opened before the fork (agent/workers). udp and http take theirs
 * over; the sockets for SPOP stay the process's. */
static bool agt_open_doors(struct agent *a, const struct agent_sockets *s)
{
	struct conns_options conns = {
		.loop = a->loop,
		.metrics = a->metrics,
		.on_notify = agt_on_notify,
		.on_drained = agt_on_drained,
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
		a->udp = udp_new(a->loop, s->usage, settle_datagram,
		                 &a->settler);
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

/* Series that every request touches are looked up once (base/metrics). */
static void agt_find_series(struct agent *a)
{
	struct decider *d = &a->decider;
	char labels[32];
	unsigned i;

	a->expired = metrics_get(
		a->metrics, "foundry_reservations_expired_total", STR_NONE);
	metrics_histogram(a->metrics, "foundry_decision_seconds", STR_NONE,
	                  &d->decision_time);
	for (i = 0; i < REQUEST_N_STEPS; i++) {
		snprintf(labels, sizeof(labels), "step=\"%s\"", step_name(i));
		metrics_histogram(a->metrics, "foundry_step_seconds",
		                  str_c(labels), &d->step_time[i]);
	}
}

/* A layer below gets the parts it uses and cannot reach any other. Of these
 * structs only `policy` changes later (agent_configure). */
static void agt_lend_parts(struct agent *a)
{
	struct decider *d = &a->decider;
	struct settler *s = &a->settler;

	d->loop = a->loop;
	d->clock = s->clock = a->clock;
	d->metrics = s->metrics = a->metrics;
	d->worker = a->worker;
	s->n_workers = a->n_workers;
	d->conns = a->conns;
	d->requests = a->requests;
	d->inbound = a->inbound;
	d->outbound = a->outbound;
	d->objects = s->objects = a->objects;
	d->blocked = a->blocked;
	d->seal = s->seal = a->seal;
	d->memory = s->memory = a->memory;
	d->redis = s->redis = a->redis;
	d->open = s->open = a->open;
	d->estimator = s->estimator = a->estimator;
	d->health = s->health = a->health;
	s->ledger = a->ledger;
	a->feedback = (struct feedback){a->conns, a->metrics, a->health};
}

struct agent *agent_new(struct policy *p, const struct agent_sockets *s,
                        const struct agent_shared *shared, unsigned worker,
                        unsigned n_workers)
{
	struct agent *a = calloc(1, sizeof(*a));
	bool made;

	if (!a)
		return NULL;
	a->clock = &clock_system;
	a->metrics = shared->metrics;
	a->open = shared->open;
	a->seal = seal_new(shared->seal_key);
	a->worker = worker;
	a->n_workers = n_workers;
	a->policy = policy_ref(p);
	agt_find_series(a);
	made = agt_make_parts(a) && agt_open_doors(a, s);
	agt_lend_parts(a);
	if (!made || !agent_configure(a, p)) {
		log_error("agent", "worker=%u msg=\"could not start\"", worker);
		agent_free(a);
		return NULL;
	}
	return a;
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	/* from here on nothing comes in, and nobody waits for anything */
	http_free(a->http);
	udp_free(a->udp);
	requests_free(a->requests);
	conns_free(a->conns);
	settle_forget(&a->settler);
	/* each part before those it uses */
	inbound_free(a->inbound);
	jwks_free(a->jwks);
	outbound_free(a->outbound);
	fetch_free(a->fetch);
	objects_free(a->objects);
	blocked_free(a->blocked);
	shared_key_free(a->shared_key);
	seal_free(a->seal);
	store_redis_free(a->redis);
	store_memory_free(a->memory);
	ledger_free(a->ledger);
	estimator_free(a->estimator);
	health_free(a->health);
	policy_unref(a->policy);
	loop_free(a->loop);
	free(a);
}

/* ---------------------------------------------------------------- running
 *
 * A write() for each of the two log lines of a request took a tenth of the
 * worker's time. base/log collects lines, and calls agt_on_log_held() when the
 * first one waits. */

static void agt_on_log_wait(void *data)
{
	(void)data;
	log_flush();
}

static void agt_on_log_held(void *ctx)
{
	struct agent *a = ctx;

	loop_timer_start(a->loop, &a->lines, AGENT_LOG_WAIT_MS, agt_on_log_wait,
	                 a);
}

void agent_run(struct agent *a)
{
	loop_signal_start(a->loop, &a->sigterm, SIGTERM, agt_on_terminate, a);
	loop_signal_start(a->loop, &a->sigint, SIGINT, agt_on_terminate, a);
	loop_signal_start(a->loop, &a->sighup, SIGHUP, agt_on_hangup, a);
	loop_timer_start(a->loop, &a->tick, AGENT_TICK_MS, agt_on_tick, a);
	ops_update_gauges(a);
	log_info("agent", "worker=%u msg=\"serving\"", a->worker);
	log_collect(agt_on_log_held, a);
	loop_run(a->loop);
	log_collect(NULL, NULL); /* writes what is held */
	loop_timer_stop(&a->lines);
	loop_signal_stop(&a->sigterm);
	loop_signal_stop(&a->sigint);
	loop_signal_stop(&a->sighup);
	loop_timer_stop(&a->tick);
	loop_timer_stop(&a->drain_limit);
	log_info("agent", "worker=%u msg=\"stopped\"", a->worker);
}
