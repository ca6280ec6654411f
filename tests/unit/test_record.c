/* usage/record: HAProxy's end-of-stream line, and what it charges. */
#include "test.h"

#include "seals.h"
#include "terminations.h"
#include "usage/estimator.h"
#include "usage/price.h"
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

/* The example of a compaction in Anthropic's documentation. */
#define COMPACTION                                                             \
	"{\"type\":\"compaction\",\"input_tokens\":180000,"                    \
	"\"output_tokens\":3500}"
#define ANSWER                                                                 \
	"{\"type\":\"message\",\"input_tokens\":23000,\"output_tokens\":1000}"

static void iterations_of_anthropic_are_summed(void **state)
{
	static const char *const both[] = {
		"{\"input_tokens\":23000,\"output_tokens\":1000,"
		"\"iterations\":[" COMPACTION "," ANSWER "]}",
		"{\"iterations\":[" ANSWER "," COMPACTION "],"
		"\"output_tokens\":1000,\"input_tokens\":23000}",
	};
	const struct policy_price price = {
		.rates = {.input = 3000000, .output = 15000000}};
	struct usage_tokens t;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		t = read_ok(str_c(both[i]), STR_NONE, API_MESSAGES);
		assert_int_equal(t.input, 203000);
		assert_int_equal(t.output, 4500);
		assert_int_equal(t.longest, 180000);
		assert_int_equal(price_nano_usd(&price, &t, 1), 676500000);
		/* of a stream, whose beginning knows one of them */
		t = read_ok(str_c(both[i]),
		            STR("{\"input_tokens\":23000,\"output_tokens\":1,"
		                "\"iterations\":[]}"),
		            API_MESSAGES);
		assert_int_equal(t.input, 203000);
		assert_int_equal(t.output, 4500);
	}
	/* one only: the same figures again */
	t = read_ok(STR("{\"input_tokens\":23000,\"output_tokens\":1000,"
	                "\"iterations\":[" ANSWER "]}"),
	            STR_NONE, API_MESSAGES);
	assert_int_equal(t.input, 23000);
	assert_int_equal(t.output, 1000);
	assert_int_equal(t.longest, 0);
	/* what is no list says nothing */
	t = read_ok(STR("{\"input_tokens\":7,\"iterations\":null}"), STR_NONE,
	            API_MESSAGES);
	assert_int_equal(t.input, 7);
	t = read_ok(STR("{\"input_tokens\":7,\"iterations\":[null,3]}"),
	            STR_NONE, API_MESSAGES);
	assert_int_equal(t.input, 7);
}

static void iterations_that_are_no_counts_spoil_the_report(void **state)
{
	static const char *const bad[] = {
		"{\"iterations\":[{\"input_tokens\":-1}]}",
		"{\"iterations\":[{\"output_tokens\":\"7\"}]}",
		"{\"iterations\":[{\"input_tokens\":1073741824},"
		"{\"input_tokens\":1}]}",
		"{\"cache_creation\":{\"ephemeral_1h_input_tokens\":-1}}",
	};
	struct usage_tokens t;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(record_read_usage(str_c(bad[i]), STR_NONE,
		                               API_MESSAGES, &t));
}

