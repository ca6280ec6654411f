/*
 * upstream/feedback: errors of a resource, as HAProxy reports them.
 *
 *   resource -- 408, 429, 5xx --> HAProxy --SPOE upstream_error--> feedback
 *                                   ^                                 |
 *                                   +------------- ACK ---------------+
 *                                                                     |
 *                        upstream/health, counter, one log line <-----+
 *
 * Good answers are not reported: they would cost a round trip each. A resource
 * that cannot be reached sends no answer and is not reported here, but by its
 * usage record (usage/settle).
 */
#ifndef UPSTREAM_FEEDBACK_H
#define UPSTREAM_FEEDBACK_H

#include "net/conn.h"

struct health;

/* What the handler uses. Filled in by the worker, who owns all of it and keeps
 * it longer than any connection. */
struct feedback {
	struct conns *conns;
	struct metrics *metrics;
	struct health *health;
};

/* Handle a NOTIFY with the message `upstream_error` (spoe-gateway.conf). `f` is
 * valid during the call. The ACK goes out first, because HAProxy holds the
 * answer back from the client until then. A malformed message is acknowledged
 * and has no other effect. */
void feedback_upstream_error(const struct feedback *fb, struct conn_ref conn,
                             const struct frame *f, size_t ack_limit);

#endif
