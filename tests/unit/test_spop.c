/*
 * The SPOP codec: what it writes it reads, what HAProxy sends it understands,
 * and no byte sequence, cut anywhere, gets past its bounds.
 */
#include "test.h"

#include "spop/ack.h"
#include "spop/notify.h"

#include <stdlib.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

/* A heap copy of exactly the right size, so that the sanitizer sees a read
 * one byte too far. */
static struct str exact(const void *p, size_t len)
{
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	if (len)
		memcpy(copy, p, len);
	return str_of(copy, len);
}

static void drop(struct str s)
{
	char *p;

	memcpy(&p, &s.p, sizeof(p));
	free(p);
}

static void expect_str(struct str got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.p, want, got.len);
}

/* Whether `bytes` is one frame; then *out holds it. */
static enum frame_status parse(struct str bytes, struct frame *out,
                               enum spop_code *code)
{
	size_t used = 0, need = 0;
	enum frame_status s =
		frame_parse(bytes, SPOP_MAX_FRAME, out, &used, &need, code);

	if (s == FRAME_OK)
		assert_int_equal(used, bytes.len);
	return s;
}

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

/* --- frames ------------------------------------------------------------- */

static const struct str good_frame = STR_INIT("\0\0\0\x09"
                                              "\x03\0\0\0\x01"
                                              "\xf0\x01"
                                              "\x01"
                                              "p");

static void frame_in_pieces_is_again(void **state)
{
	enum spop_code code = SPOP_UNKNOWN;
	size_t n, used = 0, need;
	struct frame f;

	(void)state;
	for (n = 0; n < good_frame.len; n++) {
		struct str cut = exact(good_frame.p, n);

		assert_int_equal(frame_parse(cut, 9, &f, &used, &need, &code),
		                 FRAME_AGAIN);
		assert_int_equal(need, n < 4 ? 4 : good_frame.len);
		drop(cut);
	}
	assert_int_equal(frame_parse(good_frame, 9, &f, &used, &need, &code),
	                 FRAME_OK);
	assert_int_equal(used, good_frame.len);
	assert_int_equal(f.type, FRAME_NOTIFY);
	assert_int_equal(f.flags, FRAME_FIN);
	assert_int_equal(f.stream_id, 256);
	assert_int_equal(f.frame_id, 1);
	expect_str(f.payload, "p");
	assert_int_equal(code, SPOP_UNKNOWN);
}

static void frame_leaves_what_follows(void **state)
{
	static const char two[] = "\0\0\0\x07\x03\0\0\0\x01\0\0"
				  "\0\0\0\x07\x02\0\0\0\x01\0\0";
	enum spop_code code;
	size_t used, need;
	struct frame f;

	(void)state;
	assert_int_equal(frame_parse(str_of(two, sizeof(two) - 1), 7, &f, &used,
	                             &need, &code),
	                 FRAME_OK);
	assert_int_equal(used, 11);
	assert_int_equal(f.type, FRAME_NOTIFY);
	/* stream-id 0 is HAProxy's first up to 3.0 */
	assert_int_equal(f.stream_id, 0);
	assert_int_equal(f.payload.len, 0);
}

static void frame_errors(void **state)
{
	static const struct {
		struct str bytes;
		enum spop_code want;
	} all[] = {
		/* no room for type, flags and ids */
		{STR_INIT("\0\0\0\0"), SPOP_INVALID},
		{STR_INIT("\0\0\0\x06\x03\0\0\0\x01\0"), SPOP_INVALID},
		/* larger than agreed: known from the length alone */
		{STR_INIT("\x00\x10\x00\x01"), SPOP_TOO_BIG},
		{STR_INIT("\xff\xff\xff\xff"), SPOP_TOO_BIG},
		/* a stream-id that goes on behind the frame */
		{STR_INIT("\0\0\0\x07\x03\0\0\0\x01\xf0\x80\x01\x01"),
	         SPOP_INVALID},
		/* the frame-id is missing */
		{STR_INIT("\0\0\0\x07\x03\0\0\0\x01\xf0\x01"), SPOP_INVALID},
		/* first fragment, continuation, last one, abandoned */
		{STR_INIT("\0\0\0\x08\x03\0\0\0\0\x01\x01p"), SPOP_FRAGMENTED},
		{STR_INIT("\0\0\0\x08\0\0\0\0\0\x01\x01p"), SPOP_FRAGMENTED},
		{STR_INIT("\0\0\0\x08\0\0\0\0\x01\x01\x01p"), SPOP_FRAGMENTED},
		{STR_INIT("\0\0\0\x07\x03\0\0\0\x03\x01\x01"), SPOP_FRAGMENTED},
	};
	struct frame f = {.stream_id = 77};
	size_t i;

	(void)state;
	for (i = 0; i < N_OF(all); i++) {
		enum spop_code code = SPOP_UNKNOWN;

		assert_int_equal(parse(all[i].bytes, &f, &code), FRAME_ERROR);
		assert_int_equal(code, all[i].want);
		assert_int_equal(f.stream_id, 77);
	}
}

