/* decide/answer: what HAProxy is told of a verdict. */
#include "test.h"

#include "seals.h"
#include "base/json.h"
#include "decide/answer.h"
#include "decide/decider.h"
#include "spop/frame.h"
#include "usage/ticket.h"

static struct request r;
static struct decider decider;
static struct policy_consumer consumer;
static struct policy_model model;
static struct policy_deployment deployment;
static struct policy_resource resource;
static struct identity identity;
static struct buf out;

/* The variables of the ACK that answer_write made. */
static struct {
	struct str name;
	struct spop_value value;
} seen[40];
static size_t n_seen;

static void start(void)
{
	buf_clear(&out);
	memset(&r, 0, offsetof(struct request, mem));
	r.conn.stream_id = 300;
	r.conn.frame_id = 7;
	r.ack_limit = 8192;
	decider.seal = test_seal();
	r.decider = &decider;
	r.facts.id = STR("id-1");
	r.call.api.operation = API_CHAT;
}

static int setup(void **state)
{
	(void)state;
	buf_init(&out, 65536);
	consumer.name = STR("team-a");
	model.name = STR("gpt-4o");
	deployment.name = STR("gpt-4o-ptu");
	resource.name = STR("sweden");
	identity.app = STR("66666666-0000-0000-0000-000000000000");
	start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&out);
	return 0;
}

/* SPOE.txt 3.4: actions of type 1 (set-var) with 3 arguments, scope txn. */
static void read_ack(void)
{
	enum spop_code code;
	struct cursor c;
	struct frame f;
	size_t used, need;

	assert_int_equal(frame_parse(buf_str(&out), SPOP_MAX_FRAME, &f, &used,
	                             &need, &code),
	                 FRAME_OK);
	assert_int_equal(used, out.len);
	assert_int_equal(f.type, FRAME_ACK);
	assert_int_equal(f.stream_id, 300);
	assert_int_equal(f.frame_id, 7);
	c = cursor_of(f.payload);
	for (n_seen = 0; cursor_left(&c) > 0; n_seen++) {
		assert_true(n_seen < sizeof(seen) / sizeof(seen[0]));
		assert_int_equal(cursor_u8(&c), 1);
		assert_int_equal(cursor_u8(&c), 3);
		assert_int_equal(cursor_u8(&c), 2);
		seen[n_seen].name = cursor_string(&c);
		seen[n_seen].value = value_read(&c);
		assert_false(c.bad);
	}
}

static const struct spop_value *var(const char *name)
{
	for (size_t i = 0; i < n_seen; i++)
		if (str_eq(seen[i].name, str_c(name)))
			return &seen[i].value;
	return NULL;
}

static void write_and_read(void)
{
	assert_true(answer_write(&r, &out));
	read_ack();
}

static void is_text(const char *name, const char *want)
{
	const struct spop_value *v = var(name);

	if (!v || v->type != SPOP_STR || !str_eq(v->bytes, str_c(want)))
		fail_msg("%s is '%" STR_FMT "'", name,
		         STR_ARG(v ? v->bytes : STR("absent")));
}

static void is_number(const char *name, int64_t want)
{
	const struct spop_value *v = var(name);

	assert_non_null(v);
	assert_int_equal(v->type, SPOP_INT64);
	assert_true(v->number == want);
}

/* The ticket of the ACK. Its texts are good until the next call. */
static struct ticket ticket(void)
{
	static char room[2 * TICKET_BYTES_MAX];
	const struct spop_value *v = var("ticket");
	struct ticket_proof proof;
	struct ticket t;

	assert_non_null(v);
	assert_in_range(v->bytes.len, 1, sizeof(room));
	assert_true(ticket_read(v->bytes, room, &t, &proof));
	assert_true(
		seal_verify(test_seal(), r.facts.id, proof.bytes, proof.mac));
	return t;
}

