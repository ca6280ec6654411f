/*
 * keys/outbound and keys/grant: tokens from identity endpoints of each kind,
 * good days and bad.
 */
#include "keys/jose.h"
#include "mint.h"
#include "outbound_world.h"

/* --------------------------------------------------------------- dialects */

static void imds_is_asked_as_documented(void **state)
{
	struct str name, value;

	(void)state;
	start_with_token();
	assert_string_equal(endpoint.method, "GET");
	assert_string_equal(endpoint.target,
	                    "/metadata/identity/oauth2/token"
	                    "?api-version=2018-02-01&resource="
	                    "https%3A%2F%2Fcognitiveservices.azure.com");
	assert_true(head_has("\r\nMetadata: true\r\n"));
	assert_true(head_has("\r\nUser-Agent: foundry-spoa\r\n"));
	assert_int_equal(outbound_header(out, &policy, 0, &name, &value, NULL),
	                 OUTBOUND_OK);
	assert_true(str_eq(name, STR("authorization")));
	assert_true(str_eq(value, STR("Bearer tok1")));
	assert_int_equal(metric_at("foundry_token_expiry_seconds", NULL),
	                 NOW + 3600);
}

static void one_way_to_name_the_identity_is_sent(void **state)
{
	(void)state;
	cred.resource_id = STR("/subscriptions/x y");
	start_with_token();
	assert_non_null(strstr(endpoint.target,
	                       "&msi_res_id=%2Fsubscriptions%2Fx%20y"));
	cred.object_id = STR("o1");
	start();
	wait_for("ok", 2);
	assert_non_null(strstr(endpoint.target, "&object_id=o1"));
	assert_null(strstr(endpoint.target, "msi_res_id"));
	cred.client_id = STR("c1");
	start();
	wait_for("ok", 3);
	assert_non_null(strstr(endpoint.target, "&client_id=c1"));
	assert_null(strstr(endpoint.target, "object_id"));
}

static void app_service_is_asked_as_documented(void **state)
{
	char url[128];

	(void)state;
	snprintf(url, sizeof(url), "%s/msi/token", endpoint.base);
	cred.type = CRED_APP_SERVICE;
	cred.endpoint = str_c(url);
	cred.header_value = STR("guard");
	cred.client_id = STR("c1");
	cred.audience = STR("https://ai.azure.com/.default");
	say(200, "{\"access_token\":\"tok2\",\"expires_on\":\"1800003600\"}");
	start_with_token();
	assert_string_equal(endpoint.target,
	                    "/msi/token?api-version=2019-08-01"
	                    "&resource=https%3A%2F%2Fai.azure.com"
	                    "&client_id=c1");
	assert_true(head_has("\r\nX-IDENTITY-HEADER: guard\r\n"));
	assert_token("Bearer tok2");
	assert_int_equal(metric_at("foundry_token_expiry_seconds", NULL),
	                 NOW + 3600);
}

static void client_secret_is_posted(void **state)
{
	(void)state;
	cred.type = CRED_CLIENT_SECRET;
	cred.tenant_id = STR("t1");
	cred.client_id = STR("c1");
	cred.secret = STR("s&cret+=~");
	say(200, "{\"token_type\":\"Bearer\",\"expires_in\":3599,"
	         "\"access_token\":\"tok3\"}");
	start_with_token();
	assert_string_equal(endpoint.method, "POST");
	assert_string_equal(endpoint.target, "/t1/oauth2/v2.0/token");
	assert_true(head_has("\r\nContent-Type: "
	                     "application/x-www-form-urlencoded\r\n"));
	assert_string_equal(
		endpoint.sent,
		"grant_type=client_credentials&client_id=c1&scope="
		"https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
		"&client_secret=s%26cret%2B%3D~");
	assert_token("Bearer tok3");
}

