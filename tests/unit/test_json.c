/* base/json: cJSON without its traps. */
#include "test.h"

#include "base/buf.h"
#include "base/json.h"

static struct json *parse(const char *text)
{
	const char *error = NULL;
	size_t at = 0;
	struct json *j = json_parse(str_c(text), &error, &at);

	if (!j)
		fail_msg("%s: %s at %zu", text, error, at);
	return j;
}

static void refuse_with(struct str text, unsigned options, const char *want,
                        size_t want_at)
{
	const char *error = NULL;
	size_t at = 9999;
	struct json *j = json_parse_with(text, options, &error, &at);

	if (j) {
		json_free(j);
		fail_msg("accepted %" STR_FMT, STR_ARG(text));
	}
	assert_string_equal(error, want);
	assert_int_equal(at, want_at);
}

static void refuse(const char *text, const char *want, size_t want_at)
{
	refuse_with(str_c(text), JSON_STRICT, want, want_at);
}

static const char twice[] = "the key occurs twice in its object";

static void test_duplicate_keys_at_any_level(void **state)
{
	(void)state;
	refuse("{\"a\":1,\"a\":1}", twice, 7);
	refuse("{\"x\":[{\"y\":{\"a\":1,\"b\":2,\"a\":3}}]}", twice, 24);
	refuse("[{},{\"a\":1,\"b\":{\"a\":1},\"a\":1}]", twice, 23);
	refuse("{\"\":1,\"\":2}", twice, 6);
	json_free(parse("{\"a\":{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]}},"
	                "\"A\":2,\"aa\":3}"));
}

static void test_duplicate_key_hidden_by_escapes(void **state)
{
	(void)state;
	refuse("{\"tid\":1,\"\\u0074id\":2}", twice, 9);
	refuse("{\"\\u00e9\":1,\"\xc3\xa9\":2}", twice, 12);
	refuse("{\"a\\/b\":1,\"a/b\":2}", twice, 10);
	refuse("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", twice, 18);
}

/* A token of 16 kB can hold thousands of keys. */
static void test_many_keys(void **state)
{
	const char *error = NULL;
	struct json *j;
	struct buf b;
	size_t at, last;

	(void)state;
	buf_init(&b, 1 << 20);
	buf_fmt(&b, "{");
	for (int i = 0; i < 10000; i++)
		buf_fmt(&b, "\"k%d\":%d,", i, i);
	last = b.len;
	buf_fmt(&b, "\"k\":0}");
	j = json_parse(buf_str(&b), &error, &at);
	assert_int_equal(json_count(j), 10001);
	json_free(j);
	b.len = last;
	buf_fmt(&b, "\"k5000\":0}");
	assert_null(json_parse(buf_str(&b), &error, &at));
	assert_string_equal(error, twice);
	assert_int_equal(at, last);
	buf_done(&b);
}

static void test_nul_that_would_cut_a_name(void **state)
{
	(void)state;
	refuse("{\"model\":\"good\\u0000evil\"}",
	       "the character U+0000 is not accepted", 14);
	refuse("{\"a\\u0000b\":1}", "the character U+0000 is not accepted", 3);
	refuse_with(STR("[\"a\0b\"]"), JSON_STRICT,
	            "a control character in a string must be escaped", 3);
}

static void test_what_cjson_alone_accepts(void **state)
{
	(void)state;
	refuse("[01]", "expected a comma or the end of the array", 2);
	refuse("{} garbage", "something follows the document", 3);
	refuse("{}{}", "something follows the document", 2);
	refuse("[\"\xff\"]", "not valid UTF-8", 2);
	refuse("\xef\xbb\xbf{}", "a byte order mark is not accepted", 0);
	refuse("[1.]", "a digit is missing in a number", 3);
	refuse_with(STR("{}\0"), JSON_STRICT, "something follows the document",
	            2);
}

static void test_a_text_that_ends_too_early(void **state)
{
	static const char whole[] = "{\"a\":[1,true,\"x\"]}";

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++)
		refuse_with(str_of(whole, n), JSON_STRICT,
		            "the text ends too early", n);
	refuse_with(STR_NONE, JSON_STRICT, "the text ends too early", 0);
}

/* `n` brackets open and close. */
static void brackets(struct buf *b, int n)
{
	buf_clear(b);
	for (int i = 0; i < n; i++)
		buf_add(b, "[", 1);
	for (int i = 0; i < n; i++)
		buf_add(b, "]", 1);
}