static void cache_writes_of_anthropic(void **state)
{
	struct usage_tokens t = read_ok(
		STR("{\"input_tokens\":5,\"cache_creation_input_tokens\":100,"
	            "\"cache_read_input_tokens\":20,\"output_tokens\":1,"
	            "\"cache_creation\":{\"ephemeral_5m_input_tokens\":60,"
	            "\"ephemeral_1h_input_tokens\":40},"
	            "\"service_tier\":\"priority\"}"),
		STR_NONE, API_MESSAGES);

	(void)state;
	assert_int_equal(t.input, 125);
	assert_int_equal(t.cached, 20);
	assert_int_equal(t.cache_write_5m, 60);
	assert_int_equal(t.cache_write_1h, 40);
	assert_true(str_eq(t.service_tier, STR("priority")));
	/* the end of a stream does not say for how long */
	t = read_ok(STR("{\"output_tokens\":9,"
	                "\"cache_creation_input_tokens\":130}"),
	            STR("{\"input_tokens\":5,"
	                "\"cache_creation_input_tokens\":100,"
	                "\"cache_creation\":{\"ephemeral_5m_input_tokens\":60,"
	                "\"ephemeral_1h_input_tokens\":40},"
	                "\"service_tier\":\"batch\"}"),
	            API_MESSAGES);
	assert_int_equal(t.cache_write_5m, 90);
	assert_int_equal(t.cache_write_1h, 40);
	assert_int_equal(t.output, 9);
	assert_true(str_eq(t.service_tier, STR("batch")));
	/* the parts alone */
	t = read_ok(STR("{\"input_tokens\":5,\"cache_creation\":{"
	                "\"ephemeral_1h_input_tokens\":40}}"),
	            STR_NONE, API_MESSAGES);
	assert_int_equal(t.input, 45);
	assert_int_equal(t.cache_write_1h, 40);
	assert_int_equal(t.cache_write_5m, 0);
	/* of each iteration */
	t = read_ok(STR("{\"input_tokens\":5,\"iterations\":[{"
	                "\"input_tokens\":5,\"cache_read_input_tokens\":3,"
	                "\"cache_creation_input_tokens\":7},{"
	                "\"input_tokens\":1,\"cache_creation\":{"
	                "\"ephemeral_1h_input_tokens\":4}}]}"),
	            STR_NONE, API_MESSAGES);
	assert_int_equal(t.input, 20);
	assert_int_equal(t.cached, 3);
	assert_int_equal(t.cache_write_5m, 7);
	assert_int_equal(t.cache_write_1h, 4);
	assert_int_equal(t.longest, 15);
}

static void kinds_of_openai(void **state)
{
	struct usage_tokens t = read_ok(
		STR("{\"prompt_tokens\":100,\"completion_tokens\":50,"
	            "\"prompt_tokens_details\":{\"cached_tokens\":10,"
	            "\"cache_write_tokens\":20,\"audio_tokens\":30,"
	            "\"image_tokens\":5,\"text_tokens\":65},"
	            "\"completion_tokens_details\":{\"audio_tokens\":25,"
	            "\"reasoning_tokens\":4},\"service_tier\":\"flex\"}"),
		STR_NONE, API_CHAT);

	(void)state;
	assert_int_equal(t.cached, 10);
	assert_int_equal(t.cache_write_5m, 20);
	assert_int_equal(t.audio_input, 30);
	assert_int_equal(t.image_input, 5);
	assert_int_equal(t.audio_output, 25);
	assert_int_equal(t.audio, 55);
	assert_int_equal(t.reasoning, 4);
	/* realtime */
	t = read_ok(STR("{\"input_tokens\":200,\"output_tokens\":9,"
	                "\"input_token_details\":{\"text_tokens\":50,"
	                "\"audio_tokens\":140,\"image_tokens\":10,"
	                "\"cached_tokens\":90,\"cached_tokens_details\":{"
	                "\"text_tokens\":20,\"audio_tokens\":64,"
	                "\"image_tokens\":6}},\"output_token_details\":{"
	                "\"text_tokens\":2,\"audio_tokens\":7}}"),
	            STR_NONE, API_REALTIME);
	assert_int_equal(t.cached, 90);
	assert_int_equal(t.audio_cached, 64);
	assert_int_equal(t.image_cached, 6);
	assert_int_equal(t.audio_input, 140);
	assert_int_equal(t.audio_output, 7);
	assert_int_equal(t.image_input, 10);
}

