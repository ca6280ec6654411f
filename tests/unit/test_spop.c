/*
 * The SPOP codec below and above the frames: varints, values, NOTIFY and ACK.
 * What it writes it reads, what HAProxy sends it understands, and no bytes,
 * cut anywhere, get past its bounds.
 */
#include "spop_bytes.h"

#include "spop/ack.h"
#include "spop/notify.h"

/* --- varints ------------------------------------------------------------ */

static const struct {
	uint64_t value;
	struct str bytes;
} varints[] = {
	{0, STR_INIT("\x00")},
	{239, STR_INIT("\xef")},
	{240, STR_INIT("\xf0\x00")},
	{241, STR_INIT("\xf1\x00")},
	{255, STR_INIT("\xff\x00")},
	{256, STR_INIT("\xf0\x01")},
	{2287, STR_INIT("\xff\x7f")},
	{2288, STR_INIT("\xf0\x80\x00")},
	{264431, STR_INIT("\xff\xff\x7f")},
	{264432, STR_INIT("\xf0\x80\x80\x00")},
	{33818863, STR_INIT("\xff\xff\xff\x7f")},
	{33818864, STR_INIT("\xf0\x80\x80\x80\x00")},
	{UINT64_MAX, STR_INIT("\xff\xf0\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x0e")},
};

static void varint_borders(void **state)
{
	size_t i, n;

	(void)state;
	for (i = 0; i < N_OF(varints); i++) {
		struct str bytes = varints[i].bytes;
		struct cursor c = cursor_of(bytes);
		struct buf b;

		assert_int_equal(cursor_varint(&c), varints[i].value);
		assert_false(c.bad);
		assert_int_equal(cursor_left(&c), 0);

		buf_init(&b, 16);
		assert_true(value_write_varint(&b, varints[i].value));
		assert_int_equal(b.len, bytes.len);
		assert_memory_equal(b.p, bytes.p, b.len);
		buf_done(&b);

		for (n = 0; n < bytes.len; n++) {
			struct str cut = exact(bytes.p, n);

			c = cursor_of(cut);
			assert_int_equal(cursor_varint(&c), 0);
			assert_true(c.bad);
			drop(cut);
		}
	}
}

static void varint_round_trip_around_every_bit(void **state)
{
	unsigned bit;
	int off;

	(void)state;
	for (bit = 0; bit < 64; bit++)
		for (off = -241; off <= 241; off++) {
			uint64_t v = ((uint64_t)1 << bit) + (uint64_t)off;
			struct cursor c;
			struct buf b;

			buf_init(&b, 16);
			assert_true(value_write_varint(&b, v));
			c = cursor_of(buf_str(&b));
			assert_true(cursor_varint(&c) == v && !c.bad);
			assert_int_equal(cursor_left(&c), 0);
			buf_done(&b);
		}
}

static void attack_varint_over_64_bits(void **state)
{
	static const struct str all[] = {
		/* UINT64_MAX + 1 */
		STR_INIT("\xf0\xf1\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x0e"),
		STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x0f"),
		/* wraps to a small number if it is not watched */
		STR_INIT("\xf0\x80\x80\x80\x80\x80\x80\x80\x80\x10"),
		/* eleven bytes, all of them without weight */
		STR_INIT("\xf0\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
		STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
	};
	size_t i;

	(void)state;
	for (i = 0; i < N_OF(all); i++) {
		struct cursor c = cursor_of(all[i]);

		assert_int_equal(cursor_varint(&c), 0);
		assert_true(c.bad);
	}
}

static void attack_length_that_wraps_the_pointer(void **state)
{
	/* a string of UINT64_MAX - 9 bytes: end = p + len would wrap */
	static const struct str bytes =
		STR_INIT("\xf6\xf0\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x0e"
	                 "abc");
	struct cursor c = cursor_of(bytes);

	(void)state;
	assert_int_equal(cursor_string(&c).len, 0);
	assert_true(c.bad);
}

static void cursor_error_stays(void **state)
{
	struct cursor c = cursor_of(STR("ab"));

	(void)state;
	assert_int_equal(cursor_take(&c, 3).len, 0);
	assert_true(c.bad);
	assert_int_equal(cursor_left(&c), 0);
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_be32(&c), 0);
	assert_int_equal(cursor_take(&c, 0).len, 0);
	assert_true(c.bad);
}

