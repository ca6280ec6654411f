/* net/acknowledge: the ACK of a message whose answer carries no decision. */
#include "net/acknowledge.h"

#include "spop/ack.h"

void acknowledge(struct conns *conns, struct conn_ref conn, size_t ack_limit)
{
	struct buf *out = conns_reply(conns, conn);
	struct ack ack;

	if (!out)
		return;
	ack_begin(&ack, out, conn.stream_id, conn.frame_id, ack_limit);
	/* spoe-gateway.conf does not register this name, so HAProxy accepts
	 * the action and drops the value */
	ack_set_bool(&ack, "seen", true);
	if (ack_end(&ack))
		conns_replied(conns, conn);
}
