/*
 * agent: one worker, and everything it owns.
 *
 *                 +--------------------- agent ----------------------+
 *   HAProxy SPOP  | conns -> on_notify -> decide/pipeline -> ACK      |
 *                 |                    -> decide/ownership            |
 *                 |                    -> upstream/feedback           |
 *   HAProxy log   | udp   -> usage/settle                             |
 *   Prometheus    | http  -> agent/ops: /metrics /healthz /readyz     |
 *                 | keys: jwks, inbound, outbound   store: mem, redis |
 *                 +---------------------------------------------------+
 *
 * One thread, one loop. This is the only folder that includes everything: the
 * modules below get what they need in a struct of their own (struct decider,
 * settler, feedback), whose pointers are filled in here. Nothing else in the
 * program is global.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "conf/policy.h"
#include "decide/decider.h"
#include "net/http.h"
#include "net/udp.h"
#include "upstream/feedback.h"
#include "usage/settle.h"

struct fetch; /* net/fetch: HTTP exchanges of this worker */
struct jwks;  /* keys/jwks: signing keys of the tenants */

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
	struct open_reservations *open;
};

struct agent {
	struct loop *loop;
	const struct clock *clock;
	struct metrics *metrics;
	struct open_reservations *open;
	unsigned worker;       /* number of this one, from 0 */
	unsigned n_workers;    /* as at the start */
	struct policy *policy; /* in force, referenced */

	/* what the layers below may use of all this */
	struct decider decider;
	struct settler settler;
	struct feedback feedback;

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

	struct requests *requests;
	struct conns *conns;
	struct udp *udp;
	struct http *http;
	struct loop_timer tick; /* once a second: gauges */
	struct loop_signal sigterm, sigint, sighup;
	struct loop_timer lines; /* of the log that wait to be written */
	struct loop_timer drain_limit;
	bool draining;
	bool conns_drained;

	struct metric *expired; /* reservations that nothing settled */
};

/* Build a worker around a policy (a reference is taken). NULL after logging
 * why. */
struct agent *agent_new(struct policy *p, const struct agent_sockets *s,
                        const struct agent_shared *shared, unsigned worker,
                        unsigned n_workers);
void agent_free(struct agent *a);

/* Serve until SIGTERM or SIGINT, then drain: no new connections, every open
 * decision answered, pending settlements sent (for at most ten seconds). */
void agent_run(struct agent *a);

/* Hand a policy to everybody who keeps something of it; the caller keeps its
 * reference. False, after logging why, when one of them cannot: hand out the
 * old one again. */
bool agent_configure(struct agent *a, struct policy *p);

/* Keys loaded, outbound tokens held, Redis there where it is required. */
bool agent_ready(const struct agent *a, const char **why_not);

#endif
