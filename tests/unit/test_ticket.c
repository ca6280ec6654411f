/* usage/ticket, base/b64url: what comes back is what was sent, or nothing. */
#include "test.h"

#include "base/b64url.h"
#include "seals.h"
#include "usage/ticket.h"

#include <stdlib.h>

#define ROW(kind, name, where) FIELD_ROW(struct ticket, kind, name)
static const struct field fields[] = {TICKET_FIELDS(ROW)};
#undef ROW

enum { N_FIELDS = sizeof(fields) / sizeof(*fields) };

static const struct ticket sample = {
	.consumer = STR_INIT("hr-bot"),
	.app = STR_INIT("66666666-0000-0000-0000-000000000000"),
	.agent = STR_INIT("asst_1"),
	.project = STR_INIT("m\xc3\xbcnchen"),
	.account = STR_INIT("hr"),
	.operation = API_RESPONSES,
	.model = STR_INIT("gpt-4o"),
	.deployment = STR_INIT("d"),
	.resource = STR_INIT("east"),
	.stream = true,
	.counted = true,
	.prompt = 2403,
	.reserved = UINT64_MAX,
	.text_bytes = 240,
	.owner = STR_INIT("tid:oid"),
	.origin = STR_INIT("11111111-2222-3333-4444-555555555555"),
};

/* The texts of what was read, and of what was written. */
static struct buf text;
static char room[2 * TICKET_BYTES_MAX];
static struct ticket_proof proof;

static int setup(void **state)
{
	(void)state;
	buf_init(&text, 65536);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&text);
	return 0;
}

static struct str written(const struct ticket *t)
{
	buf_clear(&text);
	assert_true(ticket_write(t, test_seal(), STR("id"), &text));
	return buf_str(&text);
}

/* Only from exactly as many bytes as `s` has: what lies behind them is not
 * ours, and a sanitizer sees who looks there. */
static bool reads(struct str s, struct ticket *out)
{
	char *copy = malloc(s.len + 1);
	char *exact = realloc(copy, s.len ? s.len : 1);
	bool ok;

	assert_non_null(exact);
	if (s.len > 0)
		memcpy(exact, s.p, s.len);
	ok = ticket_read(str_of(exact, s.len), room, out, &proof);
	free(exact);
	return ok;
}

/* With a seal behind the bytes, which reading does not verify. */
static bool bytes_read(struct str bytes, struct ticket *out)
{
	static const char mac[SEAL_LEN];
	struct buf b, sealed;
	bool ok;

	buf_init(&b, 65536);
	buf_init(&sealed, 65536);
	buf_add_str(&sealed, bytes);
	buf_add(&sealed, mac, sizeof(mac));
	assert_true(b64url_write(&b, buf_str(&sealed)));
	ok = reads(buf_str(&b), out);
	buf_done(&sealed);
	buf_done(&b);
	return ok;
}

/* The bytes of a ticket without its seal; `space` has room for all. */
static struct str bytes_of(const struct ticket *t, char *space)
{
	size_t len;

	assert_true(b64url_read(written(t), space, &len));
	return str_of(space, len - SEAL_LEN);
}

static void is_same(const struct ticket *a, const struct ticket *b)
{
	for (size_t i = 0; i < N_FIELDS; i++) {
		const char *x = (const char *)a + fields[i].at;
		const char *y = (const char *)b + fields[i].at;

		switch (fields[i].kind) {
		case FIELD_TEXT:
			assert_true(str_eq(*(const struct str *)x,
			                   *(const struct str *)y));
			break;
		case FIELD_COUNT:
			assert_true(*(const uint64_t *)x ==
			            *(const uint64_t *)y);
			break;
		case FIELD_FLAG:
			assert_int_equal(*(const bool *)x, *(const bool *)y);
			break;
		default:
			assert_int_equal(*(const enum api_operation *)x,
			                 *(const enum api_operation *)y);
		}
	}
}

static void comes_back_as_it_was(void **state)
{
	static const struct ticket none;
	struct ticket back;

	(void)state;
	assert_true(reads(written(&sample), &back));
	is_same(&back, &sample);
	assert_true(reads(written(&none), &back));
	is_same(&back, &none);
}

