/*
 * store/lease: a cache of the last answers of Redis per limit, from which this
 * process may admit a request without asking Redis first.
 *
 *   answers of Redis --lease_learn--> cache <--lease_take-- a request
 *                                       |
 *       unconfirmed amounts <-----------+ admitted here: store/writes sends
 *               |                         the reserve
 *               +--lease_confirm: Redis has answered that reserve
 *
 * A request is admitted here only if all of its limits are in mode lease, Redis
 * said within the last LEASE_FRESH_MS that its caller is not blocked, and for
 * each limit, by an answer of the same age,
 *
 *   amount               <= limit
 *   unconfirmed + amount <= remaining
 *   unconfirmed + amount <= share * limit
 *
 * Otherwise Redis must be asked. This module admits or abstains; it never
 * refuses, so a refusal and its Retry-After always come from Redis.
 *
 * Upper bound of what is admitted too much. Redis reads the writes of a process
 * in order and answers each with the amount that remains. As soon as a write
 * takes a limit below zero, the answers to it and to all later ones show that,
 * and a process that has seen one admits no more. What it had admitted until
 * then without an answer is at most share * limit. Therefore at no time more
 * than limit + processes * share * limit is reserved.
 */
#ifndef STORE_LEASE_H
#define STORE_LEASE_H

#include "base/clock.h"
#include "store/store.h"

enum {
	/* Age of an answer after which Redis must be asked again. A changed
	 * amount or a block takes effect in lease mode within this time. */
	LEASE_FRESH_MS = 1000,
	LEASE_KNOWN_MAX = 8192, /* entries: limits and callers; about 200 bytes
	                         * each plus the key */
};

struct lease;

/* `clock` is borrowed and outlives it. NULL without memory. */
struct lease *lease_new(const struct clock *clock);
void lease_free(struct lease *l); /* accepts NULL */

/* True: the request is admitted, its amounts count as unconfirmed until
 * lease_confirm(), and *res has the values that Redis would answer as far as
 * they are known. False: nothing has changed, Redis must be asked. */
bool lease_take(struct lease *l, const struct store_reservation *r,
                struct store_result *res);

/* The write of a taken reservation has ended: Redis has it, or never will. Call
 * it once per lease_take(). */
void lease_confirm(struct lease *l, const struct store_reservation *r);

/* Store an answer of Redis to a reserve that was sent at `asked_us` (monotonic
 * clock). Only the remaining amounts count, and whether the status is
 * STORE_BLOCKED. Call it in the order of the answers. */
void lease_learn(struct lease *l, const struct store_reservation *r,
                 const struct store_result *res, uint64_t asked_us);

/* Drop all cached answers: a new connection, a new policy, or a reserve whose
 * outcome is unknown. Unconfirmed amounts stay, until they are confirmed. */
void lease_forget(struct lease *l);

/* Number of entries, for tests. */
size_t lease_known(const struct lease *l);

#endif
