/*
 * store/settles: what was really used, on its way to Redis.
 *
 *   add --> queued <--> sent --> answered
 *
 * A settle stays until Redis has answered it: when the connection breaks it
 * goes back to the queue. Sending one twice is harmless, the second finds no
 * record. After an outage the queue is sent at a bounded rate, so that the
 * node's own requests get through.
 */
#ifndef STORE_SETTLES_H
#define STORE_SETTLES_H

#include "store/redis_link.h"
#include "store/store.h"

struct settles;

/* NULL cells are not counted. */
struct settles_metrics {
	struct metric *pending;
	struct metric *dropped;
	struct metric *errors;
	struct metric_histogram *seconds;
};

struct settles *settles_new(struct loop *loop, const struct clock *clock,
                            struct redis_link *link);
void settles_free(struct settles *s); /* without callbacks */

void settles_measure(struct settles *s, const struct settles_metrics *m);

/* The keys' prefix, borrowed until the next call, and how many notes the ledger
 * of an account keeps, about; 0: none is written. */
void settles_configure(struct settles *s, struct str prefix,
                       uint64_t ledger_max);

/* Zero use of a reserve of which nobody knows whether Redis has seen it: leaves
 * a mark, so that it takes nothing when it comes after this. */
void settles_cancel(struct settles *s, struct str account, struct str id);

/* False: there were STORE_PENDING_MAX, or no memory; it is dropped and
 * counted, and cb does not run. The names and the note are copied. */
bool settles_add(struct settles *s, struct str account, struct str id,
                 const struct store_usage *used, store_settle_cb *cb,
                 void *ctx);

/* The connection is there / is gone. */
void settles_up(struct settles *s);
void settles_down(struct settles *s);

/* There will be no connection: all that wait end as STORE_FAILED. */
void settles_give_up(struct settles *s);

/* Without an answer yet. */
size_t settles_pending(const struct settles *s);

#endif
