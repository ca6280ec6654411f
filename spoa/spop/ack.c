/*
 * spop/ack: building of an ACK frame (SPOE.txt 3.2.7, 3.4).
 *
 *   | length, type, flags, ids | action | action | ...
 *     frame_begin                SET-VAR, 3, scope, name, value
 */
#include "spop/ack.h"

#include <assert.h>

enum {
	/* SPOE.txt 3.4 */
	ACTION_SET_VAR = 1,
	SET_VAR_ARGS = 3,
	SCOPE_TXN = 2,
	/* HAProxy builds "txn.gw." and the name in a buffer of 64 bytes with
	 * the NUL; "gw" is the var-prefix in haproxy-conf/spoe-gateway.conf */
	MAX_NAME = 63 - 7,
};

void ack_begin(struct ack *a, struct buf *out, uint64_t stream_id,
               uint64_t frame_id, size_t limit)
{
	*a = (struct ack){.out = out, .limit = limit};
	a->at = frame_begin(out, FRAME_ACK, stream_id, frame_id);
}

/* Append an action up to its value, which has at least value_len bytes. False
 * when the value must not be appended. */
static bool ack_begin_action(struct ack *a, const char *name, size_t value_len)
{
	const unsigned char head[] = {ACTION_SET_VAR, SET_VAR_ARGS, SCOPE_TXN};
	struct str s = str_c(name);

	assert(s.len > 0 && s.len <= MAX_NAME);
	/* a value that exceeds the limit by itself is not copied first */
	if (a->overflow || value_len > a->limit) {
		a->overflow = true;
		return false;
	}
	a->n_actions++;
	buf_add(a->out, head, sizeof(head));
	value_write_string(a->out, s);
	return true;
}

/* Check the limit behind the value. */
static void ack_end_action(struct ack *a)
{
	if (a->out->failed || a->out->len - a->at > a->limit)
		a->overflow = true;
}

void ack_set_str(struct ack *a, const char *name, struct str value)
{
	if (!ack_begin_action(a, name, value.len))
		return;
	value_write_str(a->out, value);
	ack_end_action(a);
}

void ack_set_int(struct ack *a, const char *name, int64_t value)
{
	if (!ack_begin_action(a, name, 0))
		return;
	value_write_int64(a->out, value);
	ack_end_action(a);
}

void ack_set_bool(struct ack *a, const char *name, bool value)
{
	if (!ack_begin_action(a, name, 0))
		return;
	value_write_bool(a->out, value);
	ack_end_action(a);
}

bool ack_end(struct ack *a)
{
	if (a->n_actions == 0)
		ack_set_bool(a, "ok", true);
	if (a->overflow) {
		frame_drop(a->out, a->at);
		return false;
	}
	return frame_end(a->out, a->at);
}
