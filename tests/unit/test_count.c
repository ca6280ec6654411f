/* usage/count: tokens under the names of the conventions, and no series that
 * a caller could make. */
#include "test.h"

#include "conf/load.h"
#include "usage/count.h"

#include <stdio.h>
#include <stdlib.h>

static struct policy *policy;
static struct metrics *metrics;

static int load(void **state)
{
	struct buf error;

	(void)state;
	buf_init(&error, 65536);
	policy = conf_load("tests/fixtures/gateway.json", &error);
	buf_done(&error);
	return policy ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	policy_unref(policy);
	return 0;
}

static int fresh(void **state)
{
	(void)state;
	metrics = metrics_new();
	return metrics ? 0 : -1;
}

static int used_up(void **state)
{
	(void)state;
	metrics_free(metrics);
	return 0;
}

/* The page as a C string; the caller frees. */
static char *page(void)
{
	struct buf b;

	buf_init(&b, 8 * 1024 * 1024);
	metrics_print(metrics, &b);
	buf_add(&b, "", 1);
	assert_false(b.failed);
	return b.p;
}

static void expect(const char *line)
{
	char *p = page();

	if (!strstr(p, line))
		fail_msg("no\n%sin\n%s", line, p);
	free(p);
}

static void expect_not(const char *part)
{
	char *p = page();

	if (strstr(p, part))
		fail_msg("found %s in\n%s", part, p);
	free(p);
}

static struct usage_record record(void)
{
	return (struct usage_record){
		.ticket = {.consumer = STR("demo"),
	                   .model = STR("gpt-4o"),
	                   .deployment = STR("gpt-4o-east"),
	                   .resource = STR("east"),
	                   .operation = API_CHAT,
	                   .stream = true},
		.status = 200,
		.ttfb_ms = 30,
		.total_ms = 1500,
	};
}

static struct usage_tokens tokens(uint64_t input, uint64_t cached,
                                  uint64_t output, uint64_t reasoning)
{
	return (struct usage_tokens){.input = input,
	                             .cached = cached,
	                             .output = output,
	                             .reasoning = reasoning};
}

static void use(const struct usage_record *rec, struct usage_tokens t,
                bool estimated, uint64_t nano_usd)
{
	struct count_usage u = {.rec = rec,
	                        .tokens = &t,
	                        .estimated = estimated,
	                        .nano_usd = nano_usd};

	count_usage(metrics, policy, &u);
}

#define CHAT                                                                   \
	"gen_ai_operation_name=\"chat\","                                      \
	"gen_ai_provider_name=\"azure.ai.openai\","                            \
	"gen_ai_request_model=\"gpt-4o\""
#define WHO     ",consumer=\"demo\",resource=\"east\""
#define UNKNOWN ",gen_ai_token_modality=\"unknown\""
#define USAGE   "gen_ai_client_inference_usage_"

static void reported_tokens(void **state)
{
	struct usage_record rec = record();

	(void)state;
	use(&rec, tokens(100, 40, 50, 20), false, 7);
	use(&rec, tokens(1, 0, 1, 0), false, 1);
	expect("\n" USAGE "input_tokens_total{" CHAT WHO UNKNOWN "} 101\n");
	expect("\n" USAGE "cache_read_input_tokens_total{" CHAT WHO UNKNOWN
	       "} 40\n");
	expect("\n" USAGE "output_tokens_total{" CHAT WHO UNKNOWN "} 51\n");
	expect("\n" USAGE "reasoning_output_tokens_total{" CHAT WHO UNKNOWN
	       "} 20\n");
	expect("\ngen_ai_client_token_usage_sum{" CHAT
	       ",gen_ai_token_type=\"input\"} 101\n");
	expect("\ngen_ai_client_token_usage_bucket{" CHAT
	       ",gen_ai_token_type=\"output\",le=\"64\"} 2\n");
	expect("\nfoundry_cost_usd_total{" CHAT WHO "} 0.000000008\n");
	expect_not("foundry_estimated_tokens_total");
}

static void estimated_tokens_are_not_reported_ones(void **state)
{
	struct usage_record rec = record();

	(void)state;
	use(&rec, tokens(100, 0, 50, 0), true, 7);
	expect("\nfoundry_estimated_tokens_total{" CHAT WHO
	       ",gen_ai_token_type=\"input\"} 100\n");
	expect("\nfoundry_estimated_tokens_total{" CHAT WHO
	       ",gen_ai_token_type=\"output\"} 50\n");
	expect_not(USAGE);
	expect_not("gen_ai_client_token_usage");
}

