/*
 * spop/ack: building an ACK frame (SPOE.txt 3.2.7) in a caller's buffer.
 *
 * ack_begin, any number of ack_set_*, ack_end. A frame always carries at
 * least one action, because HAProxy 3.1.0-3.1.5 hang on an empty ACK: without
 * any, ack_end sets `ok` to true. Variables are set in scope `txn`; names must
 * fit 63 bytes with scope and the prefix `gw` (assert).
 */
#ifndef SPOP_ACK_H
#define SPOP_ACK_H

#include "spop/frame.h"

struct ack {
	struct buf *out;
	size_t at;    /* where the frame begins in out */
	size_t limit; /* bytes the frame may have, with its length field */
	unsigned n_actions;
	bool overflow;
};

/* `limit` is what net/conn gave with the request: HAProxy 3.1+ stalls when the
 * ACKs of the 20 streams of a connection do not fit its buffer together.
 * Nothing else may be appended to `out` before ack_end. */
void ack_begin(struct ack *a, struct buf *out, uint64_t stream_id,
               uint64_t frame_id, size_t limit);
void ack_set_str(struct ack *a, const char *name, struct str value);
void ack_set_int(struct ack *a, const char *name, int64_t value);
void ack_set_bool(struct ack *a, const char *name, bool value);

/* False when it did not fit: then the buffer is as it was before ack_begin,
 * and the caller sends a smaller one. */
bool ack_end(struct ack *a);

#endif
