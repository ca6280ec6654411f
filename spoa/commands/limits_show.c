/*
 * commands/limits_show: the verbs of `limits` that change nothing.
 *
 *   limits_show    lims_show_account -> scripts/tune.lua, "list" -> lines
 *   limits_audit   scripts/audit.lua -> lines
 *
 * What Redis answers is one text: lines with columns separated by tabs. It is
 * printed in the same form, with what the configuration knows added.
 */
#include "commands/limits_verbs.h"

#include "base/clock.h"
#include "store/tune.h"

#include <inttypes.h>

/* Takes the text up to the first `end` off *rest, and `end` with it. */
static struct str lims_split(struct str *rest, char end)
{
	size_t n = str_find(*rest, end);
	struct str word = str_first(*rest, n);

	*rest = str_from(*rest, n < rest->len ? n + 1 : n);
	return word;
}

/* A line "use" of scripts/tune.lua: FIELD, KIND, COUNT. Kind 0 is a bucket (a
 * minute), whose count is its level: what is left. All others count what is
 * used. A limit that is not in this configuration is shown without its amount.
 */
static void lims_show_use(struct limits_run *r, struct str account,
                          struct str line)
{
	static const char *const units[] = {"requests", "tokens", "nano-usd",
	                                    "concurrent"};
	struct str field = lims_split(&line, '\t');
	bool bucket = str_eq(lims_split(&line, '\t'), STR("0"));
	struct str name = str_first(field, str_find(field, ':'));
	const struct policy_limit *l = limits_find(r->p, name);

	buf_fmt(r->out, "%" STR_FMT "\t%" STR_FMT "\t%s %" STR_FMT,
	        STR_ARG(account), STR_ARG(field), bucket ? "left" : "used",
	        STR_ARG(line));
	if (l)
		buf_fmt(r->out, "\tconfigured %" PRIu64 " %s", l->amount,
		        units[l->unit]);
	buf_fmt(r->out, "\n");
}

/* A line "set" of scripts/tune.lua: FIELD, VALUE. The field begins with '=' for
 * an amount, with '!' for a blocked caller. */
static void lims_show_setting(struct limits_run *r, struct str account,
                              struct str line)
{
	struct str field = lims_split(&line, '\t');
	bool blocked = str_starts(field, STR("!"));

	buf_fmt(r->out, "%" STR_FMT "\t%" STR_FMT "\t%s", STR_ARG(account),
	        STR_ARG(str_from(field, 1)), blocked ? "blocked" : "set ");
	if (!blocked)
		buf_add_str(r->out, line);
	buf_fmt(r->out, "\n");
}

static bool lims_show_account(struct limits_run *r, struct str account)
{
	const struct str list[] = {STR("list")};
	struct str rest;

	if (!tune_ask(r->tune, account, list, 1, &r->reply, r->error))
		return false;
	for (rest = buf_str(&r->reply); rest.len > 0;) {
		struct str line = lims_split(&rest, '\n');

		if (str_eq(lims_split(&line, '\t'), STR("use")))
			lims_show_use(r, account, line);
		else
			lims_show_setting(r, account, line);
	}
	return true;
}

bool limits_show(struct limits_run *r)
{
	return limits_each_account(r, lims_show_account);
}

/* ------------------------------------------------------------------ audit */

/* Lines of scripts/audit.lua, whose first column is the time in milliseconds.
 */
bool limits_audit(struct limits_run *r)
{
	struct str rest;

	if (!tune_audit(r->tune, NULL, 0, &r->reply, r->error))
		return false;
	for (rest = buf_str(&r->reply); rest.len > 0;) {
		struct str line = lims_split(&rest, '\n');
		char time[25];
		uint64_t ms = 0;

		str_to_u64(lims_split(&line, '\t'), &ms);
		clock_iso8601((int64_t)ms, time);
		buf_fmt(r->out, "%s\t%" STR_FMT "\n", time, STR_ARG(line));
	}
	return true;
}
