/* decide/adapt: body + model -> the body that goes upstream. */
#include "test.h"

#include "decide/adapt.h"
#include "decide/step.h"
#include "decide/verdict.h"

#include <stdio.h>
#include <stdlib.h>

enum { OUT_MAX = 65536 };

static struct request r;
static struct policy_model model;
static struct policy_deployment deployment;
static struct policy_resource resource;
static char out[OUT_MAX];

static int setup(void **state)
{
	(void)state;
	model = (struct policy_model){.name = STR("m"), .ask_usage = true};
	deployment = (struct policy_deployment){.name = STR("dep"),
	                                        .surface = SURFACE_V1};
	resource.name = STR("east");
	memset(&r, 0, offsetof(struct request, mem));
	arena_init(&r.arena, r.mem, sizeof(r.mem));
	r.call.api.operation = API_CHAT;
	r.call.model = &model;
	r.target[0].deployment = &deployment;
	r.target[0].resource = &resource;
	r.target[0].backend = STR("r.east");
	return 0;
}

/* What a test may have set stays; what a body left behind goes. */
static void read_body(const char *body)
{
	arena_init(&r.arena, r.mem, sizeof(r.mem));
	r.target[0].edits = STR_NONE;
	r.target[0].n_edits = 0;
	r.target[0].strip_usage = false;
	r.target[0].backend = STR("r.east");
	r.facts.has_body = true;
	r.facts.body_len = strlen(body);
	r.facts.scan_status = scan_body(str_c(body), &r.arena, &r.facts.scan);
}

static size_t number(const char **p, char end)
{
	char *stop;
	unsigned long v = strtoul(*p, &stop, 10);

	assert_true(stop > *p && *stop == end);
	*p = stop + 1;
	return v;
}

/* As lua/edits.lua does it: the result in out. */
static void apply(const char *body)
{
	const char *p = r.target[0].edits.p, *end = p + r.target[0].edits.len;
	size_t from = 0, n = 0;
	unsigned n_edits = 0;

	for (; p < end; n_edits++) {
		size_t at = number(&p, ','), remove = number(&p, ',');
		size_t len = number(&p, ':');

		assert_true(at >= from && at + remove <= strlen(body));
		memcpy(out + n, body + from, at - from);
		n += at - from;
		memcpy(out + n, p, len);
		n += len;
		p += len;
		from = at + remove;
	}
	assert_ptr_equal(p, end);
	assert_int_equal(n_edits, r.target[0].n_edits);
	memcpy(out + n, body + from, strlen(body) - from + 1);
}

static void expect(const char *body, const char *want)
{
	bool changes = strcmp(body, want) != 0;

	read_body(body);
	assert_int_equal(r.facts.scan_status, SCAN_OK);
	assert_int_equal(decide_adapt(&r), STEP_NEXT);
	apply(body);
	if (strcmp(out, want) != 0)
		fail_msg("%s\nbecame %s\n  want %s", body, out, want);
	assert_int_equal(r.target[0].n_edits > 0, changes);
	assert_true(str_eq(r.target[0].backend,
	                   changes ? STR("s.east") : STR("r.east")));
	if (changes)
		assert_int_equal(r.target[0].edited_length, strlen(want));
	read_body(out); /* still one object without duplicates */
	assert_int_equal(r.facts.scan_status, SCAN_OK);
}

static void the_deployment_gets_its_name(void **state)
{
	static const char *const cases[][2] = {
		{"{\"model\":\"m\"}", "{\"model\":\"dep\"}"},
		{" { \"a\" : 1 , \"model\" : \"m\" } ",
	         " { \"a\" : 1 , \"model\" : \"dep\" } "},
		{"{\"mod\\u0065l\":\"\\u006d\",\"a\":{\"model\":\"x\"}}",
	         "{\"mod\\u0065l\":\"dep\",\"a\":{\"model\":\"x\"}}"},
		{"{\"model\":null,\"a\":1}", "{\"model\":\"dep\",\"a\":1}"},
		{"{\"a\":1}", "{\"model\":\"dep\",\"a\":1}"},
		{"{ }", "{\"model\":\"dep\" }"},
		{"{\"model\":\"dep\"}", "{\"model\":\"dep\"}"},
		{"{\"model\":\"d\\u0065p\"}", "{\"model\":\"d\\u0065p\"}"},
	};

	(void)state;
	r.target[0].model_in_body = true;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect(cases[i][0], cases[i][1]);
	r.target[0].model_in_body = false; /* it is in the path */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect(cases[i][0], cases[i][0]);
}

