/*
 * net/conn: SPOP connections from HAProxy.
 *
 *   socket readable
 *     conn_on_io
 *       conn_read             readv: rest of a held frame, then shared buffer
 *         conn_process_input  what is held, then the new bytes
 *           conn_process_bytes    frame_parse, until bytes or room end
 *             conn_handle_frame
 *               conn_handle_hello       AGENT-HELLO, written at once
 *               conn_handle_notify      on_notify (callback)
 *               conn_handle_disconnect  AGENT-DISCONNECT
 *       conn_mark
 *
 *   conns_reply .. conns_replied -> conn_mark
 *
 *   end of the loop turn
 *     conn_on_turn, for each marked connection
 *       conn_finish_turn      send; then parse on, drain, close, or watch
 *
 * Reading and replying only change the state of a connection and mark it.
 * Sending, closing and changing what the loop watches happen at the end of
 * the turn, in conn_finish_turn(). So the replies of a turn leave in one
 * send(), and no connection is freed while a function above still uses it.
 * (A timer frees its connection, too, but nothing else runs then.)
 *
 *   HELLO --------> RUN -----> CLOSING -----> DEAD
 *     |   '-----------------------^            ^
 *     '-----> HEALTHCHECK ---------------------'
 *
 *   CLOSING: a protocol error, a HAPROXY-DISCONNECT, or a drain.
 *   DEAD, from any state: EOF, RST, a failed write, or no memory.
 */
#include "net/conn.h"

#include "base/log.h"
#include "net/accept.h"
#include "net/held.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	/* The largest frame before the HELLO. A HAPROXY-HELLO is about 130
	 * bytes (haproxy.md 1.2), and an unknown peer gets no more memory. */
	HELLO_MAX = 4096,
	/* Unanswered NOTIFYs. HAProxy sends at most 20 (haproxy.md 1.3); only
	 * 2.6 and 3.0 can be configured for more (max-waiting-frames). */
	MAX_PENDING = 64,
	/* Unsent bytes, beyond those in the socket buffer, from which on no
	 * further request is read: HAProxy does not read its answers. */
	OUT_HIGH = 128 * 1024,
	/* Allocated bytes that a connection without unsent bytes may keep for
	 * its next replies: several ACKs of 2 to 3 kB each. */
	OUT_KEEP = 16 * 1024,
	/* An ACK may have this part of the frame size: HAProxy 3.1+ runs 20
	 * streams on a connection (haproxy.md 0.11). */
	ACK_SHARE = 20,
	/* But never less: a refusal must fit, and a 20th of the smallest
	 * frame size that the protocol allows (256) is 12 bytes. */
	ACK_LEAST = 128,
	/* Ten times `timeout hello` of spoe-gateway.conf. */
	HELLO_MS = 5000,
	/* No byte of a reply was taken for so long. HAProxy gave up these
	 * requests before (`timeout processing`, 1 s). */
	STALL_MS = 10000,
	/* From AGENT-DISCONNECT to HAProxy's close. It closes as soon as it
	 * has read the frame; some peers never do. */
	LINGER_MS = 1000,
};

enum conn_state {
	STATE_HELLO = 0,       /* HAPROXY-HELLO is awaited */
	STATE_RUN = 1,         /* NOTIFYs are accepted */
	STATE_HEALTHCHECK = 2, /* AGENT-HELLO sent to a check: HAProxy closes */
	STATE_CLOSING = 3,     /* AGENT-DISCONNECT queued: HAProxy closes */
	STATE_DEAD = 4,        /* freed at the end of the turn */
};

struct conn {
	struct conns *owner;
	/* on the list of marked connections; prev is NULL off the list */
	struct conn *next_marked, **prev_marked;
	uint32_t slot; /* index in owner->slots */
	enum conn_state state;
	int fd;     /* owned */
	int events; /* what io watches for: LOOP_READ | LOOP_WRITE */
	struct loop_io io;
	/* one at a time: HELLO_MS in HELLO and HEALTHCHECK, STALL_MS in RUN
	 * while bytes are unsent, LINGER_MS in CLOSING */
	struct loop_timer timer;
	size_t max_in;      /* bytes of the largest frame accepted */
	size_t ack_limit;   /* bytes of the largest ACK */
	unsigned n_pending; /* NOTIFYs without a reply */
	bool shut;          /* the agent's half is shut down */
	struct held in;     /* received and not parsed yet */
	struct buf out;     /* to send; whole frames are appended */
};

