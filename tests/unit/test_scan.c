/* api/scan: one reading of a body, or none. */
#include "test.h"

#include "base/buf.h"
#include "api/scan.h"

#include <stdio.h>
#include <stdlib.h>

static char mem[4096] __attribute__((aligned(16)));
static struct arena arena;
static struct scan_result got;

static enum scan_status scan(struct str body)
{
	arena_init(&arena, mem, sizeof(mem));
	return scan_body(body, &arena, &got);
}

static void accept(const char *body)
{
	if (scan(str_c(body)) != SCAN_OK)
		fail_msg("%s: %s at %zu", body, got.error, got.error_at);
}

static void refuse(const char *body, const char *why)
{
	assert_int_equal(scan(str_c(body)), SCAN_BAD);
	if (!strstr(got.error, why))
		fail_msg("%s: %s", body, got.error);
	assert_true(got.error_at < strlen(body));
}

static const char whole[] =
	"{\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9llo \xe2\x82"
	"\xac\"}],"
	"\"stream\":true,\"max_completion_tokens\":16384,"
	"\"stream_options\":{\"include_usage\":true},\"n\":2,"
	"\"reasoning\":{\"effort\":\"low\"},\"temperature\":0.5e-1,"
	"\"previous_response_id\":\"resp_1\",\"prompt_cache_key\":\"k\\/1\","
	"\"model\":\"gpt-4o\\u002dmini\"}";

static void test_reads_what_matters(void **state)
{
	(void)state;
	accept(whole);
	assert_true(got.has_model);
	assert_true(str_eq(got.model, STR("gpt-4o-mini")));
	assert_true(got.stream);
	assert_true(got.has_stream_options);
	assert_true(got.include_usage);
	assert_true(got.has_max_output);
	assert_int_equal(got.max_output, 16384);
	assert_int_equal(got.n, 2);
	assert_true(str_eq(got.previous_response_id, STR("resp_1")));
	assert_true(str_eq(got.prompt_cache_key, STR("k/1")));
	/* user + "héllo €" + low + resp_1 + k/1 + the model, unescaped */
	assert_int_equal(got.text_bytes, 4 + 10 + 3 + 6 + 3 + 11);
	assert_int_equal(got.n_data_urls, 0);
	assert_false(arena.overflow);
}

static void test_absent_members(void **state)
{
	(void)state;
	accept("{}");
	assert_false(got.has_model);
	assert_false(got.stream);
	assert_false(got.has_stream_options);
	assert_false(got.has_max_output);
	assert_int_equal(got.n, 1);
	assert_int_equal(got.text_bytes, 0);
	accept("{\"model\":null,\"stream\":null,\"n\":null,\"max_tokens\":null,"
	       "\"stream_options\":null,\"prompt_cache_key\":null,"
	       "\"reasoning\":null,\"input\":null,\"prompt\":null}");
	assert_false(got.has_model);
	assert_false(got.has_stream_options);
	assert_false(got.has_max_output);
	assert_int_equal(got.n, 1);
}

static void test_every_prefix_is_partial(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		char *exact = malloc(n + 1);

		assert_non_null(exact);
		memcpy(exact, whole, n);
		if (scan(str_of(exact, n)) != SCAN_PARTIAL)
			fail_msg("%zu bytes: %s", n, got.error);
		/* `model` is the last member */
		assert_int_equal(got.has_model, n == sizeof(whole) - 2);
		free(exact);
	}
}

static void test_partial_tells_what_stood_before(void **state)
{
	static const char body[] = "{\"model\":\"m\",\"stream\":true,"
				   "\"input\":\"0123456789";

	(void)state;
	assert_int_equal(scan(str_c(body)), SCAN_PARTIAL);
	assert_true(got.has_model);
	assert_true(got.stream);
	assert_int_equal(got.text_bytes, 11);
}

/* ---------------------------------------------------------------- attacks */

static void test_model_twice_cheap_then_dear(void **state)
{
	(void)state;
	refuse("{\"model\":\"cheap\",\"model\":\"dear\"}", "twice");
	refuse("{\"model\":\"a\",\"x\":{\"model\":\"b\"},\"model\":\"a\"}",
	       "twice");
}

