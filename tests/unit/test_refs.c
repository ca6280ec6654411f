/* api/refs and api/family: what a body names. */
#include "test.h"

#include "api/family.h"
#include "api/scan.h"

#include <stdio.h>

static char mem[24576] __attribute__((aligned(16)));
static struct arena arena;

static struct refs read(const char *body)
{
	struct refs u;

	arena_init(&arena, mem, sizeof(mem));
	memset(&u, 0xff, sizeof(u));
	refs_read(str_c(body), &arena, &u);
	return u;
}

static void names(const char *body, const char *one, const char *two)
{
	struct refs u = read(body);
	size_t n = (one != NULL) + (two != NULL);

	if (u.n != n)
		fail_msg("%s names %zu", body, u.n);
	if (one)
		assert_true(str_eq(u.ids[0].id, str_c(one)));
	if (two)
		assert_true(str_eq(u.ids[1].id, str_c(two)));
}

static void test_names_at_any_depth(void **state)
{
	(void)state;
	names("{\"previous_response_id\":\"r\"}", "r", NULL);
	names("{\"previous_response_id\":null}", NULL, NULL);
	names("{\"input\":[[{\"a\":{\"file_id\":\"f\"}}]]}", "f", NULL);
	names("{\"file_ids\":[\"f\",\"g\"]}", "f", "g");
	names("{\"file_ids\":[\"f\"],\"x\":\"no\"}", "f", NULL);
	names("{\"file_ids\":[],\"x\":[\"no\"]}", NULL, NULL);
	names("{\"file_ids\":[\"f\",[\"g\"]]}", "f", "g");
	names("{\"tools\":[{\"vector_store_ids\":[\"v\"]},\"no\"]}", "v", NULL);
	names("{\"file_id\":\"f\",\"a\":{\"file_id\":\"f\"}}", "f", NULL);
	names("{\"file\\u005fid\":\"\\u0066\"}", "f", NULL);
	names("{\"conversation\":\"c\"}", "c", NULL);
	names("{\"conversation\":{\"id\":\"c\"}}", "c", NULL);
	names("{\"conversation\":{\"x\":{\"id\":\"no\"},\"i\\u0064\":\"c\"}}",
	      "c", NULL);
	names("{\"id\":\"no\",\"a\":{\"id\":\"no\"}}", NULL, NULL);
	names("{\"metadata\":{\"file_id\":\"no\"},\"file_id\":\"f\"}", "f",
	      NULL);
	names("{\"a\":\"{\\\"file_id\\\":\\\"no\\\"}\"}", NULL, NULL);
	names("{\"file_id\":{\"type\":\"string\"}}", NULL, NULL);
}

static void test_what_stands_before_the_end_counts(void **state)
{
	(void)state;
	names("{\"file_id\":\"f\",\"input_file_id\":\"g", "f", NULL);
}

static void test_too_many(void **state)
{
	char body[16384] = "{\"file_ids\":[";
	size_t n = strlen(body), i;

	(void)state;
	for (i = 0; i <= REFS_MAX; i++)
		n += (size_t)snprintf(body + n, sizeof(body) - n, "\"f%zu\",",
		                      i);
	snprintf(body + n, sizeof(body) - n, "\"f0\"]}");
	assert_true(read(body).too_many);
	memset(body, 'a', sizeof(body));
	memcpy(body, "{\"file_id\":\"", 12);
	memcpy(body + 12 + REFS_ID_MAX + 1, "\"}", 3);
	assert_true(read(body).too_many);
	memcpy(body + 12 + REFS_ID_MAX, "\"}", 3);
	assert_false(read(body).too_many);
}

static void test_flags_and_the_model_of_a_session(void **state)
{
	struct refs u = read("{\"background\":true,\"store\":false,\"session\":"
	                     "{\"a\":{\"model\":\"no\"},\"model\":\"m\"}}");

	(void)state;
	assert_true(u.background && u.unstored);
	assert_true(str_eq(u.session_model, STR("m")));
	u = read("{\"background\":false,\"store\":true,\"a\":{\"background\":"
	         "true,\"store\":false,\"session\":{\"model\":\"no\"}}}");
	assert_false(u.background || u.unstored);
	assert_int_equal(u.session_model.len, 0);
	assert_int_equal(u.n_session_models, 0);
}

