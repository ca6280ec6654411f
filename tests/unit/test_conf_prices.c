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
		assert_int_equal(p->models[0].price.input, prices[i].pico);
		/* without a price of its own */
		assert_int_equal(p->models[0].price.cached, prices[i].pico);
		assert_int_equal(p->models[0].price.output, 10000000);
		policy_unref(p);
	}
}

static void cached_tokens_may_be_free(void **state)
{
	const struct change c = {"\"input\": 2.5",
	                         "\"input\": 2.5, \"cached\": 0"};
	struct policy *p = quiet(&c, 1);

	(void)state;
	assert_int_equal(p->models[0].price.input, 2500000);
	assert_int_equal(p->models[0].price.cached, 0);
	policy_unref(p);
}

/* What is not written is as it is without batch. */
static void batches_have_prices(void **state)
{
	static const struct {
		const char *text;
		struct policy_price p;
	} rows[] = {
		{"\"cached\": 1", {2500000, 1000000, 10000000, 0}},
		{"\"cached\": 1, \"batch\": {\"input\": 1.25}",
	         {1250000, 1250000, 10000000, 0}},
		{"\"batch\": {\"cached\": 0, \"output\": 5}",
	         {2500000, 0, 5000000, 0}},
	};
	char price[96];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct change c = {"\"input\": 2.5", price};
		struct policy *p;

		snprintf(price, sizeof(price), "\"input\": 2.5, %s",
		         rows[i].text);
		p = quiet(&c, 1);
		assert_memory_equal(&p->models[0].price_batch, &rows[i].p,
		                    sizeof(rows[i].p));
		assert_int_equal(p->models[0].price.output, 10000000);
		policy_unref(p);
	}
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
		cmocka_unit_test(models_are_found_by_deployment),
		cmocka_unit_test(throughput_is_paid_by_the_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
