/*
 * agent: one worker, and everything it owns.
 *
 *                 +--------------------- agent ---------------------+
 *   HAProxy SPOP  | conns -> requests -> decide/pipeline -> ACK      |
 *   HAProxy log   | udp   -> usage/intake -> usage/settle            |
 *   Prometheus    | http  -> /metrics /healthz /readyz               |
 *                 | keys: jwks, inbound, outbound   store: mem, redis |
 *                 +--------------------------------------------------+
 *
 * One thread, one loop. Steps reach what they need through their request's
 * `agent`; nothing else in the program is global.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/metrics.h"
#include "conf/policy.h"
#include "keys/inbound.h"
#include "keys/outbound.h"
#include "net/conn.h"
#include "net/http.h"
#include "net/udp.h"
#include "request/table.h"
#include "store/store.h"
#include "usage/ledger.h"

struct blocked;    /* store/blocked: whose streams are cut */
struct open_reservations;    /* usage/open_reservations: allowed, and not ended */
struct estimator;    /* decide/estimate: bytes per token by model */
struct settlement; /* usage/settle: on its way to the store and back */
struct health;    /* decide/route: deployments to leave alone for a while */

/* Sockets opened before the workers are forked; -1 where there is none. */
struct agent_sockets {
	int spop[8];
	size_t n_spop;
	int usage;
	int http;
};

/* What all workers of one process have together. */
struct agent_shared {
	struct metrics *metrics;
	struct open_reservations *open_reservations;
};

struct agent {
	struct loop *loop;
	const struct clock *clock;
	struct metrics *metrics;
	struct open_reservations *open_reservations;
	unsigned worker;       /* number of this one, from 0 */
	unsigned n_workers;    /* as at the start */
	struct policy *policy; /* the current one; requests hold their own */

	struct fetch *fetch;
	struct jwks *jwks;
	struct inbound *inbound;
	struct outbound *outbound;
	struct store_memory *memory;
	struct store_redis *redis;
	struct ledger *ledger;
	struct objects *objects;
	struct blocked *blocked;
	struct estimator *estimator;
	struct health *health;

	struct settlement *settlements;

	struct requests *requests;
	struct conns *conns;
	struct udp *udp;
	struct http *http;
	struct loop_timer deadline; /* of the oldest parked request */
	struct loop_timer tick;     /* once a second: gauges */
	struct loop_signal sigterm, sigint, sighup;
	struct loop_timer lines; /* of the log that wait to be written */
	struct loop_timer drain_limit;
	bool draining;
	bool conns_drained;

	struct metric *expired; /* reservations that nothing settled */
	/* series that every request touches */
	struct metric_histogram decision_time;
	struct metric_histogram step_time[REQUEST_N_STEPS];
};

/* Build a worker around a policy (a reference is taken). NULL after logging
 * why. */
struct agent *agent_new(struct policy *p, const struct agent_sockets *s,
                        const struct agent_shared *shared, unsigned worker);
void agent_free(struct agent *a);

/* Serve until SIGTERM or SIGINT, then drain: no new connections, every open
 * decision answered, pending settlements sent (for at most ten seconds). */
void agent_run(struct agent *a);

/* SIGHUP: read the file again. A bad file changes nothing. */
void agent_reload(struct agent *a);

/* Keys loaded, outbound tokens held, Redis there where it is required. */
bool agent_ready(const struct agent *a, const char **why_not);

#endif
