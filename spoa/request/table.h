/*
 * request/table: the requests a worker is deciding.
 *
 *   requests_take -> run() -> requests_release          decided at once
 *                    run() -> requests_park             waits for an answer
 *                             requests_wake -> run()    the answer is there
 *                             deadline -> expire()      it did not come
 *
 * A reference is a slot number and a generation: it stays unique after the
 * slot was given to another request, so whoever was waiting for something on
 * behalf of a request may come back late without harm.
 *
 * A parked request is on no list but the table's own. It goes on when somebody
 * wakes it by its reference, or is handed to `expire` at its policy's decision
 * timeout, which is shorter than HAProxy's `timeout processing`.
 */
#ifndef REQUEST_TABLE_H
#define REQUEST_TABLE_H

#include "base/clock.h"
#include "base/loop.h"
#include "request/request.h"

struct requests_options {
	struct loop *loop;
	const struct clock *clock;
	size_t max; /* requests at once */
	/* Go on with a request that was woken; r->woken is set. */
	void (*run)(struct request *r);
	/* Its time is up: it must be released before this returns. */
	void (*expire)(struct request *r);
};

/* Memory for requests is taken as they come and kept for reuse. NULL without
 * memory. */
struct requests *requests_new(const struct requests_options *o);
void requests_free(struct requests *t);

/* A zeroed request with its ref, table, start time and an empty arena; NULL
 * when all places are taken or there is no memory. */
struct request *requests_take(struct requests *t);

/* The request ends: its ref finds nothing from now on. It gives back its
 * identity and policy, waits for nothing any more, and its memory is wiped. */
void requests_release(struct request *r);

/* NULL when that request has ended. */
struct request *requests_find(const struct requests *t, uint64_t ref);

/* The one that was taken first, NULL when there is none. */
struct request *requests_oldest(const struct requests *t);

size_t requests_count(const struct requests *t);

/* The request waits, and its deadline runs. `waits_for` is a constant: what
 * the caller is told when nobody wakes it in time. */
void requests_park(struct request *r, const char *waits_for);

/* Run a parked request again; does nothing when it has ended or runs. The
 * form that waiters call: `table` is the struct requests. */
void requests_wake(void *table, uint64_t ref);

/* r->wait, filled in so that it wakes this request. */
struct waiter *requests_waiter(struct request *r);

#endif
