/* api/operations: which paths are operations. */
#include "test.h"

#include "base/arena.h"
#include "api/operations.h"

static char mem[256] __attribute__((aligned(16)));
static struct arena arena;

static struct api_call find(const char *method, struct str path)
{
	struct api_call call;

	arena_init(&arena, mem, sizeof(mem));
	memset(&call, 0xff, sizeof(call));
	operations_find(str_c(method), path, &arena, &call);
	return call;
}

static void test_paths_of_the_documented_clients(void **state)
{
	static const struct {
		const char *path;
		enum api_operation operation;
		enum api_surface surface;
		const char *model, *suffix;
	} cases[] = {
		{"/chat/completions", API_CHAT, CALL_PLAIN, "",
	         "/chat/completions"},
		{"/v1/chat/completions", API_CHAT, CALL_PLAIN, "",
	         "/chat/completions"},
		{"/api/v1/custom/chat/completions", API_CHAT, CALL_PLAIN, "",
	         "/chat/completions"},
		{"/openai/v1/chat/completions", API_CHAT, CALL_V1, "",
	         "/chat/completions"},
		{"/models/chat/completions", API_CHAT, CALL_MODELS, "",
	         "/chat/completions"},
		{"/default/models/openai/v1/chat/completions", API_CHAT,
	         CALL_PLAIN, "", "/chat/completions"},
		{"/openai/deployments/gpt-4o/chat/completions", API_CHAT,
	         CALL_AZURE, "gpt-4o", "/chat/completions"},
		{"/deployments/gpt-4/chat/completions", API_CHAT, CALL_AZURE,
	         "gpt-4", "/chat/completions"},
		{"/v2/custom/deployments/gpt-4o/chat/completions", API_CHAT,
	         CALL_AZURE, "gpt-4o", "/chat/completions"},
		{"/v1/completions", API_COMPLETIONS, CALL_PLAIN, "",
	         "/completions"},
		{"/openai/deployments/d/completions", API_COMPLETIONS,
	         CALL_AZURE, "d", "/completions"},
		{"/openai/v1/responses", API_RESPONSES, CALL_V1, "",
	         "/responses"},
		{"/openai/responses", API_RESPONSES, CALL_PLAIN, "",
	         "/responses"},
		{"/openai/v1/embeddings", API_EMBEDDINGS, CALL_V1, "",
	         "/embeddings"},
		{"/models/embeddings", API_EMBEDDINGS, CALL_MODELS, "",
	         "/embeddings"},
		{"/anthropic/v1/messages", API_MESSAGES, CALL_ANTHROPIC, "",
	         "/messages"},
		{"/v1/messages", API_MESSAGES, CALL_ANTHROPIC, "", "/messages"},
		{"/inference/v1/messages", API_MESSAGES, CALL_ANTHROPIC, "",
	         "/messages"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct api_call c = find("POST", str_c(cases[i].path));

		if (c.operation != cases[i].operation ||
		    c.surface != cases[i].surface)
			fail_msg("%s: operation %d, surface %d", cases[i].path,
			         c.operation, c.surface);
		assert_true(c.method_ok);
		assert_true(str_eq(c.path_model, str_c(cases[i].model)));
		assert_true(str_eq(c.suffix, str_c(cases[i].suffix)));
		assert_int_equal(c.shape, c.operation == API_MESSAGES
		                                  ? SHAPE_ANTHROPIC
		                                  : SHAPE_OPENAI);
	}
}

static void none(struct str path)
{
	struct api_call c = find("POST", path);

	if (c.operation != API_NONE)
		fail_msg("%" STR_FMT " is %s", STR_ARG(path),
		         operations_name(c.operation));
	assert_false(c.method_ok);
	assert_int_equal(c.path_model.len, 0);
	assert_int_equal(c.suffix.len, 0);
}

static void test_what_is_not_in_the_table(void **state)
{
	static const char *const paths[] = {
		"",
		"/",
		"/v1",
		"/chat",
		"/completions/x",
		"/v1/chat/completions/x",
		"/xchat/completionsx",
		"/v1/xresponses",
		"/v1xembeddings",
		"/messages",
		"/anthropic/messages",
		"/v1/threads/t/messages",
		"chat/completions",
		"http://host/v1/chat/completions",
		"*",
		"/CHAT/COMPLETIONS",
		"/deployments/chat/completions",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		none(str_c(paths[i]));
	none(STR_NONE);
	/* a whole segment, not only the end of one */
	assert_int_equal(find("POST", STR("/v1/xchat/completions")).operation,
	                 API_COMPLETIONS);
}

/* One line for each row that has no `model` of its own in the tests above. */
static void test_operations_with_objects(void **state)
{
	static const struct {
		const char *method, *path, *suffix;
		enum api_operation operation;
		const char *ids[API_IDS_MAX];
	} cases[] = {
		{"POST",
	         "/v1/responses/compact",
	         "/responses/compact",
	         API_RESPONSES,
	         {NULL}},
		{"POST",
	         "/openai/v1/responses/input_tokens",
	         "/responses/input_tokens",
	         API_RESPONSES,
	         {NULL}},
		{"GET",
	         "/openai/responses/resp_1",
	         "/responses/resp_1",
	         API_RESPONSES,
	         {"resp_1"}},
		{"DELETE",
	         "/openai/v1/responses/resp_1",
	         "/responses/resp_1",
	         API_RESPONSES,
	         {"resp_1"}},
		{"POST",
	         "/v1/responses/resp_1/cancel",
	         "/responses/resp_1/cancel",
	         API_RESPONSES,
	         {"resp_1"}},
		{"GET",
	         "/v1/responses/resp_1/input_items",
	         "/responses/resp_1/input_items",
	         API_RESPONSES,
	         {"resp_1"}},
		{"POST", "/v1/files", "/files", API_FILES, {NULL}},
		{"GET",
	         "/v1/files/file-1",
	         "/files/file-1",
	         API_FILES,
	         {"file-1"}},
		{"DELETE",
	         "/v1/files/file-1",
	         "/files/file-1",
	         API_FILES,
	         {"file-1"}},
		{"GET",
	         "/v1/files/file-1/content",
	         "/files/file-1/content",
	         API_FILES,
	         {"file-1"}},
		{"POST", "/v1/batches", "/batches", API_BATCHES, {NULL}},
		{"GET", "/v1/batches/b", "/batches/b", API_BATCHES, {"b"}},
		{"POST",
	         "/v1/batches/b/cancel",
	         "/batches/b/cancel",
	         API_BATCHES,
	         {"b"}},
		{"POST",
	         "/v1/vector_stores",
	         "/vector_stores",
	         API_VECTOR_STORES,
	         {NULL}},
		{"POST",
	         "/v1/vector_stores/vs",
	         "/vector_stores/vs",
	         API_VECTOR_STORES,
	         {"vs"}},
		{"POST",
	         "/v1/vector_stores/vs/search",
	         "/vector_stores/vs/search",
	         API_VECTOR_STORES,
	         {"vs"}},
		{"POST",
	         "/v1/vector_stores/vs/files",
	         "/vector_stores/vs/files",
	         API_VECTOR_STORES,
	         {"vs"}},
		{"GET",
	         "/v1/vector_stores/vs/files/file-1",
	         "/vector_stores/vs/files/file-1",
	         API_VECTOR_STORES,
	         {"vs", "file-1"}},
		{"GET",
	         "/v1/vector_stores/vs/files/file-1/content",
	         "/vector_stores/vs/files/file-1/content",
	         API_VECTOR_STORES,
	         {"vs", "file-1"}},
		{"POST",
	         "/v1/vector_stores/vs/file_batches",
	         "/vector_stores/vs/file_batches",
	         API_VECTOR_STORES,
	         {"vs"}},
		{"GET",
	         "/v1/vector_stores/vs/file_batches/fb",
	         "/vector_stores/vs/file_batches/fb",
	         API_VECTOR_STORES,
	         {"vs"}},
		{"POST",
	         "/v1/vector_stores/vs/file_batches/fb/cancel",
	         "/vector_stores/vs/file_batches/fb/cancel",
	         API_VECTOR_STORES,
	         {"vs"}},
		{"GET",
	         "/v1/vector_stores/vs/file_batches/fb/files",
	         "/vector_stores/vs/file_batches/fb/files",
	         API_VECTOR_STORES,
	         {"vs"}},
		{"POST",
	         "/v1/conversations",
	         "/conversations",
	         API_CONVERSATIONS,
	         {NULL}},
		{"POST",
	         "/v1/conversations/c",
	         "/conversations/c",
	         API_CONVERSATIONS,
	         {"c"}},
		{"POST",
	         "/v1/conversations/c/items",
	         "/conversations/c/items",
	         API_CONVERSATIONS,
	         {"c"}},
		{"DELETE",
	         "/v1/conversations/c/items/i",
	         "/conversations/c/items/i",
	         API_CONVERSATIONS,
	         {"c"}},
		{"POST",
	         "/v1/realtime/client_secrets",
	         "/realtime/client_secrets",
	         API_REALTIME,
	         {NULL}},
		{"POST",
	         "/v1/realtime/transcription_sessions",
	         "/realtime/transcription_sessions",
	         API_REALTIME,
	         {NULL}},
		{"POST",
	         "/openai/v1/realtime/calls",
	         "/realtime/calls",
	         API_REALTIME,
	         {NULL}},
		{"GET", "/realtime", "/realtime", API_REALTIME, {NULL}},
		{"GET", "/openai/realtime", "/realtime", API_REALTIME, {NULL}},
		{"POST",
	         "/v1/messages/count_tokens",
	         "/messages/count_tokens",
	         API_MESSAGES,
	         {NULL}},
		{"POST",
	         "/openai/deployments/d/audio/transcriptions",
	         "/audio/transcriptions",
	         API_AUDIO,
	         {NULL}},
		{"POST",
	         "/v1/audio/speech",
	         "/audio/speech",
	         API_AUDIO,
	         {NULL}},
		{"POST",
	         "/v1/images/generations",
	         "/images/generations",
	         API_IMAGES,
	         {NULL}},
		{"POST",
	         "/v1/images/edits",
	         "/images/edits",
	         API_IMAGES,
	         {NULL}},
	};
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct api_call c = find(cases[i].method, str_c(cases[i].path));

		if (c.operation != cases[i].operation || !c.method_ok ||
		    !str_eq(c.suffix, str_c(cases[i].suffix)))
			fail_msg("%s %s is %s%s, suffix %" STR_FMT,
			         cases[i].method, cases[i].path,
			         operations_name(c.operation),
			         c.method_ok ? "" : " with another method",
			         STR_ARG(c.suffix));
		for (n = 0; n < API_IDS_MAX && cases[i].ids[n]; n++)
			assert_true(str_eq(c.ids[n], str_c(cases[i].ids[n])));
		assert_int_equal(c.n_ids, n);
	}
}

static void test_ids_that_are_paths_or_words_are_no_operation(void **state)
{
	static const char *const paths[] = {
		"/v1/responses/..",
		"/v1/responses/.",
		"/v1/responses/%2e%2e",
		"/v1/responses/resp_1%2fcancel",
		"/v1/responses/resp_1%00",
		"/v1/responses/resp_1;x",
		"/v1/responses/resp 1",
		"/v1/responses/resp_1/",
		"/v1/responses//cancel",
		"/v1/responses/../files/file-1/content",
		"/v1/files/file-1/content/x",
		"/v1/files/a,b",
		"/v1/files/{id}",
		"/v1/files/caf\xc3\xa9",
		/* parts of collections that have no row */
		"/v1/containers/c/files/file-1",
		"/v1/containers/c/files/file-1/content",
		"/v1/threads/t/conversations/c",
		"/v1/fine_tuning/files/file-1",
		"/openai/deployments/d/responses/resp_1",
		"/openai/deployments/d/files/file-1",
		"/openai/deployments/d/realtime",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct api_call c = find("GET", str_c(paths[i]));

		if (c.operation != API_NONE)
			fail_msg("%s is %s", paths[i],
			         operations_name(c.operation));
	}
}

static void test_id_of_a_kilobyte_is_no_operation(void **state)
{
	char path[1100] = "/v1/files/";

	(void)state;
	memset(path + 10, 'a', 1024);
	assert_int_equal(find("GET", str_of(path, 1034)).operation, API_NONE);
	assert_int_equal(find("GET", str_of(path, 10 + API_ID_LEN)).operation,
	                 API_FILES);
}

static void test_lists_are_known_and_marked(void **state)
{
	static const char *const paths[] = {"/v1/files", "/v1/batches",
	                                    "/v1/vector_stores",
	                                    "/v1/responses"};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct api_call c = find("GET", str_c(paths[i]));

		assert_true(c.method_ok && c.traits.list);
		assert_false(find("POST", str_c(paths[i])).traits.list);
	}
	assert_false(find("DELETE", STR("/v1/files")).method_ok);
}

