/*
 * store/redis: limits counted in Redis, for all nodes.
 *
 *   store_redis_reserve -> struct call -> rds_call_send --+
 *           (the request waits)                           |
 *   store_redis_settle --> writes_settle ---------+       +-> redis_link
 *   store_redis_lease ---> lease_take             |       |      | EVALSHA
 *                            +-> writes_reserve --+-> writes     v
 *                                                              Redis
 *   rds_on_reserved <-- answer or LINK_LOST --> callback of the request
 *   rds_on_deadline <-- no answer in time ----> STORE_FAILED
 *
 * A reserve is sent once, because a request waits for it; if it fails, the
 * request is decided without Redis. Writes (settles, and reserves that were
 * admitted by lease) are repeated until Redis has executed them.
 *
 * No charge may stay without a request that knows of it. An answer that comes
 * after the deadline is settled with zero use. A reserve whose connection broke
 * before the answer is cancelled.
 */
#include "store/store.h"

#include "base/log.h"
#include "store/check.h"
#include "store/lease.h"
#include "store/list.h"
#include "store/redis_args.h"
#include "store/redis_link.h"
#include "store/redis_tls.h"
#include "store/reservation.h"
#include "store/writes.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	/* Reserves in flight. More would not be answered before the deadline
	 * (150 ms) by a Redis that does some 30,000 per second (azure.md). */
	REDIS_RESERVES_MAX = 4096,
	REDIS_WHY_MAX = 200, /* bytes of an error kept for comparison */
};

/* A reserve in flight. It lives while a request waits for it (`cb`) or Redis
 * may still answer (`sent`); it is the ctx of redis_link_call(). */
struct call {
	struct list all;     /* store_redis.calls */
	struct list waiting; /* store_redis.waiting, while `cb` is set */
	struct store_redis *store;
	store_reserve_cb *cb; /* NULL: it was called */
	void *ctx;
	uint64_t ref;
	uint64_t sent_us;
	uint64_t due_us;
	bool sent;
	bool lost; /* the connection broke; fails in the next loop turn */
	struct store_reservation *r; /* a copy */
};

struct store_redis {
	struct loop *loop;
	const struct clock *clock;
	struct metrics *metrics;
	struct policy *policy; /* NULL before the first configure */
	struct redis_link *link;

	struct list calls;   /* all of them */
	struct list waiting; /* in the order of their deadlines, except that a
	                      * reload may have changed deadline_ms */
	size_t n_calls;      /* sent and not answered */
	struct loop_timer deadline;

	struct writes *writes;
	struct lease *lease;

	/* Last logged error per endpoint; empty since the store was up. */
	char last_error[POLICY_REDIS_ENDPOINTS][REDIS_WHY_MAX];

	struct metric_histogram seconds;
	struct metric *connected, *reserve_errors, *connect_errors;
};

static const struct store_usage rds_no_usage;

static bool rds_is_enabled(const struct store_redis *s)
{
	return s->policy && s->policy->redis.enabled;
}

/* --------------------------------------------------------------- metrics */

static void rds_add_metric(struct metric *c, int64_t n)
{
	if (c)
		metric_add(c, n);
}

static void rds_set_connected(struct store_redis *s, bool up)
{
	if (s->connected)
		metric_set(s->connected, up);
}

static void rds_observe_latency(struct store_redis *s, uint64_t sent_us)
{
	if (s->connected)
		metric_observe_us(&s->seconds,
		                  clock_mono_us(s->clock) - sent_us);
}

static struct metric *rds_error_metric(struct metrics *m, const char *op)
{
	struct metric *c;
	struct buf labels;

	buf_init(&labels, 64);
	metrics_label(&labels, "op", str_c(op));
	c = metrics_get(m, "foundry_store_errors_total", buf_str(&labels));
	buf_done(&labels);
	return c;
}

static void rds_register_metrics(struct store_redis *s, struct str worker)
{
	struct writes_metrics of_writes;
	struct metrics *m = s->metrics;

	if (!m)
		return;
	metrics_histogram(m, "foundry_store_seconds", STR_NONE, &s->seconds);
	s->connected = metrics_get(m, "foundry_store_connected", worker);
	s->reserve_errors = rds_error_metric(m, "reserve");
	s->connect_errors = rds_error_metric(m, "connect");
	of_writes = (struct writes_metrics){
		.pending =
			metrics_get(m, "foundry_store_writes_pending", worker),
		.dropped = metrics_get(m, "foundry_store_writes_dropped_total",
	                               STR_NONE),
		.errors = rds_error_metric(m, "settle"),
		.reserve_errors = s->reserve_errors,
		.seconds = &s->seconds,
	};
	writes_measure(s->writes, &of_writes);
}

