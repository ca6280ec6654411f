/*
 * keys/jwks, keys/keyset and net/fetch: the documents of a tenant, fetched
 * from a server that errs, lies and dawdles.
 */
#include "test.h"

#include "authority.h"
#include "keys/jwks.h"
#include "keys/keyset.h"

#include <stdio.h>
#include <stdlib.h>

#define TID AUTHORITY_TID

static struct mint_key rsa, other;
static struct loop *loop;
static struct fake_clock now;
static struct fetch *fetch;
static struct authority auth;
static struct jwks_options options;
static struct jwks *jwks;
static struct metrics *metrics;
static struct policy policy;
static struct policy_tenant tenant;
static unsigned n_woken, n_changed;

static void on_changed(void *ctx, struct str tid)
{
	(void)ctx;
	assert_true(str_eq(tid, STR(TID)));
	n_changed++;
}

static void on_wake(void *ctx, uint64_t ref)
{
	(void)ctx;
	(void)ref;
	n_woken++;
}

static void publish(const char *kid, const struct mint_key *k)
{
	authority_publish(&auth, &k, &kid, NULL, 1);
}

static int group_setup(void **state)
{
	(void)state;
	mint_key_init(&rsa, 2048, 65537);
	mint_key_init(&other, 2048, 65537);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	mint_key_done(&rsa);
	mint_key_done(&other);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	n_woken = n_changed = 0;
	loop = loop_new();
	fake_clock_init(&now, 1800000000);
	fetch = fetch_new(loop, NULL);
	metrics = metrics_new();
	authority_init(&auth, loop);
	publish("k1", &rsa);
	authority_tenant(&auth, &tenant);
	tenant.metadata_v1 = STR_NONE; /* one set is easier to follow */
	policy = (struct policy){.refs = 1, .tenants = &tenant, .n_tenants = 1};
	options = (struct jwks_options){.loop = loop,
	                                .clock = &now.clock,
	                                .fetch = fetch,
	                                .metrics = metrics,
	                                .changed = on_changed,
	                                /* no retry may come in between */
	                                .retry_min_ms = 60000};
	jwks = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	jwks_free(jwks);
	fetch_free(fetch);
	authority_done(&auth);
	metrics_free(metrics);
	loop_free(loop);
	return 0;
}

static int64_t fetches(const char *result)
{
	struct buf labels;
	int64_t n;

	buf_init(&labels, 128);
	metrics_label(&labels, "tenant", STR("contoso"));
	metrics_label(&labels, "result", str_c(result));
	n = metric_value(metrics_get(metrics, "foundry_jwks_fetches_total",
	                             buf_str(&labels)));
	buf_done(&labels);
	return n;
}

struct ended {
	const char *result;
	int64_t n;
};

static bool ended(void *ctx)
{
	const struct ended *e = ctx;

	return fetches(e->result) >= e->n;
}

static void wait_for(const char *result, int64_t n)
{
	struct ended e = {result, n};

	run_until(loop, ended, &e);
}

static void start(void)
{
	jwks = jwks_new(&options);
	assert_non_null(jwks);
	assert_true(jwks_configure(jwks, &policy));
}

static void start_loaded(void)
{
	start();
	wait_for("ok", 1);
	assert_true(jwks_ready(jwks));
}

static enum jwks_answer find(const char *kid, struct waiter *w)
{
	struct jose_key *key = NULL;
	struct str issuer;
	enum jwks_answer a = jwks_find(jwks, STR(TID), STR("2.0"), str_c(kid),
	                               &key, &issuer, w);

	assert_int_equal(a == JWKS_FOUND, key != NULL);
	return a;
}

/* --------------------------------------------------------------- loading */

static void keys_of_both_versions_are_loaded(void **state)
{
	struct jose_key *key = NULL;
	struct str issuer;

	(void)state;
	tenant.metadata_v1 = str_c(auth.metadata_v1);
	start();
	assert_false(jwks_ready(jwks));
	wait_for("ok", 2);
	assert_true(jwks_ready(jwks));
	assert_int_equal(auth.n_metadata, 2);
	assert_int_equal(auth.n_keys, 2);
	assert_int_equal(find("k1", NULL), JWKS_FOUND);
	assert_int_equal(jwks_find(jwks, STR(TID), STR("1.0"), STR("k1"), &key,
	                           &issuer, NULL),
	                 JWKS_FOUND);
	assert_int_equal(issuer.len, 0);
}

