/*
 * keys/inbound: from a presented credential to an identity, with real key
 * sets. The form of tokens is test_jose's; here are keys, claims and the
 * cache.
 */
#include "test.h"

#include "authority.h"
#include "base/log.h"
#include "keys/claims.h"
#include "keys/inbound.h"

#include <stdio.h>
#include <stdlib.h>

enum { NOW = 1800000000 };

#define APP   "bbbbbbbb-0000-4000-8000-00000000000a"
#define OID   "cccccccc-0000-4000-8000-00000000000b"
#define AUD   "api://gateway"
#define OTHER "dddddddd-0000-4000-8000-00000000000c"

static struct mint_key rsa, rotated;
static struct loop *loop;
static struct fake_clock now;
static struct fetch *fetch;
static struct authority auth;
static struct jwks *jwks;
static struct inbound *in;
static struct metrics *metrics;
static struct policy policy, policy_two;
static struct policy_tenant tenant;
static struct policy_key keys[3];

static const struct str audiences[] = {STR_INIT(AUD), STR_INIT(OTHER)};
static const struct str scopes[] = {STR_INIT("invoke")};
static const struct str roles[] = {STR_INIT("Gateway.Use")};
static const struct str callers[] = {STR_INIT(OTHER)};

static int64_t count_of(const char *name, const char *tenant_name,
                        const char *result)
{
	struct buf labels;
	int64_t n;

	buf_init(&labels, 128);
	if (tenant_name)
		metrics_label(&labels, "tenant", str_c(tenant_name));
	metrics_label(&labels, "result", str_c(result));
	n = metric_value(metrics_get(metrics, name, buf_str(&labels)));
	buf_done(&labels);
	return n;
}

/* ctx: how many key sets must have been loaded. */
static bool loaded(void *ctx)
{
	return count_of("foundry_jwks_fetches_total", "contoso", "ok") >=
	       *(const int64_t *)ctx;
}

static void publish(const char *kid, const struct mint_key *k,
                    const char *extra)
{
	authority_publish(&auth, &k, &kid, &extra, 1);
}

static int group_setup(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR); /* loading keys is not the subject here */
	mint_key_init(&rsa, 2048, 65537);
	mint_key_init(&rotated, 2048, 65537);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	mint_key_done(&rsa);
	mint_key_done(&rotated);
	return 0;
}

static void on_changed(void *ctx, struct str tid)
{
	(void)ctx;
	inbound_flush(in, tid);
}

static void start_keys(void)
{
	struct jwks_options o = {.loop = loop,
	                         .clock = &now.clock,
	                         .fetch = fetch,
	                         .metrics = metrics,
	                         .changed = on_changed};

	jwks = jwks_new(&o);
	in = inbound_new(&now.clock, jwks, metrics);
	assert_true(jwks_configure(jwks, &policy));
}

static void configure(void)
{
	authority_tenant(&auth, &tenant);
	tenant.audiences = (struct strs){audiences, 2};
	tenant.scopes = (struct strs){scopes, 1};
	tenant.roles = (struct strs){roles, 1};
	tenant.callers = (struct strs){callers, 1};
	policy = (struct policy){.refs = 1, .tenants = &tenant, .n_tenants = 1};
	policy_two = policy;
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	fake_clock_init(&now, NOW);
	fetch = fetch_new(loop, NULL);
	metrics = metrics_new();
	authority_init(&auth, loop);
	configure();
	publish("k1", &rsa, NULL);
	start_keys();
	run_until(loop, loaded, &(int64_t){2}); /* v1 and v2 */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	inbound_free(in);
	jwks_free(jwks);
	fetch_free(fetch);
	authority_done(&auth);
	metrics_free(metrics);
	loop_free(loop);
	return 0;
}

/* ---------------------------------------------------------------- minting */

struct claim {
	const char *name, *value; /* JSON text; NULL leaves the claim out */
};

static void add_claim(struct buf *out, const char *name, const char *value)
{
	if (value)
		buf_fmt(out, "%s\"%s\":%s", out->len > 1 ? "," : "", name,
		        value);
}

