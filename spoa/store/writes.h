/*
 * store/writes: queue of the writes that Redis must execute, with retries.
 *
 *   writes_reserve ---+
 *   writes_settle  ---+-> queued --wr_send--> sent --answer--> end
 *   writes_cancel  ---+      ^                 |
 *                            +--lost, error----+   (back to the head)
 *                            +------ retry <---+   (settle without a record)
 *
 * A write stays until Redis has answered it. When the connection breaks, the
 * writes that were sent go back to the head of the queue, so the order of
 * arrival is kept: a settle never overtakes a reserve of the same process.
 * Sending a write twice is harmless. It takes effect once, and for a minute
 * Redis knows the token of the settle that took effect, so a repeated settle
 * gets the same answer. After an outage the queue is sent at a bounded rate, so
 * that the reserves of new requests are answered before their deadline.
 */
#ifndef STORE_WRITES_H
#define STORE_WRITES_H

#include "store/redis_link.h"
#include "store/store.h"

/* Number of times a settle that finds no record is repeated: 7 s in sum. */
enum { WRITES_PATIENCE = 8 };

struct writes;

/* Cells in the shared metrics; NULL: not counted. */
struct writes_metrics {
	struct metric *pending; /* gauge: writes without an answer */
	struct metric *dropped;
	struct metric *errors, *reserve_errors; /* errors that Redis returned */
	struct metric_histogram *seconds;       /* from send to answer */
};

/* A queued reserve has ended. `res` is the answer of Redis to what was sent at
 * `sent_us` (monotonic); NULL: it failed, and whether it took effect is
 * unknown. `r` is valid during the call. */
typedef void writes_reserved_cb(void *ctx, const struct store_reservation *r,
                                const struct store_result *res,
                                uint64_t sent_us);

/* `loop`, `clock` and `link` are borrowed. `cb` is called at the end of each
 * writes_reserve(). NULL without memory. */
struct writes *writes_new(struct loop *loop, const struct clock *clock,
                          struct redis_link *link, writes_reserved_cb *cb,
                          void *ctx);

/* Calls no callback. Free the link before: its calls point to the writes. */
void writes_free(struct writes *s);

void writes_measure(struct writes *s, const struct writes_metrics *m);

/* Take key prefix, ledger size and lease mode from a policy. Its strings are
 * borrowed until the next call. */
void writes_configure(struct writes *s, const struct policy *p);

/* Whether a write would be sent now: the connection is up, the queue is empty,
 * and its maximum is not reached. */
bool writes_go_at_once(const struct writes *s);

/* Queue the reserve of a request that was admitted by store/lease; see `forced`
 * in redis_args_reserve(). Copied. False without memory; nothing has changed
 * then. */
bool writes_reserve(struct writes *s, const struct store_reservation *r);

/* Queue a settle with zero use, for a reserve whose answer was lost. If Redis
 * has not seen that reserve yet, a mark is left under its id, and the reserve
 * takes nothing when it is executed after this. */
void writes_cancel(struct writes *s, struct str account, struct str id);

/* Queue a settle; cb (may be NULL) runs at its end. False: STORE_PENDING_MAX is
 * reached or there is no memory; the settle is dropped and counted, and cb does
 * not run. The names and the note are copied.
 *
 * In lease mode the reserve of another process may reach Redis after the
 * settle. A settle that finds no record is therefore repeated up to
 * WRITES_PATIENCE times: once after 100 ms, then every second. */
bool writes_settle(struct writes *s, struct str account, struct str id,
                   const struct store_usage *used, store_settle_cb *cb,
                   void *ctx);

/* The connection is up, or down. */
void writes_up(struct writes *s);
void writes_down(struct writes *s);

/* The new policy has no Redis: all queued writes end with STORE_FAILED and
 * count as dropped. */
void writes_give_up(struct writes *s);

/* Number of writes without an answer: queued, sent, and waiting for a repeat.
 */
size_t writes_pending(const struct writes *s);

#endif
