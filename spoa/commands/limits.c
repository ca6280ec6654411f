/*
 * limits: what operators see and change while the gateway runs.
 *
 *   limits_run -> lim_open_redis -> lim_verbs[]
 *     -> limits_each_account   once for each account that the options select
 *     -> lim_change            value before -> audit -> change -> output
 *
 * Everything goes through store/tune, one call to Redis after the other:
 *
 *   PREFIX:{ACCOUNT}:set      =LIMIT[:SCOPE] -> amount, !KIND:NAME -> blocked
 *   PREFIX:{ACCOUNT}:limits   what is used; `reset` deletes fields of it
 *   PREFIX:blocked            whose running streams are cut
 *   PREFIX:audit              stream: who changed what
 *
 * The first two are read by the reservation script of every node, so a change
 * holds from the next request on. There is no transaction over accounts: after
 * a failure, what was done before stays done, printed and in the audit.
 */
#include "commands/limits_verbs.h"

#include "commands/redis_token.h"
#include "store/blocked.h"
#include "store/check.h"
#include "store/tune.h"
#include "commands/argv.h"
#include "base/log.h"
#include "commands/command.h"

#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
	/* Bytes of an answer of Redis: `show` lists every scope of an account,
	 * which may be each of its agents. Our choice. */
	LIMITS_TEXT_MAX = 64 << 20,
	/* Bytes of a field with its mark: those of limits have CHECK_FIELD_MAX
	 * at most, those of blocked callers BLOCKED_NAME_MAX. */
	LIMITS_FIELD_MAX = 1024,
	NANO_PER_USD = 1000000000, /* the store counts nano-dollars */
};

static const struct argv_option lim_option_rows[] = {
	ARGV_OPTION("--limit", ARGV_TEXT, limits_options, limit, NULL,
                    "its name in the configuration"),
	ARGV_OPTION("--scope", ARGV_TEXT, limits_options, scope, NULL,
                    "of the limit: one consumer, app, agent or model only"),
	ARGV_OPTION("--amount", ARGV_TEXT, limits_options, amount, NULL,
                    "a number, or `configured` to undo"),
	ARGV_OPTION("--consumer", ARGV_TEXT, limits_options, consumer, NULL,
                    "only where this consumer is charged; or whom to block"),
	ARGV_OPTION("--app", ARGV_TEXT, limits_options, app, NULL,
                    "whom to block: an app id, or the name of a key"),
	ARGV_OPTION(
		"--agent", ARGV_TEXT, limits_options, agent, NULL,
		"whom to block: PROJECT/NAME, as agents' limits are scoped"),
};

enum { LIM_N_OPTIONS = sizeof(lim_option_rows) / sizeof(*lim_option_rows) };

/* -------------------------------------------------------------- accounts */

/* True also when the options name no limit. */
static bool lim_has_limit(const struct limits_run *r,
                          const struct policy_consumer *c)
{
	size_t i;

	for (i = 0; i < c->n_limits && r->o->limit.len > 0; i++)
		if (str_eq(r->p->limits[c->limits[i]].name, r->o->limit))
			return true;
	return r->o->limit.len == 0;
}

static bool lim_is_selected(const struct limits_run *r,
                            const struct policy_consumer *c)
{
	return lim_has_limit(r, c) &&
	       (r->o->consumer.len == 0 || str_eq(r->o->consumer, c->name));
}

/* Is it the account of a selected consumer before number `i`? Consumers of one
 * team share an account, which must be changed once: a second change would
 * write the new value into the audit as the one before. */
static bool lim_was_visited(const struct limits_run *r, size_t i,
                            struct str account)
{
	const struct policy_consumer *c = r->p->consumers;
	size_t j;

	for (j = 0; j < i; j++)
		if (lim_is_selected(r, &c[j]) &&
		    str_eq(policy_account(&c[j]), account))
			return true;
	return false;
}

