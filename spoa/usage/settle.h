/*
 * usage/settle: the end of a request - exactly once.
 *
 *   udp -> record_parse -> memory? redis? -> settled | unknown
 *                                              |
 *                       log line, counters, estimator bytes per token
 *
 * A record settles the reservation with its id wherever that is: in this
 * process, or in Redis, made by any worker of any node.
 */
#ifndef USAGE_SETTLE_H
#define USAGE_SETTLE_H

#include "base/str.h"

struct agent;

/* One datagram from HAProxy's log target; the form net/udp calls. */
void settle_datagram(void *agent, struct str datagram);

/* The agent ends: settlements whose answer nobody waits for any more. */
void settle_forget(struct agent *a);

#endif