/* ---------------------------------------------------------------- settle */

/* Bad names cannot have an open reservation, so the status is STORE_UNKNOWN. */

void store_redis_settle(struct store_redis *s, struct str account,
                        struct str id, const struct store_usage *used,
                        store_settle_cb *cb, void *ctx)
{
	enum store_status status = STORE_UNKNOWN;

	if (!check_names(account, id)) {
		status = STORE_FAILED;
		if (rds_is_enabled(s) &&
		    writes_settle(s->writes, account, id, used, cb, ctx))
			return;
	}
	if (cb)
		cb(ctx, id, status);
}

/* --------------------------------------------------------------- reserve */

static void rds_call_free(struct call *c)
{
	if (c)
		free(c->r);
	free(c);
}

/* Freed by whichever of both ends last: the request's wait or the call. */
static void rds_call_free_if_done(struct call *c)
{
	if (c->cb || c->sent)
		return;
	list_del(&c->all);
	list_del(&c->waiting);
	rds_call_free(c);
}

/* End the wait of the request; the caller frees the call if it is done. The
 * call is on no list of waiting ones when the callback runs, which may start a
 * new reserve. False: the request has ended before. */
static bool rds_call_answer(struct call *c, const struct store_result *res)
{
	store_reserve_cb *cb = c->cb;

	if (res->status == STORE_FAILED)
		rds_add_metric(c->store->reserve_errors, 1);
	list_del(&c->waiting);
	c->cb = NULL;
	return cb(c->ctx, c->ref, res);
}

static void rds_call_fail(struct call *c, const char *error)
{
	const struct store_result res = {.status = STORE_FAILED,
	                                 .error = error};

	rds_call_answer(c, &res);
	rds_call_free_if_done(c);
}

static void rds_on_deadline(void *data);

/* One timer for all waiting calls, set to the first deadline. */
static void rds_start_deadline(struct store_redis *s)
{
	const struct call *c;
	uint64_t now = clock_mono_us(s->clock);

	if (list_empty(&s->waiting))
		return;
	c = list_entry(s->waiting.next, struct call, waiting);
	loop_timer_start(s->loop, &s->deadline,
	                 c->lost || c->due_us <= now
	                         ? 0
	                         : (c->due_us - now + 999) / 1000,
	                 rds_on_deadline, s);
}

static void rds_on_deadline(void *data)
{
	struct store_redis *s = data;

	while (!list_empty(&s->waiting)) {
		struct call *c =
			list_entry(s->waiting.next, struct call, waiting);

		if (c->lost)
			rds_call_fail(c, "the connection to Redis broke");
		else if (c->due_us <= clock_mono_us(s->clock))
			rds_call_fail(c, "Redis did not answer in time");
		else
			break;
	}
	rds_start_deadline(s);
}

static void rds_on_reserved(void *ctx, const struct redis_link_reply *reply)
{
	struct call *c = ctx;
	struct store_redis *s = c->store;
	struct store_result res = {.status = STORE_FAILED};
	bool before = false;

	c->sent = false;
	s->n_calls--;
	/* Redis may have executed the call: cancel it. The callback waits for
	 * the timer, because calls are also lost inside of
	 * store_redis_configure(), which must not call back. */
	if (reply->kind == LINK_LOST) {
		if (rds_is_enabled(s))
			writes_cancel(s->writes, c->r->account, c->r->id);
		c->lost = true;
		rds_call_free_if_done(c);
		loop_timer_start(s->loop, &s->deadline, 0, rds_on_deadline, s);
		return;
	}
	rds_observe_latency(s, c->sent_us);
	if (!redis_args_result(reply, c->r->n_charges, &res, &before))
		res.error = "Redis answered with an error";
	else if (!before)
		lease_learn(s->lease, c->r, &res, c->sent_us);
	/* After the deadline, or after the end of the request: give it back. A
	 * record that existed before belongs to another call with this id. */
	if ((!c->cb || !rds_call_answer(c, &res)) && res.status == STORE_OK &&
	    !before)
		writes_settle(s->writes, c->r->account, c->r->id, &rds_no_usage,
		              NULL, NULL);
	rds_call_free_if_done(c);
	if (redis_error_of(reply->error) == REDIS_ERROR_RECONNECT)
		redis_link_drop(s->link, "Redis cannot write now");
}

