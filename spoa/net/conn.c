/*
 * net/conn: connections from HAProxy.
 *
 *   on_io -> conn_read -> conn_input -> conn_take -> conn_frame -> on_notify
 *   on_turn -> conn_settle -> conn_flush, and whatever follows from it
 *
 * Reading only changes state and marks the connection; writing, closing and
 * changing what is watched happens in conn_settle, once per loop turn. So no
 * connection vanishes under a callback.
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
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	/* a HELLO is 130 bytes; nothing larger before we know each other */
	HELLO_MAX = 4096,
	/* HAProxy has 20 by default; 2.6 and 3.0 can be told otherwise */
	MAX_PENDING = 64,
	/* unsent bytes from which on we read no further requests */
	OUT_HIGH = 128 * 1024,
	/* memory an idle connection may keep */
	OUT_KEEP = 16 * 1024,
	ACK_SHARE = 20,
	/* room for a refusal, however small the frames are */
	ACK_LEAST = 128,
	HELLO_MS = 5000,
	STALL_MS = 10000,
	LINGER_MS = 1000,
};

enum conn_state {
	STATE_HELLO = 0, /* waits for HAPROXY-HELLO */
	STATE_RUN = 1,
	STATE_CHECK = 2, /* a health check, answered: HAProxy closes */
	STATE_BYE = 3,   /* AGENT-DISCONNECT is on its way: HAProxy closes */
	STATE_DEAD = 4,  /* to be freed */
};

struct conn {
	struct conns *owner;
	LIST_ENTRY(conn) marked;
	bool is_marked;
	uint32_t slot;
	enum conn_state state;
	int fd;
	int events; /* what io watches for */
	struct loop_io io;
	struct loop_timer timer; /* of HELLO, of a stalled write, of BYE */
	size_t max_in;
	size_t ack_limit;
	unsigned n_pending; /* NOTIFYs without a reply */
	bool shut;          /* our side is closed */
	struct held in;
	struct buf out;
};

struct slot {
	struct conn *conn; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct conns {
	struct conns_options o;
	struct slot *slots;
	uint32_t first_free; /* max_conns: none */
	size_t n;
	LIST_HEAD(marked_conns, conn) marked;
	struct loop_turn turn;
	struct acceptor acceptor;
	bool draining, drained;
	int last_code; /* that was logged */
	struct metric *m_frames, *m_acks, *m_connections, *m_refused;
	size_t read_size;
	char *read_mem;
};

static void conn_mark(struct conn *c)
{
	if (c->is_marked)
		return;
	c->is_marked = true;
	LIST_INSERT_HEAD(&c->owner->marked, c, marked);
}

/* Count; log when it is another error than the last one, as a wrong setting can
 * end thousands of connections a second. */
static void count_error(struct conns *cs, enum spop_code code, const char *next)
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

/* No reply can reach this connection's requests any more. They go on: what
 * they reserved is given back where their answer finds nobody. */
static void conn_abandon(struct conn *c)
{
	c->owner->slots[c->slot].generation++;
	c->n_pending = 0;
}

/* Everything but the callback. */
static void conn_release(struct conn *c)
{
	struct conns *cs = c->owner;

	loop_io_stop(&c->io);
	loop_timer_stop(&c->timer);
	close(c->fd);
	if (c->is_marked)
		LIST_REMOVE(c, marked);
	cs->slots[c->slot].conn = NULL;
	cs->slots[c->slot].next_free = cs->first_free;
	cs->first_free = c->slot;
	cs->n--;
	metric_set(cs->m_connections, (int64_t)cs->n);
	held_done(&c->in);
	buf_done(&c->out);
	free(c);
}

static void conn_free(struct conn *c)
{
	conn_abandon(c);
	conn_release(c);
}

static void on_conn_timer(void *data)
{
	struct conn *c = data;

	if (c->state == STATE_HELLO)
		count_error(c->owner, SPOP_TIMEOUT, "no HELLO came, closing");
	else if (c->state == STATE_RUN)
		count_error(c->owner, SPOP_IO,
		            "HAProxy does not take its answers, closing");
	conn_free(c);
}

static void conn_timer(struct conn *c, uint64_t ms)
{
	loop_timer_start(c->owner->o.loop, &c->timer, ms, on_conn_timer, c);
}

/* False when the connection is broken. Sends once: what the kernel does not
 * take waits for LOOP_WRITE. */
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
			conn_timer(c, STALL_MS);
	}
	return true;
}

/* Say AGENT-DISCONNECT. HAProxy closes when it has read that; to close first
 * could reset the connection before. */
