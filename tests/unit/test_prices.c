/* prices: a price file becomes what gateway.json says, to the last digit. */
#include "test.h"

#include "base/json.h"
#include "commands/prices.h"

#include <string.h>

static struct buf out, notes;

static int begin(void **state)
{
	(void)state;
	buf_init(&out, 1 << 20);
	buf_init(&notes, 1 << 20);
	return 0;
}

static int end(void **state)
{
	(void)state;
	buf_done(&out);
	buf_done(&notes);
	return 0;
}

static bool convert(const char *text, const char *prefix)
{
	buf_clear(&out);
	buf_clear(&notes);
	return prices_print(str_c(text), str_c(prefix), &out, &notes);
}

static void expect(const char *text)
{
	if (!str_eq(buf_str(&out), str_c(text)))
		fail_msg("expected\n%sfound\n%.*s", text, (int)out.len, out.p);
}

static void expect_note(const char *part)
{
	if (!memmem(notes.p, notes.len, part, strlen(part)))
		fail_msg("no \"%s\" in\n%.*s", part, (int)notes.len, notes.p);
}

static void decimals_are_exact(void **state)
{
	static const struct {
		const char *text;
		uint64_t pico;
	} good[] = {
		{"0", 0},
		{"0.0", 0},
		{"0e-99", 0},
		{"1", 1000000000000},
		{"2.5e-06", 2500000},
		{"1.25e-6", 1250000},
		{"1.25E-6", 1250000},
		{"0.00000125", 1250000},
		{"0.125e-5", 1250000},
		{"125e-8", 1250000},
		{"12500000000000000e-22", 1250000},
		{"1.2500000000e-06", 1250000},
		{"1e-12", 1},
		{"0.000000000001", 1},
		{"7e-07", 700000},
		{"1.1e-07", 110000},
		{"0.999999999999", 999999999999},
	};
	static const char *const bad[] = {
		"",
		"-1e-06",
		"1e-13",
		"1.0000000000000001e-07",
		"7.5000000000000002e-08",
		"2",
		"1.000000000001",
		"1.5e+0",
		"1e3",
		"1e999999",
		"1e-401",
		"99999999999999999999999e-30",
		"1e",
		"1e-",
		"0x1",
		"1.2e3.4",
	};
	uint64_t v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		v = UINT64_MAX;
		assert_true(prices_pico(str_c(good[i].text), &v));
		assert_int_equal(v, good[i].pico);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		v = 77;
		if (prices_pico(str_c(bad[i]), &v))
			fail_msg("took \"%s\"", bad[i]);
		assert_int_equal(v, 77);
	}
}

static const char sample[] =
	"{\"azure/per-call\": {\"input_cost_per_token\": 1e-06,"
	"  \"output_cost_per_token\": 1e-06, \"mode\": \"chat\","
	"  \"input_cost_per_audio_token\": 4e-05,"
	"  \"input_cost_per_request\": 0.005,"
	"  \"input_cost_per_token_batches\": 5e-07},"
	" \"sample_spec\": {\"input_cost_per_token\": 0.0, \"mode\": \"one\","
	"  \"nested\": {\"input_cost_per_token\": 1}},"
	" \"azure/gpt-4o\": {\"input_cost_per_token\": 2.5e-06,"
	"  \"cache_read_input_token_cost\": 1.25e-06,"
	"  \"output_cost_per_token\": 1e-05, \"mode\": \"chat\","
	"  \"output_cost_per_token_batches\": 5e-06,"
	"  \"supported_endpoints\": [\"/v1/chat\", {\"mode\": \"no\"}]},"
	" \"azure/gpt-4.1-nano\": {\"input_cost_per_token\": 1e-07,"
	"  \"output_cost_per_token\": 4e-07, \"mode\": \"chat\"},"
	" \"azure/text-embedding-3-small\": {\"input_cost_per_token\": 2e-08,"
	"  \"mode\": \"embedding\"},"
	" \"azure/dall-e-3\": {\"output_cost_per_image\": 0.04,"
	"  \"mode\": \"image_generation\"},"
	" \"azure/half\": {\"input_cost_per_token\": 1e-06, \"mode\": "
	"\"chat\"},"
	" \"azure/drift\": {\"input_cost_per_token\": 7.5000000000000002e-08,"
	"  \"output_cost_per_token\": 4e-07, \"mode\": \"chat\"},"
	" \"azure/long\": {\"input_cost_per_token\": 2e-06,"
	"  \"input_cost_per_token_above_272k_tokens\": 4e-06,"
	"  \"output_cost_per_token\": 8.5e-06, \"mode\": \"chat\"},"
	" \"azure/eu/gpt-4o\": {\"input_cost_per_token\": 2.75e-06,"
	"  \"cache_read_input_token_cost\": 1.375e-06,"
	"  \"output_cost_per_token\": 1.1e-05, \"mode\": \"chat\"},"
	" \"azure_ai/other\": {\"input_cost_per_token\": 1e-06,"
	"  \"output_cost_per_token\": 1e-06, \"mode\": \"chat\"}}";

