/* store/redis admitting without asking: a real server, and others beside. */
#include "test.h"

#include "redis_fixture.h"
#include "scripts_door.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 100, SHARE = 50 };

static const struct policy_limit leased = {
	.name = STR_INIT("day"),
	.unit = UNIT_TOKENS,
	.window = WINDOW_DAY,
	.amount = LIMIT,
	.lease_share = 0.5,
};

static const struct store_caller caller = {STR_INIT("c"), STR_INIT("app"),
                                           STR_INIT("agent")};

/* Knowledge is fresh for a second. On a busy machine that may pass between any
 * two lines, so the clock stands still where it is not said otherwise. */
static bool time_passes;

static uint64_t mono(void *ctx)
{
	(void)ctx;
	return time_passes ? clock_mono_us(&clock_system) : 1000000;
}

static int64_t real(void *ctx)
{
	(void)ctx;
	return clock_real_ms(&clock_system);
}

static const struct clock our_clock = {mono, real, NULL};

static int setup(void **state)
{
	struct redis_fixture *f;

	rf_setup(state);
	f = *state;
	time_passes = false;
	store_redis_free(f->s);
	f->s = store_redis_new(f->loop, &our_clock, NULL);
	assert_non_null(f->s);
	f->policy->limits = &leased;
	f->policy->n_limits = 1;
	redis_server_start(&f->server, NULL);
	rf_connect(f);
	return 0;
}

static struct store_charge charge(uint64_t amount)
{
	return (struct store_charge){leased.name, UNIT_TOKENS,
	                             WINDOW_DAY,  leased.amount,
	                             amount,      leased.lease_share};
}

static struct store_reservation of(const struct store_charge *c, const char *id)
{
	return (struct store_reservation){STR("a"), str_c(id), c, 1, &caller};
}

static bool lease(struct store_redis *s, const char *id, uint64_t amount,
                  struct store_result *res)
{
	struct store_charge c = charge(amount);
	struct store_reservation r = of(&c, id);

	return store_redis_lease(s, &r, res);
}

/* Ask, and know. */
static void ask(struct redis_fixture *f, struct store_redis *s, const char *id,
                uint64_t amount, struct store_result *res)
{
	struct store_charge c = charge(amount);
	struct store_reservation r = of(&c, id);
	struct redis_answer a = {0};

	assert_true(store_redis_reserve(s, &r, rf_on_reserved, &a, 0));
	rf_until(f, a.n == 1);
	*res = a.res;
}

static void settle(struct store_redis *s, const char *id, uint64_t tokens,
                   struct redis_answer *a)
{
	*a = (struct redis_answer){0};
	store_redis_settle(s, STR("a"), str_c(id),
	                   &(struct store_usage){.tokens = tokens},
	                   rf_on_settled, a);
}

static void all_is_written(struct redis_fixture *f)
{
	rf_until(f,
	         store_redis_connected(f->s) && store_redis_pending(f->s) == 0);
}

static void what_is_admitted_here_counts_there(void **state)
{
	struct redis_fixture *f = *state;
	struct store_result res;
	struct redis_answer a;

	assert_false(lease(f->s, "0", 10, &res));
	ask(f, f->s, "1", 10, &res);
	assert_int_equal(res.status, STORE_OK);
	assert_true(lease(f->s, "2", 20, &res));
	assert_int_equal(res.status, STORE_OK);
	assert_int_equal(res.remaining[0], 70);
	assert_true(lease(f->s, "3", 30, &res));
	assert_int_equal(res.remaining[0], 40);
	assert_false(lease(f->s, "4", 1, &res)); /* the share is used up */
	assert_int_equal(store_redis_pending(f->s), 2);
	all_is_written(f);
	assert_int_equal(rf_remaining(f), 40);
	assert_true(lease(f->s, "5", 40, &res));
	all_is_written(f);
	assert_false(lease(f->s, "6", 1, &res));
	ask(f, f->s, "6", 1, &res);
	assert_int_equal(res.status, STORE_REFUSED);

	settle(f->s, "5", 3, &a);
	rf_until(f, a.n == 1);
	assert_int_equal(a.settled, STORE_OK);
	assert_int_equal(rf_remaining(f), 37);
}

