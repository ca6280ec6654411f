/*
 * decide/reserve: take from every limit of the consumer, or from none.
 */
#ifndef DECIDE_RESERVE_H
#define DECIDE_RESERVE_H

#include "request/request.h"

/* Give back what was reserved for a request that will not run: it was denied
 * by a later step, or nobody is there any more to take the answer. */
void reserve_undo(struct request *r);

#endif
