/* usage/record: HAProxy's end-of-stream line, and what it charges. */
#include "test.h"

#include "usage/record.h"

#include <stdio.h>

static struct usage_tokens read_ok(struct str text, struct str first,
                                   enum api_operation op)
{
	struct usage_tokens t = {0};

	assert_true(record_read_usage(text, first, op, &t));
	return t;
}

static void usage_of_chat(void **state)
{
	/* an answer of Azure, azure.md 4.8 B */
	struct usage_tokens t = read_ok(
		STR("{\"completion_tokens\":2,\"completion_tokens_details\":{"
	            "\"accepted_prediction_tokens\":0,\"audio_tokens\":0,"
	            "\"reasoning_tokens\":1,\"rejected_prediction_tokens\":0},"
	            "\"prompt_tokens\":1706,\"prompt_tokens_details\":{"
	            "\"audio_tokens\":null,\"cached_tokens\":1664},"
	            "\"total_tokens\":1708}"),
		STR_NONE, API_CHAT);

	(void)state;
	assert_int_equal(t.input, 1706);
	assert_int_equal(t.cached, 1664);
	assert_int_equal(t.output, 2);
	assert_int_equal(t.reasoning, 1);
}

static void usage_of_responses(void **state)
{
	struct usage_tokens t = read_ok(
		STR("{\"input_tokens\":37,\"input_tokens_details\":{"
	            "\"cached_tokens\":30},\"output_tokens\":11,"
	            "\"output_tokens_details\":{\"reasoning_tokens\":4},"
	            "\"total_tokens\":48}"),
		STR_NONE, API_RESPONSES);

	(void)state;
	assert_int_equal(t.input, 37);
	assert_int_equal(t.cached, 30);
	assert_int_equal(t.output, 11);
	assert_int_equal(t.reasoning, 4);
}

/* azure.md 4.8 E, F, and what chat says of audio */
static void usage_of_audio_and_images(void **state)
{
	struct usage_tokens t =
		read_ok(STR("{\"type\":\"tokens\",\"input_tokens\":14,"
	                    "\"input_token_details\":{\"text_tokens\":4,"
	                    "\"audio_tokens\":10,\"cached_tokens\":3},"
	                    "\"output_tokens\":45,\"total_tokens\":59}"),
	                STR_NONE, API_CHAT);

	(void)state;
	assert_int_equal(t.input, 14);
	assert_int_equal(t.cached, 3);
	assert_int_equal(t.audio, 10);
	assert_int_equal(t.output, 45);
	t = read_ok(STR("{\"input_tokens\":14,\"output_tokens\":101,"
	                "\"output_token_details\":{\"audio_tokens\":7,"
	                "\"reasoning_tokens\":2},\"total_tokens\":115}"),
	            STR_NONE, API_CHAT);
	assert_int_equal(t.output, 101);
	assert_int_equal(t.audio, 7);
	assert_int_equal(t.reasoning, 2);
	t = read_ok(STR("{\"total_tokens\":100,\"input_tokens\":50,"
	                "\"output_tokens\":50,\"input_tokens_details\":{"
	                "\"text_tokens\":10,\"image_tokens\":40}}"),
	            STR_NONE, API_CHAT);
	assert_int_equal(t.input, 50);
	assert_int_equal(t.output, 50);
	t = read_ok(STR("{\"completion_tokens\":9,\"prompt_tokens\":8,"
	                "\"completion_tokens_details\":{\"audio_tokens\":5},"
	                "\"prompt_tokens_details\":{\"audio_tokens\":6}}"),
	            STR_NONE, API_CHAT);
	assert_int_equal(t.audio, 11);
	/* whisper: seconds are no tokens, but nothing to be guessed either */
	t = read_ok(STR("{\"type\":\"duration\",\"seconds\":9}"), STR_NONE,
	            API_CHAT);
	assert_int_equal(t.input + t.output + t.audio, 0);
	assert_false(record_read_usage(
		STR("{\"input_token_details\":{\"audio_tokens\":-1}}"),
		STR_NONE, API_CHAT, &t));
}

