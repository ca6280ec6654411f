/*
 * decide/pipeline: a request's way through the steps (decide/step).
 *
 *   NOTIFY -> authenticate -> resolve -> objects -> authorize -> estimate
 *          -> reserve -> route -> adapt -> credential -> ACK
 *
 * Every NOTIFY that comes in here gets one ACK, as long as its connection
 * lives, and one line of decision_log, whatever fails on the way: a failure is
 * a denial. A step that
 * must wait parks the request (request/table); it is run again when it is
 * woken, and denied when its time is up.
 */
#ifndef DECIDE_PIPELINE_H
#define DECIDE_PIPELINE_H

#include "decide/decider.h"
#include "spop/frame.h"

/* Decide a NOTIFY with the message `admit` or `admit_head`, now or after having
 * waited. Any other message is denied as malformed. Views in `f` are not kept.
 * `ack_limit` is in bytes (net/conn). */
void pipeline_start(struct decider *d, struct conn_ref conn,
                    const struct frame *f, size_t ack_limit);

/* The callbacks of d->requests (struct requests_options): a request was woken,
 * or its time is up. `r` may have been released when they return. */
void pipeline_run(struct request *r);
void pipeline_expire(struct request *r);

#endif
