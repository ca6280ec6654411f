/*
 * decide/decider: what the steps of a worker may use.
 *
 * One per worker. agent/agent fills it in (lend_parts), owns all that it points
 * to and outlives every request. Nothing here belongs to one request. It lets
 * decide/ work without including agent/, which is above it.
 */
#ifndef DECIDE_DECIDER_H
#define DECIDE_DECIDER_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "conf/policy.h"
#include "net/conn.h"
#include "request/request.h"
#include "store/store.h"

struct blocked;           /* store/blocked: callers that operators block */
struct estimator;         /* usage/estimator: bytes per token by model */
struct health;            /* upstream/health: circuit breaker */
struct inbound;           /* keys/inbound: tokens and gateway keys */
struct objects;           /* store/objects: who owns which id */
struct open_reservations; /* store/open_reservations: allowed, not ended */
struct seal;              /* usage/seal: proves tickets */
struct outbound;          /* keys/outbound: credentials of resources */

struct decider {
	struct loop *loop;
	const struct clock *clock;
	struct metrics *metrics;
	unsigned worker; /* number of this one, from 0 */
	/* In force, for requests that begin now; agent_configure() replaces it
	 * on reload. A request holds the one it began with: a step reads
	 * r->policy, never this. */
	struct policy *policy;

	struct conns *conns;         /* pipeline, ownership: ACKs */
	struct requests *requests;   /* pipeline */
	struct inbound *inbound;     /* authenticate */
	struct outbound *outbound;   /* credential */
	struct objects *objects;     /* lookup, ownership */
	struct blocked *blocked;     /* reserve, while Redis is away */
	struct store_memory *memory; /* reserve */
	struct store_redis *redis;   /* reserve; there without a Redis, too */
	struct open_reservations *open; /* pipeline, reserve; shared memory */
	struct estimator *estimator;    /* estimate */
	struct health *health;          /* route */
	const struct seal *seal;        /* answer */

	/* Series that every request touches, so that their names are looked up
	 * once (decision_log). */
	struct metric_histogram decision_time;
	struct metric_histogram step_time[REQUEST_N_STEPS];
};

#endif