/* A delegated v2 token of the tenant, with `over` put over its claims. */
static char *payload_with(const struct claim *over, size_t n)
{
	char iss[300];
	struct claim base[] = {
		{"ver", "\"2.0\""},
		{"iss", iss},
		{"tid", "\"" AUTHORITY_TID "\""},
		{"aud", "\"" AUD "\""},
		{"exp", "1800003600"},
		{"nbf", "1799999900"},
		{"azp", "\"" APP "\""},
		{"oid", "\"" OID "\""},
		{"scp", "\"read invoke\""},
	};
	bool used[16] = {false};
	struct buf out;
	char *text;
	size_t i, k;

	snprintf(iss, sizeof(iss), "\"%s\"", auth.issuer_v2);
	buf_init(&out, 16384);
	buf_add_str(&out, STR("{"));
	for (i = 0; i < sizeof(base) / sizeof(base[0]); i++) {
		for (k = 0; k < n; k++)
			if (strcmp(over[k].name, base[i].name) == 0) {
				base[i].value = over[k].value;
				used[k] = true;
			}
		add_claim(&out, base[i].name, base[i].value);
	}
	for (k = 0; k < n; k++)
		if (!used[k])
			add_claim(&out, over[k].name, over[k].value);
	buf_add_str(&out, STR("}"));
	assert_false(out.failed);
	text = str_dup(buf_str(&out));
	buf_done(&out);
	return text;
}

static char *token_with(const struct claim *over, size_t n)
{
	char *payload = payload_with(over, n);
	char *token = mint(&rsa, "k1", payload);

	free(payload);
	return token;
}

#define TOKEN(...)                                                             \
	token_with((struct claim[]){__VA_ARGS__},                              \
	           sizeof((struct claim[]){__VA_ARGS__}) /                     \
	                   sizeof(struct claim))

/* A managed identity's v1 token. */
#define TOKEN_V1(...)                                                          \
	TOKEN({"ver", "\"1.0\""},                                              \
	      {"iss", "\"https://sts.windows.net/" AUTHORITY_TID "/\""},       \
	      {"azp", NULL}, {"appid", "\"" APP "\""}, {"idtyp", "\"app\""},   \
	      {"scp", NULL}, __VA_ARGS__)

static enum inbound_status present(char *token, struct identity **out)
{
	enum inbound_status s =
		inbound_token(in, &policy, str_c(token), NULL, true, out);

	free(token);
	return s;
}

static enum inbound_status status_of(char *token)
{
	struct identity *i = NULL;
	enum inbound_status s = present(token, &i);

	assert_int_equal(s == INBOUND_OK, i != NULL);
	identity_unref(i);
	return s;
}

static struct identity *accept(char *token)
{
	struct identity *i = NULL;

	assert_int_equal(present(token, &i), INBOUND_OK);
	assert_non_null(i);
	return i;
}

static int64_t cache_count(const char *result)
{
	return count_of("foundry_token_cache_total", NULL, result);
}

/* --------------------------------------------------------------- identity */

static void delegated_token_becomes_an_identity(void **state)
{
	struct identity *i = accept(TOKEN(
		{"azp", "\"BBBBBBBB-0000-4000-8000-00000000000A\""},
		{"scp", "\"  read   invoke \""}, {"groups", "[\"" OTHER "\"]"},
		{"xms_mirid", "\"/subscriptions/X\""},
		{"xms_par_app_azp", "\"" OTHER "\""}));

	(void)state;
	assert_int_equal(i->kind, IDENTITY_TOKEN);
	assert_int_equal(i->tenant, 0);
	assert_true(str_eq(i->tid, STR(AUTHORITY_TID)));
	assert_true(str_eq(i->app, STR(APP)));
	assert_true(str_eq(i->object, STR(OID)));
	assert_true(str_eq(i->scopes, STR("read invoke")));
	assert_true(str_eq(i->mirid, STR("/subscriptions/X")));
	assert_true(str_eq(i->agent_blueprint, STR(OTHER)));
	assert_int_equal(i->n_roles, 0);
	assert_int_equal(i->n_groups, 1);
	assert_true(str_eq(i->groups[0], STR(OTHER)));
	assert_false(i->groups_overage);
	assert_false(i->app_only);
	assert_int_equal(i->exp, NOW + 3600);
	assert_int_equal(i->key.len, 0);
	identity_unref(i);
}