bool limits_each_account(struct limits_run *r, limits_account_fn *fn)
{
	const struct policy *p = r->p;
	size_t i, n = 0;

	for (i = 0; i < p->n_consumers; i++) {
		struct str account = policy_account(&p->consumers[i]);

		if (!lim_is_selected(r, &p->consumers[i]))
			continue;
		n++;
		if (!lim_was_visited(r, i, account) && !fn(r, account))
			return false;
	}
	if (n == 0)
		buf_fmt(r->error, "no consumer of the configuration %s\n",
		        r->o->limit.len > 0 ? "has this limit"
		                            : "has this name");
	return n > 0;
}

/* ----------------------------------------------------------------- change */

/* For the audit. It is what the operator's machine says: Redis knows a change
 * by the login of the gateway only. */
static void lim_name_operator(struct limits_run *r)
{
	const struct passwd *pw = getpwuid(getuid());
	char host[128] = "";

	if (gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	if (pw)
		snprintf(r->who, sizeof(r->who), "%.100s@%s", pw->pw_name,
		         host);
	else
		snprintf(r->who, sizeof(r->who), "uid %u@%s",
		         (unsigned)getuid(), host);
}

/* A change of one account. Both calls are arguments of scripts/tune.lua, `argc`
 * of them each. */
struct lim_change {
	struct str account;
	struct str what;         /* the field, for audit and output */
	struct str value;        /* the new one; empty: the field is removed */
	const struct str *look;  /* call that answers the value before */
	const struct str *write; /* call that makes the change */
	size_t argc;
};

/* The arguments of scripts/audit.lua. */
static bool lim_audit_change(struct limits_run *r, const struct lim_change *c,
                             struct str before)
{
	const struct str entry[] = {str_c(r->who), str_c(r->o->verb),
	                            c->account,    c->what,
	                            before,        c->value};
	struct buf id; /* of the new entry: not used */
	bool ok;

	buf_init(&id, LIMITS_FIELD_MAX);
	ok = tune_audit(r->tune, entry, sizeof(entry) / sizeof(*entry), &id,
	                r->error);
	buf_done(&id);
	return ok;
}

/* VERB, ACCOUNT, FIELD and BEFORE -> AFTER, with tabs between: for scripts. */
static void lim_print_change(struct limits_run *r, const struct lim_change *c,
                             struct str before)
{
	struct str after = c->value.len > 0 ? c->value : STR("-");

	if (before.len == 0)
		before = STR("-");
	buf_fmt(r->out,
	        "%s\t%" STR_FMT "\t%" STR_FMT "\t%" STR_FMT " -> %" STR_FMT
	        "\n",
	        r->o->verb, STR_ARG(c->account), STR_ARG(c->what),
	        STR_ARG(before), STR_ARG(after));
}

/* The audit comes before the change: an entry of a change that then failed does
 * no harm, a change without an entry must not be possible. */
static bool lim_change(struct limits_run *r, const struct lim_change *c)
{
	struct buf before;
	bool ok;

	buf_init(&before, LIMITS_TEXT_MAX);
	ok = tune_ask(r->tune, c->account, c->look, c->argc, &before,
	              r->error) &&
	     lim_audit_change(r, c, buf_str(&before)) &&
	     tune_ask(r->tune, c->account, c->write, c->argc, &r->reply,
	              r->error);
	if (ok)
		lim_print_change(r, c, buf_str(&before));
	buf_done(&before);
	return ok;
}

/* Sets a field of PREFIX:{ACCOUNT}:set; an empty value removes it. */
static bool lim_set_field(struct limits_run *r, struct str account,
                          struct str field, struct str value)
{
	const struct str get[] = {STR("get"), field, STR_NONE};
	const struct str put[] = {STR("put"), field, value};
	const struct str del[] = {STR("del"), field, STR_NONE};
	const struct lim_change c = {
		.account = account,
		.what = field,
		.value = value,
		.look = get,
		.write = value.len > 0 ? put : del,
		.argc = 3,
	};

	return lim_change(r, &c);
}

/* Writes LIMIT or LIMIT:SCOPE behind a mark into `space`, and returns it: the
 * field of decide/reserve, which is the same without the mark. */
static struct str lim_write_field(const struct limits_run *r, const char *mark,
                                  struct buf *space)
{
	buf_fmt(space, "%s%" STR_FMT, mark, STR_ARG(r->o->limit));
	if (r->o->scope.len > 0)
		buf_fmt(space, ":%" STR_FMT, STR_ARG(r->o->scope));
	return buf_str(space);
}

/* -------------------------------------------------------------------- set */

const struct policy_limit *limits_find(const struct policy *p, struct str name)
{
	size_t i;

	for (i = 0; i < p->n_limits; i++)
		if (str_eq(p->limits[i].name, name))
			return &p->limits[i];
	return NULL;
}

/* Writes --amount in the units of the store, as decimal text; nothing for
 * `configured`. Refused is what conf refuses for `amount`: 0, what is above
 * LIMIT_AMOUNT_MAX, fractions of what is counted whole. A double holds every
 * whole number up to LIMIT_AMOUNT_MAX (10^15 < 2^53). `!(units >= 1)` is also
 * true for NaN. */
static bool lim_read_amount(struct limits_run *r, struct buf *out)
{
	const struct policy_limit *l = limits_find(r->p, r->o->limit);
	bool usd = l->unit == UNIT_USD;
	char *end = NULL;
	double d, units;

	if (str_eq(r->o->amount, STR("configured")))
		return true;
	d = r->o->amount.len > 0 ? strtod(r->o->amount.p, &end) : 0;
	units = round(usd ? d * NANO_PER_USD : d);
	if (!end || *end || !(units >= 1) || units > (double)LIMIT_AMOUNT_MAX ||
	    (!usd && units != d)) {
		buf_fmt(r->error,
		        "--amount: found \"%" STR_FMT "\", expected a number "
		        "above 0 (a whole one, unless the limit is in usd) or "
		        "`configured`\n",
		        STR_ARG(r->o->amount));
		return false;
	}
	return buf_fmt(out, "%.0f", units);
}

static bool lim_set_account(struct limits_run *r, struct str account)
{
	struct buf field, amount;
	bool ok;

	buf_init(&field, LIMITS_FIELD_MAX);
	buf_init(&amount, LIMITS_FIELD_MAX);
	ok = lim_read_amount(r, &amount) &&
	     lim_set_field(r, account, lim_write_field(r, "=", &field),
	                   buf_str(&amount));
	buf_done(&field);
	buf_done(&amount);
	return ok;
}

/* Forgets what is used: of the scope that `field` ends with when --scope is
 * given, else of all scopes of the limit. */
static bool lim_forget_usage(struct limits_run *r, struct str account,
                             struct str field)
{
	const struct str look[] = {STR("usage"), r->o->limit, field};
	const struct str forget[] = {STR("forget"), r->o->limit, field};
	const struct lim_change c = {
		.account = account,
		.what = field,
		.value = STR("unused"),
		.look = look,
		.write = forget,
		.argc = r->o->scope.len > 0 ? 3 : 2,
	};

	return lim_change(r, &c);
}

static bool lim_reset_account(struct limits_run *r, struct str account)
{
	struct buf field;
	bool ok;

	buf_init(&field, LIMITS_FIELD_MAX);
	ok = lim_forget_usage(r, account, lim_write_field(r, "", &field));
	buf_done(&field);
	return ok;
}

/* For verbs that are about a limit: --limit must name one. */
static bool lim_each_account_of_limit(struct limits_run *r,
                                      limits_account_fn *fn)
{
	if (!limits_find(r->p, r->o->limit)) {
		buf_fmt(r->error,
		        "--limit: found \"%" STR_FMT
		        "\", expected a limit of the "
		        "configuration\n",
		        STR_ARG(r->o->limit));
		return false;
	}
	return limits_each_account(r, fn);
}

static bool lim_set(struct limits_run *r)
{
	return lim_each_account_of_limit(r, lim_set_account);
}

static bool lim_reset(struct limits_run *r)
{
	return lim_each_account_of_limit(r, lim_reset_account);
}

/* ------------------------------------------------------------------ block */

/* One function serves `block` and `unblock`. */
static bool lim_is_block(const struct limits_run *r)
{
	return strcmp(r->o->verb, "block") == 0;
}

/* Writes "!KIND:NAME", the field in the settings of an account. Without the
 * mark it is the name in PREFIX:blocked, a list of lines: so control
 * characters, a newline for one, are refused. */
static bool lim_write_blocked_field(struct limits_run *r, struct buf *out)
{
	const struct limits_options *o = r->o;
	struct str name;

	if (o->consumer.len > 0)
		buf_fmt(out, "!consumer:%" STR_FMT, STR_ARG(o->consumer));
	else if (o->app.len > 0)
		buf_fmt(out, "!app:%" STR_FMT, STR_ARG(o->app));
	else
		buf_fmt(out, "!agent:%" STR_FMT, STR_ARG(o->agent));
	name = buf_str(out);
	if (out->failed || !str_is_one_line(name) ||
	    name.len > BLOCKED_NAME_MAX) {
		buf_fmt(r->error,
		        "expected a name of at most 500 bytes without control "
		        "characters\n");
		return false;
	}
	return true;
}

static bool lim_block_account(struct limits_run *r, struct str account)
{
	struct buf field;
	bool ok;

	buf_init(&field, LIMITS_FIELD_MAX);
	ok = lim_write_blocked_field(r, &field) &&
	     lim_set_field(r, account, buf_str(&field),
	                   lim_is_block(r) ? STR("1") : STR_NONE);
	buf_done(&field);
	return ok;
}

/* Cuts running streams, or ends that. The order is that nobody who was admitted
 * is cut: `block` first refuses new requests, then cuts; `unblock` first ends
 * the cutting, waits until every HAProxy has read that, then admits. */
static bool lim_block_streams(struct limits_run *r)
{
	static const struct timespec spread = {
		.tv_sec = BLOCKED_SPREAD_MS / 1000,
		.tv_nsec = BLOCKED_SPREAD_MS % 1000 * 1000000L,
	};
	struct buf field;
	bool ok;

	buf_init(&field, LIMITS_FIELD_MAX);
	ok = lim_write_blocked_field(r, &field) &&
	     tune_blocked(r->tune, lim_is_block(r) ? "put" : "del",
	                  str_from(buf_str(&field), 1), &r->reply, r->error);
	if (ok && !lim_is_block(r))
		nanosleep(&spread, NULL);
	if (!ok && lim_is_block(r))
		buf_fmt(r->error, "new requests are refused, but running "
		                  "streams are not cut\n");
	buf_done(&field);
	return ok;
}

/* The reservation script reads the settings of one account only, so a blocked
 * caller is written to each account it may be charged to: to that of
 * --consumer, else to all. */
static bool lim_block(struct limits_run *r)
{
	const struct limits_options *o = r->o;

	if ((o->consumer.len > 0) + (o->app.len > 0) + (o->agent.len > 0) !=
	    1) {
		buf_fmt(r->error,
		        "expected one of --consumer, --app and --agent\n");
		return false;
	}
	if (lim_is_block(r))
		return limits_each_account(r, lim_block_account) &&
		       lim_block_streams(r);
	return lim_block_streams(r) &&
	       limits_each_account(r, lim_block_account);
}

/* ---------------------------------------------------------------- command */

static const struct {
	const char *name;
	bool (*run)(struct limits_run *r);
	const char *help;
} lim_verbs[] = {
	{"show", limits_show, "what is used and what is set; [--consumer]"},
	{"set", lim_set, "--limit, --amount; [--scope] [--consumer]"},
	{"reset", lim_reset, "forget usage: --limit; [--scope] [--consumer]"},
	{"block", lim_block, "one of --consumer, --app, --agent"},
	{"unblock", lim_block, "one of --consumer, --app, --agent"},
	{"audit", limits_audit, "who changed what, newest last"},
};

enum { LIM_N_VERBS = sizeof(lim_verbs) / sizeof(*lim_verbs) };

/* LIM_N_VERBS when there is none of this name. */
static size_t lim_find_verb(const char *name)
{
	size_t i = 0;

	while (i < LIM_N_VERBS && strcmp(lim_verbs[i].name, name) != 0)
		i++;
	return i;
}

/* A field that no reservation can have would be changed without effect, and one
 * that does not fit its buffer would become that of the whole limit. */
static bool lim_check_field(const struct limits_options *o, struct buf *error)
{
	if (o->limit.len + STR(":").len + o->scope.len <= CHECK_FIELD_MAX)
		return true;
	buf_fmt(error,
	        "--limit and --scope: found %zu bytes, expected at most %d\n",
	        o->limit.len + o->scope.len, CHECK_FIELD_MAX - 1);
	return false;
}

bool limits_read_options(int argc, char **argv, struct limits_options *out,
                         struct buf *error)
{
	*out = (struct limits_options){.verb = argc > 0 ? argv[0] : ""};
	if (lim_find_verb(out->verb) == LIM_N_VERBS) {
		buf_fmt(error, "found \"%s\", expected a verb\n", out->verb);
		return false;
	}
	if (!argv_read(lim_option_rows, LIM_N_OPTIONS, argc - 1, argv + 1, out,
	               &out->config, error))
		return false;
	if (!out->config) {
		buf_fmt(error, "expected the configuration's file\n");
		return false;
	}
	return lim_check_field(out, error);
}

void limits_usage(struct buf *out)
{
	size_t i;

	buf_fmt(out, "usage: foundry-spoa limits VERB FILE ..\n");
	for (i = 0; i < LIM_N_VERBS; i++)
		buf_fmt(out, "  %-8s %s\n", lim_verbs[i].name,
		        lim_verbs[i].help);
	argv_usage(lim_option_rows, LIM_N_OPTIONS, out);
}

/* Connects as the configuration says. *token stays NULL where that names no
 * credential; it is the caller's to free, also on failure. */
static bool lim_open_redis(struct limits_run *r, struct policy *p,
                           struct redis_token **token)
{
	if (p->redis.credential) {
		*token = redis_token_new(p, r->error);
		if (!*token)
			return false;
	}
	r->tune = tune_open(&p->redis, redis_token_login(*token), r->error);
	return r->tune != NULL;
}

bool limits_run(const struct limits_options *o, struct policy *p,
                struct buf *out, struct buf *error)
{
	struct limits_run r = {.o = o, .p = p, .out = out, .error = error};
	struct redis_token *token = NULL;
	bool ok;

	if (!p->redis.enabled) {
		buf_fmt(error, "the configuration has no redis: limits are in "
		               "the memory of the agent, where nothing can be "
		               "changed at run time\n");
		return false;
	}
	buf_init(&r.reply, LIMITS_TEXT_MAX);
	ok = lim_open_redis(&r, p, &token);
	if (ok) {
		lim_name_operator(&r);
		ok = lim_verbs[lim_find_verb(o->verb)].run(&r);
	}
	buf_done(&r.reply);
	tune_close(r.tune);
	redis_token_free(token);
	return ok;
}

int command_limits(int argc, char **argv)
{
	struct limits_options o;
	struct policy *p = NULL;
	struct buf out, error;
	bool ok;

	buf_init(&out, COMMAND_REPORT_MAX);
	buf_init(&error, COMMAND_TEXT_MAX);
	log_set_level(LOG_WARN); /* nothing about connecting to Redis */
	ok = limits_read_options(argc, argv, &o, &error);
	if (ok)
		p = command_load(o.config);
	else
		limits_usage(&error);
	ok = p && limits_run(&o, p, &out, &error);
	/* also after a failure: what was changed before it */
	printf("%" STR_FMT, STR_ARG(buf_str(&out)));
	command_tell(&error);
	policy_unref(p);
	buf_done(&out);
	return ok && fflush(stdout) == 0 ? 0 : 1;
}
