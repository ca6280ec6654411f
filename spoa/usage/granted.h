/*
 * usage/granted: what was allowed, until HAProxy says how it ended.
 *
 *   decide/pipeline --put--> table <--take-- usage/settle, a usage record
 *                              ^
 *                              +--abandon-- a record without a decision
 *
 * When HAProxy stops waiting for a decision (the client has hung up, or the
 * agent was too slow), its record has the id and nothing of what was decided.
 * Nothing was sent to a resource then: without a verdict HAProxy refuses. Here
 * stands whose reservation that id has, so that it is given back. The record
 * may also come first, while Redis or a key is still waited for: it leaves a
 * mark, and the decision finds out that it reaches nobody.
 *
 * One table in shared memory, made before the workers are forked, because the
 * record of a request reaches any of them. It has GRANTED_MAX places, each id
 * may be in GRANTED_WAYS of them. When these are taken the oldest goes: should
 * its decision not arrive, the reservation stays charged with the estimate. So
 * it is when a worker is killed within one of these calls and the others find
 * the places locked; they take the lock over when it is gone.
 */
#ifndef USAGE_GRANTED_H
#define USAGE_GRANTED_H

#include "base/str.h"

enum {
	GRANTED_WAYS = 8,
	GRANTED_MAX = 2048 * GRANTED_WAYS,
	GRANTED_TEXT_MAX = 384, /* of account, consumer and model */
};

struct granted;

/* Who has a reservation, and where it is. */
struct granted_to {
	struct str account, consumer, model;
	int worker; /* in whose memory it is counted; -1: in Redis */
};

/* One that was found, with its text. */
struct granted_found {
	struct granted_to to;
	char text[GRANTED_TEXT_MAX];
};

/* The table in anonymous shared memory; NULL when it cannot be had. */
struct granted *granted_new(void);
void granted_free(struct granted *g);

/* A request will be allowed. False: HAProxy does not wait for it any more. The
 * names are copied; what does not fit is not remembered. `now_us` is monotonic,
 * the same clock for all workers. */
bool granted_put(struct granted *g, struct str id, const struct granted_to *to,
                 uint64_t now_us);

/* Its end is known, or it was not allowed after all. False: it is not there;
 * *out, which may be NULL, is untouched then. */
bool granted_take(struct granted *g, struct str id, struct granted_found *out);

/* As take, but it stays. */
bool granted_find(struct granted *g, struct str id, struct granted_found *out);

/* HAProxy has ended a request that it has no decision for. True: it had been
 * allowed, *out tells for whom, and it is forgotten. False: it was not, so
 * far: granted_put() will say so. */
bool granted_abandon(struct granted *g, struct str id,
                     struct granted_found *out, uint64_t now_us);

/* To be called about once a second: forgets what is older than the record in
 * the store, part by part. The number of those that had been allowed: nothing
 * has settled them, and nothing can any more. */
size_t granted_sweep(struct granted *g, uint64_t now_us);

/* Allowed, and the end is not known. */
size_t granted_count(const struct granted *g);

#endif
