/* store/redis the whole way: loop, link, hiredis, socket, server. */
#include "test.h"

#include "redis_fixture.h"
#include "store_scenarios.h"

#include <stdio.h>
#include <stdlib.h>

static void scenarios_all_the_way(void **state)
{
	struct redis_fixture *f = *state;
	const struct store_door door = {"redis", rf_reserve, rf_settle, NULL,
	                                f};

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	assert_true(store_scenarios_run(&door) > 10);
}

static void nothing_stays_for_ever(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	rf_take(f, "1", 10, &a);
	assert_true(rf_command(f, "PTTL t:{a}:limits") > 0);
	assert_true(rf_command(f, "PTTL t:{a}:limits") <= 86400000 + 1000);
	assert_in_range(rf_command(f, "PTTL t:{a}:r:1"), 7100000, 7200000);
	store_redis_settle(f->s, STR("a"), STR("1"), &rf_nothing, NULL, NULL);
	rf_until(f, store_redis_pending(f->s) == 0);
	assert_int_equal(rf_command(f, "EXISTS t:{a}:r:1"), 0);
	assert_int_equal(rf_command(f, "DBSIZE"), 1);
}

/* A bucket's key that went after a minute would forgive the debt. */
static void a_debt_outlives_the_minute(void **state)
{
	struct redis_fixture *f = *state;
	const struct store_charge c = {STR("tpm"), UNIT_TOKENS, WINDOW_MINUTE,
	                               60, 1};
	const struct store_reservation r = {STR("a"), STR("1"), &c, 1};
	const struct store_usage used = {.tokens = 6000};
	struct store_result res;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	rf_reserve(f, &r, &res);
	assert_int_equal(res.status, STORE_OK);
	assert_in_range(rf_command(f, "PTTL t:{a}:limits"), 1, 2001);
	assert_int_equal(rf_settle(f, STR("a"), STR("1"), &used), STORE_OK);
	assert_in_range(rf_command(f, "PTTL t:{a}:limits"), 5900000, 6001000);
}

static void a_reload_keeps_the_connection(void **state)
{
	struct redis_fixture *f = *state;
	struct policy *same = rf_policy(&f->server);
	const char *error = NULL;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	same->redis = f->policy->redis;
	assert_true(rf_ask(f, "1", 1, &a));
	assert_true(store_redis_configure(f->s, same, &error));
	assert_true(store_redis_connected(f->s));
	rf_until(f, a.n == 1);
	assert_int_equal(a.res.status, STORE_OK);

	/* and to nowhere: who waits is told, and not from within the call */
	assert_true(rf_ask(f, "2", 1, &a));
	f->policy->redis.enabled = false;
	assert_true(store_redis_configure(f->s, f->policy, &error));
	assert_int_equal(a.n, 0);
	rf_until(f, a.n == 1);
	assert_int_equal(a.res.status, STORE_FAILED);
	store_redis_settle(f->s, STR("a"), STR("1"), &rf_nothing, rf_on_settled,
	                   &a);
	assert_int_equal(a.settled, STORE_FAILED);
	free(same);
}

static void freed_with_calls_under_way(void **state)
{
	struct redis_fixture *f = *state;
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	assert_true(rf_ask(f, "1", 1, &a));
	store_redis_settle(f->s, STR("a"), STR("9"), &rf_nothing, rf_on_settled,
	                   &a);
	store_redis_free(f->s);
	f->s = NULL;
	assert_int_equal(a.n, 0);
}

struct crowd {
	int n, granted;
};

static void on_crowd(void *ctx, uint64_t ref, const struct store_result *res)
{
	struct crowd *c = ctx;

	(void)ref;
	c->n++;
	c->granted += res->status == STORE_OK;
}

/* From two connections at once, as two nodes would. */
static void a_thousand_at_once_are_not_granted_too_much(void **state)
{
	struct redis_fixture *f = *state;
	struct store_redis *other =
		store_redis_new(f->loop, &clock_system, NULL);
	const struct store_charge c[2] = {
		{STR("day"), UNIT_TOKENS, WINDOW_DAY, 1000, 3},
		{STR("r"), UNIT_REQUESTS, WINDOW_DAY, 100000, 1},
	};
	struct crowd crowd = {0, 0};
	struct store_reservation r = {STR("a"), STR_NONE, c, 2};
	const char *error;
	char id[16];
	int i;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	assert_true(store_redis_configure(other, f->policy, &error));
	rf_until(f, store_redis_connected(other));
	for (i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "%d", i);
		r.id = str_c(id);
		assert_true(store_redis_reserve(i % 2 ? f->s : other, &r,
		                                on_crowd, &crowd, 0));
	}
	rf_until(f, crowd.n == 1000);
	assert_int_equal(crowd.granted, 333);
	assert_int_equal(rf_command(f, "DBSIZE"), 1 + 333);
	store_redis_free(other);
}

#define with_store(t) cmocka_unit_test_setup_teardown(t, rf_setup, rf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(scenarios_all_the_way),
		with_store(nothing_stays_for_ever),
		with_store(a_debt_outlives_the_minute),
		with_store(a_reload_keeps_the_connection),
		with_store(freed_with_calls_under_way),
		with_store(a_thousand_at_once_are_not_granted_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
