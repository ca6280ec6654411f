/*
 * Connections from HAProxy, over a real unix socket and a real loop.
 *
 * The test is HAProxy: it writes frames to a socket, runs the loop until what
 * it expects has come, and holds requests open as long as it likes.
 */
#ifndef TESTS_UNIT_CONN_WORLD_H
#define TESTS_UNIT_CONN_WORLD_H

#include "test.h"

#include "base/log.h"
#include "net/conn.h"
#include "net/listen.h"
#include "spop/ack.h"
#include "spop/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_HELD = 256, MAX_FRAME = 65532, MAX_CONNS = 4 };

static char folder[] = "/tmp/test-conn-XXXXXX";

struct world {
	struct loop *loop;
	struct metrics *metrics;
	struct conns *conns;
	int listener;
	char address[80];
	bool at_once; /* answer inside on_notify */
	size_t reply_len;
	struct conn_ref held[MAX_HELD];
	size_t limits[MAX_HELD];
	size_t lens[MAX_HELD]; /* of the payloads */
	unsigned n_held;
	unsigned n_notify;
	unsigned n_drained;
	struct loop_timer watchdog;
};

/* One connection of "HAProxy". */
struct peer {
	struct world *w;
	int fd;
	struct loop_io io;
	struct buf in;
	unsigned want; /* frames to wait for; 0: the end */
	bool closed;
};

/* --- the agent's side --------------------------------------------------- */

static inline void reply(struct world *w, struct conn_ref ref)
{
	struct buf *out = conns_reply(w->conns, ref);
	static const char filler[60000];
	struct ack a;

	if (!out)
		return;
	ack_begin(&a, out, ref.stream_id, ref.frame_id, MAX_FRAME);
	ack_set_str(&a, "verdict", str_of(filler, w->reply_len));
	assert_true(ack_end(&a));
	conns_replied(w->conns, ref);
}

static inline void on_notify(void *ctx, struct conn_ref ref,
                             const struct frame *f, size_t ack_limit)
{
	struct world *w = ctx;

	w->n_notify++;
	if (w->at_once) {
		reply(w, ref);
		return;
	}
	assert_true(w->n_held < MAX_HELD);
	w->limits[w->n_held] = ack_limit;
	w->lens[w->n_held] = f->payload.len;
	w->held[w->n_held++] = ref;
}

static inline void on_drained(void *ctx)
{
	struct world *w = ctx;

	w->n_drained++;
	loop_stop(w->loop);
}

static inline void on_watchdog(void *data)
{
	(void)data;
	/* nothing a test waits for takes half a minute */
	fprintf(stderr, "test_conn: waited in vain\n");
	abort();
}

static inline int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct conns_options o = {
		.on_notify = on_notify,
		.on_drained = on_drained,
		.ctx = w,
		.max_frame = MAX_FRAME,
		.max_conns = MAX_CONNS,
	};
	char error[256];

	log_set_level(LOG_ERROR);
	o.loop = w->loop = loop_new();
	o.metrics = w->metrics = metrics_new();
	w->conns = conns_new(&o);
	w->reply_len = 5;
	snprintf(w->address, sizeof(w->address), "unix:%s/spop", folder);
	w->listener = listen_stream(str_c(w->address), 0600, STR_NONE, error,
	                            sizeof(error));
	*state = w;
	return w->listener >= 0 && conns_listen(w->conns, w->listener) ? 0 : -1;
}

static inline int tear_down(void **state)
{
	struct world *w = *state;

	conns_free(w->conns);
	close(w->listener);
	listen_unlink(str_c(w->address));
	loop_timer_stop(&w->watchdog);
	metrics_free(w->metrics);
	loop_free(w->loop);
	free(w);
	return 0;
}

static inline int64_t counted(struct world *w, const char *name,
                              const char *labels)
{
	return metric_value(metrics_get(w->metrics, name, str_c(labels)));
}

/* --- HAProxy's side ----------------------------------------------------- */

static inline unsigned n_frames(const struct buf *in)
{
	struct str bytes = buf_str(in);
	enum spop_code code;
	size_t used, need;
	struct frame f;
	unsigned n = 0;

	while (frame_parse(bytes, SPOP_MAX_FRAME, &f, &used, &need, &code) ==
	       FRAME_OK) {
		bytes = str_from(bytes, used);
		n++;
	}
	return n;
}

static inline void on_peer(void *data, int fd, int events)
{
	struct peer *p = data;
	ssize_t n;

	(void)events;
	assert_true(buf_reserve(&p->in, 65536));
	n = read(fd, p->in.p + p->in.len, 65536);
	if (n > 0)
		p->in.len += (size_t)n;
	p->closed = n <= 0;
	if (p->closed || (p->want && n_frames(&p->in) >= p->want))
		loop_stop(p->w->loop);
}

static inline void run(struct world *w)
{
	loop_timer_start(w->loop, &w->watchdog, 30000, on_watchdog, w);
	loop_run(w->loop);
	loop_timer_stop(&w->watchdog);
}