static void a_name_is_written_as_json(void **state)
{
	(void)state;
	r.target[0].model_in_body = true;
	deployment.name = STR("a\"b\\\xc3\xa4");
	expect("{\"model\":\"m\"}", "{\"model\":\"a\\\"b\\\\\xc3\xa4\"}");
}

#define ASK "\"stream_options\":{\"include_usage\":true}"

static void usage_is_asked_for(void **state)
{
	static const char *const cases[][2] = {
		{"{\"stream\":true}", "{" ASK ",\"stream\":true}"},
		{"{\"stream\":true,\"stream_options\":null}",
	         "{\"stream\":true," ASK "}"},
		{"{\"stream\":true,\"stream_options\":{}}",
	         "{\"stream\":true," ASK "}"},
		{"{\"stream_options\":{\"x\":{}},\"stream\":true}",
	         "{\"stream_options\":{\"include_usage\":true,\"x\":{}},"
	         "\"stream\":true}"},
		{"{\"stream_options\":{\"x\":1,\"include_usage\":false},"
	         "\"stream\":true}",
	         "{\"stream_options\":{\"x\":1,\"include_usage\":true},"
	         "\"stream\":true}"},
		{"{\"stream_options\":{\"include_usage\" : null },"
	         "\"stream\":true}",
	         "{\"stream_options\":{\"include_usage\" : true },"
	         "\"stream\":true}"},
		{"{\"include_usage\":true,\"stream\":true}",
	         "{" ASK ",\"include_usage\":true,\"stream\":true}"},
		{"{\"data_sources\":null,\"stream\":true}",
	         "{" ASK ",\"data_sources\":null,\"stream\":true}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		expect(cases[i][0], cases[i][1]);
		read_body(cases[i][0]);
		decide_adapt(&r);
		assert_true(r.target[0].strip_usage);
	}
}

static void expect_untouched(const char *body)
{
	expect(body, body);
	assert_false(r.target[0].strip_usage);
}

static void usage_is_not_asked_for(void **state)
{
	static const char plain[] = "{\"stream\":true}";

	(void)state;
	expect_untouched("{\"stream\":true," ASK "}");
	expect_untouched("{\"stream\":false}");
	expect_untouched("{\"stream_options\":{}}");
	expect_untouched("{\"stream\":true,\"data_sources\":[]}");
	r.call.api.operation = API_RESPONSES;
	expect_untouched(plain);
	r.call.api.operation = API_COMPLETIONS;
	expect_untouched(plain);
	r.call.api.operation = API_CHAT;
	deployment.surface = SURFACE_MODELS;
	r.target[0].query = STR("api-version=2024-05-01-preview");
	expect_untouched(plain);
	deployment.surface = SURFACE_V1;
	model.ask_usage = false;
	expect_untouched(plain);
}

static void the_version_decides(void **state)
{
	static const struct {
		const char *query;
		bool asked;
	} cases[] = {
		{"api-version=2023-05-15", false},
		{"api-version=2024-06-01", false},
		{"api-version=2024-10-01", false},
		{"api-version=2024-05-01-preview", false},
		{"api-version=2024-08-01-preview", false},
		{"api-version=", false},
		{"", false},
		{"api-version=preview", false},
		{"api-version=2024-09-01-preview", true},
		{"api-version=2024-10-21", true},
		{"api-version=2025-04-01-preview", true},
		{"api-version=2030-01-01", true},
	};

	(void)state;
	deployment.surface = SURFACE_AZURE;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		r.target[0].query = str_c(cases[i].query);
		read_body("{\"stream\":true}");
		decide_adapt(&r);
		if (r.target[0].strip_usage != cases[i].asked)
			fail_msg("%s", cases[i].query);
	}
}