static void usage_of_embeddings(void **state)
{
	struct usage_tokens t =
		read_ok(STR("{\"prompt_tokens\":8,\"total_tokens\":8}"),
	                STR_NONE, API_EMBEDDINGS);

	(void)state;
	assert_int_equal(t.input, 8);
	assert_int_equal(t.output, 0);
}

static void usage_of_anthropic_is_cumulative(void **state)
{
	struct usage_tokens t = read_ok(
		STR("{\"output_tokens\":65}"),
		STR("{\"input_tokens\":377,\"cache_creation_input_tokens\":10,"
	            "\"cache_read_input_tokens\":100,\"output_tokens\":1,"
	            "\"service_tier\":\"standard\"}"),
		API_MESSAGES);

	(void)state;
	assert_int_equal(t.input, 487);
	assert_int_equal(t.cached, 100);
	assert_int_equal(t.output, 65);
}

static void a_report_that_is_none(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"7",
		"[]",
		"{\"prompt_tokens\":-1}",
		"{\"prompt_tokens\":1.5}",
		"{\"prompt_tokens\":\"7\"}",
		"{\"prompt_tokens\":99999999999}",
		"{\"prompt_tokens\":1,\"prompt_tokens\":2}",
		"{\"prompt_tokens\":1",
		"{\"completion_tokens\":1e400}",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct usage_tokens t = {.input = 42};

		assert_false(record_read_usage(str_c(bad[i]), STR_NONE,
		                               API_CHAT, &t));
		assert_int_equal(t.input, 42);
	}
}

#define LINE(status, termination, stream, events, bytes, usage)                \
	LINE_AT("12", status, termination, stream, events, bytes, usage)
#define LINE_AT(ttfb, status, termination, stream, events, bytes, usage)       \
	"{\"v\":1,\"id\":\"11111111-2222-3333-4444-555555555555\","            \
	"\"status\":" status ",\"termination\":\"" termination "\","           \
	"\"verdict\":\"allow\",\"account\":\"hr\",\"consumer\":\"hr-bot\","    \
	"\"model\":\"gpt-4o\",\"deployment\":\"d\",\"resource\":\"east\","     \
	"\"operation\":\"chat\",\"reserved\":\"100\",\"text_bytes\":\"350\","  \
	"\"stream\":\"" stream "\",\"usage\":\"" usage "\","                   \
	"\"usage_first\":\"\",\"events\":\"" events "\",\"bytes\":" bytes ","  \
	"\"ttfb_ms\":" ttfb ",\"total_ms\":34,\"retries\":\"0\"}"

#define USAGE "{\\\"prompt_tokens\\\":90,\\\"completion_tokens\\\":7}"

static struct store_usage charge_of(const char *line, struct usage_tokens *t,
                                    bool *estimated)
{
	struct policy_model m = {.price = {.input = 1000, .output = 2000}};
	struct usage_record rec;
	struct store_usage used;

	assert_int_equal(record_parse(str_c(line), &rec), RECORD_OK);
	record_charge(&rec, &m, 3.5, t, &used, estimated);
	record_done(&rec);
	return used;
}

static void line_is_read(void **state)
{
	struct usage_record rec;

	(void)state;
	assert_int_equal(record_parse(STR(LINE("200", "--", "1", "9", "700",
	                                       USAGE) "\n"),
	                              &rec),
	                 RECORD_OK);
	assert_true(str_eq(rec.account, STR("hr")));
	assert_true(str_eq(rec.model, STR("gpt-4o")));
	assert_int_equal(rec.operation, API_CHAT);
	assert_int_equal(rec.status, 200);
	assert_int_equal(rec.text_bytes, 350);
	assert_int_equal(rec.events, 9);
	assert_int_equal(rec.bytes, 700);
	assert_int_equal(rec.ttfb_ms, 12);
	assert_true(rec.stream);
	assert_true(rec.has_usage);
	record_done(&rec);
}

