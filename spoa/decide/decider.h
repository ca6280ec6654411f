/*
 * decide/decider: what the steps of a worker may use.
 *
 * Filled in by agent/agent, which owns all of it and outlives every request.
 * Nothing here belongs to one request.
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
struct outbound;          /* keys/outbound: credentials of resources */

struct decider {
	struct loop *loop;
	const struct clock *clock;
	struct metrics *metrics;
	unsigned worker;       /* number of this one, from 0 */
	struct policy *policy; /* in force; each request holds its own */

	struct conns *conns;
	struct requests *requests;
	struct inbound *inbound;
	struct outbound *outbound;
	struct objects *objects;
	struct blocked *blocked;
	struct store_memory *memory;
	struct store_redis *redis;
	struct open_reservations *open;
	struct estimator *estimator;
	struct health *health;

	/* series that every request touches */
	struct metric_histogram decision_time;
	struct metric_histogram step_time[REQUEST_N_STEPS];
};

#endif