static void test_model_twice_one_escaped(void **state)
{
	(void)state;
	refuse("{\"model\":\"cheap\",\"\\u006dodel\":\"dear\"}", "twice");
	refuse("{\"\\u006Dodel\":\"cheap\",\"model\":\"dear\"}", "twice");
	refuse("{\"mode\\u006c\":\"a\",\"\\u006dode\\u006c\":\"b\"}", "twice");
	accept("{\"\\u006dodel\":\"m\"}");
	assert_true(str_eq(got.model, STR("m")));
}

static void test_model_twice_in_another_case(void **state)
{
	(void)state;
	refuse("{\"model\":\"cheap\",\"Model\":\"dear\"}", "letter case");
	refuse("{\"MODEL\":\"dear\"}", "letter case");
	refuse("{\"\\u004dodel\":\"dear\"}", "letter case");
	refuse("{\"stream_options\":{\"Include_usage\":true}}", "letter case");
}

/* Go's encoding/json takes these keys for the plain ones; other readers take
 * further ones. */
static void test_look_alikes_of_every_name_that_is_read(void **state)
{
	static const char *const keys[] = {
		"max_to\xe2\x84\xaa"
		"ens",
		"max_to\\u212aens",
		"max_completion_token\xc5\xbf",
		"previou\xc5\xbf_response_id",
		"previou\\u017f_re\\u017fponse_id",
		"\xc5\xbftream",
		"\xef\xac\x86ore",
		"se\xc3\x9fion",
		"Background",
		"Service_Tier",
		"tool\xc5\xbf",
		"TOOLS",
		"\xc4\xb0tems",
		"Prompt",
		"Input_audio_transcription",
		"reasoning_EFFORT",
		"logit_b\xc4\xb1"
		"as",
	};
	char body[256];

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		snprintf(body, sizeof(body), "{\"a\":1,\"%s\":null}", keys[i]);
		refuse(body, "letter case");
		assert_int_equal(got.error_at, 7);
		assert_true(got.error_name.len > 0);
		/* only where names are read */
		snprintf(body, sizeof(body), "{\"a\":{\"%s\":null}}", keys[i]);
		accept(body);
	}
	refuse("{\"stream_options\":{\"\xc4\xb1nclude_usage\":true}}",
	       "letter case");
	assert_true(str_eq(got.error_name, STR("include_usage")));
}

static void test_duplicates_at_read_levels_only(void **state)
{
	(void)state;
	refuse("{\"stream_options\":{\"include_usage\":true,"
	       "\"include_usage\":false}}",
	       "twice");
	refuse("{\"stream_options\":{\"x\":1,\"\\u0078\":2}}", "twice");
	refuse("{\"reasoning\":{\"effort\":1,\"effort\":2}}", "twice");
	refuse("{\"unknown\":1,\"unknown\":2}", "twice");
	refuse("{\"\":1,\"\":2}", "twice");
	accept("{\"a\":{\"x\":1,\"x\":2},\"b\":[{\"x\":1,\"x\":2}]}");
}

static void test_model_below_the_top_does_not_count(void **state)
{
	(void)state;
	accept("{\"messages\":[{\"model\":\"dear\",\"stream\":true}],"
	       "\"reasoning\":{\"model\":\"dear\"},"
	       "\"stream_options\":{\"model\":\"dear\"}}");
	assert_false(got.has_model);
	assert_false(got.stream);
}

static void test_nul_in_the_model_name(void **state)
{
	(void)state;
	refuse("{\"model\":\"cheap\\u0000dear\"}", "U+0000");
	refuse("{\"model\\u0000\":\"cheap\"}", "U+0000");
	assert_int_equal(scan(STR("{\"model\":\"a\0b\"}")), SCAN_BAD);
}

static void test_second_document(void **state)
{
	(void)state;
	refuse("{\"model\":\"cheap\"}{\"model\":\"dear\"}", "follows");
	refuse("{\"model\":\"cheap\"}\n\n{", "follows");
	refuse("{\"model\":\"cheap\"},", "follows");
	accept("{\"model\":\"cheap\"}\r\n\t ");
}