/* --- values ------------------------------------------------------------- */

static void values_as_haproxy_sends_them(void **state)
{
	static const struct {
		struct str bytes;
		struct spop_value want;
	} all[] = {
		{STR_INIT("\x00"), {.type = SPOP_NULL}},
		{STR_INIT("\x01"), {.type = SPOP_BOOL}},
		{STR_INIT("\x11"), {.type = SPOP_BOOL, .boolean = true}},
		{STR_INIT("\x02\x05"), {.type = SPOP_INT32, .number = 5}},
		{STR_INIT("\x03\xf0\x01"),
	         {.type = SPOP_UINT32, .number = 256}},
		{STR_INIT("\x04\xff\xf0\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x0e"),
	         {.type = SPOP_INT64, .number = -1}},
		{STR_INIT("\x05\x07"), {.type = SPOP_UINT64, .number = 7}},
		{STR_INIT("\x06\x7f\0\0\x01"),
	         {.type = SPOP_IPV4, .bytes = STR_INIT("\x7f\0\0\x01")}},
		{STR_INIT("\x07"
	                  "0123456789abcdef"),
	         {.type = SPOP_IPV6, .bytes = STR_INIT("0123456789abcdef")}},
		{STR_INIT("\x08\x03"
	                  "1.5"),
	         {.type = SPOP_STR, .bytes = STR_INIT("1.5")}},
		{STR_INIT("\x09\x02\0\xff"),
	         {.type = SPOP_BIN, .bytes = STR_INIT("\0\xff")}},
		{STR_INIT("\x08\x00"), {.type = SPOP_STR}},
	};
	size_t i, n;

	(void)state;
	for (i = 0; i < N_OF(all); i++) {
		struct cursor c = cursor_of(all[i].bytes);
		struct spop_value v = value_read(&c);

		assert_false(c.bad);
		assert_int_equal(cursor_left(&c), 0);
		assert_int_equal(v.type, all[i].want.type);
		assert_int_equal(v.boolean, all[i].want.boolean);
		assert_true(v.number == all[i].want.number);
		assert_true(str_eq(v.bytes, all[i].want.bytes));
		for (n = 0; n < all[i].bytes.len; n++) {
			struct str cut = exact(all[i].bytes.p, n);

			c = cursor_of(cut);
			value_read(&c);
			assert_true(c.bad);
			drop(cut);
		}
	}
}

static void value_of_a_reserved_type(void **state)
{
	unsigned head;

	(void)state;
	for (head = 10; head < 256; head++) {
		char bytes[32] = {(char)head};
		struct cursor c = cursor_of(str_of(bytes, sizeof(bytes)));

		value_read(&c);
		assert_int_equal(c.bad, (head & 15) > SPOP_BIN);
	}
}

static void values_round_trip(void **state)
{
	static const int64_t numbers[] = {0,   1,         -1,       239,
	                                  240, INT64_MIN, INT64_MAX};
	struct cursor c;
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 4096);
	for (i = 0; i < N_OF(numbers); i++)
		assert_true(value_write_int64(&b, numbers[i]));
	assert_true(value_write_uint32(&b, UINT32_MAX));
	assert_true(value_write_bool(&b, true));
	assert_true(value_write_bool(&b, false));
	assert_true(value_write_str(&b, STR("a\0b")));
	assert_true(value_write_string(&b, STR("name")));
	c = cursor_of(buf_str(&b));
	for (i = 0; i < N_OF(numbers); i++)
		assert_true(value_read(&c).number == numbers[i]);
	assert_true(value_read(&c).number == UINT32_MAX);
	assert_true(value_read(&c).boolean);
	assert_false(value_read(&c).boolean);
	assert_true(str_eq(value_read(&c).bytes, STR("a\0b")));
	expect_str(cursor_string(&c), "name");
	assert_false(c.bad);
	assert_int_equal(cursor_left(&c), 0);
	buf_done(&b);
}

/* --- NOTIFY ------------------------------------------------------------- */

#define MESSAGE_ONE                                                            \
	"\x05"                                                                 \
	"m-req"                                                                \
	"\x03"                                                                 \
	"\x02"                                                                 \
	"id"                                                                   \
	"\x08\x02"                                                             \
	"ab"                                                                   \
	"\x04"                                                                 \
	"body"                                                                 \
	"\x09\x03"                                                             \
	"{\0}"                                                                 \
	"\x04"                                                                 \
	"none"                                                                 \
	"\x00"
