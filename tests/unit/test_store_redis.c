/* store/redis the whole way: loop, link, hiredis, socket, server. */
#include "test.h"

#include "redis_fixture.h"
#include "store_scenarios.h"

#include <signal.h>
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
	assert_in_range(rf_command(f, "PTTL t:{a}:r:1"), 1, 60000);
	assert_int_equal(rf_command(f, "DBSIZE"), 2);
}

/* A bucket's key that went after a minute would forgive the debt. */
static void a_debt_outlives_the_minute(void **state)
{
	struct redis_fixture *f = *state;
	const struct store_charge c = {STR("tpm"), UNIT_TOKENS, WINDOW_MINUTE,
	                               60,         1,           0};
	const struct store_reservation r = {STR("a"), STR("1"), &c, 1, NULL};
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

/* An entry is there when and only when the settlement has counted. */
static void a_settlement_is_written_down_once(void **state)
{
	struct redis_fixture *f = *state;
	const struct store_usage used = {.tokens = 7, .note = STR("{\"v\":1}")};
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	assert_int_equal(rf_settle(f, STR("a"), STR("none"), &used),
	                 STORE_UNKNOWN);
	assert_int_equal(rf_command(f, "XLEN t:{a}:ledger"), 0);
	rf_take(f, "1", 10, &a);
	assert_int_equal(rf_settle(f, STR("a"), STR("1"), &used), STORE_OK);
	assert_int_equal(rf_settle(f, STR("a"), STR("1"), &used),
	                 STORE_UNKNOWN);
	assert_int_equal(rf_command(f, "XLEN t:{a}:ledger"), 1);
	rf_take(f, "2", 10, &a);
	assert_int_equal(rf_settle(f, STR("a"), STR("2"), &rf_nothing),
	                 STORE_OK);
	assert_int_equal(rf_command(f, "XLEN t:{a}:ledger"), 1);
}

/* What cannot be written down is not settled either. */
static void a_ledger_that_is_none_settles_nothing(void **state)
{
	struct redis_fixture *f = *state;
	const struct store_usage used = {.note = STR("{}")};
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	rf_take(f, "1", 10, &a);
	rf_command(f, "SADD t:{a}:ledger x");
	assert_int_equal(rf_settle(f, STR("a"), STR("1"), &used), STORE_FAILED);
	assert_int_equal(rf_remaining(f), 90);
	rf_command(f, "DEL t:{a}:ledger");
	assert_int_equal(rf_settle(f, STR("a"), STR("1"), &used), STORE_OK);
	assert_int_equal(rf_remaining(f), 100);
}

/* Settled while Redis is away: the text waits with the rest. */
static void what_is_written_down_waits_for_redis(void **state)
{
	struct redis_fixture *f = *state;
	char text[] = "{\"v\":1}";
	const struct store_usage used = {.note = str_c(text)};
	struct redis_answer a;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	rf_take(f, "1", 10, &a);
	redis_server_signal(&f->server, SIGSTOP);
	a = (struct redis_answer){0};
	store_redis_settle(f->s, STR("a"), STR("1"), &used, rf_on_settled, &a);
	memset(text, 'x', sizeof(text)); /* it was copied */
	rf_until(f, !store_redis_connected(f->s));
	assert_int_equal(store_redis_pending(f->s), 1);
	redis_server_signal(&f->server, SIGCONT);
	rf_until(f, a.n == 1);
	assert_int_equal(rf_command(f, "XLEN t:{a}:ledger"), 1);
}

/* Unbounded, it would fill Redis, which then counts nothing any more. */
static void attack_the_ledger_grows_without_bound(void **state)
{
	struct redis_fixture *f = *state;
	const struct store_usage used = {.note = STR("{}")};
	struct redis_answer a;
	char id[16];
	int i;

	f->policy->ledger.stream_max = 50;
	redis_server_start(&f->server, NULL);
	rf_connect(f);
	for (i = 0; i < 500; i++) {
		snprintf(id, sizeof(id), "%d", i);
		rf_take(f, id, 1, &a);
		rf_settle(f, STR("a"), str_c(id), &used);
	}
	/* "~": whole nodes of 100 entries */
	assert_in_range(rf_command(f, "XLEN t:{a}:ledger"), 50, 150);
	f->policy->ledger.stream_max = 100000;
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

/* Operators write into a hash of the account; the next reserve knows. */
static void what_operators_set_counts_at_once(void **state)
{
	struct redis_fixture *f = *state;
	const struct store_caller caller = {STR("team"), STR("app"),
	                                    STR("p/agent")};
	const struct store_charge c = {STR("tpd:x"), UNIT_TOKENS, WINDOW_DAY,
	                               100,          10,          0};
	struct store_reservation r = {STR("a"), STR("1"), &c, 1, &caller};
	static const char *const blocks[] = {"consumer:team", "app:app",
	                                     "agent:p/agent"};
	struct store_result res;
	char text[64];
	size_t i;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	rf_reserve(f, &r, &res);
	assert_int_equal(res.limit[0], 100);
	rf_command(f, "HSET t:{a}:set =tpd 15");
	r.id = STR("2");
	rf_reserve(f, &r, &res);
	assert_int_equal(res.status, STORE_REFUSED);
	assert_int_equal(res.limit[0], 15);
	assert_int_equal(res.remaining[0], 5);
	/* that of the scope comes first */
	rf_command(f, "HSET t:{a}:set =tpd:x 20 =tpd:y 1");
	rf_reserve(f, &r, &res);
	assert_int_equal(res.status, STORE_OK);
	assert_int_equal(res.remaining[0], 0);
	rf_command(f, "HSET t:{a}:set =tpd:x 9");
	r.id = STR("3");
	rf_reserve(f, &r, &res);
	assert_int_equal(res.status, STORE_TOO_LARGE);
	rf_command(f, "DEL t:{a}:set");
	for (i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "HSET t:{a}:set !%s 1", blocks[i]);
		rf_command(f, text);
		rf_reserve(f, &r, &res);
		assert_int_equal(res.status, STORE_BLOCKED);
		assert_int_equal(res.remaining[0], 80);
		r.caller = NULL;
		r.n_charges = 0;
		r.id = STR("4");
		rf_reserve(f, &r, &res);
		assert_int_equal(res.status, STORE_OK);
		r.caller = &caller;
		r.n_charges = 1;
		r.id = STR("3");
		rf_command(f, "DEL t:{a}:set");
	}
	rf_reserve(f, &r, &res);
	assert_int_equal(res.status, STORE_OK);
}

struct crowd {
	int n, open_reservations;
};

static bool on_crowd(void *ctx, uint64_t ref, const struct store_result *res)
{
	struct crowd *c = ctx;

	(void)ref;
	c->n++;
	c->open_reservations += res->status == STORE_OK;
	return true;
}

/* From two connections at once, as two nodes would. */
static void a_thousand_at_once_are_not_granted_too_much(void **state)
{
	struct redis_fixture *f = *state;
	struct store_redis *other =
		store_redis_new(f->loop, &clock_system, NULL);
	const struct store_charge c[2] = {
		{STR("day"), UNIT_TOKENS, WINDOW_DAY, 1000, 3, 0},
		{STR("r"), UNIT_REQUESTS, WINDOW_DAY, 100000, 1, 0},
	};
	struct crowd crowd = {0, 0};
	struct store_reservation r = {STR("a"), STR_NONE, c, 2, NULL};
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
	assert_int_equal(crowd.open_reservations, 333);
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
		with_store(a_settlement_is_written_down_once),
		with_store(a_ledger_that_is_none_settles_nothing),
		with_store(what_is_written_down_waits_for_redis),
		with_store(attack_the_ledger_grows_without_bound),
		with_store(a_reload_keeps_the_connection),
		with_store(freed_with_calls_under_way),
		with_store(what_operators_set_counts_at_once),
		with_store(a_thousand_at_once_are_not_granted_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
