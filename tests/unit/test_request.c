/* request: NOTIFY bytes to facts. */
#include "test.h"

#include "keys/jose.h"
#include "request/request.h"
#include "spop/value.h"

#include <stdlib.h>

/* A message under construction and what it is read into. */
struct world {
	struct request r;
	struct policy policy;
	struct buf hdrs, args, payload;
	unsigned n_args;
};

static struct world w;

static void start(void)
{
	buf_clear(&w.hdrs);
	buf_clear(&w.args);
	buf_clear(&w.payload);
	w.n_args = 0;
	memset(&w.r, 0, offsetof(struct request, mem));
	w.policy.key_header = STR("x-gateway-key");
	w.r.policy = &w.policy;
	arena_init(&w.r.arena, w.r.mem, sizeof(w.r.mem));
}

static int setup(void **state)
{
	(void)state;
	buf_init(&w.hdrs, 1 << 20);
	buf_init(&w.args, 1 << 20);
	buf_init(&w.payload, 1 << 20);
	start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&w.hdrs);
	buf_done(&w.args);
	buf_done(&w.payload);
	return 0;
}

static void arg(const char *name)
{
	value_write_string(&w.args, str_c(name));
	w.n_args++;
}

static void arg_raw(const char *name, const char *bytes, size_t len)
{
	arg(name);
	buf_add(&w.args, bytes, len);
}

static void arg_str(const char *name, struct str s)
{
	arg(name);
	value_write_str(&w.args, s);
}

static void arg_bin(const char *name, struct str s)
{
	arg_raw(name, "\x09", 1);
	value_write_string(&w.args, s);
}

static void arg_int(const char *name, int64_t v)
{
	arg(name);
	value_write_int64(&w.args, v);
}

static void arg_null(const char *name)
{
	arg_raw(name, "\0", 1);
}

static void header(const char *name, struct str value)
{
	value_write_string(&w.hdrs, str_c(name));
	value_write_string(&w.hdrs, value);
}

static void end_headers(void)
{
	buf_add(&w.hdrs, "\0\0", 2);
	arg_bin("hdrs", buf_str(&w.hdrs));
}

static void finish(const char *message)
{
	unsigned char n = (unsigned char)w.n_args;

	value_write_string(&w.payload, str_c(message));
	buf_add(&w.payload, &n, 1);
	buf_add_str(&w.payload, buf_str(&w.args));
}

/* From memory of exactly that size, gone when it returns. */
static bool read_bytes(struct str payload)
{
	char *exact = malloc(payload.len ? payload.len : 1);
	struct frame f = {.type = FRAME_NOTIFY, .flags = FRAME_FIN};
	bool ok;

	assert_non_null(exact);
	if (payload.len)
		memcpy(exact, payload.p, payload.len);
	f.payload = str_of(exact, payload.len);
	ok = request_read(&w.r, &f);
	if (payload.len)
		memset(exact, 'Z', payload.len);
	free(exact);
	return ok;
}

static bool read_message(const char *message)
{
	finish(message);
	return read_bytes(buf_str(&w.payload));
}

static void usual_args(void)
{
	arg_str("id", STR("11111111-2222-3333-4444-555555555555"));
	arg_raw("src", "\x06\x0a\x01\x02\x03", 5);
	arg_str("method", STR("POST"));
	arg_str("path", STR("/v1/chat/completions"));
	arg_str("query", STR("api-version=2024-10-21"));
}

static const char body[] = "{\"model\":\"gpt\\u002d4o\",\"stream\":true,"
			   "\"previous_response_id\":\"r\","
			   "\"prompt_cache_key\":\"k\"}";

