/* decide/ratelimit: what the caller is told of its limits. */
#include "test.h"

#include "decide/decider.h"
#include "decide/ratelimit.h"

static struct decider decider;
static struct request r;
static struct policy_limit limits[3];

static void durations(void **state)
{
	static const struct {
		uint64_t ms;
		const char *want;
	} cases[] = {
		{0, "0s"},           {1, "1ms"},
		{999, "999ms"},      {1000, "1s"},
		{1500, "1.5s"},      {1005, "1.005s"},
		{1080, "1.08s"},     {60000, "1m0s"},
		{62500, "1m2.5s"},   {172800, "2m52.8s"},
		{3600000, "1h0m0s"}, {86341020, "23h59m1.02s"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char space[64];
		struct buf b = {
			.p = space, .cap = sizeof(space), .max = sizeof(space)};

		ratelimit_duration(&b, cases[i].ms);
		buf_add(&b, "", 1);
		assert_string_equal(space, cases[i].want);
	}
}

static void is(struct str have, const char *want)
{
	if (!str_eq(have, str_c(want)))
		fail_msg("'%" STR_FMT "', expected '%s'", STR_ARG(have), want);
}

static int setup(void **state)
{
	size_t i;

	(void)state;
	decider.metrics = metrics_new();
	memset(&r, 0, offsetof(struct request, mem));
	arena_init(&r.arena, r.mem, sizeof(r.mem));
	r.decider = &decider;
	for (i = 0; i < 3; i++) {
		limits[i] = (struct policy_limit){.warn_at = 0.8};
		r.charge.limits[i] = &limits[i];
	}
	limits[0].name = STR("roomy");
	limits[1].name = STR("tight");
	limits[2].name = STR("dollars");
	r.charge.items[0] = (struct store_charge){.unit = UNIT_TOKENS};
	r.charge.items[1] = (struct store_charge){.unit = UNIT_TOKENS};
	r.charge.items[2] = (struct store_charge){.unit = UNIT_USD};
	r.charge.n = 3;
	return decider.metrics ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	metrics_free(decider.metrics);
	return 0;
}

static int64_t warned(const char *label)
{
	return metric_value(metrics_get(
		decider.metrics, "foundry_limit_warnings_total", str_c(label)));
}

static void the_tightest_is_told(void **state)
{
	const struct store_result res = {
		.status = STORE_OK,
		.limit = {1000, 500, 1000000000},
		.remaining = {900, 450, 900000000},
		.reset_ms = {6000, 1500, 1000},
	};

	(void)state;
	ratelimit_set(&r, &res);
	is(r.charge.rate_tokens, "500/450/1.5s");
	is(r.charge.rate_requests, "");
	is(r.charge.warning, "");
	assert_int_equal(warned("limit=\"tight\""), 0);
}

static void the_fullest_warns_and_all_are_counted(void **state)
{
	const struct store_result res = {
		.status = STORE_OK,
		.limit = {1000, 500, 1000000000},
		.remaining = {200, -5, 200000001},
	};

	(void)state;
	ratelimit_set(&r, &res);
	is(r.charge.rate_tokens, "500/0/0s");
	is(r.charge.warning, "tight");
	assert_int_equal(warned("limit=\"roomy\""), 1);
	assert_int_equal(warned("limit=\"tight\""), 1);
	assert_int_equal(warned("limit=\"dollars\""), 0);
}

static void who_is_refused_is_not_warned(void **state)
{
	const struct store_result res = {
		.status = STORE_REFUSED,
		.limit = {1000, 500, 1000000000},
	};

	(void)state;
	limits[0].warn_at = 0;
	ratelimit_set(&r, &res);
	is(r.charge.rate_tokens, "1000/0/0s");
	is(r.charge.warning, "");
	assert_int_equal(warned("limit=\"tight\""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations),
		cmocka_unit_test_setup_teardown(the_tightest_is_told, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(
			the_fullest_warns_and_all_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_refused_is_not_warned,
	                                        setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
