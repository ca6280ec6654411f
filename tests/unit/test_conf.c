/* conf: what a good configuration becomes, its warnings, its secrets. */
#include "test.h"

#include "base/log.h"
#include "conf/manual.h"
#include "conf_base.h"
#include "api/operations.h"
#include "api/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define assert_str(s, z)                                                       \
	do {                                                                   \
		const struct str s_ = (s);                                     \
		if (!str_eq(s_, str_c(z)))                                     \
			fail_msg("%" STR_FMT " is not %s", STR_ARG(s_), z);    \
	} while (0)

static struct policy *good(const struct change *changes, size_t n,
                           struct buf *warnings)
{
	struct policy *p = conf_base_parse(warnings, changes, n);

	if (!p)
		fail_msg("%s", warnings->p);
	return p;
}

static struct policy *quiet(const struct change *changes, size_t n)
{
	struct buf warnings;
	struct policy *p = good(changes, n, &warnings);

	assert_string_equal(warnings.p, "");
	buf_done(&warnings);
	return p;
}

static void defaults(void **state)
{
	static const struct change c[] = {
		{"\"workers\": 1,\n", ""},
		{"\"listen\": {\"spop\": [\"unix:/tmp/s.sock\", "
	         "\"127.0.0.1:9101\"]},\n",
	         ""},
	};
	struct policy *p = quiet(c, 2);

	(void)state;
	assert_int_equal(p->refs, 1);
	assert_string_equal(p->file, "g.json");
	assert_int_equal(p->workers, 1);
	assert_int_equal(p->log_level, LOG_INFO);
	assert_int_equal(p->decision_timeout_ms, 250);
	assert_int_equal(p->listen.spop.n, 1);
	assert_str(p->listen.spop.v[0], "unix:/run/foundry-gateway/spop.sock");
	assert_int_equal(p->listen.unix_mode, 0660);
	assert_int_equal(p->listen.unix_group.len, 0);
	assert_str(p->listen.usage, "127.0.0.1:9103");
	assert_str(p->listen.http, "127.0.0.1:9102");
	assert_int_equal(p->redis.deadline_ms, 150);
	assert_false(p->redis.required);
	assert_str(p->redis.prefix, "gw");
	assert_int_equal(p->tenants[0].skew_s, 60);
	assert_str(p->key_header, "x-gateway-key");
	assert_int_equal(p->models[0].default_output_tokens, 1000);
	assert_int_equal(p->models[0].max_output_tokens, 0);
	assert_int_equal(p->limits[0].on_store_failure, FAIL_LOCAL);
	policy_unref(p);
}

static void callers(void **state)
{
	struct policy *p = quiet(NULL, 0);
	const struct policy_tenant *t = &p->tenants[0];
	const struct policy_consumer *bot = &p->consumers[0];
	const struct policy_consumer *dev = &p->consumers[1];
	unsigned i;

	(void)state;
	assert_int_equal(p->n_tenants, 1);
	assert_str(t->name, "contoso");
	assert_str(t->id, "aaaaaaaa-1111-1111-1111-111111111111");
	assert_str(t->issuer_v1, "https://sts.windows.net/"
	                         "aaaaaaaa-1111-1111-1111-111111111111/");
	assert_str(t->issuer_v2, "https://login.microsoftonline.com/"
	                         "aaaaaaaa-1111-1111-1111-111111111111/v2.0");
	assert_str(t->metadata_v1, "https://login.microsoftonline.com/"
	                           "aaaaaaaa-1111-1111-1111-111111111111/"
	                           ".well-known/openid-configuration");
	assert_str(t->metadata_v2, "https://login.microsoftonline.com/"
	                           "aaaaaaaa-1111-1111-1111-111111111111/v2.0/"
	                           ".well-known/openid-configuration");
	assert_int_equal(p->require, REQUIRE_ANY);
	assert_int_equal(p->n_keys, 1);
	for (i = 0; i < 32; i++)
		assert_int_equal(p->keys[0].sha256[i],
		                 i < 16 ? i : 0x10 + i - 16);
	assert_int_equal(p->keys[0].not_after, 0);

	assert_int_equal(p->n_consumers, 2);
	assert_str(bot->name, "bot");
	assert_str(bot->team, "hr");
	assert_int_equal(bot->n_match, 1);
	assert_int_equal(bot->match[0].tenant, 0);
	assert_str(bot->match[0].apps.v[0],
	           "bbbbbbbb-2222-2222-2222-222222222222");
	assert_int_equal(bot->n_limits, 2);
	assert_int_equal(bot->limits[1], 1);
	assert_int_equal(dev->match[0].tenant, -1);
	assert_str(dev->match[0].keys.v[0], "dev");
	assert_int_equal(dev->n_limits, 0);

	assert_int_equal(p->n_rules, 1);
	assert_true(p->rules[0].allow);
	assert_false(p->rules[0].has_match);
	assert_int_equal(p->rules[0].operations, 0);
	assert_int_equal(p->limits[0].per, PER_APP);
	assert_int_equal(p->limits[0].amount, 60000);
	assert_int_equal(p->limits[1].unit, UNIT_USD);
	assert_int_equal(p->limits[1].window, WINDOW_DAY);
	assert_int_equal(p->limits[1].amount, 12500000000);
	assert_int_equal(p->limits[1].on_store_failure, FAIL_DENY);
	assert_true(p->limits[0].lease_share == 0); /* exact */
	assert_true(p->limits[1].lease_share == 0.05);
	policy_unref(p);
}