static void v1_managed_identity_token_becomes_an_identity(void **state)
{
	struct identity *i =
		accept(TOKEN_V1({"roles", "[\"Other\",\"Gateway.Use\"]"}));

	(void)state;
	assert_true(i->app_only);
	assert_true(str_eq(i->app, STR(APP)));
	assert_int_equal(i->n_roles, 2);
	assert_true(str_eq(i->roles[1], STR("Gateway.Use")));
	identity_unref(i);
}

static void groups_overage_is_told(void **state)
{
	struct identity *i;

	(void)state;
	i = accept(TOKEN({"_claim_names", "{\"groups\":\"src1\"}"}));
	assert_true(i->groups_overage);
	identity_unref(i);
	i = accept(TOKEN({"hasgroups", "true"}));
	assert_true(i->groups_overage);
	identity_unref(i);
}

/* ---------------------------------------------------------------- tenants */

static void foreign_tenant_is_refused(void **state)
{
	(void)state;
	assert_int_equal(status_of(TOKEN({"tid", "\"" OTHER "\""})),
	                 INBOUND_TENANT);
	assert_int_equal(status_of(TOKEN({"tid", NULL})), INBOUND_TENANT);
	assert_int_equal(status_of(TOKEN({"tid", "\"\""})), INBOUND_TENANT);
	assert_int_equal(status_of(TOKEN({"tid", NULL},
	                                 {"TID", "\"" AUTHORITY_TID "\""})),
	                 INBOUND_TENANT);
}

static void tid_twice_is_refused(void **state)
{
	(void)state;
	assert_int_equal(status_of(TOKEN({"TID", "\"" OTHER "\""})),
	                 INBOUND_MALFORMED);
}

static void issuer_of_another_tenant_is_refused(void **state)
{
	char iss[300];

	(void)state;
	snprintf(iss, sizeof(iss), "\"%s/" OTHER "/v2.0\"", auth.base);
	assert_int_equal(status_of(TOKEN({"iss", iss})), INBOUND_ISSUER);
}

/* Beneath the look-up, which chose the tenant by this very claim. */
static void claims_of_one_tenant_do_not_pass_for_another(void **state)
{
	struct policy_tenant twin = tenant;
	char *token = TOKEN({"x", "1"});
	struct identity *i = NULL;
	struct jose_claims *c;
	struct jose_token t;

	(void)state;
	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	c = jose_claims_new(&t);
	free(token);
	assert_non_null(c);
	twin.id = STR(OTHER);
	assert_int_equal(claims_identity(c, &twin, 0, NOW, &i), INBOUND_TENANT);
	assert_null(i);
	assert_int_equal(claims_identity(c, &tenant, 0, NOW, &i), INBOUND_OK);
	identity_unref(i);
	jose_claims_free(c);
}

static void issuer_in_another_spelling_is_refused(void **state)
{
	char iss[4][300];
	size_t i;

	(void)state;
	snprintf(iss[0], 300, "\"%s/\"", auth.issuer_v2);
	snprintf(iss[1], 300, "\" %s\"", auth.issuer_v2);
	snprintf(iss[2], 300,
	         "\"%s/AAAAAAAA-0000-4000-8000-000000000001/v2.0\"", auth.base);
	snprintf(iss[3], 300, "\"%s/%s/V2.0\"", auth.base, AUTHORITY_TID);
	for (i = 0; i < 4; i++)
		assert_int_equal(status_of(TOKEN({"iss", iss[i]})),
		                 INBOUND_ISSUER);
	assert_int_equal(status_of(TOKEN({"iss", NULL})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"iss", "[\"x\"]"})), INBOUND_CLAIMS);
}

static void issuer_of_the_other_version_is_refused(void **state)
{
	(void)state;
	assert_int_equal(
		status_of(
			TOKEN({"iss", "\"https://sts.windows.net/" AUTHORITY_TID
	                              "/\""})),
		INBOUND_ISSUER);
	assert_int_equal(status_of(TOKEN({"ver", "\"1.0\""})), INBOUND_ISSUER);
	assert_int_equal(status_of(TOKEN({"ver", "\"3.0\""})), INBOUND_ISSUER);
	assert_int_equal(status_of(TOKEN({"ver", "2.0"})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"ver", NULL})), INBOUND_CLAIMS);
}

/* ------------------------------------------------------------------- keys */

static void unknown_kid_is_refused(void **state)
{
	char *payload = payload_with(NULL, 0);
	char *token = mint(&rsa, "../k1", payload);

	(void)state;
	free(payload);
	assert_int_equal(status_of(token), INBOUND_UNKNOWN_KEY);
}