static void entries_become_prices(void **state)
{
	(void)state;
	assert_true(convert(sample, "azure/"));
	expect("{\n"
	       "\t\"per-call\": {\"price\": {\"input\": 1, \"output\": 1, "
	       "\"audio_input\": 40, "
	       "\"request\": \"0.005000000000\", \"batch\": {\"input\": "
	       "0.5}}},\n"
	       "\t\"gpt-4o\": {\"price\": {\"input\": 2.5, \"cached\": 1.25, "
	       "\"output\": 10, \"batch\": {\"output\": 5}}},\n"
	       "\t\"gpt-4.1-nano\": {\"price\": {\"input\": 0.1, \"output\": "
	       "0.4}},\n"
	       "\t\"text-embedding-3-small\": {\"price\": {\"input\": 0.02, "
	       "\"output\": 0}},\n"
	       "\t\"long\": {\"price\": {\"input\": 2, \"output\": 8.5, "
	       "\"above\": [{\"tokens\": 272000, \"input\": 4}]}}\n"
	       "}\n");
	assert_true(convert(sample, "azure/eu/"));
	expect("{\n\t\"gpt-4o\": {\"price\": {\"input\": 2.75, \"cached\": "
	       "1.375, \"output\": 11}}\n}\n");
	assert_int_equal(notes.len, 0);
}

static void what_is_left_out_is_named(void **state)
{
	(void)state;
	assert_true(convert(sample, "azure/"));
	expect_note("azure/dall-e-3: skipped: has no price per token "
	            "(image_generation)\n");
	expect_note("azure/half: skipped: has no price of its output");
	expect_note("azure/drift: skipped: found 7.5000000000000002e-08 as "
	            "input_cost_per_token, expected");
	expect_note("azure/eu/gpt-4o: skipped: is priced apart");
	assert_null(memmem(notes.p, notes.len, "azure_ai", 8));
	assert_null(memmem(notes.p, notes.len, "nano", 4));
}

static void every_kind_of_price_is_taken(void **state)
{
	(void)state;
	assert_true(convert(
		"{\"azure/a\": {\"input_cost_per_token\": 2e-06,"
		" \"output_cost_per_token\": 8e-06,"
		" \"cache_creation_input_token_cost\": 2.5e-06,"
		" \"cache_creation_input_token_cost_above_1hr\": 4e-06,"
		" \"cache_creation_input_token_cost_above_1hr_above_200k_tokens"
		"\": 7e-06, \"input_cost_per_token_above_272k_tokens\": 6e-06,"
		" \"input_cost_per_token_above_200k_tokens\": 4e-06,"
		" \"cache_read_input_token_cost_above_200k_tokens\": null,"
		" \"input_cost_per_audio_token\": 4e-05,"
		" \"cache_read_input_audio_token_cost\": 4e-07,"
		" \"output_cost_per_audio_token\": 8e-05,"
		" \"input_cost_per_image_token\": 5e-06,"
		" \"cache_read_input_image_token_cost\": 5e-07,"
		" \"output_cost_per_image_token\": 3e-05,"
		" \"output_cost_per_reasoning_token\": 9e-06,"
		" \"input_cost_per_token_priority\": 4e-06,"
		" \"output_cost_per_token_above_272k_tokens_priority\": 2e-05,"
		" \"output_cost_per_token_flex\": 1e-06,"
		" \"output_cost_per_token_batches\": 2e-06}}",
		"azure/"));
	expect("{\n\t\"a\": {\"price\": {\"input\": 2, \"output\": 8, "
	       "\"cache_write_5m\": 2.5, \"cache_write_1h\": 4, "
	       "\"audio_input\": 40, \"audio_cached\": 0.4, "
	       "\"audio_output\": 80, \"image_input\": 5, "
	       "\"image_cached\": 0.5, \"image_output\": 30, "
	       "\"reasoning\": 9, \"above\": [{\"tokens\": 200000, "
	       "\"input\": 4, \"cache_write_1h\": 7}, {\"tokens\": 272000, "
	       "\"input\": 6}], \"batch\": {\"output\": 2}, "
	       "\"priority\": {\"input\": 4, \"above\": [{\"tokens\": 272000, "
	       "\"output\": 20}]}, \"flex\": {\"output\": 1}}}\n}\n");
	assert_int_equal(notes.len, 0);
}