/* gpt-image: older models do not say that what they made are pictures. */
static void pictures_and_speech_without_details(void **state)
{
	static const struct str gpt_image =
		STR_INIT("{\"total_tokens\":100,\"input_tokens\":50,\"output_"
	                 "tokens\":50,"
	                 "\"input_tokens_details\":{\"text_tokens\":10,"
	                 "\"image_tokens\":40}}");
	struct usage_tokens t = read_ok(gpt_image, STR_NONE, API_IMAGES);

	(void)state;
	assert_int_equal(t.image_input, 40);
	assert_int_equal(t.image_output, 50);
	t = read_ok(STR("{\"input_tokens\":5,\"output_tokens\":50,"
	                "\"output_tokens_details\":{\"image_tokens\":44,"
	                "\"text_tokens\":6}}"),
	            STR_NONE, API_IMAGES);
	assert_int_equal(t.image_output, 44);
	t = read_ok(STR("{\"input_tokens\":5,\"output_tokens\":50,"
	                "\"output_tokens_details\":{\"text_tokens\":6}}"),
	            STR_NONE, API_IMAGES);
	assert_int_equal(t.image_output, 44);
	t = read_ok(gpt_image, STR_NONE, API_CHAT);
	assert_int_equal(t.image_output, 0);
	/* speech, and what was said in writing */
	t = read_ok(STR("{\"input_tokens\":14,\"output_tokens\":101,"
	                "\"total_tokens\":115}"),
	            STR_NONE, API_AUDIO);
	assert_int_equal(t.audio_output, 101);
	t = read_ok(STR("{\"type\":\"tokens\",\"input_tokens\":14,"
	                "\"input_token_details\":{\"audio_tokens\":14},"
	                "\"output_tokens\":45}"),
	            STR_NONE, API_AUDIO);
	assert_int_equal(t.audio_input, 14);
	assert_int_equal(t.audio_output, 0);
}

/* 14 iterations with all of their members. */
static void many_iterations_fit_into_a_line(void **state)
{
	struct ticket ticket = {.consumer = STR("c"),
	                        .account = STR("c"),
	                        .operation = API_MESSAGES,
	                        .counted = true};
	struct usage_record rec;
	struct buf usage, line;

	(void)state;
	buf_init(&usage, RECORD_USAGE_MAX);
	buf_init(&line, RECORD_LINE_MAX);
	buf_fmt(&usage, "{\"input_tokens\":3,\"iterations\":[");
	for (int i = 0; i < 14; i++)
		buf_fmt(&usage,
		        "%s{\"cache_creation\":{\"ephemeral_1h_input_tokens\":0"
		        ",\"ephemeral_5m_input_tokens\":100},"
		        "\"cache_creation_input_tokens\":100,"
		        "\"cache_read_input_tokens\":20000,"
		        "\"input_tokens\":3,\"model\":\"claude-opus-4-6\","
		        "\"output_tokens\":500,\"type\":\"message\"}",
		        i ? "," : "");
	buf_fmt(&usage, "],\"output_tokens\":500}");
	assert_true(!usage.failed && usage.len > 2000);
	buf_fmt(&line, "{\"v\":2,\"id\":\"a\",\"status\":200,\"ticket\":\"");
	assert_true(ticket_write(&ticket, test_seal(), STR("a"), &line));
	buf_fmt(&line, "\",\"usage\":");
	assert_true(buf_json(&line, buf_str(&usage)));
	buf_fmt(&line, "}");
	assert_int_equal(record_parse(buf_str(&line), &rec), RECORD_OK);
	assert_true(rec.has_usage);
	assert_int_equal(rec.tokens.input, 14 * 20103);
	assert_int_equal(rec.tokens.output, 14 * 500);
	assert_int_equal(rec.tokens.cache_write_5m, 1400);
	assert_int_equal(rec.tokens.longest, 20103);
	record_done(&rec);
	buf_done(&usage);
	buf_done(&line);
}