static inline bool has(const struct peer *p, unsigned want)
{
	return want ? n_frames(&p->in) >= want : p->closed;
}

/* Run until `want` frames are in p->in, or for 0 until the agent closes. */
static inline void receive(struct peer *p, unsigned want)
{
	p->want = want;
	if (has(p, want))
		return;
	loop_io_start(p->w->loop, &p->io, p->fd, LOOP_READ, on_peer, p);
	/* on_drained stops the loop, too */
	while (!has(p, want) && !(want && p->closed))
		run(p->w);
	loop_io_stop(&p->io);
	assert_true(has(p, want));
}

static inline void on_tick(void *data)
{
	struct world *w = data;

	loop_stop(w->loop);
}

/* Let the agent do all that it can do now. A timer of 0 fires after the
 * events that are there; some follow from others. */
static inline void settle(struct world *w)
{
	struct loop_timer t = {.loop = NULL};
	int i;

	for (i = 0; i < 30; i++) {
		loop_timer_start(w->loop, &t, 0, on_tick, w);
		run(w);
	}
	loop_timer_stop(&t);
}

static inline void dial(struct world *w, struct peer *p)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	*p = (struct peer){.w = w};
	buf_init(&p->in, 64 * 1024 * 1024);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", w->address + 5);
	p->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(p->fd, (struct sockaddr *)&un, sizeof(un)), 0);
}

static inline void hang_up(struct peer *p)
{
	loop_io_stop(&p->io);
	close(p->fd);
	buf_done(&p->in);
}

static inline void say(struct peer *p, const void *bytes, size_t len)
{
	assert_int_equal(send(p->fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void say_str(struct peer *p, struct str s)
{
	say(p, s.p, s.len);
}

static inline void add_hello(struct buf *b, uint32_t max_frame, bool check)
{
	size_t at = frame_begin(b, FRAME_HAPROXY_HELLO, 0, 0);

	value_write_string(b, STR("supported-versions"));
	value_write_str(b, STR("2.0"));
	value_write_string(b, STR("max-frame-size"));
	value_write_uint32(b, max_frame);
	value_write_string(b, STR("capabilities"));
	value_write_str(b, check ? STR_NONE : STR("pipelining,async"));
	if (check) {
		value_write_string(b, STR("healthcheck"));
		value_write_bool(b, true);
	}
	assert_true(frame_end(b, at));
}

static inline void add_notify(struct buf *b, uint64_t stream, size_t body_len)
{
	static const char body[200000];
	size_t at = frame_begin(b, FRAME_NOTIFY, stream, 1);

	value_write_string(b, STR("m"));
	buf_add(b, "\x01", 1);
	value_write_string(b, STR("body"));
	value_write_str(b, str_of(body, body_len));
	assert_true(frame_end(b, at));
}

static inline void say_notify(struct peer *p, uint64_t stream, size_t body_len)
{
	struct buf b;

	buf_init(&b, 1024 * 1024);
	add_notify(&b, stream, body_len);
	say_str(p, buf_str(&b));
	buf_done(&b);
}

/* Takes the first frame out of p->in; its payload is dropped. */
static inline struct frame take(struct peer *p)
{
	enum spop_code code;
	size_t used, need;
	struct frame f = {.type = FRAME_UNSET};

	assert_int_equal(frame_parse(buf_str(&p->in), SPOP_MAX_FRAME, &f, &used,
	                             &need, &code),
	                 FRAME_OK);
	buf_consume(&p->in, used);
	return f;
}

static inline void expect_ack(struct peer *p, uint64_t stream)
{
	struct frame f = take(p);

	assert_int_equal(f.type, FRAME_ACK);
	assert_int_equal(f.stream_id, stream);
	assert_int_equal(f.frame_id, 1);
}

/* AGENT-DISCONNECT with this code, and then the end. */
static inline void expect_bye(struct peer *p, enum spop_code want)
{
	enum spop_code code;
	size_t used, need;
	struct frame f;

	receive(p, 0);
	assert_int_equal(frame_parse(buf_str(&p->in), SPOP_MAX_FRAME, &f, &used,
	                             &need, &code),
	                 FRAME_OK);
	assert_int_equal(f.type, FRAME_AGENT_DISCONNECT);
	assert_int_equal(disconnect_read(&f), want);
	assert_int_equal(used, p->in.len);
}

static inline void open_with(struct world *w, struct peer *p,
                             uint32_t max_frame)
{
	struct buf b;

	dial(w, p);
	buf_init(&b, 4096);
	add_hello(&b, max_frame, false);
	say_str(p, buf_str(&b));
	buf_done(&b);
	receive(p, 1);
	assert_int_equal(take(p).type, FRAME_AGENT_HELLO);
}

/* A connection after its HELLO. */
static inline void open_peer(struct world *w, struct peer *p)
{
	open_with(w, p, MAX_FRAME);
}

static inline int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