static void seal_is_of_one_request_and_key(void **state)
{
	static const uint8_t keys[3][SEAL_KEY_LEN] = {"one", "two", "three"};
	struct seal *a = seal_new(keys[0]), *b = seal_new(keys[1]);
	struct ticket back;
	char mac[SEAL_LEN];

	(void)state;
	assert_true(reads(written(&sample), &back));
	assert_true(
		seal_verify(test_seal(), STR("id"), proof.bytes, proof.mac));
	assert_false(
		seal_verify(test_seal(), STR("ie"), proof.bytes, proof.mac));
	assert_false(
		seal_verify(test_seal(), STR("i"), proof.bytes, proof.mac));
	assert_false(
		seal_verify(test_seal(), STR_NONE, proof.bytes, proof.mac));
	assert_false(seal_verify(a, STR("id"), proof.bytes, proof.mac));
	assert_false(seal_verify(test_seal(), STR("id"),
	                         str_from(proof.bytes, 1), proof.mac));
	for (size_t i = 0; i < SEAL_LEN; i++) {
		memcpy(mac, proof.mac.p, SEAL_LEN);
		mac[i] ^= 1;
		assert_false(seal_verify(test_seal(), STR("id"), proof.bytes,
		                         str_of(mac, SEAL_LEN)));
		assert_false(seal_verify(test_seal(), STR("id"), proof.bytes,
		                         str_of(mac, i)));
	}
	/* two nodes: each has a key of its own until they share one */
	seal_sign(a, STR("id"), STR("x"), (uint8_t *)mac);
	assert_false(
		seal_verify(b, STR("id"), STR("x"), str_of(mac, SEAL_LEN)));
	seal_set_shared(a, keys[2]);
	seal_set_shared(b, keys[2]);
	assert_true(seal_verify(a, STR("id"), STR("x"), str_of(mac, SEAL_LEN)));
	seal_sign(a, STR("id"), STR("x"), (uint8_t *)mac);
	assert_true(seal_verify(b, STR("id"), STR("x"), str_of(mac, SEAL_LEN)));
	/* a new shared key: what is under way stays good, once */
	seal_set_shared(b, keys[1]);
	assert_true(seal_verify(b, STR("id"), STR("x"), str_of(mac, SEAL_LEN)));
	seal_set_shared(b, keys[0]);
	assert_false(
		seal_verify(b, STR("id"), STR("x"), str_of(mac, SEAL_LEN)));
	seal_free(a);
	seal_free(b);
	seal_free(NULL);
}

static void may_be_read_where_it_stands(void **state)
{
	struct ticket back;
	struct str s = written(&sample);

	(void)state;
	assert_true(ticket_read(s, text.p, &back, &proof));
	is_same(&back, &sample);
}

/* HAProxy prints it between the quotes of a JSON string. */
static void needs_no_quoting(void **state)
{
	struct str s = written(&sample);

	(void)state;
	for (size_t i = 0; i < s.len; i++)
		assert_non_null(memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm"
		                       "nopqrstuvwxyz0123456789-_",
		                       s.p[i], 64));
}

/* Requests are under way while an agent is replaced: the rows that were there
 * keep their places and their encoding. New ones are behind them. */
static void format_of_version_1(void **state)
{
	static const char *const rows[] = {
		"consumer", "app",        "agent",   "project",
		"account",  "operation",  "model",   "deployment",
		"resource", "stream",     "counted", "prompt",
		"reserved", "text_bytes", "owner",   "origin",
	};
	static const struct ticket t = {
		.consumer = STR_INIT("c"),
		.account = STR_INIT("a"),
		.operation = API_CHAT,
		.counted = true,
		.prompt = 300,
	};
	static const char want[] = "\x01"
				   "c"
				   "\0\0\0"
				   "\x01"
				   "a"
				   "\x01"
				   "\0\0\0\0"
				   "\x01"
				   "\xfc\x03"
				   "\0\0\0";
	char space[256];
	struct str bytes = bytes_of(&t, space);

	(void)state;
	assert_int_equal(TICKET_VERSION, 1);
	assert_int_equal(bytes.p[0], TICKET_VERSION);
	assert_int_equal(bytes.p[1], N_FIELDS);
	assert_true(str_starts(str_from(bytes, 2), str_of(want, sizeof(want))));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_true(str_eq(fields[i].name, str_c(rows[i])));
}

