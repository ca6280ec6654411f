/*
 * decide/answer: a verdict as variables of an ACK (SPOE.txt 3.2.7).
 *
 * HAProxy puts "txn.gw." in front of every name and drops names that it does
 * not know: those that neither haproxy.cfg nor the messages of
 * spoe-gateway.conf use must be in its `register-var-names`, which is the case
 * of what only the Lua filter reads.
 *
 * What only the end of the request needs is no variable of its own but a field
 * of `ticket` (usage/ticket.h).
 */
#ifndef DECIDE_ANSWER_H
#define DECIDE_ANSWER_H

#include "base/buf.h"
#include "request/request.h"

/* Append the ACK with what was decided to `out`. A request without a verdict is
 * denied. False when it does not fit r->ack_limit, or when something that
 * HAProxy needs cannot be written (it is missing, or has a control character);
 * `out` is then as it was. The caller keeps `r` and `out`. */
bool answer_write(const struct request *r, struct buf *out);

#endif
