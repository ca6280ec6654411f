/*
 * upstream/feedback: what a resource answered, where it matters for routing.
 *
 *   haproxy, on 408, 429 and 5xx --SPOE upstream_error--> upstream/health
 */
#ifndef UPSTREAM_FEEDBACK_H
#define UPSTREAM_FEEDBACK_H

#include "net/conn.h"

struct health;

/* What the handler uses; all of it outlives the connections. */
struct feedback {
	struct conns *conns;
	struct metrics *metrics;
	struct health *health;
};

/* A NOTIFY with `upstream_error`. Acknowledged first, because HAProxy holds
 * the answer back until then. */
void feedback_upstream_error(const struct feedback *fb, struct conn_ref conn,
                             const struct frame *f, size_t ack_limit);

#endif