static void unknown_tenant_has_no_keys(void **state)
{
	struct jose_key *key;
	struct str issuer;

	(void)state;
	start_loaded();
	assert_int_equal(jwks_find(jwks,
	                           STR("bbbbbbbb-0000-4000-8000-000000000001"),
	                           STR("2.0"), STR("k1"), &key, &issuer, NULL),
	                 JWKS_UNAVAILABLE);
}

static void waiter_of_the_first_fetch_is_woken_once(void **state)
{
	struct waiter a = {.wake = on_wake}, b = {.wake = on_wake};

	(void)state;
	start();
	assert_int_equal(find("k1", &a), JWKS_WAIT);
	assert_int_equal(find("k1", &a), JWKS_WAIT); /* still one place */
	assert_int_equal(find("k1", &b), JWKS_WAIT);
	assert_int_equal(find("k1", NULL), JWKS_UNAVAILABLE);
	wait_for("ok", 1);
	run_a_little(loop);
	assert_int_equal(n_woken, 2);
	assert_null(a.prev);
	assert_int_equal(auth.n_metadata, 1); /* merged into one */
	assert_int_equal(find("k1", &a), JWKS_FOUND);
}

static void cancelled_waiter_is_not_woken(void **state)
{
	struct waiter a = {.wake = on_wake}, b = {.wake = on_wake};

	(void)state;
	start();
	assert_int_equal(find("k1", &a), JWKS_WAIT);
	assert_int_equal(find("k1", &b), JWKS_WAIT);
	waiter_cancel(&a);
	waiter_cancel(&a);
	wait_for("ok", 1);
	run_a_little(loop);
	assert_int_equal(n_woken, 1);
}

static void cancel_the_other(void *ctx, uint64_t ref)
{
	(void)ref;
	n_woken++;
	waiter_cancel(ctx);
}

static void woken_waiter_may_cancel_another(void **state)
{
	struct waiter a = {0}, b = {0};

	(void)state;
	a = (struct waiter){.wake = cancel_the_other, .ctx = &b};
	b = (struct waiter){.wake = cancel_the_other, .ctx = &a};
	start();
	assert_int_equal(find("k1", &a), JWKS_WAIT);
	assert_int_equal(find("k1", &b), JWKS_WAIT);
	wait_for("ok", 1);
	run_a_little(loop);
	assert_int_equal(n_woken, 1);
}

static void freeing_wakes_who_waits(void **state)
{
	struct waiter a = {.wake = on_wake};

	(void)state;
	auth.hold = true;
	start();
	assert_int_equal(find("k1", &a), JWKS_WAIT);
	run_until_count(loop, &auth.n_metadata, 1);
	jwks_free(jwks);
	jwks = NULL;
	assert_int_equal(n_woken, 1);
	assert_null(a.prev);
}

/* -------------------------------------------------------------- rotation */