static void test_not_an_object(void **state)
{
	(void)state;
	refuse("[{\"model\":\"m\"}]", "one JSON object");
	refuse("\"model\"", "one JSON object");
	refuse("null", "one JSON object");
	refuse("1 ", "one JSON object");
	refuse("model=cheap", "not a JSON value");
}

static void test_byte_order_mark(void **state)
{
	(void)state;
	refuse("\xef\xbb\xbf{\"model\":\"m\"}", "byte order mark");
	assert_int_equal(scan(STR("\xff\xfe{\0}\0")), SCAN_BAD);
}

static void test_bad_utf8(void **state)
{
	(void)state;
	refuse("{\"model\":\"m\xff\"}", "UTF-8");
	refuse("{\"m\xc0\xafodel\":\"m\"}", "UTF-8");
	refuse("{\"x\":\"\xed\xa0\x80\"}", "UTF-8");
	refuse("{\"x\":\"\\ud800\"}", "surrogate");
}

static void test_depth_bomb(void **state)
{
	static char body[200000] = "{\"x\":";

	(void)state;
	memset(body + 5, '[', sizeof(body) - 5);
	assert_int_equal(scan(str_of(body, sizeof(body))), SCAN_BAD);
	assert_int_equal(got.error_at, 5 + SCAN_MAX_DEPTH - 1);
	for (size_t i = 0; i + 5 < sizeof(body); i += 5)
		memcpy(body + i, "{\"x\":", 5);
	assert_int_equal(scan(str_of(body, sizeof(body))), SCAN_BAD);
}

static void test_too_many_keys(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	buf_fmt(&b, "{\"k\":0");
	for (int i = 1; i < SCAN_MAX_KEYS; i++)
		buf_fmt(&b, ",\"k%d\":0", i);
	buf_fmt(&b, "}");
	assert_int_equal(scan(buf_str(&b)), SCAN_OK);
	b.len--;
	buf_fmt(&b, ",\"last\":0}");
	assert_int_equal(scan(buf_str(&b)), SCAN_BAD);
	assert_string_equal(got.error, "an object has too many keys");
	buf_done(&b);
}

static void test_keys_of_any_length(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	buf_fmt(&b, "{\"%0*d\":0}", SCAN_MAX_KEY_LEN, 0);
	assert_int_equal(scan(buf_str(&b)), SCAN_OK);
	buf_clear(&b);
	buf_fmt(&b, "{\"%0*d\":0}", SCAN_MAX_KEY_LEN + 1, 0);
	assert_int_equal(scan(buf_str(&b)), SCAN_BAD);
	/* escaped it is six times as long, unescaped it fits */
	buf_clear(&b);
	buf_fmt(&b, "{\"");
	for (int i = 0; i < SCAN_MAX_KEY_LEN; i++)
		buf_fmt(&b, "\\u0061");
	buf_fmt(&b, "\":0}");
	assert_int_equal(scan(buf_str(&b)), SCAN_OK);
	/* at other levels the length is free */
	buf_clear(&b);
	buf_fmt(&b, "{\"a\":{\"%0*d\":0}}", 5000, 0);
	assert_int_equal(scan(buf_str(&b)), SCAN_OK);
	buf_done(&b);
}

static void test_model_behind_much_text(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	buf_fmt(&b,
	        "{\"messages\":[{\"role\":\"user\",\"content\":\"%0*d\"}],"
	        "\"model\":\"m\"}",
	        200000, 0);
	assert_int_equal(scan(buf_str(&b)), SCAN_OK);
	assert_true(str_eq(got.model, STR("m")));
	assert_int_equal(got.text_bytes, 200000 + 4 + 1);
	buf_done(&b);
}

static void test_a_name_that_fills_the_arena(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	buf_fmt(&b, "{\"model\":\"%0*d\"}", SCAN_MAX_NAME, 0);
	assert_int_equal(scan(buf_str(&b)), SCAN_OK);
	assert_int_equal(got.model.len, SCAN_MAX_NAME);
	buf_clear(&b);
	buf_fmt(&b, "{\"model\":\"%0*d\"}", SCAN_MAX_NAME + 1, 0);
	assert_int_equal(scan(buf_str(&b)), SCAN_BAD);
	assert_false(got.has_model);
	buf_done(&b);
}

