/* decide/: estimates, health, matching. (Rules: tests/tables.) */
#include "test.h"

#include "upstream/health.h"
#include "decide/match.h"
#include "usage/estimator.h"
#include "usage/price.h"

static uint64_t now_us;

static uint64_t fake_mono(void *ctx)
{
	(void)ctx;
	return now_us;
}

static int64_t fake_real(void *ctx)
{
	(void)ctx;
	return (int64_t)(now_us / 1000);
}

static const struct clock fake_clock = {fake_mono, fake_real, NULL};

static void ratio_starts_at_the_known_average(void **state)
{
	struct estimator *l = estimator_new();

	(void)state;
	assert_float_equal(estimator_ratio(l, STR("m")), 3.5, 0.0001);
	estimator_free(l);
}

static void ratio_follows_what_was_settled(void **state)
{
	struct estimator *l = estimator_new();
	int i;

	(void)state;
	for (i = 0; i < 200; i++)
		estimator_learn(l, STR("m"), 5000, 1000);
	assert_float_equal(estimator_ratio(l, STR("m")), 5.0, 0.01);
	assert_float_equal(estimator_ratio(l, STR("other")), 3.5, 0.0001);
	estimator_free(l);
}

static void ratio_cannot_be_pushed_out_of_range(void **state)
{
	struct estimator *l = estimator_new();
	int i;

	(void)state;
	for (i = 0; i < 500; i++)
		estimator_learn(l, STR("m"), 1000000, 1);
	assert_true(estimator_ratio(l, STR("m")) <= 8.0);
	for (i = 0; i < 500; i++)
		estimator_learn(l, STR("m"), 1000, 1000000);
	assert_true(estimator_ratio(l, STR("m")) >= 1.3);
	estimator_learn(l, STR("tiny"), 10, 100);
	estimator_learn(l, STR("none"), 1000, 0);
	assert_float_equal(estimator_ratio(l, STR("tiny")), 3.5, 0.0001);
	assert_float_equal(estimator_ratio(l, STR("none")), 3.5, 0.0001);
	estimator_free(l);
}

static uint64_t cost(const struct policy_price *price, uint64_t input,
                     uint64_t cached, uint64_t output, uint64_t requests)
{
	return price_nano_usd(
		price, &(struct price_use){input, cached, output, requests});
}

static void cost_is_rounded_up_and_never_wraps(void **state)
{
	/* 2.50 / 1.25 / 10.00 dollars per million tokens, a cent a request */
	struct policy_price p = {2500000, 1250000, 10000000, 10000000000};
	struct policy_price cheap = {.input = 1};
	struct policy_price dear = {.output = UINT64_MAX};

	(void)state;
	assert_int_equal(cost(&p, 1000, 0, 500, 0), 2500 * 1000 + 10000 * 500);
	assert_int_equal(cost(&p, 1000, 400, 0, 0), 2500 * 600 + 1250 * 400);
	assert_int_equal(cost(&p, 10, 400, 0, 0), 1250 * 10);
	assert_int_equal(cost(&p, 0, 0, 0, 3), 30000000);
	assert_int_equal(cost(&p, 4, 0, 0, 1), 10000000 + 10000);
	assert_int_equal(cost(&cheap, 1, 0, 0, 1), 1);
	assert_true(cost(&dear, 0, 0, 1ULL << 40, 0) == UINT64_MAX / 2);
}

static void throttled_deployment_rests_as_long_as_azure_says(void **state)
{
	struct health *c = health_new(&fake_clock);
	uint64_t left = 0;

	(void)state;
	now_us = 1000000;
	assert_int_equal(health_look(c, STR("r"), STR("d"), NULL), HEALTH_OK);
	health_report(c, STR("r"), STR("d"), 429, 2000);
	assert_int_equal(health_look(c, STR("r"), STR("d"), &left),
	                 HEALTH_THROTTLED);
	assert_int_equal(left, 2000);
	assert_int_equal(health_look(c, STR("r"), STR("e"), NULL), HEALTH_OK);
	assert_int_equal(health_look(c, STR("s"), STR("d"), NULL), HEALTH_OK);
	now_us += 1999000;
	assert_int_equal(health_look(c, STR("r"), STR("d"), NULL),
	                 HEALTH_THROTTLED);
	now_us += 1000;
	assert_int_equal(health_look(c, STR("r"), STR("d"), NULL), HEALTH_OK);
	health_free(c);
}

static void a_day_of_retry_after_is_about_the_request(void **state)
{
	struct health *c = health_new(&fake_clock);

	(void)state;
	health_report(c, STR("r"), STR("d"), 429, 86400ULL * 1000);
	assert_int_equal(health_look(c, STR("r"), STR("d"), NULL), HEALTH_OK);
	health_free(c);
}

static void errors_cool_softly(void **state)
{
	struct health *c = health_new(&fake_clock);

	(void)state;
	health_report(c, STR("r"), STR("d"), 503, 0);
	assert_int_equal(health_look(c, STR("r"), STR("d"), NULL),
	                 HEALTH_FAILING);
	now_us += HEALTH_ERROR_S * 1000000ULL;
	assert_int_equal(health_look(c, STR("r"), STR("d"), NULL), HEALTH_OK);
	health_free(c);
}

static void a_match_without_conditions_is_nobody(void **state)
{
	struct policy_match m = {.tenant = -1};
	struct identity who = {.tenant = 0};

	(void)state;
	assert_false(match_caller(&m, &who));
	m.any = true;
	assert_true(match_caller(&m, &who));
}

static void empty_claims_match_no_condition(void **state)
{
	static const struct str empty[] = {STR_INIT("")};
	struct policy_match m = {.tenant = -1, .apps = {empty, 1}};
	struct identity who = {.tenant = 0};

	(void)state;
	assert_false(match_caller(&m, &who));
	m = (struct policy_match){.tenant = -1, .mirids = {empty, 1}};
	assert_false(match_caller(&m, &who));
	m = (struct policy_match){.tenant = -1, .scopes = {empty, 1}};
	assert_false(match_caller(&m, &who));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ratio_starts_at_the_known_average),
		cmocka_unit_test(ratio_follows_what_was_settled),
		cmocka_unit_test(ratio_cannot_be_pushed_out_of_range),
		cmocka_unit_test(cost_is_rounded_up_and_never_wraps),
		cmocka_unit_test(
			throttled_deployment_rests_as_long_as_azure_says),
		cmocka_unit_test(a_day_of_retry_after_is_about_the_request),
		cmocka_unit_test(errors_cool_softly),
		cmocka_unit_test(a_match_without_conditions_is_nobody),
		cmocka_unit_test(empty_claims_match_no_condition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
