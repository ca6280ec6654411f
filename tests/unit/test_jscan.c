/* base/jscan: what is JSON, what is not, and what is not finished yet. */
#include "test.h"

#include "base/buf.h"
#include "base/jscan.h"

#include <stdlib.h>

/* The same code once more as it is on machines without SSE2. */
void portable_init(struct jscan *s, struct str text, unsigned max_depth);
enum jscan_token portable_next(struct jscan *s);
size_t portable_pos(const struct jscan *s);
size_t portable_unescape(struct str raw, char *out);
struct str portable_str(const struct jscan *s, struct arena *arena);
int portable_compare(struct str raw_a, struct str raw_b);
bool portable_to_u53(struct str number, uint64_t *out);

#undef __SSE2__
#define jscan_init     portable_init
#define jscan_next     portable_next
#define jscan_pos      portable_pos
#define jscan_unescape portable_unescape
#define jscan_str      portable_str
#define jscan_compare  portable_compare
#define jscan_to_u53   portable_to_u53
#include "base/jscan.c"
#undef jscan_init
#undef jscan_next
#undef jscan_unescape
#undef jscan_str
#undef jscan_pos
#undef jscan_compare
#undef jscan_to_u53

/* To the end; *s tells where it was. */
static enum jscan_token drain(struct jscan *s, struct str text)
{
	enum jscan_token t;

	jscan_init(s, text, JSCAN_MAX_DEPTH);
	do
		t = jscan_next(s);
	while (t > JSCAN_BAD);
	return t;
}

/* In memory of exactly its size, so that a sanitizer sees reads beyond. */
static enum jscan_token verdict(struct str text, struct jscan *s)
{
	char *exact = malloc(text.len ? text.len : 1);
	enum jscan_token t;

	assert_non_null(exact);
	if (text.len)
		memcpy(exact, text.p, text.len);
	t = drain(s, str_of(exact, text.len));
	free(exact);
	return t;
}

/* Enough of everything the grammar has. */
static const char *const good[] = {
	"{}",
	"[]",
	" {\"a\":1} ",
	"\t\r\n[1 , 2]",
	"\"\"",
	"null",
	"true",
	"false",
	"[0,-0,1.5,-1.25e+10,1E5,1e-5,10,0.0]",
	"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00\"]",
	"{\"a\":{\"b\":[{\"c\":[[[]]]}]},\"\":\"\"}",
	"[\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf "
	"\xee\x80\x80\"]",
	"{\"long key that is more than sixteen bytes\":"
	"\"long value \\u00e9 that is more than sixteen bytes \xc3\xa9\"}",
	"[\"\x7f\"]",
	"{\"a\":1,\"a\":2}",
};

static const char *const bad_ones[] = {
	"\xef\xbb\xbf{}",
	"{}x",
	"{}{}",
	"[] []",
	"[1,]",
	"[,1]",
	"[1,,2]",
	"[1 2]",
	"{\"a\":1,}",
	"{,}",
	"{\"a\"}",
	"{\"a\",1}",
	"{\"a\"::1}",
	"{1:1}",
	"{a:1}",
	"{'a':1}",
	"[1}",
	"{\"a\":1]",
	"]",
	"}",
	",",
	":",
	"01",
	"-01",
	"+1",
	".5",
	"-.5",
	"[1.]",
	"[1.e5]",
	"[1e]",
	"[1e+]",
	"[-]",
	"[0x10]",
	"[1_000]",
	"NaN",
	"[Infinity]",
	"[-Infinity]",
	"nul1",
	"True",
	"[truex]",
	"[\"\t\"]",
	"[\"\n\"]",
	"[\"\x01\"]",
	"[\"\\x41\"]",
	"[\"\\'\"]",
	"[\"\\u12g4\"]",
	"[\"\\u\"]",
	"[\"\\U0041\"]",
	"[\"\\u0000\"]",
	"[\"\\ud800\"]",
	"[\"\\udc00\"]",
	"[\"\\ud800\\u0041\"]",
	"[\"\\ud800x\"]",
	"[\"\\ud800\\n\"]",
	"[\"\\ud800\\ud800\"]",
	"[\"\\udc00\\ud800\"]",
	"[\"\x80\"]",
	"[\"\xc0\x80\"]",
	"[\"\xc1\xbf\"]",
	"[\"\xe0\x80\x80\"]",
	"[\"\xed\xa0\x80\"]",
	"[\"\xf0\x80\x80\x80\"]",
	"[\"\xf4\x90\x80\x80\"]",
	"[\"\xf5\x80\x80\x80\"]",
	"[\"\xff\"]",
	"[\"\xe2\x82\"]",
	"[\"\xc3\"]",
	"[\xc3\xa9]",
	"[1\v]",
	"[1\f]",
	"[1\xc2\xa0]",
	"// c\n1",
	"/* c */1",
	"[1]//",
	"#",
	"\x1e{}",
};