/* ------------------------------------------------------------------ types */

static void test_wrong_types_are_refused(void **state)
{
	(void)state;
	refuse("{\"model\":1}", "`model`");
	refuse("{\"model\":[\"m\"]}", "`model`");
	refuse("{\"model\":{}}", "`model`");
	refuse("{\"stream\":1}", "`stream`");
	refuse("{\"stream\":\"true\"}", "`stream`");
	refuse("{\"stream\":[]}", "`stream`");
	refuse("{\"stream_options\":true}", "`stream_options`");
	refuse("{\"stream_options\":{\"include_usage\":\"no\"}}",
	       "`include_usage`");
	refuse("{\"reasoning\":\"high\"}", "`reasoning`");
	refuse("{\"previous_response_id\":7}", "`previous_response_id`");
	refuse("{\"prompt_cache_key\":[]}", "`prompt_cache_key`");
}

static void test_error_points_at_the_value(void **state)
{
	(void)state;
	refuse("{\"a\":1, \"stream\": 1}", "`stream`");
	assert_int_equal(got.error_at, 18);
	refuse("{\"a\":1,\"a\":2}", "twice");
	assert_int_equal(got.error_at, 7);
}

static void test_output_limits(void **state)
{
	static const char *const names[] = {
		"max_tokens", "max_completion_tokens", "max_output_tokens"};
	static const char *const wrong[] = {
		"-1",
		"-0",
		"1.0",
		"1.5",
		"1e3",
		"1E3",
		"0.1e1",
		"\"5\"",
		"true",
		"[5]",
		"{}",
		"9007199254740993",
		"100000000000000000000",
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	for (size_t i = 0; i < 3; i++) {
		buf_clear(&b);
		buf_fmt(&b, "{\"%s\":77}", names[i]);
		assert_int_equal(scan(buf_str(&b)), SCAN_OK);
		assert_true(got.has_max_output);
		assert_int_equal(got.max_output, 77);
		for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
			buf_clear(&b);
			buf_fmt(&b, "{\"%s\":%s}", names[i], wrong[k]);
			if (scan(buf_str(&b)) != SCAN_BAD)
				fail_msg("accepted %s", wrong[k]);
			assert_false(got.has_max_output);
		}
	}
	buf_done(&b);
	accept("{\"max_tokens\":5,\"max_output_tokens\":9,"
	       "\"max_completion_tokens\":7}");
	assert_int_equal(got.max_output, 9);
	accept("{\"max_tokens\":0}");
	assert_true(got.has_max_output);
	assert_int_equal(got.max_output, 0);
}

static void test_choices(void **state)
{
	(void)state;
	accept("{\"n\":128}");
	assert_int_equal(got.n, 128);
	accept("{\"n\":2,\"best_of\":5}");
	assert_int_equal(got.n, 5);
	accept("{\"n\":2,\"prompt\":[\"a\",\"b\",\"c\"]}");
	assert_int_equal(got.n, 6);
	accept("{\"prompt\":[[1,2],[3],[4]]}");
	assert_int_equal(got.n, 3);
	accept("{\"prompt\":[1,2,3]}");
	assert_int_equal(got.n, 1);
	accept("{\"prompt\":{\"id\":\"p\",\"variables\":{\"a\":[1,2]}}}");
	assert_int_equal(got.n, 1);
	accept("{\"input\":[\"a\",\"b\"]}");
	assert_int_equal(got.n, 1);
	refuse("{\"n\":0}", "`n`");
	refuse("{\"n\":-1}", "`n`");
	refuse("{\"n\":129}", "`n`");
	refuse("{\"n\":1.0}", "`n`");
	refuse("{\"n\":\"2\"}", "`n`");
	refuse("{\"best_of\":0}", "`best_of`");
}

/* ------------------------------------------------------------------- text */

