/*
 * An outbound with one credential for one resource, its identity endpoint on
 * the same loop, and a clock that the test moves.
 */
#ifndef TESTS_UNIT_OUTBOUND_WORLD_H
#define TESTS_UNIT_OUTBOUND_WORLD_H

#include "test.h"

#include "httpd.h"
#include "keys/grant.h"
#include "keys/outbound.h"

#include <stdio.h>
#include <stdlib.h>

enum { NOW = 1800000000 };

#define TOK1                                                                   \
	"{\"access_token\":\"tok1\",\"expires_in\":\"3600\","                  \
	"\"token_type\":\"Bearer\"}"

/* The endpoint: it remembers the last request and answers what it is told. */
static struct {
	struct httpd *h;
	char base[64];
	int status;
	char body[70000];
	const char *headers;
	bool hold;
	bool prove; /* a request with Authorization gets tok1 */
	bool echo;  /* the token says for what it is */
	unsigned n;
	char method[8], target[1024], head[4096], sent[8192];
} endpoint;

static struct loop *loop;
static struct fake_clock now;
static struct fetch *fetch;
static struct outbound *out;
static struct metrics *metrics;
static struct policy policy;
static struct policy_credential cred;
static struct policy_resource resource;
static unsigned n_woken, n_renewed;
static char folder[] = "/tmp/test_outbound.XXXXXX";

static void copy(char *to, size_t size, struct str s)
{
	assert_true(s.len < size);
	memcpy(to, s.len ? s.p : "", s.len);
	to[s.len] = '\0';
}

static void answer_echo(struct buf *buf)
{
	const char *aud = strstr(endpoint.target, "resource=https%3A%2F%2F");
	char text[200];

	assert_non_null(aud);
	snprintf(text, sizeof(text),
	         "{\"access_token\":\"https-%s\",\"expires_in\":3600}",
	         aud + strlen("resource=https%3A%2F%2F"));
	httpd_answer(buf, 200, "", str_c(text));
}

static void answer(void *ctx, const struct httpd_request *r, struct buf *buf)
{
	(void)ctx;
	endpoint.n++;
	copy(endpoint.method, sizeof(endpoint.method), r->method);
	copy(endpoint.target, sizeof(endpoint.target), r->target);
	copy(endpoint.head, sizeof(endpoint.head), r->head);
	copy(endpoint.sent, sizeof(endpoint.sent), r->body);
	if (endpoint.prove && strstr(endpoint.head, "\r\nAuthorization: "))
		httpd_answer(buf, 200, "", STR(TOK1));
	else if (endpoint.echo)
		answer_echo(buf);
	else if (!endpoint.hold)
		httpd_answer(buf, endpoint.status, endpoint.headers,
		             str_c(endpoint.body));
}

static void say(int status, const char *body)
{
	endpoint.status = status;
	copy(endpoint.body, sizeof(endpoint.body), str_c(body));
}

static void on_wake(void *ctx, uint64_t ref)
{
	(void)ctx;
	(void)ref;
	n_woken++;
}

static void on_renewed(void *ctx)
{
	assert_null(ctx);
	n_renewed++;
}

static int setup(void **state)
{
	(void)state;
	n_woken = n_renewed = 0;
	loop = loop_new();
	fake_clock_init(&now, NOW);
	fetch = fetch_new(loop, NULL);
	metrics = metrics_new();
	memset(&endpoint, 0, sizeof(endpoint));
	endpoint.h = httpd_new(loop, answer, NULL);
	endpoint.headers = "";
	snprintf(endpoint.base, sizeof(endpoint.base), "http://127.0.0.1:%u",
	         httpd_port(endpoint.h));
	say(200, TOK1);
	cred = (struct policy_credential){
		.name = STR("mi"),
		.type = CRED_IMDS,
		.endpoint = str_c(endpoint.base),
		.audience = STR("https://cognitiveservices.azure.com"),
	};
	resource = (struct policy_resource){.credential = 0};
	policy = (struct policy){.refs = 100,
	                         .credentials = &cred,
	                         .n_credentials = 1,
	                         .resources = &resource,
	                         .n_resources = 1};
	out = outbound_new(&(struct outbound_options){
		.loop = loop,
		.clock = &now.clock,
		.fetch = fetch,
		.metrics = metrics,
		.worker = 3,
		.arc_dir = folder,
		.redis_renewed = on_renewed,
	});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	outbound_free(out);
	fetch_free(fetch);
	httpd_free(endpoint.h);
	metrics_free(metrics);
	loop_free(loop);
	return 0;
}

/* Without a result: the gauge of this worker. */
static int64_t metric_at(const char *name, const char *result)
{
	struct buf labels;
	int64_t n;

	buf_init(&labels, 128);
	metrics_label(&labels, "credential", cred.name);
	if (result) {
		metrics_label(&labels, "result", str_c(result));
	} else {
		metrics_label(&labels, "audience", cred.audience);
		metrics_label(&labels, "worker", STR("3"));
	}
	n = metric_value(metrics_get(metrics, name, buf_str(&labels)));
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

	return metric_at("foundry_token_fetches_total", e->result) >= e->n;
}

static void wait_for(const char *result, int64_t n)
{
	struct ended e = {result, n};

	run_until(loop, ended, &e);
}

static void start(void)
{
	assert_true(outbound_configure(out, &policy));
}

static void start_with_token(void)
{
	start();
	wait_for("ok", 1);
	assert_true(outbound_ready(out));
}

static enum outbound_answer header(char *value, struct waiter *w)
{
	struct str name = STR_NONE, v = STR_NONE;
	enum outbound_answer a = outbound_header(out, &policy, 0, &name, &v, w);

	assert_int_equal(a == OUTBOUND_OK, v.len > 0);
	if (value)
		copy(value, 128, v);
	return a;
}

static void assert_token(const char *expected)
{
	char value[128];

	assert_int_equal(header(value, NULL), OUTBOUND_OK);
	assert_string_equal(value, expected);
}

static bool head_has(const char *line)
{
	return strstr(endpoint.head, line) != NULL;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
