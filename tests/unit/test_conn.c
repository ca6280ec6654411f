/*
 * Connections from HAProxy, over a real unix socket and a real loop.
 *
 * The test is HAProxy: it writes frames to a socket, runs the loop until what
 * it expects has come, and holds requests open as long as it likes.
 */
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
	unsigned n_closed;
	uint32_t closed_slot, closed_generation;
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

static void reply(struct world *w, struct conn_ref ref)
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

static void on_notify(void *ctx, struct conn_ref ref, const struct frame *f,
                      size_t ack_limit)
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

static void on_closed(void *ctx, uint32_t slot, uint32_t generation)
{
	struct world *w = ctx;

	w->n_closed++;
	w->closed_slot = slot;
	w->closed_generation = generation;
}

static void on_drained(void *ctx)
{
	struct world *w = ctx;

	w->n_drained++;
	loop_stop(w->loop);
}

static void on_watchdog(void *data)
{
	(void)data;
	/* nothing a test waits for takes half a minute */
	fprintf(stderr, "test_conn: waited in vain\n");
	abort();
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct conns_options o = {
		.on_notify = on_notify,
		.on_closed = on_closed,
		.on_drained = on_drained,
		.ctx = w,
		.worker = "7",
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

static int tear_down(void **state)
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

static int64_t counted(struct world *w, const char *name, const char *labels)
{
	return metric_value(metrics_get(w->metrics, name, str_c(labels)));
}

/* --- HAProxy's side ----------------------------------------------------- */

static unsigned n_frames(const struct buf *in)
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

static void on_peer(void *data, int fd, int events)
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

static void run(struct world *w)
{
	loop_timer_start(w->loop, &w->watchdog, 30000, on_watchdog, w);
	loop_run(w->loop);
	loop_timer_stop(&w->watchdog);
}

static bool has(const struct peer *p, unsigned want)
{
	return want ? n_frames(&p->in) >= want : p->closed;
}

/* Run until `want` frames are in p->in, or for 0 until the agent closes. */
static void receive(struct peer *p, unsigned want)
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

static void on_tick(void *data)
{
	struct world *w = data;

	loop_stop(w->loop);
}

/* Let the agent do all that it can do now. A timer of 0 fires after the
 * events that are there; some follow from others. */
static void settle(struct world *w)
{
	struct loop_timer t = {.loop = NULL};
	int i;

	for (i = 0; i < 30; i++) {
		loop_timer_start(w->loop, &t, 0, on_tick, w);
		run(w);
	}
	loop_timer_stop(&t);
}

static void dial(struct world *w, struct peer *p)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	*p = (struct peer){.w = w};
	buf_init(&p->in, 64 * 1024 * 1024);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", w->address + 5);
	p->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(p->fd, (struct sockaddr *)&un, sizeof(un)), 0);
}

static void hang_up(struct peer *p)
{
	loop_io_stop(&p->io);
	close(p->fd);
	buf_done(&p->in);
}