static void azure(void **state)
{
	struct policy *p = quiet(NULL, 0);
	const struct policy_model *m = policy_model(p, STR("gpt-4.1"));

	(void)state;
	assert_int_equal(p->credentials[0].type, CRED_IMDS);
	assert_str(p->credentials[0].endpoint, "http://169.254.169.254");
	assert_str(p->credentials[0].audience,
	           "https://cognitiveservices.azure.com");
	assert_str(p->resources[0].host, "x.openai.azure.com");
	assert_true(p->resources[0].tls);
	assert_int_equal(p->resources[0].port, 443);
	assert_int_equal(p->resources[0].address.len, 0);
	assert_ptr_equal(m, &p->models[0]);
	assert_ptr_equal(policy_model(p, STR("four")), m);
	assert_null(policy_model(p, STR("Four")));
	assert_null(policy_model(p, STR("")));
	assert_int_equal(m->n_deployments, 1);
	assert_str(m->deployments[0].name, "gpt-4.1");
	assert_int_equal(m->deployments[0].priority, 1);
	assert_int_equal(m->deployments[0].weight, 1);
	assert_int_equal(m->deployments[0].surface, SURFACE_AZURE);
	policy_unref(p);
}

/* What was written and left out the other tests; enums by every name. */
static void written_values(void **state)
{
	static const struct change c[] = {
		{"\"workers\": 1", "\"workers\": 4, \"log_level\": \"warn\""},
		{"redis://127.0.0.1:6390/3", "redis://me@[::1]/"},
		{"\"audiences\"", "\"authority\": \"https://other.example/\", "
	                          "\"issuer_v1\": \"urn:x\", \"audiences\""},
		{"\"effect\": \"allow\"",
	         "\"effect\": \"deny\", \"operations\": [\"chat\", "
	         "\"embeddings\"], \"caller\": {\"mirids\": [\"/Sub/*\"]}}, "
	         "{\"name\": \"2\", \"effect\": \"allow\""},
		{"https://x.openai.azure.com\"",
	         "https://X.openai.azure.com:444/\", \"address\": "
	         "\"10.1.2.3\""},
		{"{\"resource\": \"east\"}",
	         "{\"resource\": \"east\", \"surface\": \"v1\", \"name\": "
	         "\"four\", \"api_version\": \"preview\", \"priority\": 7, "
	         "\"weight\": 1000}"},
		{"1D1E1F\"", "1D1E1F\", \"not_after\": "
	                     "\"2100-02-28T23:59:58Z\""},
	};
	struct policy *p = quiet(c, sizeof(c) / sizeof(*c));
	const struct policy_deployment *d = &p->models[0].deployments[0];

	(void)state;
	assert_int_equal(p->workers, 4);
	assert_int_equal(p->log_level, LOG_WARN);
	assert_true(p->redis.enabled);
	assert_false(p->redis.tls);
	assert_str(p->redis.endpoints[0].host, "::1");
	assert_int_equal(p->redis.endpoints[0].port, 6379);
	assert_int_equal(p->redis.db, 0);
	assert_str(p->redis.username, "me");
	assert_str(p->tenants[0].issuer_v1, "urn:x");
	assert_str(p->tenants[0].authority, "https://other.example");
	assert_false(p->rules[0].allow);
	assert_true(p->rules[0].has_match);
	assert_str(p->rules[0].match.mirids.v[0], "/sub/*");
	assert_int_equal(p->rules[0].operations,
	                 1u << API_CHAT | 1u << API_EMBEDDINGS);
	assert_str(p->resources[0].host, "x.openai.azure.com");
	assert_int_equal(p->resources[0].port, 444);
	assert_str(p->resources[0].address, "10.1.2.3:444");
	assert_int_equal(d->surface, SURFACE_V1);
	assert_str(d->name, "four");
	assert_str(d->api_version, "preview");
	assert_int_equal(d->priority, 7);
	assert_int_equal(d->weight, 1000);
	assert_int_equal(p->keys[0].not_after, 4107542398);
	policy_unref(p);
}