static void test_path_tricks_are_no_operation(void **state)
{
	static const char *const paths[] = {
		"/v1/../chat/completions",       "/v1/./chat/completions",
		"/v1/%2e%2e/chat/completions",   "/v1/%2E%2E/chat/completions",
		"/v1/.%2e/chat/completions",     "/v1/..;/chat/completions",
		"/v1//chat/completions",         "//chat/completions",
		"/v1/chat/completions/",         "/v1/chat//completions",
		"/v1/chat/completions;x=1",      "/v1;p=1/chat/completions",
		"/v1/chat%2fcompletions",        "/v1%2Fchat/completions",
		"/v1/chat%5ccompletions",        "/v1\\chat/completions",
		"/v1/chat/completions?x",        "/v1/chat/completions#x",
		"/v1/chat/completions%00",       "/v1/chat/complet%69ons",
		"/%76%31/chat/completions",      "/v1/chat/completions ",
		"/v1/\x01/chat/completions",     "/v1/\x7f/chat/completions",
		"/v1/\xc3\xa9/chat/completions", "/v1/\t/chat/completions",
		"/v1/\r\n/chat/completions",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		none(str_c(paths[i]));
	none(STR("/v1/chat/completions\0"));
	none(STR("/v1/\0/chat/completions"));
}

/* Where it is open which model is meant, somebody could choose. */
static void test_two_models_in_the_path(void **state)
{
	(void)state;
	none(STR("/deployments/a/deployments/b/chat/completions"));
	none(STR("/deployments/a/v1/chat/completions"));
	none(STR("/Deployments/a/deployments/b/chat/completions"));
	none(STR("/Deployments/a/chat/completions"));
	none(STR("/deployments/deployments/a/chat/completions"));
	none(STR("/%64eployments/a/deployments/b/chat/completions"));
	none(STR("/%64eployments/a/chat/completions"));
}

static void test_escapes_in_the_deployment(void **state)
{
	struct api_call c;

	(void)state;
	c = find("POST", STR("/openai/deployments/gpt%2D4o%20x%C3%a9/"
	                     "chat/completions"));
	assert_int_equal(c.operation, API_CHAT);
	assert_true(str_eq(c.path_model, STR("gpt-4o x\xc3\xa9")));
	none(STR("/deployments/a%2fb/chat/completions"));
	none(STR("/deployments/a%5Cb/chat/completions"));
	none(STR("/deployments/%2e%2e/chat/completions"));
	none(STR("/deployments/%2E/chat/completions"));
	none(STR("/deployments/a%00/chat/completions"));
	none(STR("/deployments/a%0d%0a/chat/completions"));
	none(STR("/deployments/a%7f/chat/completions"));
	none(STR("/deployments/a%252fb/chat/completions"));
	none(STR("/deployments/a%3bb/chat/completions"));
	none(STR("/deployments/a%ff/chat/completions"));
	none(STR("/deployments/a%/chat/completions"));
	none(STR("/deployments/a%4/chat/completions"));
	none(STR("/deployments/a%zz/chat/completions"));
	none(STR("/deployments//chat/completions"));
}

static void test_a_name_that_fills_the_arena(void **state)
{
	char path[600];
	size_t n = 0;

	(void)state;
	memcpy(path, "/deployments/%61", 16);
	memset(path + 16, 'a', sizeof(path) - 16);
	n = sizeof(path);
	memcpy(path + n - 11, "/embeddings", 11);
	none(str_of(path, n));
	assert_true(arena.overflow);
}

static void test_methods(void **state)
{
	static const char *const others[] = {"GET",  "HEAD",  "PUT", "DELETE",
	                                     "post", "POSTX", ""};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct api_call c =
			find(others[i], STR("/deployments/d/chat/completions"));

		assert_int_equal(c.operation, API_CHAT);
		assert_false(c.method_ok);
		assert_true(str_eq(c.path_model, STR("d")));
	}
}