static bool rds_call_send(struct call *c)
{
	struct store_redis *s = c->store;
	struct redis_args a;
	bool ok = redis_args_begin(&a, s->policy->redis.prefix, c->r->account,
	                           c->r->id);

	if (ok) {
		redis_args_reserve(&a, s->policy->redis.prefix, c->r, false);
		ok = redis_args_call(&a, s->link, SCRIPT_RESERVE,
		                     rds_on_reserved, c);
	}
	redis_args_done(&a);
	return ok;
}

static struct call *rds_call_new(struct store_redis *s,
                                 const struct store_reservation *r)
{
	struct call *c = calloc(1, sizeof(*c));

	if (c)
		c->r = reservation_copy(r);
	if (!c || !c->r) {
		free(c);
		return NULL;
	}
	c->store = s;
	c->sent_us = clock_mono_us(s->clock);
	c->due_us = c->sent_us + s->policy->redis.deadline_ms * UINT64_C(1000);
	return c;
}

/* The metric counts what the request sees: a reserve without an answer. */
bool store_redis_reserve(struct store_redis *s,
                         const struct store_reservation *r,
                         store_reserve_cb *cb, void *ctx, uint64_t ref)
{
	struct call *c;

	if (s->n_calls >= REDIS_RESERVES_MAX || !redis_link_is_up(s->link) ||
	    check_reservation(r)) {
		rds_add_metric(s->reserve_errors, 1);
		return false;
	}
	c = rds_call_new(s, r);
	if (!c || !rds_call_send(c)) {
		rds_call_free(c);
		rds_add_metric(s->reserve_errors, 1);
		return false;
	}
	c->cb = cb;
	c->ctx = ctx;
	c->ref = ref;
	c->sent = true;
	s->n_calls++;
	list_add_last(&s->calls, &c->all);
	list_add_last(&s->waiting, &c->waiting);
	if (!loop_timer_active(&s->deadline))
		rds_start_deadline(s);
	return true;
}

/* ----------------------------------------------------------------- lease */

bool store_redis_lease(struct store_redis *s, const struct store_reservation *r,
                       struct store_result *res)
{
	if (!writes_go_at_once(s->writes) || check_reservation(r) ||
	    !lease_take(s->lease, r, res))
		return false;
	if (writes_reserve(s->writes, r))
		return true;
	lease_confirm(s->lease, r);
	return false;
}

/* End of a reserve that was admitted by lease. Without an answer it is unknown
 * what Redis has counted, so all cached answers are dropped. */
static void rds_on_leased(void *ctx, const struct store_reservation *r,
                          const struct store_result *res, uint64_t sent_us)
{
	struct store_redis *s = ctx;

	lease_confirm(s->lease, r);
	if (res)
		lease_learn(s->lease, r, res, sent_us);
	else
		lease_forget(s->lease);
}

/* ------------------------------------------------------------ connection */

static void rds_clear_errors(struct store_redis *s)
{
	memset(s->last_error, 0, sizeof(s->last_error));
}

static void rds_on_up(void *ctx)
{
	struct store_redis *s = ctx;
	const struct policy_endpoint *at = redis_link_endpoint(s->link);

	rds_clear_errors(s);
	rds_set_connected(s, true);
	lease_forget(s->lease);
	log_info("redis", "host=%" STR_FMT " port=%u pending=%zu msg=connected",
	         STR_ARG(at->host), (unsigned)at->port,
	         writes_pending(s->writes));
	writes_up(s->writes);
}

static void rds_log_down(const struct policy_endpoint *at, struct str why,
                         uint64_t retry_ms)
{
	struct buf line;

	buf_init(&line, 1024);
	log_field(&line, "host", at->host);
	log_field_num(&line, "port", at->port);
	log_field(&line, "error", why);
	log_field_num(&line, "retry_ms", (int64_t)retry_ms);
	log_warn("redis",
	         "%" STR_FMT " msg=\"no connection: each limit follows its "
	         "on_store_failure, connecting goes on\"",
	         STR_ARG(buf_str(&line)));
	buf_done(&line);
}

/* Log when the error of an endpoint changes, not for every attempt. */
static void rds_on_down(void *ctx, struct str why, uint64_t retry_ms)
{
	struct store_redis *s = ctx;
	const struct policy_endpoint *at = redis_link_endpoint(s->link);
	char *known = s->last_error[at - s->policy->redis.endpoints];

	rds_add_metric(s->connect_errors, 1);
	rds_set_connected(s, false);
	writes_down(s->writes);
	why = str_first(why, REDIS_WHY_MAX - 1);
	if (str_eq(why, str_c(known)))
		return;
	memcpy(known, why.p, why.len);
	known[why.len] = '\0';
	rds_log_down(at, why, retry_ms);
}