static void test_everything_is_copied(void **state)
{
	struct request_facts *f = &w.r.facts;

	(void)state;
	start();
	usual_args();
	header("host", STR("gateway"));
	header("authorization", STR("Bearer abc"));
	header("content-type", STR("application/json"));
	header("x-ms-foundry-agent-id", STR("agent:1"));
	end_headers();
	arg_bin("body", str_c(body));
	arg_int("body_len", sizeof(body) - 1);
	arg_int("body_size", sizeof(body) - 1);
	assert_true(read_message("admit"));
	assert_true(str_eq(f->id, STR("11111111-2222-3333-4444-555555555555")));
	assert_true(str_eq(f->src, STR("10.1.2.3")));
	assert_true(str_eq(f->method, STR("POST")));
	assert_true(str_eq(f->path, STR("/v1/chat/completions")));
	assert_true(str_eq(f->query, STR("api-version=2024-10-21")));
	assert_true(str_eq(f->authorization, STR("Bearer abc")));
	assert_int_equal(f->n_authorization, 1);
	assert_true(str_eq(f->content_type, STR("application/json")));
	assert_true(str_eq(f->foundry_agent, STR("agent:1")));
	assert_int_equal(f->content_encoding.len, 0);
	assert_true(f->has_body);
	assert_int_equal(f->body_len, sizeof(body) - 1);
	assert_false(f->body_cut);
	assert_int_equal(f->scan_status, SCAN_OK);
	assert_true(str_eq(f->scan.model, STR("gpt-4o")));
	assert_true(str_eq(f->scan.previous_response_id, STR("r")));
	assert_true(str_eq(f->scan.prompt_cache_key, STR("k")));
	assert_true(f->scan.stream);
	assert_false(w.r.arena.overflow);
}

static void test_without_a_body(void **state)
{
	(void)state;
	start();
	usual_args();
	end_headers();
	assert_true(read_message("admit_head"));
	assert_false(w.r.facts.has_body);
	assert_false(w.r.facts.body_cut);
	assert_int_equal(w.r.facts.scan_status, SCAN_PARTIAL);
	assert_false(w.r.facts.scan.has_model);
	start();
	usual_args();
	end_headers();
	arg_int("body_len", 0);
	arg_int("body_size", 5000);
	assert_true(read_message("admit_head"));
	assert_false(w.r.facts.has_body);
	assert_true(w.r.facts.body_cut);
	assert_int_equal(w.r.facts.body_size, 5000);
}

static void test_absent_is_null(void **state)
{
	(void)state;
	start();
	arg_str("id", STR("i"));
	arg_null("src");
	arg_str("method", STR("OPTIONS"));
	arg_null("path");
	arg_null("query");
	end_headers();
	arg_null("body");
	arg_null("body_len");
	arg_null("body_size");
	assert_true(read_message("admit"));
	assert_int_equal(w.r.facts.path.len, 0);
	assert_int_equal(w.r.facts.src.len, 0);
	assert_false(w.r.facts.has_body);
}

static void test_required_arguments(void **state)
{
	static const char *const required[] = {"id", "method", "hdrs"};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (int null = 0; null < 2; null++) {
			start();
			for (size_t k = 0; k < 3; k++) {
				if (k != i)
					arg_str(required[k],
					        k == 2 ? STR("\0\0")
					               : STR("x"));
				else if (null)
					arg_null(required[k]);
			}
			assert_false(read_message("admit"));
		}
	start();
	arg_str("id", STR("i"));
	arg_str("method", STR("GET"));
	end_headers();
	assert_true(read_message("admit"));
}

/* Exactly those that the store takes: later such an id would look like a store
 * that is away. */
