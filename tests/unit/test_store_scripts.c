/*
 * The scripts of store/redis under a clock of the test's: the scenarios of all
 * stores, and the same random calls as the memory store.
 */
#include "test.h"

#include "redis_fixture.h"
#include "scripts_door.h"

#include <stdio.h>
#include <stdlib.h>

static void scenarios_of_the_scripts(void **state)
{
	struct redis_fixture *f = *state;
	struct scripts_door d;
	const struct store_door door = {"scripts", scripts_reserve,
	                                scripts_settle, scripts_set_time, &d};

	redis_server_start(&f->server, NULL);
	scripts_door_init(&d, f->server.socket);
	assert_true(store_scenarios_run(&door) > 20);
	scripts_door_done(&d);
}

struct fake {
	int64_t real_ms;
};

static uint64_t fake_mono(void *ctx)
{
	(void)ctx;
	return 0;
}

static int64_t fake_real(void *ctx)
{
	return ((struct fake *)ctx)->real_ms;
}

static const struct store_charge all_limits[] = {
	{STR_INIT("rpm"), UNIT_REQUESTS, WINDOW_MINUTE, 7, 0, 0},
	{STR_INIT("tpm"), UNIT_TOKENS, WINDOW_MINUTE, 10007, 0, 0},
	{STR_INIT("usd-minute"), UNIT_USD, WINDOW_MINUTE, 999999999999937, 0,
         0},
	{STR_INIT("rph"), UNIT_REQUESTS, WINDOW_HOUR, 40, 0, 0},
	{STR_INIT("tpd"), UNIT_TOKENS, WINDOW_DAY, 1000000, 0, 0},
	{STR_INIT("usd-month"), UNIT_USD, WINDOW_MONTH, 800000000000000, 0, 0},
	{STR_INIT("one"), UNIT_TOKENS, WINDOW_MINUTE, 1, 0, 0},
	{STR_INIT("open"), UNIT_CONCURRENT, WINDOW_OPEN, 12, 0, 0},
};

enum { N_LIMITS = sizeof(all_limits) / sizeof(all_limits[0]) };

static uint64_t random_amount(uint64_t limit)
{
	uint64_t r = (uint64_t)random() << 31 | (uint64_t)random();

	switch (random() % 8) {
	case 0:
		return limit;
	case 1:
		return limit + 1;
	case 2:
		return 0;
	case 3:
		return r % (limit + 1);
	default:
		return r % (limit / 8 + 2);
	}
}

static int64_t random_step(void)
{
	static const int64_t steps[] = {0,    1,       17,       1000,
	                                9973, 3600000, 86400000, -2500};

	if (random() % 200 == 0)
		return INT64_C(40) * 86400000;
	if (random() % 4)
		return random() % 700;
	return steps[random() % 8];
}

static void compare_reserve(struct store_memory *m, struct scripts_door *d,
                            struct str id)
{
	struct store_charge c[N_LIMITS];
	struct store_reservation r = {STR("x"), id, c, 0, NULL};
	struct store_result a, b;
	size_t i;

	for (i = 0; i < N_LIMITS; i++)
		if (random() % 2) {
			c[r.n_charges] = all_limits[i];
			c[r.n_charges].amount =
				random_amount(all_limits[i].limit);
			r.n_charges++;
		}
	store_memory_reserve(m, &r, &a);
	scripts_reserve(d, &r, &b);
	assert_int_equal(a.status, b.status);
	assert_int_equal(a.refused, b.refused);
	assert_int_equal(a.retry_ms, b.retry_ms);
	for (i = 0; i < r.n_charges; i++) {
		assert_int_equal(a.remaining[i], b.remaining[i]);
		assert_int_equal(a.reset_ms[i], b.reset_ms[i]);
		assert_int_equal(a.limit[i], b.limit[i]);
	}
}

static void compare_settle(struct store_memory *m, struct scripts_door *d,
                           struct str id)
{
	const struct store_usage used = {
		.requests = (uint64_t)random() % 3,
		.tokens = random_amount(20000),
		.nano_usd = random_amount(900000000000000),
	};

	assert_int_equal(store_memory_settle(m, STR("x"), id, &used),
	                 scripts_settle(d, STR("x"), id, &used));
}

/* The same calls in the same order at the same times, among them duplicates,
 * unknown ids and a clock that steps back. */
static void both_stores_count_alike(void **state)
{
	struct redis_fixture *f = *state;
	struct fake time = {SCENARIO_START_MS};
	const struct clock clock = {fake_mono, fake_real, &time};
	struct store_memory *m = store_memory_new(&clock);
	struct scripts_door d;
	char id[24];
	int i;

	redis_server_start(&f->server, NULL);
	scripts_door_init(&d, f->server.socket);
	srandom(42);
	for (i = 0; i < 20000; i++) {
		time.real_ms += random_step();
		scripts_set_time(&d, time.real_ms);
		snprintf(id, sizeof(id), "%ld", i / 2 - random() % 20);
		if (random() % 3 == 0)
			compare_settle(m, &d, str_c(id));
		else
			compare_reserve(m, &d, str_c(id));
	}
	store_memory_free(m);
	scripts_door_done(&d);
}

/* Scopes that are used once do not gather in the hash of a busy account. */
static void attack_scopes_pile_up(void **state)
{
	struct redis_fixture *f = *state;
	struct scripts_door d;
	char name[16];
	int i;

	redis_server_start(&f->server, NULL);
	scripts_door_init(&d, f->server.socket);
	for (i = 0; i < 5000; i++) {
		struct store_charge c = {STR_NONE, UNIT_TOKENS, WINDOW_MINUTE,
		                         60,       1,           0};
		struct store_reservation r = {STR("a"), STR_NONE, &c, 1, NULL};
		struct store_result res;

		scripts_set_time(&d, SCENARIO_START_MS + 100 * i);
		snprintf(name, sizeof(name), "s-%d", i);
		c.field = r.id = str_c(name);
		scripts_reserve(&d, &r, &res);
		assert_int_equal(res.status, STORE_OK);
	}
	assert_true(rf_command(f, "HLEN t:{a}:limits") <= 64);
	scripts_door_done(&d);
}

#define with_store(t) cmocka_unit_test_setup_teardown(t, rf_setup, rf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(scenarios_of_the_scripts),
		with_store(both_stores_count_alike),
		with_store(attack_scopes_pile_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
