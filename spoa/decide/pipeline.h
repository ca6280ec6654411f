/*
 * decide/pipeline: a request's way through the steps (decide/step).
 *
 *   NOTIFY -> authenticate -> resolve -> objects -> authorize -> estimate
 *          -> reserve -> route -> adapt -> credential -> ACK
 *
 * A step that must wait parks the request (request/table); it is run again
 * when it is woken.
 */
#ifndef DECIDE_PIPELINE_H
#define DECIDE_PIPELINE_H

#include "decide/decider.h"
#include "spop/frame.h"

/* A NOTIFY with `admit` or `admit_head`: decide and answer it. */
void pipeline_start(struct decider *d, struct conn_ref conn,
                    const struct frame *f, size_t ack_limit);

/* Callbacks of d->requests (struct requests_options): a request was woken, or
 * its time is up. */
void pipeline_run(struct request *r);
void pipeline_expire(struct request *r);

#endif
