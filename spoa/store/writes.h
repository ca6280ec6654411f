/*
 * store/writes: what must reach Redis, on its way there.
 *
 *   reserve,         +-> later -+
 *   settle,          |          v
 *   cancel --------> queued <--> sent --> answered
 *
 * A write stays until Redis has answered it: when the connection breaks it
 * goes back to the head of the queue, so all are sent in the order in which
 * they came. Sending one twice is harmless: it counts once, and Redis knows for
 * a minute which one it was that has counted, so the second answer is that of
 * the first. After an outage the queue is sent at a bounded rate, so that the
 * node's own requests get through.
 */
#ifndef STORE_WRITES_H
#define STORE_WRITES_H

#include "store/redis_link.h"
#include "store/store.h"

enum { WRITES_PATIENCE = 8 };

struct writes;

/* NULL cells are not counted. */
struct writes_metrics {
	struct metric *pending;
	struct metric *dropped;
	struct metric *errors, *reserve_errors;
	struct metric_histogram *seconds;
};

/* A reserve has ended: answered, when it was `sent_us`; or res is NULL and
 * nobody knows whether it has counted. `r` is valid during the call. */
typedef void writes_reserved_cb(void *ctx, const struct store_reservation *r,
                                const struct store_result *res,
                                uint64_t sent_us);

struct writes *writes_new(struct loop *loop, const struct clock *clock,
                          struct redis_link *link, writes_reserved_cb *cb,
                          void *ctx);
void writes_free(struct writes *s); /* without callbacks */

void writes_measure(struct writes *s, const struct writes_metrics *m);

/* Under this policy, whose strings are borrowed until the next call. */
void writes_configure(struct writes *s, const struct policy *p);

/* Whether a write would be sent now: the connection is there and nothing waits
 * before it. */
bool writes_go_at_once(const struct writes *s);

/* What was admitted without asking: forced, see redis_args_reserve(). False: no
 * memory, nothing has happened. Copied. */
bool writes_reserve(struct writes *s, const struct store_reservation *r);

/* Zero use of a reserve of which nobody knows whether Redis has seen it: leaves
 * a mark, so that it takes nothing when it comes after this. */
void writes_cancel(struct writes *s, struct str account, struct str id);

/* False: there were STORE_PENDING_MAX, or no memory; it is dropped and
 * counted, and cb does not run. The names and the note are copied.
 *
 * Where limits are leased it may find no record because the reserve of another
 * process comes late: it then asks again, WRITES_PATIENCE times, mostly a
 * second apart. */
bool writes_settle(struct writes *s, struct str account, struct str id,
                   const struct store_usage *used, store_settle_cb *cb,
                   void *ctx);

/* The connection is there / is gone. */
void writes_up(struct writes *s);
void writes_down(struct writes *s);

/* There will be no connection: all that wait end as STORE_FAILED. */
void writes_give_up(struct writes *s);

/* Without an answer yet. */
size_t writes_pending(const struct writes *s);

#endif