static void plan_all(void)
{
	start();
	r.verdict.verdict = VERDICT_ALLOW;
	r.target[0].backend = STR("s.sweden");
	r.target[0].host = STR("sweden.openai.azure.com");
	r.target[0].path =
		STR("/openai/deployments/gpt-4o-ptu/chat/completions");
	r.target[0].query = STR("api-version=2024-10-21");
	r.target[0].auth_name = STR("authorization");
	r.target[0].auth_value = STR("Bearer secret");
	r.caller.account = STR("team-a");
	r.caller.consumer = &consumer;
	r.caller.identity = &identity;
	r.call.model = &model;
	r.target[0].deployment = &deployment;
	r.target[0].resource = &resource;
	r.charge.prompt_tokens = 100;
	r.charge.output_tokens = 23;
	r.facts.scan.text_bytes = 350;
	r.facts.scan.stream = true;
}

static void deny(int status, const char *code, const char *message)
{
	start();
	r.verdict.verdict = VERDICT_DENY;
	r.verdict.status = status;
	r.verdict.code = code;
	r.verdict.message = str_c(message);
}

static void test_allow(void **state)
{
	(void)state;
	plan_all();
	write_and_read();
	assert_int_equal(n_seen, 11);
	is_text("verdict", "allow");
	is_text("backend", "s.sweden");
	is_text("host", "sweden.openai.azure.com");
	is_text("path", "/openai/deployments/gpt-4o-ptu/chat/completions");
	is_text("query", "api-version=2024-10-21");
	is_text("auth_name", "authorization");
	is_text("auth_value", "Bearer secret");
	is_text("consumer", "team-a");
	is_text("deployment", "gpt-4o-ptu");
	is_text("resource", "sweden");
	assert_non_null(var("ticket"));
}

static void test_allow_without_what_is_optional(void **state)
{
	(void)state;
	plan_all();
	r.target[0].query = STR_NONE;
	r.target[0].deployment = NULL;
	write_and_read();
	assert_null(var("query"));
	assert_null(var("deployment"));
}

/* All that the end of the request needs, in one variable. */
static void test_ticket(void **state)
{
	struct ticket t;

	(void)state;
	plan_all();
	r.caller.agent = STR("asst_1");
	r.caller.project = STR("p");
	r.caller.account = STR("hr");
	r.call.api.traits.tokens = TOKENS_TEXT;
	write_and_read();
	t = ticket();
	assert_true(str_eq(t.consumer, STR("team-a")));
	assert_true(str_eq(t.account, STR("hr")));
	assert_true(str_eq(t.app, identity.app));
	assert_true(str_eq(t.agent, STR("asst_1")));
	assert_true(str_eq(t.project, STR("p")));
	assert_true(str_eq(t.model, STR("gpt-4o")));
	assert_true(str_eq(t.deployment, STR("gpt-4o-ptu")));
	assert_true(str_eq(t.resource, STR("sweden")));
	assert_int_equal(t.operation, API_CHAT);
	assert_int_equal(t.prompt, 100);
	assert_int_equal(t.reserved, 123);
	assert_int_equal(t.text_bytes, 350);
	assert_true(t.counted && t.stream);
	assert_int_equal(t.owner.len + t.origin.len, 0);
	plan_all();
	r.caller.identity = NULL;
	r.call.model = NULL;
	r.call.model_name = STR("gone");
	r.facts.scan.stream = false;
	write_and_read();
	t = ticket();
	assert_true(str_eq(t.model, STR("gone")));
	assert_int_equal(t.app.len, 0);
	assert_false(t.counted || t.stream);
}

/* Then the request is refused: without a ticket it would never be settled. */
static void test_ticket_that_is_too_large(void **state)
{
	static char name[TICKET_BYTES_MAX];

	(void)state;
	plan_all();
	memset(name, 'n', sizeof(name));
	r.caller.agent = str_of(name, sizeof(name));
	assert_false(answer_write(&r, &out));
	assert_int_equal(out.len, 0);
}

/* What is bound when the answer comes goes with the message `created`, and with
 * the ticket when it is a stream. */
static void test_objects(void **state)
{
	struct ticket t;

	(void)state;
	plan_all();
	r.call.api.operation = API_RESPONSES;
	r.call.api.traits.makes = MAKES_ID;
	r.facts.refs.background = true;
	r.caller.owner = STR("tid:oid");
	write_and_read();
	is_text("makes", "id");
	is_text("owner", "tid:oid");
	is_text("origin", "id-1");
	is_text("model", "gpt-4o");
	t = ticket();
	assert_true(str_eq(t.owner, STR("tid:oid")));
	assert_true(str_eq(t.origin, STR("id-1")));
	/* asked for later: it makes nothing, but the first one pays */
	plan_all();
	r.call.api.operation = API_RESPONSES;
	r.caller.owner = STR("tid:oid");
	r.call.origin = STR("id-0");
	write_and_read();
	assert_null(var("makes"));
	assert_null(var("owner"));
	assert_null(var("origin"));
	assert_null(var("model"));
	t = ticket();
	assert_true(str_eq(t.origin, STR("id-0")));
	assert_int_equal(t.owner.len, 0);
}