static void forged_signature_is_refused(void **state)
{
	char *payload = payload_with(NULL, 0);
	char *token = mint(&rotated, "k1", payload);

	(void)state;
	free(payload);
	assert_int_equal(status_of(token), INBOUND_SIGNATURE);
}

static void alg_none_is_refused(void **state)
{
	char *payload = payload_with(NULL, 0);
	char *token = mint_raw(STR("{\"alg\":\"none\",\"kid\":\"k1\"}"),
	                       str_c(payload), STR_NONE);

	(void)state;
	free(payload);
	assert_int_equal(status_of(token), INBOUND_ALGORITHM);
}

static void no_keys_yet_is_our_fault_not_the_callers(void **state)
{
	struct jwks *empty;
	struct jwks_options o = {
		.loop = loop, .clock = &now.clock, .fetch = fetch};
	struct inbound *fresh;
	struct identity *i = NULL;
	struct waiter w = {0};
	char *token = TOKEN({"x", "1"});

	(void)state;
	auth.metadata_status = 503;
	empty = jwks_new(&o);
	fresh = inbound_new(&now.clock, empty, NULL);
	assert_true(jwks_configure(empty, &policy));
	assert_int_equal(
		inbound_token(fresh, &policy, str_c(token), &w, false, &i),
		INBOUND_WAIT);
	assert_non_null(w.prev);
	assert_int_equal(
		inbound_token(fresh, &policy, str_c(token), &w, true, &i),
		INBOUND_KEYS_UNAVAILABLE);
	waiter_cancel(&w);
	assert_null(i);
	inbound_free(fresh);
	jwks_free(empty);
	free(token);
}

static void replace_keys(const char *extra)
{
	publish("k2", &rsa, extra);
	fake_clock_pass(&now, 400);
	/* an unknown kid makes the set ask again */
	assert_int_equal(status_of(TOKEN({"jti", "\"x\""})), INBOUND_OK);
	{
		char *payload = payload_with(NULL, 0);

		assert_int_equal(status_of(mint(&rsa, "k2", payload)),
		                 INBOUND_UNKNOWN_KEY);
		free(payload);
	}
	run_until(loop, loaded, &(int64_t){3});
}

static char *signed_as_k2(void)
{
	char *payload = payload_with(NULL, 0);
	char *token = mint(&rsa, "k2", payload);

	free(payload);
	return token;
}

static void key_with_anothers_issuer_is_refused(void **state)
{
	(void)state;
	replace_keys(
		",\"issuer\":\"https://login.microsoftonline.us/" AUTHORITY_TID
		"/v2.0\"");
	assert_int_equal(status_of(signed_as_k2()), INBOUND_ISSUER);
}

static void key_with_an_issuer_template_is_accepted(void **state)
{
	char extra[300];

	(void)state;
	snprintf(extra, sizeof(extra), ",\"issuer\":\"%s/{tenantid}/v2.0\"",
	         auth.base);
	replace_keys(extra);
	assert_int_equal(status_of(signed_as_k2()), INBOUND_OK);
}

static void key_issuer_of_v1_does_not_sign_v2(void **state)
{
	(void)state;
	replace_keys(",\"issuer\":\"https://sts.windows.net/{tenantid}/\"");
	assert_int_equal(status_of(signed_as_k2()), INBOUND_ISSUER);
}

/* --------------------------------------------------------------- audience */