static void conn_bye(struct conn *c, enum spop_code code)
{
	conn_abandon(c);
	c->state = STATE_BYE;
	if (!disconnect_write(&c->out, code, spop_code_name(code)))
		c->state = STATE_DEAD;
	conn_timer(c, LINGER_MS);
	conn_mark(c);
}

static void conn_refuse(struct conn *c, enum spop_code code)
{
	count_error(c->owner, code, "closing the connection");
	conn_bye(c, code);
}

static void conn_hello(struct conn *c, const struct frame *f)
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
	/* 3.1.0-3.1.7 send what they announced, whatever we answer */
	c->max_in = h.max_frame;
	if (h.max_frame > o->max_frame)
		h.max_frame = (uint32_t)o->max_frame;
	c->ack_limit = h.max_frame / ACK_SHARE;
	if (c->ack_limit < ACK_LEAST)
		c->ack_limit = ACK_LEAST;
	/* conn_full() stops reading at OUT_HIGH; the replies then due, and
	 * one DISCONNECT, must still fit */
	c->out.max = OUT_HIGH + MAX_PENDING * c->ack_limit + HELLO_MAX;
	c->state = h.healthcheck ? STATE_CHECK : STATE_RUN;
	if (c->state == STATE_RUN)
		loop_timer_stop(&c->timer);
	/* at once, so that nothing can come into the same write */
	if (!hello_write(&c->out, &h) || !conn_flush(c))
		c->state = STATE_DEAD;
}

static void conn_notify(struct conn *c, const struct frame *f)
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

/* HAProxy up to 3.0 says NORMAL at a soft stop and TIMEOUT when idle, and
 * waits for our answer. */
static void conn_disconnect(struct conn *c, const struct frame *f)
{
	enum spop_code code = disconnect_read(f);

	if (code != SPOP_NORMAL && code != SPOP_TIMEOUT)
		count_error(c->owner, code, "HAProxy closes the connection");
	conn_bye(c, SPOP_NORMAL);
}

static void conn_frame(struct conn *c, const struct frame *f)
{
	switch (f->type) {
	case FRAME_HAPROXY_HELLO:
		conn_hello(c, f);
		break;
	case FRAME_NOTIFY:
		conn_notify(c, f);
		break;
	case FRAME_HAPROXY_DISCONNECT:
		conn_disconnect(c, f);
		break;
	case FRAME_UNSET:
	case FRAME_AGENT_HELLO:
	case FRAME_AGENT_DISCONNECT:
	case FRAME_ACK:
		conn_refuse(c, SPOP_INVALID);
		break;
	default: /* SPOE.txt 3.2.2: unknown frames may be skipped */
		if (c->state == STATE_HELLO)
			conn_refuse(c, SPOP_INVALID);
	}
}

static bool conn_listens(const struct conn *c)
{
	return c->state == STATE_HELLO || c->state == STATE_RUN;
}

static bool conn_full(const struct conn *c)
{
	return c->n_pending >= MAX_PENDING || c->out.len > OUT_HIGH;
}

static void conn_hold(struct conn *c, struct str bytes, size_t size)
{
	if (!held_add(&c->in, bytes, size))
		c->state = STATE_DEAD;
}

/* Handle the frames in `bytes`. A frame in part is held, and so is all that
 * is left when the connection is full. */
static void conn_take(struct conn *c, struct str bytes)
{
	enum spop_code code = SPOP_UNKNOWN;
	enum frame_status status;
	size_t used = 0, need = bytes.len;
	struct frame f;

	while (conn_listens(c) && bytes.len > 0) {
		if (conn_full(c)) {
			conn_hold(c, bytes, bytes.len);
			return;
		}
		status = frame_parse(bytes, c->max_in, &f, &used, &need, &code);
		if (status == FRAME_AGAIN) {
			conn_hold(c, bytes, need);
			return;
		}
		if (status == FRAME_ERROR) {
			conn_refuse(c, code);
			return;
		}
		conn_frame(c, &f);
		bytes = str_from(bytes, used);
	}
}

/* Takes what is held, as far as it is complete, and then `bytes`. */
static void conn_input(struct conn *c, struct str bytes)
{
	struct held old;

	while (conn_listens(c) && c->in.p) {
		held_fill(&c->in, &bytes);
		if (c->in.len < c->in.size)
			return;
		if (conn_full(c)) {
			if (bytes.len)
				conn_hold(c, bytes, c->in.len + bytes.len);
			return;
		}
		old = held_take(&c->in);
		conn_take(c, str_of(old.p, old.len));
		held_done(&old);
	}
	conn_take(c, bytes);
}

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
		c->state = STATE_DEAD;
		return;
	}
	if (!conn_listens(c))
		return;
	direct = (size_t)n < iov[0].iov_len ? (size_t)n : iov[0].iov_len;
	in->len += direct;
	conn_input(c, str_of(cs->read_mem, (size_t)n - direct));
}

