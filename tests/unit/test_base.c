/* base/: strings, arenas, buffers, maps, log fields. */
#include "test.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fold.h"
#include "base/log.h"
#include "base/map.h"
#include "base/usd.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void str_parts(void **state)
{
	(void)state;
	assert_true(str_starts(STR("abc"), STR("ab")));
	assert_false(str_starts(STR("a"), STR("ab")));
	assert_true(str_ends(STR("abc"), STR("bc")));
	assert_false(str_ends(STR("c"), STR("bc")));
	assert_true(str_eq_nocase(STR("AbC1"), STR("aBc1")));
	assert_false(str_eq_nocase(STR("[x"), STR("{x")));
	assert_true(str_eq(str_trim(STR(" \t a b\r\n")), STR("a b")));
	assert_true(str_eq(str_from(STR("abc"), 9), STR("")));
	assert_int_equal(str_find(STR("abc"), 'z'), 3);
}

static void str_words(void **state)
{
	(void)state;
	assert_true(str_has_word(STR("a bb c"), ' ', STR("bb")));
	assert_true(str_has_word(STR("  bb"), ' ', STR("bb")));
	assert_false(str_has_word(STR("a bbc"), ' ', STR("bb")));
	assert_false(str_has_word(STR("a  b"), ' ', STR("")));
	assert_false(str_has_word(STR(""), ' ', STR("a")));
}

static void str_numbers(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_true(str_to_u64(STR("18446744073709551615"), &v));
	assert_true(v == UINT64_MAX);
	v = 7;
	assert_false(str_to_u64(STR("18446744073709551616"), &v));
	assert_false(str_to_u64(STR("99999999999999999999"), &v));
	assert_false(str_to_u64(STR(""), &v));
	assert_false(str_to_u64(STR("-1"), &v));
	assert_false(str_to_u64(STR("1 "), &v));
	assert_int_equal(v, 7);
}

static void str_classes(void **state)
{
	char lower[4];

	(void)state;
	assert_true(str_has_only(STR("azAZ09-_"), "_-"));
	assert_true(str_has_only(STR_NONE, ""));
	assert_false(str_has_only(STR("a.b"), "_-"));
	assert_false(str_has_only(STR("a\0b"), "_-"));
	assert_false(str_has_only(STR("a\x80"), "_-"));
	for (const char *p = "@[`{/:"; *p; p++) /* beside the ranges */
		assert_false(str_has_only(str_of(p, 1), ""));
	assert_true(str_is_one_line(STR("a b\xc3\xa4~")));
	assert_false(str_is_one_line(STR("a\nb")));
	assert_false(str_is_one_line(STR("a\0b")));
	assert_false(str_is_one_line(STR("\x7f")));
	str_copy_lower(lower, STR("A[z\xc4"));
	assert_memory_equal(lower, "a[z\xc4", 4);
}

static void str_globs(void **state)
{
	(void)state;
	assert_true(str_glob(STR("gpt-*"), STR("gpt-4o")));
	assert_true(str_glob(STR("gpt-*"), STR("gpt-")));
	assert_true(str_glob(STR("*"), STR("")));
	assert_true(str_glob(STR("*-mini"), STR("gpt-4o-mini")));
	assert_true(str_glob(STR("g*i"), STR("gi")));
	assert_false(str_glob(STR("ab*ba"), STR("aba")));
	assert_false(str_glob(STR("gpt-4"), STR("gpt-4o")));
}

static void str_hex_and_guid(void **state)
{
	uint8_t b[3];
	char hex[7];

	(void)state;
	assert_true(str_unhex(STR("00fFa9"), b, 3));
	str_hex(b, 3, hex);
	assert_string_equal(hex, "00ffa9");
	assert_false(str_unhex(STR("00ff"), b, 3));
	assert_false(str_unhex(STR("00ffag"), b, 3));
	assert_true(str_is_guid(STR("11111111-aAaA-1111-1111-111111111111")));
	assert_false(str_is_guid(STR("11111111-1111-1111-1111-11111111111g")));
	assert_false(str_is_guid(STR("1111111101111-1111-1111-111111111111")));
	assert_false(str_is_guid(STR("")));
}

