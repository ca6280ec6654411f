/* decide/: estimates, health, matching. (Rules: tests/tables.) */
#include "test.h"

#include "upstream/health.h"
#include "decide/match.h"
#include "usage/estimator.h"
#include "usage/price.h"

#include <stdio.h>

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
	assert_float_equal(estimator_ratio(l, STR("m"), STR("c")), 3.5, 0.0001);
	estimator_free(l);
}

static void ratio_follows_what_was_settled(void **state)
{
	struct estimator *l = estimator_new();
	int i;

	(void)state;
	for (i = 0; i < 200; i++)
		estimator_learn(l, STR("m"), STR("c"), 5000, 1000);
	assert_float_equal(estimator_ratio(l, STR("m"), STR("c")), 5.0, 0.01);
	assert_float_equal(estimator_ratio(l, STR("other"), STR("c")), 3.5,
	                   0.0001);
	estimator_free(l);
}

static void ratio_cannot_be_pushed_out_of_range(void **state)
{
	struct estimator *l = estimator_new();
	int i;

	(void)state;
	for (i = 0; i < 500; i++)
		estimator_learn(l, STR("m"), STR("c"), 1000000, 1);
	assert_true(estimator_ratio(l, STR("m"), STR("c")) <= 8.0);
	for (i = 0; i < 500; i++)
		estimator_learn(l, STR("m"), STR("c"), 1000, 1000000);
	assert_true(estimator_ratio(l, STR("m"), STR("c")) >= 1.3);
	estimator_learn(l, STR("tiny"), STR("c"), 10, 100);
	estimator_learn(l, STR("none"), STR("c"), 1000, 0);
	assert_float_equal(estimator_ratio(l, STR("tiny"), STR("c")), 3.5,
	                   0.0001);
	assert_float_equal(estimator_ratio(l, STR("none"), STR("c")), 3.5,
	                   0.0001);
	estimator_free(l);
}

/* Pictures, blanks or a strange tongue of one caller are not those of another.
 */
static void one_consumer_does_not_move_another(void **state)
{
	struct estimator *l = estimator_new();
	uint64_t before = estimator_prompt(l, STR("m"), STR("a"), 7000, 0);
	int i;

	(void)state;
	assert_int_equal(before, 2008);
	for (i = 0; i < 500; i++)
		estimator_learn(l, STR("m"), STR("b"), 100000, 100);
	assert_int_equal(estimator_prompt(l, STR("m"), STR("a"), 7000, 0),
	                 before);
	assert_true(estimator_ratio(l, STR("m"), STR("b")) > 7.9);
	assert_float_equal(estimator_ratio(l, STR("n"), STR("b")), 3.5, 0.0001);
	/* nor do names that look the same when they are put together */
	estimator_learn(l, STR("xy"), STR("z"), 7000, 1000);
	assert_float_equal(estimator_ratio(l, STR("x"), STR("yz")), 3.5, 0.0);
	estimator_free(l);
}

static void one_request_moves_little(void **state)
{
	static const uint64_t odd[][2] = {{1000000, 1}, {1000, 1000000}};
	struct estimator *l = estimator_new();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		double before = estimator_ratio(l, STR("m"), STR("c"));

		estimator_learn(l, STR("m"), STR("c"), odd[i][0], odd[i][1]);
		assert_float_equal(estimator_ratio(l, STR("m"), STR("c")),
		                   before, before * 0.0126);
	}
	estimator_free(l);
}

static void the_pairs_used_last_are_known(void **state)
{
	struct estimator *l = estimator_new();
	char name[16];

	(void)state;
	estimator_learn(l, STR("m"), STR("kept"), 8000, 1000);
	estimator_learn(l, STR("m"), STR("left"), 8000, 1000);
	for (int i = 0; i < ESTIMATOR_PAIRS_MAX - 1; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		estimator_learn(l, STR("m"), str_c(name), 8000, 1000);
		assert_true(estimator_ratio(l, STR("m"), STR("kept")) > 3.5);
	}
	assert_float_equal(estimator_ratio(l, STR("m"), STR("left")), 3.5, 0.0);
	/* a new one is learned all the same */
	assert_true(estimator_ratio(l, STR("m"), str_c(name)) > 3.5);
	estimator_free(l);
}

static uint64_t cost(const struct policy_price *price, uint64_t input,
                     uint64_t cached, uint64_t output, uint64_t requests)
{
	return price_nano_usd(price,
	                      &(struct usage_tokens){.input = input,
	                                             .cached = cached,
	                                             .output = output},
	                      requests);
}

static void cost_is_rounded_up_and_never_wraps(void **state)
{
	/* 2.50 / 1.25 / 10.00 dollars per million tokens, a cent a request */
	struct policy_price p = {.rates = {.input = 2500000,
	                                   .cached = 1250000,
	                                   .output = 10000000},
	                         .request = 10000000000};
	struct policy_price cheap = {.rates.input = 1};
	struct policy_price dear = {.rates.output = UINT64_MAX};

	(void)state;
	assert_int_equal(cost(&p, 1000, 0, 500, 0), 2500 * 1000 + 10000 * 500);
	assert_int_equal(cost(&p, 1000, 400, 0, 0), 2500 * 600 + 1250 * 400);
	assert_int_equal(cost(&p, 10, 400, 0, 0), 1250 * 10);
	assert_int_equal(cost(&p, 0, 0, 0, 3), 30000000);
	assert_int_equal(cost(&p, 4, 0, 0, 1), 10000000 + 10000);
	assert_int_equal(cost(&cheap, 1, 0, 0, 1), 1);
	assert_true(cost(&dear, 0, 0, 1ULL << 40, 0) == UINT64_MAX / 2);
}