/* The longest ticket, and both usages at their bound with each byte escaped. */
static void the_longest_line_is_read(void **state)
{
	struct ticket ticket = {.account = STR("c"), .counted = true};
	struct usage_record rec;
	struct buf text, line;

	(void)state;
	buf_init(&text, TICKET_BYTES_MAX);
	for (int i = 0; i < TICKET_BYTES_MAX - 30 - SEAL_LEN; i++)
		buf_add_str(&text, STR("x"));
	ticket.app = buf_str(&text);
	buf_init(&line, RECORD_LINE_MAX);
	buf_fmt(&line, "{\"v\":2,\"id\":\"a\",\"status\":200,\"ticket\":\"");
	assert_true(ticket_write(&ticket, test_seal(), STR("a"), &line));
	for (int k = 0; k < 2; k++) {
		buf_fmt(&line, "\",\"%s\":\"", k ? "usage" : "usage_first");
		for (int i = 0; i < RECORD_USAGE_MAX; i++)
			buf_add_str(&line, STR("\\\""));
	}
	buf_fmt(&line, "\"}");
	assert_false(line.failed);
	assert_int_equal(record_parse(buf_str(&line), &rec), RECORD_OK);
	assert_int_equal(rec.usage.len, RECORD_USAGE_MAX);
	assert_false(rec.has_usage);
	record_done(&rec);
	buf_done(&text);
	buf_done(&line);
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

/* A line of haproxy.cfg. Its ticket is written by parse(): "@1" for a stream,
 * "@0" for another answer. */
#define LINE(status, termination, stream, events, bytes, usage)                \
	LINE_OF("3", "12", status, status, termination, stream, events, bytes, \
	        usage)
#define LINE_OF(connect, ttfb, upstream, status, termination, stream, events,  \
                bytes, usage)                                                  \
	"{\"v\":2,\"id\":\"11111111-2222-3333-4444-555555555555\","            \
	"\"status\":" status ",\"termination\":\"" termination "\","           \
	"\"connect_ms\":" connect ",\"upstream\":\"" upstream "\","            \
	"\"verdict\":\"allow\",\"ticket\":\"@" stream "\","                    \
	"\"usage\":\"" usage "\",\"usage_first\":\"\","                        \
	"\"events\":\"" events "\",\"bytes\":" bytes ","                       \
	"\"ttfb_ms\":" ttfb ",\"total_ms\":34,\"retries\":\"0\"}"

#define USAGE "{\\\"prompt_tokens\\\":90,\\\"completion_tokens\\\":7}"

/* What the agent wants back of a chat: 350 bytes of text, at 3.5 bytes a token
 * and with the 8 of every request. */
static struct ticket ticket_of_chat(void)
{
	return (struct ticket){
		.consumer = STR("hr-bot"),
		.account = STR("hr"),
		.model = STR("gpt-4o"),
		.deployment = STR("d"),
		.resource = STR("east"),
		.operation = API_CHAT,
		.counted = true,
		.prompt = 108,
		.reserved = 1108,
		.text_bytes = 350,
	};
}

/* The line with the ticket in place of its mark. */
static enum record_status parse_with(const char *line, struct ticket t,
                                     struct usage_record *rec)
{
	struct str s = str_c(line);
	size_t at = str_find(s, '@');
	enum record_status st;
	struct buf b;

	buf_init(&b, 65536);
	buf_add_str(&b, str_first(s, at));
	if (at < s.len) {
		t.stream = s.p[at + 1] == '1';
		assert_true(ticket_write(&t, test_seal(), STR("id"), &b));
		buf_add_str(&b, str_from(s, at + 2));
	}
	st = record_parse(buf_str(&b), rec);
	buf_done(&b);
	return st;
}

static void parse(const char *line, struct usage_record *rec)
{
	assert_int_equal(parse_with(line, ticket_of_chat(), rec), RECORD_OK);
}

static struct store_usage charge_with(const char *line, struct ticket ticket,
                                      struct usage_tokens *t, bool *estimated)
{
	struct policy_model m = {
		.price.rates = {.input = 1000, .output = 2000}};
	struct usage_record rec;
	struct store_usage used;

	assert_int_equal(parse_with(line, ticket, &rec), RECORD_OK);
	record_charge(&rec, &m, t, &used, estimated);
	record_done(&rec);
	return used;
}

