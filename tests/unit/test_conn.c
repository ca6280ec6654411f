/* Connections from HAProxy: HELLO, requests and their answers, faults. */
#include "conn_world.h"

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
	assert_null(conns_reply(w->conns, w->held[0]));
	assert_null(conns_reply(w->conns, w->held[1]));
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

static void close_without_requests_is_counted(void **state)
{
	struct world *w = *state;
	struct peer p;
	struct buf page;

	w->at_once = true;
	open_peer(w, &p);
	say_notify(&p, 1, 10);
	receive(&p, 1);
	assert_int_equal(conns_count(w->conns), 1);
	hang_up(&p);
	settle(w);
	assert_int_equal(conns_count(w->conns), 0);
	/* agent/ops writes the gauge, which has the number of the worker: a
	 * second writer would overwrite that of worker 0 */
	buf_init(&page, 1 << 20);
	metrics_print(w->metrics, &page);
	assert_true(buf_str(&page).len > 0);
	buf_add(&page, "", 1);
	assert_null(strstr(page.p, "foundry_spop_connections"));
	buf_done(&page);
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
	assert_null(conns_reply(w->conns, w->held[0]));
	/* what it still sends is not looked at */
	say_notify(&p, 2, 10);
	expect_bye(&p, SPOP_INVALID);
	assert_int_equal(w->n_notify, 1);
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
		test(close_without_requests_is_counted),
		test(attack_fragments),
		test(attack_frame_above_the_maximum),
		test(frame_as_large_as_announced_is_taken),
		test(requests_of_a_refused_connection_are_gone),
		test(haproxy_disconnect_is_answered),
		test(peer_that_does_not_close_is_closed),
		test(attack_more_connections_than_allowed),
		test(out_of_descriptors_is_a_pause),
	};

	return cmocka_run_group_tests_name("conn", tests, make_folder,
	                                   remove_folder);
}
