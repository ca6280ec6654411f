/*
 * agent: one worker, and everything it owns.
 *
 *                 +---------------------- agent ----------------------+
 *   HAProxy SPOP  | conns -> agt_on_notify -> decide/pipeline -> ACK  |
 *                 |                        -> decide/ownership        |
 *                 |                        -> upstream/feedback       |
 *   HAProxy log   | udp   -> usage/settle                             |
 *   operators     | http  -> agent/ops: /metrics /healthz /readyz     |
 *   lua/blocked   |                     /blocked                      |
 *                 | keys: jwks, inbound, outbound   store: mem, redis |
 *                 +---------------------------------------------------+
 *
 * A worker is a process with one thread and one loop, so nothing in it is
 * locked. What workers share is in struct agent_shared (shared memory) and in
 * Redis. This is the only folder that includes everything: the modules below
 * get what they use in a struct of their own (struct decider, settler,
 * feedback), whose pointers are filled in here. There are no other mutable
 * globals than those of base/log.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "conf/policy.h"
#include "decide/decider.h"
#include "net/http.h"
#include "net/udp.h"
#include "upstream/feedback.h"
#include "usage/seal.h"
#include "usage/settle.h"

struct fetch;      /* net/fetch: HTTP exchanges of this worker */
struct shared_key; /* store/shared_key: seals the tickets of all nodes */
struct jwks;       /* keys/jwks: signing keys of the tenants */

/* Sockets opened before the workers are forked, and shared by them; -1 where
 * there is none. */
struct agent_sockets {
	int spop[8]; /* listening; eight is what conns_listen() takes */
	size_t n_spop;
	int usage; /* UDP */
	int http;  /* listening */
};

/* What all workers of one process use together. The pointers are to shared
 * memory. */
struct agent_shared {
	/* made at the start, never told: seals tickets (usage/seal) */
	uint8_t seal_key[SEAL_KEY_LEN];
	struct metrics *metrics;
	struct open_reservations *open;
};

struct agent {
	struct loop *loop;
	const struct clock *clock;
	struct metrics *metrics;        /* shared, as `open`; borrowed */
	struct open_reservations *open; /* allowed, and the end not known */
	unsigned worker;                /* number of this one, from 0 */
	unsigned n_workers;             /* as at the start */
	struct policy *policy;          /* in force, referenced */

	/* views for the layers below: pointers to what is owned here */
	struct decider decider;
	struct settler settler;
	struct feedback feedback;

	/* parts: owned, made by agent_new(), freed by agent_free() */
	struct fetch *fetch;
	struct jwks *jwks;
	struct inbound *inbound;
	struct outbound *outbound;
	struct store_memory *memory;
	struct store_redis *redis;
	struct ledger *ledger;
	struct objects *objects;
	struct blocked *blocked;
	struct seal *seal;
	struct shared_key *shared_key;
	struct estimator *estimator;
	struct health *health;
	struct requests *requests;

	/* doors: what comes in from outside; owned, too */
	struct conns *conns;
	struct udp *udp;
	struct http *http;

	struct loop_timer tick; /* gauges, ledger, expired reservations */
	struct loop_signal sigterm, sigint, sighup;
	struct loop_timer lines; /* writes log lines that were held back */
	struct loop_timer drain_limit; /* ends a drain that takes too long */
	bool draining;                 /* SIGTERM came */
	bool conns_drained;            /* and HAProxy has all its answers */

	struct metric *expired; /* reservations that nothing settled */
};

/* Build a worker around a policy (a reference is taken). `shared` is borrowed
 * and outlives it. The sockets `usage` and `http` are taken over, those for
 * SPOP stay the caller's. NULL after logging why. */
struct agent *agent_new(struct policy *p, const struct agent_sockets *s,
                        const struct agent_shared *shared, unsigned worker,
                        unsigned n_workers);
void agent_free(struct agent *a); /* accepts NULL */

/* Serve until SIGTERM or SIGINT, then drain: no new connections, every open
 * decision answered, pending settlements confirmed by Redis (for at most ten
 * seconds). Handles SIGHUP meanwhile. Returns when the worker is to end. */
void agent_run(struct agent *a);

/* Put a policy in force: hand it to every part that keeps something of it, and
 * point a->policy to it. No reference is taken: the caller's is a->policy's
 * from now on. False when a part cannot take it (no memory; TLS to Redis that
 * this build does not have, which is logged): then some parts have the new one,
 * and the caller puts the old one in force again. */
bool agent_configure(struct agent *a, struct policy *p);

/* May this worker get requests: keys loaded, outbound tokens held, Redis there
 * where it is required, not draining. *why_not is a constant sentence, or NULL
 * when it is ready. */
bool agent_ready(const struct agent *a, const char **why_not);

#endif
