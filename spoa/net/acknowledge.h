/*
 * net/acknowledge: the ACK of a message whose answer carries no decision
 * (created, deleted, upstream_error, a NOTIFY without a message).
 */
#ifndef NET_ACKNOWLEDGE_H
#define NET_ACKNOWLEDGE_H

#include "net/conn.h"

/* Send the one reply that is due for `conn` now. `ack_limit` is that of
 * on_notify. Does nothing when the connection is gone, or when the ACK does
 * not fit `ack_limit`: HAProxy then runs into `timeout processing`. The ACK
 * sets one variable, because HAProxy 3.1.0 to 3.1.5 hang on an ACK without
 * actions (haproxy.md 1.4). */
void acknowledge(struct conns *conns, struct conn_ref conn, size_t ack_limit);

#endif