static void redis_urls(void **state)
{
	struct change c = {"redis://127.0.0.1:6390/3", "unix:/run/redis.sock"};
	struct policy *p = quiet(&c, 1);

	(void)state;
	assert_str(p->redis.endpoints[0].host, "/run/redis.sock");
	assert_int_equal(p->redis.endpoints[0].port, 0);
	policy_unref(p);

	c.to = "rediss://r.example:10000/15";
	p = quiet(&c, 1);
	assert_true(p->redis.tls);
	assert_str(p->redis.endpoints[0].host, "r.example");
	assert_int_equal(p->redis.n_endpoints, 1);
	assert_int_equal(p->redis.endpoints[0].port, 10000);
	assert_int_equal(p->redis.db, 15);
	policy_unref(p);
}

static void a_list_of_redis_urls(void **state)
{
	struct change c = {"\"redis://127.0.0.1:6390/3\"",
	                   "[\"redis://me@a.example/3\", "
	                   "\"redis://me@b.example:7000/3\"]"};
	struct buf errors;
	struct policy *p = conf_base_parse(&errors, &c, 1);

	(void)state;
	assert_non_null(p);
	buf_done(&errors);
	assert_int_equal(p->redis.n_endpoints, 2);
	assert_str(p->redis.endpoints[0].host, "a.example");
	assert_int_equal(p->redis.endpoints[0].port, 6379);
	assert_str(p->redis.endpoints[1].host, "b.example");
	assert_int_equal(p->redis.endpoints[1].port, 7000);
	assert_int_equal(p->redis.db, 3);
	assert_str(p->redis.username, "me");
	policy_unref(p);
}

static void comments(void **state)
{
	static const struct change c[] = {
		{"\"workers\": 1,", "// how many: \" { /*\n\"workers\": 3, /* "
	                            "two\nlines // */"},
		{"https://x.openai", "https://y.openai"}, /* no comment */
	};
	struct policy *p = quiet(c, 2);

	(void)state;
	assert_int_equal(p->workers, 3);
	assert_str(p->resources[0].host, "y.openai.azure.com");
	policy_unref(p);
}

/* A cap below the default is one, too; nobody wrote the default. */
static void cap_below_the_default(void **state)
{
	const struct change c = {"\"aliases\"",
	                         "\"max_output_tokens\": 300, \"aliases\""};
	struct policy *p = quiet(&c, 1);

	(void)state;
	assert_int_equal(p->models[0].default_output_tokens, 300);
	policy_unref(p);
}

static void bodies_stay_as_they_are_by_default(void **state)
{
	struct policy *p = quiet(NULL, 0);
	const struct policy_adapt *a = &p->models[0].adapt;

	(void)state;
	assert_true(p->models[0].ask_usage);
	assert_int_equal(a->max_tokens, ADAPT_KEEP);
	assert_int_equal(a->reasoning_effort.n, 0);
	assert_int_equal(a->drop, 0);
	assert_int_equal(a->cap_output_tokens, 0);
	policy_unref(p);
}

