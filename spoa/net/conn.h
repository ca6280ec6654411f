/*
 * net/conn: SPOP connections from HAProxy.
 *
 *   listen -> accept -> conn: read -> frame_parse -> on_notify (callback)
 *                             write <- out buffer <- conns_reply
 *
 * One read buffer is shared by all connections of a worker; only a frame that
 * arrived in part gets memory of its own, exactly its size. Replies are
 * collected per connection and written once per loop turn. An AGENT-HELLO is
 * written by itself in one call, because HAProxy 3.1+ misreads one that comes
 * in pieces (haproxy.md 0.4).
 *
 * Bounds of a connection: 64 unanswered NOTIFYs, 128 kB of unsent replies;
 * beyond either it is not read until it is below again, which HAProxy sees as
 * a slow agent. Times: 5 s for the HELLO, 10 s for HAProxy to take a reply,
 * 1 s for it to close after an AGENT-DISCONNECT.
 *
 * HAProxy ends health checks, and 3.1+ also idle connections, by EOF or RST
 * (haproxy.md 1.5), so neither is logged or counted. Protocol errors are
 * counted in foundry_spop_errors_total, and logged when the code differs from
 * the last.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "spop/frame.h"

struct conns; /* all connections of a worker */

/* Where the ACK of one NOTIFY must go. It names the connection by slot and
 * generation, not by pointer, so it may be kept longer than the connection
 * lives: a reply then does nothing. Plain data, freely copied. */
struct conn_ref {
	uint32_t slot;
	uint32_t generation;
	uint64_t stream_id; /* 0 is legal: the first one of HAProxy 2.6, 3.0 */
	uint64_t frame_id;
};

struct conns_options {
	struct loop *loop;       /* borrowed, as are metrics */
	struct metrics *metrics; /* must not be NULL */
	/* A NOTIFY came. `f` and its views are valid during the call. Every
	 * call must be followed by exactly one reply for `ref`, from within it
	 * or later, in any order among the requests of a connection.
	 * `ack_limit` is the largest ACK frame in bytes on this connection: a
	 * 20th of the negotiated frame size, because HAProxy 3.1+ runs 20
	 * streams on a connection and stalls when their ACKs do not fit its
	 * buffer together (haproxy.md 0.11). */
	void (*on_notify)(void *ctx, struct conn_ref ref, const struct frame *f,
	                  size_t ack_limit);
	void *ctx;
	/* The frame size in bytes that the agent offers; the smaller of it and
	 * HAProxy's counts. SPOP_MIN_FRAME..SPOP_MAX_FRAME (assert). */
	size_t max_frame;
	/* Further connections are closed at accept and counted in
	 * foundry_spop_refused_total. At least 1 (assert). */
	size_t max_conns;
	/* Called once, from the loop, when conns_drain() has no connection
	 * left. May be NULL. */
	void (*on_drained)(void *ctx);
};

/* `o` is copied. NULL without memory. No callback may call conns_free(). */
struct conns *conns_new(const struct conns_options *o);

/* Closes all connections at once, without a callback and without an
 * AGENT-DISCONNECT. Accepts NULL. */
void conns_free(struct conns *c);

/* Accept on `fd`, a listening and non-blocking socket, which stays the
 * caller's. False beyond ACCEPT_MAX_LISTENERS. */
bool conns_listen(struct conns *c, int fd);

/* The buffer to append the ACK for `ref` to (ack_begin() to ack_end()), valid
 * until control returns to the loop. NULL when the connection is gone or does
 * not take answers any more. After the ACK was appended call conns_replied(),
 * once per NOTIFY. The bytes are sent at the end of the loop turn; a reply
 * from within another loop_turn callback may miss that and then waits for the
 * next event of any kind. */
struct buf *conns_reply(struct conns *c, struct conn_ref ref);
void conns_replied(struct conns *c, struct conn_ref ref);

/* Graceful end: stop to accept; on each connection answer what is pending,
 * then send AGENT-DISCONNECT with status 0 (SPOE.txt 3.2.9) and wait for
 * HAProxy to close; then on_drained. The caller bounds the time. A second
 * call does nothing. */
void conns_drain(struct conns *c);

/* Open connections, those that are being closed included. */
size_t conns_count(const struct conns *c);

#endif
