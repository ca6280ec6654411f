/*
 * decide/ownership: what a request has made or deleted.
 *
 *   haproxy, before the client sees the answer
 *           --SPOE created, deleted--> store/objects --ACK-->
 *
 * The ACK comes when the store has the binding, so that a client which uses
 * an id at once finds it on every node.
 */
#ifndef DECIDE_OWNERSHIP_H
#define DECIDE_OWNERSHIP_H

#include "decide/decider.h"

struct frame;

/* A NOTIFY with `created`: the objects belong to the caller from now on. */
void ownership_created(struct decider *d, struct conn_ref conn,
                       const struct frame *f, size_t ack_limit);

/* A NOTIFY with `deleted`: the object is nobody's. */
void ownership_deleted(struct decider *d, struct conn_ref conn,
                       const struct frame *f, size_t ack_limit);

#endif