static void test_accepts_json(void **state)
{
	struct jscan s;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (verdict(str_c(good[i]), &s) != JSCAN_END)
			fail_msg("refused %s: %s at %zu", good[i], s.error,
			         s.error_at);
}

static void test_refuses_what_is_not_json(void **state)
{
	struct jscan s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_ones) / sizeof(bad_ones[0]); i++) {
		if (verdict(str_c(bad_ones[i]), &s) != JSCAN_BAD)
			fail_msg("accepted %s", bad_ones[i]);
		assert_non_null(s.error);
		assert_true(s.error_at < strlen(bad_ones[i]));
		assert_int_equal(jscan_next(&s), JSCAN_BAD);
	}
}

/* NUL bytes cannot stand in the tables above. */
static void test_refuses_nul_bytes(void **state)
{
	struct jscan s;

	(void)state;
	assert_int_equal(verdict(STR("{\"a\":\"b\0c\"}"), &s), JSCAN_BAD);
	assert_int_equal(verdict(STR("{}\0"), &s), JSCAN_BAD);
	assert_int_equal(verdict(STR("\0"), &s), JSCAN_BAD);
}

static void test_every_prefix_is_partial(void **state)
{
	struct jscan s;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct str doc = str_trim(str_c(good[i]));

		for (size_t n = 0; n < doc.len; n++)
			if (verdict(str_first(doc, n), &s) != JSCAN_PARTIAL)
				fail_msg("%zu bytes of %s: %s", n, good[i],
				         s.error);
	}
}

static void test_a_number_at_the_root_ends_with_the_bytes(void **state)
{
	struct jscan s;

	(void)state;
	assert_int_equal(verdict(STR("12"), &s), JSCAN_END);
	assert_int_equal(verdict(STR("-"), &s), JSCAN_PARTIAL);
	assert_int_equal(verdict(STR("1."), &s), JSCAN_PARTIAL);
	assert_int_equal(verdict(STR("[12"), &s), JSCAN_PARTIAL);
}

/* The end of the bytes does not excuse what stood before. */
static void test_cut_inside_what_is_bad_already(void **state)
{
	static const char *const cut[] = {
		"[\"\\u00g",   "[\"\\q",   "[\"\xe0\x80", "[\"\xf4\x90",
		"[\"\xed\xa0", "[\"\xc3z", "[\"\\ud800x", "[\"\\ud800\\n",
		"trux",        "[1.x",
	};
	struct jscan s;

	(void)state;
	for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++)
		if (verdict(str_c(cut[i]), &s) != JSCAN_BAD)
			fail_msg("not bad: %s", cut[i]);
}

static void test_partial_shows_the_unfinished_string(void **state)
{
	struct jscan s;

	(void)state;
	assert_int_equal(drain(&s, STR("{\"k\":\"abc\\nde\\u00")),
	                 JSCAN_PARTIAL);
	assert_true(str_eq(s.text, STR("abc\\nde")));
	assert_int_equal(s.decoded_len, 6);
	assert_int_equal(drain(&s, STR("{\"half a ke")), JSCAN_PARTIAL);
	assert_int_equal(s.text.len, 0);
	assert_int_equal(drain(&s, STR("{\"key\"")), JSCAN_PARTIAL);
	assert_int_equal(s.text.len, 0);
}

static void test_depth_bombs(void **state)
{
	static char bomb[100000];
	struct jscan s;

	(void)state;
	memset(bomb, '[', sizeof(bomb));
	assert_int_equal(verdict(str_of(bomb, sizeof(bomb)), &s), JSCAN_BAD);
	assert_int_equal(s.error_at, JSCAN_MAX_DEPTH);
	assert_int_equal(verdict(str_of(bomb, JSCAN_MAX_DEPTH), &s),
	                 JSCAN_PARTIAL);
	memset(bomb + JSCAN_MAX_DEPTH, ']', JSCAN_MAX_DEPTH);
	assert_int_equal(verdict(str_of(bomb, JSCAN_MAX_DEPTH * 2), &s),
	                 JSCAN_END);
	for (size_t i = 0; i + 5 < sizeof(bomb); i += 5)
		memcpy(bomb + i, "{\"a\":", 5);
	assert_int_equal(verdict(str_of(bomb, sizeof(bomb)), &s), JSCAN_BAD);
	jscan_init(&s, STR("[[1]]"), 1);
	assert_int_equal(jscan_next(&s), JSCAN_ARRAY);
	assert_int_equal(jscan_next(&s), JSCAN_BAD);
}