static void test_the_model_that_writes_down(void **state)
{
	struct refs u = read("{\"input_audio_transcription\":{\"model\":\"m\"},"
	                     "\"a\":{\"input_audio_transcription\":"
	                     "{\"model\":\"no\"}}}");

	(void)state;
	assert_true(str_eq(u.transcription_model, STR("m")));
	assert_int_equal(u.n_transcription_models, 1);
	assert_int_equal(u.n_session_models, 0);
	u = read("{\"input_audio_transcription\":{\"model\":\"m\",\"Model\":1}"
	         "}");
	assert_int_equal(u.n_transcription_models, 2);
}

static void test_models_of_a_session_are_counted(void **state)
{
	static const struct {
		const char *body;
		unsigned n;
	} cases[] = {
		{"{\"session\":{\"model\":\"m\"}}", 1},
		{"{\"session\":{\"model\":\"m\",\"model\":\"n\"}}", 2},
		{"{\"session\":{\"model\":\"m\",\"\\u006dodel\":\"n\"}}", 2},
		{"{\"session\":{\"model\":\"m\",\"MODEL\":\"n\"}}", 2},
		{"{\"session\":{\"model\":[\"m\"]}}", 1},
		{"{\"session\":{\"a\":{\"model\":\"m\"}}}", 0},
		{"{\"model\":\"m\",\"session\":{}}", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(read(cases[i].body).n_session_models,
		                 cases[i].n);
}

/* ------------------------------------------------------------ other kinds */

/* Each body names one id of that kind, as `member`. */
static void test_kinds_of_ids(void **state)
{
	static const struct {
		const char *body, *id;
		enum refs_kind kind;
		const char *member;
	} cases[] = {
		{"{\"prompt_cache_options\":{\"comparison_response_id\":\"x\"}"
	         "}",
	         "x", REFS_OBJECT, "comparison_response_id"},
		{"{\"tools\":[{\"type\":\"code_interpreter\",\"container\":"
	         "\"x\"}]}",
	         "x", REFS_ITEM, "container"},
		{"{\"tools\":[{\"container\":{\"id\":\"x\"}}]}", "x", REFS_ITEM,
	         "container"},
		{"{\"input\":[{\"type\":\"additional_tools\",\"tools\":[{"
	         "\"container\":\"x\"}]}]}",
	         "x", REFS_ITEM, "container"},
		{"{\"container\":\"x\"}", "x", REFS_ITEM, "container"},
		{"{\"container\":{\"id\":\"x\",\"skills\":[]}}", "x", REFS_ITEM,
	         "container"},
		{"{\"tools\":[{\"type\":\"shell\",\"environment\":{\"type\":"
	         "\"container_reference\",\"container_id\":\"x\"}}]}",
	         "x", REFS_ITEM, "container_id"},
		{"{\"prompt\":{\"id\":\"x\",\"version\":\"2\"}}", "x",
	         REFS_FOREIGN, "prompt.id"},
		{"{\"session\":{\"prompt\":{\"id\":\"x\"}}}", "x", REFS_FOREIGN,
	         "prompt.id"},
		{"{\"messages\":[{\"role\":\"assistant\",\"audio\":{\"id\":"
	         "\"x\"}}]}",
	         "x", REFS_FOREIGN, "audio.id"},
		{"{\"voice\":{\"id\":\"x\"}}", "x", REFS_FOREIGN, "voice.id"},
		{"{\"session\":{\"audio\":{\"output\":{\"voice\":{\"id\":\"x\""
	         "}}}}}",
	         "x", REFS_FOREIGN, "voice.id"},
		{"{\"container\":{\"skills\":[{\"type\":\"custom\","
	         "\"skill_id\":\"skill_1\"}]}}",
	         "skill_1", REFS_FOREIGN, "skill_id"},
		{"{\"tools\":[{\"type\":\"mcp\",\"tunnel_id\":\"x\"}]}", "x",
	         REFS_FOREIGN, "tunnel_id"},
		{"{\"agent_reference\":{\"name\":\"a\"}}", "agent_reference",
	         REFS_FOREIGN, "agent_reference"},
		{"{\"thread\":{\"previous_message_id\":\"x\"}}", "x",
	         REFS_FOREIGN, "previous_message_id"},
		{"{\"input\":[{\"type\":\"mcp_approval_response\","
	         "\"approval_request_id\":\"x\",\"approve\":true}]}",
	         "x", REFS_CARRIED, "approval_request_id"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct refs u = read(cases[i].body);

		if (u.n != 1 || u.ids[0].kind != cases[i].kind ||
		    !str_eq(u.ids[0].id, str_c(cases[i].id)) ||
		    strcmp(u.ids[0].member, cases[i].member) != 0)
			fail_msg("%s names %zu", cases[i].body, u.n);
		assert_non_null(u.ids[0].remedy);
	}
}

static void test_what_names_nothing_stored(void **state)
{
	static const char *const cases[] = {
		"{\"tools\":[{\"container\":{\"type\":\"auto\"}}]}",
		"{\"prompt\":\"a cat\",\"voice\":\"alloy\"}",
		"{\"audio\":{\"voice\":\"alloy\",\"format\":\"wav\"}}",
		"{\"container\":{\"skills\":[{\"type\":\"anthropic\","
		"\"skill_id\":\"pptx\"}]}}",
		"{\"tools\":[{\"connector_id\":\"connector_dropbox\"}]}",
		"{\"messages\":[{\"tool_calls\":[{\"id\":\"call_1\"}],"
		"\"tool_call_id\":\"call_1\"}]}",
		"{\"agent\":\"no\",\"x\":{\"agent_reference\":{\"name\":"
		"\"no\"}}}",
		"{\"prompt\":null,\"conversation\":null,\"container\":null}",
		/* a schema of the caller's own */
		"{\"tools\":[{\"parameters\":{\"properties\":{\"container\":{"
		"\"type\":\"string\"},\"id\":{\"type\":\"string\"},\"prompt\":"
		"{\"type\":\"string\"},\"model\":{\"type\":\"string\"},"
		"\"file_id\":{\"type\":\"string\"}}}}]}",
		/* the item is there, its id is a label */
		"{\"input\":[{\"role\":\"user\",\"content\":\"x\"}]}",
		"{\"input\":[{\"type\":\"message\",\"id\":\"msg_1\",\"role\":"
		"\"assistant\",\"content\":[]}]}",
		"{\"input\":[{\"role\":\"user\",\"content\":\"x\",\"id\":"
		"\"msg_1\"}]}",
		"{\"input\":[{\"type\":\"function_call\",\"id\":\"fc_1\","
		"\"call_id\":\"call_1\",\"name\":\"f\",\"arguments\":\"{}\"}]"
		"}",
		"{\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\","
		"\"summary\":[],\"encrypted_content\":\"gAAA\"}]}",
		"{\"x\":{\"input\":[{\"type\":\"item_reference\",\"id\":\"no\""
		"}]}}",
		"{\"metadata\":{\"model\":\"no\",\"input\":[{\"id\":\"no\"}]},"
		"\"session\":{}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct refs u = read(cases[i]);

		if (u.n != 0 || u.n_models != 0 || u.not_text || u.too_many ||
		    u.n_session_models != 0)
			fail_msg("%s names %zu", cases[i], u.n);
	}
}

/* Others see a member where its name is spelled in another way. */
static void test_names_are_folded(void **state)
{
	(void)state;
	names("{\"File_Id\":\"f\"}", "f", NULL);
	names("{\"FILE_IDS\":[\"f\"]}", "f", NULL);
	names("{\"previou\xc5\xbf_re\xc5\xbfponse_id\":\"r\"}", "r", NULL);
	names("{\"previou\\u017f_response_id\":\"r\"}", "r", NULL);
	names("{\"f\xc4\xb1le_id\":\"f\"}", "f", NULL);
	names("{\"\xef\xac\x81le_id\":\"f\"}", "f", NULL);
	names("{\"vector_\xef\xac\x86ore_ids\":[\"v\"]}", "v", NULL);
	names("{\"Conversation\":{\"ID\":\"c\"}}", "c", NULL);
	names("{\"tools\":[{\"Conta\xc4\xb1ner\":\"c\"}]}", "c", NULL);
	names("{\"Metadata\":{\"file_id\":\"f\"}}", "f", NULL);
	names("{\"metadata\\u0020\":{\"file_id\":\"f\"}}", "f", NULL);
	names("{\"filé_id\":\"no\",\"file_idd\":\"no\",\"file_i\":\"no\"}",
	      NULL, NULL);
	assert_int_equal(read("{\"session\":{\"model\":\"m\",\"M\xc3\xb6"
	                      "del\":1}}")
	                         .n_session_models,
	                 1);
}

/* ------------------------------------------------------------------ items */

static void test_items(void **state)
{
	static const struct {
		const char *item;
		int kind; /* -1: none */
	} cases[] = {
		{"\"type\":\"item_reference\"", REFS_ITEM},
		{"\"type\":\"Item_Reference\"", REFS_ITEM},
		{"\"type\":\"item_reference\",\"content\":\"x\"", REFS_ITEM},
		{"\"type\":\"message\",\"type\":\"item_reference\","
	         "\"content\":\"x\"",
	         REFS_ITEM},
		{"\"type\":\"message\",\"Type\":\"item_reference\","
	         "\"content\":\"x\"",
	         REFS_ITEM},
		{"\"type\":null", REFS_ITEM},
		{"\"status\":\"completed\"", REFS_ITEM},
		{"\"x\":1", REFS_ITEM},
		{"\"role\":\"assistant\"", REFS_ITEM},
		{"\"type\":\"message\",\"role\":\"assistant\"", REFS_ITEM},
		{"\"type\":\"message\",\"content\":null", REFS_ITEM},
		{"\"type\":\"function_call\"", REFS_ITEM},
		{"\"type\":\"new_kind\",\"status\":\"completed\"", REFS_ITEM},
		{"\"type\":\"image_generation_call\"", REFS_ITEM},
		{"\"type\":\"image_generation_call\",\"result\":null,"
	         "\"quality\":\"high\"",
	         REFS_ITEM},
		{"\"type\":\"image_generation_call\",\"result\":\"\"",
	         REFS_ITEM},
		{"\"type\":\"image_generation_call\",\"result\":\"iVBOR\"",
	         REFS_CARRIED},
		{"\"type\":\"reasoning\",\"summary\":[]", REFS_CARRIED},
		{"\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":"
	         "null",
	         REFS_CARRIED},
		{"\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":"
	         "\"\"",
	         REFS_CARRIED},
		{"\"type\":\"reasoning\"", REFS_ITEM},
		{"\"type\":\"web_search_call\",\"action\":{}", -1},
	};
	static const struct {
		const char *before, *behind;
	} places[] = {
		{"{\"input\":[{\"role\":\"user\",\"content\":[{\"id\":\"no\"}]}"
	         ",{\"id\":\"x\",",
	         "}]}"},
		{"{\"items\":[{", ",\"\\u0069d\":\"x\"}]}"},
		{"{\"input\":{", ",\"ID\":\"x\"}}"},
	};
	char body[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (size_t k = 0; k < sizeof(places) / sizeof(*places); k++) {
			struct refs u;

			snprintf(body, sizeof(body), "%s%s%s", places[k].before,
			         cases[i].item, places[k].behind);
			u = read(body);
			if (u.n != (cases[i].kind >= 0) ||
			    (u.n == 1 && (int)u.ids[0].kind != cases[i].kind))
				fail_msg("%s: %zu", body, u.n);
		}
	}
	assert_true(read("{\"input\":[{\"id\":\"a\",\"id\":\"b\",\"id\":\"c\"}]"
	                 "}")
	                    .too_many);
}

#define FAMILY "0c7d5a12cbe135ee"
#define NEW(x) FAMILY "0069d6021a70048197b30eac95a9b0c0" x

static void test_items_of_one_family_are_one(void **state)
{
	struct refs u = read("{\"previous_response_id\":\"resp_" NEW(
		"00") "\",\"input\":["
	              "{\"type\":\"reasoning\",\"id\":\"rs_" NEW(
			      "01") "\","
	                            "\"summary\":[]},"
	                            "{\"type\":\"item_reference\",\"id\":"
	                            "\"msg_" NEW(
					    "02") "\"},"
	                                          "{\"type\":\"reasoning\","
	                                          "\"id\":\"rs_" NEW(
							  "03") "\","
	                                                        "\"summary\":[]"
	                                                        "}]}");

	(void)state;
	assert_int_equal(u.n, 2);
	assert_int_equal(u.ids[0].kind, REFS_OBJECT);
	/* the first one in the words of the client, as strict as the second */
	assert_true(str_eq(u.ids[1].id, STR("rs_" NEW("01"))));
	assert_int_equal(u.ids[1].kind, REFS_ITEM);
}

static void test_families(void **state)
{
	static const struct {
		const char *id, *family;
	} cases[] = {
		/* what OpenAI and Azure have answered */
		{"resp_0c7d5a12cbe135ee0069d6021a70048197b30eac95a9b0c028",
	         FAMILY},
		{"rs_0c7d5a12cbe135ee0069d6021ae4e08197aa623c16d9dd5c8f",
	         FAMILY},
		{"ws_0f23d628b8934486016a399508e1ac819ba2a6f8c5c5eafc3e",
	         "0f23d628b8934486"},
		{"resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
	         "0bb6a6b452d3795b"},
		{"msg_67ccd2bf17f0819081ff3bb2cf6508e60bb6a6b452d3795b",
	         "0bb6a6b452d3795b"},
		{"cntr_682e0e7318108198aa783fd921ff305e08e78805b9fdbb04",
	         "08e78805b9fdbb04"},
		/* of the first days, without one */
		{"resp_67c97c0203188190a025beb4a75242bc", ""},
		/* other forms say nothing */
		{"resp_1c7d5a12cbe135ee0069d6021a70048197b30eac95a9b0c028", ""},
		{"resp_0c7d5a12cbe135ee1069d6021a70048197b30eac95a9b0c028", ""},
		{"resp_0c7d5a12cbe135ee0059d6021a70048197b30eac95a9b0c028", ""},
		{"resp_0C7D5A12CBE135EE0069D6021A70048197B30EAC95A9B0C028", ""},
		{"resp_57ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b", ""},
		{"resp_67ccd2bed1ec8190b14f964abc0542671bb6a6b452d3795b", ""},
		{"resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795", ""},
		{"cfile_682e0e8a43c88191a7978f477a09bdf5", ""},
		{"a_resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b", ""},
		{"resp_", ""},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (!str_eq(family_of(str_c(cases[i].id)),
		            str_c(cases[i].family)))
			fail_msg("%s", cases[i].id);
	assert_true(family_is_kept(STR("resp_1")));
	assert_true(family_is_kept(STR("conv_1")));
	assert_false(family_is_kept(STR("msg_1")));
}

/* ----------------------------------------------------------------- models */

static void test_further_models(void **state)
{
	static const struct {
		const char *body, *member;
	} cases[] = {
		{"{\"tools\":[{\"type\":\"image_generation\",\"model\":\"m\"}]"
	         "}",
	         "tools[].model"},
		{"{\"tools\":[{\"Model\":\"m\"}]}", "tools[].model"},
		{"{\"Tools\":[{\"model\":\"m\"}]}", "tools[].model"},
		{"{\"input\":[{\"type\":\"tool_search_output\",\"tools\":[{"
	         "\"model\":\"m\"}]}]}",
	         "tools[].model"},
		{"{\"tools\":[{\"svg\":{\"model\":\"m\"}}]}", "svg.model"},
		{"{\"svg\":{\"model\":\"m\"}}", "svg.model"},
		{"{\"moderation\":{\"model\":\"m\"}}", "moderation.model"},
		{"{\"session\":{\"audio\":{\"input\":{\"transcription\":{"
	         "\"model\":\"m\"}}}}}",
	         "transcription.model"},
		{"{\"session\":{\"input_audio_transcription\":{\"model\":\"m\""
	         "}}}",
	         "input_audio_transcription.model"},
		{"{\"fallbacks\":[{\"model\":\"m\"}]}", "fallbacks[].model"},
		{"{\"fallbacks\":[\"m\"]}", "fallbacks[].model"},
		{"{\"fallbacks\":\"m\"}", "fallbacks[].model"},
		{"{\"messages\":[{\"content\":[{\"tool\":{\"definition\":{"
	         "\"model\":\"m\"}}}]}]}",
	         "tool.definition.model"},
		{"{\"data_sources\":[{\"parameters\":{\"embedding_dependency\":"
	         "{\"type\":\"deployment_name\",\"deployment_name\":\"m\"}}}]"
	         "}",
	         "deployment_name"},
	};
	struct refs u;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		u = read(cases[i].body);
		if (u.n_models != 1 || u.n != 0 ||
		    !str_eq(u.models[0].name, STR("m")) ||
		    strcmp(u.models[0].member, cases[i].member) != 0)
			fail_msg("%s names %zu", cases[i].body, u.n_models);
	}
	u = read("{\"messages\":[{\"model\":\"no\",\"content\":[{\"model\":"
	         "\"no\"}]}],\"x\":{\"model\":\"no\"},\"tools\":[{\"function\":"
	         "{\"model\":\"no\"}}]}");
	assert_int_equal(u.n_models, 0);
	assert_non_null(read("{\"tools\":[{\"model\":[\"m\"]}]}").not_text);
	assert_non_null(read("{\"tools\":[{\"model\":1}]}").not_text);
	assert_non_null(read("{\"tools\":[{\"model\":true}]}").not_text);
	assert_non_null(read("{\"tools\":[{\"model\":{}}]}").not_text);
	assert_non_null(
		read("{\"x\":[{\"deployment_name\":[\"m\"]}]}").not_text);
	assert_null(read("{\"tools\":[{\"model\":null}]}").not_text);
	assert_true(read("{\"fallbacks\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\","
	                 "\"7\",\"8\",\"9\"]}")
	                    .too_many);
}

/* In one pass with the scan, and of a part of a body what stands before its
 * end. */
static void test_the_pass_of_the_scan(void **state)
{
	static const char body[] =
		"{\"model\":\"m\",\"metadata\":{\"file_id\":\"no\"},"
		"\"reasoning\":{\"file_id\":\"f\"},\"input\":[{\"id\":\"i\"}],"
		"\"prompt\":[1,{\"file_id\":\"g\"}],\"stream_options\":{"
		"\"x\":{\"file_id\":\"h\"}}}";
	struct scan_result scan;
	struct refs u;

	(void)state;
	arena_init(&arena, mem, sizeof(mem));
	assert_int_equal(scan_body_refs(str_c(body), &arena, &scan, &u),
	                 SCAN_OK);
	assert_int_equal(u.n, 4);
	assert_int_equal(scan_body_refs(str_of(body, 100), &arena, &scan, &u),
	                 SCAN_PARTIAL);
	assert_int_equal(u.n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_at_any_depth),
		cmocka_unit_test(test_what_stands_before_the_end_counts),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_flags_and_the_model_of_a_session),
		cmocka_unit_test(test_the_model_that_writes_down),
		cmocka_unit_test(test_models_of_a_session_are_counted),
		cmocka_unit_test(test_kinds_of_ids),
		cmocka_unit_test(test_what_names_nothing_stored),
		cmocka_unit_test(test_names_are_folded),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_items_of_one_family_are_one),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_further_models),
		cmocka_unit_test(test_the_pass_of_the_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