/* A place for a connection. Its generation changes when the connection stops
 * to take replies, so a conn_ref that was given before finds nothing. */
struct conn_slot {
	struct conn *conn; /* NULL: free */
	uint32_t generation;
	uint32_t next_free; /* index; only of a free slot */
};

struct conns {
	struct conns_options o;
	struct conn_slot *slots; /* o.max_conns of them */
	uint32_t first_free;     /* index; o.max_conns: none */
	size_t n;                /* connections */
	struct conn *marked;     /* to be looked at when the turn ends */
	struct loop_turn turn;
	struct acceptor acceptor;
	bool draining, drained;
	int last_code; /* enum spop_code that was counted last */
	struct metric *m_frames, *m_acks, *m_refused;
	size_t read_size;
	char *read_mem; /* shared by all; empty between two reads */
};

/* Have conn_finish_turn() run for this connection when the turn ends. */
static void conn_mark(struct conn *c)
{
	struct conn **head = &c->owner->marked;

	if (c->prev_marked)
		return;
	c->next_marked = *head;
	c->prev_marked = head;
	if (*head)
		(*head)->prev_marked = &c->next_marked;
	*head = c;
}

/* Does nothing when it is not marked. */
static void conn_unmark(struct conn *c)
{
	if (!c->prev_marked)
		return;
	*c->prev_marked = c->next_marked;
	if (c->next_marked)
		c->next_marked->prev_marked = c->prev_marked;
	c->next_marked = NULL;
	c->prev_marked = NULL;
}

/* Take the connection that was marked last off the list; NULL: none is. */
static struct conn *conn_next_marked(struct conns *cs)
{
	struct conn *c = cs->marked;

	if (!c)
		return NULL;
	cs->marked = c->next_marked;
	if (cs->marked)
		cs->marked->prev_marked = &cs->marked;
	c->next_marked = NULL;
	c->prev_marked = NULL;
	return c;
}

/* Count an error. Log it when its code is not that of the error before: a
 * wrong setting ends thousands of connections a second (haproxy.md 0.3).
 * `next` says what happens now, for the log line. */
static void conn_count_error(struct conns *cs, enum spop_code code,
                             const char *next)
{
	char number[12];
	struct buf labels;

	snprintf(number, sizeof(number), "%d", (int)code);
	buf_init(&labels, 64);
	metrics_label(&labels, "code", str_c(number));
	metric_add(metrics_get(cs->o.metrics, "foundry_spop_errors_total",
	                       buf_str(&labels)),
	           1);
	buf_done(&labels);
	if (cs->last_code != (int)code)
		log_warn("spop", "code=%d msg=\"%s; %s\"", (int)code,
		         spop_code_name(code), next);
	cs->last_code = (int)code;
}

/* From here on conns_reply() finds no buffer for the requests of this
 * connection. Their decisions run to the end; decide/pipeline gives back what
 * they reserved when it finds no buffer. */
static void conn_abandon_requests(struct conn *c)
{
	c->owner->slots[c->slot].generation++;
	c->n_pending = 0;
}

/* Close and free, and give the slot back. conn_free() has changed the slot's
 * generation before; conns_free() need not, as it frees the slots. */