/* Two that know the same: the limit, and one share more. */
static void others_may_take_the_same(void **state)
{
	struct redis_fixture *f = *state;
	struct store_redis *other = store_redis_new(f->loop, &our_clock, NULL);
	struct store_result res;
	const char *error;

	assert_true(store_redis_configure(other, f->policy, &error));
	rf_until(f, store_redis_connected(other));
	ask(f, other, "1", 1, &res);
	ask(f, f->s, "2", 59, &res);
	assert_int_equal(res.remaining[0], 40);
	ask(f, other, "3", 0, &res);
	assert_true(lease(f->s, "4", 40, &res));
	assert_true(lease(other, "5", 40, &res));
	rf_until(f, store_redis_pending(f->s) == 0 &&
	                    store_redis_pending(other) == 0);
	assert_int_equal(rf_remaining(f), -40);
	assert_false(lease(f->s, "6", 0, &res) && lease(other, "7", 0, &res));
	store_redis_free(other);
}

static void a_block_is_seen_with_the_next_answer(void **state)
{
	struct redis_fixture *f = *state;
	struct store_result res;

	ask(f, f->s, "1", 1, &res);
	rf_command(f, "HSET t:{a}:set !app:app 1");
	assert_true(lease(f->s, "2", 1, &res));
	all_is_written(f);
	assert_int_equal(rf_remaining(f), 98);
	assert_false(lease(f->s, "3", 1, &res));
	ask(f, f->s, "3", 1, &res);
	assert_int_equal(res.status, STORE_BLOCKED);
	assert_false(lease(f->s, "4", 1, &res));
	rf_command(f, "DEL t:{a}:set");
	ask(f, f->s, "5", 1, &res);
	assert_true(lease(f->s, "6", 1, &res));
}

static void another_limit_is_seen_with_the_next_answer(void **state)
{
	struct redis_fixture *f = *state;
	struct store_result res;

	ask(f, f->s, "1", 1, &res);
	rf_command(f, "HSET t:{a}:set =day 10");
	assert_true(lease(f->s, "2", 20, &res)); /* more than it is now */
	all_is_written(f);
	assert_false(lease(f->s, "3", 1, &res));
	ask(f, f->s, "3", 1, &res);
	assert_int_equal(res.status, STORE_REFUSED);
	assert_int_equal(res.limit[0], 10);
	assert_int_equal(res.remaining[0], -11);
}

/* Redis hangs with reservations in its socket, and the connection is given up:
 * they are sent again, and found there, also the one that was settled in the
 * same breath. */
static void what_gets_no_answer_is_sent_again(void **state)
{
	struct redis_fixture *f = *state;
	struct store_result res;
	struct redis_answer a;

	f->policy->redis.deadline_ms = 20;
	ask(f, f->s, "1", 10, &res);
	redis_server_signal(&f->server, SIGSTOP);
	assert_true(lease(f->s, "2", 20, &res));
	assert_true(lease(f->s, "3", 5, &res));
	settle(f->s, "2", 7, &a);
	rf_until(f, !store_redis_connected(f->s));
	assert_int_equal(store_redis_pending(f->s), 3);
	assert_false(lease(f->s, "4", 1, &res)); /* nowhere to send it */
	f->policy->redis.deadline_ms = 2000;
	redis_server_signal(&f->server, SIGCONT);
	all_is_written(f);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.settled, STORE_OK);
	assert_int_equal(rf_remaining(f), 100 - 10 - 7 - 5);
}

/* So many are under way that the settle is not even sent; then all of them are
 * sent anew. Its turn comes after its reserve. */
static void a_settle_waits_behind_its_reserve(void **state)
{
	struct redis_fixture *f = *state;
	struct store_result res;
	struct redis_answer a;
	size_t n = 0;
	char id[24];

	ask(f, f->s, "1", 10, &res);
	do
		snprintf(id, sizeof(id), "r-%zu", n++);
	while (lease(f->s, id, n == 1 ? 20 : 0, &res));
	assert_in_range(n, 100, STORE_PENDING_MAX);
	settle(f->s, "r-0", 7, &a);
	assert_int_equal(store_redis_pending(f->s), n);
	redis_server_kill(&f->server); /* before the loop has written any */
	rf_until(f, !store_redis_connected(f->s));
	assert_int_equal(store_redis_pending(f->s), n);
	redis_server_start(&f->server, NULL); /* without what it had */
	all_is_written(f);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.settled, STORE_OK);
	assert_int_equal(rf_remaining(f), 93);
}

static void what_is_known_ends_with_the_connection(void **state)
{
	struct redis_fixture *f = *state;
	struct store_result res;

	ask(f, f->s, "1", 10, &res);
	assert_true(lease(f->s, "2", 1, &res));
	all_is_written(f);
	rf_command(f, "CLIENT KILL TYPE normal SKIPME yes");
	rf_until(f, !store_redis_connected(f->s));
	assert_false(lease(f->s, "3", 1, &res));
	rf_until(f, store_redis_connected(f->s));
	assert_false(lease(f->s, "3", 1, &res));
	ask(f, f->s, "3", 1, &res);
	assert_true(lease(f->s, "4", 1, &res));
}