static void static_key_needs_no_fetch(void **state)
{
	struct str name, value;

	(void)state;
	cred.type = CRED_KEY;
	cred.secret = STR("abc");
	cred.key_header = STR("x-api-key");
	start();
	assert_true(outbound_ready(out));
	assert_int_equal(outbound_header(out, &policy, 0, &name, &value, NULL),
	                 OUTBOUND_OK);
	assert_true(str_eq(name, STR("x-api-key")));
	assert_true(str_eq(value, STR("abc")));
	cred.key_header = STR_NONE;
	start();
	assert_int_equal(outbound_header(out, &policy, 0, &name, &value, NULL),
	                 OUTBOUND_OK);
	assert_true(str_eq(name, STR("api-key")));
	run_a_little(loop);
	assert_int_equal(endpoint.n, 0);
}

static void header_value_cannot_begin_another_header(void **state)
{
	(void)state;
	cred.type = CRED_APP_SERVICE;
	cred.header_value = STR("a\r\nX-Evil: 1");
	start();
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
	assert_false(outbound_ready(out));
	run_a_little(loop);
	assert_int_equal(endpoint.n, 0);
}

static void resource_out_of_range_fails(void **state)
{
	struct str name, value;

	(void)state;
	start_with_token();
	assert_int_equal(outbound_header(out, &policy, 1, &name, &value, NULL),
	                 OUTBOUND_FAILED);
}

/* ---------------------------------------------------------------- answers */

static const char *judge(const char *text, struct grant_token *t)
{
	const char *why = NULL;
	struct grant_answer *a = grant_answer_new(str_c(text), NOW, t, &why);

	assert_int_equal(a == NULL, why != NULL);
	grant_answer_free(a);
	return why;
}

static void expiries_are_numbers_or_strings(void **state)
{
	static const char *const good[] = {
		"{\"access_token\":\"t\",\"expires_in\":3600}",
		"{\"access_token\":\"t\",\"expires_in\":\"3600\"}",
		"{\"access_token\":\"t\",\"expires_on\":1800003600}",
		"{\"access_token\":\"t\",\"expires_on\":\"1800003600\"}",
		"{\"access_token\":\"t\",\"expires_in\":3600,\"expires_on\":1}",
	};
	static const char *const bad[] = {
		"{\"access_token\":\"t\"}",
		"{\"access_token\":\"t\",\"expires_in\":0}",
		"{\"access_token\":\"t\",\"expires_in\":-5}",
		"{\"access_token\":\"t\",\"expires_in\":\"-5\"}",
		"{\"access_token\":\"t\",\"expires_in\":\"soon\"}",
		"{\"access_token\":\"t\",\"expires_in\":1.5}",
		"{\"access_token\":\"t\",\"expires_in\":null,"
		"\"expires_on\":1800003600}",
		"{\"access_token\":\"t\",\"expires_on\":1800000000}",
		"{\"access_token\":\"t\",\"expires_on\":"
		"\"06/20/2026 02:57:58 +00:00\"}",
	};
	struct grant_token t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_null(judge(good[i], &t));
		assert_int_equal(t.lifetime_s, 3600);
		assert_in_range(t.renew_in_s, 2970, 3300);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(judge(bad[i], &t));
	assert_null(judge("{\"access_token\":\"t\",\"expires_in\":"
	                  "9007199254740991}",
	                  &t));
	assert_int_equal(t.lifetime_s, 315360000);
	assert_null(judge("{\"access_token\":\"t\",\"expires_on\":"
	                  "\"9223372036854775807\"}",
	                  &t));
	assert_int_equal(t.lifetime_s, 315360000);
}

static void refresh_in_is_obeyed(void **state)
{
	struct grant_token t;

	(void)state;
	assert_null(judge("{\"access_token\":\"t\",\"expires_in\":86400,"
	                  "\"refresh_in\":\"1000\"}",
	                  &t));
	assert_in_range(t.renew_in_s, 900, 1100);
	assert_null(judge("{\"access_token\":\"t\",\"expires_in\":86400,"
	                  "\"refresh_in\":100000}",
	                  &t));
	assert_in_range(t.renew_in_s, 38880, 47520);
}