static void a_ticket_of_an_older_agent(void **state)
{
	char space[TICKET_BYTES_MAX];
	struct ticket t = sample, back;
	struct str s;

	(void)state;
	t.origin = STR_NONE; /* the last field, one byte then */
	s = bytes_of(&t, space);
	space[1] = N_FIELDS - 1;
	assert_true(bytes_read(str_first(s, s.len - 1), &back));
	is_same(&back, &t);
	assert_false(bytes_read(s, &back));
	space[1] = N_FIELDS + 1; /* of a newer one: nobody knows its last */
	space[s.len] = 0;
	assert_false(bytes_read(str_of(space, s.len + 1), &back));
}

static void a_ticket_that_was_cut_is_none(void **state)
{
	struct ticket t = {.prompt = 7}, back = t;
	char space[TICKET_BYTES_MAX];
	struct str whole, s;

	(void)state;
	whole = bytes_of(&sample, space);
	for (size_t n = 0; n < whole.len; n++)
		assert_false(bytes_read(str_first(whole, n), &back));
	s = written(&sample);
	for (size_t n = 0; n < s.len; n++)
		assert_false(reads(str_first(s, n), &back));
	is_same(&back, &t); /* untouched */
}

static void bytes_behind_a_ticket(void **state)
{
	char space[TICKET_BYTES_MAX + 1];
	struct str s = bytes_of(&sample, space);
	struct ticket back;

	(void)state;
	for (int c = 0; c < 256; c++) {
		space[s.len] = (char)c;
		assert_false(bytes_read(str_of(space, s.len + 1), &back));
	}
	buf_add_str(&text, STR("AAAA"));
	assert_false(reads(buf_str(&text), &back));
}

static void another_version(void **state)
{
	char space[TICKET_BYTES_MAX];
	struct str s = bytes_of(&sample, space);
	struct ticket back;

	(void)state;
	for (int c = 0; c < 256; c++) {
		space[0] = (char)c;
		assert_int_equal(bytes_read(s, &back), c == TICKET_VERSION);
	}
}

/* Every byte of a ticket, changed to every other value: either it is refused,
 * or it is the one spelling of another ticket. */
static void every_ticket_has_one_spelling(void **state)
{
	char space[TICKET_BYTES_MAX], again[TICKET_BYTES_MAX];
	struct str s = bytes_of(&sample, space);
	struct ticket back;

	(void)state;
	for (size_t i = 0; i < s.len; i++) {
		char was = space[i];

		for (int c = 0; c < 256; c++) {
			space[i] = (char)c;
			if (bytes_read(s, &back))
				assert_true(str_eq(bytes_of(&back, again), s));
		}
		space[i] = was;
	}
}

static void values_that_no_agent_writes(void **state)
{
	struct ticket t = {.operation = API_NONE}, back;
	char space[64];
	struct str s;

	(void)state;
	/* version, number of fields, 5 empty texts, then the operation */
	s = bytes_of(&t, space);
	for (int c = 0; c < 240; c++) {
		space[7] = (char)c;
		assert_int_equal(bytes_read(s, &back), c < API_N_OPERATIONS);
	}
	/* 3 texts later the flags */
	s = bytes_of(&t, space);
	for (int c = 0; c < 240; c++) {
		space[11] = (char)c;
		assert_int_equal(bytes_read(s, &back), c < 2);
	}
}

static const char *const deceiving[] = {
	"a\nb", "a\rb", "\t",   "\x1b[31m",
	"\x7f", "\x80", "\xc3", "\xed\xa0\x80",
};

