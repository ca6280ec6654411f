/*
 * decide/reserve: take from every limit of the consumer, or from none.
 */
#ifndef DECIDE_RESERVE_H
#define DECIDE_RESERVE_H

#include "request/request.h"

/* Give back what was reserved for a request that will not run: it was denied
 * by a later step, or nobody is there any more to take the answer. */
void reserve_undo(struct request *r);

/* The same when all that is left of the request is who had reserved, and
 * whether in the memory of this worker or in Redis. */
void store_give_back(struct agent *a, struct str account, struct str id,
                       bool local);

#endif
