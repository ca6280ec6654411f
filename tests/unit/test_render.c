/* upstream/render: the backends, and that HAProxy takes them. */
#include "test.h"

#include "upstream/render.h"
#include "conf_base.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What haproxy.cfg gives the backends to build on. */
static const char stub[] = "global\n"
			   ".if version_atleast(3.2)\n"
			   "\ttune.lua.bool-sample-conversion normal\n"
			   ".endif\n"
			   "\tlua-load-per-thread %s/usage.lua\n"
			   "defaults http\n"
			   "\tmode http\n"
			   "\ttimeout connect 5s\n"
			   "\ttimeout client 5s\n"
			   "\ttimeout server 5s\n"
			   "defaults r from http\n"
			   "defaults s from http\n"
			   "frontend f from http\n"
			   "\tbind %s/f.sock\n"
			   "\tuse_backend %%[req.hdr(x)]\n";

static const char lua[] =
	"local F = {id = 'usage', flags = filter.FLT_CFG_FL_HTX}\n"
	"F.__index = F\n"
	"function F:new() return setmetatable({}, F) end\n"
	"core.register_filter('usage', F, function(f) return f end)\n";

/* One resource of each kind; all but the first are not used by a model. */
static const struct change kinds[] = {
	{"{\"east\": {\"url\": \"https://x.openai.azure.com\",\n"
         "  \"credential\": \"mi\"}}",
         "{\"east\": {\"url\": \"https://X.openai.azure.com/\",\n"
         "  \"credential\": \"mi\"},\n"
         "\"priv\": {\"url\": \"https://p.openai.azure.com\",\n"
         "  \"address\": \"10.1.2.3\", \"credential\": \"mi\",\n"
         "  \"ca_file\": \"/etc/ssl/certs/ca-certificates.crt\"},\n"
         "\"local\": {\"url\": \"https://localhost:9444\",\n"
         "  \"credential\": \"mi\"},\n"
         "\"six\": {\"url\": \"http://[::1]:9445\",\n"
         "  \"credential\": \"mi\"},\n"
         "\"four_4-4\": {\"url\": \"http://127.0.0.1:9446\",\n"
         "  \"credential\": \"mi\"}}"},
};

static void rendered(struct buf *out, const struct change *changes, size_t n)
{
	struct buf errors;
	struct policy *p = conf_base_parse(&errors, changes, n);

	if (!p)
		fail_msg("%s", errors.p);
	buf_init(out, 1 << 20);
	assert_true(render_haproxy(p, out));
	buf_add(out, "", 1);
	out->len--;
	policy_unref(p);
	buf_done(&errors);
}

static void two_backends_for_each_resource(void **state)
{
	struct buf out;

	(void)state;
	rendered(&out, NULL, 0);
	assert_non_null(strstr(out.p, "# The backends of \"g.json\""));
	assert_non_null(strstr(
		out.p,
		"\nbackend r.east from r\n"
		"\thttp-request del-header x-gateway-key\n"
		"\tserver east x.openai.azure.com:443 ssl verify required "
		"ca-file @system-ca sni str(x.openai.azure.com) verifyhost "
		"x.openai.azure.com resolvers gateway "));
	assert_non_null(strstr(out.p, " check-sni x.openai.azure.com check "));
	assert_non_null(strstr(out.p, "\nbackend s.east from s\n"
	                              "\tfilter lua.usage\n"
	                              "\thttp-request del-header "
	                              "x-gateway-key\n"
	                              "\tserver east x.openai.azure.com:443"));
	assert_non_null(strstr(out.p, " track r.east/east\n"));
	assert_non_null(strstr(out.p, "\nresolvers gateway\n"));
	buf_done(&out);
}

static void kinds_of_resources(void **state)
{
	static const char *const pieces[] = {
		/* connected to the address, verified as the host */
		"server priv 10.1.2.3:443 ssl verify required ca-file "
		"/etc/ssl/certs/ca-certificates.crt sni "
		"str(p.openai.azure.com) verifyhost p.openai.azure.com "
		"pool-purge-delay",
		"server local localhost:9444 ssl verify required ca-file "
		"@system-ca sni str(localhost) verifyhost localhost "
		"init-addr last,libc,none pool-purge-delay",
		"server six [::1]:9445 pool-purge-delay",
		"server four_4-4 127.0.0.1:9446 pool-purge-delay",
		"\nbackend s.four_4-4 from s\n",
	};
	struct buf out;
	size_t i;

	(void)state;
	rendered(&out, kinds, 1);
	for (i = 0; i < sizeof(pieces) / sizeof(*pieces); i++)
		if (!strstr(out.p, pieces[i]))
			fail_msg("not there: %s\nin: %s", pieces[i], out.p);
	buf_done(&out);
}