static void secrets_compare_by_content(void **state)
{
	(void)state;
	assert_true(str_eq_secret(STR("abc"), STR("abc")));
	assert_false(str_eq_secret(STR("abc"), STR("abd")));
	assert_false(str_eq_secret(STR("abc"), STR("ab")));
}

static void utf8_edges(void **state)
{
	(void)state;
	assert_int_equal(utf8_len(STR("\xc3\xa9")), 2);
	assert_int_equal(utf8_len(STR("\xe2\x82\xac")), 3);
	assert_int_equal(utf8_len(STR("\xf0\x9f\x98\x80")), 4);
	assert_int_equal(utf8_len(STR("\xc0\x80")), 0);     /* overlong */
	assert_int_equal(utf8_len(STR("\xe0\x9f\x80")), 0); /* overlong */
	assert_int_equal(utf8_len(STR("\xf0\x80\x80\x80")), 0);
	assert_int_equal(utf8_len(STR("\xed\xa0\x80")), 0); /* surrogate */
	assert_int_equal(utf8_len(STR("\xf4\x90\x80\x80")), 0);
	assert_int_equal(utf8_len(STR("\xe2\x82")), 0); /* cut */
	assert_int_equal(utf8_len(STR("\x80")), 0);
}

static void names_are_folded_as_by_the_most_liberal_reader(void **state)
{
	static const struct {
		const char *name, *text;
		bool same;
	} cases[] = {
		{"max_tokens", "max_tokens", true},
		{"max_tokens", "MAX_Tokens", true},
		{"max_tokens",
	         "max_to\xe2\x84\xaa"
	         "ens",
	         true},
		{"max_tokens", "max_token\xc5\xbf", true},
		{"max_tokens", "max_token", false},
		{"max_tokens", "max_tokenss", false},
		{"max_tokens", "maxtokens", false},
		{"max_tokens", "", false},
		{"", "", true},
		{"", "a", false},
		{"", "\xc5\xbf", false},
		{"id",
	         "\xc4\xb0"
	         "d",
	         true},
		{"id",
	         "\xc4\xb1"
	         "D",
	         true},
		{"id",
	         "i\xcc\x87"
	         "d",
	         true},
		{"id",
	         "i\xcc\x87\xcc\x87"
	         "d",
	         true},
		{"id",
	         "\xcc\x87"
	         "id",
	         false},
		{"id", "id\xcc\x87", false},
		{"session",
	         "se\xc3\x9f"
	         "ion",
	         true},
		{"session",
	         "SE\xe1\xba\x9e"
	         "ION",
	         true},
		{"session", "se\xc3\x9f", false},
		{"suffix", "su\xef\xac\x80ix", true},
		{"suffix", "su\xef\xac\x83x", true},
		{"file_id", "\xef\xac\x81le_id", true},
		{"file_id", "\xef\xac\x82le_id", false},
		{"baffle",
	         "ba\xef\xac\x84"
	         "e",
	         true},
		{"flag",
	         "\xef\xac\x82"
	         "ag",
	         true},
		{"store", "\xef\xac\x85ore", true},
		{"store", "\xef\xac\x86ore", true},
		{"model",
	         "m\xd0\xbe"
	         "del",
	         false},
		{"model",
	         "mod\xff"
	         "el",
	         false},
		{"model", "model\xe2\x84", false},
		{"model", "model\xe2\x80\x8d", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (fold_eq(str_c(cases[i].name), str_c(cases[i].text)) !=
		    cases[i].same)
			fail_msg("%s, case %zu", cases[i].name, i);
}

static void arena_overflow_is_sticky(void **state)
{
	char mem[64] __attribute__((aligned(16)));
	struct arena a;

	(void)state;
	arena_init(&a, mem, sizeof(mem));
	assert_true(str_eq(arena_fmt(&a, "%d-%s", 7, "x"), STR("7-x")));
	assert_true(str_eq(arena_str(&a, STR("abc")), STR("abc")));
	assert_null(arena_alloc(&a, 64));
	assert_true(a.overflow);
	assert_null(arena_alloc(&a, 1));
	assert_int_equal(arena_str(&a, STR("a")).len, 0);
}

static void arena_fmt_that_does_not_fit(void **state)
{
	char mem[32] __attribute__((aligned(16)));
	struct arena a;

	(void)state;
	arena_init(&a, mem, sizeof(mem));
	assert_int_equal(arena_fmt(&a, "%0100d", 1).len, 0);
	assert_true(a.overflow);
}

static void buf_stops_at_its_maximum(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_true(buf_add_str(&b, STR("12345678")));
	assert_false(buf_add_str(&b, STR("abc")));
	assert_true(b.failed);
	assert_false(buf_add_str(&b, STR("a")));
	assert_true(str_eq(buf_str(&b), STR("12345678")));
	buf_clear(&b);
	assert_true(buf_fmt(&b, "%d", 123456789));
	buf_consume(&b, 8);
	assert_true(str_eq(buf_str(&b), STR("9")));
	buf_done(&b);
}

static void buf_num_writes_as_printf(void **state)
{
	static const int64_t numbers[] = {
		0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN};
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 100);
	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		char want[24];

		snprintf(want, sizeof(want), "%" PRId64, numbers[i]);
		buf_clear(&b);
		assert_true(buf_num(&b, numbers[i]));
		assert_true(str_eq(buf_str(&b), str_c(want)));
	}
	buf_done(&b);
}