static void renewal_follows_the_rules(void **state)
{
	(void)state;
	assert_int_equal(grant_renew_in(86400, 43200), 43200);
	assert_int_equal(grant_renew_in(86400, 0), 43200);
	assert_int_equal(grant_renew_in(7200, 0), 3600);
	assert_int_equal(grant_renew_in(7199, 0), 6899);
	assert_int_equal(grant_renew_in(3600, 0), 3300);
	assert_int_equal(grant_renew_in(3600, 3600), 3300);
	assert_int_equal(grant_renew_in(600, 0), 300);
	assert_int_equal(grant_renew_in(10, 0), 5);
}

static void renewal_never_comes_after_the_end(void **state)
{
	struct grant_token t;
	unsigned i;

	(void)state;
	for (i = 0; i < 200; i++) {
		assert_null(judge("{\"access_token\":\"t\","
		                  "\"expires_in\":7199}",
		                  &t));
		assert_in_range(t.renew_in_s, 6209, 6899);
		assert_null(
			judge("{\"access_token\":\"t\",\"expires_in\":1}", &t));
		assert_int_equal(t.renew_in_s, 1);
	}
}

static void answers_that_are_no_token_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"{}",
		"<html>",
		"{\"access_token\":\"\",\"expires_in\":60}",
		"{\"access_token\":1,\"expires_in\":60}",
		"{\"access_token\":\"a b\",\"expires_in\":60}",
		"{\"access_token\":\"a\\r\\nX: y\",\"expires_in\":60}",
		"{\"access_token\":\"a\\u0000\",\"expires_in\":60}",
		"{\"access_token\":\"t\",\"expires_in\":60,"
		"\"token_type\":\"pop\"}",
		"{\"access_token\":\"t\",\"access_token\":\"u\","
		"\"expires_in\":60}",
	};
	struct grant_token t = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(judge(bad[i], &t));
	assert_int_equal(t.lifetime_s, 0);
	assert_null(judge("{\"access_token\":\"t\",\"expires_in\":60,"
	                  "\"token_type\":\"bearer\"}",
	                  &t));
}

static void useless_answer_is_a_failure(void **state)
{
	(void)state;
	say(200, "{\"access_token\":\"tok1\"}");
	start();
	wait_for("error", 1);
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
}

static void oversized_answer_is_refused(void **state)
{
	(void)state;
	memset(endpoint.body, ' ', 66000);
	copy(endpoint.body + 66000, 1000,
	     STR("{\"access_token\":\"t\",\"expires_in\":60}"));
	start();
	wait_for("error", 1);
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
}

static void redirect_is_not_followed(void **state)
{
	(void)state;
	say(302, "");
	endpoint.headers = "Location: /elsewhere\r\n";
	start();
	wait_for("error", 1);
	run_a_little(loop);
	assert_int_equal(endpoint.n, 1);
}

/* ---------------------------------------------------------------- waiting */

static void first_request_waits_and_is_woken(void **state)
{
	struct waiter a = {.wake = on_wake}, b = {.wake = on_wake},
		      c = {.wake = on_wake};

	(void)state;
	start();
	assert_false(outbound_ready(out));
	assert_int_equal(header(NULL, &a), OUTBOUND_WAIT);
	assert_int_equal(header(NULL, &a), OUTBOUND_WAIT);
	assert_int_equal(header(NULL, &b), OUTBOUND_WAIT);
	assert_int_equal(header(NULL, &c), OUTBOUND_WAIT);
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
	waiter_cancel(&b);
	waiter_cancel(&b);
	wait_for("ok", 1);
	run_a_little(loop);
	assert_int_equal(n_woken, 2);
	assert_int_equal(endpoint.n, 1); /* merged into one */
	assert_token("Bearer tok1");
}

