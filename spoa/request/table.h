/*
 * request/table: the requests that a worker is deciding.
 *
 *   requests_take -> run() -> requests_release           decided at once
 *                    run() -> requests_park              waits for an answer
 *                             requests_wake -> run()     the answer is there
 *                             deadline      -> expire()  it did not come
 *
 * A reference is a slot number and the slot's generation. The generation grows
 * when the slot is taken and when it is given back, so a reference is never
 * used twice: an answer that comes after its request has ended finds nothing.
 *
 * A parked request stays in the table and is run again by whoever has its
 * reference: a waiter of keys/, a callback of store/, a timer. If nobody wakes
 * it, it is handed to `expire` when the decision_timeout_ms of its policy has
 * passed since it was taken. That is to be shorter than HAProxy's `timeout
 * processing` (spoe-gateway.conf), so that the caller gets the agent's refusal
 * and not HAProxy's.
 *
 * One table per worker, used by that worker's loop only. run() and expire()
 * are up-calls into decide/pipeline.
 */
#ifndef REQUEST_TABLE_H
#define REQUEST_TABLE_H

#include "base/clock.h"
#include "base/loop.h"
#include "request/request.h"

struct requests_options {
	struct loop *loop;         /* borrowed, like the clock */
	const struct clock *clock; /* the monotonic one is read */
	size_t max;                /* requests at once; at least 1 */
	/* Go on with a request that was woken; r->woken is set. */
	void (*run)(struct request *r);
	/* The time of a parked request is up. It must be released before this
	 * returns. */
	void (*expire)(struct request *r);
};

/* Memory for a request is taken when it is first needed and kept for reuse.
 * `o` is copied. NULL without memory. */
struct requests *requests_new(const struct requests_options *o);

/* Releases all requests without an answer; accepts NULL. */
void requests_free(struct requests *t);

/* A request with its ref, table and start time, an empty arena, and all else
 * zeroed but r->mem. The caller sets r->policy before it parks the request.
 * NULL when `max` requests are there or there is no memory. */
struct request *requests_take(struct requests *t);

/* The request ends: its ref finds nothing from now on. It leaves the list of
 * its waiter, its timer stops, it gives back its identity and policy, and what
 * its arena held is wiped. `r` must not be used after it. */
void requests_release(struct request *r);

/* NULL when that request has ended. */
struct request *requests_find(const struct requests *t, uint64_t ref);

/* The one that was taken first, NULL when there is none. */
struct request *requests_oldest(const struct requests *t);

size_t requests_count(const struct requests *t);

/* The request waits from now on; the step that calls this returns STEP_PARKED
 * at once. `waits_for` is a constant ("signing keys") that ends up in the
 * message to the caller when nobody wakes the request in time. */
void requests_park(struct request *r, const char *waits_for);

/* Run a parked request again; does nothing when it has ended or is not parked.
 * The request may have been released when this returns. The arguments are
 * those of struct waiter's `wake`: `table` is the struct requests. */
void requests_wake(void *table, uint64_t ref);

/* r->wait, filled in so that it wakes this request. A request has one waiter,
 * so it can be in one list at a time. */
struct waiter *requests_waiter(struct request *r);

#endif