/* Each part at a rate of its own, which is a power of ten. */
static const struct policy_rates apart = {
	.input = 1,
	.cached = 10,
	.cache_write_5m = 100,
	.cache_write_1h = 1000,
	.audio_input = 10000,
	.audio_cached = 100000,
	.image_input = 1000000,
	.image_cached = 10000000,
	.output = 1,
	.reasoning = 10,
	.audio_output = 100,
	.image_output = 1000,
};

static void each_kind_of_token_has_its_price(void **state)
{
	static const struct {
		struct usage_tokens t;
		uint64_t pico;
	} rows[] = {
		{{.input = 9}, 9},
		{{.input = 9, .cached = 4}, 45},
		{{.input = 9, .cached = 4, .cache_write_5m = 3}, 342},
		{{.input = 9, .cache_write_5m = 3, .cache_write_1h = 2}, 2304},
		{{.input = 9, .audio_input = 5}, 50004},
		{{.input = 9, .audio_input = 5, .cached = 3}, 50031},
		/* it is told that they were audio, or there is no text left */
		{{.input = 9, .audio_input = 5, .cached = 3, .audio_cached = 3},
	         320004},
		{{.input = 9, .audio_input = 5, .cached = 6}, 230040},
		{{.input = 9, .image_input = 5, .cached = 3, .image_cached = 2},
	         23000013},
		{{.output = 9}, 9},
		{{.output = 9, .reasoning = 4}, 45},
		{{.output = 9, .audio_output = 4, .image_output = 5}, 5400},
		/* odd reports: nothing is counted twice, and nothing wraps */
		{{.input = 5, .cache_write_1h = 9}, 5000},
		{{.input = 5, .cached = 9}, 50},
		{{.input = 5, .audio_input = 9, .audio_cached = 9}, 50000},
		{{.output = 5, .reasoning = 9}, 50},
	};
	const struct policy_price p = {.rates = apart};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_true(price_pico_usd(&p, &rows[i].t, 0) == rows[i].pico);
}

static void long_prompts_and_tiers_have_their_prices(void **state)
{
	static const struct policy_price_above above[] = {
		{200, {.input = 3, .output = 5}}, {300, {.input = 4}}};
	const struct policy_model m = {
		.price = {.rates = {.input = 2000, .output = 1},
	                  .request = 1000,
	                  .above = above,
	                  .n_above = 2},
		.price_priority.rates = {.input = 7000, .output = 9000},
		.price_flex.rates = {.input = 1},
	};
	const struct policy_price *p = &m.price;
	struct usage_tokens t = {.input = 200, .output = 1};

	(void)state;
	assert_true(price_pico_usd(p, &t, 0) == 400001);
	t.input = 201;
	assert_true(price_pico_usd(p, &t, 1) == 603 + 5 + 1000);
	t.input = 301;
	assert_true(price_pico_usd(p, &t, 0) == 1204);
	t.longest = 200; /* two short prompts are no long one */
	assert_true(price_pico_usd(p, &t, 0) == 602001);
	assert_ptr_equal(price_of_tier(&m, STR("priority")), &m.price_priority);
	assert_ptr_equal(price_of_tier(&m, STR("flex")), &m.price_flex);
	assert_ptr_equal(price_of_tier(&m, STR("batch")), &m.price_batch);
	assert_ptr_equal(price_of_tier(&m, STR("")), &m.price);
	/* reserved: as if it were the dearest tier */
	assert_int_equal(price_dearest_nano_usd(&m, 10, 2), 70 + 18 + 1);
}

static void the_dearest_price_is_that_of_any_token(void **state)
{
	static const struct policy_price_above above[] = {
		{200, {.input = 50000, .output = 60000}}};
	const struct policy_model m = {
		.price = {.rates = {.input = 1000,
	                            .output = 2000,
	                            .cache_write_1h = 3000,
	                            .audio_output = 4000},
	                  .above = above,
	                  .n_above = 1}};

	(void)state;
	assert_int_equal(price_dearest_nano_usd(&m, 99, 10), 297 + 40);
	/* the estimate may be half of what it is */
	assert_int_equal(price_dearest_nano_usd(&m, 100, 10), 5000 + 600);
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
		cmocka_unit_test(one_consumer_does_not_move_another),
		cmocka_unit_test(one_request_moves_little),
		cmocka_unit_test(the_pairs_used_last_are_known),
		cmocka_unit_test(cost_is_rounded_up_and_never_wraps),
		cmocka_unit_test(each_kind_of_token_has_its_price),
		cmocka_unit_test(long_prompts_and_tiers_have_their_prices),
		cmocka_unit_test(the_dearest_price_is_that_of_any_token),
		cmocka_unit_test(
			throttled_deployment_rests_as_long_as_azure_says),
		cmocka_unit_test(a_day_of_retry_after_is_about_the_request),
		cmocka_unit_test(errors_cool_softly),
		cmocka_unit_test(a_match_without_conditions_is_nobody),
		cmocka_unit_test(empty_claims_match_no_condition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