static void waiter_is_woken_by_failure_too(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	say(500, "");
	start();
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(header(NULL, &w), OUTBOUND_FAILED);
	assert_null(w.prev);
}

static void freeing_wakes_who_waits(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	endpoint.hold = true;
	start();
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	run_until_count(loop, &endpoint.n, 1);
	outbound_free(out);
	out = NULL;
	assert_int_equal(n_woken, 1);
}

/* ---------------------------------------------------------------- renewal */

static void token_is_renewed_ahead_of_its_end(void **state)
{
	(void)state;
	start_with_token();
	say(200, "{\"access_token\":\"tok2\",\"expires_in\":3600}");
	fake_clock_pass(&now, 2900);
	assert_token("Bearer tok1");
	run_a_little(loop);
	assert_int_equal(endpoint.n, 1);
	fake_clock_pass(&now, 405);  /* behind every jitter */
	assert_token("Bearer tok1"); /* nobody waits for the new one */
	wait_for("ok", 2);
	assert_token("Bearer tok2");
	assert_int_equal(endpoint.n, 2);
}

static void renewal_comes_by_itself(void **state)
{
	(void)state;
	say(200, "{\"access_token\":\"tok1\",\"expires_in\":2}");
	start();
	wait_for("ok", 2); /* after about a second */
}

static void slow_endpoint_does_not_hold_up_a_valid_token(void **state)
{
	(void)state;
	start_with_token();
	endpoint.hold = true;
	fake_clock_pass(&now, 3305);
	assert_token("Bearer tok1");
	run_until_count(loop, &endpoint.n, 2);
	assert_token("Bearer tok1");
	assert_token("Bearer tok1");
	run_a_little(loop);
	assert_int_equal(endpoint.n, 2); /* one in flight */
}

static void old_token_serves_until_it_ends(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	start_with_token();
	say(500, "");
	fake_clock_pass(&now, 3305);
	assert_token("Bearer tok1");
	wait_for("error", 1);
	assert_token("Bearer tok1");
	assert_true(outbound_ready(out));
	fake_clock_pass(&now, 284);
	assert_token("Bearer tok1"); /* 11 s left */
	wait_for("error", 2);
	fake_clock_pass(&now, 1);
	assert_int_equal(header(NULL, &w), OUTBOUND_FAILED); /* 10 s left */
	assert_false(outbound_ready(out));
	say(200, "{\"access_token\":\"tok2\",\"expires_in\":3600}");
	fake_clock_pass(&now, 70);
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_token("Bearer tok2");
}

static void clock_that_jumped_makes_us_ask_at_once(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	start_with_token();
	now.real_ms += 86400 * 1000LL; /* the machine slept */
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_token("Bearer tok1");
	assert_int_equal(endpoint.n, 2);
}

static void borrowed_value_lives_until_the_next_turn(void **state)
{
	struct str name, value;

	(void)state;
	start_with_token();
	assert_int_equal(outbound_header(out, &policy, 0, &name, &value, NULL),
	                 OUTBOUND_OK);
	policy.n_resources = 0; /* a reload drops it */
	start();
	assert_true(str_eq(value, STR("Bearer tok1")));
	run_a_little(loop);
}

/* --------------------------------------------------------------- failures */

static void passing_error(int status)
{
	struct waiter w = {.wake = on_wake};

	say(status, "{\"error\":\"x\"}");
	start();
	wait_for("error", 1);
	assert_int_equal(header(NULL, &w), OUTBOUND_FAILED);
	assert_int_equal(endpoint.n, 1);
	say(200, "{\"access_token\":\"tok1\",\"expires_in\":3600}");
	/* the first pause is about a second, after 410 ten */
	fake_clock_pass(&now, status == 410 ? 9 : 2);
	assert_int_equal(header(NULL, &w),
	                 status == 410 ? OUTBOUND_FAILED : OUTBOUND_WAIT);
	fake_clock_pass(&now, 2);
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_token("Bearer tok1");
	assert_int_equal(endpoint.n, 2);
}