static void buf_json_escapes(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	buf_json(&b, STR("a\"\\\n\x01\x7f\xc3\xa9\xff"));
	assert_true(str_eq(buf_str(&b), STR("\"a\\\"\\\\\\n\\u0001\\u007f"
	                                    "\xc3\xa9\xef\xbf\xbd\"")));
	buf_done(&b);
}

static void map_keeps_and_forgets(void **state)
{
	static int values[1000];
	struct map_node *n;
	struct map m;
	char key[16];
	size_t i, seen = 0;

	(void)state;
	map_init(&m, 1000);
	assert_null(map_get(&m, STR("x")));
	for (i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "key-%zu", i);
		assert_true(map_put(&m, str_c(key), &values[i]));
	}
	assert_false(map_put(&m, STR("one more"), &values[0]));
	assert_true(map_put(&m, STR("key-5"), &values[6]));
	assert_ptr_equal(map_get(&m, STR("key-5")), &values[6]);
	assert_ptr_equal(map_get(&m, STR("key-999")), &values[999]);
	map_each (&m, n)
		seen++;
	assert_int_equal(seen, 1000);
	assert_ptr_equal(map_del(&m, STR("key-5")), &values[6]);
	assert_null(map_del(&m, STR("key-5")));
	assert_null(map_get(&m, STR("key-5")));
	assert_true(map_put(&m, STR("one more"), &values[0]));
	map_done(&m);
}

static void map_may_lose_the_node_it_stands_on(void **state)
{
	struct map_node *n;
	struct map m;
	char key[16];
	int i;

	(void)state;
	map_init(&m, 100);
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_true(map_put(&m, str_c(key), &m));
	}
	map_each (&m, n)
		map_del(&m, map_key(n));
	assert_int_equal(m.n, 0);
	map_done(&m);
}

static void log_fields_cannot_be_forged(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	log_field(&b, "model", STR("gpt-4o"));
	log_field(&b, "none", STR(""));
	log_field(&b, "app", STR("x verdict=allow\ninfo"));
	log_field_num(&b, "n", -3);
	assert_true(str_eq(buf_str(&b),
	                   STR("model=gpt-4o "
	                       "app=\"x verdict=allow\\ninfo\" n=-3")));
	buf_done(&b);
}

static void times_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{"1970", 0},
		{"2026-11", 1793491200000},
		{"2026-11-22", 1795305600000},
		{"2026-11-22Z", 1795305600000},
		{"2026-11-22T14", 1795356000000},
		{"2026-11-22T14:03:05Z", 1795356185000},
		{"2026-11-22T14:03:05.123Z", 1795356185123},
		{"2028-02-29", 1835395200000},
	};
	static const char *const bad[] = {
		"",
		"Z",
		"26",
		"2026-",
		"2026-1",
		"2026-13",
		"2026-00",
		"2026-06-31",
		"2027-02-29",
		"2026-11-2x",
		"2026-11-22 1",
		"2026-11-22T24",
		"2026-11-22T14:03:05.1234",
		"2026-11-22T14:03:05+01:00",
	};
	int64_t ms;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_true(clock_read(str_c(good[i].text), &ms));
		assert_true(ms == good[i].ms);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (clock_read(str_c(bad[i]), &ms))
			fail_msg("took \"%s\"", bad[i]);
}

