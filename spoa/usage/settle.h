/*
 * usage/settle: the end of a request - exactly once.
 *
 *   net/udp -> settle_datagram -> record_parse -> what is it?
 *                 |                                  |
 *                 | nothing to settle                | an allowed request ended
 *                 v                                  v
 *              counted                     usage/settlement -> store -> ledger
 *
 * A record settles the reservation with its id wherever that is: in the memory
 * of this process, or in Redis, made by any worker of any node.
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
struct seal;
struct settlement;

/* What settling uses. Filled in by the owner, who keeps all of it alive until
 * settle_forget(). */
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
	const struct seal *seal;

	/* private; zero at first */
	struct settlement *settlements; /* waiting for the store */
	bool other_version;             /* the last change that was logged */
	uint64_t other_version_us;      /* when such a line came last */
};

/* One datagram from HAProxy's log target, in the form that net/udp calls:
 * `settler` is a struct settler. The datagram is not kept. */
void settle_datagram(void *settler, struct str datagram);

/* The worker ends: settlements that wait for the store are dropped. What the
 * store has been told of them still counts there. */
void settle_forget(struct settler *s);

#endif