/* What a later step refused has given back what it took. */
static void test_what_is_left_of_limits(void **state)
{
	(void)state;
	plan_all();
	r.charge.rate_requests = STR("600/599/100ms");
	r.charge.rate_tokens = STR("500/450/1.5s");
	r.charge.warning = STR("tight");
	write_and_read();
	is_text("rate_requests", "600/599/100ms");
	is_text("rate_tokens", "500/450/1.5s");
	is_text("warning", "tight");
	r.verdict.verdict = VERDICT_DENY;
	r.verdict.status = 429;
	buf_clear(&out);
	write_and_read();
	assert_null(var("rate_requests"));
	assert_null(var("rate_tokens"));
	r.verdict.limit = STR("tight");
	buf_clear(&out);
	write_and_read();
	is_text("rate_tokens", "500/450/1.5s");
	assert_null(var("warning"));
}

/* As what a running stream can be cut. What does not run for long need not
 * say so. */
static void test_names_that_can_be_blocked(void **state)
{
	(void)state;
	plan_all();
	r.caller.scope = (struct store_caller){STR("hr"), STR("app-1"),
	                                       STR("proj/agent")};
	write_and_read();
	is_text("app_scope", "app-1");
	is_text("agent_scope", "proj/agent");
	plan_all();
	r.caller.scope = (struct store_caller){STR("hr"), STR("app-1"),
	                                       STR("proj/agent")};
	r.target[0].backend = STR("r.sweden");
	write_and_read();
	assert_null(var("consumer"));
	assert_null(var("app_scope"));
	assert_null(var("agent_scope"));
}

/* HAProxy must never see an allow that it cannot carry out. */
static void test_edits_go_with_their_length(void **state)
{
	(void)state;
	plan_all();
	write_and_read();
	assert_null(var("edits"));
	assert_null(var("length"));
	assert_null(var("strip_usage"));
	plan_all();
	r.target[0].edits = STR("1,0,6:\"a\":1,");
	r.target[0].edited_length = 106;
	r.target[0].strip_usage = true;
	write_and_read();
	is_text("edits", "1,0,6:\"a\":1,");
	is_number("length", 106);
	is_text("strip_usage", "1");
}

/* Left out, the body would go as it came, with another model. */
static void test_edits_that_cannot_be_written(void **state)
{
	(void)state;
	plan_all();
	r.target[0].edits = STR("1,0,1:\n");
	assert_false(answer_write(&r, &out));
	assert_int_equal(out.len, 0);
}

static void test_allow_that_lacks_something(void **state)
{
	struct str *const needed[] = {&r.target[0].backend, &r.target[0].host,
	                              &r.target[0].path, &r.target[0].auth_name,
	                              &r.target[0].auth_value};

	(void)state;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		plan_all();
		*needed[i] = STR_NONE;
		buf_add(&out, "before", 6);
		assert_false(answer_write(&r, &out));
		assert_int_equal(out.len, 6);
	}
}