static void bodies_are_adapted(void **state)
{
	const struct change c = {
		"\"aliases\"",
		"\"ask_usage\": false, \"adapt\": {\"max_tokens\": "
		"\"max_completion_tokens\", \"reasoning_effort\": {\"none\": "
		"\"low\", \"minimal\": null}, \"drop\": [\"temperature\", "
		"\"top_p\"], \"cap_output_tokens\": 4000}, \"aliases\""};
	struct policy *p = quiet(&c, 1);
	const struct policy_adapt *a = &p->models[0].adapt;

	(void)state;
	assert_false(p->models[0].ask_usage);
	assert_int_equal(a->max_tokens, ADAPT_MAX_COMPLETION_TOKENS);
	assert_int_equal(a->reasoning_effort.n, 2);
	assert_str(a->reasoning_effort.v[0].from, "none");
	assert_str(a->reasoning_effort.v[0].to, "low");
	assert_str(a->reasoning_effort.v[1].from, "minimal");
	assert_int_equal(a->reasoning_effort.v[1].to.len, 0);
	assert_int_equal(a->drop, 1u << SCAN_TEMPERATURE | 1u << SCAN_TOP_P);
	assert_int_equal(a->cap_output_tokens, 4000);
	policy_unref(p);
}

static void references_are_counted(void **state)
{
	struct policy *p = quiet(NULL, 0);

	(void)state;
	assert_ptr_equal(policy_ref(p), p);
	policy_unref(p);
	assert_str(p->models[0].name, "gpt-4.1"); /* ASan: still there */
	policy_unref(p);
	policy_unref(NULL);
}

/* --------------------------------------------------------------- warnings */

static const struct {
	const char *name, *from, *to, *line;
} warned[] = {
	{"rule behind one that matches all", "\"effect\": \"allow\"}",
         "\"effect\": \"allow\"}, {\"name\": \"b\", \"effect\": \"deny\", "
         "\"consumers\": [\"bot\"]}",
         "rules[1]: rule \"b\" can never fire: \"all\" before"},
	{"narrow pattern behind a wide one", "\"effect\": \"allow\"}",
         "\"effect\": \"allow\", \"models\": [\"gpt*\"]}, {\"name\": \"b\", "
         "\"effect\": \"deny\", \"models\": [\"gpt-4*\"]}",
         "rules[1]: rule \"b\" can never fire"},
	{"pattern without a match", "\"effect\": \"allow\"}",
         "\"effect\": \"allow\"}, {\"name\": \"b\", \"effect\": \"allow\", "
         "\"models\": [\"claude*\"]}",
         "rules[1].models[0]: \"claude*\" matches none of the models"},
	{"consumer that may do nothing", "\"effect\": \"allow\"",
         "\"effect\": \"allow\", \"consumers\": [\"bot\"]",
         "consumers.dev: no rule allows it anything"},
	{"denied before it is allowed", "{\"name\": \"all\"",
         "{\"name\": \"no\", \"effect\": \"deny\", \"consumers\": "
         "[\"dev\"]}, {\"name\": \"all\"",
         "consumers.dev: no rule allows it anything"},
	{"consumer behind everybody",
         "{\"tenant\": \"contoso\",\n    \"apps\": "
         "[\"BBBBBBBB-2222-2222-2222-222222222222\"]}",
         "{\"any\": true}", "consumers.dev: it can never be reached"},
	{"unused limit", "[\"std\", \"cash\"]", "[\"cash\"]",
         "limits.std: nothing uses it"},
	{"unused credential", "\"managed_identity\"}",
         "\"managed_identity\"}, \"b\": {\"type\": \"managed_identity\"}",
         "credentials.b: nothing uses it"},
	{"unused resource", "\"credential\": \"mi\"}",
         "\"credential\": \"mi\"}, \"b\": {\"url\": \"https://b.example\", "
         "\"credential\": \"mi\"}",
         "resources.b: nothing uses it"},
	{"limit below the default output", "60000", "1000",
         "limits.std.amount: requests to \"gpt-4.1\" that name no maximum"},
	{"token and key in one match", "\"keys\": [\"dev\"]",
         "\"keys\": [\"dev\"], \"tenant\": \"contoso\"",
         "consumers.dev.match[0]: it can never hold"},
	{"key that has ended", "1D1E1F\"",
         "1D1E1F\", \"not_after\": \"2001-01-01T00:00:00Z\"",
         "keys.entries.dev.not_after: the time is in the past"},
	{"metrics for everybody", "\"listen\": {",
         "\"listen\": {\"http\": \"0.0.0.0:9102\", ",
         "listen.http: 0.0.0.0:9102 is not a loopback address"},
};