static void on_io(void *data, int fd, int events)
{
	struct conn *c = data;

	(void)fd;
	if (events & LOOP_READ)
		conn_read(c);
	conn_mark(c);
}

/* A connection with nothing open says goodbye, after a last look for what
 * HAProxy sent meanwhile: those requests would fail. */
static void conn_drain(struct conn *c)
{
	if (c->state == STATE_HELLO || c->state == STATE_CHECK)
		c->state = STATE_DEAD;
	if (c->state == STATE_RUN && c->n_pending == 0 && !c->in.p &&
	    c->out.len == 0)
		conn_read(c);
	if (c->state == STATE_RUN && c->n_pending == 0 && !c->in.p &&
	    c->out.len == 0)
		conn_bye(c, SPOP_NORMAL);
}

static void conn_watch(struct conn *c)
{
	int events = conn_listens(c) && conn_full(c) ? 0 : LOOP_READ;

	if (c->out.len > 0)
		events |= LOOP_WRITE;
	if (events == c->events)
		return;
	c->events = events;
	if (events)
		loop_io_start(c->owner->o.loop, &c->io, c->fd, events, on_io,
		              c);
	else
		loop_io_stop(&c->io);
}

static void conn_settle(struct conn *c)
{
	if (!conn_flush(c))
		c->state = STATE_DEAD;
	if (conn_listens(c) && c->in.p && !conn_full(c))
		conn_input(c, STR_NONE);
	if (c->owner->draining)
		conn_drain(c);
	if (c->state == STATE_BYE && c->out.len == 0 && !c->shut) {
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
	if (c->state == STATE_DEAD)
		conn_free(c);
	else
		conn_watch(c);
}

static void on_turn(void *data)
{
	struct conns *cs = data;

	/* what is held may be answered at once and mark its connection again;
	 * each round leaves less of it, so this ends */
	while (!LIST_EMPTY(&cs->marked)) {
		struct conn *c = LIST_FIRST(&cs->marked);

		LIST_REMOVE(c, marked);
		c->is_marked = false;
		conn_settle(c);
	}
	if (cs->draining && !cs->drained && cs->n == 0) {
		cs->drained = true;
		if (cs->o.on_drained)
			cs->o.on_drained(cs->o.ctx);
	}
}

static void on_accepted(void *data, int fd)
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
	/* fails on unix sockets, which have no such delay */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->owner = cs;
	c->fd = fd;
	c->max_in = HELLO_MAX;
	buf_init(&c->out, HELLO_MAX);
	c->slot = cs->first_free;
	cs->first_free = cs->slots[c->slot].next_free;
	cs->slots[c->slot].conn = c;
	cs->n++;
	metric_set(cs->m_connections, (int64_t)cs->n);
	conn_timer(c, HELLO_MS);
	conn_watch(c);
}

static void on_exhausted(void *data)
{
	count_error(data, SPOP_RESOURCE, "accepting none for 200 ms");
}

static void find_metrics(struct conns *cs)
{
	struct metrics *m = cs->o.metrics;
	struct buf labels;

	buf_init(&labels, 256);
	metrics_label(&labels, "worker",
	              str_c(cs->o.worker ? cs->o.worker : "0"));
	cs->m_connections =
		metrics_get(m, "foundry_spop_connections", buf_str(&labels));
	buf_done(&labels);
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
	/* a whole frame with its length */
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
			(struct slot){.generation = 1, .next_free = i + 1};
	LIST_INIT(&cs->marked);
	find_metrics(cs);
	metric_set(cs->m_connections, 0);
	loop_turn_start(o->loop, &cs->turn, on_turn, cs);
	accept_init(&cs->acceptor, o->loop, on_accepted, on_exhausted, cs);
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

static struct conn *find(struct conns *cs, struct conn_ref ref)
{
	assert(ref.slot < cs->o.max_conns);
	if (cs->slots[ref.slot].generation != ref.generation)
		return NULL;
	return cs->slots[ref.slot].conn;
}

struct buf *conns_reply(struct conns *cs, struct conn_ref ref)
{
	struct conn *c = find(cs, ref);

	return c ? &c->out : NULL;
}

void conns_replied(struct conns *cs, struct conn_ref ref)
{
	struct conn *c = find(cs, ref);

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