static struct store_usage charge_of(const char *line, struct usage_tokens *t,
                                    bool *estimated)
{
	return charge_with(line, ticket_of_chat(), t, estimated);
}

static void line_is_read(void **state)
{
	struct usage_record rec;

	(void)state;
	parse(LINE("200", "--", "1", "9", "700", USAGE) "\n", &rec);
	assert_true(str_eq(rec.ticket.account, STR("hr")));
	assert_true(str_eq(rec.ticket.model, STR("gpt-4o")));
	assert_int_equal(rec.ticket.operation, API_CHAT);
	assert_int_equal(rec.ticket.text_bytes, 350);
	assert_true(rec.ticket.stream);
	assert_int_equal(rec.status, 200);
	assert_int_equal(rec.events, 9);
	assert_int_equal(rec.bytes, 700);
	assert_int_equal(rec.ttfb_ms, 12);
	assert_int_equal(rec.token_ms, -1);
	assert_true(rec.has_usage);
	record_done(&rec);
	record_done(&rec);
}

/* HAProxy writes "-", in text as in numbers, for what is not set. */
static void what_is_not_set_is_absent(void **state)
{
	struct usage_record rec;

	(void)state;
	parse("{\"v\":2,\"id\":\"a\",\"status\":-1,\"ttfb_ms\":-1,"
	      "\"verdict\":\"-\",\"ticket\":\"-\",\"events\":\"-\","
	      "\"token_ms\":\"-\",\"usage\":\"-\",\"object\":\"\","
	      "\"spilled\":\"-\",\"bytes\":-5}",
	      &rec);
	assert_int_equal(rec.status, -1);
	assert_int_equal(rec.ttfb_ms, -1);
	assert_int_equal(rec.total_ms, -1);
	assert_int_equal(rec.token_ms, -1);
	assert_int_equal(rec.events, 0);
	assert_int_equal(rec.bytes, 0);
	assert_int_equal(rec.verdict.len + rec.usage.len + rec.object.len, 0);
	assert_int_equal(rec.ticket.account.len, 0);
	assert_false(rec.spilled || rec.has_usage || rec.ticket.counted);
	record_done(&rec);
}

static uint64_t nano_of(const char *line, const struct policy_price *price)
{
	struct policy_model m = {.price = *price};
	struct usage_record rec;
	struct usage_tokens t;
	struct store_usage used;
	bool estimated;

	parse(line, &rec);
	record_charge(&rec, &m, &t, &used, &estimated);
	record_done(&rec);
	return used.nano_usd;
}

static void a_served_request_has_its_price(void **state)
{
	const struct policy_price price = {.rates.input = 1000,
	                                   .request = 5000000};

	(void)state;
	assert_int_equal(
		nano_of(LINE("200", "--", "1", "9", "700", USAGE), &price),
		5000 + 90);
	assert_int_equal(nano_of(LINE("400", "--", "0", "", "70", ""), &price),
	                 0);
	/* what was made before is only shown once more */
	assert_int_equal(
		nano_of("{\"v\":2,\"id\":\"a\",\"status\":200}", &price), 0);
}