#define MESSAGE_TWO                                                            \
	"\x05"                                                                 \
	"m-res"                                                                \
	"\x01"                                                                 \
	"\x00"                                                                 \
	"\x04\x05"

/* Reads all of it; the number of arguments, or -1 when it is malformed. */
static int walk(struct str payload, unsigned *n_messages)
{
	struct frame f = {.type = FRAME_NOTIFY, .payload = payload};
	struct cursor c = notify_begin(&f);
	struct notify_message m;
	struct notify_arg a;
	int n = 0;
	unsigned i;

	*n_messages = 0;
	while (notify_message(&c, &m)) {
		++*n_messages;
		for (i = 0; i < m.n_args && notify_arg(&c, &a); i++)
			n++;
	}
	return c.bad ? -1 : n;
}

static void notify_of_two_messages(void **state)
{
	struct frame f = {.type = FRAME_NOTIFY,
	                  .payload = STR_INIT(MESSAGE_ONE MESSAGE_TWO)};
	struct cursor c = notify_begin(&f);
	struct notify_message m;
	struct notify_arg a;

	(void)state;
	assert_true(notify_message(&c, &m));
	expect_str(m.name, "m-req");
	assert_int_equal(m.n_args, 3);
	assert_true(notify_arg(&c, &a));
	expect_str(a.name, "id");
	expect_str(a.value.bytes, "ab");
	assert_true(notify_arg(&c, &a));
	assert_int_equal(a.value.type, SPOP_BIN);
	assert_true(str_eq(a.value.bytes, STR("{\0}")));
	assert_true(notify_arg(&c, &a));
	assert_int_equal(a.value.type, SPOP_NULL);
	assert_true(notify_message(&c, &m));
	expect_str(m.name, "m-res");
	assert_int_equal(m.n_args, 1);
	/* without name= in the configuration the name is empty */
	assert_true(notify_arg(&c, &a));
	expect_str(a.name, "");
	assert_int_equal(a.value.number, 5);
	assert_false(notify_message(&c, &m));
	assert_false(c.bad);
}

static void notify_without_messages(void **state)
{
	unsigned n;

	(void)state;
	assert_int_equal(walk(STR_NONE, &n), 0);
	assert_int_equal(n, 0);
}

static void notify_cut_at_every_byte(void **state)
{
	static const struct str all = STR_INIT(MESSAGE_ONE MESSAGE_TWO);
	const size_t one = sizeof(MESSAGE_ONE) - 1;
	size_t n;
	unsigned m;

	(void)state;
	assert_int_equal(walk(all, &m), 4);
	for (n = 1; n < all.len; n++) {
		struct str cut = exact(all.p, n);

		assert_int_equal(walk(cut, &m), n == one ? 3 : -1);
		drop(cut);
	}
}

static void attack_more_arguments_than_bytes(void **state)
{
	unsigned n;

	(void)state;
	assert_int_equal(walk(STR("\x01"
	                          "m"
	                          "\xff"),
	                      &n),
	                 -1);
	assert_int_equal(walk(STR("\x01"
	                          "m"
	                          "\xff"
	                          "\x01"
	                          "a"
	                          "\x00"),
	                      &n),
	                 -1);
}

static void headers_as_hdrs_bin_sends_them(void **state)
{
	static const struct str all = STR_INIT("\x04"
	                                       "host"
	                                       "\x01"
	                                       "h"
	                                       "\x01"
	                                       "x"
	                                       "\x00"
	                                       "\0\0");
	struct cursor c = cursor_of(all);
	struct str name, value;
	size_t n;

	(void)state;
	assert_true(notify_header(&c, &name, &value));
	expect_str(name, "host");
	expect_str(value, "h");
	assert_true(notify_header(&c, &name, &value));
	expect_str(name, "x");
	expect_str(value, "");
	assert_false(notify_header(&c, &name, &value));
	assert_false(c.bad);
	assert_int_equal(cursor_left(&c), 0);
	/* whatever is cut off, the end is missed */
	for (n = 0; n < all.len; n++) {
		struct str cut = exact(all.p, n);

		c = cursor_of(cut);
		while (notify_header(&c, &name, &value))
			;
		assert_true(c.bad);
		drop(cut);
	}
	c = cursor_of(STR("\x00\x01"
	                  "v"
	                  "\0\0"));
	assert_false(notify_header(&c, &name, &value));
	assert_true(c.bad);
}