static void limits_are_renamed(void **state)
{
	(void)state;
	model.adapt.max_tokens = ADAPT_MAX_COMPLETION_TOKENS;
	expect("{\"max_tokens\" : 5}", "{\"max_completion_tokens\" : 5}");
	expect("{\"max_completion_tokens\":5}",
	       "{\"max_completion_tokens\":5}");
	expect("{\"max_tokens\":5,\"max_completion_tokens\":6}",
	       "{\"max_completion_tokens\":6}");
	expect("{\"max_completion_tokens\":6,\"max_tokens\":5}",
	       "{\"max_completion_tokens\":6}");
	model.adapt.max_tokens = ADAPT_MAX_TOKENS;
	expect("{\"a\":1,\"m\\u0061x_completion_tokens\":5}",
	       "{\"a\":1,\"max_tokens\":5}");
	r.call.api.operation = API_RESPONSES;
	expect("{\"max_completion_tokens\":5}",
	       "{\"max_completion_tokens\":5}");
}

static void limits_are_capped(void **state)
{
	(void)state;
	model.adapt.cap_output_tokens = 100;
	expect("{\"max_tokens\":101}", "{\"max_tokens\":100}");
	expect("{\"max_tokens\":100}", "{\"max_tokens\":100}");
	expect("{\"max_tokens\":null}", "{\"max_tokens\":100}");
	expect("{\"a\":1}", "{\"max_completion_tokens\":100,\"a\":1}");
	expect("{\"max_tokens\":200,\"max_completion_tokens\":300}",
	       "{\"max_tokens\":100,\"max_completion_tokens\":100}");
	model.adapt.max_tokens = ADAPT_MAX_COMPLETION_TOKENS;
	expect("{\"max_tokens\":200}", "{\"max_completion_tokens\":100}");
	expect("{\"max_tokens\":200,\"max_completion_tokens\":300}",
	       "{\"max_completion_tokens\":100}");
	r.call.api.operation = API_MESSAGES;
	expect("{}", "{\"max_tokens\":100}");
	r.call.api.operation = API_RESPONSES;
	expect("{}", "{\"max_output_tokens\":100}");
	r.call.api.operation = API_EMBEDDINGS;
	expect("{}", "{}");
}

static void efforts_are_mapped(void **state)
{
	static const struct policy_word words[] = {
		{STR_INIT("none"), STR_INIT("low")},
		{STR_INIT("minimal"), {NULL, 0}},
	};

	(void)state;
	model.adapt.reasoning_effort = (struct policy_words){words, 2};
	expect("{\"reasoning_effort\":\"none\"}",
	       "{\"reasoning_effort\":\"low\"}");
	expect("{\"reasoning_effort\":\"n\\u006fne\"}",
	       "{\"reasoning_effort\":\"low\"}");
	expect("{\"reasoning_effort\":\"minimal\"}", "{}");
	expect("{\"reasoning_effort\":\"high\"}",
	       "{\"reasoning_effort\":\"high\"}");
	expect("{\"reasoning_effort\":null}", "{\"reasoning_effort\":null}");
	expect("{\"reasoning_effort\":[\"none\"]}",
	       "{\"reasoning_effort\":[\"none\"]}");
}

static uint32_t bit(enum scan_member m)
{
	return UINT32_C(1) << m;
}

/* Any of four members goes: no comma too many, none too few. */
static void members_go_with_their_comma(void **state)
{
	static const enum scan_member members[] = {SCAN_TEMPERATURE, SCAN_TOP_P,
	                                           SCAN_SEED, SCAN_STOP};
	static const char *const texts[] = {
		"\"temperature\" : 1", "\"top_p\":{\"a\":[1,2]}",
		"\"seed\":\"x,}\"", "\"stop\":null"};

	(void)state;
	for (unsigned set = 0; set < 16; set++) {
		char body[256] = "{ ", want[256] = "{";
		size_t n = 2, w = 1, kept = 0;

		model.adapt.drop = 0;
		for (size_t i = 0; i < 4; i++) {
			n += (size_t)snprintf(body + n, sizeof(body) - n,
			                      "%s%s", i ? " , " : "", texts[i]);
			if (set >> i & 1)
				model.adapt.drop |= bit(members[i]);
			else
				w += (size_t)snprintf(
					want + w, sizeof(want) - w, "%s%s",
					kept++ ? "," : "", texts[i]);
		}
		snprintf(body + n, sizeof(body) - n, " }");
		snprintf(want + w, sizeof(want) - w, "}");
		read_body(body);
		assert_int_equal(decide_adapt(&r), STEP_NEXT);
		apply(body);
		/* blanks outside texts are not the matter here */
		for (n = w = 0; out[n]; n++)
			if (out[n] != ' ')
				out[w++] = out[n];
		out[w] = 0;
		for (n = w = 0; want[n]; n++)
			if (want[n] != ' ')
				want[w++] = want[n];
		want[w] = 0;
		assert_string_equal(out, want);
	}
}

