/*
 * upstream/feedback: what the upstream answered, where it matters for routing.
 */
#ifndef UPSTREAM_FEEDBACK_H
#define UPSTREAM_FEEDBACK_H

#include "net/conn.h"

struct agent;

/* A NOTIFY with `upstream_error`: HAProxy sends it for 408, 429 and 5xx
 * answers. Acknowledged first, because the answer waits for it. */
void feedback_upstream_error(struct agent *a, struct conn_ref conn,
                             const struct frame *f, size_t ack_limit);

/* An empty ACK that is not empty (HAProxy 3.1.0-3.1.5 hang on those): for
 * messages that need no answer. */
void conns_acknowledge(struct agent *a, struct conn_ref conn, size_t ack_limit);

#endif
