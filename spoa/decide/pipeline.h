/*
 * decide/pipeline: a request's way through the steps.
 *
 *   NOTIFY -> authenticate -> demand -> authorize -> estimate -> reserve
 *          -> route -> credential -> ACK
 *
 * A step that must wait parks the request; whoever it waits for wakes it by
 * its reference. Every request is answered by its decision timeout, which is
 * shorter than HAProxy's `timeout processing`.
 */
#ifndef DECIDE_PIPELINE_H
#define DECIDE_PIPELINE_H

#include "decide/step.h"

/* A NOTIFY with `admit` or `admit_head`: decide and answer it. */
void pipeline_start(struct agent *a, struct conn_ref conn,
                    const struct frame *f, size_t ack_limit);

/* Go on with a parked request; does nothing when it has ended. `ctx` is the
 * agent: the form that waiters call. */
void pipeline_wake(void *ctx, uint64_t ref);

/* "authenticate", ...: for metrics and logs. */
const char *pipeline_step_name(unsigned step);

/* The timer of a->deadline: answers what has waited too long. */
void pipeline_expire(void *agent);

#endif
