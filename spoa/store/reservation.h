/*
 * store/reservation: a reservation beyond its request: copied, or given back.
 */
#ifndef STORE_RESERVATION_H
#define STORE_RESERVATION_H

#include "store/store.h"

/* With all that it points to, in one block, for free(). NULL: no memory. */
struct store_reservation *reservation_copy(const struct store_reservation *r);

/* Settle with no use: the request did not run. `local`: it is counted in the
 * memory of this worker, else in Redis. Does nothing when it is not open. */
void reservation_give_back(struct store_memory *m, struct store_redis *redis,
                           struct str account, struct str id, bool local);

#endif