static bool rds_is_same_list(const struct policy_redis *a,
                             const struct policy_redis *b)
{
	size_t i;

	for (i = 0; a->n_endpoints == b->n_endpoints && i < a->n_endpoints; i++)
		if (!str_eq(a->endpoints[i].host, b->endpoints[i].host) ||
		    a->endpoints[i].port != b->endpoints[i].port)
			return false;
	return a->n_endpoints == b->n_endpoints;
}

/* Compared by name. If the credential behind the name was changed, its new
 * token arrives through redis_link_renew(). */
static bool rds_is_same_credential(const struct policy_credential *a,
                                   const struct policy_credential *b)
{
	return a && b ? str_eq(a->name, b->name) : a == b;
}

static bool rds_is_same_server(const struct policy_redis *a,
                               const struct policy_redis *b)
{
	return a->enabled == b->enabled && a->tls == b->tls &&
	       rds_is_same_list(a, b) && a->db == b->db &&
	       str_eq(a->username, b->username) &&
	       str_eq(a->password, b->password) &&
	       rds_is_same_credential(a->credential, b->credential) &&
	       str_eq(a->ca_file, b->ca_file);
}

/* The old policy is released last: the link and the writes borrow from it until
 * they have the new one. */
bool store_redis_configure(struct store_redis *s, struct policy *p,
                           const char **error)
{
	struct policy *old = s->policy;
	const struct policy_redis *to = &p->redis;

	if (to->enabled && to->tls && !redis_tls_can()) {
		*error = "rediss:// needs a hiredis with TLS (1.0 or later), "
			 "which this build does not have: use redis:// or a "
			 "unix socket";
		return false;
	}
	s->policy = policy_ref(p);
	lease_forget(s->lease);
	if (old && rds_is_same_server(&old->redis, to)) {
		redis_link_refer(s->link, to);
	} else {
		rds_set_connected(s, false);
		rds_clear_errors(s);
		if (to->enabled)
			redis_link_start(s->link, to);
		else
			redis_link_stop(s->link);
	}
	writes_configure(s->writes, p);
	if (!to->enabled)
		writes_give_up(s->writes);
	policy_unref(old);
	return true;
}

struct redis_link *store_redis_link(const struct store_redis *s)
{
	return s->link;
}

bool store_redis_connected(const struct store_redis *s)
{
	return redis_link_is_up(s->link);
}

size_t store_redis_pending(const struct store_redis *s)
{
	return writes_pending(s->writes);
}

void store_redis_label(struct store_redis *s, unsigned worker)
{
	char number[16];
	struct buf labels;

	if (!s->metrics)
		return;
	snprintf(number, sizeof(number), "%u", worker);
	buf_init(&labels, 64);
	metrics_label(&labels, "worker", str_c(number));
	rds_register_metrics(s, buf_str(&labels));
	buf_done(&labels);
}

struct store_redis *store_redis_new(struct loop *loop,
                                    const struct clock *clock,
                                    struct metrics *metrics)
{
	struct store_redis *s = calloc(1, sizeof(*s));
	struct redis_link_events events = {rds_on_up, rds_on_down, s};

	if (!s)
		return NULL;
	s->loop = loop;
	s->clock = clock;
	s->metrics = metrics;
	list_init(&s->calls);
	list_init(&s->waiting);
	s->link = redis_link_new(loop, clock, &events);
	s->lease = lease_new(clock);
	if (s->link && s->lease)
		s->writes = writes_new(loop, clock, s->link, rds_on_leased, s);
	if (!s->writes) {
		redis_link_free(s->link);
		lease_free(s->lease);
		free(s);
		return NULL;
	}
	return s;
}

/* The link goes first: it detaches its calls, so that nothing calls back into
 * what is freed after it. */
void store_redis_free(struct store_redis *s)
{
	if (!s)
		return;
	redis_link_free(s->link);
	loop_timer_stop(&s->deadline);
	while (!list_empty(&s->calls)) {
		struct call *c = list_entry(s->calls.next, struct call, all);

		list_del(&c->all);
		rds_call_free(c);
	}
	writes_free(s->writes);
	lease_free(s->lease);
	policy_unref(s->policy);
	free(s);
}