static void test_discovery(void **state)
{
	static const struct {
		const char *path;
		enum api_discover form;
		const char *model;
	} cases[] = {
		{"/deployments", DISCOVER_AZURE, ""},
		{"/openai/deployments", DISCOVER_AZURE, ""},
		{"/any/prefix/deployments/gpt-4o", DISCOVER_AZURE, "gpt-4o"},
		{"/deployments/a%20b", DISCOVER_AZURE, "a b"},
		{"/models", DISCOVER_OPENAI, ""},
		{"/v1/models", DISCOVER_OPENAI, ""},
		{"/openai/v1/models/gpt-4o", DISCOVER_OPENAI, "gpt-4o"},
	};
	static const char *const none_of_it[] = {
		"/deployments/a%2fb",
		"/deployments/a/deployments",
		"/deployments/a/models",
		"/deployments/%00",
		"/models/..",
		"/models/",
		"/anthropic/v1/models",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct api_call c = find("GET", str_c(cases[i].path));

		assert_int_equal(c.operation, API_MODELS);
		assert_true(c.method_ok);
		assert_int_equal(c.traits.discover, cases[i].form);
		assert_true(str_eq(c.path_model, str_c(cases[i].model)));
		assert_false(find("POST", str_c(cases[i].path)).method_ok);
	}
	for (size_t i = 0; i < sizeof(none_of_it) / sizeof(none_of_it[0]); i++)
		if (find("GET", str_c(none_of_it[i])).operation != API_NONE)
			fail_msg("%s is an operation", none_of_it[i]);
}