static void test_header_injection_through_the_plan(void **state)
{
	struct str *const needed[] = {&r.target[0].backend, &r.target[0].host,
	                              &r.target[0].path, &r.target[0].auth_name,
	                              &r.target[0].auth_value};
	static const struct str evil[] = {
		STR_INIT("a\r\nx: y"), STR_INIT("a\nb"), STR_INIT("\0"),
		STR_INIT("a\x7f"),     STR_INIT("\x1f"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		for (size_t k = 0; k < sizeof(evil) / sizeof(evil[0]); k++) {
			plan_all();
			*needed[i] = evil[k];
			assert_false(answer_write(&r, &out));
			assert_int_equal(out.len, 0);
		}
	/* a label is left out instead */
	plan_all();
	r.caller.agent = r.caller.scope.agent = STR("a\nb");
	r.target[0].query = STR("a\r\nb");
	write_and_read();
	assert_null(var("agent_scope"));
	assert_null(var("query"));
	assert_int_equal(ticket().agent.len, 0);
}

static void test_deny_says_nothing_about_the_way(void **state)
{
	(void)state;
	plan_all();
	r.verdict.verdict = VERDICT_DENY;
	r.verdict.status = 429;
	r.verdict.code = "rate_limit_exceeded";
	r.verdict.message = STR("Slow down.");
	r.verdict.retry_after_s = 17;
	write_and_read();
	is_text("verdict", "deny");
	is_number("status", 429);
	is_text("code", "rate_limit_exceeded");
	is_number("retry_after", 17);
	is_text("error", "{\"error\":{\"message\":\"Slow down.\",\"type\":"
	                 "\"rate_limit_error\",\"param\":null,\"code\":"
	                 "\"rate_limit_exceeded\"}}");
	assert_null(var("auth_value"));
	assert_null(var("auth_name"));
	assert_null(var("backend"));
	assert_null(var("host"));
	assert_null(var("path"));
	assert_null(var("challenge"));
	assert_null(var("ticket"));
	assert_int_equal(n_seen, 5);
}

static void test_a_deny_without_times_and_labels(void **state)
{
	(void)state;
	deny(400, "invalid_json", "Bad.");
	write_and_read();
	assert_null(var("retry_after"));
	assert_null(var("challenge"));
	assert_null(var("consumer"));
}

static void test_no_verdict_is_deny(void **state)
{
	(void)state;
	plan_all();
	r.verdict.verdict = VERDICT_NONE;
	write_and_read();
	is_text("verdict", "deny");
	is_number("status", 500);
	is_text("code", "no_decision");
	assert_null(var("auth_value"));
}

static void test_error_shapes(void **state)
{
	static const struct {
		int status;
		const char *openai, *anthropic;
	} cases[] = {
		{400, "invalid_request_error", "invalid_request_error"},
		{401, "authentication_error", "authentication_error"},
		{403, "permission_error", "permission_error"},
		{404, "invalid_request_error", "not_found_error"},
		{405, "invalid_request_error", "invalid_request_error"},
		{413, "invalid_request_error", "request_too_large"},
		{415, "invalid_request_error", "invalid_request_error"},
		{429, "rate_limit_error", "rate_limit_error"},
		{431, "invalid_request_error", "invalid_request_error"},
		{500, "api_error", "api_error"},
		{503, "api_error", "overloaded_error"},
	};
	const char *error;
	size_t at;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		bool anthropic = i % 2;
		const struct json *e;
		struct json *j;
		struct str s;

		deny(cases[i / 2].status, "the_code", "A \"quoted\"\nline.");
		r.call.api.shape = anthropic ? SHAPE_ANTHROPIC : SHAPE_OPENAI;
		write_and_read();
		j = json_parse(var("error")->bytes, &error, &at);
		assert_non_null(j);
		e = json_get(j, "error");
		assert_true(json_str(json_get(e, "type"), &s));
		assert_true(str_eq(s, str_c(anthropic ? cases[i / 2].anthropic
		                                      : cases[i / 2].openai)));
		assert_true(json_str(json_get(e, "message"), &s));
		assert_true(str_eq(s, STR("A \"quoted\"\nline.")));
		if (anthropic) {
			assert_true(json_str(json_get(j, "type"), &s));
			assert_true(str_eq(s, STR("error")));
			assert_true(json_str(json_get(j, "request_id"), &s));
			assert_true(str_eq(s, STR("id-1")));
			assert_int_equal(json_count(j), 3);
		} else {
			assert_true(json_str(json_get(e, "code"), &s));
			assert_true(str_eq(s, STR("the_code")));
			assert_int_equal(json_type(json_get(e, "param")),
			                 JSON_NULL);
			assert_int_equal(json_count(j), 1);
		}
		json_free(j);
	}
}

/* A model's name from a request body comes back in the message. */
static void test_response_splitting_through_the_message(void **state)
{
	static const char evil[] = "x\r\nset-cookie: a\x01\x7f\"}\\\xff\xc3";

	(void)state;
	for (int shape = 0; shape < 2; shape++) {
		deny(401, "credential_invalid", evil);
		r.facts.n_authorization = 1;
		r.call.api.shape = (enum api_shape)shape;
		write_and_read();
		for (size_t i = 0; i < n_seen; i++) {
			struct str s = seen[i].value.bytes;

			for (size_t k = 0; k < s.len; k++)
				assert_true((unsigned char)s.p[k] >= ' ' &&
				            s.p[k] != 0x7f);
		}
		is_text("challenge",
		        "Bearer realm=\"foundry-gateway\", "
		        "error=\"invalid_token\", error_description="
		        "\"x?"
		        "?set-cookie: a?"
		        "?'}?"
		        "?"
		        "?\"");
	}
}

static void test_challenge(void **state)
{
	(void)state;
	deny(401, "token_expired", "The token has expired.");
	r.facts.n_authorization = 1;
	write_and_read();
	is_text("challenge", "Bearer realm=\"foundry-gateway\", "
	                     "error=\"invalid_token\", "
	                     "error_description=\"The token has expired.\"");
	deny(401, "credential_missing", "Send a token.");
	write_and_read();
	is_text("challenge", "Bearer realm=\"foundry-gateway\"");
	deny(403, "not_allowed", "No.");
	r.facts.n_authorization = 1;
	write_and_read();
	assert_null(var("challenge"));
}

static void test_what_does_not_fit_the_limit(void **state)
{
	static char value[6000];
	size_t len;

	(void)state;
	memset(value, 't', sizeof(value));
	plan_all();
	r.target[0].auth_value = str_of(value, sizeof(value));
	write_and_read();
	len = out.len;
	for (int fits = 0; fits < 2; fits++) {
		buf_clear(&out);
		buf_add(&out, "before", 6);
		r.ack_limit = len - 1 + (size_t)fits;
		assert_int_equal(answer_write(&r, &out), fits);
		assert_int_equal(out.len, fits ? 6 + len : 6);
	}
	/* the denial that takes its place does */
	r.verdict.verdict = VERDICT_DENY;
	r.verdict.status = 500;
	r.verdict.code = "answer_too_large";
	r.verdict.message = STR("Too large.");
	buf_clear(&out);
	write_and_read();
	is_text("code", "answer_too_large");
}

/* Of these bytes the tokens say nothing about text. */
static void test_what_is_not_text_alone_teaches_nothing(void **state)
{
	(void)state;
	plan_all();
	r.facts.scan.n_data_urls = 1;
	write_and_read();
	assert_int_equal(ticket().text_bytes, 0);
	r.facts.scan.n_data_urls = 0;
	r.facts.body_cut = true;
	buf_clear(&out);
	write_and_read();
	assert_int_equal(ticket().text_bytes, 0);
}

static void test_huge_numbers(void **state)
{
	(void)state;
	plan_all();
	r.facts.scan.text_bytes = UINT64_MAX;
	write_and_read();
	assert_true(ticket().text_bytes == UINT64_MAX);
	deny(429, "c", "m");
	r.verdict.retry_after_s = UINT64_MAX;
	write_and_read();
	is_number("retry_after", INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allow),
		cmocka_unit_test(test_allow_without_what_is_optional),
		cmocka_unit_test(test_ticket),
		cmocka_unit_test(test_ticket_that_is_too_large),
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_what_is_left_of_limits),
		cmocka_unit_test(test_names_that_can_be_blocked),
		cmocka_unit_test(test_edits_go_with_their_length),
		cmocka_unit_test(test_edits_that_cannot_be_written),
		cmocka_unit_test(test_allow_that_lacks_something),
		cmocka_unit_test(test_header_injection_through_the_plan),
		cmocka_unit_test(test_deny_says_nothing_about_the_way),
		cmocka_unit_test(test_a_deny_without_times_and_labels),
		cmocka_unit_test(test_no_verdict_is_deny),
		cmocka_unit_test(test_error_shapes),
		cmocka_unit_test(test_response_splitting_through_the_message),
		cmocka_unit_test(test_challenge),
		cmocka_unit_test(test_what_does_not_fit_the_limit),
		cmocka_unit_test(test_what_is_not_text_alone_teaches_nothing),
		cmocka_unit_test(test_huge_numbers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
