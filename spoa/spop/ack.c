/* spop/ack: building an ACK frame (SPOE.txt 3.2.7) in a caller's buffer. */
#include "spop/ack.h"

#include <assert.h>

enum {
	ACTION_SET_VAR = 1, /* SPOE.txt 3.4 */
	SET_VAR_ARGS = 3,
	SCOPE_TXN = 2,
	/* HAProxy's buffer of 64 for "txn." + prefix + "." + name + NUL,
	 * where the prefix is "gw" */
	MAX_NAME = 63 - 7,
};

void ack_begin(struct ack *a, struct buf *out, uint64_t stream_id,
               uint64_t frame_id, size_t limit)
{
	*a = (struct ack){.out = out, .limit = limit};
	a->at = frame_begin(out, FRAME_ACK, stream_id, frame_id);
}

/* False when nothing may follow. */
static bool begin_action(struct ack *a, const char *name, size_t value_len)
{
	const unsigned char head[] = {ACTION_SET_VAR, SET_VAR_ARGS, SCOPE_TXN};
	struct str s = str_c(name);

	assert(s.len > 0 && s.len <= MAX_NAME);
	/* a value that is over the limit by itself is not even copied */
	if (a->overflow || value_len > a->limit) {
		a->overflow = true;
		return false;
	}
	a->n_actions++;
	buf_add(a->out, head, sizeof(head));
	value_write_string(a->out, s);
	return true;
}

static void end_action(struct ack *a)
{
	if (a->out->failed || a->out->len - a->at > a->limit)
		a->overflow = true;
}

void ack_set_str(struct ack *a, const char *name, struct str value)
{
	if (!begin_action(a, name, value.len))
		return;
	value_write_str(a->out, value);
	end_action(a);
}

void ack_set_int(struct ack *a, const char *name, int64_t value)
{
	if (!begin_action(a, name, 0))
		return;
	value_write_int64(a->out, value);
	end_action(a);
}

void ack_set_bool(struct ack *a, const char *name, bool value)
{
	if (!begin_action(a, name, 0))
		return;
	value_write_bool(a->out, value);
	end_action(a);
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