static void test_depth(void **state)
{
	const char *error;
	struct json *j;
	struct buf b;
	size_t at;

	(void)state;
	buf_init(&b, 1024);
	brackets(&b, JSON_MAX_DEPTH);
	j = json_parse(buf_str(&b), &error, &at);
	assert_non_null(j);
	json_free(j);
	brackets(&b, JSON_MAX_DEPTH + 1);
	refuse_with(buf_str(&b), JSON_STRICT, "nested too deeply",
	            JSON_MAX_DEPTH);
	buf_done(&b);
}

/* cJSON of Debian 12 would read the first 63 bytes as the number. */
static void test_a_number_of_many_digits(void **state)
{
	const char digits[] = "[1111111111111111111111111111111111111111111"
			      "111111111111111111111]";
	char short_one[sizeof(digits) - 1];

	(void)state;
	refuse(digits, "the number has too many digits", 1);
	memcpy(short_one, digits, sizeof(short_one));
	short_one[sizeof(short_one) - 2] = ']';
	short_one[sizeof(short_one) - 1] = '\0';
	assert_int_equal(strlen(short_one), 1 + 63 + 1);
	json_free(parse(short_one));
}

static void test_accessors_never_convert(void **state)
{
	struct json *j = parse("{\"s\":\"1\",\"n\":1,\"b\":true,\"z\":null,"
	                       "\"a\":[],\"o\":{}}");
	static const char *const names[] = {"s", "n", "b",     "z",
	                                    "a", "o", "absent"};
	static const enum json_type types[] = {
		JSON_STRING, JSON_NUMBER, JSON_BOOL, JSON_NULL,
		JSON_ARRAY,  JSON_OBJECT, JSON_NONE,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct json *v = json_get(j, names[i]);
		struct str s = STR("before");
		int64_t n = -7;
		double d = -7;
		bool b = true;

		assert_int_equal(json_type(v), types[i]);
		assert_int_equal(json_str(v, &s), types[i] == JSON_STRING);
		assert_int_equal(json_int(v, &n), types[i] == JSON_NUMBER);
		assert_int_equal(json_number(v, &d), types[i] == JSON_NUMBER);
		assert_int_equal(json_bool(v, &b), types[i] == JSON_BOOL);
		if (types[i] != JSON_STRING)
			assert_true(str_eq(s, STR("before")));
		if (types[i] != JSON_NUMBER)
			assert_true(n == -7 && d == -7.0);
		assert_int_equal(json_count(v), 0);
		assert_null(json_first(v));
		assert_null(json_get(v, "s"));
	}
	json_free(j);
	json_free(NULL);
}

static void test_names_are_case_sensitive(void **state)
{
	struct json *j = parse("{\"Model\":1,\"model\":2}");
	int64_t n = 0;

	(void)state;
	assert_true(json_int(json_get(j, "model"), &n));
	assert_int_equal(n, 2);
	assert_null(json_get(j, "MODEL"));
	json_free(j);
}

static void test_integers(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t value;
	} cases[] = {
		{"0", true, 0},
		{"-0", true, 0},
		{"42", true, 42},
		{"-42", true, -42},
		{"1e3", true, 1000},
		{"9007199254740991", true, 9007199254740991},
		{"-9007199254740991", true, -9007199254740991},
		{"9007199254740992", false, 0},
		{"9007199254740993", false, 0},
		{"-9007199254740992", false, 0},
		{"1.5", false, 0},
		{"1e-1", false, 0},
		{"1e400", false, 0},
		{"1e300", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json *j = parse(cases[i].text);
		int64_t n = 5;

		assert_int_equal(json_int(j, &n), cases[i].ok);
		assert_true(n == (cases[i].ok ? cases[i].value : 5));
		json_free(j);
	}
}

static void test_a_number_is_finite(void **state)
{
	struct json *j = parse("[1e400,-1e400,0.25]");
	const struct json *v = json_first(j);
	double d = 3;

	(void)state;
	assert_false(json_number(v, &d));
	v = json_next(v);
	assert_false(json_number(v, &d));
	assert_true(d == 3.0);
	assert_true(json_number(json_next(v), &d));
	assert_true(d == 0.25);
	json_free(j);
}

static void test_each_keeps_the_order(void **state)
{
	struct json *j = parse("{\"z\":1,\"\\u0061\":[5,6],\"m\":3}");
	const struct json *v;
	struct buf seen;

	(void)state;
	buf_init(&seen, 64);
	json_each (j, v)
		buf_add_str(&seen, json_key(v));
	assert_true(str_eq(buf_str(&seen), STR("zam")));
	buf_done(&seen);
	assert_int_equal(json_count(j), 3);
	assert_int_equal(json_count(json_get(j, "a")), 2);
	assert_int_equal(json_key(json_first(json_get(j, "a"))).len, 0);
	assert_int_equal(json_key(NULL).len, 0);
	assert_null(json_next(NULL));
	json_free(j);
}

