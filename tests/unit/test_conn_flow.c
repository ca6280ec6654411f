/* Connections from HAProxy under pressure, and their end. */
#include "conn_world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(attack_more_requests_than_answers),
		test(attack_peer_that_reads_no_answers),
		test(close_while_answers_wait),
		test(drain_of_nothing),
		test(drain_waits_for_the_last_answer),
		test(drain_serves_what_is_in_the_socket),
		test(drain_drops_who_never_said_hello),
	};

	return cmocka_run_group_tests_name("conn_flow", tests, make_folder,
	                                   remove_folder);
}
