/*
 * store/lease: what this process knows of limits in Redis, so that it may admit
 * without waiting for them.
 *
 *   Redis's answers ---learn---> knowledge <---take--- a request
 *                                    |
 *        unconfirmed <--------- admitted here, written to Redis at once
 *             +--confirm: Redis has answered that write
 *
 * A request is admitted here only when every one of its limits is leased and,
 * by an answer to something asked at most LEASE_FRESH_MS ago, its caller was
 * not blocked and for each limit
 *
 *   amount               <= limit
 *   unconfirmed + amount <= remaining
 *   unconfirmed + amount <= share * limit
 *
 * Everything else is Redis's to decide, so nothing is ever refused here.
 *
 * The bound. Redis reads what a process writes in order, and answers with what
 * remains. From the write with which a limit falls below zero on, every answer
 * says so, and no process that has seen one admits more. What it had admitted
 * by then and Redis had not answered is at most share * limit. So no more than
 * limit + processes * share * limit is reserved at any time.
 */
#ifndef STORE_LEASE_H
#define STORE_LEASE_H

#include "base/clock.h"
#include "store/store.h"

enum {
	LEASE_FRESH_MS = 1000,
	LEASE_KNOWN_MAX = 8192, /* limits and callers */
};

struct lease;

struct lease *lease_new(const struct clock *clock);
void lease_free(struct lease *l); /* accepts NULL */

/* True: admitted, its amounts are unconfirmed from now on, and *res says what
 * Redis would, as far as is known. False: Redis must be asked; nothing has
 * changed. */
bool lease_take(struct lease *l, const struct store_reservation *r,
                struct store_result *res);

/* What was taken is in Redis, or will never be. */
void lease_confirm(struct lease *l, const struct store_reservation *r);

/* Redis has answered what was asked of it at `asked_us` (monotonic); the status
 * tells only whether the caller is blocked. In the order of the answers. */
void lease_learn(struct lease *l, const struct store_reservation *r,
                 const struct store_result *res, uint64_t asked_us);

/* Another Redis, other limits, or who knows: all must be learned anew. What is
 * unconfirmed stays so. */
void lease_forget(struct lease *l);

/* Limits and callers that take up room. */
size_t lease_known(const struct lease *l);

#endif