static void test_request_id_that_the_store_would_refuse(void **state)
{
	static const char longest[] = "0123456789abcdef0123456789abcdef01234567"
				      "89abcdef0123456789ABCDE"
				      "F0";
	const struct {
		struct str id;
		bool good;
	} cases[] = {
		{STR("i"), true},
		{str_of(longest, STORE_ID_MAX), true},
		{str_of(longest, STORE_ID_MAX + 1), false},
		{STR_NONE, false},
		{STR("0A000001:4E7_0A000002:1BB"),
	         false}, /* %{+X}o %ci:%cp_.. */
		{STR("{a}"), false},
		{STR("a b"), false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start();
		arg_str("id", cases[i].id);
		arg_str("method", STR("GET"));
		end_headers();
		assert_int_equal(read_message("admit"), cases[i].good);
	}
}

static void test_arguments_of_the_wrong_type(void **state)
{
	static const struct {
		const char *name, *value;
		size_t len;
	} cases[] = {
		{"path", "\x04\x05", 2},  /* an integer */
		{"query", "\x11", 1},     /* true */
		{"path", "\x09\x01/", 3}, /* binary */
		{"src", "\x04\x05", 2},   /* an integer */
		{"body", "\x04\x05", 2},  /* an integer */
		{"body_len",
	         "\x08\x01"
	         "5",
	         3},                     /* a string */
		{"body_len", "\x01", 1}, /* false */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start();
		arg_str("id", STR("i"));
		arg_str("method", STR("GET"));
		end_headers();
		arg_raw(cases[i].name, cases[i].value, cases[i].len);
		if (read_message("admit"))
			fail_msg("accepted case %zu", i);
	}
}

static void test_negative_lengths(void **state)
{
	(void)state;
	start();
	usual_args();
	end_headers();
	arg_int("body_len", -1);
	assert_false(read_message("admit"));
	start();
	usual_args();
	end_headers();
	arg_int("body_size", INT64_MIN);
	assert_false(read_message("admit"));
}

static void test_an_argument_twice(void **state)
{
	(void)state;
	start();
	usual_args();
	arg_str("path", STR("/other"));
	end_headers();
	assert_false(read_message("admit"));
}

static void test_unknown_arguments_are_ignored(void **state)
{
	(void)state;
	start();
	usual_args();
	arg_str("later", STR("x"));
	arg_int("", 5);
	end_headers();
	assert_true(read_message("admit"));
}

static void test_other_messages(void **state)
{
	static const char *const names[] = {"", "admi", "admit_", "Admit",
	                                    "upstream_error"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		start();
		usual_args();
		end_headers();
		assert_false(read_message(names[i]));
	}
}

static void test_a_second_message_in_the_frame(void **state)
{
	(void)state;
	start();
	usual_args();
	end_headers();
	finish("admit");
	assert_false(read_message("admit"));
	start();
	usual_args();
	end_headers();
	finish("admit");
	buf_add(&w.payload, "x", 1);
	assert_false(read_bytes(buf_str(&w.payload)));
}

static void test_cut_at_every_byte(void **state)
{
	struct buf whole;

	(void)state;
	buf_init(&whole, 1 << 20);
	start();
	usual_args();
	header("authorization", STR("Bearer abc"));
	end_headers();
	arg_bin("body", str_c(body));
	finish("admit");
	buf_add_str(&whole, buf_str(&w.payload));
	for (size_t n = 0; n < whole.len; n++) {
		start();
		assert_false(read_bytes(str_of(whole.p, n)));
	}
	start();
	assert_true(read_bytes(buf_str(&whole)));
	buf_done(&whole);
}

/* The list's end is two empty strings; without it, it was cut. */
static void test_headers_without_their_end(void **state)
{
	(void)state;
	start();
	usual_args();
	header("authorization", STR("Bearer abc"));
	arg_bin("hdrs", buf_str(&w.hdrs));
	assert_false(read_message("admit"));
	start();
	usual_args();
	arg_bin("hdrs", STR("\x05"
	                    "abc"));
	assert_false(read_message("admit"));
}

static void test_header_names_without_case(void **state)
{
	struct request_facts *f = &w.r.facts;

	(void)state;
	start();
	usual_args();
	header("AUTHORIZATION", STR("a"));
	header("Api-Key", STR("b"));
	header("X-API-key", STR("c"));
	header("X-Gateway-Key", STR("d"));
	header("Content-Encoding", STR("gzip"));
	header("x-api-key2", STR("no"));
	header("authorizatio", STR("no"));
	end_headers();
	assert_true(read_message("admit"));
	assert_true(str_eq(f->authorization, STR("a")));
	assert_true(str_eq(f->api_key, STR("b")));
	assert_true(str_eq(f->x_api_key, STR("c")));
	assert_true(str_eq(f->custom_key, STR("d")));
	assert_true(str_eq(f->content_encoding, STR("gzip")));
	assert_int_equal(f->n_authorization, 1);
	assert_int_equal(f->n_api_key, 1);
	assert_int_equal(f->n_x_api_key, 1);
	assert_int_equal(f->n_custom_key, 1);
}

static void test_no_custom_header_configured(void **state)
{
	(void)state;
	start();
	w.policy.key_header = STR_NONE;
	usual_args();
	header("x-gateway-key", STR("d"));
	end_headers();
	assert_true(read_message("admit"));
	assert_int_equal(w.r.facts.n_custom_key, 0);
	assert_int_equal(w.r.facts.custom_key.len, 0);
}

static void test_credentials_sent_twice_are_counted(void **state)
{
	struct request_facts *f = &w.r.facts;

	(void)state;
	start();
	usual_args();
	header("authorization", STR(""));
	header("authorization", STR("Bearer a"));
	header("api-key", STR("a"));
	header("api-key", STR("b"));
	header("api-key", STR("a"));
	header("x-gateway-key", STR("a"));
	header("x-gateway-key", STR("a"));
	end_headers();
	assert_true(read_message("admit"));
	assert_int_equal(f->n_authorization, 2);
	assert_int_equal(f->authorization.len, 0);
	assert_int_equal(f->n_api_key, 3);
	assert_true(str_eq(f->api_key, STR("a")));
	assert_int_equal(f->n_custom_key, 2);
}

static void test_the_longest_token_fits(void **state)
{
	static char value[JOSE_TOKEN_MAX + 7] = "Bearer ";
	char key[1024];

	(void)state;
	memset(value + 7, 'a', sizeof(value) - 7);
	memset(key, 'k', sizeof(key));
	start();
	usual_args();
	header("authorization", str_of(value, sizeof(value)));
	header("api-key", str_of(key, sizeof(key)));
	end_headers();
	arg_bin("body", str_c(body));
	assert_true(read_message("admit"));
	assert_int_equal(w.r.facts.authorization.len, sizeof(value));
	assert_int_equal(w.r.facts.api_key.len, sizeof(key));
	assert_false(w.r.arena.overflow);
	/* what the steps still need */
	assert_true(w.r.arena.size - w.r.arena.used > 4096);
}

static void test_a_token_without_end(void **state)
{
	static char value[200000];

	(void)state;
	memset(value, 'a', sizeof(value));
	memcpy(value, "Bearer ", 7);
	start();
	usual_args();
	header("authorization", str_of(value, sizeof(value)));
	header("api-key", str_of(value, 1025));
	header("content-type", str_of(value, sizeof(value)));
	end_headers();
	assert_true(read_message("admit"));
	assert_int_equal(w.r.facts.n_authorization, 1);
	assert_int_equal(w.r.facts.authorization.len, 0);
	assert_int_equal(w.r.facts.n_api_key, 1);
	assert_int_equal(w.r.facts.api_key.len, 0);
	assert_int_equal(w.r.facts.n_content_type, 1);
	assert_int_equal(w.r.facts.content_type.len, 0);
	assert_false(w.r.arena.overflow);
}

/* HAProxy, the agent and the resource may each take another one. */
static void test_headers_of_the_body_are_counted(void **state)
{
	(void)state;
	start();
	usual_args();
	header("content-type", STR("application/json"));
	header("Content-Type", STR("text/plain"));
	header("content-encoding", STR(""));
	header("CONTENT-ENCODING", STR("gzip"));
	header("transfer-encoding", STR("chunked"));
	end_headers();
	assert_true(read_message("admit"));
	assert_int_equal(w.r.facts.n_content_type, 2);
	assert_true(str_eq(w.r.facts.content_type, STR("application/json")));
	assert_int_equal(w.r.facts.n_content_encoding, 2);
	assert_int_equal(w.r.facts.content_encoding.len, 0);
	assert_int_equal(w.r.facts.n_transfer_encoding, 1);
	assert_true(str_eq(w.r.facts.transfer_encoding, STR("chunked")));
	assert_int_equal(w.r.facts.n_content_length, 0);
}

static void test_a_path_that_fills_the_arena(void **state)
{
	static char path[100000];

	(void)state;
	memset(path, 'a', sizeof(path));
	start();
	arg_str("id", STR("i"));
	arg_str("method", STR("GET"));
	arg_str("path", str_of(path, sizeof(path)));
	end_headers();
	assert_true(read_message("admit"));
	assert_true(w.r.arena.overflow);
}

static void test_a_body_that_was_cut(void **state)
{
	static const struct {
		int64_t len, size;
		bool cut;
	} cases[] = {
		{sizeof(body) - 1, sizeof(body) - 1, false},
		{sizeof(body) - 1, 0, false}, /* chunked */
		{-1, -1, false},              /* not told */
		{sizeof(body) - 1, sizeof(body), true},
		{sizeof(body), sizeof(body), true}, /* argument cut */
		{1000000, 1000000, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start();
		usual_args();
		end_headers();
		arg_bin("body", str_c(body));
		if (cases[i].len >= 0) {
			arg_int("body_len", cases[i].len);
			arg_int("body_size", cases[i].size);
		}
		assert_true(read_message("admit"));
		assert_int_equal(w.r.facts.body_cut, cases[i].cut);
		assert_true(w.r.facts.body_len >= sizeof(body) - 1);
	}
}

static void test_a_bad_body_is_a_fact(void **state)
{
	(void)state;
	start();
	usual_args();
	end_headers();
	arg_bin("body", STR("{\"model\":\"a\",\"model\":\"b\"}"));
	assert_true(read_message("admit"));
	assert_int_equal(w.r.facts.scan_status, SCAN_BAD);
	assert_non_null(w.r.facts.scan.error);
	assert_int_equal(w.r.facts.scan.error_at, 13);
}

static void test_addresses(void **state)
{
	(void)state;
	start();
	arg_str("id", STR("i"));
	arg_str("method", STR("GET"));
	arg_raw("src", "\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 17);
	end_headers();
	assert_true(read_message("admit"));
	assert_true(str_eq(w.r.facts.src, STR("2001:db8::1")));
	start();
	arg_str("id", STR("i"));
	arg_str("method", STR("GET"));
	arg_str("src", STR("unix"));
	end_headers();
	assert_true(read_message("admit"));
	assert_true(str_eq(w.r.facts.src, STR("unix")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_is_copied),
		cmocka_unit_test(test_without_a_body),
		cmocka_unit_test(test_absent_is_null),
		cmocka_unit_test(test_required_arguments),
		cmocka_unit_test(test_request_id_that_the_store_would_refuse),
		cmocka_unit_test(test_arguments_of_the_wrong_type),
		cmocka_unit_test(test_negative_lengths),
		cmocka_unit_test(test_an_argument_twice),
		cmocka_unit_test(test_unknown_arguments_are_ignored),
		cmocka_unit_test(test_other_messages),
		cmocka_unit_test(test_a_second_message_in_the_frame),
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_headers_without_their_end),
		cmocka_unit_test(test_header_names_without_case),
		cmocka_unit_test(test_no_custom_header_configured),
		cmocka_unit_test(test_credentials_sent_twice_are_counted),
		cmocka_unit_test(test_the_longest_token_fits),
		cmocka_unit_test(test_a_token_without_end),
		cmocka_unit_test(test_headers_of_the_body_are_counted),
		cmocka_unit_test(test_a_path_that_fills_the_arena),
		cmocka_unit_test(test_a_body_that_was_cut),
		cmocka_unit_test(test_a_bad_body_is_a_fact),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