static void frame_of_exactly_the_maximum(void **state)
{
	enum spop_code code = SPOP_UNKNOWN;
	size_t used, need;
	struct frame f;

	(void)state;
	assert_int_equal(frame_parse(good_frame, 9, &f, &used, &need, &code),
	                 FRAME_OK);
	assert_int_equal(frame_parse(good_frame, 8, &f, &used, &need, &code),
	                 FRAME_ERROR);
	assert_int_equal(code, SPOP_TOO_BIG);
}

static void frame_of_an_unknown_type_is_a_frame(void **state)
{
	enum spop_code code;
	struct frame f;

	(void)state;
	assert_int_equal(parse(STR("\0\0\0\x07\x32\0\0\0\x01\0\0"), &f, &code),
	                 FRAME_OK);
	assert_int_equal(f.type, 50);
}

/* --- HELLO -------------------------------------------------------------- */

#define UUID "8f1c7c52-70ac-4c1f-9a3e-0b7a1f6f2d11"

/* Byte for byte what the versions send at the default tune.bufsize. */
#define HEAD(len) "\0\0\0" len "\x01\0\0\0\x01\0\0"
#define VERSIONS                                                               \
	"\x12"                                                                 \
	"supported-versions"                                                   \
	"\x08\x03"                                                             \
	"2.0"
#define MAX_16380                                                              \
	"\x0e"                                                                 \
	"max-frame-size"                                                       \
	"\x03\xfc\xf0\x06"
#define CAPS(len, s)                                                           \
	"\x0c"                                                                 \
	"capabilities"                                                         \
	"\x08" len s
#define ENGINE                                                                 \
	"\x09"                                                                 \
	"engine-id"                                                            \
	"\x08\x24" UUID
#define CHECK                                                                  \
	"\x0b"                                                                 \
	"healthcheck"                                                          \
	"\x11"

static const struct str hello_26 = STR_INIT(HEAD(
	"\x81") VERSIONS MAX_16380 CAPS("\x10", "pipelining,async") ENGINE);
static const struct str hello_32 = STR_INIT(
	HEAD("\x7b") VERSIONS MAX_16380 CAPS("\x0a", "pipelining") ENGINE);
static const struct str hello_check =
	STR_INIT(HEAD("\x4e") VERSIONS MAX_16380 CAPS("\x00", "") CHECK);

static enum spop_code read_hello(struct str bytes, struct hello *h)
{
	enum spop_code code;
	struct frame f;

	assert_int_equal(parse(bytes, &f, &code), FRAME_OK);
	return hello_read(&f, h);
}

static void hello_of_every_version(void **state)
{
	static const struct {
		const struct str *bytes;
		size_t frame_len;
		bool pipelining, check;
		const char *engine;
	} all[] = {
		{&hello_26, 129, true, false, UUID},
		{&hello_32, 123, true, false, UUID},
		{&hello_check, 78, false, true, ""},
	};
	size_t i;

	(void)state;
	for (i = 0; i < N_OF(all); i++) {
		struct hello h;

		assert_int_equal(all[i].bytes->len, all[i].frame_len + 4);
		assert_int_equal(read_hello(*all[i].bytes, &h), SPOP_NORMAL);
		assert_int_equal(h.max_frame, 16380);
		assert_int_equal(h.pipelining, all[i].pipelining);
		assert_int_equal(h.healthcheck, all[i].check);
		expect_str(h.engine_id, all[i].engine);
	}
}

static void hello_cut_at_every_byte(void **state)
{
	enum spop_code code;
	struct frame f;
	struct hello h;
	size_t n;

	(void)state;
	for (n = 0; n < hello_26.len; n++) {
		struct str cut = exact(hello_26.p, n);

		assert_int_equal(parse(cut, &f, &code), FRAME_AGAIN);
		drop(cut);
	}
	/* a whole frame whose payload ends early */
	assert_int_equal(parse(hello_26, &f, &code), FRAME_OK);
	for (n = 0; n < f.payload.len; n++) {
		struct frame part = f;

		part.payload = exact(f.payload.p, n);
		/* engine-id, the last item, is not mandatory */
		assert_int_equal(hello_read(&part, &h) == SPOP_NORMAL,
		                 n == f.payload.len - sizeof(ENGINE) + 1);
		drop(part.payload);
	}
}

