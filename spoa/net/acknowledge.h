/*
 * net/acknowledge: the ACK of a message that needs no answer.
 */
#ifndef NET_ACKNOWLEDGE_H
#define NET_ACKNOWLEDGE_H

#include "net/conn.h"

/* Reply for `conn` at once. One variable is set, because HAProxy 3.1.0 to
 * 3.1.5 hang on an ACK without actions. Does nothing when the connection is
 * gone. */
void acknowledge(struct conns *conns, struct conn_ref conn, size_t ack_limit);

#endif