static void test_text_is_measured_unescaped(void **state)
{
	(void)state;
	accept("{\"a\":\"x\\ny\",\"b\":[\"\\u4e2d\",\"\\ud83d\\ude00\","
	       "\"\xe4\xb8\xad\"],\"c\":{\"not this\":\"but this\"}}");
	assert_int_equal(got.text_bytes, 3 + 3 + 4 + 3 + 8);
}

static void test_token_ids_are_text(void **state)
{
	(void)state;
	accept("{\"input\":[[1,2],[3]]}");
	assert_int_equal(got.text_bytes, 3 * SCAN_TOKEN_ID_BYTES);
	accept("{\"prompt\":[1,2,3,4]}");
	assert_int_equal(got.text_bytes, 4 * SCAN_TOKEN_ID_BYTES);
	accept("{\"logit_bias\":{\"50256\":-100},\"x\":[1,2,3]}");
	assert_int_equal(got.text_bytes, 0);
}

#define B64 "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"

static void test_data_urls_are_not_text(void **state)
{
	(void)state;
	accept("{\"a\":\"data:image/png;base64," B64 "/+==\"}");
	assert_int_equal(got.n_data_urls, 1);
	assert_int_equal(got.text_bytes, 0);
	accept("{\"a\":[\"data:image\\/png;base64,aa\\/bb\","
	       "\"DATA:;base64,AAAA\",\"xy\"]}");
	assert_int_equal(got.n_data_urls, 2);
	assert_int_equal(got.text_bytes, 2);
	accept("{\"image_url\":{\"url\":\"https://example.com/a.png\"}}");
	assert_int_equal(got.n_data_urls, 0);
	assert_int_equal(got.text_bytes, 25);
}

static void test_text_that_poses_as_a_data_url(void **state)
{
	static const char *const texts[] = {
		"data: please read this long story",
		"data:text/plain,Once upon a time",
		"data:text/plain;base64,Once upon a time there was",
		"data:;base64,Once\\u0020upon\\u0020a\\u0020time",
		"data:;base64,Once\\tupon\\ta\\ttime",
		"data:image/png;base64,",
		"xdata:image/png;base64,AAAA",
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		buf_clear(&b);
		buf_fmt(&b, "{\"content\":\"%s\"}", texts[i]);
		assert_int_equal(scan(buf_str(&b)), SCAN_OK);
		assert_int_equal(got.n_data_urls, 0);
		assert_true(got.text_bytes >= 20);
	}
	buf_done(&b);
}

static void test_base64_members_named_data(void **state)
{
	(void)state;
	accept("{\"source\":{\"type\":\"base64\",\"data\":\"" B64 B64 "\"}}");
	assert_int_equal(got.n_data_urls, 1);
	assert_int_equal(got.text_bytes, 6);
	accept("{\"source\":{\"data\":\"" B64 B64 " and words\"}}");
	assert_int_equal(got.n_data_urls, 0);
	assert_int_equal(got.text_bytes, 2 * (sizeof(B64) - 1) + 10);
	accept("{\"source\":{\"text\":\"" B64 B64 "\"}}");
	assert_int_equal(got.n_data_urls, 0);
	accept("{\"data\":[\"" B64 B64 "\"]}");
	assert_int_equal(got.n_data_urls, 0);
}

static void test_a_cut_picture_is_not_text(void **state)
{
	(void)state;
	assert_int_equal(scan(STR("{\"a\":\"data:image/png;base64," B64)),
	                 SCAN_PARTIAL);
	assert_int_equal(got.n_data_urls, 1);
	assert_int_equal(got.text_bytes, 0);
}

static struct str cut_out(const char *body, size_t from, size_t to)
{
	return str_of(body + from, to - from);
}

