/* store/memory: the scenarios of all stores, and its bounds. */
#include "test.h"

#include "store/store.h"
#include "store_scenarios.h"

#include <stdio.h>
#include <time.h>

struct fake {
	int64_t real_ms;
	uint64_t mono_us;
};

static uint64_t fake_mono(void *ctx)
{
	return ((struct fake *)ctx)->mono_us;
}

static int64_t fake_real(void *ctx)
{
	return ((struct fake *)ctx)->real_ms;
}

struct fixture {
	struct fake time;
	struct clock clock;
	struct store_memory *m;
};

static int setup(void **state)
{
	static struct fixture f;

	f.time = (struct fake){SCENARIO_START_MS, 0};
	f.clock = (struct clock){fake_mono, fake_real, &f.time};
	f.m = store_memory_new(&f.clock);
	*state = &f;
	return f.m ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_memory_free(f->m);
	return 0;
}

static void door_reserve(void *ctx, const struct store_reservation *r,
                         struct store_result *res)
{
	store_memory_reserve(((struct fixture *)ctx)->m, r, res);
}

static enum store_status door_settle(void *ctx, struct str account,
                                     struct str id,
                                     const struct store_usage *used)
{
	return store_memory_settle(((struct fixture *)ctx)->m, account, id,
	                           used);
}

static void door_set_time(void *ctx, int64_t real_ms)
{
	struct fixture *f = ctx;

	if (real_ms > f->time.real_ms)
		f->time.mono_us += 1000 * (uint64_t)(real_ms - f->time.real_ms);
	f->time.real_ms = real_ms;
}

static void scenarios(void **state)
{
	const struct store_door door = {"memory", door_reserve, door_settle,
	                                door_set_time, *state};

	assert_true(store_scenarios_run(&door) > 20);
}

static const struct store_usage nothing;

/* One token of a day's `limit` for account "a". */
static struct store_result take_one(struct fixture *f, const char *id,
                                    const char *field, uint64_t limit)
{
	const struct store_charge c = {str_c(field), UNIT_TOKENS, WINDOW_DAY,
	                               limit,        1,           0};
	const struct store_reservation r = {STR("a"), str_c(id), &c, 1, NULL};
	struct store_result res;

	store_memory_reserve(f->m, &r, &res);
	return res;
}

static void only_a_record_when_there_are_no_limits(void **state)
{
	struct fixture *f = *state;
	const struct store_reservation r = {STR("a"), STR("1"), NULL, 0, NULL};
	struct store_result res;

	store_memory_reserve(f->m, &r, &res);
	assert_int_equal(res.status, STORE_OK);
	assert_int_equal(store_memory_open(f->m), 1);
	assert_int_equal(
		store_memory_settle(f->m, STR("a"), STR("1"), &nothing),
		STORE_OK);
	assert_int_equal(store_memory_open(f->m), 0);
}

static void the_oldest_records_go_first(void **state)
{
	struct fixture *f = *state;
	const int extra = 10;
	char id[16];
	int i;

	for (i = 0; i < STORE_MEMORY_RECORDS + extra; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_int_equal(take_one(f, id, "f", 1000000).status,
		                 STORE_OK);
	}
	assert_int_equal(store_memory_open(f->m), STORE_MEMORY_RECORDS);
	for (i = 0; i <= extra; i++) {
		snprintf(id, sizeof(id), "%d", i);
		assert_int_equal(store_memory_settle(f->m, STR("a"), str_c(id),
		                                     &nothing),
		                 i < extra ? STORE_UNKNOWN : STORE_OK);
	}
	/* those that went stay charged */
	assert_int_equal(take_one(f, "x", "f", 1000000).remaining[0],
	                 1000000 - STORE_MEMORY_RECORDS - extra);
}

static void a_reservation_nobody_settles_stays_charged(void **state)
{
	struct fixture *f = *state;

	take_one(f, "1", "f", 10);
	f->time.mono_us += (STORE_RECORD_TTL_S - 1) * UINT64_C(1000000);
	take_one(f, "2", "f", 10);
	f->time.mono_us += 1000000;
	assert_int_equal(
		store_memory_settle(f->m, STR("a"), STR("1"), &nothing),
		STORE_UNKNOWN);
	assert_int_equal(store_memory_open(f->m), 1);
	assert_int_equal(take_one(f, "3", "f", 10).remaining[0], 7);
}