static void rotated_key_is_found_at_once(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	start_loaded();
	publish("k2", &other);
	assert_int_equal(find("k2", &w), JWKS_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(find("k2", &w), JWKS_FOUND);
	assert_int_equal(find("k1", NULL), JWKS_UNKNOWN);
	assert_int_equal(n_changed, 1);
}

static void added_key_disturbs_nobody(void **state)
{
	const struct mint_key *keys[] = {&rsa, &other};
	const char *kids[] = {"k1", "k2"};
	struct waiter w = {.wake = on_wake};

	(void)state;
	start_loaded();
	authority_publish(&auth, keys, kids, NULL, 2);
	assert_int_equal(find("k2", &w), JWKS_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(find("k1", NULL), JWKS_FOUND);
	assert_int_equal(find("k2", NULL), JWKS_FOUND);
	assert_int_equal(n_changed, 0);
}

static void key_replaced_under_its_kid_is_a_change(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	start_loaded();
	publish("k1", &other);
	assert_int_equal(find("k2", &w), JWKS_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(n_changed, 1);
}

static void flood_of_unknown_kids_asks_once_in_five_minutes(void **state)
{
	struct waiter w = {.wake = on_wake};
	char kid[16];
	unsigned i;

	(void)state;
	start_loaded();
	assert_int_equal(find("x", &w), JWKS_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(auth.n_metadata, 2);
	for (i = 0; i < 1000; i++) {
		snprintf(kid, sizeof(kid), "x%u", i);
		assert_int_equal(find(kid, &w), JWKS_UNKNOWN);
	}
	fake_clock_pass(&now, 299);
	assert_int_equal(find("x", &w), JWKS_UNKNOWN);
	run_a_little(loop);
	assert_int_equal(auth.n_metadata, 2);
	fake_clock_pass(&now, 1);
	assert_int_equal(find("x", &w), JWKS_WAIT);
	run_until_count(loop, &n_woken, 2);
	assert_int_equal(auth.n_metadata, 3);
}

static void interval_of_unknown_kids_can_be_set(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	options.unknown_kid_interval_s = 5;
	start_loaded();
	assert_int_equal(find("x", &w), JWKS_WAIT);
	run_until_count(loop, &n_woken, 1);
	fake_clock_pass(&now, 5);
	assert_int_equal(find("x", &w), JWKS_WAIT);
	waiter_cancel(&w);
}

static void refresh_that_overslept_is_made_up_for(void **state)
{
	(void)state;
	start_loaded();
	assert_int_equal(find("k1", NULL), JWKS_FOUND);
	run_a_little(loop);
	assert_int_equal(auth.n_metadata, 1);
	fake_clock_pass(&now, 2 * 3600);
	assert_int_equal(find("k1", NULL), JWKS_FOUND); /* without waiting */
	wait_for("ok", 2);
	assert_int_equal(auth.n_metadata, 2);
}

static void refresh_comes_by_itself(void **state)
{
	(void)state;
	options.refresh_s = 1;
	start_loaded();
	wait_for("ok", 2);
}

/* -------------------------------------------------------------- failures */

static void failing_once(int metadata_status, int keys_status)
{
	struct waiter w = {.wake = on_wake};

	auth.metadata_status = metadata_status;
	auth.keys_status = keys_status;
	fake_clock_pass(&now, 301);
	n_woken = 0;
	assert_int_equal(find("x", &w), JWKS_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(find("k1", NULL), JWKS_FOUND);
	assert_int_equal(find("x", NULL), JWKS_UNKNOWN);
}

static void failure_keeps_the_last_good_keys(void **state)
{
	(void)state;
	start_loaded();
	failing_once(500, 200);
	failing_once(404, 200);
	failing_once(200, 500);
	failing_once(200, 429);
	auth.keys[V2].len--;
	failing_once(200, 200); /* broken JSON */
	buf_clear(&auth.keys[V2]);
	buf_add_str(&auth.keys[V2], STR("{\"keys\":[]}"));
	failing_once(200, 200);
	assert_int_equal(fetches("error"), 6);
	assert_int_equal(fetches("ok"), 1);
	assert_int_equal(n_changed, 0);
	assert_true(jwks_ready(jwks));
}

static void first_fetch_is_tried_again_until_it_works(void **state)
{
	(void)state;
	auth.metadata_status = 503;
	options.retry_min_ms = 10;
	start();
	wait_for("error", 2);
	assert_int_equal(find("k1", NULL), JWKS_UNAVAILABLE);
	auth.metadata_status = 200;
	wait_for("ok", 1);
	assert_int_equal(find("k1", NULL), JWKS_FOUND);
}

static void backoff_is_not_shortened_by_asking(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	auth.metadata_status = 503;
	options.retry_min_ms = 60000;
	start();
	wait_for("error", 1);
	assert_int_equal(find("k1", &w), JWKS_UNAVAILABLE);
	run_a_little(loop);
	assert_int_equal(auth.n_metadata, 1);
	fake_clock_pass(&now, 67);
	assert_int_equal(find("k1", &w), JWKS_WAIT);
	waiter_cancel(&w);
}

static void slow_endpoint_ends_at_the_deadline(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	auth.hold = true;
	options.deadline_ms = 50;
	start();
	assert_int_equal(find("k1", &w), JWKS_WAIT);
	run_until_count(loop, &n_woken, 1);
	assert_int_equal(find("k1", NULL), JWKS_UNAVAILABLE);
	assert_int_equal(fetches("error"), 1);
}

static void refused_first(void)
{
	start();
	wait_for("error", 1);
	assert_false(jwks_ready(jwks));
	assert_int_equal(find("k1", NULL), JWKS_UNAVAILABLE);
}

static void wrong_issuer_in_metadata_is_refused(void **state)
{
	(void)state;
	snprintf(auth.issuer[V2], sizeof(auth.issuer[V2]), "%s/%s/v2.0/",
	         auth.base, TID);
	refused_first();
	assert_int_equal(auth.n_keys, 0);
}

static void issuer_template_in_metadata_is_filled_in(void **state)
{
	(void)state;
	snprintf(auth.issuer[V2], sizeof(auth.issuer[V2]), "%s/{tenantid}/v2.0",
	         auth.base);
	start_loaded();
}

static void foreign_jwks_uri_is_refused(void **state)
{
	static const char *const hosts[] = {
		"http://127.0.0.2:%u/keys",
		"http://localhost:%u/keys",
		"https://127.0.0.1:%u/keys",
		"http://127.0.0.1:1%u/keys",
		"http://127.0.0.1/%u/keys",
		"http://127.0.0.1:%u@evil.example/keys",
		"http://evil.example#@127.0.0.1:%u/keys",
		"http://127.0.0.1:%u.evil.example/keys",
		"http://evil.example\\\\@127.0.0.1:%u/keys",
		"file:///etc/passwd?%u",
		"//127.0.0.1:%u/keys",
		"http:/127.0.0.1:%u/keys",
		" http://127.0.0.1:%u/keys",
		"http://127.0.0.1:%u\\u0009/keys",
		"",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		struct buf uri;
		struct str s = str_c(hosts[i]);
		const char *at = strstr(hosts[i], "%u");
		size_t cut = at ? (size_t)(at - hosts[i]) : s.len;

		buf_init(&uri, 256);
		buf_add_str(&uri, str_first(s, cut));
		if (at)
			buf_fmt(&uri, "%u", httpd_port(auth.h));
		buf_add_str(&uri, str_from(s, cut + 2));
		buf_add(&uri, "", 1);
		memcpy(auth.jwks_uri[V2], uri.p, uri.len);
		buf_done(&uri);
		start();
		wait_for("error", (int64_t)i + 1);
		assert_false(jwks_ready(jwks));
		jwks_free(jwks);
		jwks = NULL;
	}
	assert_int_equal(auth.n_keys, 0);
}

static bool is_at_home(const char *uri, const char *authority)
{
	struct buf text, out;
	const char *why;

	buf_init(&text, 1024);
	buf_init(&out, 1024);
	buf_fmt(&text, "{\"issuer\":\"i\",\"jwks_uri\":\"%s\"}", uri);
	why = keyset_metadata(buf_str(&text), STR("i"), STR(TID),
	                      str_c(authority), &out);
	assert_int_equal(why == NULL, str_eq(buf_str(&out), str_c(uri)));
	buf_done(&text);
	buf_done(&out);
	return !why;
}

static void origin_is_scheme_host_and_port(void **state)
{
	static const char home[] = "https://login.example";
	static const char port[] = "https://login.example:8443";

	(void)state;
	assert_true(is_at_home("https://login.example/t/keys", home));
	assert_true(is_at_home("HTTPS://LOGIN.example:443/keys", home));
	assert_true(is_at_home("https://login.example?x=1", home));
	assert_true(is_at_home("https://login.example:8443/keys", port));
	assert_true(is_at_home("http://[::1]:81/k", "http://[::1]:81"));
	assert_false(is_at_home("http://[::1]:82/k", "http://[::1]:81"));
	assert_false(is_at_home("http://[::2]:81/k", "http://[::1]:81"));
	assert_false(is_at_home("https://login.example:444/keys", home));
	assert_false(is_at_home("https://login.example/keys", port));
	assert_false(is_at_home("http://login.example:443/keys", home));
	assert_false(is_at_home("https://login.example.evil/keys", home));
	assert_false(is_at_home("https://login.exampl/keys", home));
	assert_false(is_at_home("https://login.example@evil/keys", home));
	assert_false(is_at_home("https://evil?@login.example/keys", home));
	assert_false(is_at_home("https://login.example:/keys", home));
	assert_false(is_at_home("https://login.example:0443x/keys", home));
	assert_false(is_at_home("https:///keys", home));
}

static void redirect_is_not_followed(void **state)
{
	char location[512];

	(void)state;
	auth.metadata_status = 302;
	snprintf(location, sizeof(location), "Location: %s\r\n",
	         auth.jwks_uri[V2]);
	auth.headers = location;
	refused_first();
	assert_int_equal(auth.n_metadata, 1);
	assert_int_equal(auth.n_keys, 0);
}

static void oversized_answer_is_refused(void **state)
{
	char *pad = malloc(600 * 1024);

	(void)state;
	assert_non_null(pad);
	memset(pad, ' ', 600 * 1024);
	buf_add(&auth.keys[V2], pad, 600 * 1024); /* valid JSON, too long */
	free(pad);
	refused_first();
	assert_int_equal(auth.n_keys, 1);
}

static void plain_http_for_an_https_authority_is_refused(void **state)
{
	char https[64];

	(void)state;
	snprintf(https, sizeof(https), "https://127.0.0.1:%u",
	         httpd_port(auth.h));
	tenant.authority = str_c(https);
	refused_first();
	assert_int_equal(auth.n_metadata, 0);
}

/* ---------------------------------------------------------------- reload */

static void reload_keeps_sets_that_stay(void **state)
{
	(void)state;
	start_loaded();
	assert_true(jwks_configure(jwks, &policy));
	run_a_little(loop);
	assert_int_equal(auth.n_metadata, 1);
	assert_int_equal(find("k1", NULL), JWKS_FOUND);
}

static void reload_drops_tenants_that_go(void **state)
{
	struct waiter w = {.wake = on_wake};

	(void)state;
	start_loaded();
	auth.hold = true;
	assert_int_equal(find("x", &w), JWKS_WAIT);
	policy.n_tenants = 0;
	assert_true(jwks_configure(jwks, &policy));
	assert_int_equal(n_woken, 1);
	assert_int_equal(find("k1", NULL), JWKS_UNAVAILABLE);
	assert_true(jwks_ready(jwks)); /* nothing is missing */
}

static void reload_fetches_tenants_that_changed(void **state)
{
	(void)state;
	start_loaded();
	tenant.name = STR("fabrikam");
	assert_true(jwks_configure(jwks, &policy));
	assert_false(jwks_ready(jwks));
	run_until_count(loop, &auth.n_keys, 2);
}

/* --------------------------------------------------------------- key sets */

static struct keyset *set_of(const char *text)
{
	const char *why = NULL;
	struct keyset *ks = keyset_parse(str_c(text), STR(TID), &why);

	assert_int_equal(ks == NULL, why != NULL);
	return ks;
}

static struct keyset *two_keys(const char *kid_a, const char *more_a,
                               const struct mint_key *a, const char *kid_b,
                               const char *more_b, const struct mint_key *b)
{
	struct keyset *ks;
	char *text = NULL;

	assert_true(asprintf(&text,
	                     "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"%s\","
	                     "\"n\":\"%s\",\"e\":\"%s\"%s},{\"kty\":\"RSA\","
	                     "\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"%s}]}",
	                     kid_a, a->n, a->e, more_a, kid_b, b->n, b->e,
	                     more_b) > 0);
	ks = set_of(text);
	free(text);
	return ks;
}

static bool holds(const struct keyset *ks, const char *kid)
{
	struct jose_key *key;
	struct str issuer;

	return keyset_find(ks, str_c(kid), &key, &issuer);
}

static void two_keys_under_one_kid_are_both_refused(void **state)
{
	struct keyset *ks;

	(void)state;
	ks = two_keys("k", "", &rsa, "k", "", &other);
	assert_null(ks); /* nothing is left */
	ks = two_keys("k", "", &rsa, "k", ",\"issuer\":\"x\"", &rsa);
	assert_null(ks);
}

static void same_key_twice_is_one_key(void **state)
{
	struct keyset *ks = two_keys("k", "", &rsa, "k", "", &rsa);

	(void)state;
	assert_non_null(ks);
	assert_int_equal(keyset_count(ks), 1);
	assert_true(holds(ks, "k"));
	keyset_free(ks);
}

static void unusable_keys_are_passed_over(void **state)
{
	static const char *const more[] = {
		",\"use\":\"enc\"", ",\"alg\":\"RS512\"", ",\"alg\":\"PS256\"",
		",\"alg\":1",       ",\"use\":null",      ",\"issuer\":\"\"",
		",\"issuer\":7",
	};
	struct keyset *ks;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		ks = two_keys("a", more[i], &rsa, "b",
		              ",\"use\":\"sig\",\"alg\":\"RS256\"", &other);
		assert_non_null(ks);
		assert_false(holds(ks, "a"));
		assert_true(holds(ks, "b"));
		assert_int_equal(keyset_passed_over(ks), 1);
		keyset_free(ks);
	}
	ks = two_keys("", "", &rsa, "b", "", &other);
	assert_int_equal(keyset_count(ks), 1);
	keyset_free(ks);
}

static void weak_keys_are_passed_over(void **state)
{
	struct mint_key weak, one = rsa;
	struct keyset *ks;

	(void)state;
	mint_key_init(&weak, 1024, 65537);
	ks = two_keys("weak", "", &weak, "b", "", &other);
	assert_false(holds(ks, "weak"));
	assert_true(holds(ks, "b"));
	keyset_free(ks);
	mint_key_done(&weak);
	one.e = (char[]){"AQ"}; /* e = 1: anyone could sign */
	ks = two_keys("one", "", &one, "b", "", &other);
	assert_false(holds(ks, "one"));
	keyset_free(ks);
}

static void other_key_types_are_passed_over(void **state)
{
	(void)state;
	assert_null(set_of("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\","
	                   "\"k\":\"AAAA\"},{\"kty\":\"EC\",\"kid\":\"b\"},"
	                   "1,null,[],\"x\"]}"));
	assert_null(set_of("{\"keys\":{}}"));
	assert_null(set_of("[]"));
	assert_null(set_of(""));
	assert_null(set_of("{\"keys\":[],\"keys\":[]}"));
}

static void key_issuer_is_filled_in(void **state)
{
	struct keyset *ks =
		two_keys("a", ",\"issuer\":\"https://l/{tenantid}/v2.0\"", &rsa,
	                 "b", ",\"issuer\":\"{x}{tenantid\"", &other);
	struct jose_key *key;
	struct str issuer;

	(void)state;
	assert_true(keyset_find(ks, STR("a"), &key, &issuer));
	assert_true(str_eq(issuer, STR("https://l/" TID "/v2.0")));
	assert_true(keyset_find(ks, STR("b"), &key, &issuer));
	assert_true(str_eq(issuer, STR("{x}{tenantid")));
	keyset_free(ks);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys_of_both_versions_are_loaded),
		TEST(unknown_tenant_has_no_keys),
		TEST(waiter_of_the_first_fetch_is_woken_once),
		TEST(cancelled_waiter_is_not_woken),
		TEST(woken_waiter_may_cancel_another),
		TEST(freeing_wakes_who_waits),
		TEST(rotated_key_is_found_at_once),
		TEST(added_key_disturbs_nobody),
		TEST(key_replaced_under_its_kid_is_a_change),
		TEST(flood_of_unknown_kids_asks_once_in_five_minutes),
		TEST(interval_of_unknown_kids_can_be_set),
		TEST(refresh_that_overslept_is_made_up_for),
		TEST(refresh_comes_by_itself),
		TEST(failure_keeps_the_last_good_keys),
		TEST(first_fetch_is_tried_again_until_it_works),
		TEST(backoff_is_not_shortened_by_asking),
		TEST(slow_endpoint_ends_at_the_deadline),
		TEST(wrong_issuer_in_metadata_is_refused),
		TEST(issuer_template_in_metadata_is_filled_in),
		TEST(foreign_jwks_uri_is_refused),
		cmocka_unit_test(origin_is_scheme_host_and_port),
		TEST(redirect_is_not_followed),
		TEST(oversized_answer_is_refused),
		TEST(plain_http_for_an_https_authority_is_refused),
		TEST(reload_keeps_sets_that_stay),
		TEST(reload_drops_tenants_that_go),
		TEST(reload_fetches_tenants_that_changed),
		cmocka_unit_test(two_keys_under_one_kid_are_both_refused),
		cmocka_unit_test(same_key_twice_is_one_key),
		cmocka_unit_test(unusable_keys_are_passed_over),
		cmocka_unit_test(weak_keys_are_passed_over),
		cmocka_unit_test(other_key_types_are_passed_over),
		cmocka_unit_test(key_issuer_is_filled_in),
	};

	return cmocka_run_group_tests_name("jwks", tests, group_setup,
	                                   group_teardown);
}