static void everything_at_once(void **state)
{
	static const struct policy_word words[] = {
		{STR_INIT("none"), {NULL, 0}}};

	(void)state;
	r.target[0].model_in_body = true;
	model.adapt = (struct policy_adapt){
		.max_tokens = ADAPT_MAX_COMPLETION_TOKENS,
		.reasoning_effort = {words, 1},
		.drop = bit(SCAN_TEMPERATURE) | bit(SCAN_TOP_P),
		.cap_output_tokens = 9,
	};
	expect("{\"temperature\":1,\"top_p\":1,\"reasoning_effort\":\"none\","
	       "\"stream\":true,\"max_tokens\":10,\"messages\":[]}",
	       "{\"model\":\"dep\"," ASK
	       ",\"stream\":true,\"max_completion_tokens\":9,\"messages\":[]}");
	expect("{\"temperature\":1,\"top_p\":1}",
	       "{\"model\":\"dep\",\"max_completion_tokens\":9}");
}

static void a_body_not_seen_whole_stays_as_it_is(void **state)
{
	(void)state;
	r.target[0].model_in_body = true;
	model.adapt.cap_output_tokens = 1;
	read_body("{\"model\":\"m\",\"stream\":true");
	assert_int_equal(decide_adapt(&r), STEP_NEXT);
	assert_int_equal(r.target[0].edits.len, 0);
	read_body("{\"model\":\"m\",\"stream\":true}");
	r.facts.body_cut = true;
	assert_int_equal(decide_adapt(&r), STEP_NEXT);
	assert_int_equal(r.target[0].edits.len, 0);
	r.facts.body_cut = false;
	r.facts.has_body = false;
	assert_int_equal(decide_adapt(&r), STEP_NEXT);
	assert_int_equal(r.target[0].edits.len, 0);
	assert_false(r.target[0].strip_usage);
	/* a form, which others read: no JSON, though its model is known */
	r.facts = (struct request_facts){.has_body = true,
	                                 .scan_status = SCAN_OK,
	                                 .scan.model = STR("m")};
	assert_int_equal(decide_adapt(&r), STEP_NEXT);
	assert_int_equal(r.target[0].edits.len, 0);
}

static void edits_without_room_are_a_refusal(void **state)
{
	(void)state;
	r.target[0].model_in_body = true;
	read_body("{\"model\":\"m\"}");
	r.arena.used = r.arena.size - 8;
	assert_int_equal(decide_adapt(&r), STEP_DONE);
	assert_int_equal(r.verdict.verdict, VERDICT_DENY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_deployment_gets_its_name, setup),
		cmocka_unit_test_setup(a_name_is_written_as_json, setup),
		cmocka_unit_test_setup(usage_is_asked_for, setup),
		cmocka_unit_test_setup(usage_is_not_asked_for, setup),
		cmocka_unit_test_setup(the_version_decides, setup),
		cmocka_unit_test_setup(limits_are_renamed, setup),
		cmocka_unit_test_setup(limits_are_capped, setup),
		cmocka_unit_test_setup(efforts_are_mapped, setup),
		cmocka_unit_test_setup(members_go_with_their_comma, setup),
		cmocka_unit_test_setup(everything_at_once, setup),
		cmocka_unit_test_setup(a_body_not_seen_whole_stays_as_it_is,
	                               setup),
		cmocka_unit_test_setup(edits_without_room_are_a_refusal, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
