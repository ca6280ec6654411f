/*
 * Judges tests/tables/authorize.cases by tests/tables/authorize.json.
 *
 * Runs from the root of the repository. Ends with "N passed, N failed".
 */
#include "conf/load.h"
#include "decide/authorize.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_WORDS = 16 };

struct caller {
	struct identity who;
	struct str roles[MAX_WORDS], groups[MAX_WORDS];
	char scopes[512];
};

static struct str take_until(struct str *rest, char sep)
{
	size_t n = str_find(*rest, sep);
	struct str part = str_trim(str_first(*rest, n));

	*rest = str_from(*rest, n + 1);
	return part;
}

static size_t split(struct str list, struct str *out)
{
	size_t n = 0;

	while (list.len > 0 && n < MAX_WORDS)
		out[n++] = take_until(&list, ',');
	return n;
}

static int tenant_of(const struct policy *p, struct str name)
{
	size_t i;

	for (i = 0; i < p->n_tenants; i++)
		if (str_eq(p->tenants[i].name, name))
			return (int)i;
	return -2; /* no tenant of the config: matches none */
}

static bool read_word(const struct policy *p, struct caller *c, struct str word)
{
	struct str name = take_until(&word, '=');

	if (str_eq(name, STR("tenant"))) {
		c->who.tenant = tenant_of(p, word);
		c->who.kind = IDENTITY_TOKEN;
	} else if (str_eq(name, STR("app"))) {
		c->who.app = word;
	} else if (str_eq(name, STR("object"))) {
		c->who.object = word;
	} else if (str_eq(name, STR("mirid"))) {
		c->who.mirid = word;
	} else if (str_eq(name, STR("key"))) {
		c->who.key = word;
	} else if (str_eq(name, STR("roles"))) {
		c->who.roles = c->roles;
		c->who.n_roles = split(word, c->roles);
	} else if (str_eq(name, STR("groups"))) {
		c->who.groups = c->groups;
		c->who.n_groups = split(word, c->groups);
	} else if (str_eq(name, STR("scopes"))) {
		size_t i;

		snprintf(c->scopes, sizeof(c->scopes), "%" STR_FMT,
		         STR_ARG(word));
		for (i = 0; c->scopes[i]; i++)
			if (c->scopes[i] == ',')
				c->scopes[i] = ' ';
		c->who.scopes = str_c(c->scopes);
	} else {
		return false;
	}
	return true;
}

static bool read_caller(const struct policy *p, struct caller *c,
                        struct str text)
{
	*c = (struct caller){.who.tenant = -1};
	while (text.len > 0) {
		struct str word = take_until(&text, ' ');

		if (word.len > 0 && !read_word(p, c, word))
			return false;
	}
	return true;
}

/* What the rules say: "allow hr", "deny default", "deny nobody". */
static void judge(const struct policy *p, const struct identity *who,
                  struct str model, enum api_operation op, char *out,
                  size_t out_len)
{
	const struct policy_consumer *consumer = authorize_consumer(p, who);
	const struct policy_rule *rule;

	if (!consumer) {
		snprintf(out, out_len, "deny nobody");
		return;
	}
	rule = authorize_rule(p, consumer, who, model, op);
	snprintf(out, out_len, "%s %" STR_FMT,
	         rule && rule->allow ? "allow" : "deny",
	         STR_ARG(rule ? rule->name : STR("default")));
}

static bool run_case(const struct policy *p, struct str line, unsigned number)
{
	struct str expect = take_until(&line, '|');
	struct str caller = take_until(&line, '|');
	struct str model = take_until(&line, '|');
	struct str operation = take_until(&line, '|');
	enum api_operation op = operations_by_name(operation);
	struct str verdict = take_until(&expect, ' ');
	char got[128], want[128];
	struct caller c;

	if (!read_caller(p, &c, caller) || op == API_NONE ||
	    !policy_model(p, model)) {
		printf("line %u: cannot read this case\n", number);
		return false;
	}
	snprintf(want, sizeof(want), "%" STR_FMT " %" STR_FMT, STR_ARG(verdict),
	         STR_ARG(str_trim(expect)));
	judge(p, &c.who, model, op, got, sizeof(got));
	if (strcmp(got, want) == 0)
		return true;
	printf("line %u: expected \"%s\", got \"%s\"\n", number, want, got);
	return false;
}

int main(void)
{
	static char line[4096];
	unsigned number = 0, passed = 0, failed = 0;
	FILE *cases = fopen("tests/tables/authorize.cases", "r");
	struct buf errors;
	struct policy *p;

	buf_init(&errors, 65536);
	p = conf_load("tests/tables/authorize.json", &errors);
	if (!p || !cases) {
		printf("%" STR_FMT "0 passed, 1 failed\n",
		       STR_ARG(buf_str(&errors)));
		return 1;
	}
	while (fgets(line, sizeof(line), cases)) {
		struct str text = str_trim(str_c(line));

		number++;
		if (text.len == 0 || text.p[0] == '#')
			continue;
		if (run_case(p, text, number))
			passed++;
		else
			failed++;
	}
	fclose(cases);
	policy_unref(p);
	buf_done(&errors);
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
