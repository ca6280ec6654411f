/*
 * decide/ownership: what a request has made or deleted.
 *
 *   HAProxy, before the client sees the answer
 *     --NOTIFY created, deleted--> objects_bind, objects_drop --> memory, Redis
 *     <--ACK------------------------------ stored, or not ----------'
 *
 * The ACK comes when the store has the binding, so that a client which uses an
 * id at once finds it on every node. It comes as well when storing failed: the
 * answer of the resource cannot be taken back, so it is logged as a warning.
 *
 * The owner comes back from HAProxy as decide/answer has set it (txn.gw.owner).
 * A client cannot set variables of HAProxy.
 */
#ifndef DECIDE_OWNERSHIP_H
#define DECIDE_OWNERSHIP_H

#include "decide/decider.h"

struct frame;

/* A NOTIFY with `created`: the objects, or the secret of a realtime session,
 * belong to the caller from now on. One ACK follows, at once or later, also for
 * a message that cannot be read. `ack_limit` is in bytes (net/conn). */
void ownership_created(struct decider *d, struct conn_ref conn,
                       const struct frame *f, size_t ack_limit);

/* A NOTIFY with `deleted`: the object is nobody's any more. Likewise. */
void ownership_deleted(struct decider *d, struct conn_ref conn,
                       const struct frame *f, size_t ack_limit);

#endif