static void audience_must_match_byte_for_byte(void **state)
{
	static const char *const good[] = {
		"\"" AUD "\"",
		"\"" AUD "/\"",
		"\"" OTHER "\"",
		"[\"x\",\"" AUD "\"]",
	};
	static const char *const bad[] = {
		"\"api://Gateway\"",
		"\"api://gateway//\"",
		"\"api://gateway/x\"",
		"\"api://gatewa\"",
		"\"api://gateway \"",
		"\"x\"",
		"[]",
		"[\"x\"]",
	};
	static const char *const broken[] = {"1",
	                                     "{\"a\":\"" AUD "\"}",
	                                     "[\"" AUD "\",1]",
	                                     "null",
	                                     NULL,
	                                     "\"\"",
	                                     "true"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(status_of(TOKEN({"aud", good[i]})),
		                 INBOUND_OK);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(status_of(TOKEN({"aud", bad[i]})),
		                 INBOUND_AUDIENCE);
	for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(status_of(TOKEN({"aud", broken[i]})),
		                 INBOUND_CLAIMS);
}

/* ------------------------------------------------------------------ times */

static void exp_missing_or_in_a_wrong_form_is_refused(void **state)
{
	static const char *const bad[] = {
		NULL,
		"\"1800003600\"",
		"1800003600.5",
		"1800003600.0",
		"18e8",
		"-1",
		"1e400",
		"null",
		"[1800003600]",
		"true",
		"99999999999999999999",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		enum inbound_status s = status_of(TOKEN({"exp", bad[i]}));

		/* 1e400 is no JSON number we read at all */
		assert_true(s == INBOUND_CLAIMS || s == INBOUND_MALFORMED);
	}
	assert_int_equal(status_of(TOKEN({"nbf", "\"1\""})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"nbf", "1.5"})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"nbf", NULL})), INBOUND_OK);
}

static void expired_token_is_refused(void **state)
{
	(void)state;
	assert_int_equal(status_of(TOKEN({"exp", "1799999941"})), INBOUND_OK);
	assert_int_equal(status_of(TOKEN({"exp", "1799999940"})),
	                 INBOUND_EXPIRED);
	assert_int_equal(status_of(TOKEN({"exp", "0"})), INBOUND_EXPIRED);
}

static void token_of_the_future_is_refused(void **state)
{
	(void)state;
	assert_int_equal(status_of(TOKEN({"nbf", "1800000060"})), INBOUND_OK);
	assert_int_equal(status_of(TOKEN({"nbf", "1800000061"})),
	                 INBOUND_NOT_YET);
	assert_int_equal(status_of(TOKEN({"nbf", "253402300799"})),
	                 INBOUND_NOT_YET);
}

/* ------------------------------------------------------------- permission */

static void delegated_token_needs_a_scope(void **state)
{
	(void)state;
	assert_int_equal(status_of(TOKEN({"scp", "\"invoker read\""})),
	                 INBOUND_PERMISSION);
	/* a role is for applications; a user's app role does not replace it */
	assert_int_equal(status_of(TOKEN({"scp", "\"read\""},
	                                 {"roles", "[\"Gateway.Use\"]"})),
	                 INBOUND_PERMISSION);
	/* and a user without scopes does not become an application */
	assert_int_equal(status_of(TOKEN({"scp", NULL}, {"idtyp", "\"user\""},
	                                 {"roles", "[\"Gateway.Use\"]"})),
	                 INBOUND_PERMISSION);
	assert_int_equal(status_of(TOKEN({"scp", "[\"invoke\"]"})),
	                 INBOUND_CLAIMS);
}

static void application_needs_a_role_or_a_place_on_the_list(void **state)
{
	(void)state;
	assert_int_equal(status_of(TOKEN({"scp", NULL})), INBOUND_PERMISSION);
	assert_int_equal(status_of(TOKEN({"scp", "\"\""})), INBOUND_PERMISSION);
	assert_int_equal(
		status_of(TOKEN({"scp", NULL}, {"roles", "[\"gateway.use\"]"})),
		INBOUND_PERMISSION);
	assert_int_equal(
		status_of(TOKEN({"scp", NULL}, {"roles", "[\"Gateway.Use\"]"})),
		INBOUND_OK);
	assert_int_equal(
		status_of(TOKEN({"scp", NULL}, {"azp", "\"" OTHER "\""})),
		INBOUND_OK);
	assert_int_equal(
		status_of(TOKEN({"scp", NULL}, {"oid", "\"" OTHER "\""})),
		INBOUND_OK);
}

static void scope_in_an_application_token_counts_for_nothing(void **state)
{
	struct identity *i;

	(void)state;
	assert_int_equal(status_of(TOKEN({"idtyp", "\"app\""})),
	                 INBOUND_PERMISSION);
	i = accept(TOKEN({"idtyp", "\"app\""}, {"scp", "\"/\""},
	                 {"roles", "[\"Gateway.Use\"]"}));
	assert_int_equal(i->scopes.len, 0);
	assert_true(i->app_only);
	identity_unref(i);
}