static void conn_release(struct conn *c)
{
	struct conns *cs = c->owner;

	loop_io_stop(&c->io);
	loop_timer_stop(&c->timer);
	close(c->fd);
	conn_unmark(c);
	cs->slots[c->slot].conn = NULL;
	cs->slots[c->slot].next_free = cs->first_free;
	cs->first_free = c->slot;
	cs->n--;
	held_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static void conn_free(struct conn *c)
{
	conn_abandon_requests(c);
	conn_release(c);
}

/* In HEALTHCHECK and CLOSING HAProxy was expected to close and did not: no
 * error, as the exchange was complete. */
static void conn_on_timer(void *data)
{
	struct conn *c = data;

	if (c->state == STATE_HELLO)
		conn_count_error(c->owner, SPOP_TIMEOUT,
		                 "no HELLO came, closing");
	else if (c->state == STATE_RUN)
		conn_count_error(c->owner, SPOP_IO,
		                 "HAProxy does not take its answers, closing");
	conn_free(c);
}

static void conn_start_timer(struct conn *c, uint64_t ms)
{
	loop_timer_start(c->owner->o.loop, &c->timer, ms, conn_on_timer, c);
}

/* Send what is queued, in one call; what the kernel does not take waits for
 * LOOP_WRITE. In RUN the stall timer starts with the first bytes that are
 * left and starts anew whenever some were taken. False when the connection is
 * broken. */
static bool conn_flush(struct conn *c)
{
	ssize_t n;

	if (c->out.len == 0)
		return true;
	n = send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	if (n > 0)
		buf_consume(&c->out, (size_t)n);
	if (c->out.len == 0 && c->out.cap > OUT_KEEP)
		buf_done(&c->out);
	if (c->state == STATE_RUN) {
		if (c->out.len == 0)
			loop_timer_stop(&c->timer);
		else if (n > 0 || !loop_timer_active(&c->timer))
			conn_start_timer(c, STALL_MS);
	}
	return true;
}

/* Queue an AGENT-DISCONNECT (SPOE.txt 3.2.9). HAProxy closes when it has read
 * it. The agent does not close first: with unread bytes in its socket that
 * would send a RST, on which HAProxy's kernel may drop the frame and the ACKs
 * before it. */
static void conn_send_disconnect(struct conn *c, enum spop_code code)
{
	conn_abandon_requests(c);
	c->state = STATE_CLOSING;
	if (!disconnect_write(&c->out, code, spop_code_name(code)))
		c->state = STATE_DEAD;
	conn_start_timer(c, LINGER_MS);
	conn_mark(c);
}

/* End the connection because of a protocol error of HAProxy. */
static void conn_refuse(struct conn *c, enum spop_code code)
{
	conn_count_error(c->owner, code, "closing the connection");
	conn_send_disconnect(c, code);
}

/* The limits of a connection come from its HELLO, as health checks announce
 * other frame sizes than requests (haproxy.md 1.2). */
static void conn_handle_hello(struct conn *c, const struct frame *f)
{
	const struct conns_options *o = &c->owner->o;
	struct hello h;
	enum spop_code code = hello_read(f, &h);

	if (c->state != STATE_HELLO)
		code = SPOP_INVALID;
	if (code != SPOP_NORMAL) {
		conn_refuse(c, code);
		return;
	}
	/* HAProxy 3.1.0 to 3.1.7 send frames of the size they announced even
	 * when the answer offers less (haproxy.md 1.3) */
	c->max_in = h.max_frame;
	if (h.max_frame > o->max_frame)
		h.max_frame = (uint32_t)o->max_frame;
	c->ack_limit = h.max_frame / ACK_SHARE;
	if (c->ack_limit < ACK_LEAST)
		c->ack_limit = ACK_LEAST;
	/* conn_is_full() stops reading at OUT_HIGH; the replies to what was
	 * accepted until then, and one AGENT-DISCONNECT, must still fit */
	c->out.max = OUT_HIGH + MAX_PENDING * c->ack_limit + HELLO_MAX;
	c->state = h.healthcheck ? STATE_HEALTHCHECK : STATE_RUN;
	if (c->state == STATE_RUN)
		loop_timer_stop(&c->timer);
	/* sent now and not with the turn's replies: HAProxy 3.1+ wants it in
	 * one write of its own (haproxy.md 0.4) */
	if (!hello_write(&c->out, &h) || !conn_flush(c))
		c->state = STATE_DEAD;
}

/* on_notify may reply before it returns; that only appends to c->out. */
static void conn_handle_notify(struct conn *c, const struct frame *f)
{
	struct conns *cs = c->owner;
	struct conn_ref ref = {
		.slot = c->slot,
		.generation = cs->slots[c->slot].generation,
		.stream_id = f->stream_id,
		.frame_id = f->frame_id,
	};

	if (c->state != STATE_RUN) {
		conn_refuse(c, SPOP_INVALID);
		return;
	}
	metric_add(cs->m_frames, 1);
	c->n_pending++;
	cs->o.on_notify(cs->o.ctx, ref, f, c->ack_limit);
}

/* HAProxy 2.6 and 3.0 send NORMAL at a soft stop and TIMEOUT after `timeout
 * idle`, and close when they have the answer. 3.1 and later close without a
 * frame (haproxy.md 1.5). Any other code is an error that HAProxy saw. */
static void conn_handle_disconnect(struct conn *c, const struct frame *f)
{
	enum spop_code code = disconnect_read(f);

	if (code != SPOP_NORMAL && code != SPOP_TIMEOUT)
		conn_count_error(c->owner, code,
		                 "HAProxy closes the connection");
	conn_send_disconnect(c, SPOP_NORMAL);
}

static void conn_handle_frame(struct conn *c, const struct frame *f)
{
	switch (f->type) {
	case FRAME_HAPROXY_HELLO:
		conn_handle_hello(c, f);
		break;
	case FRAME_NOTIFY:
		conn_handle_notify(c, f);
		break;
	case FRAME_HAPROXY_DISCONNECT:
		conn_handle_disconnect(c, f);
		break;
	case FRAME_UNSET:
	case FRAME_AGENT_HELLO:
	case FRAME_AGENT_DISCONNECT:
	case FRAME_ACK:
		conn_refuse(c, SPOP_INVALID);
		break;
	default:
		/* SPOE.txt 3.2.2: unknown frames are skipped; but the first
		 * frame must be a HELLO */
		if (c->state == STATE_HELLO)
			conn_refuse(c, SPOP_INVALID);
	}
}

/* What is received in the other states is read and dropped. */
static bool conn_takes_frames(const struct conn *c)
{
	return c->state == STATE_HELLO || c->state == STATE_RUN;
}

/* Backpressure: nothing is parsed or read until replies have made room. */
static bool conn_is_full(const struct conn *c)
{
	return c->n_pending >= MAX_PENDING || c->out.len > OUT_HIGH;
}

/* Without memory the connection ends: its stream of frames is cut. */
static void conn_hold_bytes(struct conn *c, struct str bytes, size_t size)
{
	if (!held_add(&c->in, bytes, size))
		c->state = STATE_DEAD;
}

/* Handle the frames in `bytes`. A last frame that is not complete is held,
 * with room for its rest; and so is everything that is left when the
 * connection becomes full. `bytes` must not be c->in, which this fills. */
static void conn_process_bytes(struct conn *c, struct str bytes)
{
	enum spop_code code = SPOP_UNKNOWN;
	enum frame_status status;
	size_t used = 0, need = bytes.len;
	struct frame f;

	while (conn_takes_frames(c) && bytes.len > 0) {
		if (conn_is_full(c)) {
			conn_hold_bytes(c, bytes, bytes.len);
			return;
		}
		status = frame_parse(bytes, c->max_in, &f, &used, &need, &code);
		if (status == FRAME_AGAIN) {
			conn_hold_bytes(c, bytes, need);
			return;
		}
		if (status == FRAME_ERROR) {
			conn_refuse(c, code);
			return;
		}
		conn_handle_frame(c, &f);
		bytes = str_from(bytes, used);
	}
}

/* Handle what is held, once it is complete, and then `bytes`. Handling it may
 * hold its tail again, hence the loop; each round consumes a frame, adds to
 * what is held, or finds the connection full. */
static void conn_process_input(struct conn *c, struct str bytes)
{
	struct held old;

	while (conn_takes_frames(c) && c->in.p) {
		held_fill(&c->in, &bytes);
		if (c->in.len < c->in.size)
			return;
		if (conn_is_full(c)) {
			if (bytes.len)
				conn_hold_bytes(c, bytes,
				                c->in.len + bytes.len);
			return;
		}
		old = held_take(&c->in);
		conn_process_bytes(c, str_of(old.p, old.len));
		held_done(&old);
	}
	conn_process_bytes(c, bytes);
}

/* One readv(): the rest of a held frame goes directly to its place, without a
 * copy, and what follows goes into the shared buffer. */
static void conn_read(struct conn *c)
{
	struct conns *cs = c->owner;
	struct held *in = &c->in;
	struct iovec iov[2] = {
		{in->p ? in->p + in->len : NULL, in->size - in->len},
		{cs->read_mem, cs->read_size},
	};
	ssize_t n = readv(c->fd, iov, 2);
	size_t direct;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* EOF, RST: how HAProxy ends health checks, and 3.1+ idle
		 * connections (haproxy.md 1.5) */
		c->state = STATE_DEAD;
		return;
	}
	if (!conn_takes_frames(c))
		return;
	direct = (size_t)n < iov[0].iov_len ? (size_t)n : iov[0].iov_len;
	in->len += direct;
	conn_process_input(c, str_of(cs->read_mem, (size_t)n - direct));
}