static void imds_404_then_ok(void **state)
{
	(void)state;
	passing_error(404);
}

static void imds_410_then_ok(void **state)
{
	(void)state;
	passing_error(410);
}

static void imds_429_then_ok(void **state)
{
	(void)state;
	passing_error(429);
}

static void imds_500_then_ok(void **state)
{
	(void)state;
	passing_error(500);
}

static void retry_after_is_obeyed_but_not_for_a_day(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	say(429, "");
	endpoint.headers = "Retry-After: 30\r\n";
	start();
	wait_for("error", 1);
	fake_clock_pass(&now, 29);
	assert_int_equal(header(NULL, &w), OUTBOUND_FAILED);
	fake_clock_pass(&now, 1);
	endpoint.headers = "Retry-After: 86400\r\n";
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	fake_clock_pass(&now, 120);
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	waiter_cancel(&w);
}

static void misconfigured(int status)
{
	struct waiter w = {.wake = on_wake};

	say(status, "{\"error\":\"invalid_request\","
	            "\"error_description\":\"Identity not found\"}");
	start();
	wait_for("error", 1);
	fake_clock_pass(&now, 100);
	assert_int_equal(header(NULL, &w), OUTBOUND_FAILED);
	run_a_little(loop);
	assert_int_equal(endpoint.n, 1);
	fake_clock_pass(&now, 33);
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	waiter_cancel(&w);
}

static void imds_400_is_not_retried_fast(void **state)
{
	(void)state;
	misconfigured(400);
}

static void imds_401_is_not_retried_fast(void **state)
{
	(void)state;
	misconfigured(401);
}

static void imds_403_is_not_retried_fast(void **state)
{
	(void)state;
	misconfigured(403);
}

static void nobody_listening_is_a_passing_failure(void **state)
{
	(void)state;
	httpd_free(endpoint.h);
	endpoint.h = NULL;
	start();
	wait_for("error", 1);
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
}

static void failure_says_what_azure_said(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 512);
	assert_true(grant_error(STR("{\"error\":\"invalid_client\","
	                            "\"error_description\":\"AADSTS700211\"}"),
	                        &b));
	assert_true(str_eq(buf_str(&b), STR("invalid_client: AADSTS700211")));
	buf_clear(&b);
	assert_true(grant_error(STR("{\"statusCode\":400,\"message\":\"no\"}"),
	                        &b));
	assert_true(str_eq(buf_str(&b), STR("no")));
	buf_clear(&b);
	assert_false(grant_error(STR("<html>"), &b));
	assert_false(grant_error(STR("{}"), &b));
	buf_done(&b);
}

/* ------------------------------------------------------------------ Redis */

#define OID "66666666-6666-6666-6666-666666666666"
#define TOKEN_WITH_OID                                                         \
	"e30.eyJvaWQiOiI2NjY2NjY2Ni02NjY2LTY2NjYtNjY2Ni02Nj"                   \
	"Y2NjY2NjY2NjYifQ.c2ln"
#define TOKEN_WITHOUT_OID "e30.eyJzdWIiOiJ4In0.c2ln"
#define ANSWER(token)     "{\"access_token\":\"" token "\",\"expires_in\":3600}"

static void start_redis(const char *answered)
{
	policy.n_resources = 0;
	policy.redis.credential = &cred;
	say(200, answered);
	start();
}