static uint64_t nano_of(const char *line, const struct policy_price *price)
{
	struct policy_model m = {.price = *price};
	struct usage_record rec;
	struct usage_tokens t;
	struct store_usage used;
	bool estimated;

	assert_int_equal(record_parse(str_c(line), &rec), RECORD_OK);
	record_charge(&rec, &m, 3.5, &t, &used, &estimated);
	record_done(&rec);
	return used.nano_usd;
}

static void a_served_request_has_its_price(void **state)
{
	const struct policy_price price = {.input = 1000, .request = 5000000};

	(void)state;
	assert_int_equal(
		nano_of(LINE("200", "--", "1", "9", "700", USAGE), &price),
		5000 + 90);
	assert_int_equal(nano_of(LINE("400", "--", "0", "", "70", ""), &price),
	                 0);
	/* what was made before is only shown once more */
	assert_int_equal(
		nano_of("{\"v\":1,\"id\":\"a\",\"status\":200,\"reserved\":"
	                "\"0\",\"operation\":\"responses\"}",
	                &price),
		0);
}

static void first_token_comes_behind_the_head(void **state)
{
	static const struct {
		const char *line;
		int64_t ms;
	} rows[] = {
		{"{\"v\":1,\"id\":\"a\",\"ttfb_ms\":30,\"token_ms\":\"12\"}",
	         42},
		{"{\"v\":1,\"id\":\"a\",\"ttfb_ms\":30,\"token_ms\":\"0\"}",
	         30},
		{"{\"v\":1,\"id\":\"a\",\"ttfb_ms\":30,\"token_ms\":\"-\"}",
	         -1},
		{"{\"v\":1,\"id\":\"a\",\"ttfb_ms\":-1,\"token_ms\":\"5\"}",
	         -1},
		{"{\"v\":1,\"id\":\"a\",\"ttfb_ms\":30}", -1},
	};
	struct usage_record rec;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(record_parse(str_c(rows[i].line), &rec),
		                 RECORD_OK);
		assert_int_equal(rec.ttft_ms, rows[i].ms);
		record_done(&rec);
	}
}

static void spilled_over_is_told(void **state)
{
	struct usage_record rec;

	(void)state;
	assert_int_equal(record_parse(STR("{\"v\":1,\"id\":\"a\","
	                                  "\"spilled\":\"1\"}"),
	                              &rec),
	                 RECORD_OK);
	assert_true(rec.spilled);
	record_done(&rec);
	assert_int_equal(record_parse(STR("{\"v\":1,\"id\":\"a\","
	                                  "\"spilled\":\"-\"}"),
	                              &rec),
	                 RECORD_OK);
	assert_false(rec.spilled);
	record_done(&rec);
}

static void other_lines_are_none_of_ours(void **state)
{
	struct usage_record rec;

	(void)state;
	assert_int_equal(record_parse(STR("Proxy gateway stopped (FE: 1 "
	                                  "conns)."),
	                              &rec),
	                 RECORD_OTHER);
	assert_int_equal(record_parse(STR(""), &rec), RECORD_OTHER);
	assert_int_equal(record_parse(STR("{\"v\":1,\"id\":\"x\""), &rec),
	                 RECORD_BAD);
	assert_int_equal(record_parse(STR("{\"v\":2,\"id\":\"x\"}"), &rec),
	                 RECORD_BAD);
	assert_int_equal(record_parse(STR("{\"v\":1,\"id\":\"\"}"), &rec),
	                 RECORD_BAD);
	assert_int_equal(record_parse(STR("{\"v\":1,\"id\":\"x\",\"id\":"
	                                  "\"y\"}"),
	                              &rec),
	                 RECORD_BAD);
}

static void reported_usage_is_charged(void **state)
{
	struct usage_tokens t;
	bool estimated;
	struct store_usage u = charge_of(
		LINE("200", "--", "1", "9", "700", USAGE), &t, &estimated);

	(void)state;
	assert_false(estimated);
	assert_int_equal(u.requests, 1);
	assert_int_equal(u.tokens, 97);
	assert_int_equal(u.nano_usd, 90 + 14);
}

