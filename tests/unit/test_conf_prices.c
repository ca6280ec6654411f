/* conf: what models and deployments cost. */
#include "test.h"

#include "conf_base.h"

#include <stdio.h>

static struct policy *quiet(const struct change *changes, size_t n)
{
	struct buf warnings;
	struct policy *p = conf_base_parse(&warnings, changes, n);

	if (!p)
		fail_msg("%s", warnings.p);
	assert_string_equal(warnings.p, "");
	buf_done(&warnings);
	return p;
}

static void prices_are_exact(void **state)
{
	static const struct {
		const char *usd;
		uint64_t pico;
	} prices[] = {
		{"0", 0},
		{"0.000001", 1},
		{"0.1", 100000},
		{"0.15", 150000},
		{"0.075", 75000},
		{"1.1", 1100000},
		{"2.5", 2500000},
		{"3.75e0", 3750000},
		{"123456.789012", 123456789012},
		{"999999.999999", 999999999999},
	};
	struct policy *p;
	char price[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(prices) / sizeof(*prices); i++) {
		const struct change c = {"\"input\": 2.5", price};

		snprintf(price, sizeof(price), "\"input\": %s", prices[i].usd);
		p = quiet(&c, 1);
		assert_int_equal(p->models[0].price.rates.input,
		                 prices[i].pico);
		/* without a price of its own */
		assert_int_equal(p->models[0].price.rates.cached,
		                 prices[i].pico);
		assert_int_equal(p->models[0].price.rates.output, 10000000);
		policy_unref(p);
	}
}

static void cached_tokens_may_be_free(void **state)
{
	const struct change c = {"\"input\": 2.5",
	                         "\"input\": 2.5, \"cached\": 0"};
	struct policy *p = quiet(&c, 1);

	(void)state;
	assert_int_equal(p->models[0].price.rates.input, 2500000);
	assert_int_equal(p->models[0].price.rates.cached, 0);
	policy_unref(p);
}

/* What is not written is as it is without batch. */
static void batches_have_prices(void **state)
{
	static const struct {
		const char *text;
		uint64_t input, cached, output;
	} rows[] = {
		{"\"cached\": 1", 2500000, 1000000, 10000000},
		{"\"cached\": 1, \"batch\": {\"input\": 1.25}", 1250000,
	         1250000, 10000000},
		{"\"batch\": {\"cached\": 0, \"output\": 5}", 2500000, 0,
	         5000000},
	};
	char price[96];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct change c = {"\"input\": 2.5", price};
		const struct policy_rates *batch;
		struct policy *p;

		snprintf(price, sizeof(price), "\"input\": 2.5, %s",
		         rows[i].text);
		p = quiet(&c, 1);
		batch = &p->models[0].price_batch.rates;
		assert_int_equal(batch->input, rows[i].input);
		assert_int_equal(batch->cached, rows[i].cached);
		assert_int_equal(batch->output, rows[i].output);
		assert_int_equal(p->models[0].price.rates.output, 10000000);
		policy_unref(p);
	}
}

static void kinds_have_prices(void **state)
{
	static const struct change c = {
		"\"input\": 2.5",
		"\"input\": 2.5, \"cached\": 1, \"cache_write_5m\": 3, "
		"\"audio_input\": 40, \"image_output\": 30, "
		"\"above\": [{\"tokens\": 200000, \"input\": 5}, "
		"{\"tokens\": 272000, \"output\": 50}], "
		"\"priority\": {\"input\": 6}, "
		"\"flex\": {\"input\": 1, \"output\": 2, \"cached\": 0.5, "
		"\"above\": [{\"tokens\": 9, \"input\": 4}]}"};
	struct policy *p = quiet(&c, 1);
	const struct policy_model *m = &p->models[0];
	const struct policy_rates *r = &m->price.rates;

	(void)state;
	assert_int_equal(r->cache_write_5m, 3000000);
	assert_int_equal(r->cache_write_1h, 3000000);
	assert_int_equal(r->audio_input, 40000000);
	assert_int_equal(r->audio_cached, 40000000);
	assert_int_equal(r->audio_output, 10000000);
	assert_int_equal(r->image_input, 2500000);
	assert_int_equal(r->image_cached, 1000000);
	assert_int_equal(r->image_output, 30000000);
	assert_int_equal(r->reasoning, 10000000);
	/* what is not stated is never cheaper inside than outside */
	assert_int_equal(m->price.n_above, 2);
	r = &m->price.above[0].rates;
	assert_int_equal(m->price.above[0].tokens, 200000);
	assert_int_equal(r->input, 5000000);
	assert_int_equal(r->cached, 5000000);
	assert_int_equal(r->audio_input, 40000000);
	assert_int_equal(r->output, 10000000);
	r = &m->price.above[1].rates;
	assert_int_equal(r->input, 5000000);
	assert_int_equal(r->output, 50000000);
	assert_int_equal(r->reasoning, 50000000);
	assert_int_equal(m->price_priority.rates.input, 6000000);
	assert_int_equal(m->price_priority.rates.cached, 6000000);
	assert_int_equal(m->price_priority.rates.output, 10000000);
	assert_int_equal(m->price_priority.n_above, 2);
	assert_int_equal(m->price_priority.above[0].rates.input, 6000000);
	assert_int_equal(m->price_flex.rates.input, 1000000);
	assert_int_equal(m->price_flex.rates.cached, 500000);
	assert_int_equal(m->price_flex.n_above, 1);
	assert_int_equal(m->price_flex.above[0].tokens, 9);
	assert_int_equal(m->price_flex.above[0].rates.input, 4000000);
	/* what nobody states follows the price that it is a part of */
	assert_int_equal(m->price_flex.rates.reasoning, 2000000);
	assert_int_equal(m->price_flex.rates.image_output, 30000000);
	assert_int_equal(m->price_batch.n_above, 0);
	policy_unref(p);
}