static void test_shape_of_what_is_no_operation(void **state)
{
	(void)state;
	assert_int_equal(find("GET", STR("/anthropic/v1/skills")).shape,
	                 SHAPE_ANTHROPIC);
	assert_int_equal(find("POST", STR("/v1/messages/count")).shape,
	                 SHAPE_ANTHROPIC);
	assert_int_equal(find("POST", STR("/anthropic/../x")).shape,
	                 SHAPE_ANTHROPIC);
	assert_int_equal(find("POST", STR("/anthropics/v1/x")).shape,
	                 SHAPE_OPENAI);
	assert_int_equal(find("POST", STR("/nothing")).shape, SHAPE_OPENAI);
}

static void test_operation_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < API_N_OPERATIONS; i++) {
		const char *name = operations_name((enum api_operation)i);

		assert_non_null(name);
		assert_int_equal(operations_by_name(str_c(name)), i);
	}
	assert_string_equal(operations_name(API_NONE), "none");
	assert_string_equal(operations_name(API_MESSAGES), "messages");
	assert_int_equal(operations_by_name(STR("Chat")), API_NONE);
	assert_int_equal(operations_by_name(STR_NONE), API_NONE);
}

static void test_query_parameters(void **state)
{
	struct str q = STR("api-version=2024-10-21&x&empty=&a=b%20c&a=2&=z");

	(void)state;
	assert_true(str_eq(operations_query_get(q, STR("api-version")),
	                   STR("2024-10-21")));
	assert_true(str_eq(operations_query_get(q, STR("a")), STR("b%20c")));
	assert_int_equal(operations_query_get(q, STR("x")).len, 0);
	assert_int_equal(operations_query_get(q, STR("empty")).len, 0);
	assert_int_equal(operations_query_get(q, STR("version")).len, 0);
	assert_int_equal(operations_query_get(q, STR("api-versio")).len, 0);
	assert_int_equal(operations_query_get(STR_NONE, STR("a")).len, 0);
	assert_true(str_eq(operations_query_get(STR("a=1=2"), STR("a")),
	                   STR("1=2")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths_of_the_documented_clients),
		cmocka_unit_test(test_what_is_not_in_the_table),
		cmocka_unit_test(test_operations_with_objects),
		cmocka_unit_test(
			test_ids_that_are_paths_or_words_are_no_operation),
		cmocka_unit_test(test_id_of_a_kilobyte_is_no_operation),
		cmocka_unit_test(test_lists_are_known_and_marked),
		cmocka_unit_test(test_path_tricks_are_no_operation),
		cmocka_unit_test(test_two_models_in_the_path),
		cmocka_unit_test(test_escapes_in_the_deployment),
		cmocka_unit_test(test_a_name_that_fills_the_arena),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_shape_of_what_is_no_operation),
		cmocka_unit_test(test_operation_names),
		cmocka_unit_test(test_query_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