/* Objects and arrays deeper than one word of the nesting bits. */
static void test_nesting_is_remembered_at_every_depth(void **state)
{
	struct jscan s;
	struct buf b;
	char *text;
	size_t n;

	(void)state;
	buf_init(&b, 4096);
	for (int i = 0; i < JSCAN_MAX_DEPTH; i++)
		buf_fmt(&b, "%s", i % 3 ? "[" : "{\"k\":");
	buf_fmt(&b, "1");
	for (int i = JSCAN_MAX_DEPTH - 1; i >= 0; i--)
		buf_fmt(&b, "%s", i % 3 ? "]" : "}");
	text = b.p;
	n = b.len;
	assert_int_equal(verdict(str_of(text, n), &s), JSCAN_END);
	for (int i = 1; i <= JSCAN_MAX_DEPTH; i++) {
		char *at = &text[n - (size_t)i], was = *at;

		*at = was == ']' ? '}' : ']';
		assert_int_equal(verdict(str_of(text, n), &s), JSCAN_BAD);
		*at = was;
	}
	buf_done(&b);
}

static void test_tokens_in_order(void **state)
{
	static const enum jscan_token want[] = {
		JSCAN_OBJECT,     JSCAN_KEY,   JSCAN_ARRAY,  JSCAN_NUMBER,
		JSCAN_TRUE,       JSCAN_FALSE, JSCAN_NULL,   JSCAN_STRING,
		JSCAN_ARRAY_END,  JSCAN_KEY,   JSCAN_OBJECT, JSCAN_OBJECT_END,
		JSCAN_OBJECT_END, JSCAN_END,   JSCAN_END,
	};
	struct jscan s;

	(void)state;
	jscan_init(&s, STR("{\"a\":[-1.5e3,true,false,null,\"x\"],\"b\":{}}"),
	           8);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_int_equal(jscan_next(&s), want[i]);
		if (want[i] == JSCAN_NUMBER)
			assert_true(str_eq(s.text, STR("-1.5e3")));
		if (i == 9) {
			assert_true(str_eq(s.text, STR("b")));
			assert_int_equal(s.at, 34);
			assert_int_equal(s.depth, 1);
		}
	}
}

static void test_unescape(void **state)
{
	struct str raw = STR("\\\"\\\\\\/\\b\\f\\n\\r\\t"
	                     "\\u0041\\u00e9\\u20AC\\uD83d\\uDe00z");
	char out[64], mem[256] __attribute__((aligned(16)));
	struct arena a;
	struct jscan s;
	struct buf doc;
	size_t n;

	(void)state;
	n = jscan_unescape(raw, out);
	assert_true(str_eq(str_of(out, n),
	                   STR("\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac"
	                       "\xf0\x9f\x98\x80z")));
	buf_init(&doc, 256);
	buf_fmt(&doc, "\"%" STR_FMT "\"", STR_ARG(raw));
	arena_init(&a, mem, sizeof(mem));
	jscan_init(&s, buf_str(&doc), 1);
	assert_int_equal(jscan_next(&s), JSCAN_STRING);
	assert_int_equal(s.decoded_len, 19);
	assert_true(str_eq(jscan_str(&s, &a), str_of(out, 19)));
	buf_done(&doc);
}

static void test_str_without_escapes_is_a_view(void **state)
{
	struct str doc = STR("\"plain \xc3\xa9\"");
	struct arena none;
	struct jscan s;

	(void)state;
	arena_init(&none, NULL, 0);
	jscan_init(&s, doc, 1);
	jscan_next(&s);
	assert_ptr_equal(jscan_str(&s, &none).p, doc.p + 1);
	assert_false(none.overflow);
	jscan_init(&s, STR("\"\\n\""), 1);
	jscan_next(&s);
	assert_int_equal(jscan_str(&s, &none).len, 0);
	assert_true(none.overflow);
}

static void test_compare_sees_through_escapes(void **state)
{
	(void)state;
	assert_int_equal(jscan_compare(STR("model"), STR("\\u006dodel")), 0);
	assert_int_equal(jscan_compare(STR("\xc3\xa9"), STR("\\u00E9")), 0);
	assert_int_equal(jscan_compare(STR("\\/"), STR("/")), 0);
	assert_int_equal(jscan_compare(STR(""), STR("")), 0);
	assert_true(jscan_compare(STR("a"), STR("ab")) < 0);
	assert_true(jscan_compare(STR("\\u0062"), STR("a")) > 0);
	assert_true(jscan_compare(STR("z"), STR("\\u00e9")) < 0);
}