static void say(struct peer *p, const void *bytes, size_t len)
{
	assert_int_equal(send(p->fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void say_str(struct peer *p, struct str s)
{
	say(p, s.p, s.len);
}

static void add_hello(struct buf *b, uint32_t max_frame, bool check)
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

static void add_notify(struct buf *b, uint64_t stream, size_t body_len)
{
	static const char body[200000];
	size_t at = frame_begin(b, FRAME_NOTIFY, stream, 1);

	value_write_string(b, STR("m"));
	buf_add(b, "\x01", 1);
	value_write_string(b, STR("body"));
	value_write_str(b, str_of(body, body_len));
	assert_true(frame_end(b, at));
}

static void say_notify(struct peer *p, uint64_t stream, size_t body_len)
{
	struct buf b;

	buf_init(&b, 1024 * 1024);
	add_notify(&b, stream, body_len);
	say_str(p, buf_str(&b));
	buf_done(&b);
}

/* Takes the first frame out of p->in; its payload is dropped. */
static struct frame take(struct peer *p)
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

static void expect_ack(struct peer *p, uint64_t stream)
{
	struct frame f = take(p);

	assert_int_equal(f.type, FRAME_ACK);
	assert_int_equal(f.stream_id, stream);
	assert_int_equal(f.frame_id, 1);
}

/* AGENT-DISCONNECT with this code, and then the end. */
static void expect_bye(struct peer *p, enum spop_code want)
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

static void open_with(struct world *w, struct peer *p, uint32_t max_frame)
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
static void open_peer(struct world *w, struct peer *p)
{
	open_with(w, p, MAX_FRAME);
}

/* --- tests: HELLO ------------------------------------------------------- */

static void hello_in_pieces(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf b;
	size_t i;

	dial(w, &p);
	buf_init(&b, 4096);
	add_hello(&b, 16380, false);
	for (i = 0; i < b.len; i++) {
		assert_int_equal(p.in.len, 0);
		say(&p, b.p + i, 1);
		settle(w);
	}
	receive(&p, 1);
	assert_int_equal(take(&p).type, FRAME_AGENT_HELLO);
	assert_int_equal(p.in.len, 0);
	buf_done(&b);
	hang_up(&p);
}

/* The items of an AGENT-HELLO in p->in. */
static void agent_hello(struct peer *p, uint32_t *max_frame, struct str *caps)
{
	enum spop_code code;
	size_t used, need;
	struct frame f;
	struct cursor c;

	assert_int_equal(frame_parse(buf_str(&p->in), SPOP_MAX_FRAME, &f, &used,
	                             &need, &code),
	                 FRAME_OK);
	c = cursor_of(f.payload);
	cursor_string(&c);
	assert_true(str_eq(value_read(&c).bytes, STR("2.0")));
	cursor_string(&c);
	*max_frame = (uint32_t)value_read(&c).number;
	cursor_string(&c);
	*caps = value_read(&c).bytes;
	assert_false(c.bad);
}

static void frame_size_is_negotiated_per_connection(void **state)
{
	static const uint32_t sizes[][2] = {
		{16380, 16380}, {MAX_FRAME, MAX_FRAME}, {262140, MAX_FRAME}};
	struct world *w = *state;
	size_t i;

	for (i = 0; i < 3; i++) {
		struct peer p;
		struct buf b;
		uint32_t got;
		struct str caps;

		dial(w, &p);
		buf_init(&b, 4096);
		add_hello(&b, sizes[i][0], false);
		say_str(&p, buf_str(&b));
		receive(&p, 1);
		agent_hello(&p, &got, &caps);
		assert_int_equal(got, sizes[i][1]);
		assert_true(str_eq(caps, STR("pipelining")));
		say_notify(&p, i, 10);
		settle(w);
		assert_int_equal(w->n_held, i + 1);
		assert_int_equal(w->limits[i], sizes[i][1] / 20);
		hang_up(&p);
		buf_done(&b);
	}
}

static void tiny_frames_still_have_room_for_a_refusal(void **state)
{
	struct world *w = *state;
	struct peer p;

	open_with(w, &p, 256);
	say_notify(&p, 1, 10);
	settle(w);
	assert_int_equal(w->limits[0], 128);
	hang_up(&p);
}

static void health_check_is_answered(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf b;
	uint32_t max;
	struct str caps;

	dial(w, &p);
	buf_init(&b, 4096);
	add_hello(&b, 16380, true);
	say_str(&p, buf_str(&b));
	receive(&p, 1);
	agent_hello(&p, &max, &caps);
	assert_int_equal(caps.len, 0);
	assert_int_equal(n_frames(&p.in), 1);
	hang_up(&p);
	settle(w);
	assert_int_equal(conns_count(w->conns), 0);
	buf_done(&b);
}

static void hello_that_is_wrong_is_refused(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf b;

	dial(w, &p);
	buf_init(&b, 4096);
	add_hello(&b, 255, false);
	say_str(&p, buf_str(&b));
	expect_bye(&p, SPOP_BAD_FRAME_SIZE);
	assert_int_equal(counted(w, "foundry_spop_errors_total", "code=\"9\""),
	                 1);
	buf_done(&b);
	hang_up(&p);
}

static void attack_notify_before_hello(void **state)
{
	struct world *w = *state;
	struct peer p;

	dial(w, &p);
	say_notify(&p, 1, 10);
	expect_bye(&p, SPOP_INVALID);
	assert_int_equal(w->n_notify, 0);
	hang_up(&p);
}

static void attack_hello_of_a_megabyte(void **state)
{
	struct world *w = *state;
	struct peer p;

	dial(w, &p);
	say(&p, "\x00\x0f\xff\xff", 4);
	expect_bye(&p, SPOP_TOO_BIG);
	hang_up(&p);
}

static void attack_second_hello(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf b;

	open_peer(w, &p);
	buf_init(&b, 4096);
	add_hello(&b, 16380, false);
	say_str(&p, buf_str(&b));
	expect_bye(&p, SPOP_INVALID);
	buf_done(&b);
	hang_up(&p);
}

/* --- tests: requests ---------------------------------------------------- */

static void many_notifies_in_one_write(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf b;
	uint64_t i;

	w->at_once = true;
	open_peer(w, &p);
	buf_init(&b, 65536);
	for (i = 0; i < 20; i++) /* stream-id 0 is legal */
		add_notify(&b, i, 100);
	say_str(&p, buf_str(&b));
	receive(&p, 20);
	for (i = 0; i < 20; i++)
		expect_ack(&p, i);
	assert_int_equal(counted(w, "foundry_spop_frames_total", ""), 20);
	assert_int_equal(counted(w, "foundry_spop_acks_total", ""), 20);
	buf_done(&b);
	hang_up(&p);
}

static void frames_cut_at_every_byte(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf b;
	size_t cut;

	w->at_once = true;
	open_peer(w, &p);
	buf_init(&b, 4096);
	add_notify(&b, 1, 20);
	add_notify(&b, 2, 0);
	add_notify(&b, 300, 30);
	for (cut = 1; cut < b.len; cut++) {
		say(&p, b.p, cut);
		settle(w);
		say(&p, b.p + cut, b.len - cut);
		receive(&p, 3);
		expect_ack(&p, 1);
		expect_ack(&p, 2);
		expect_ack(&p, 300);
	}
	buf_done(&b);
	hang_up(&p);
}

static void frame_that_takes_many_reads(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf b;
	size_t at = 0;

	open_peer(w, &p);
	buf_init(&b, 1024 * 1024);
	add_notify(&b, 1, 60000);
	add_notify(&b, 2, 5);
	while (at < b.len) {
		size_t n = b.len - at < 7001 ? b.len - at : 7001;

		say(&p, b.p + at, n);
		at += n;
		settle(w);
	}
	assert_int_equal(w->n_held, 2);
	assert_int_equal(w->lens[0], 2 + 1 + 5 + 4 + 60000);
	assert_int_equal(w->lens[1], 2 + 1 + 5 + 2 + 5);
	buf_done(&b);
	hang_up(&p);
}

static void replies_in_any_order(void **state)
{
	struct world *w = *state;
	struct peer p;
	unsigned i;

	open_peer(w, &p);
	for (i = 0; i < 5; i++)
		say_notify(&p, 10 + i, 10);
	settle(w);
	assert_int_equal(w->n_held, 5);
	for (i = 5; i-- > 0;)
		reply(w, w->held[i]);
	receive(&p, 5);
	for (i = 5; i-- > 0;)
		expect_ack(&p, 10 + i);
	hang_up(&p);
}

static void notify_without_messages_is_a_request(void **state)
{
	struct world *w = *state;
	struct peer p;

	w->at_once = true;
	open_peer(w, &p);
	say(&p, "\0\0\0\x07\x03\0\0\0\x01\x05\x01", 11);
	receive(&p, 1);
	expect_ack(&p, 5);
	hang_up(&p);
}

static void unknown_frames_are_skipped(void **state)
{
	struct world *w = *state;
	struct peer p;

	w->at_once = true;
	open_peer(w, &p);
	say(&p, "\0\0\0\x07\x32\0\0\0\x01\x05\x01", 11);
	say_notify(&p, 6, 10);
	receive(&p, 1);
	expect_ack(&p, 6);
	hang_up(&p);
}

static void reply_after_close_does_nothing(void **state)
{
	struct world *w = *state;
	struct peer p, q;

	open_peer(w, &p);
	say_notify(&p, 1, 10);
	say_notify(&p, 2, 10);
	settle(w);
	assert_int_equal(w->n_held, 2);
	hang_up(&p);
	settle(w);
	assert_int_equal(conns_count(w->conns), 0);
	assert_int_equal(w->n_closed, 1);
	assert_int_equal(w->closed_slot, w->held[0].slot);
	assert_int_equal(w->closed_generation, w->held[0].generation);
	/* the slot is someone else's now */
	open_peer(w, &q);
	say_notify(&q, 1, 10);
	settle(w);
	assert_int_equal(w->held[2].slot, w->held[0].slot);
	assert_null(conns_reply(w->conns, w->held[0]));
	conns_replied(w->conns, w->held[0]);
	reply(w, w->held[2]);
	receive(&q, 1);
	expect_ack(&q, 1);
	hang_up(&q);
}

static void close_without_requests_is_not_told(void **state)
{
	struct world *w = *state;
	struct peer p;

	w->at_once = true;
	open_peer(w, &p);
	say_notify(&p, 1, 10);
	receive(&p, 1);
	assert_int_equal(counted(w, "foundry_spop_connections", "worker=\"7\""),
	                 1);
	hang_up(&p);
	settle(w);
	assert_int_equal(counted(w, "foundry_spop_connections", "worker=\"7\""),
	                 0);
	assert_int_equal(w->n_closed, 0);
}

/* --- tests: faults ------------------------------------------------------ */

static void attack_fragments(void **state)
{
	static const struct str all[] = {
		/* NOTIFY without FIN; UNSET with it */
		STR_INIT("\0\0\0\x08\x03\0\0\0\0\x01\x01p"),
		STR_INIT("\0\0\0\x08\0\0\0\0\x01\x01\x01p"),
	};
	struct world *w = *state;
	struct peer p;
	size_t i;

	for (i = 0; i < 2; i++) {
		open_peer(w, &p);
		say_str(&p, all[i]);
		expect_bye(&p, SPOP_FRAGMENTED);
		hang_up(&p);
	}
	assert_int_equal(counted(w, "foundry_spop_errors_total", "code=\"10\""),
	                 2);
}

static void attack_frame_above_the_maximum(void **state)
{
	struct world *w = *state;
	struct peer p;

	open_with(w, &p, 16380);
	say(&p, "\x00\x00\x3f\xfd", 4); /* 16381 */
	expect_bye(&p, SPOP_TOO_BIG);
	hang_up(&p);
}

static void frame_as_large_as_announced_is_taken(void **state)
{
	/* HAProxy 3.1.0-3.1.7 do not care that we offered less */
	struct world *w = *state;
	struct peer p;
	struct buf b;

	open_with(w, &p, 262140);
	buf_init(&b, 1024 * 1024);
	add_notify(&b, 1, 150000);
	say_str(&p, buf_str(&b));
	settle(w);
	assert_int_equal(w->n_held, 1);
	buf_done(&b);
	hang_up(&p);
}

static void requests_of_a_refused_connection_are_gone(void **state)
{
	struct world *w = *state;
	struct peer p;

	open_peer(w, &p);
	say_notify(&p, 1, 10);
	settle(w);
	say(&p, "\0\0\0\0", 4);
	settle(w);
	assert_int_equal(w->n_closed, 1);
	assert_null(conns_reply(w->conns, w->held[0]));
	/* what it still sends is not looked at */
	say_notify(&p, 2, 10);
	expect_bye(&p, SPOP_INVALID);
	assert_int_equal(w->n_notify, 1);
	assert_int_equal(w->n_closed, 1);
	hang_up(&p);
}

static void haproxy_disconnect_is_answered(void **state)
{
	/* code 2, the end of `timeout idle`, is no error */
	static const struct str bye =
		STR_INIT("\0\0\0\x1c\x02\0\0\0\x01\0\0\x0bstatus-code\x03\x02"
	                 "\x01m\x08\x03"
	                 "bye");
	struct world *w = *state;
	struct peer p;

	open_peer(w, &p);
	say_str(&p, bye);
	expect_bye(&p, SPOP_NORMAL);
	assert_int_equal(counted(w, "foundry_spop_errors_total", "code=\"2\""),
	                 0);
	hang_up(&p);
}

static void peer_that_does_not_close_is_closed(void **state)
{
	struct world *w = *state;
	struct peer p;

	open_peer(w, &p);
	say(&p, "\0\0\0\0", 4);
	expect_bye(&p, SPOP_INVALID);
	/* only half closed, so that no reset takes the DISCONNECT away ... */
	assert_int_equal(conns_count(w->conns), 1);
	/* ... and our half stays open: the agent gives up by itself */
	conns_drain(w->conns);
	run(w);
	assert_int_equal(conns_count(w->conns), 0);
	hang_up(&p);
}

static void attack_more_connections_than_allowed(void **state)
{
	struct world *w = *state;
	struct peer p[MAX_CONNS], more;
	unsigned i;

	for (i = 0; i < MAX_CONNS; i++)
		open_peer(w, &p[i]);
	dial(w, &more);
	receive(&more, 0);
	assert_int_equal(more.in.len, 0);
	assert_int_equal(counted(w, "foundry_spop_refused_total", ""), 1);
	hang_up(&more);
	hang_up(&p[0]);
	settle(w);
	open_peer(w, &p[0]);
	for (i = 0; i < MAX_CONNS; i++)
		hang_up(&p[i]);
}

static void out_of_descriptors_is_a_pause(void **state)
{
	struct world *w = *state;
	struct rlimit old, none;
	struct peer p;

	dial(w, &p);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = (rlim_t)p.fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	settle(w);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(conns_count(w->conns), 0);
	/* once, not once a turn */
	assert_int_equal(counted(w, "foundry_spop_errors_total", "code=\"13\""),
	                 1);
	say(&p, "\0\0\0\0", 4);
	expect_bye(&p, SPOP_INVALID);
	hang_up(&p);
}

/* --- tests: backpressure ------------------------------------------------ */

static void attack_more_requests_than_answers(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf b;
	uint64_t i;

	open_peer(w, &p);
	buf_init(&b, 65536);
	for (i = 0; i < 200; i++)
		add_notify(&b, i, 10);
	say_str(&p, buf_str(&b));
	settle(w);
	/* the connection is not read beyond a number */
	assert_int_equal(w->n_notify, 64);
	say_notify(&p, 200, 10);
	settle(w);
	assert_int_equal(w->n_notify, 64);
	/* each answer makes room for one */
	reply(w, w->held[0]);
	settle(w);
	assert_int_equal(w->n_notify, 65);
	/* and nothing is lost or out of order */
	for (i = 1; i < 201; i++) {
		assert_int_equal(w->held[i].stream_id, i);
		reply(w, w->held[i]);
		settle(w);
	}
	receive(&p, 201);
	for (i = 0; i < 201; i++)
		expect_ack(&p, i);
	buf_done(&b);
	hang_up(&p);
}

static void attack_peer_that_reads_no_answers(void **state)
{
	enum { N = 100 };
	struct world *w = *state;
	struct peer p;
	uint64_t i;
	unsigned before;

	w->at_once = true;
	w->reply_len = 30000;
	open_peer(w, &p);
	for (i = 0; i < N; i++) {
		say_notify(&p, i, 10);
		settle(w);
	}
	/* it has filled the socket and then our bound, and not more */
	before = w->n_notify;
	assert_in_range(before, 5, N / 2);
	settle(w);
	assert_int_equal(w->n_notify, before);
	/* when it reads, all answers come, whole and in order */
	receive(&p, N);
	for (i = 0; i < N; i++)
		expect_ack(&p, i);
	assert_int_equal(w->n_notify, N);
	hang_up(&p);
}

static void close_while_answers_wait(void **state)
{
	struct world *w = *state;
	struct peer p;
	unsigned i;

	w->at_once = true;
	w->reply_len = 30000;
	open_peer(w, &p);
	for (i = 0; i < 50; i++)
		say_notify(&p, i, 10);
	settle(w);
	hang_up(&p);
	settle(w);
	assert_int_equal(conns_count(w->conns), 0);
}

/* --- tests: drain ------------------------------------------------------- */

static void drain_of_nothing(void **state)
{
	struct world *w = *state;

	conns_drain(w->conns);
	run(w);
	assert_int_equal(w->n_drained, 1);
	settle(w);
	assert_int_equal(w->n_drained, 1);
}

static void drain_waits_for_the_last_answer(void **state)
{
	struct world *w = *state;
	struct peer idle, busy, late;

	open_peer(w, &idle);
	open_peer(w, &busy);
	say_notify(&busy, 9, 10);
	settle(w);
	conns_drain(w->conns);
	expect_bye(&idle, SPOP_NORMAL);
	hang_up(&idle);
	settle(w);
	assert_int_equal(w->n_drained, 0);
	/* nobody new is let in */
	dial(w, &late);
	settle(w);
	assert_int_equal(conns_count(w->conns), 1);
	/* what came meanwhile on an open connection is still served */
	say_notify(&busy, 10, 10);
	settle(w);
	assert_int_equal(w->n_held, 2);
	reply(w, w->held[0]);
	receive(&busy, 1);
	expect_ack(&busy, 9);
	reply(w, w->held[1]);
	receive(&busy, 1);
	expect_ack(&busy, 10);
	expect_bye(&busy, SPOP_NORMAL);
	hang_up(&busy);
	settle(w);
	assert_int_equal(w->n_drained, 1);
	assert_int_equal(w->n_closed, 0);
	hang_up(&late);
}

static void drain_serves_what_is_in_the_socket(void **state)
{
	struct world *w = *state;
	struct peer p;

	w->at_once = true;
	open_peer(w, &p);
	/* sent, and not seen by the agent, when it begins to drain */
	say_notify(&p, 1, 10);
	conns_drain(w->conns);
	receive(&p, 1);
	expect_ack(&p, 1);
	expect_bye(&p, SPOP_NORMAL);
	hang_up(&p);
}

static void drain_drops_who_never_said_hello(void **state)
{
	struct world *w = *state;
	struct peer p;

	dial(w, &p);
	settle(w);
	assert_int_equal(conns_count(w->conns), 1);
	conns_drain(w->conns);
	receive(&p, 0);
	assert_int_equal(p.in.len, 0);
	hang_up(&p);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(hello_in_pieces),
		test(frame_size_is_negotiated_per_connection),
		test(tiny_frames_still_have_room_for_a_refusal),
		test(health_check_is_answered),
		test(hello_that_is_wrong_is_refused),
		test(attack_notify_before_hello),
		test(attack_hello_of_a_megabyte),
		test(attack_second_hello),
		test(many_notifies_in_one_write),
		test(frames_cut_at_every_byte),
		test(frame_that_takes_many_reads),
		test(replies_in_any_order),
		test(notify_without_messages_is_a_request),
		test(unknown_frames_are_skipped),
		test(reply_after_close_does_nothing),
		test(close_without_requests_is_not_told),
		test(attack_fragments),
		test(attack_frame_above_the_maximum),
		test(frame_as_large_as_announced_is_taken),
		test(requests_of_a_refused_connection_are_gone),
		test(haproxy_disconnect_is_answered),
		test(peer_that_does_not_close_is_closed),
		test(attack_more_connections_than_allowed),
		test(out_of_descriptors_is_a_pause),
		test(attack_more_requests_than_answers),
		test(attack_peer_that_reads_no_answers),
		test(close_while_answers_wait),
		test(drain_of_nothing),
		test(drain_waits_for_the_last_answer),
		test(drain_serves_what_is_in_the_socket),
		test(drain_drops_who_never_said_hello),
	};

	return cmocka_run_group_tests_name("conn", tests, make_folder,
	                                   remove_folder);
}