static void times(void **state)
{
	struct usage_record rec = record();

	(void)state;
	use(&rec, (struct usage_tokens){0}, false, 0);
	rec.ticket.stream = false;
	rec.total_ms = 200000;
	use(&rec, (struct usage_tokens){0}, false, 0);
	rec.total_ms = -1;
	use(&rec, (struct usage_tokens){0}, false, 0);
#define TIMES "gen_ai_client_operation_"
#define AT    CHAT ",resource=\"east\""
	expect("\n" TIMES "duration_seconds_bucket{" AT ",le=\"1.28\"} 0\n");
	expect("\n" TIMES "duration_seconds_bucket{" AT ",le=\"2.56\"} 1\n");
	expect("\n" TIMES "duration_seconds_bucket{" AT ",le=\"+Inf\"} 2\n");
	expect("\n" TIMES "duration_seconds_sum{" AT "} 201.500000\n");
	expect("\n" TIMES "time_to_first_chunk_seconds_count{" AT "} 1\n");
	expect("\n" TIMES "time_to_first_chunk_seconds_sum{" AT "} 0.030000\n");
}

static void provider_is_what_was_spoken(void **state)
{
	struct usage_record rec = record();

	(void)state;
	rec.ticket.model = rec.ticket.deployment = STR("claude-sonnet-4-5");
	rec.ticket.operation = API_MESSAGES;
	rec.ticket.resource = STR("west");
	use(&rec, tokens(1, 0, 1, 0), false, 0);
	expect("{gen_ai_operation_name=\"chat\",gen_ai_provider_name="
	       "\"anthropic\",gen_ai_request_model=\"claude-sonnet-4-5\","
	       "consumer=\"demo\",resource=\"west\"");
}

static void streams_that_run(void **state)
{
	struct usage_record rec = record();

	(void)state;
	count_decision(metrics, policy, rec.ticket.consumer, rec.ticket.model,
	               "allow", true);
	count_decision(metrics, policy, rec.ticket.consumer, rec.ticket.model,
	               "allow", true);
	count_decision(metrics, policy, rec.ticket.consumer, rec.ticket.model,
	               "deny", false);
	count_end(metrics, policy, &rec);
#define WHOSE "consumer=\"demo\",gen_ai_request_model=\"gpt-4o\""
	expect("\nfoundry_consumer_streams{" WHOSE "} 1\n");
	expect("\nfoundry_consumer_requests_total{" WHOSE
	       ",verdict=\"allow\"} 2\n");
	expect("\nfoundry_consumer_requests_total{" WHOSE
	       ",verdict=\"deny\"} 1\n");
	count_end(metrics, policy, &rec);
	count_end(metrics, policy, &rec); /* said twice */
	expect("\nfoundry_consumer_streams{" WHOSE "} 0\n");
}

static void streams_that_were_cut(void **state)
{
	struct usage_record rec = record();

	(void)state;
	use(&rec, tokens(1, 0, 1, 0), true, 1);
	rec.code = STR("decision_incomplete");
	use(&rec, tokens(1, 0, 1, 0), true, 1);
	expect_not("foundry_streams_cut_total{");
	rec.code = STR("caller_blocked");
	use(&rec, tokens(1, 0, 1, 0), true, 1);
	expect("\nfoundry_streams_cut_total{" WHOSE "} 1\n");
}

static void attack_names_that_are_not_configured(void **state)
{
	struct usage_record rec = record();
	char name[32], *p, *line;
	unsigned i, series = 0;

	(void)state;
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "made-up-%u", i);
		rec.ticket.consumer = rec.ticket.model = rec.ticket.resource =
			rec.ticket.deployment = rec.ticket.agent =
				rec.ticket.app = rec.ticket.project =
					str_c(name);
		use(&rec, tokens(1, 0, 1, 0), false, 1);
		count_end(metrics, policy, &rec);
		count_decision(metrics, policy, STR("demo"), rec.ticket.model,
		               "deny", false);
	}
	expect("gen_ai_request_model=\"other\",consumer=\"other\","
	       "resource=\"other\"" UNKNOWN "} 1000\n");
	expect_not("made-up");
	p = page();
	for (line = p; (line = strstr(line, "other")) != NULL; line++)
		series++;
	assert_in_range(series, 1, 300);
	free(p);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, used_up)
	const struct CMUnitTest tests[] = {
		TEST(reported_tokens),
		TEST(estimated_tokens_are_not_reported_ones),
		TEST(times),
		TEST(provider_is_what_was_spoken),
		TEST(streams_that_run),
		TEST(streams_that_were_cut),
		TEST(attack_names_that_are_not_configured),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