static void test_u53(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_true(jscan_to_u53(STR("0"), &v));
	assert_int_equal(v, 0);
	assert_true(jscan_to_u53(STR("9007199254740992"), &v));
	assert_true(v == 1ULL << 53);
	assert_false(jscan_to_u53(STR("9007199254740993"), &v));
	assert_false(jscan_to_u53(STR("-1"), &v));
	assert_false(jscan_to_u53(STR("-0"), &v));
	assert_false(jscan_to_u53(STR("1.0"), &v));
	assert_false(jscan_to_u53(STR("1e3"), &v));
	assert_false(jscan_to_u53(STR("99999999999999999999999"), &v));
	assert_true(v == 1ULL << 53);
}

/* A special byte at each place of a block, for both ways to skip. */
static void test_special_bytes_at_every_offset(void **state)
{
	static const struct {
		char c;
		enum jscan_token want;
	} cases[] = {
		{'"', JSCAN_BAD},  {'\x1f', JSCAN_BAD}, {'\x80', JSCAN_BAD},
		{'\\', JSCAN_BAD}, {'\xff', JSCAN_BAD}, {'\0', JSCAN_BAD},
		{' ', JSCAN_END},  {'!', JSCAN_END},    {'#', JSCAN_END},
		{'[', JSCAN_END},  {']', JSCAN_END},    {'\x7f', JSCAN_END},
	};
	char text[52];
	struct jscan s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t at = 1; at < sizeof(text) - 2; at++) {
			memset(text, 'q', sizeof(text));
			text[0] = text[sizeof(text) - 1] = '"';
			text[at] = cases[i].c;
			assert_int_equal(
				verdict(str_of(text, sizeof(text)), &s),
				cases[i].want);
		}
	}
}

/* Both ways give the same tokens for any bytes. */
static void test_portable_skipping_agrees(void **state)
{
	static const char alphabet[] =
		"aaaaaaaaaaaaaaaaaaaa\"\"\\\\nu0041{}[]:, \xc3\xa9\x80\x1f";
	unsigned seed = 1;
	char text[96];

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(text);
		struct jscan a, b;
		enum jscan_token t;

		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[(size_t)rand_r(&seed) %
			                   (sizeof(alphabet) - 1)];
		if (len > 1)
			text[0] = round % 2 ? '"' : '[';
		if (len > 1 && round % 2 == 0)
			text[1] = '"';
		jscan_init(&a, str_of(text, len), JSCAN_MAX_DEPTH);
		portable_init(&b, str_of(text, len), JSCAN_MAX_DEPTH);
		do {
			t = jscan_next(&a);
			assert_int_equal(portable_next(&b), t);
			assert_true(str_eq(a.text, b.text));
			assert_int_equal(a.decoded_len, b.decoded_len);
		} while (t > JSCAN_BAD);
		if (t == JSCAN_BAD)
			assert_int_equal(a.error_at, b.error_at);
	}
}

static void test_nothing_at_all(void **state)
{
	struct jscan s;

	(void)state;
	assert_int_equal(drain(&s, STR_NONE), JSCAN_PARTIAL);
	assert_int_equal(drain(&s, STR(" \n")), JSCAN_PARTIAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepts_json),
		cmocka_unit_test(test_refuses_what_is_not_json),
		cmocka_unit_test(test_refuses_nul_bytes),
		cmocka_unit_test(test_every_prefix_is_partial),
		cmocka_unit_test(test_a_number_at_the_root_ends_with_the_bytes),
		cmocka_unit_test(test_cut_inside_what_is_bad_already),
		cmocka_unit_test(test_partial_shows_the_unfinished_string),
		cmocka_unit_test(test_depth_bombs),
		cmocka_unit_test(test_nesting_is_remembered_at_every_depth),
		cmocka_unit_test(test_tokens_in_order),
		cmocka_unit_test(test_unescape),
		cmocka_unit_test(test_str_without_escapes_is_a_view),
		cmocka_unit_test(test_compare_sees_through_escapes),
		cmocka_unit_test(test_u53),
		cmocka_unit_test(test_special_bytes_at_every_offset),
		cmocka_unit_test(test_portable_skipping_agrees),
		cmocka_unit_test(test_nothing_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