static void test_strings_are_unescaped(void **state)
{
	struct json *j = parse("[\"\\u00e9\\n\\ud83d\\ude00\",\"\"]");
	struct str s;

	(void)state;
	assert_true(json_str(json_first(j), &s));
	assert_true(str_eq(s, STR("\xc3\xa9\n\xf0\x9f\x98\x80")));
	assert_true(json_str(json_next(json_first(j)), &s));
	assert_int_equal(s.len, 0);
	json_free(j);
}

static void test_comments(void **state)
{
	static const char text[] = "// first\r\n"
				   "{ /* a \xff \" */ \"url\": "
				   "\"http://x/*no*/\\\"//\", // \"x\n"
				   "  /**/\"n\"/***/:/* / * */1}// end";
	const char *error = NULL;
	struct json *j;
	struct str s;
	int64_t n;
	size_t at;

	(void)state;
	j = json_parse_with(str_c(text), JSON_COMMENTS, &error, &at);
	if (!j)
		fail_msg("%s at %zu", error, at);
	assert_int_equal(json_count(j), 2);
	assert_true(json_str(json_get(j, "url"), &s));
	assert_true(str_eq(s, STR("http://x/*no*/\"//")));
	assert_true(json_int(json_get(j, "n"), &n));
	assert_int_equal(n, 1);
	json_free(j);
}

static void test_comments_are_an_option(void **state)
{
	(void)state;
	refuse("// x\n{}", "not a JSON value", 0);
	refuse("{} /* x */", "something follows the document", 3);
}

static void test_comments_and_nothing_else(void **state)
{
	static const char open[] = "the comment is not closed";

	(void)state;
	refuse_with(STR("[1,/* x */]"), JSON_COMMENTS, "not a JSON value", 10);
	refuse_with(STR("[1 / 2]"), JSON_COMMENTS,
	            "expected a comma or the end of the array", 3);
	refuse_with(STR("# x\n1"), JSON_COMMENTS, "not a JSON value", 0);
	refuse_with(STR("{a:1}"), JSON_COMMENTS,
	            "expected a key in double quotes", 1);
	refuse_with(STR("[1] /* x"), JSON_COMMENTS, open, 4);
	refuse_with(STR("[1] /*/"), JSON_COMMENTS, open, 4);
	refuse_with(STR("[1] /"), JSON_COMMENTS,
	            "something follows the document", 4);
	refuse_with(STR("// x\n{\"a\":1,\n\"a\":2}"), JSON_COMMENTS, twice, 13);
	refuse_with(STR("[\"a\\"), JSON_COMMENTS, "the text ends too early", 4);
	/* a comment separates: this is not 12 */
	refuse_with(STR("[1/**/2]"), JSON_COMMENTS,
	            "expected a comma or the end of the array", 6);
}

static void test_place(void **state)
{
	static const struct {
		size_t at;
		unsigned line, column;
	} cases[] = {
		{0, 1, 1}, {2, 1, 3}, {3, 2, 1},
		{4, 2, 2}, {6, 2, 3}, {99, 3, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned line = 0, column = 0;

		json_place(STR("ab\nc\xc3\xa9\nd"), cases[i].at, &line,
		           &column);
		assert_int_equal(line, cases[i].line);
		assert_int_equal(column, cases[i].column);
	}
}

static void test_type_names(void **state)
{
	(void)state;
	assert_string_equal(json_type_name(json_type(NULL)), "nothing");
	assert_string_equal(json_type_name(JSON_NULL), "null");
	assert_string_equal(json_type_name(JSON_OBJECT), "an object");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_duplicate_keys_at_any_level),
		cmocka_unit_test(test_duplicate_key_hidden_by_escapes),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_nul_that_would_cut_a_name),
		cmocka_unit_test(test_what_cjson_alone_accepts),
		cmocka_unit_test(test_a_text_that_ends_too_early),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_a_number_of_many_digits),
		cmocka_unit_test(test_accessors_never_convert),
		cmocka_unit_test(test_names_are_case_sensitive),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_a_number_is_finite),
		cmocka_unit_test(test_each_keeps_the_order),
		cmocka_unit_test(test_strings_are_unescaped),
		cmocka_unit_test(test_comments),
		cmocka_unit_test(test_comments_are_an_option),
		cmocka_unit_test(test_comments_and_nothing_else),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_type_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