static void redis_has_a_token_of_its_own(void **state)
{
	struct waiter w = {.wake = on_wake};
	struct str user, token;

	(void)state;
	start_redis(ANSWER(TOKEN_WITH_OID));
	assert_int_equal(outbound_redis(out, &user, &token, &w), OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(n_renewed, 1);
	assert_non_null(strstr(endpoint.target,
	                       "resource=https%3A%2F%2Fredis.azure.com"));
	assert_int_equal(outbound_redis(out, &user, &token, NULL), OUTBOUND_OK);
	assert_true(str_eq(user, STR(OID)));
	assert_true(str_eq(token, STR(TOKEN_WITH_OID)));

	/* told of the renewal, and again only of the next */
	say(200, ANSWER(TOKEN_WITHOUT_OID));
	fake_clock_pass(&now, 3400);
	assert_int_equal(outbound_redis(out, &user, &token, NULL), OUTBOUND_OK);
	wait_for("ok", 2);
	assert_int_equal(n_renewed, 2);
	assert_int_equal(outbound_redis(out, &user, &token, NULL),
	                 OUTBOUND_FAILED);
	policy.redis.username = STR("named");
	assert_int_equal(outbound_redis(out, &user, &token, NULL), OUTBOUND_OK);
	assert_true(str_eq(user, STR("named")));
	assert_true(str_eq(token, STR(TOKEN_WITHOUT_OID)));
}

static void only_a_guid_is_an_object_id(void **state)
{
	static const char *const payloads[] = {
		"{\"oid\":\"" OID "\"}", "{\"sub\":\"" OID "\"}",
		"{\"oid\":\"default\"}", "{\"oid\":7}", ""};
	char oid[37], *token;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(payloads) / sizeof(*payloads); i++) {
		token = mint_raw(STR("{}"), str_c(payloads[i]), STR("x"));
		assert_int_equal(jose_oid(str_c(token), oid), i == 0);
		free(token);
	}
	assert_string_equal(oid, OID);
	assert_false(jose_oid(STR("no token"), oid));
}

