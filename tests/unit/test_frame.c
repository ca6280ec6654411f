/* SPOP frames, and the HELLO and DISCONNECT in them, as HAProxy sends them. */
#include "spop_bytes.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