static void test_spans_are_where_the_members_stand(void **state)
{
	static const char body[] =
		" { \"x\" : [1] , \"mod\\u0065l\" : \"m\" ,\n\"seed\":-1.5e3 ,"
		"\"stream_options\":{ \"y\":{},\"include_usage\":false } }";
	const struct scan_span *s = got.spans;

	(void)state;
	accept(body);
	assert_true(s[SCAN_MODEL].found);
	assert_int_equal(s[SCAN_MODEL].index, 1);
	assert_true(
		str_eq(cut_out(body, s[SCAN_MODEL].key, s[SCAN_MODEL].key_end),
	               STR("\"mod\\u0065l\"")));
	assert_true(
		str_eq(cut_out(body, s[SCAN_MODEL].value, s[SCAN_MODEL].end),
	               STR("\"m\"")));
	assert_true(
		str_eq(cut_out(body, s[SCAN_MODEL].prev_end, s[SCAN_MODEL].key),
	               STR(" , ")));
	assert_int_equal(s[SCAN_MODEL].next, s[SCAN_SEED].key);
	assert_int_equal(s[SCAN_MODEL].end, s[SCAN_SEED].prev_end);
	assert_true(str_eq(cut_out(body, s[SCAN_SEED].value, s[SCAN_SEED].end),
	                   STR("-1.5e3")));
	assert_true(str_eq(cut_out(body, s[SCAN_STREAM_OPTIONS].value,
	                           s[SCAN_STREAM_OPTIONS].end),
	                   STR("{ \"y\":{},\"include_usage\":false }")));
	assert_int_equal(s[SCAN_STREAM_OPTIONS].next, 0);
	assert_true(str_eq(cut_out(body, s[SCAN_INCLUDE_USAGE].value,
	                           s[SCAN_INCLUDE_USAGE].end),
	                   STR("false")));
	assert_int_equal(got.top.n_members, 4);
	assert_int_equal(got.top.inside, 2);
	assert_int_equal(got.stream_options.n_members, 2);
	assert_int_equal(body[got.stream_options.inside - 1], '{');
	assert_false(s[SCAN_TEMPERATURE].found);
}

static void test_spans_are_of_their_own_level(void **state)
{
	(void)state;
	accept("{\"include_usage\":true,\"a\":{\"model\":1,\"seed\":2},"
	       "\"reasoning\":{\"stop\":1},\"stream_options\":{\"top_p\":1}}");
	assert_false(got.spans[SCAN_INCLUDE_USAGE].found);
	assert_false(got.spans[SCAN_MODEL].found);
	assert_false(got.spans[SCAN_SEED].found);
	assert_false(got.spans[SCAN_STOP].found);
	assert_false(got.spans[SCAN_TOP_P].found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_what_matters),
		cmocka_unit_test(test_absent_members),
		cmocka_unit_test(test_every_prefix_is_partial),
		cmocka_unit_test(test_partial_tells_what_stood_before),
		cmocka_unit_test(test_model_twice_cheap_then_dear),
		cmocka_unit_test(test_model_twice_one_escaped),
		cmocka_unit_test(test_model_twice_in_another_case),
		cmocka_unit_test(test_look_alikes_of_every_name_that_is_read),
		cmocka_unit_test(test_duplicates_at_read_levels_only),
		cmocka_unit_test(test_model_below_the_top_does_not_count),
		cmocka_unit_test(test_nul_in_the_model_name),
		cmocka_unit_test(test_second_document),
		cmocka_unit_test(test_not_an_object),
		cmocka_unit_test(test_byte_order_mark),
		cmocka_unit_test(test_bad_utf8),
		cmocka_unit_test(test_depth_bomb),
		cmocka_unit_test(test_too_many_keys),
		cmocka_unit_test(test_keys_of_any_length),
		cmocka_unit_test(test_model_behind_much_text),
		cmocka_unit_test(test_a_name_that_fills_the_arena),
		cmocka_unit_test(test_wrong_types_are_refused),
		cmocka_unit_test(test_error_points_at_the_value),
		cmocka_unit_test(test_output_limits),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_text_is_measured_unescaped),
		cmocka_unit_test(test_token_ids_are_text),
		cmocka_unit_test(test_data_urls_are_not_text),
		cmocka_unit_test(test_text_that_poses_as_a_data_url),
		cmocka_unit_test(test_base64_members_named_data),
		cmocka_unit_test(test_a_cut_picture_is_not_text),
		cmocka_unit_test(test_spans_are_where_the_members_stand),
		cmocka_unit_test(test_spans_are_of_their_own_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