static void redis_is_not_told_of_a_failure(void **state)
{
	struct waiter w = {.wake = on_wake};
	struct str user, token;

	(void)state;
	assert_int_equal(outbound_redis(out, &user, &token, &w),
	                 OUTBOUND_FAILED);
	start_redis("{}");
	assert_int_equal(outbound_redis(out, &user, &token, &w), OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(outbound_redis(out, &user, &token, &w),
	                 OUTBOUND_FAILED);
	assert_int_equal(n_renewed, 0);
	assert_int_equal(endpoint.n, 1);
}

/* A command holds nothing for resources; the agent does not wait for Redis's
 * token to be ready. */
static void the_credential_of_redis_stands_apart(void **state)
{
	struct outbound *only = outbound_new(&(struct outbound_options){
		.loop = loop,
		.clock = &now.clock,
		.fetch = fetch,
		.redis_only = true,
	});
	struct waiter w = {.wake = on_wake};
	struct str user, token, name;

	(void)state;
	policy.redis.credential = &cred;
	say(200, ANSWER(TOKEN_WITH_OID));
	assert_true(outbound_configure(only, &policy));
	assert_int_equal(outbound_redis(only, &user, &token, &w),
	                 OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(endpoint.n, 1);
	assert_int_equal(outbound_redis(only, &user, &token, NULL),
	                 OUTBOUND_OK);
	assert_int_equal(outbound_header(only, &policy, 0, &name, &token, NULL),
	                 OUTBOUND_FAILED);
	assert_false(outbound_ready(only));
	outbound_free(only);

	/* Redis's credential is taken out of the configuration */
	start();
	wait_for("ok", 2);
	assert_int_equal(n_renewed, 1);
	policy.redis.credential = NULL;
	start();
	assert_true(outbound_ready(out));
	assert_int_equal(outbound_redis(out, &user, &token, NULL),
	                 OUTBOUND_FAILED);
}

/* ----------------------------------------------------------------- reload */

static void reload_keeps_tokens_of_what_stays(void **state)
{
	struct policy_credential two[2] = {
		{.name = STR("key"), .type = CRED_KEY, .secret = STR("s")},
		cred};
	struct policy_resource both[2] = {{.credential = 0}, {.credential = 1}};
	struct policy next = {.refs = 100,
	                      .credentials = two,
	                      .n_credentials = 2,
	                      .resources = both,
	                      .n_resources = 2};
	struct str name, value;

	(void)state;
	start_with_token();
	assert_true(outbound_configure(out, &next));
	assert_true(outbound_ready(out));
	assert_int_equal(outbound_header(out, &next, 1, &name, &value, NULL),
	                 OUTBOUND_OK);
	assert_true(str_eq(value, STR("Bearer tok1")));
	/* a request that began under the old policy */
	assert_token("Bearer tok1");
	assert_int_equal(endpoint.n, 1);
	assert_int_equal(policy.refs, 100);
	assert_int_equal(next.refs, 101);
	assert_true(outbound_configure(out, &policy));
}

static void reload_drops_what_changed(void **state)
{
	struct policy_credential changed = cred;
	struct policy next = {.refs = 100,
	                      .credentials = &changed,
	                      .n_credentials = 1,
	                      .resources = &resource,
	                      .n_resources = 1};

	(void)state;
	start_with_token();
	changed.client_id = STR("other");
	assert_true(outbound_configure(out, &next));
	assert_false(outbound_ready(out));
	/* the old policy's credential is gone, not mistaken for the new */
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
	wait_for("ok", 2);
	assert_true(outbound_ready(out));
	assert_true(outbound_configure(out, &policy));
}

static void reload_tries_a_failing_credential_at_once(void **state)
{
	(void)state;
	say(400, "");
	start();
	wait_for("error", 1);
	say(200, "{\"access_token\":\"tok1\",\"expires_in\":3600}");
	start();
	wait_for("ok", 1);
	assert_token("Bearer tok1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(imds_is_asked_as_documented),
		TEST(one_way_to_name_the_identity_is_sent),
		TEST(app_service_is_asked_as_documented),
		TEST(client_secret_is_posted),
		TEST(static_key_needs_no_fetch),
		TEST(header_value_cannot_begin_another_header),
		TEST(resource_out_of_range_fails),
		cmocka_unit_test(expiries_are_numbers_or_strings),
		cmocka_unit_test(refresh_in_is_obeyed),
		cmocka_unit_test(renewal_follows_the_rules),
		cmocka_unit_test(renewal_never_comes_after_the_end),
		cmocka_unit_test(answers_that_are_no_token_are_refused),
		TEST(useless_answer_is_a_failure),
		TEST(oversized_answer_is_refused),
		TEST(redirect_is_not_followed),
		TEST(first_request_waits_and_is_woken),
		TEST(waiter_is_woken_by_failure_too),
		TEST(freeing_wakes_who_waits),
		TEST(token_is_renewed_ahead_of_its_end),
		TEST(renewal_comes_by_itself),
		TEST(slow_endpoint_does_not_hold_up_a_valid_token),
		TEST(old_token_serves_until_it_ends),
		TEST(clock_that_jumped_makes_us_ask_at_once),
		TEST(borrowed_value_lives_until_the_next_turn),
		TEST(imds_404_then_ok),
		TEST(imds_410_then_ok),
		TEST(imds_429_then_ok),
		TEST(imds_500_then_ok),
		TEST(retry_after_is_obeyed_but_not_for_a_day),
		TEST(imds_400_is_not_retried_fast),
		TEST(imds_401_is_not_retried_fast),
		TEST(imds_403_is_not_retried_fast),
		TEST(nobody_listening_is_a_passing_failure),
		cmocka_unit_test(failure_says_what_azure_said),
		TEST(redis_has_a_token_of_its_own),
		cmocka_unit_test(only_a_guid_is_an_object_id),
		TEST(redis_is_not_told_of_a_failure),
		TEST(the_credential_of_redis_stands_apart),
		TEST(reload_keeps_tokens_of_what_stays),
		TEST(reload_drops_what_changed),
		TEST(reload_tries_a_failing_credential_at_once),
	};

	return cmocka_run_group_tests_name("outbound", tests, NULL, NULL);
}
