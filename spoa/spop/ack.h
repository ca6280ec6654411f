/*
 * spop/ack: building of an ACK frame (SPOE.txt 3.2.7, 3.4).
 *
 *   ack_begin -> ack_set_* ... -> ack_end
 *
 * The frame is appended to a buffer of the caller. Every action sets a variable
 * of scope `txn` in HAProxy, which adds the prefix of its configuration (gw):
 * "verdict" becomes txn.gw.verdict.
 *
 * Errors are collected: what does not fit makes ack_end() fail. A name that is
 * too long is a bug of the caller (assert): HAProxy before 23a2811b6 reads
 * beyond its buffer when scope, prefix and name have more than 63 bytes
 * (haproxy.md 1).
 */
#ifndef SPOP_ACK_H
#define SPOP_ACK_H

#include "spop/frame.h"

struct ack {
	struct buf *out;
	size_t at;          /* where the frame begins in out */
	size_t limit;       /* bytes allowed, the length field included */
	unsigned n_actions; /* set so far */
	bool overflow;      /* an action did not fit */
};

/* Begin the ACK of a NOTIFY: the same stream id and frame id. Nothing else may
 * be appended to `out` before ack_end().
 *
 * `limit` is what net/conn gives with each NOTIFY, a 20th of the negotiated
 * frame size: HAProxy 3.1 and later puts 20 streams on a connection and stalls
 * when their ACKs together do not fit its buffer (haproxy.md 0.11). */
void ack_begin(struct ack *a, struct buf *out, uint64_t stream_id,
               uint64_t frame_id, size_t limit);

/* Set the variable `name`, a constant of 1 to 56 bytes. */
void ack_set_str(struct ack *a, const char *name, struct str value);
void ack_set_int(struct ack *a, const char *name, int64_t value);
void ack_set_bool(struct ack *a, const char *name, bool value);

/* Complete the frame. Without any action it sets `ok` to true, because HAProxy
 * 3.1.0 to 3.1.5 does not continue a stream whose ACK is empty. False when the
 * frame exceeds the limit or the buffer: the buffer is then as it was before
 * ack_begin(), and the caller should send a smaller ACK. */
bool ack_end(struct ack *a);

#endif
