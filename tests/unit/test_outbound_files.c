/*
 * keys/outbound: credentials that are more than one request: files that others
 * renew, the Arc agent's challenge, several audiences.
 */
#include "outbound_world.h"

#include <unistd.h>

/* ----------------------------------------------------------------- files */

static char path[128];

static void write_file(const char *name, const char *text)
{
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static void workload(const char *token)
{
	write_file("token", token);
	cred.type = CRED_WORKLOAD;
	cred.tenant_id = STR("t1");
	cred.client_id = STR("c1");
	cred.file = str_c(path);
}

static void federated_token_is_read_at_every_refresh(void **state)
{
	(void)state;
	workload("aa.bb.c-_\n");
	start_with_token();
	assert_string_equal(endpoint.target, "/t1/oauth2/v2.0/token");
	assert_string_equal(
		endpoint.sent,
		"grant_type=client_credentials&client_id=c1&scope="
		"https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
		"&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A"
		"client-assertion-type%3Ajwt-bearer"
		"&client_assertion=aa.bb.c-_");
	write_file("token", "dd.ee.ff");
	fake_clock_pass(&now, 3400);
	assert_token("Bearer tok1");
	wait_for("ok", 2);
	assert_non_null(strstr(endpoint.sent, "&client_assertion=dd.ee.ff"));
}

static void federated_token_that_vanishes_is_a_passing_failure(void **state)
{
	(void)state;
	workload("aa.bb.cc");
	assert_int_equal(unlink(path), 0);
	start();
	assert_int_equal(metric_at("foundry_token_fetches_total", "error"), 1);
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
	run_a_little(loop);
	assert_int_equal(endpoint.n, 0);
	write_file("token", "aa.bb.cc");
	fake_clock_pass(&now, 2);
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
	wait_for("ok", 1);
	assert_token("Bearer tok1");
}

/* ------------------------------------------------------------- the Arc agent
 */

static char challenge[256];

static void arc(const char *realm)
{
	cred.type = CRED_ARC;
	snprintf(challenge, sizeof(challenge), "WWW-Authenticate: %s\r\n",
	         realm);
	endpoint.headers = challenge;
	say(401, "");
	endpoint.prove = true;
}

static void arc_for(const char *name)
{
	char realm[200];

	snprintf(realm, sizeof(realm), "Basic realm=%s/%s", folder, name);
	arc(realm);
}

static void arc_challenge_is_answered(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	write_file("a.key", "s3cret\n");
	arc_for("a.key");
	start();
	assert_int_equal(header(NULL, &w), OUTBOUND_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_token("Bearer tok1");
	assert_int_equal(endpoint.n, 2); /* asked, and asked with the proof */
	assert_string_equal(endpoint.target,
	                    "/metadata/identity/oauth2/token"
	                    "?api-version=2020-06-01&resource="
	                    "https%3A%2F%2Fcognitiveservices.azure.com");
	assert_true(head_has("\r\nMetadata: true\r\n"));
	assert_true(head_has("\r\nAuthorization: Basic s3cret\r\n"));
	/* the agent makes a new file for every challenge */
	assert_int_equal(unlink(path), 0);
	write_file("b.key", "other");
	arc_for("b.key");
	fake_clock_pass(&now, 3400);
	assert_token("Bearer tok1");
	wait_for("ok", 2);
	assert_true(head_has("\r\nAuthorization: Basic other\r\n"));
	assert_int_equal(metric_at("foundry_token_fetches_total", "error"), 0);
}

static void arc_agent_that_never_has_enough_is_left(void **state)
{
	(void)state;
	write_file("a.key", "s3cret");
	arc_for("a.key");
	endpoint.prove = false; /* 401, whatever comes */
	start();
	wait_for("error", 1);
	run_a_little(loop);
	assert_int_equal(endpoint.n, 2);
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
}

/* Whoever listens on that port asks for a file of his choice. */
static void arc_challenge_for_another_file_sends_nothing(void **state)
{
	(void)state;
	write_file("a.key", "s3cret");
	arc("Basic realm=/etc/hostname.key");
	start();
	wait_for("error", 1);
	run_a_little(loop);
	assert_int_equal(endpoint.n, 1);
	assert_false(head_has("Authorization"));
	assert_int_equal(header(NULL, NULL), OUTBOUND_FAILED);
}

static void two_arc_challenges_are_none(void **state)
{
	(void)state;
	write_file("a.key", "s3cret");
	arc_for("a.key");
	memcpy(challenge + strlen(challenge),
	       "WWW-Authenticate: Basic realm=/x\r\n",
	       sizeof("WWW-Authenticate: Basic realm=/x\r\n"));
	start();
	wait_for("error", 1);
	run_a_little(loop);
	assert_int_equal(endpoint.n, 1);
}

/* Only the Arc agent may answer with a challenge that names a file to read. */
static void imds_cannot_challenge(void **state)
{
	(void)state;
	write_file("a.key", "s3cret");
	arc_for("a.key");
	cred.type = CRED_IMDS;
	start();
	wait_for("error", 1);
	run_a_little(loop);
	assert_int_equal(endpoint.n, 1);
}

/* -------------------------------------------------------------- audiences */

static void each_audience_has_a_token_of_its_own(void **state)
{
	struct policy_resource three[3] = {
		{.credential = 0},
		{.credential = 0, .audience = STR("https://ai.azure.com")},
		{.credential = 0},
	};
	struct str name, value;

	(void)state;
	policy.resources = three;
	policy.n_resources = 3;
	endpoint.echo = true;
	start();
	assert_false(outbound_ready(out));
	wait_for("ok", 2);
	assert_true(outbound_ready(out));
	assert_int_equal(endpoint.n, 2); /* two resources share one */
	assert_token("Bearer https-cognitiveservices.azure.com");
	assert_int_equal(outbound_header(out, &policy, 1, &name, &value, NULL),
	                 OUTBOUND_OK);
	assert_true(str_eq(value, STR("Bearer https-ai.azure.com")));
	assert_int_equal(outbound_header(out, &policy, 2, &name, &value, NULL),
	                 OUTBOUND_OK);
	assert_true(
		str_eq(value, STR("Bearer https-cognitiveservices.azure.com")));
	policy.n_resources = 0; /* `three` ends here */
	start();
}

static void credential_of_no_resource_is_not_fetched(void **state)
{
	(void)state;
	policy.n_resources = 0;
	start();
	assert_true(outbound_ready(out));
	run_a_little(loop);
	assert_int_equal(endpoint.n, 0);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"token", "a.key", "b.key"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(federated_token_is_read_at_every_refresh),
		TEST(federated_token_that_vanishes_is_a_passing_failure),
		TEST(arc_challenge_is_answered),
		TEST(arc_agent_that_never_has_enough_is_left),
		TEST(arc_challenge_for_another_file_sends_nothing),
		TEST(two_arc_challenges_are_none),
		TEST(imds_cannot_challenge),
		TEST(each_audience_has_a_token_of_its_own),
		TEST(credential_of_no_resource_is_not_fetched),
	};

	return cmocka_run_group_tests_name("outbound_files", tests, make_folder,
	                                   remove_folder);
}