/* A HELLO made of the given payload. */
static enum spop_code hello_with(struct str payload, struct hello *h)
{
	struct frame f = {.type = FRAME_HAPROXY_HELLO,
	                  .flags = FRAME_FIN,
	                  .payload = payload};

	return hello_read(&f, h);
}

static void hello_errors(void **state)
{
	static const struct {
		struct str payload;
		enum spop_code want;
	} all[] = {
		{STR_INIT(VERSIONS MAX_16380 CAPS("\x00", "")), SPOP_NORMAL},
		{STR_INIT(""), SPOP_NO_VERSION},
		{STR_INIT(MAX_16380 CAPS("\x00", "")), SPOP_NO_VERSION},
		{STR_INIT(VERSIONS CAPS("\x00", "")), SPOP_NO_FRAME_SIZE},
		{STR_INIT(VERSIONS MAX_16380), SPOP_NO_CAPABILITIES},
		{STR_INIT("\x12"
	                  "supported-versions"
	                  "\x08\x03"
	                  "1.0" MAX_16380 CAPS("\x00", "")),
	         SPOP_BAD_VERSION},
		{STR_INIT("\x12"
	                  "supported-versions"
	                  "\x08\x04"
	                  "12.0" MAX_16380 CAPS("\x00", "")),
	         SPOP_BAD_VERSION},
		/* a higher minor version promises the lower ones */
		{STR_INIT("\x12"
	                  "supported-versions"
	                  "\x08\x09"
	                  "1.0 , 2.3" MAX_16380 CAPS("\x00", "")),
	         SPOP_NORMAL},
		{STR_INIT(VERSIONS "\x0e"
	                           "max-frame-size"
	                           "\x03\xff\x00" CAPS("\x00", "")),
	         SPOP_BAD_FRAME_SIZE},
		{STR_INIT(VERSIONS "\x0e"
	                           "max-frame-size"
	                           "\x03\xf0\x01" CAPS("\x00", "")),
	         SPOP_NORMAL},
		/* -1 */
		{STR_INIT(VERSIONS
	                  "\x0e"
	                  "max-frame-size"
	                  "\x04\xff\xf0\xfe\xfe\xfe\xfe\xfe\xfe\xfe\x0e" CAPS(
				  "\x00", "")),
	         SPOP_BAD_FRAME_SIZE},
		/* a number as text */
		{STR_INIT(VERSIONS "\x0e"
	                           "max-frame-size"
	                           "\x08\x05"
	                           "16380" CAPS("\x00", "")),
	         SPOP_NO_FRAME_SIZE},
		/* a value of a reserved type */
		{STR_INIT(VERSIONS MAX_16380 "\x01"
	                                     "x"
	                                     "\x0f" CAPS("\x00", "")),
	         SPOP_INVALID},
		/* items nobody knows are skipped */
		{STR_INIT(VERSIONS "\x01"
	                           "x"
	                           "\x04\x01" MAX_16380 CAPS("\x00", "")),
	         SPOP_NORMAL},
	};
	struct hello h;
	size_t i;

	(void)state;
	for (i = 0; i < N_OF(all); i++)
		assert_int_equal(hello_with(all[i].payload, &h), all[i].want);
}

static void hello_is_no_other_frame(void **state)
{
	enum spop_code code;
	struct frame f, g;
	struct hello h;

	(void)state;
	assert_int_equal(parse(hello_32, &f, &code), FRAME_OK);
	g = f;
	g.type = FRAME_NOTIFY;
	assert_int_equal(hello_read(&g, &h), SPOP_INVALID);
	g = f;
	g.stream_id = 1;
	assert_int_equal(hello_read(&g, &h), SPOP_INVALID);
	g = f;
	g.frame_id = 1;
	assert_int_equal(hello_read(&g, &h), SPOP_INVALID);
}

static void hello_offers_pipelining_only_as_a_whole_word(void **state)
{
	struct hello h;

	(void)state;
	hello_with(STR(VERSIONS MAX_16380 CAPS("\x0b", "pipelining2")), &h);
	assert_false(h.pipelining);
	hello_with(STR(VERSIONS MAX_16380 CAPS("\x11", "async, pipelining")),
	           &h);
	assert_true(h.pipelining);
}

