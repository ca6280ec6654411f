/*
 * store/open_reservations: what was allowed, until HAProxy says how it ended.
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
 * record of a request reaches any of them. It has OPEN_RESERVATIONS_MAX places,
 * each id may be in OPEN_RESERVATIONS_WAYS of them. When these are taken the
 * oldest goes: should its decision not arrive, the reservation keep charged
 * with the estimate. So it is when a worker is killed within one of these calls
 * and the others find the places locked; they take the lock over when it is
 * gone.
 */
#ifndef STORE_OPEN_RESERVATIONS_H
#define STORE_OPEN_RESERVATIONS_H

#include "base/str.h"

enum {
	OPEN_RESERVATIONS_WAYS = 8,
	OPEN_RESERVATIONS_MAX = 2048 * OPEN_RESERVATIONS_WAYS,
	OPEN_RESERVATION_TEXT_MAX = 384, /* of account, consumer and model */
};

struct open_reservations;

/* Who has a reservation, and where it is. */
struct open_reservation {
	struct str account, consumer, model;
	int worker; /* in whose memory it is counted; -1: in Redis */
};

/* One that was found, with its text. */
struct open_reservation_copy {
	struct open_reservation to;
	char text[OPEN_RESERVATION_TEXT_MAX];
};

/* The table in anonymous shared memory; NULL when it cannot be had. */
struct open_reservations *open_reservations_new(void);
void open_reservations_free(struct open_reservations *t);

/* A request will be allowed. False: HAProxy does not wait for it any more. The
 * names are copied; what does not fit is not remembered. `now_us` is monotonic,
 * the same clock for all workers. */
bool open_reservations_add(struct open_reservations *t, struct str id,
                           const struct open_reservation *to, uint64_t now_us);

/* Its end is known, or it was not allowed after all. False: it is not there;
 * *out, which may be NULL, is untouched then. */
bool open_reservations_remove(struct open_reservations *t, struct str id,
                              struct open_reservation_copy *out);

/* As take, but it keep. */
bool open_reservations_find(struct open_reservations *t, struct str id,
                            struct open_reservation_copy *out);

/* HAProxy has ended a request that it has no decision for. True: it had been
 * allowed, *out tells for whom, and it is forgotten. False: it was not, so
 * far: open_reservations_add() will say so. */
bool open_reservations_abandon(struct open_reservations *t, struct str id,
                               struct open_reservation_copy *out,
                               uint64_t now_us);

/* To be called about once a second: forgets what is older than the record in
 * the store, part by part. The number of those that had been allowed: nothing
 * has settled them, and nothing can any more. */
size_t open_reservations_sweep(struct open_reservations *t, uint64_t now_us);

/* Allowed, and the end is not known. */
size_t open_reservations_count(const struct open_reservations *t);

#endif