static void claims_of_another_type_are_refused(void **state)
{
	(void)state;
	assert_int_equal(status_of(TOKEN({"roles", "\"Gateway.Use\""})),
	                 INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"roles", "[1]"})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"groups", "{}"})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"azp", "7"})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"azp", "\"not a guid\""})),
	                 INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"oid", "[]"})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"idtyp", "1"})), INBOUND_CLAIMS);
	assert_int_equal(status_of(TOKEN({"azp", NULL}, {"oid", NULL})),
	                 INBOUND_CLAIMS);
}

static void app_claim_of_the_other_version_names_nobody(void **state)
{
	struct identity *i =
		accept(TOKEN({"azp", NULL}, {"appid", "\"" APP "\""}));

	(void)state;
	assert_int_equal(i->app.len, 0);
	identity_unref(i);
}

static void too_many_roles_are_refused_not_cut(void **state)
{
	struct buf list;
	char *text;
	size_t i;

	(void)state;
	buf_init(&list, 8192);
	buf_add_str(&list, STR("[\"Gateway.Use\""));
	for (i = 0; i < 255; i++)
		buf_fmt(&list, ",\"r%zu\"", i);
	buf_add_str(&list, STR("]"));
	text = str_dup(buf_str(&list));
	assert_int_equal(status_of(TOKEN_V1({"roles", text})), INBOUND_OK);
	free(text);
	list.len--;
	buf_add_str(&list, STR(",\"one more\"]"));
	text = str_dup(buf_str(&list));
	assert_int_equal(status_of(TOKEN_V1({"roles", text})), INBOUND_CLAIMS);
	free(text);
	buf_done(&list);
}

/* ------------------------------------------------------------------ cache */

static void second_look_comes_from_the_cache(void **state)
{
	char *token = TOKEN({"x", "1"});
	struct identity *a, *b;

	(void)state;
	a = accept(str_dup(str_c(token)));
	b = accept(token);
	assert_ptr_equal(a, b);
	assert_int_equal(cache_count("hit"), 1);
	assert_int_equal(cache_count("miss"), 1);
	identity_unref(a);
	identity_unref(b);
}

static void cached_token_ends_with_its_exp(void **state)
{
	char *token = TOKEN({"exp", "1800000100"});

	(void)state;
	assert_int_equal(status_of(str_dup(str_c(token))), INBOUND_OK);
	fake_clock_pass(&now, 160); /* skew included: judged anew, refused */
	assert_int_equal(status_of(token), INBOUND_EXPIRED);
	assert_int_equal(cache_count("hit"), 0);
}

static void cached_token_is_judged_anew_after_five_minutes(void **state)
{
	char *token = TOKEN({"x", "1"});

	(void)state;
	assert_int_equal(status_of(str_dup(str_c(token))), INBOUND_OK);
	fake_clock_pass(&now, 299);
	assert_int_equal(status_of(str_dup(str_c(token))), INBOUND_OK);
	assert_int_equal(cache_count("hit"), 1);
	fake_clock_pass(&now, 1);
	assert_int_equal(status_of(token), INBOUND_OK);
	assert_int_equal(cache_count("hit"), 1);
}

static void refused_tokens_do_not_poison_the_cache(void **state)
{
	char *token = TOKEN({"x", "1"});
	char *forged = str_dup(str_c(token));
	size_t at = strlen(forged) - 20;

	(void)state;
	forged[at] = forged[at] == 'A' ? 'B' : 'A';
	assert_int_equal(status_of(str_dup(str_c(forged))), INBOUND_SIGNATURE);
	assert_int_equal(status_of(token), INBOUND_OK);
	/* the true one is known now: its near twin still is not */
	assert_int_equal(status_of(forged), INBOUND_SIGNATURE);
	assert_int_equal(cache_count("hit"), 0);
}

static void cached_token_of_another_policy_is_judged_anew(void **state)
{
	struct policy_tenant stricter = tenant;
	char *token = TOKEN({"x", "1"});
	struct identity *i = NULL;

	(void)state;
	stricter.scopes.n = 0;
	policy_two.tenants = &stricter;
	assert_int_equal(status_of(str_dup(str_c(token))), INBOUND_OK);
	assert_int_equal(
		inbound_token(in, &policy_two, str_c(token), NULL, true, &i),
		INBOUND_PERMISSION);
	free(token);
}