static void hello_frame_size_is_bounded(void **state)
{
	/* 2^32 must not become 0, and a giant not our memory */
	struct buf b;
	struct hello h;

	(void)state;
	buf_init(&b, 256);
	buf_add_str(&b, STR(VERSIONS CAPS("\x00", "") "\x0e"
	                                              "max-frame-size"
	                                              "\x05"));
	value_write_varint(&b, (uint64_t)1 << 32);
	assert_int_equal(hello_with(buf_str(&b), &h), SPOP_NORMAL);
	assert_int_equal(h.max_frame, SPOP_MAX_FRAME);
	buf_done(&b);
}

static void agent_hello_bytes(void **state)
{
	static const struct str want = STR_INIT("\0\0\0\x40"
	                                        "\x65\0\0\0\x01\0\0"
	                                        "\x07"
	                                        "version"
	                                        "\x08\x03"
	                                        "2.0"
	                                        "\x0e"
	                                        "max-frame-size"
	                                        "\x03\xfc\xf0\x06"
	                                        "\x0c"
	                                        "capabilities"
	                                        "\x08\x0a"
	                                        "pipelining");
	struct hello h = {.max_frame = 16380, .pipelining = true};
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	assert_true(hello_write(&b, &h));
	assert_int_equal(b.len, want.len);
	assert_memory_equal(b.p, want.p, want.len);
	buf_clear(&b);
	h.pipelining = false;
	assert_true(hello_write(&b, &h));
	assert_true(str_ends(buf_str(&b), STR("\x0c"
	                                      "capabilities\x08\0")));
	buf_done(&b);
}

static void frames_that_do_not_fit_leave_no_trace(void **state)
{
	struct hello h = {.max_frame = 16380, .pipelining = true};
	struct buf b;
	size_t max;

	(void)state;
	for (max = 3; max < 70; max++) {
		buf_init(&b, max);
		assert_true(buf_add_str(&b, STR("abc")));
		assert_false(hello_write(&b, &h));
		assert_false(b.failed);
		expect_str(buf_str(&b), "abc");
		buf_done(&b);
	}
}

/* --- DISCONNECT --------------------------------------------------------- */

static void disconnect_round_trip(void **state)
{
	int i;

	(void)state;
	for (i = 0; i <= SPOP_UNKNOWN; i++) {
		enum spop_code code;
		struct frame f;
		struct buf b;

		buf_init(&b, 256);
		assert_true(disconnect_write(&b, (enum spop_code)i, "why"));
		assert_int_equal(parse(buf_str(&b), &f, &code), FRAME_OK);
		assert_int_equal(f.type, FRAME_AGENT_DISCONNECT);
		assert_int_equal(disconnect_read(&f),
		                 i <= SPOP_RESOURCE ? i : SPOP_UNKNOWN);
		assert_true(str_ends(f.payload, STR("message\x08\x03why")));
		assert_true(strlen(spop_code_name((enum spop_code)i)) > 0);
		buf_done(&b);
	}
}

static void disconnect_that_cannot_be_read(void **state)
{
	static const struct str all[] = {
		STR_INIT(""),
		STR_INIT("\x0b"
	                 "status-code"),
		STR_INIT("\x0b"
	                 "status-code"
	                 "\x08\x01"
	                 "2"),
		STR_INIT("\x0b"
	                 "status-code"
	                 "\x03\x02"
	                 "\x07"
	                 "message"),
	};
	size_t i;

	(void)state;
	for (i = 0; i < N_OF(all); i++) {
		struct frame f = {.type = FRAME_HAPROXY_DISCONNECT,
		                  .payload = all[i]};

		assert_int_equal(disconnect_read(&f), SPOP_UNKNOWN);
	}
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
		cmocka_unit_test(frame_in_pieces_is_again),
		cmocka_unit_test(frame_leaves_what_follows),
		cmocka_unit_test(frame_errors),
		cmocka_unit_test(frame_of_exactly_the_maximum),
		cmocka_unit_test(frame_of_an_unknown_type_is_a_frame),
		cmocka_unit_test(hello_of_every_version),
		cmocka_unit_test(hello_cut_at_every_byte),
		cmocka_unit_test(hello_errors),
		cmocka_unit_test(hello_is_no_other_frame),
		cmocka_unit_test(hello_offers_pipelining_only_as_a_whole_word),
		cmocka_unit_test(hello_frame_size_is_bounded),
		cmocka_unit_test(agent_hello_bytes),
		cmocka_unit_test(frames_that_do_not_fit_leave_no_trace),
		cmocka_unit_test(disconnect_round_trip),
		cmocka_unit_test(disconnect_that_cannot_be_read),
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