/* --- ACK ---------------------------------------------------------------- */

static void ack_bytes(void **state)
{
	static const struct str want = STR_INIT("\0\0\0\x2e"
	                                        "\x67\0\0\0\x01"
	                                        "\xf0\x01"
	                                        "\x02"
	                                        "\x01\x03\x02"
	                                        "\x07"
	                                        "verdict"
	                                        "\x08\x05"
	                                        "allow"
	                                        "\x01\x03\x02"
	                                        "\x06"
	                                        "status"
	                                        "\x04\xf8\x13"
	                                        "\x01\x03\x02"
	                                        "\x02"
	                                        "on"
	                                        "\x11");
	struct ack a;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	ack_begin(&a, &b, 256, 2, 800);
	ack_set_str(&a, "verdict", STR("allow"));
	ack_set_int(&a, "status", 552);
	ack_set_bool(&a, "on", true);
	assert_true(ack_end(&a));
	assert_int_equal(b.len, want.len);
	assert_memory_equal(b.p, want.p, want.len);
	buf_done(&b);
}

static void ack_is_never_empty(void **state)
{
	enum spop_code code;
	struct frame f;
	struct ack a;
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	ack_begin(&a, &b, 0, 0, 128);
	assert_true(ack_end(&a));
	assert_int_equal(parse(buf_str(&b), &f, &code), FRAME_OK);
	assert_true(str_eq(f.payload, STR("\x01\x03\x02\x02ok\x11")));
	buf_done(&b);
}

static void ack_over_its_limit_leaves_no_trace(void **state)
{
	char big[600] = {0};
	struct ack a;
	struct buf b;
	size_t limit, at, len;

	(void)state;
	buf_init(&b, 4096);
	/* how long is it? */
	ack_begin(&a, &b, 1, 1, 4096);
	ack_set_str(&a, "auth_value", str_of(big, sizeof(big)));
	ack_set_str(&a, "verdict", STR("allow"));
	assert_true(ack_end(&a));
	len = b.len;
	for (limit = 0; limit <= len; limit++) {
		at = b.len;
		ack_begin(&a, &b, 1, 1, limit);
		ack_set_str(&a, "auth_value", str_of(big, sizeof(big)));
		ack_set_str(&a, "verdict", STR("allow"));
		assert_int_equal(ack_end(&a), limit == len);
		assert_int_equal(b.len, limit == len ? at + len : at);
		assert_false(b.failed);
	}
	buf_done(&b);
}

static void ack_in_a_full_buffer_leaves_no_trace(void **state)
{
	struct ack a;
	struct buf b;
	size_t max;

	(void)state;
	for (max = 3; max < 40; max++) {
		buf_init(&b, max);
		buf_add_str(&b, STR("abc"));
		ack_begin(&a, &b, 1, 1, 800);
		ack_set_str(&a, "verdict", STR("0123456789"));
		ack_set_int(&a, "status", 1);
		assert_false(ack_end(&a));
		assert_false(b.failed);
		expect_str(buf_str(&b), "abc");
		buf_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(varint_borders),
		cmocka_unit_test(varint_round_trip_around_every_bit),
		cmocka_unit_test(attack_varint_over_64_bits),
		cmocka_unit_test(attack_length_that_wraps_the_pointer),
		cmocka_unit_test(cursor_error_stays),
		cmocka_unit_test(values_as_haproxy_sends_them),
		cmocka_unit_test(value_of_a_reserved_type),
		cmocka_unit_test(values_round_trip),
		cmocka_unit_test(notify_of_two_messages),
		cmocka_unit_test(notify_without_messages),
		cmocka_unit_test(notify_cut_at_every_byte),
		cmocka_unit_test(attack_more_arguments_than_bytes),
		cmocka_unit_test(headers_as_hdrs_bin_sends_them),
		cmocka_unit_test(ack_bytes),
		cmocka_unit_test(ack_is_never_empty),
		cmocka_unit_test(ack_over_its_limit_leaves_no_trace),
		cmocka_unit_test(ack_in_a_full_buffer_leaves_no_trace),
	};

	return cmocka_run_group_tests_name("spop", tests, NULL, NULL);
}