static void flush_forgets_one_tenant_or_all(void **state)
{
	char *token = TOKEN({"x", "1"});

	(void)state;
	assert_int_equal(status_of(str_dup(str_c(token))), INBOUND_OK);
	inbound_flush(in, STR(OTHER));
	assert_int_equal(status_of(str_dup(str_c(token))), INBOUND_OK);
	assert_int_equal(cache_count("hit"), 1);
	inbound_flush(in, STR(AUTHORITY_TID));
	assert_int_equal(status_of(str_dup(str_c(token))), INBOUND_OK);
	assert_int_equal(cache_count("hit"), 1);
	inbound_flush(in, STR_NONE);
	assert_int_equal(status_of(token), INBOUND_OK);
	assert_int_equal(cache_count("hit"), 1);
}

static void withdrawn_key_takes_its_verdicts_along(void **state)
{
	char *token = TOKEN({"x", "1"});

	(void)state;
	assert_int_equal(status_of(str_dup(str_c(token))), INBOUND_OK);
	replace_keys(NULL); /* k1 is gone */
	assert_int_equal(status_of(token), INBOUND_UNKNOWN_KEY);
}

static void identity_outlives_its_cache_entry(void **state)
{
	struct identity *i = accept(TOKEN({"x", "1"}));

	(void)state;
	inbound_flush(in, STR_NONE);
	assert_true(str_eq(i->app, STR(APP)));
	identity_unref(i);
}

static void cache_is_bounded_and_the_oldest_goes(void **state)
{
	char *first = TOKEN({"x", "0"}), *second = TOKEN({"x", "1"});
	int64_t hits;
	char x[16];
	unsigned n;

	(void)state;
	assert_int_equal(status_of(str_dup(str_c(first))), INBOUND_OK);
	assert_int_equal(status_of(str_dup(str_c(second))), INBOUND_OK);
	for (n = 2; n < 4096; n++) {
		snprintf(x, sizeof(x), "%u", n);
		assert_int_equal(status_of(TOKEN({"x", x})), INBOUND_OK);
	}
	assert_int_equal(cache_count("hit"), 0);
	assert_int_equal(status_of(str_dup(str_c(first))), INBOUND_OK);
	hits = cache_count("hit");
	assert_int_equal(hits, 1);
	/* one more pushes out the oldest, and only that one */
	assert_int_equal(status_of(TOKEN({"x", "4096"})), INBOUND_OK);
	assert_int_equal(status_of(second), INBOUND_OK);
	assert_int_equal(cache_count("hit"), 2);
	assert_int_equal(status_of(first), INBOUND_OK);
	assert_int_equal(cache_count("hit"), 2);
}

/* ----------------------------------------------------------- gateway keys */

static void configure_keys(void)
{
	keys[0] = (struct policy_key){.name = STR("alpha")};
	keys[1] =
		(struct policy_key){.name = STR("beta"), .not_after = NOW + 10};
	keys[2] = (struct policy_key){.name = STR("gamma"), .not_after = NOW};
	jose_sha256(STR("secret-a"), keys[0].sha256);
	jose_sha256(STR("secret-b"), keys[1].sha256);
	jose_sha256(STR("secret-c"), keys[2].sha256);
	policy.keys = keys;
	policy.n_keys = 3;
}

static void gateway_key_becomes_an_identity(void **state)
{
	struct identity *i = NULL;

	(void)state;
	configure_keys();
	assert_int_equal(inbound_key(in, &policy, STR("secret-b"), &i),
	                 INBOUND_OK);
	assert_int_equal(i->kind, IDENTITY_KEY);
	assert_int_equal(i->tenant, -1);
	assert_true(str_eq(i->key, STR("beta")));
	assert_int_equal(i->app.len, 0);
	identity_unref(i);
}

static void wrong_gateway_keys_are_refused(void **state)
{
	struct identity *i = NULL;

	(void)state;
	configure_keys();
	assert_int_equal(inbound_key(in, &policy, STR("secret-"), &i),
	                 INBOUND_UNKNOWN_GATEWAY_KEY);
	assert_int_equal(inbound_key(in, &policy, STR("secret-a "), &i),
	                 INBOUND_UNKNOWN_GATEWAY_KEY);
	assert_int_equal(inbound_key(in, &policy, STR(""), &i),
	                 INBOUND_UNKNOWN_GATEWAY_KEY);
	/* the digest is no key */
	assert_int_equal(inbound_key(in, &policy,
	                             str_of((char *)keys[0].sha256, 32), &i),
	                 INBOUND_UNKNOWN_GATEWAY_KEY);
	/* nor is the empty key, even if its digest is configured */
	jose_sha256(STR_NONE, keys[0].sha256);
	assert_int_equal(inbound_key(in, &policy, STR(""), &i),
	                 INBOUND_UNKNOWN_GATEWAY_KEY);
	assert_null(i);
}