static void models_are_found_by_deployment(void **state)
{
	static const struct change c = {
		"\"deployments\": [{\"resource\": \"east\"}]",
		"\"deployments\": [{\"resource\": \"east\", \"name\": "
		"\"four-batch\"}]"};
	struct policy *p = quiet(&c, 1);

	(void)state;
	assert_ptr_equal(policy_model_deployed(p, STR("east"), STR("four")),
	                 &p->models[0]);
	assert_ptr_equal(
		policy_model_deployed(p, STR("east"), STR("four-batch")),
		&p->models[0]);
	assert_null(policy_model_deployed(p, STR("west"), STR("four-batch")));
	assert_null(policy_model_deployed(p, STR("east"), STR("")));
	policy_unref(p);
}

#define UNITS "{\"units\": 100, \"usd_per_unit_hour\": \"1.00\""

static void throughput_is_paid_by_the_hour(void **state)
{
	static const struct change c[] = {
		{"\"deployments\": [{\"resource\": \"east\"}]",
	         "\"deployments\": [{\"resource\": \"east\", \"ptu\": " UNITS
	         ", \"tokens_per_minute_per_unit\": 2500, "
	         "\"output_weight\": 4, \"since\": "
	         "\"2026-11-01T00:00:00Z\"}}, {\"resource\": \"east\", "
	         "\"name\": \"other\"}, {\"resource\": \"east\", "
	         "\"name\": \"third\", \"ptu\": " UNITS "}}]"},
		{"\"input\": 2.5", "\"request\": \"0.000000000007\""},
	};
	struct policy *p = quiet(c, 2);
	const struct policy_provisioned *v =
		policy_provisioned(p, STR("east"), STR("gpt-4.1"));

	(void)state;
	assert_non_null(v);
	assert_ptr_equal(v->deployment, &p->models[0].deployments[0]);
	assert_ptr_equal(v->model, &p->models[0]);
	assert_int_equal(v->deployment->ptu.units, 100);
	assert_int_equal(v->deployment->ptu.unit_hour, 1000000000000);
	assert_int_equal(v->deployment->ptu.unit_tpm, 2500);
	assert_int_equal(v->deployment->ptu.output_weight, 4);
	assert_int_equal(v->deployment->ptu.since, 1793491200);
	assert_int_equal(v->deployment->ptu.until, 0);
	assert_null(policy_provisioned(p, STR("east"), STR("other")));
	assert_null(policy_provisioned(p, STR("west"), STR("gpt-4.1")));
	v = policy_provisioned(p, STR("east"), STR("third"));
	assert_non_null(v);
	assert_int_equal(v->deployment->ptu.output_weight, 1);
	assert_int_equal(v->deployment->ptu.unit_tpm, 0);
	assert_int_equal(p->models[0].price.request, 7);
	policy_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prices_are_exact),
		cmocka_unit_test(cached_tokens_may_be_free),
		cmocka_unit_test(batches_have_prices),
		cmocka_unit_test(kinds_have_prices),
		cmocka_unit_test(models_are_found_by_deployment),
		cmocka_unit_test(throughput_is_paid_by_the_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