/* Another node's settles may overtake the reserves: all of those that a busy
 * node has under way. */
static void settles_that_are_too_early_are_asked_again(void **state)
{
	enum { N = 2000 };
	struct redis_fixture *f = *state;
	struct redis_answer *early = calloc(N, sizeof(*early));
	struct redis_answer asked = {0};
	struct store_charge c = charge(0);
	struct store_reservation r;
	struct store_result res;
	char id[24];
	int i, n_ok = 0;

	time_passes = true;
	assert_non_null(early);
	for (i = 0; i < N; i++) {
		snprintf(id, sizeof(id), "%d", i);
		settle(f->s, id, i == 0 ? 7 : 0, &early[i]);
	}
	ask(f, f->s, "look", 10, &res); /* by then they have been asked for */
	for (i = 0; i < N; i++) {
		snprintf(id, sizeof(id), "%d", i);
		r = of(&c, id);
		while (!store_redis_reserve(f->s, &r, rf_on_reserved, &asked,
		                            0))
			ev_run(loop_ev(f->loop), EVRUN_ONCE);
	}
	rf_until(f, asked.n == N && store_redis_pending(f->s) == 0);
	for (i = 0; i < N; i++)
		n_ok += early[i].n == 1 && early[i].settled == STORE_OK;
	assert_int_equal(n_ok, N);
	assert_int_equal(rf_remaining(f), 83);
	free(early);
}

static void a_settle_without_any_reserve_ends_at_last(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a, b;
	struct policy *none = rf_policy(&f->server);
	const char *error;

	time_passes = true;
	settle(f->s, "x", 7, &a);
	rf_until(f, a.n == 1);
	assert_int_equal(a.settled, STORE_UNKNOWN);

	/* without Redis nobody is kept waiting */
	settle(f->s, "y", 7, &b);
	assert_int_equal(rf_remaining(f), 100);
	assert_int_equal(b.n, 0);
	none->redis.enabled = false;
	assert_true(store_redis_configure(f->s, none, &error));
	assert_int_equal(b.n, 1);
	assert_int_equal(b.settled, STORE_FAILED);
	store_redis_free(f->s);
	f->s = NULL;
	free(none);
}

/* Late, again, blocked: what is admitted is taken, and once. */
static void the_script_takes_what_is_admitted(void **state)
{
	struct redis_fixture *f = *state;
	struct store_charge c = charge(60);
	struct store_reservation r = of(&c, "1");
	const struct store_usage used = {.tokens = 90};
	struct store_result res;
	struct scripts_door d;

	scripts_door_init(&d, f->server.socket);
	scripts_set_time(&d, SCENARIO_START_MS);
	scripts_force(&d, &r, &res);
	assert_int_equal(res.status, STORE_OK);
	assert_int_equal(res.remaining[0], 40);
	scripts_force(&d, &r, &res); /* the answer was lost */
	assert_int_equal(res.status, STORE_OK);
	assert_int_equal(res.remaining[0], 40);
	r.id = STR("2");
	scripts_force(&d, &r, &res);
	assert_int_equal(res.status, STORE_OK);
	assert_int_equal(res.remaining[0], -20);
	rf_command(f, "HSET t:{a}:set !consumer:caller 1 =day 10");
	r.id = STR("3");
	scripts_force(&d, &r, &res);
	assert_int_equal(res.status, STORE_BLOCKED);
	assert_int_equal(res.limit[0], 10);
	assert_int_equal(res.remaining[0], 10 - 180);
	scripts_force(&d, &r, &res);
	assert_int_equal(res.status, STORE_BLOCKED);
	assert_int_equal(res.remaining[0], 10 - 180);
	assert_int_equal(scripts_settle(&d, STR("a"), STR("1"), &used),
	                 STORE_OK);
	rf_command(f, "DEL t:{a}:set");
	c.amount = 0;
	r.id = STR("4");
	scripts_force(&d, &r, &res);
	assert_int_equal(res.remaining[0], 100 - 90 - 120);
	scripts_door_done(&d);
}

#define with_store(t) cmocka_unit_test_setup_teardown(t, setup, rf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(what_is_admitted_here_counts_there),
		with_store(others_may_take_the_same),
		with_store(a_block_is_seen_with_the_next_answer),
		with_store(another_limit_is_seen_with_the_next_answer),
		with_store(what_gets_no_answer_is_sent_again),
		with_store(a_settle_waits_behind_its_reserve),
		with_store(what_is_known_ends_with_the_connection),
		with_store(settles_that_are_too_early_are_asked_again),
		with_store(a_settle_without_any_reserve_ends_at_last),
		with_store(the_script_takes_what_is_admitted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
