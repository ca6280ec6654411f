/*
 * decide/ownership: an answer has made objects; they are the caller's.
 *
 *   haproxy, before the client sees the answer --SPOE created--> bind --ACK-->
 *
 * The ACK comes when the store has them, so that a client which uses an id at
 * once finds it on every node. What is deleted is forgotten on the same way.
 */
#ifndef DECIDE_OWNERSHIP_H
#define DECIDE_OWNERSHIP_H

#include "net/conn.h"

struct agent;
struct frame;

void created(struct agent *a, struct conn_ref conn, const struct frame *f,
             size_t ack_limit);
void ownership_deleted(struct agent *a, struct conn_ref conn,
                     const struct frame *f, size_t ack_limit);

#endif
