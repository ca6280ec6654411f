/*
 * store/reservation: helpers for a reservation that outlives its request.
 *
 * The strings of a struct store_reservation are in the workspace of the
 * request. A reserve that is in flight needs them for longer.
 */
#ifndef STORE_RESERVATION_H
#define STORE_RESERVATION_H

#include "store/store.h"

/* A deep copy in one block of memory; release it with free(). NULL without
 * memory. */
struct store_reservation *reservation_copy(const struct store_reservation *r);

/* Settle with zero use, for a request that was not sent to a resource. `local`:
 * the memory store of this worker has the reservation, else Redis has it. Does
 * nothing when it is not open. The result is not reported: what cannot be given
 * back stays charged, which is the safe side. */
void reservation_give_back(struct store_memory *m, struct store_redis *redis,
                           struct str account, struct str id, bool local);

#endif
