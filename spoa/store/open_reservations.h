/*
 * store/open_reservations: the reservations of allowed requests, until the
 * usage record of HAProxy says how the request ended.
 *
 *   decide/pipeline --add--> table <--remove--  usage/settle: usage record
 *                              ^
 *                              +------abandon-- usage/settle: record without a
 *                                               decision
 *
 * HAProxy can stop waiting for a decision: the client hangs up, or the agent is
 * too slow. Its usage record then has the request id but no account, because
 * the variables of the decision were never set. Nothing was sent to a resource,
 * since HAProxy refuses a request without a verdict. The table maps the id to
 * the account, so that the reservation can be given back.
 *
 * That record can also arrive before the decision, while the request still
 * waits for Redis or a signing key. open_reservations_abandon() then leaves a
 * mark under the id, and open_reservations_add() finds it and reports that
 * nobody waits for the decision any more.
 *
 * The table is one block of shared memory, made before the workers are forked,
 * because the record of a request may be sent to any of them. It is
 * set-associative: OPEN_RESERVATIONS_MAX slots in sets of
 * OPEN_RESERVATIONS_WAYS, and an id can only be in the set of its hash. A full
 * set drops its oldest slot. A reservation that was dropped, and whose decision
 * does not reach HAProxy, stays charged with the estimate. Each set has a lock.
 * When a worker is killed while it holds one, the other workers take the lock
 * over; until then calls on that set report "not found".
 */
#ifndef STORE_OPEN_RESERVATIONS_H
#define STORE_OPEN_RESERVATIONS_H

#include "base/str.h"

enum {
	OPEN_RESERVATIONS_WAYS = 8,
	/* 16384 requests at once, in about 8 MB */
	OPEN_RESERVATIONS_MAX = 2048 * OPEN_RESERVATIONS_WAYS,
	/* account, consumer and model: conf allows 64 + 64 + 128 bytes, and a
	 * model that is not configured has the caller's spelling */
	OPEN_RESERVATION_TEXT_MAX = 384,
	OPEN_RESERVATION_NONCE_MAX = 36, /* a UUID as text */
};

struct open_reservations;

/* The account that is charged, and the store that has the reservation. */
struct open_reservation {
	struct str account, consumer, model;
	/* What HAProxy has told with the NOTIFY and nobody else knows: proves
	 * that a record without a decision is HAProxy's. At most
	 * OPEN_RESERVATION_NONCE_MAX bytes are compared. */
	struct str nonce;
	int worker; /* number of the worker whose memory store has it; -1:
	             * Redis has it */
};

/* Result of a look-up. The names point into `text`, so it may not be moved;
 * the nonce is not told. */
struct open_reservation_copy {
	struct open_reservation to;
	char text[OPEN_RESERVATION_TEXT_MAX];
};

/* Map the table in anonymous shared memory, which fork() shares. NULL when that
 * fails. open_reservations_free() accepts NULL. */
struct open_reservations *open_reservations_new(void);
void open_reservations_free(struct open_reservations *t);

/* Register a request that is about to be allowed. False: HAProxy does not wait
 * for the decision any more; the caller gives the reservation back. The names
 * are copied. True also when the request could not be registered (names too
 * long, set locked). `now_us` is the monotonic clock, which all processes of a
 * machine share. */
bool open_reservations_add(struct open_reservations *t, struct str id,
                           const struct open_reservation *to, uint64_t now_us);

/* The request has ended, or was not allowed after all. False: the id is not
 * registered, and *out is untouched. `out` may be NULL. Of several callers with
 * the same id exactly one gets true. */
bool open_reservations_remove(struct open_reservations *t, struct str id,
                              struct open_reservation_copy *out);

/* The same without removing it. */
bool open_reservations_find(struct open_reservations *t, struct str id,
                            struct open_reservation_copy *out);

/* HAProxy has ended a request without having a decision. True: the request was
 * registered with this nonce; *out has its account, and it is removed. False:
 * it was not registered; the id is marked, and the next
 * open_reservations_add() of it with this nonce returns false. A registered
 * request with another nonce stays as it is: that record is a forgery. */
bool open_reservations_abandon(struct open_reservations *t, struct str id,
                               struct str nonce,
                               struct open_reservation_copy *out,
                               uint64_t now_us);

/* Free the slots that are older than STORE_RECORD_TTL_S. One call looks at one
 * part of the table, so call it about once a second. Returns how many of them
 * were open reservations: their records in the store have expired, so they
 * stay charged with the estimate. */
size_t open_reservations_sweep(struct open_reservations *t, uint64_t now_us);

/* Number of open reservations, without marks. */
size_t open_reservations_count(const struct open_reservations *t);

#endif
