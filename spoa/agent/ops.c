/*
 * ops: what operators, orchestrators and HAProxy ask over HTTP.
 *
 *   net/http --ops_get--> /metrics  ops_get_metrics   all workers
 *                         /readyz   ops_get_ready     all workers
 *                         /healthz                    the loop turns
 *                         /blocked  ops_get_blocked   this worker
 *
 * The workers share the listening socket, so each question goes to any of them.
 * What must hold for all is therefore kept in shared memory: each worker writes
 * its gauges there, and the one that is asked reads those of the others.
 */
#include "agent/ops.h"

#include "agent/agent.h"
#include "request/table.h"
#include "store/blocked.h"
#include "store/open_reservations.h"

/* The cell of a gauge that differs between workers. */
static struct metric *ops_worker_gauge(const struct agent *a, const char *name,
                                       unsigned worker)
{
	char space[32];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	metrics_worker(&labels, worker);
	return metrics_get(a->metrics, name, buf_str(&labels));
}

void ops_update_gauges(struct agent *a)
{
	const char *why;

	metric_set(ops_worker_gauge(a, "foundry_worker_ready", a->worker),
	           agent_ready(a, &why));
	metric_set(ops_worker_gauge(a, "foundry_inflight_requests", a->worker),
	           (int64_t)requests_count(a->requests));
	metric_set(ops_worker_gauge(a, "foundry_spop_connections", a->worker),
	           (int64_t)conns_count(a->conns));
	metric_set(
		metrics_get(a->metrics, "foundry_reservations_open", STR_NONE),
		(int64_t)open_reservations_count(a->open));
}

/* The gauges of this worker are brought up to date first; those of the others
 * are at most a second old. */
static void ops_get_metrics(struct agent *a, struct http_reply *reply)
{
	ops_update_gauges(a);
	reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
	metrics_print(a->metrics, &reply->body);
}

/* An orchestrator sends traffic to the process, not to a worker: one worker
 * that is not ready makes all of it not ready. */
static void ops_get_ready(struct agent *a, struct http_reply *reply)
{
	const char *why = "another worker is not ready yet";
	unsigned i;

	ops_update_gauges(a);
	if (!agent_ready(a, &why)) {
		reply->status = 503;
		buf_fmt(&reply->body, "not ready: %s\n", why);
		return;
	}
	for (i = 0; i < a->n_workers; i++)
		if (!metric_value(
			    ops_worker_gauge(a, "foundry_worker_ready", i))) {
			reply->status = 503;
			buf_fmt(&reply->body, "not ready: worker %u\n", i);
			return;
		}
	buf_add_str(&reply->body, STR("ready\n"));
}

/* For HAProxy (lua/blocked.lua), which keeps its list while the answer is 503.
 * Needs no authentication: it has names of callers, which the log has, too, and
 * the listener is meant for the host itself. */
static void ops_get_blocked(struct agent *a, struct http_reply *reply)
{
	if (blocked_print(a->blocked, &reply->body))
		return;
	reply->status = 503;
	buf_add_str(&reply->body, STR("not read from Redis yet\n"));
}

bool ops_get(void *agent, struct str path, struct http_reply *reply)
{
	struct agent *a = agent;

	reply->status = 200;
	reply->content_type = "text/plain; charset=utf-8";
	if (str_eq(path, STR("/metrics")))
		ops_get_metrics(a, reply);
	else if (str_eq(path, STR("/blocked")))
		ops_get_blocked(a, reply);
	else if (str_eq(path, STR("/healthz")))
		buf_add_str(&reply->body, STR("alive\n"));
	else if (str_eq(path, STR("/readyz")))
		ops_get_ready(a, reply);
	else
		return false;
	return true;
}