static void warnings(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(warned) / sizeof(*warned); i++) {
		const struct change c = {warned[i].from, warned[i].to};
		struct buf out;
		struct policy *p = good(&c, 1, &out);
		char line[512];

		snprintf(line, sizeof(line), "warning: g.json: %s",
		         warned[i].line);
		if (!strstr(out.p, line))
			fail_msg("%s: %s\n%s", warned[i].name, line, out.p);
		policy_unref(p);
		buf_done(&out);
	}
}

/* decide/adapt puts its name into the body, so callers need not know it. */
static void deployment_named_unlike_its_model_is_no_mistake(void **state)
{
	const struct change c = {"{\"resource\": \"east\"}",
	                         "{\"resource\": \"east\", \"surface\": "
	                         "\"v1\", \"name\": \"x\"}"};
	struct buf out;
	struct policy *p = good(&c, 1, &out);

	(void)state;
	assert_string_equal(out.p, "");
	policy_unref(p);
	buf_done(&out);
}

/* The other side of the warnings: rules that only look covered. */
static void no_false_warnings(void **state)
{
	static const struct change harmless[] = {
		{"{\"name\": \"all\"",
	         "{\"name\": \"a\", \"effect\": \"deny\", \"models\": "
	         "[\"gpt-4*\"], \"operations\": [\"chat\"]}, {\"name\": "
	         "\"all\""},
		{"{\"name\": \"all\"",
	         "{\"name\": \"a\", \"effect\": \"deny\", \"caller\": "
	         "{\"roles\": [\"x\"]}}, {\"name\": \"all\""},
		{"{\"name\": \"all\"",
	         "{\"name\": \"a\", \"effect\": \"allow\", \"models\": "
	         "[\"gpt-4*1\"]}, {\"name\": \"b\", \"effect\": \"allow\", "
	         "\"models\": [\"gpt*1\"]}, {\"name\": \"all\""},
		{"\"require\": \"any\"", "\"require\": \"any\", \"header\": "
	                                 "\"x-my-key\""},
		{"60000", "1001"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(harmless) / sizeof(*harmless); i++)
		policy_unref(quiet(&harmless[i], 1));
}

/* ---------------------------------------------------------------- secrets */

static char folder[] = "/tmp/conf-test-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static void write_file(char path[64], const char *name, const void *text,
                       size_t len, mode_t mode)
{
	FILE *f;

	snprintf(path, 64, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void key_from_environment(void **state)
{
	const struct change c = {"\"managed_identity\"",
	                         "\"key\", \"key_env\": \"CONF_TEST_KEY\""};
	struct buf out;
	struct policy *p;

	(void)state;
	unsetenv("CONF_TEST_KEY");
	assert_null(conf_base_parse(&out, &c, 1));
	assert_string_equal(out.p, "g.json: credentials.mi.key_env: found that "
	                           "environment variable CONF_TEST_KEY is not "
	                           "set, expected the secret there\n");
	buf_done(&out);
	setenv("CONF_TEST_KEY", "\n", 1);
	assert_null(conf_base_parse(&out, &c, 1));
	assert_non_null(strstr(out.p, "CONF_TEST_KEY is empty"));
	buf_done(&out);
	setenv("CONF_TEST_KEY", "abc\n", 1);
	p = quiet(&c, 1);
	assert_str(p->credentials[0].secret, "abc");
	assert_str(p->credentials[0].key_header, "api-key");
	policy_unref(p);
	/* a line end inside would begin a header of its own */
	setenv("CONF_TEST_KEY", "abc\r\nx-evil: 1", 1);
	assert_null(conf_base_parse(&out, &c, 1));
	assert_non_null(strstr(out.p, "holds control characters"));
	assert_null(strstr(out.p, "evil"));
	buf_done(&out);
	unsetenv("CONF_TEST_KEY");
}

/* Parse with the client secret in `path`. */
static struct policy *with_secret_file(struct buf *out, const char *path)
{
	char text[512];
	const struct change c = {"\"managed_identity\"", text};

	snprintf(text, sizeof(text),
	         "\"client_secret\", "
	         "\"tenant_id\": \"AAAAAAAA-1111-1111-1111-111111111111\", "
	         "\"client_id\": \"CCCCCCCC-1111-1111-1111-111111111111\", "
	         "\"secret_file\": \"%s\"",
	         path);
	return conf_base_parse(out, &c, 1);
}

static void secret_from_file(void **state)
{
	char path[64];
	struct buf out;
	struct policy *p;

	(void)state;
	write_file(path, "a", "s e c\r\n\n", 8, 0600);
	p = with_secret_file(&out, path);
	assert_string_equal(out.p, "");
	assert_str(p->credentials[0].secret, "s e c");
	assert_str(p->credentials[0].endpoint,
	           "https://login.microsoftonline.com");
	assert_str(p->credentials[0].client_id,
	           "cccccccc-1111-1111-1111-111111111111");
	policy_unref(p);
	buf_done(&out);

	assert_int_equal(chmod(path, 0644), 0);
	p = with_secret_file(&out, path);
	assert_non_null(p);
	assert_non_null(strstr(out.p, "warning: g.json: "
	                              "credentials.mi.secret_file: "));
	assert_non_null(strstr(out.p, "can be read by everybody"));
	policy_unref(p);
	buf_done(&out);
	unlink(path);
}

static void secret_file_that_is_none(void **state)
{
	static char large[20000];
	static const struct {
		const void *text;
		size_t len;
		const char *message;
	} files[] = {
		{"", 0, "is empty"},
		{"\n\n", 2, "is empty"},
		{"a\0b", 3, "holds control characters"},
		{"a\nb", 3, "holds control characters"},
		{large, sizeof(large), "is too long"},
	};
	char path[64];
	struct buf out;
	size_t i;

	(void)state;
	memset(large, 'x', sizeof(large));
	for (i = 0; i < sizeof(files) / sizeof(*files); i++) {
		write_file(path, "b", files[i].text, files[i].len, 0600);
		assert_null(with_secret_file(&out, path));
		assert_non_null(strstr(out.p, files[i].message));
		buf_done(&out);
		unlink(path);
	}
	assert_null(with_secret_file(&out, path));
	assert_non_null(strstr(out.p, "No such file"));
	buf_done(&out);
	assert_null(with_secret_file(&out, folder));
	assert_non_null(strstr(out.p, "cannot be read"));
	buf_done(&out);
	/* nobody writes to it: opening it must not wait */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(with_secret_file(&out, path));
	assert_non_null(strstr(out.p, "cannot be read"));
	buf_done(&out);
	unlink(path);
}

static void redis_password(void **state)
{
	char path[64], text[128];
	struct change c = {"6390/3\"", text};
	struct policy *p;

	(void)state;
	write_file(path, "r", "hush", 4, 0640);
	snprintf(text, sizeof(text), "6390/3\", \"password_file\": \"%s\"",
	         path);
	p = quiet(&c, 1);
	assert_str(p->redis.password, "hush");
	policy_unref(p);
	unlink(path);
}

static void redis_credential(void **state)
{
	struct change c = {"redis://127.0.0.1:6390/3\"",
	                   "rediss://r.example:10000\", \"credential\": "
	                   "\"mi\""};
	struct policy *p = quiet(&c, 1);

	(void)state;
	assert_ptr_equal(p->redis.credential, &p->credentials[0]);
	assert_int_equal(p->redis.username.len, 0);
	policy_unref(p);

	/* nobody else listens there */
	c.to = "redis://me@127.0.0.1:6390/3\", \"credential\": \"mi\"";
	p = quiet(&c, 1);
	assert_str(p->redis.username, "me");
	assert_non_null(p->redis.credential);
	policy_unref(p);
	c.to = "unix:/run/redis.sock\", \"credential\": \"mi\"";
	policy_unref(quiet(&c, 1));
}

static void app_service_from_environment(void **state)
{
	const struct change c = {"\"managed_identity\"", "\"app_service\""};
	struct buf out;
	struct policy *p;

	(void)state;
	setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/MSI/token/", 1);
	setenv("IDENTITY_HEADER", "hdr", 1);
	p = quiet(&c, 1);
	assert_int_equal(p->credentials[0].type, CRED_APP_SERVICE);
	assert_str(p->credentials[0].endpoint,
	           "http://127.0.0.1:41741/MSI/token/");
	assert_str(p->credentials[0].header_value, "hdr");
	policy_unref(p);

	setenv("IDENTITY_ENDPOINT", "http://evil.example/", 1);
	unsetenv("IDENTITY_HEADER");
	assert_null(conf_base_parse(&out, &c, 1));
	assert_non_null(strstr(out.p, "credentials.mi.endpoint: found "
	                              "http://evil.example/"));
	assert_non_null(strstr(out.p, "credentials.mi.header_env: "));
	buf_done(&out);
	unsetenv("IDENTITY_ENDPOINT");
}

static void clear_workload(void)
{
	static const char *const names[] = {
		"AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID",
		"AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
}

static void workload_identity_from_environment(void **state)
{
	const struct change c = {"\"managed_identity\"",
	                         "\"workload_identity\""};
	const struct change written = {
		"\"managed_identity\"",
		"\"workload_identity\", \"token_file\": \"/none/token\", "
		"\"authority\": \"https://login.example/\", "
		"\"client_id\": \"EEEEEEEE-1111-1111-1111-111111111111\", "
		"\"tenant_id\": \"FFFFFFFF-1111-1111-1111-111111111111\""};
	char path[64];
	struct buf out;
	struct policy *p;

	(void)state;
	clear_workload();
	assert_null(conf_base_parse(&out, &c, 1));
	assert_non_null(strstr(out.p, "credentials.mi.token_file: found "
	                              "nothing here nor in the environment "
	                              "variable AZURE_FEDERATED_TOKEN_FILE"));
	assert_non_null(strstr(out.p, "credentials.mi.client_id: "));
	assert_non_null(strstr(out.p, "credentials.mi.tenant_id: "));
	buf_done(&out);

	write_file(path, "token", "a.b.c", 5, 0644);
	setenv("AZURE_FEDERATED_TOKEN_FILE", path, 1);
	setenv("AZURE_CLIENT_ID", "CCCCCCCC-1111-1111-1111-111111111111", 1);
	setenv("AZURE_TENANT_ID", "dddddddd-1111-1111-1111-111111111111", 1);
	p = quiet(&c, 1);
	assert_int_equal(p->credentials[0].type, CRED_WORKLOAD);
	assert_str(p->credentials[0].endpoint,
	           "https://login.microsoftonline.com");
	assert_str(p->credentials[0].client_id,
	           "cccccccc-1111-1111-1111-111111111111");
	assert_str(p->credentials[0].tenant_id,
	           "dddddddd-1111-1111-1111-111111111111");
	assert_str(p->credentials[0].file, path);
	policy_unref(p);
	setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/", 1);
	p = quiet(&c, 1);
	assert_str(p->credentials[0].endpoint,
	           "https://login.microsoftonline.us");
	policy_unref(p);

	/* what is written counts; the file may come later */
	p = conf_base_parse(&out, &written, 1);
	assert_non_null(p);
	assert_non_null(strstr(out.p, "warning: g.json: "
	                              "credentials.mi.token_file: /none/token "
	                              "cannot be read now"));
	assert_str(p->credentials[0].file, "/none/token");
	assert_str(p->credentials[0].endpoint, "https://login.example");
	assert_str(p->credentials[0].client_id,
	           "eeeeeeee-1111-1111-1111-111111111111");
	policy_unref(p);
	buf_done(&out);

	setenv("AZURE_AUTHORITY_HOST", "http://evil.example/", 1);
	setenv("AZURE_TENANT_ID", "common", 1);
	assert_null(conf_base_parse(&out, &c, 1));
	assert_non_null(strstr(out.p, "credentials.mi.authority: found "
	                              "http://evil.example, expected https"));
	assert_non_null(strstr(out.p, "credentials.mi.tenant_id: found common "
	                              "in the environment variable"));
	buf_done(&out);
	clear_workload();
	unlink(path);
}

static void certificate_file(void **state)
{
	char path[64], text[400];
	const struct change c = {"\"managed_identity\"", text};
	struct buf out;
	struct policy *p;

	(void)state;
	write_file(path, "cert", "x", 1, 0644);
	snprintf(text, sizeof(text),
	         "\"certificate\", "
	         "\"tenant_id\": \"aaaaaaaa-1111-1111-1111-111111111111\", "
	         "\"client_id\": \"cccccccc-1111-1111-1111-111111111111\", "
	         "\"certificate_file\": \"%s\"",
	         path);
	p = conf_base_parse(&out, &c, 1);
	assert_non_null(p);
	assert_non_null(strstr(out.p, "can be read by everybody"));
	assert_int_equal(p->credentials[0].type, CRED_CERTIFICATE);
	assert_str(p->credentials[0].file, path);
	policy_unref(p);
	buf_done(&out);
	assert_int_equal(chmod(path, 0600), 0);
	policy_unref(quiet(&c, 1));
	unlink(path);
}

static void arc_and_audiences(void **state)
{
	const struct change c[] = {
		{"\"managed_identity\"", "\"azure_arc\""},
		{"\"credential\": \"mi\"",
	         "\"credential\": \"mi\", "
	         "\"audience\": \"https://ai.azure.com\""},
	};
	struct policy *p = quiet(c, 2);

	(void)state;
	assert_int_equal(p->credentials[0].type, CRED_ARC);
	assert_str(p->credentials[0].endpoint, "http://127.0.0.1:40342");
	assert_str(p->resources[0].audience, "https://ai.azure.com");
	policy_unref(p);
	p = quiet(c, 1);
	assert_int_equal(p->resources[0].audience.len, 0);
	policy_unref(p);
}

/* ------------------------------------------------------------------ files */

static void files(void **state)
{
	char path[64];
	struct buf out;
	struct policy *p;

	(void)state;
	write_file(path, "g.json", conf_base, strlen(conf_base), 0600);
	buf_init(&out, 4096);
	p = conf_load(path, &out);
	assert_int_equal(out.len, 0);
	assert_string_equal(p->file, path);
	policy_unref(p);
	unlink(path);
	assert_null(conf_load(path, &out));
	assert_true(str_starts(buf_str(&out), str_c(path)));
	buf_done(&out);
}

/* More errors than there is room for are still a failure. */
static void full_report(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1);
	assert_null(conf_parse("g.json", STR("{\"x\": 1}"), &out));
	assert_int_equal(out.len, 0);
	buf_done(&out);
}

static void documentation_names_every_key(void **state)
{
	static const char *const keys[] = {
		"workers\n",
		"listen.unix_mode\n",
		"redis.password_file\n",
		"redis.credential\n",
		"tenants.NAME.issuer_v2\n",
		"keys.entries.NAME.sha256\n",
		"consumers.NAME.match[].mirids\n",
		"rules[].caller.apps\n",
		"credentials.NAME.header_env\n",
		"credentials.NAME.token_file\n",
		"credentials.NAME.certificate_file\n",
		"resources.NAME.audience\n",
		"resources.NAME.address\n",
		"models.NAME.deployments[].surface\n",
		"models.NAME.deployments[].ptu.units\n",
		"models.NAME.price.cached\n",
		"limits.NAME.lease_share\n",
		"limits.NAME.on_store_failure\n",
	};
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 1 << 20);
	manual_print(&out);
	buf_add(&out, "", 1);
	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (!strstr(out.p, keys[i]))
			fail_msg("not in the documentation: %s", keys[i]);
	assert_null(strstr(out.p, "(null)"));
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(callers),
		cmocka_unit_test(azure),
		cmocka_unit_test(written_values),
		cmocka_unit_test(redis_urls),
		cmocka_unit_test(a_list_of_redis_urls),
		cmocka_unit_test(comments),
		cmocka_unit_test(cap_below_the_default),
		cmocka_unit_test(bodies_stay_as_they_are_by_default),
		cmocka_unit_test(bodies_are_adapted),
		cmocka_unit_test(references_are_counted),
		cmocka_unit_test(warnings),
		cmocka_unit_test(
			deployment_named_unlike_its_model_is_no_mistake),
		cmocka_unit_test(no_false_warnings),
		cmocka_unit_test(key_from_environment),
		cmocka_unit_test(secret_from_file),
		cmocka_unit_test(secret_file_that_is_none),
		cmocka_unit_test(redis_password),
		cmocka_unit_test(redis_credential),
		cmocka_unit_test(app_service_from_environment),
		cmocka_unit_test(workload_identity_from_environment),
		cmocka_unit_test(certificate_file),
		cmocka_unit_test(arc_and_audiences),
		cmocka_unit_test(files),
		cmocka_unit_test(full_report),
		cmocka_unit_test(documentation_names_every_key),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
