/*
 * net/conn: connections from HAProxy.
 *
 *   listen -> accept -> conn: read -> frame_parse -> on_notify (callback)
 *                             write <- out buffer <- conn_reply
 *
 * One shared read buffer per worker; only a frame that arrived in part gets
 * memory of its own (exactly its size). Replies are collected per connection
 * and written once per loop turn. An AGENT-HELLO goes out in one write by
 * itself (HAProxy 3.1+, haproxy.md 0.4). EOF and RST are normal.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "base/clock.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "spop/frame.h"

struct conns; /* all connections of a worker */

/* Where an answer must go. Refers by number and generation, so it may outlive
 * the connection: replying to a dead one does nothing. */
struct conn_ref {
	uint32_t slot;
	uint32_t generation;
	uint64_t stream_id;
	uint64_t frame_id;
};

struct conns_options {
	struct loop *loop;
	struct metrics *metrics;
	/* A NOTIFY came. Views in `f` are valid during the call. Every call
	 * must be followed by exactly one reply for `ref`, at once or later.
	 * `ack_limit` is what an ACK may have on this connection: a 20th of
	 * the negotiated frame, as HAProxy 3.1+ puts 20 streams on one. */
	void (*on_notify)(void *ctx, struct conn_ref ref, const struct frame *f,
	                  size_t ack_limit);
	void *ctx;
	const char *worker; /* label of the gauges; NULL is "0" */
	size_t max_frame;   /* what we offer; SPOP_MIN_FRAME..SPOP_MAX_FRAME */
	size_t max_conns;   /* further ones are closed at accept */
	/* Called once, from the loop, when conns_drain() has nothing left to
	 * wait for. */
	void (*on_drained)(void *ctx);
};

/* NULL without memory. None of the callbacks may call conns_free. */
struct conns *conns_new(const struct conns_options *o);

/* Closes all connections, without a callback. */
void conns_free(struct conns *c);

/* Accept on a listening, non-blocking socket, which stays the caller's. Up to
 * eight may be added; false beyond. */
bool conns_listen(struct conns *c, int fd);

/* The buffer to build the reply for `ref` in (with ack_begin), NULL when its
 * connection is gone. After the frame was appended call conns_replied(), once
 * a request. The bytes leave before the loop waits again, so a reply must not
 * come out of another loop_turn callback: it might wait for the next event. */
struct buf *conns_reply(struct conns *c, struct conn_ref ref);
void conns_replied(struct conns *c, struct conn_ref ref);

/* Stop accepting; say AGENT-DISCONNECT 0 on each connection once its last
 * answer is out; then on_drained. */
void conns_drain(struct conns *c);

size_t conns_count(const struct conns *c);

#endif