static void dollars_are_exact(void **state)
{
	static const struct {
		const char *text;
		uint64_t pico;
	} good[] = {
		{"0", 0},
		{"1.00", 1000000000000},
		{"0.000000000001", 1},
		{"1e-12", 1},
		{"2.5E-06", 2500000},
		{"999999.999999999999", 999999999999999999},
		{"1000000", USD_PICO_MAX},
	};
	static const char *const bad[] = {
		"",
		"-1",
		"+1",
		"1.",
		".5",
		"1.2.3",
		"1,5",
		" 1",
		"1 ",
		"1e-13",
		"1000001",
		"1e400",
		"1e7",
		"$1",
		"0x1",
		"1000000.000000000001",
		"99999999999999999999",
	};
	struct buf out;
	uint64_t v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_true(usd_read(str_c(good[i].text), &v));
		assert_true(v == good[i].pico);
	}
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		v = 77;
		if (usd_read(str_c(bad[i]), &v))
			fail_msg("took \"%s\"", bad[i]);
		assert_int_equal(v, 77);
	}
	buf_init(&out, 64);
	usd_write(&out, (unsigned __int128)72000 * 1000000000000 + 1);
	assert_true(str_eq(buf_str(&out), STR("72000.000000000001")));
	buf_done(&out);
}

static void count_call(void *n)
{
	++*(int *)n;
}

/* What has been written to the pipe so far. */
static size_t lines_in(int fd)
{
	char text[16384];
	ssize_t n = read(fd, text, sizeof(text));
	size_t lines = 0;

	for (ssize_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	return lines;
}

static void log_lines_wait_for_each_other(void **state)
{
	int begun = 0, ends[2], was = dup(STDERR_FILENO);
	size_t in_time, at_once, at_end, i;

	(void)state;
	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	log_collect(count_call, &begun);
	log_info("a", "n=1");
	log_info("a", "n=2");
	in_time = lines_in(ends[0]);
	log_warn("a", "n=3");
	at_once = lines_in(ends[0]);
	for (i = 0; i < 100; i++)
		log_info("a", "msg=\"%064d\"", 0);
	assert_true(begun > 1);
	log_collect(NULL, NULL);
	at_end = lines_in(ends[0]);
	log_info("a", "n=4");
	at_end += lines_in(ends[0]);
	dup2(was, STDERR_FILENO);
	close(was);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(in_time, 0);
	assert_int_equal(at_once, 3);
	assert_int_equal(at_end, 101);
}

static void iso8601(void **state)
{
	char text[25];

	(void)state;
	clock_iso8601(1700000000123, text);
	assert_string_equal(text, "2023-11-14T22:13:20.123Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(str_parts),
		cmocka_unit_test(str_words),
		cmocka_unit_test(str_numbers),
		cmocka_unit_test(str_classes),
		cmocka_unit_test(str_globs),
		cmocka_unit_test(str_hex_and_guid),
		cmocka_unit_test(secrets_compare_by_content),
		cmocka_unit_test(utf8_edges),
		cmocka_unit_test(
			names_are_folded_as_by_the_most_liberal_reader),
		cmocka_unit_test(arena_overflow_is_sticky),
		cmocka_unit_test(arena_fmt_that_does_not_fit),
		cmocka_unit_test(buf_stops_at_its_maximum),
		cmocka_unit_test(buf_num_writes_as_printf),
		cmocka_unit_test(buf_json_escapes),
		cmocka_unit_test(map_keeps_and_forgets),
		cmocka_unit_test(map_may_lose_the_node_it_stands_on),
		cmocka_unit_test(log_fields_cannot_be_forged),
		cmocka_unit_test(log_lines_wait_for_each_other),
		cmocka_unit_test(iso8601),
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(dollars_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