static void prices_without_a_place_are_named(void **state)
{
	(void)state;
	assert_true(convert(
		"{\"azure/a\": {\"input_cost_per_token\": 2e-06,"
		" \"output_cost_per_image_token\": 3e-05,"
		" \"input_cost_per_second\": 1e-04, \"max_tokens\": 7,"
		" \"input_cost_per_token_above_272k_tokens_batches\": 1e-06,"
		" \"input_cost_per_token_above_many_k_tokens\": 1e-06,"
		" \"regional_processing_uplift_multiplier_eu\": 1.1,"
		" \"search_context_cost_per_query\": {\"cost\": 1},"
		" \"tiered_pricing\": [{\"x\": 1}]}}",
		"azure/"));
	/* no text, so text costs what the dearest output does */
	expect("{\n\t\"a\": {\"price\": {\"input\": 2, \"output\": 30, "
	       "\"image_output\": 30}}\n}\n");
	expect_note("azure/a: taken, without input_cost_per_second, "
	            "input_cost_per_token_above_272k_tokens_batches, "
	            "input_cost_per_token_above_many_k_tokens, "
	            "regional_processing_uplift_multiplier_eu, "
	            "search_context_cost_per_query, tiered_pricing: ");
}

static void what_is_printed_is_json(void **state)
{
	const char *error;
	struct json *doc;
	double v = 0;
	size_t at;

	(void)state;
	assert_true(convert(sample, "azure/"));
	doc = json_parse(buf_str(&out), &error, &at);
	assert_non_null(doc);
	assert_true(json_number(
		json_get(json_get(json_get(doc, "gpt-4o"), "price"), "cached"),
		&v));
	assert_true(v == 1.25);
	json_free(doc);
}

static void files_that_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{\"azure/a\": {\"input_cost_per_token\": 1e-06}",
		"{\"azure/a\": {}, \"azure/a\": {}}",
		"{\"azure/a\": {\"input_cost_per_token\": 1e-06, "
		"\"input_cost_per_token\": 2e-06}}",
		"{\"azure/a\": 1}",
		"{\"azure/a\": {\"input_cost_per_token\": \"1e-06\"}}",
		"{}",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_false(convert(bad[i], "azure/"));
		assert_true(notes.len > 0);
	}
	assert_false(convert(sample, "no-such/"));
	expect_note("no entry could be taken whose name begins with "
	            "\"no-such/\"");
}

static void options(void **state)
{
	char *argv[] = {(char[]){"file.json"}, (char[]){"--prefix"},
	                (char[]){"azure_ai/"}};
	struct prices_options o;

	(void)state;
	buf_clear(&notes);
	assert_true(prices_read_options(1, argv, &o, &notes));
	assert_true(str_eq(o.prefix, STR("azure/")));
	assert_true(prices_read_options(3, argv, &o, &notes));
	assert_string_equal(o.file, "file.json");
	assert_true(str_eq(o.prefix, STR("azure_ai/")));
	assert_false(prices_read_options(2, argv, &o, &notes));
	assert_false(prices_read_options(0, argv, &o, &notes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decimals_are_exact),
		cmocka_unit_test(entries_become_prices),
		cmocka_unit_test(what_is_left_out_is_named),
		cmocka_unit_test(every_kind_of_price_is_taken),
		cmocka_unit_test(prices_without_a_place_are_named),
		cmocka_unit_test(what_is_printed_is_json),
		cmocka_unit_test(files_that_are_none),
		cmocka_unit_test(options),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