static void first_token_comes_behind_the_head(void **state)
{
	static const struct {
		const char *line;
		int64_t ms;
	} rows[] = {
		{"{\"v\":2,\"id\":\"a\",\"ttfb_ms\":30,\"token_ms\":\"12\"}",
	         42},
		{"{\"v\":2,\"id\":\"a\",\"ttfb_ms\":30,\"token_ms\":\"0\"}",
	         30},
		{"{\"v\":2,\"id\":\"a\",\"ttfb_ms\":30,\"token_ms\":\"-\"}",
	         -1},
		{"{\"v\":2,\"id\":\"a\",\"ttfb_ms\":-1,\"token_ms\":\"5\"}",
	         -1},
		{"{\"v\":2,\"id\":\"a\",\"ttfb_ms\":30}", -1},
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
	assert_int_equal(record_parse(STR("{\"v\":2,\"id\":\"a\","
	                                  "\"spilled\":\"1\"}"),
	                              &rec),
	                 RECORD_OK);
	assert_true(rec.spilled);
	record_done(&rec);
	assert_int_equal(record_parse(STR("{\"v\":2,\"id\":\"a\","
	                                  "\"spilled\":\"-\"}"),
	                              &rec),
	                 RECORD_OK);
	assert_false(rec.spilled);
	record_done(&rec);
}

static void other_lines_are_none_of_ours(void **state)
{
	static const char *const bad[] = {
		"{\"v\":2,\"id\":\"x\"",
		"{\"v\":2,\"id\":\"\"}",
		"{\"v\":2,\"id\":\"x\",\"id\":\"y\"}",
		"{\"v\":2,\"id\":\"x\",\"usage\":{}}",
		"{\"v\":2,\"id\":\"x\",\"ticket\":\"AQ\"}",
		"{\"v\":2,\"id\":\"x\",\"ticket\":\"?\"}",
		"{\"v\":0,\"id\":\"x\"}",
		"{\"v\":\"-\",\"id\":\"x\"}",
	};
	struct usage_record rec;

	(void)state;
	assert_int_equal(record_parse(STR("Proxy gateway stopped (FE: 1 "
	                                  "conns)."),
	                              &rec),
	                 RECORD_OTHER);
	assert_int_equal(record_parse(STR(""), &rec), RECORD_OTHER);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(record_parse(str_c(bad[i]), &rec), RECORD_BAD);
}

/* Somebody has not exported haproxy.cfg again, or the agent is the older one.
 */
static void lines_of_another_version(void **state)
{
	static const char *const lines[] = {
		"{\"v\":1,\"id\":\"x\",\"consumer\":\"hr\",\"reserved\":\"9\"}",
		"{\"v\":3,\"ticket\":\"of a later one\"}",
		"{\"v\":1,\"id\":\"cut",
	};
	struct usage_record rec;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		assert_int_equal(record_parse(str_c(lines[i]), &rec),
		                 RECORD_OTHER_VERSION);
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
	assert_int_equal(t.input, 108);
	assert_int_equal(t.output, 40);
	assert_int_equal(u.tokens, 148);
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

/* The prompt is charged for whatever reached a resource, and nothing for what
 * did not or was refused by it. */
static void what_was_sent_costs_the_prompt(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(terminations) / sizeof(*terminations);
	     i++) {
		const struct termination *e = &terminations[i];
		struct usage_tokens t;
		struct store_usage u;
		char line[512];
		bool estimated;

		snprintf(line, sizeof(line),
		         "{\"v\":2,\"id\":\"x\",\"status\":%d,"
		         "\"termination\":\"%s\",\"connect_ms\":%d,"
		         "\"upstream\":\"%s\",\"ttfb_ms\":%d,"
		         "\"verdict\":\"allow\",\"ticket\":\"@1\"}",
		         e->status, e->state, e->connect_ms, e->upstream,
		         e->ttfb_ms);
		u = charge_of(line, &t, &estimated);
		if (t.input != (e->truth == SENT ? 108 : 0) ||
		    u.requests != (e->truth == SENT))
			fail_msg("%s: %llu tokens charged", line,
			         (unsigned long long)t.input);
	}
}

/* A short answer whose head has come is charged as it was reserved. */
static void answer_that_its_client_did_not_wait_for(void **state)
{
	struct usage_tokens t;
	bool estimated;

	(void)state;
	charge_of(LINE_OF("3", "12", "200", "500", "IH", "0", "", "273", ""),
	          &t, &estimated);
	assert_true(estimated);
	assert_int_equal(t.input, 108);
	assert_int_equal(t.output, 1000);
}

/* Three pictures, and the client hangs up while the model looks at them: the
 * prompt that was reserved is what is charged. */
static void pictures_cost_what_was_reserved_for_them(void **state)
{
	struct estimator *e = estimator_new();
	struct ticket ticket = ticket_of_chat();
	struct usage_tokens t;
	bool estimated;

	(void)state;
	assert_non_null(e);
	ticket.prompt =
		estimator_prompt(e, ticket.model, ticket.consumer, 350, 3);
	ticket.reserved = ticket.prompt + 1000;
	estimator_free(e);
	assert_int_equal(ticket.prompt, 100 + 8 + 3 * 765);
	charge_with(LINE_OF("3", "-1", "-", "400", "CH", "0", "", "0", ""),
	            ticket, &t, &estimated);
	assert_true(estimated);
	assert_int_equal(t.input, ticket.prompt);
	assert_int_equal(t.output, 0);
}

/* Images and audio: no byte of theirs says anything about tokens. */
static void media_that_were_cut_short_cost_all(void **state)
{
	struct ticket ticket = ticket_of_chat();
	struct usage_tokens t;
	bool estimated;

	(void)state;
	ticket.operation = API_IMAGES;
	charge_with(LINE("200", "CD", "0", "", "9000", ""), ticket, &t,
	            &estimated);
	assert_true(estimated);
	assert_int_equal(t.input + t.output, 1108);
	charge_with(LINE("200", "--", "0", "", "9000", ""), ticket, &t,
	            &estimated);
	assert_false(estimated);
	assert_int_equal(t.input + t.output, 0);
}

/* A usage that was counted with another request, and more cached tokens than
 * input tokens. */
static void reports_that_are_not_charged_as_they_are(void **state)
{
	struct ticket ticket = ticket_of_chat();
	struct store_usage u;
	struct usage_tokens t;
	bool estimated;

	(void)state;
	ticket.counted = false;
	u = charge_with(LINE("200", "--", "0", "", "700", USAGE), ticket, &t,
	                &estimated);
	assert_int_equal(u.requests, 1);
	assert_int_equal(u.tokens + u.nano_usd, 0);
	assert_false(estimated);
	charge_of(
		LINE("200", "--", "0", "", "700",
	             "{\\\"prompt_tokens\\\":3,\\\"prompt_tokens_details\\\":{"
	             "\\\"cached_tokens\\\":5}}"),
		&t, &estimated);
	assert_int_equal(t.input, 3);
	assert_int_equal(t.cached, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usage_of_chat),
		cmocka_unit_test(usage_of_responses),
		cmocka_unit_test(usage_of_audio_and_images),
		cmocka_unit_test(usage_of_embeddings),
		cmocka_unit_test(usage_of_anthropic_is_cumulative),
		cmocka_unit_test(iterations_of_anthropic_are_summed),
		cmocka_unit_test(
			iterations_that_are_no_counts_spoil_the_report),
		cmocka_unit_test(cache_writes_of_anthropic),
		cmocka_unit_test(kinds_of_openai),
		cmocka_unit_test(pictures_and_speech_without_details),
		cmocka_unit_test(many_iterations_fit_into_a_line),
		cmocka_unit_test(the_longest_line_is_read),
		cmocka_unit_test(a_report_that_is_none),
		cmocka_unit_test(line_is_read),
		cmocka_unit_test(what_is_not_set_is_absent),
		cmocka_unit_test(a_served_request_has_its_price),
		cmocka_unit_test(first_token_comes_behind_the_head),
		cmocka_unit_test(spilled_over_is_told),
		cmocka_unit_test(other_lines_are_none_of_ours),
		cmocka_unit_test(lines_of_another_version),
		cmocka_unit_test(reported_usage_is_charged),
		cmocka_unit_test(a_stream_cut_by_its_client_is_estimated),
		cmocka_unit_test(events_nobody_saw_are_estimated_by_bytes),
		cmocka_unit_test(
			a_plain_answer_without_usage_is_estimated_by_bytes),
		cmocka_unit_test(what_was_sent_costs_the_prompt),
		cmocka_unit_test(answer_that_its_client_did_not_wait_for),
		cmocka_unit_test(pictures_cost_what_was_reserved_for_them),
		cmocka_unit_test(media_that_were_cut_short_cost_all),
		cmocka_unit_test(reports_that_are_not_charged_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