static void a_stream_cut_by_its_client_is_estimated(void **state)
{
	struct usage_tokens t;
	bool estimated;
	struct store_usage u = charge_of(
		LINE("200", "CD", "1", "40", "9000", ""), &t, &estimated);

	(void)state;
	assert_true(estimated);
	assert_int_equal(t.input, 101);
	assert_int_equal(t.output, 40);
	assert_int_equal(u.tokens, 141);
}

/* All of it came together with the upstream's close. */
static void events_nobody_saw_are_estimated_by_bytes(void **state)
{
	struct usage_tokens t;
	bool estimated;

	(void)state;
	charge_of(LINE("200", "SD", "1", "0", "51200", ""), &t, &estimated);
	assert_true(estimated);
	assert_int_equal(t.output, 100);
}

static void a_plain_answer_without_usage_is_estimated_by_bytes(void **state)
{
	struct usage_tokens t;
	bool estimated;

	(void)state;
	charge_of(LINE("200", "--", "0", "", "400", "-"), &t, &estimated);
	assert_true(estimated);
	assert_int_equal(t.output, 100);
}

static void cost_nothing(const char *const lines[], size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct usage_tokens t;
		bool estimated;
		struct store_usage u = charge_of(lines[i], &t, &estimated);

		assert_false(estimated);
		assert_int_equal(t.input, 0);
		assert_int_equal(u.requests, 0);
		assert_int_equal(u.tokens, 0);
		assert_int_equal(u.nano_usd, 0);
	}
}

static void what_the_upstream_refused_costs_nothing(void **state)
{
	static const char *const lines[] = {
		LINE("400", "--", "0", "", "300", ""),
		LINE("429", "--", "1", "", "300", ""),
		LINE("500", "--", "0", "", "300", ""),
		LINE("503", "SC", "0", "", "300", ""),
		LINE("400", "CL", "0", "", "300", ""),
	};

	(void)state;
	cost_nothing(lines, sizeof(lines) / sizeof(*lines));
}

static void what_was_never_sent_costs_nothing(void **state)
{
	static const char *const lines[] = {
		LINE("-1", "CR", "1", "", "0", ""),
		LINE("-1", "CQ", "0", "", "0", ""),
		LINE("-1", "CC", "1", "", "0", ""),
	};

	(void)state;
	cost_nothing(lines, sizeof(lines) / sizeof(*lines));
}

static void no_answer_costs_the_prompt(void **state)
{
	static const char *const lines[] = {
		LINE("-1", "CH", "1", "", "0", ""),
		LINE("400", "CH", "0", "", "273", ""),
		LINE_AT("-1", "400", "CL", "0", "", "376", ""),
		LINE("504", "sH", "0", "", "300", ""),
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct usage_tokens t;
		bool estimated;

		charge_of(lines[i], &t, &estimated);
		assert_true(estimated);
		assert_int_equal(t.input, 101);
		assert_int_equal(t.output, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usage_of_chat),
		cmocka_unit_test(usage_of_responses),
		cmocka_unit_test(usage_of_audio_and_images),
		cmocka_unit_test(usage_of_embeddings),
		cmocka_unit_test(usage_of_anthropic_is_cumulative),
		cmocka_unit_test(a_report_that_is_none),
		cmocka_unit_test(line_is_read),
		cmocka_unit_test(a_served_request_has_its_price),
		cmocka_unit_test(first_token_comes_behind_the_head),
		cmocka_unit_test(spilled_over_is_told),
		cmocka_unit_test(other_lines_are_none_of_ours),
		cmocka_unit_test(reported_usage_is_charged),
		cmocka_unit_test(a_stream_cut_by_its_client_is_estimated),
		cmocka_unit_test(events_nobody_saw_are_estimated_by_bytes),
		cmocka_unit_test(
			a_plain_answer_without_usage_is_estimated_by_bytes),
		cmocka_unit_test(what_the_upstream_refused_costs_nothing),
		cmocka_unit_test(what_was_never_sent_costs_nothing),
		cmocka_unit_test(no_answer_costs_the_prompt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
