/*
 * decide/reserve: take from every limit of the consumer, or from none.
 *
 *   decide_reserve   store: a record under facts.id, r->charge.reserved
 *   reserve_undo     store: the record settled with no use
 *
 * Between the two, and after an allow, the reservation belongs to whoever ends
 * the request: decide/pipeline when the request does not run, usage/settle when
 * HAProxy reports how it ended.
 */
#ifndef DECIDE_RESERVE_H
#define DECIDE_RESERVE_H

#include "request/request.h"

/* Give back what was reserved for a request that will not run: a later step has
 * denied it, or nobody takes the answer any more. Does nothing when nothing is
 * reserved. Does not wait; the store sends it until Redis has answered. */
void reserve_undo(struct request *r);

#endif