/* For the ledger and the log. What cannot be read is not written either. */
static void texts_that_deceive(void **state)
{
	struct ticket t = {.account = STR("hr")}, back;
	char space[64];
	struct str s;

	(void)state;
	for (size_t i = 0; i < sizeof(deceiving) / sizeof(*deceiving); i++) {
		t.consumer = str_c(deceiving[i]);
		assert_true(reads(written(&t), &back));
		assert_int_equal(back.consumer.len, 0);
		assert_true(str_eq(back.account, STR("hr")));
	}
	t.consumer = STR("abc");
	s = bytes_of(&t, space);
	assert_true(bytes_read(s, &back));
	for (int c = 0; c < 256; c++) {
		space[4] = (char)c;
		assert_int_equal(bytes_read(s, &back), c >= ' ' && c < 0x7f);
	}
	/* a NUL is a control character, too */
	t.consumer = str_of("a\0b", 3);
	assert_true(reads(written(&t), &back));
	assert_int_equal(back.consumer.len, 0);
}

static void one_that_is_too_large(void **state)
{
	static char name[TICKET_BYTES_MAX];
	struct ticket t = {.account = STR("hr")}, back;
	size_t n = 0;

	(void)state;
	memset(name, 'n', sizeof(name));
	for (n = TICKET_BYTES_MAX - 64; n < TICKET_BYTES_MAX; n++) {
		t.consumer = str_of(name, n);
		buf_clear(&text);
		if (!ticket_write(&t, test_seal(), STR("id"), &text))
			break;
		assert_true(reads(buf_str(&text), &back));
		is_same(&back, &t);
	}
	assert_in_range(n, TICKET_BYTES_MAX - 32 - SEAL_LEN,
	                TICKET_BYTES_MAX - 1 - SEAL_LEN);
	assert_true(text.failed);
	assert_int_equal(text.len, 0);
}

static void no_room_for_it(void **state)
{
	char space[16];
	struct buf small = {.p = space, .cap = 16, .max = 16};

	(void)state;
	assert_false(ticket_write(&sample, test_seal(), STR("id"), &small));
	assert_true(small.failed);
}

static void base64url_of_rfc_4648(void **state)
{
	static const struct {
		const char *bytes, *text;
	} rows[] = {
		{"", ""},
		{"f", "Zg"},
		{"fo", "Zm8"},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg"},
		{"fooba", "Zm9vYmE"},
		{"foobar", "Zm9vYmFy"},
		{"\xfb\xff\xbf", "-_-_"},
	};
	static const char *const bad[] = {
		"Z",    "Zg=",  "Zg==", "Zm8=", "Zh",    "Zm9",
		"Zm 8", "Zm+8", "Zm/8", "Zg\n", "Zm9vZ", "-_-."};
	char out[16];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		buf_clear(&text);
		assert_true(b64url_write(&text, str_c(rows[i].bytes)));
		assert_true(str_eq(buf_str(&text), str_c(rows[i].text)));
		assert_true(b64url_read(str_c(rows[i].text), out, &len));
		assert_true(str_eq(str_of(out, len), str_c(rows[i].bytes)));
		assert_int_equal(len, B64URL_BYTES(strlen(rows[i].text)));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		len = 42;
		assert_false(b64url_read(str_c(bad[i]), out, &len));
		assert_int_equal(len, 42);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back_as_it_was),
		cmocka_unit_test(seal_is_of_one_request_and_key),
		cmocka_unit_test(may_be_read_where_it_stands),
		cmocka_unit_test(needs_no_quoting),
		cmocka_unit_test(format_of_version_1),
		cmocka_unit_test(a_ticket_of_an_older_agent),
		cmocka_unit_test(a_ticket_that_was_cut_is_none),
		cmocka_unit_test(bytes_behind_a_ticket),
		cmocka_unit_test(another_version),
		cmocka_unit_test(every_ticket_has_one_spelling),
		cmocka_unit_test(values_that_no_agent_writes),
		cmocka_unit_test(texts_that_deceive),
		cmocka_unit_test(one_that_is_too_large),
		cmocka_unit_test(no_room_for_it),
		cmocka_unit_test(base64url_of_rfc_4648),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