static void conn_on_io(void *data, int fd, int events)
{
	struct conn *c = data;

	(void)fd;
	if (events & LOOP_READ)
		conn_read(c);
	conn_mark(c);
}

/* Send AGENT-DISCONNECT on a connection that has no request, no held bytes
 * and no unsent bytes. It is read once more before: a NOTIFY that has arrived
 * meanwhile is still answered, and would fail otherwise. */
static void conn_try_drain(struct conn *c)
{
	if (c->state == STATE_HELLO || c->state == STATE_HEALTHCHECK)
		c->state = STATE_DEAD;
	if (c->state == STATE_RUN && c->n_pending == 0 && !c->in.p &&
	    c->out.len == 0)
		conn_read(c);
	if (c->state == STATE_RUN && c->n_pending == 0 && !c->in.p &&
	    c->out.len == 0)
		conn_send_disconnect(c, SPOP_NORMAL);
}

/* A full connection is not read, so TCP's window stops HAProxy. One that is
 * closing is read for its EOF. */
static void conn_update_watch(struct conn *c)
{
	int events = conn_takes_frames(c) && conn_is_full(c) ? 0 : LOOP_READ;

	if (c->out.len > 0)
		events |= LOOP_WRITE;
	if (events == c->events)
		return;
	c->events = events;
	if (events)
		loop_io_start(c->owner->o.loop, &c->io, c->fd, events,
		              conn_on_io, c);
	else
		loop_io_stop(&c->io);
}

