/*
 * decide/answer: a verdict as variables of an ACK.
 *
 * HAProxy puts "txn.gw." in front of every name. The list is closed: it knows
 * no other names than those that haproxy.cfg uses or spoe-gateway.conf
 * registers.
 */
#ifndef DECIDE_ANSWER_H
#define DECIDE_ANSWER_H

#include "base/buf.h"
#include "request/request.h"

/* Write the ACK with what was decided. False when it does not fit the
 * connection's limit, or when something that HAProxy needs cannot be written;
 * `out` then holds no part of it. */
bool answer_write(const struct request *r, struct buf *out);

#endif
