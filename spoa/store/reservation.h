/*
 * store/reservation: a copy of one that outlives the request.
 */
#ifndef STORE_RESERVATION_H
#define STORE_RESERVATION_H

#include "store/store.h"

/* With all that it points to, in one block, for free(). NULL: no memory. */
struct store_reservation *reservation_copy(const struct store_reservation *r);

#endif