/* The one place where a connection sends, closes, and changes its watcher. */
static void conn_finish_turn(struct conn *c)
{
	if (!conn_flush(c))
		c->state = STATE_DEAD;
	/* it was full when these bytes came, and is no more: no event of the
	 * socket would tell */
	if (conn_takes_frames(c) && c->in.p && !conn_is_full(c))
		conn_process_input(c, STR_NONE);
	if (c->owner->draining)
		conn_try_drain(c);
	/* only the agent's half: a close could reset what HAProxy has not
	 * read yet (conn_send_disconnect()) */
	if (c->state == STATE_CLOSING && c->out.len == 0 && !c->shut) {
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
	if (c->state == STATE_DEAD)
		conn_free(c);
	else
		conn_update_watch(c);
}

static void conn_on_turn(void *data)
{
	struct conns *cs = data;
	struct conn *c;

	/* Requests that were held may be answered at once, which marks their
	 * connection again. Each round leaves less held, so this ends. */
	for (c = conn_next_marked(cs); c; c = conn_next_marked(cs))
		conn_finish_turn(c);
	if (cs->draining && !cs->drained && cs->n == 0) {
		cs->drained = true;
		if (cs->o.on_drained)
			cs->o.on_drained(cs->o.ctx);
	}
}

/* net/accept has a connection. Beyond max_conns, or without memory, it is
 * closed at once, which HAProxy sees as an agent that is down. */
static void conn_on_accepted(void *data, int fd)
{
	struct conns *cs = data;
	const int on = 1;
	struct conn *c = NULL;

	if (cs->n < cs->o.max_conns)
		c = calloc(1, sizeof(*c));
	if (!c) {
		metric_add(cs->m_refused, 1);
		close(fd);
		return;
	}
	/* replies are small and already collected per turn: Nagle's algorithm
	 * would only delay them. Fails on unix sockets, which do not delay. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->owner = cs;
	c->fd = fd;
	c->max_in = HELLO_MAX;
	buf_init(&c->out, HELLO_MAX);
	c->slot = cs->first_free;
	cs->first_free = cs->slots[c->slot].next_free;
	cs->slots[c->slot].conn = c;
	cs->n++;
	conn_start_timer(c, HELLO_MS);
	conn_update_watch(c);
}

static void conn_on_exhausted(void *data)
{
	conn_count_error(data, SPOP_RESOURCE, "accepting none for 200 ms");
}

static void conn_find_metrics(struct conns *cs)
{
	struct metrics *m = cs->o.metrics;

	cs->m_frames = metrics_get(m, "foundry_spop_frames_total", STR_NONE);
	cs->m_acks = metrics_get(m, "foundry_spop_acks_total", STR_NONE);
	cs->m_refused = metrics_get(m, "foundry_spop_refused_total", STR_NONE);
}

struct conns *conns_new(const struct conns_options *o)
{
	struct conns *cs = calloc(1, sizeof(*cs));
	uint32_t i;

	assert(o->max_frame >= SPOP_MIN_FRAME &&
	       o->max_frame <= SPOP_MAX_FRAME);
	assert(o->max_conns > 0 && o->max_conns < UINT32_MAX);
	if (!cs)
		return NULL;
	cs->o = *o;
	/* the largest frame and its length field (SPOE.txt 3.2) */
	cs->read_size = o->max_frame + 4;
	cs->read_mem = malloc(cs->read_size);
	cs->slots = calloc(o->max_conns, sizeof(*cs->slots));
	if (!cs->read_mem || !cs->slots) {
		free(cs->read_mem);
		free(cs->slots);
		free(cs);
		return NULL;
	}
	for (i = 0; i < o->max_conns; i++)
		cs->slots[i] =
			(struct conn_slot){.generation = 1, .next_free = i + 1};
	conn_find_metrics(cs);
	loop_turn_start(o->loop, &cs->turn, conn_on_turn, cs);
	accept_init(&cs->acceptor, o->loop, conn_on_accepted, conn_on_exhausted,
	            cs);
	return cs;
}

void conns_free(struct conns *cs)
{
	size_t i;

	if (!cs)
		return;
	accept_stop(&cs->acceptor);
	loop_turn_stop(&cs->turn);
	for (i = 0; i < cs->o.max_conns; i++)
		if (cs->slots[i].conn)
			conn_release(cs->slots[i].conn);
	free(cs->read_mem);
	free(cs->slots);
	free(cs);
}

bool conns_listen(struct conns *cs, int fd)
{
	return accept_add(&cs->acceptor, fd);
}

/* NULL when that connection has ended or takes no replies any more. */
static struct conn *conn_find(struct conns *cs, struct conn_ref ref)
{
	assert(ref.slot < cs->o.max_conns);
	if (cs->slots[ref.slot].generation != ref.generation)
		return NULL;
	return cs->slots[ref.slot].conn;
}

struct buf *conns_reply(struct conns *cs, struct conn_ref ref)
{
	struct conn *c = conn_find(cs, ref);

	return c ? &c->out : NULL;
}

void conns_replied(struct conns *cs, struct conn_ref ref)
{
	struct conn *c = conn_find(cs, ref);

	if (!c)
		return;
	assert(c->n_pending > 0);
	c->n_pending--;
	metric_add(cs->m_acks, 1);
	conn_mark(c);
}

void conns_drain(struct conns *cs)
{
	size_t i;

	if (cs->draining)
		return;
	cs->draining = true;
	accept_stop(&cs->acceptor);
	for (i = 0; i < cs->o.max_conns; i++)
		if (cs->slots[i].conn)
			conn_mark(cs->slots[i].conn);
}

size_t conns_count(const struct conns *cs)
{
	return cs->n;
}