static void no_dns_without_names(void **state)
{
	const struct change c = {"https://x.openai.azure.com",
	                         "http://127.0.0.1:9443"};
	struct buf out;

	(void)state;
	rendered(&out, &c, 1);
	assert_null(strstr(out.p, "resolvers"));
	assert_null(strstr(out.p, "ssl"));
	buf_done(&out);
}

/* Whatever header a gateway key may come in, it does not go on. */
static void gateway_key_is_not_forwarded(void **state)
{
	const struct change c = {"\"require\": \"any\"",
	                         "\"header\": \"X-Team-Key\""};
	struct buf out;
	char *first;

	(void)state;
	rendered(&out, &c, 1);
	first = strstr(out.p, "\thttp-request del-header x-team-key\n");
	assert_non_null(first);
	assert_non_null(strstr(first + 1, "del-header x-team-key\n"));
	buf_done(&out);
}

/* The name of the file stands in a comment. */
static void file_name_cannot_end_the_comment(void **state)
{
	struct buf out, errors;
	struct policy *p;

	(void)state;
	buf_init(&errors, 4096);
	p = conf_parse("a\nbackend evil", str_c(conf_base), &errors);
	assert_non_null(p);
	buf_init(&out, 1 << 20);
	assert_true(render_haproxy(p, &out));
	buf_add(&out, "", 1);
	assert_null(strstr(out.p, "\nbackend evil"));
	policy_unref(p);
	buf_done(&out);
	buf_done(&errors);
}

static void too_small_a_buffer_is_told(void **state)
{
	struct buf out, errors;
	struct policy *p = conf_base_parse(&errors, NULL, 0);

	(void)state;
	assert_non_null(p);
	buf_init(&out, 700);
	assert_false(render_haproxy(p, &out));
	policy_unref(p);
	buf_done(&out);
	buf_done(&errors);
}

/* ------------------------------------------------------- HAProxy itself */

static void write_file(const char *folder, const char *name, const void *text,
                       size_t len)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void remove_file(const char *folder, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	unlink(path);
}

/* Exit code of `haproxy -c` on the two files; -1 when it cannot be run. */
static int check(const char *program, const char *folder)
{
	char a[128], b[128];
	char *const argv[] = {(char *)(uintptr_t)program,
	                      (char[]){"-c"},
	                      (char[]){"-f"},
	                      a,
	                      (char[]){"-f"},
	                      b,
	                      NULL};
	int status;
	pid_t pid;

	snprintf(a, sizeof(a), "%s/stub.cfg", folder);
	snprintf(b, sizeof(b), "%s/backends.cfg", folder);
	if (posix_spawnp(&pid, program, NULL, NULL, argv, environ) != 0)
		return -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void haproxy_takes_it(void **state)
{
	const char *program = getenv("HAPROXY");
	char folder[] = "/tmp/render-test-XXXXXX";
	char text[2048];
	struct buf out;
	int code;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(text, sizeof(text), stub, folder, folder);
	write_file(folder, "stub.cfg", text, strlen(text));
	write_file(folder, "usage.lua", lua, strlen(lua));
	rendered(&out, kinds, 1);
	write_file(folder, "backends.cfg", out.p, out.len);
	code = check(program ? program : "haproxy", folder);
	remove_file(folder, "stub.cfg");
	remove_file(folder, "usage.lua");
	remove_file(folder, "backends.cfg");
	rmdir(folder);
	buf_done(&out);
	if (code == -1)
		skip();
	assert_int_equal(code, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_backends_for_each_resource),
		cmocka_unit_test(kinds_of_resources),
		cmocka_unit_test(no_dns_without_names),
		cmocka_unit_test(gateway_key_is_not_forwarded),
		cmocka_unit_test(file_name_cannot_end_the_comment),
		cmocka_unit_test(too_small_a_buffer_is_told),
		cmocka_unit_test(haproxy_takes_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
