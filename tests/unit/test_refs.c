/* api/refs: what a body names. */
#include "test.h"

#include "api/refs.h"

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
		assert_true(str_eq(u.ids[0], str_c(one)));
	if (two)
		assert_true(str_eq(u.ids[1], str_c(two)));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_at_any_depth),
		cmocka_unit_test(test_what_stands_before_the_end_counts),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_flags_and_the_model_of_a_session),
		cmocka_unit_test(test_the_model_that_writes_down),
		cmocka_unit_test(test_models_of_a_session_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