/* Scopes are named by callers: filling the table must neither grow it nor
 * forget what others have used. */
static void attack_endless_scopes(void **state)
{
	struct fixture *f = *state;
	struct store_result res;
	char name[32];
	int i;

	take_one(f, "0", "mine", 1);
	for (i = 1; i < STORE_MEMORY_LIMITS; i++) {
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(take_one(f, name, name, 1).status, STORE_OK);
	}
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "more-%d", i);
		res = take_one(f, name, name, 1);
		assert_int_equal(res.status, STORE_FAILED);
		assert_non_null(res.error);
	}
	assert_int_equal(take_one(f, "x", "mine", 1).status, STORE_REFUSED);

	/* all have ended: there is room again */
	f->time.real_ms += INT64_C(86400000);
	f->time.mono_us += UINT64_C(86400000000);
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "next-day-%d", i);
		res = take_one(f, name, name, 1);
	}
	assert_int_equal(res.status, STORE_OK);
	assert_int_equal(take_one(f, "y", "mine", 1).status, STORE_OK);
}

static void what_cannot_be_counted_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store_charge c[17] = {0};
	struct store_reservation r = {STR("a"), STR("1"), c, 1, NULL};
	struct store_result res;
	int i;

	for (i = 0; i < 17; i++)
		c[i] = (struct store_charge){STR("f"), UNIT_TOKENS, WINDOW_DAY,
		                             100,      1,           0};
	r.n_charges = 2; /* one field twice: it would be checked twice and
	                  * charged once */
	store_memory_reserve(f->m, &r, &res);
	assert_int_equal(res.status, STORE_FAILED);
	r.n_charges = 17;
	store_memory_reserve(f->m, &r, &res);
	assert_int_equal(res.status, STORE_FAILED);
	r.n_charges = 1;
	c[0].limit = UINT64_C(1) << 53;
	store_memory_reserve(f->m, &r, &res);
	assert_int_equal(res.status, STORE_FAILED);
	c[0].limit = 100;
	c[0].amount = UINT64_MAX;
	store_memory_reserve(f->m, &r, &res);
	assert_int_equal(res.status, STORE_TOO_LARGE);
	c[0].amount = 1;
	r.id = STR("a:b");
	store_memory_reserve(f->m, &r, &res);
	assert_int_equal(res.status, STORE_FAILED);
	r.id = STR("1");
	r.account = STR("a}b");
	store_memory_reserve(f->m, &r, &res);
	assert_int_equal(res.status, STORE_FAILED);
	assert_int_equal(store_memory_open(f->m), 0);
}

/* For people; what it costs depends on the machine. */
static void speed(void **state)
{
	struct fixture *f = *state;
	const struct store_charge c[2] = {
		{STR("tokens"), UNIT_TOKENS, WINDOW_MINUTE, 1000000000, 100, 0},
		{STR("requests"), UNIT_REQUESTS, WINDOW_DAY, 1000000000, 1, 0},
	};
	const struct store_usage used = {.requests = 1, .tokens = 80};
	struct timespec from, to;
	const int n = 200000;
	int i;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < n; i++) {
		struct store_reservation r = {STR("team"), STR_NONE, c, 2,
		                              NULL};
		struct store_result res;
		char id[16];

		r.id = str_of(id, (size_t)snprintf(id, sizeof(id), "%d", i));
		store_memory_reserve(f->m, &r, &res);
		assert_int_equal(res.status, STORE_OK);
		assert_int_equal(
			store_memory_settle(f->m, r.account, r.id, &used),
			STORE_OK);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("  reserve + settle: %.0f ns\n",
	              ((double)(to.tv_sec - from.tv_sec) * 1e9 +
	               (double)(to.tv_nsec - from.tv_nsec)) /
	                      n);
}

#define with_store(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(scenarios),
		with_store(only_a_record_when_there_are_no_limits),
		with_store(the_oldest_records_go_first),
		with_store(a_reservation_nobody_settles_stays_charged),
		with_store(attack_endless_scopes),
		with_store(what_cannot_be_counted_is_refused),
		with_store(speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