static void expired_gateway_key_is_refused(void **state)
{
	struct identity *i = NULL;

	(void)state;
	configure_keys();
	assert_int_equal(inbound_key(in, &policy, STR("secret-c"), &i),
	                 INBOUND_KEY_EXPIRED);
	fake_clock_pass(&now, 10);
	assert_int_equal(inbound_key(in, &policy, STR("secret-b"), &i),
	                 INBOUND_KEY_EXPIRED);
	assert_null(i);
}

static void token_and_key_become_one_identity(void **state)
{
	struct identity *t, *k = NULL, *both;

	(void)state;
	configure_keys();
	t = accept(TOKEN({"groups", "[\"" OTHER "\"]"}));
	assert_int_equal(inbound_key(in, &policy, STR("secret-a"), &k),
	                 INBOUND_OK);
	both = inbound_merge(t, k);
	identity_unref(t);
	identity_unref(k);
	inbound_flush(in, STR_NONE);
	assert_int_equal(both->kind, IDENTITY_BOTH);
	assert_int_equal(both->refs, 1);
	assert_true(str_eq(both->key, STR("alpha")));
	assert_true(str_eq(both->app, STR(APP)));
	assert_true(str_eq(both->groups[0], STR(OTHER)));
	assert_int_equal(both->exp, NOW + 3600);
	identity_unref(both);
}

static void every_status_has_words(void **state)
{
	int s;

	(void)state;
	for (s = INBOUND_OK; s <= INBOUND_MEMORY; s++) {
		assert_non_null(inbound_code((enum inbound_status)s));
		assert_non_null(inbound_message((enum inbound_status)s));
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(delegated_token_becomes_an_identity),
		TEST(v1_managed_identity_token_becomes_an_identity),
		TEST(groups_overage_is_told),
		TEST(foreign_tenant_is_refused),
		TEST(tid_twice_is_refused),
		TEST(issuer_of_another_tenant_is_refused),
		TEST(claims_of_one_tenant_do_not_pass_for_another),
		TEST(issuer_in_another_spelling_is_refused),
		TEST(issuer_of_the_other_version_is_refused),
		TEST(unknown_kid_is_refused),
		TEST(forged_signature_is_refused),
		TEST(alg_none_is_refused),
		TEST(no_keys_yet_is_our_fault_not_the_callers),
		TEST(key_with_anothers_issuer_is_refused),
		TEST(key_with_an_issuer_template_is_accepted),
		TEST(key_issuer_of_v1_does_not_sign_v2),
		TEST(audience_must_match_byte_for_byte),
		TEST(exp_missing_or_in_a_wrong_form_is_refused),
		TEST(expired_token_is_refused),
		TEST(token_of_the_future_is_refused),
		TEST(delegated_token_needs_a_scope),
		TEST(application_needs_a_role_or_a_place_on_the_list),
		TEST(scope_in_an_application_token_counts_for_nothing),
		TEST(claims_of_another_type_are_refused),
		TEST(app_claim_of_the_other_version_names_nobody),
		TEST(too_many_roles_are_refused_not_cut),
		TEST(second_look_comes_from_the_cache),
		TEST(cached_token_ends_with_its_exp),
		TEST(cached_token_is_judged_anew_after_five_minutes),
		TEST(refused_tokens_do_not_poison_the_cache),
		TEST(cached_token_of_another_policy_is_judged_anew),
		TEST(flush_forgets_one_tenant_or_all),
		TEST(withdrawn_key_takes_its_verdicts_along),
		TEST(identity_outlives_its_cache_entry),
		TEST(cache_is_bounded_and_the_oldest_goes),
		TEST(gateway_key_becomes_an_identity),
		TEST(wrong_gateway_keys_are_refused),
		TEST(expired_gateway_key_is_refused),
		TEST(token_and_key_become_one_identity),
		TEST(every_status_has_words),
	};

	return cmocka_run_group_tests_name("inbound", tests, group_setup,
	                                   group_teardown);
}
