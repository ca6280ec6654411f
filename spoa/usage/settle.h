/*
 * usage/settle: the end of a request - exactly once.
 *
 *   udp -> record_parse -> memory? redis? -> settled | unknown
 *                                              |
 *                       log line, counters, learned bytes per token, ledger
 *
 * A record settles the reservation with its id wherever that is: in this
 * process, or in Redis, made by any worker of any node.
 */
#ifndef USAGE_SETTLE_H
#define USAGE_SETTLE_H

#include "base/clock.h"
#include "base/metrics.h"
#include "store/store.h"

struct estimator;
struct health;
struct ledger;
struct objects;
struct open_reservations;
struct settlement;

/* What settling uses. Filled in by the owner, who keeps all of it alive. */
struct settler {
	const struct clock *clock;
	struct metrics *metrics;
	unsigned n_workers;
	struct policy *policy; /* in force; each settlement holds its own */
	struct store_memory *memory;
	struct store_redis *redis;
	struct open_reservations *open;
	struct objects *objects;
	struct estimator *estimator;
	struct health *health;
	struct ledger *ledger;

	struct settlement *settlements; /* private: waiting for the store */
};

/* One datagram from HAProxy's log target; the form net/udp calls. */
void settle_datagram(void *settler, struct str datagram);

/* The worker ends: nobody waits for the store's answers any more. */
void settle_forget(struct settler *s);

#endif
