/* haproxy-conf/ and the agent name the same variables and members: what one
 * side writes and the other does not read would be lost without a word. */
#include "test.h"

#include "base/buf.h"
#include "usage/record.h"

/* For its table of variables. */
#include "decide/answer.c"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static char *cfg, *spoe, *lua;

/* Of one or two files, one behind the other. */
static char *text_of(const char *a, const char *b)
{
	const char *const paths[] = {a, b};
	char chunk[4096];
	struct buf text;

	buf_init(&text, 1 << 20);
	for (int i = 0; i < 2 && paths[i]; i++) {
		FILE *f = fopen(paths[i], "r");
		size_t n;

		assert_non_null(f);
		while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
			buf_add(&text, chunk, n);
		fclose(f);
	}
	buf_add(&text, "", 1);
	assert_false(text.failed);
	return text.p;
}

static int load(void **state)
{
	(void)state;
	cfg = text_of("haproxy-conf/haproxy.cfg", NULL);
	spoe = text_of("haproxy-conf/spoe-gateway.conf", NULL);
	lua = text_of("lua/usage.lua", "lua/edits.lua");
	return 0;
}

static int unload(void **state)
{
	(void)state;
	free(cfg);
	free(spoe);
	free(lua);
	return 0;
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Is the variable named outside a comment? Lua writes txn.gw.NAME, too. */
static bool names(const char *text, const char *variable)
{
	char whole[80];
	size_t len;

	snprintf(whole, sizeof(whole), "txn.gw.%s", variable);
	len = strlen(whole);
	for (const char *p = text; (p = strstr(p, whole)); p += len) {
		const char *line = p;

		while (line > text && line[-1] != '\n')
			line--;
		line += strspn(line, " \t");
		if (*line != '#' && strncmp(line, "--", 2) != 0 &&
		    !is_name(p[len]))
			return true;
	}
	return false;
}

static bool is_registered(const char *variable)
{
	const char *p = strstr(spoe, "\n    register-var-names ");
	size_t len = strlen(variable);

	assert_non_null(p);
	p += strlen("\n    register-var-names");
	while (*p == ' ') {
		size_t n = strcspn(++p, " \n");

		if (n == len && strncmp(p, variable, n) == 0)
			return true;
		p += n;
	}
	return false;
}

/* HAProxy drops a variable whose name it has not read (SPOE.txt 2.2,
 * register-var-names). */
static void every_variable_is_known_and_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(ans_vars) / sizeof(*ans_vars); i++) {
		const char *name = ans_vars[i].name;
		bool known = names(cfg, name) || names(spoe, name);

		if (!known && !names(lua, name))
			fail_msg("%s: nobody reads it", name);
		if (known == is_registered(name))
			fail_msg("%s: %s", name,
			         known ? "registered without need"
			               : "only Lua reads it: register it");
	}
}

/* Appends the value of `setenv NAME 'value'`. */
static void add_variable(struct buf *out, struct str name)
{
	char start[64];
	const char *p, *end;

	snprintf(start, sizeof(start), "\tsetenv %" STR_FMT " '",
	         STR_ARG(name));
	p = strstr(cfg, start);
	if (!p)
		fail_msg("haproxy.cfg sets no %" STR_FMT, STR_ARG(name));
	p += strlen(start);
	end = strchr(p, '\'');
	assert_non_null(end);
	buf_add(out, p, (size_t)(end - p));
}

/* The log-format with the pieces it is made of. */
static char *log_format(void)
{
	const char *p = strstr(cfg, "\n\tlog-format \"");
	struct buf line;

	assert_non_null(p);
	p += strlen("\n\tlog-format \"");
	buf_init(&line, 65536);
	while (*p != '"') {
		const char *end = strchr(p, '}');

		assert_true(strncmp(p, "${", 2) == 0 && end);
		add_variable(&line, str_of(p + 2, (size_t)(end - p - 2)));
		p = end + 1;
	}
	buf_add(&line, "", 1);
	assert_false(line.failed);
	return line.p;
}

#define NAME(kind, name, where) #name,
static const char *const members[] = {RECORD_FIELDS(NAME)};
#undef NAME

enum { N_MEMBERS = sizeof(members) / sizeof(*members) };

/* Both ways, and each once. */
static void line_has_the_members_that_are_read(void **state)
{
	char *line = log_format();
	size_t n = 0, seen[N_MEMBERS] = {0};

	(void)state;
	assert_int_equal(*line, '{');
	for (const char *p = line; *p != '}';) {
		size_t i = 0, len;

		assert_true(*p == (n == 0 ? '{' : ',') && p[1] == '"');
		p += 2;
		len = strcspn(p, "\"");
		while (i < N_MEMBERS && (strlen(members[i]) != len ||
		                         strncmp(members[i], p, len) != 0))
			i++;
		if (i == N_MEMBERS)
			fail_msg("usage/record does not read %.*s", (int)len,
			         p);
		seen[i]++;
		n++;
		p += len + 1;
		assert_int_equal(*p++, ':');
		/* "text", or a number; no value has a quote */
		p += *p == '"' ? strcspn(p + 1, "\"") + 2 : strcspn(p, ",}");
	}
	for (size_t i = 0; i < N_MEMBERS; i++)
		if (seen[i] != 1)
			fail_msg("haproxy.cfg writes %s %zu times", members[i],
			         seen[i]);
	free(line);
}

static void line_has_the_version_that_is_read(void **state)
{
	char want[32], *line = log_format();

	(void)state;
	snprintf(want, sizeof(want), "{\"v\":%d,", RECORD_VERSION);
	assert_int_equal(strncmp(line, want, strlen(want)), 0);
	free(line);
}

/* A row of the ticket that nobody gives a value would be empty in every line of
 * the ledger. */
static void every_field_of_a_ticket_is_filled(void **state)
{
	static const char *const fields[] = {
#define NAME(kind, name, where) #name,
		TICKET_FIELDS(NAME)
#undef NAME
	};
	char *code = text_of("spoa/decide/answer.c", NULL), want[64];

	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		snprintf(want, sizeof(want), "\n\tt->%s = ", fields[i]);
		if (!strstr(code, want))
			fail_msg("ans_fill_ticket() says nothing of %s",
			         fields[i]);
	}
	free(code);
}

static void expect_in(const char *text, const char *before, int n,
                      const char *behind)
{
	char want[64];

	snprintf(want, sizeof(want), "%s%d%s", before, n, behind);
	if (!strstr(text, want))
		fail_msg("no \"%s\"", want);
}

/* What one side lets through the other takes, up to the longest. */
static void bounds_of_the_line_hold_together(void **state)
{
	const int ticket = (TICKET_BYTES_MAX + 2) / 3 * 4;

	(void)state;
	expect_in(cfg, " len ", RECORD_LINE_MAX, " format raw ");
	expect_in(cfg, "bytes(0,", RECORD_USAGE_MAX + 1, ")"); /* and "=" */
	expect_in(lua, "local MAX_TEXT = ", RECORD_USAGE_MAX, "\n");
	assert_in_range(ticket + 2 * 2 * RECORD_USAGE_MAX + 4096, 1,
	                RECORD_LINE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_variable_is_known_and_read),
		cmocka_unit_test(line_has_the_members_that_are_read),
		cmocka_unit_test(line_has_the_version_that_is_read),
		cmocka_unit_test(every_field_of_a_ticket_is_filled),
		cmocka_unit_test(bounds_of_the_line_hold_together),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
