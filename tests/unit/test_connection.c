/* connection: what is printed deploys, and what cannot work is refused. */
#include "test.h"

#include "base/json.h"
#include "conf/load.h"
#include "commands/connection.h"

#include <string.h>

static struct policy *policy;
static struct buf out, error;

static int load(void **state)
{
	(void)state;
	buf_init(&out, 65536);
	buf_init(&error, 65536);
	policy = conf_load("tests/fixtures/gateway.json", &error);
	return policy ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	policy_unref(policy);
	buf_done(&out);
	buf_done(&error);
	return 0;
}

/* The words of a command line, up to NULL. */
static bool run(const char *const *words)
{
	char *argv[32];
	struct connection c;
	const char *file;
	int argc = 0;

	for (; words[argc]; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc];
	buf_clear(&out);
	buf_clear(&error);
	return connection_options(argc, argv, &c, &file, &error) &&
	       connection_print(&c, policy, &out, &error);
}

#define RUN(...) run((const char *const[]){"f.json", __VA_ARGS__, NULL})
#define BASE     "--name", "gw", "--target", "https://gw.example.com/v1"

static bool says(const struct buf *b, const char *part)
{
	return memmem(b->p, b->len, part, strlen(part)) != NULL;
}

static struct str member(const struct json *o, const char *name)
{
	struct str s = STR_NONE;

	assert_true(json_str(json_get(o, name), &s));
	return s;
}

static void json_metadata_holds_strings_only(void **state)
{
	const char *why;
	size_t at;
	struct json *doc, *models;
	const struct json *metadata, *m;

	(void)state;
	assert_true(RUN(BASE, "--output", "json", "--models",
	                "gpt-4o-mini,claude-sonnet-4-5"));
	doc = json_parse(buf_str(&out), &why, &at);
	assert_non_null(doc);
	metadata = json_get(json_get(doc, "properties"), "metadata");
	json_each (metadata, m)
		assert_int_equal(json_type(m), JSON_STRING);
	models = json_parse(member(metadata, "models"), &why, &at);
	assert_int_equal(json_count(models), 2);
	m = json_next(json_first(models));
	assert_true(str_eq(member(m, "name"), STR("claude-sonnet-4-5")));
	m = json_get(json_get(m, "properties"), "model");
	assert_true(str_eq(member(m, "format"), STR("Anthropic")));
	json_free(models);
	json_free(doc);
	assert_true(says(&error, "az rest --method put"));
}

static void bicep_keeps_the_key_out(void **state)
{
	(void)state;
	assert_true(RUN(BASE, "--key-header", "Authorization", "--key-format",
	                "Bearer {api_key}"));
	assert_true(says(&out, "@secure()\nparam gatewayKey string"));
	assert_true(says(&out, "key: gatewayKey"));
	assert_true(says(&out, "authHeaderFormat: 'Bearer {api_key}'"));
}

static void bicep_escapes(void **state)
{
	(void)state;
	assert_true(RUN(BASE, "--key-format", "it's ${x} \\ {api_key}"));
	assert_true(says(&out, "'it\\'s \\${x} \\\\ {api_key}'"));
}

static void dynamic_asks_the_gateway(void **state)
{
	(void)state;
	assert_true(RUN(BASE, "--kind", "ApiManagement", "--auth",
	                "ProjectManagedIdentity", "--list", "dynamic",
	                "--in-path", "true"));
	assert_true(says(&out, "audience: 'https://cognitiveservices"));
	assert_true(says(&out, "modelDiscovery: '{\"listModelsEndpoint\""));
	assert_true(says(&out, "deploymentInPath: 'true'"));
	assert_false(says(&out, "models: "));
	assert_false(says(&out, "gatewayKey"));
}

static void what_azure_would_refuse(void **state)
{
	(void)state;
	assert_false(RUN(BASE, "--auth", "ProjectManagedIdentity"));
	assert_true(says(&error, "use --kind ApiManagement"));
	assert_false(RUN(BASE, "--kind", "ApiManagement", "--auth", "OAuth2"));
	assert_false(RUN(BASE, "--auth", "OAuth2"));
	assert_true(says(&error, "--token-url"));
	assert_false(RUN("--name", "a/b", "--target", "https://x"));
	assert_false(RUN("--name", "gw", "--target", "http://x"));
	assert_false(RUN("--name", "gw", "--target", "https://x/"));
	assert_false(RUN(BASE, "--models", "gpt-4o,nope"));
	assert_true(says(&error, "nope"));
}

static void words_that_are_none(void **state)
{
	(void)state;
	assert_false(RUN(BASE, "--kind", "Other"));
	assert_true(says(&error, "Other"));
	assert_false(RUN(BASE, "--colour", "red"));
	assert_false(RUN(BASE, "--auth"));
	assert_true(says(&error, "no value"));
	assert_false(RUN("--name", "gw"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_metadata_holds_strings_only),
		cmocka_unit_test(bicep_keeps_the_key_out),
		cmocka_unit_test(bicep_escapes),
		cmocka_unit_test(dynamic_asks_the_gateway),
		cmocka_unit_test(what_azure_would_refuse),
		cmocka_unit_test(words_that_are_none),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
