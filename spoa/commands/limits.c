/* limits: what operators see and change while the gateway runs. */
#include "commands/limits.h"

#include "base/clock.h"
#include "commands/redis_token.h"
#include "store/blocked.h"
#include "store/tune.h"
#include "commands/argv.h"
#include "base/log.h"
#include "commands/command.h"

#include <inttypes.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LIMITS_TEXT_MAX = 64 << 20, LIMITS_FIELD_MAX = 1024 };

static const struct argv_option options[] = {
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

enum { N_OPTIONS = sizeof(options) / sizeof(*options) };

/* A run of the command. */
struct run {
	const struct limits_options *o;
	const struct policy *p;
	struct tune *tune;
	struct buf *out, *error;
	struct buf reply;
	char who[256];
};

/* -------------------------------------------------------------- accounts */

static struct str account_of(const struct policy_consumer *c)
{
	return c->team.len > 0 ? c->team : c->name;
}

static bool has_limit(const struct run *r, const struct policy_consumer *c)
{
	size_t i;

	for (i = 0; i < c->n_limits && r->o->limit.len > 0; i++)
		if (str_eq(r->p->limits[c->limits[i]].name, r->o->limit))
			return true;
	return r->o->limit.len == 0;
}

static bool is_meant(const struct run *r, const struct policy_consumer *c)
{
	return has_limit(r, c) &&
	       (r->o->consumer.len == 0 || str_eq(r->o->consumer, c->name));
}

typedef bool account_fn(struct run *r, struct str account);

/* Once for each account that the options mean. */
static bool each_account(struct run *r, account_fn *fn)
{
	const struct policy *p = r->p;
	size_t i, j, n = 0;

	for (i = 0; i < p->n_consumers; i++) {
		struct str account = account_of(&p->consumers[i]);

		if (!is_meant(r, &p->consumers[i]))
			continue;
		for (j = 0; j < i; j++)
			if (is_meant(r, &p->consumers[j]) &&
			    str_eq(account_of(&p->consumers[j]), account))
				break;
		n++;
		if (j == i && !fn(r, account))
			return false;
	}
	if (n == 0)
		buf_fmt(r->error, "no consumer of the configuration %s\n",
		        r->o->limit.len > 0 ? "has this limit"
		                            : "has this name");
	return n > 0;
}

/* ----------------------------------------------------------------- change */

static void who_am_i(struct run *r)
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

/* `look` gives the value before. Write down what is about to happen, then do
 * it: a change that nobody can see must not be possible, an entry of one that
 * failed is no harm. */
static bool change(struct run *r, struct str account, struct str what,
                   struct str new, const struct str *look,
                   const struct str *argv, size_t argc)
{
	struct str entry[6] = {str_c(r->who), str_c(r->o->verb), account, what};
	struct buf old, none;
	bool ok;

	buf_init(&old, LIMITS_TEXT_MAX);
	buf_init(&none, LIMITS_FIELD_MAX);
	ok = tune_ask(r->tune, account, look, argc, &old, r->error);
	entry[4] = buf_str(&old);
	entry[5] = new;
	ok = ok && tune_audit(r->tune, entry, 6, &none, r->error) &&
	     tune_ask(r->tune, account, argv, argc, &r->reply, r->error);
	if (ok)
		buf_fmt(r->out,
		        "%s\t%" STR_FMT "\t%" STR_FMT "\t%" STR_FMT
		        " -> %" STR_FMT "\n",
		        r->o->verb, STR_ARG(account), STR_ARG(what),
		        STR_ARG(old.len > 0 ? buf_str(&old) : STR("-")),
		        STR_ARG(new.len > 0 ? new : STR("-")));
	buf_done(&old);
	buf_done(&none);
	return ok;
}

static bool put_or_del(struct run *r, struct str account, struct str field,
                       struct str value)
{
	const struct str get[] = {STR("get"), field, STR_NONE};
	const struct str put[] = {STR("put"), field, value};
	const struct str del[] = {STR("del"), field, STR_NONE};

	return change(r, account, field, value, get, value.len > 0 ? put : del,
	              3);
}

/* LIMIT or LIMIT:SCOPE, with a mark in front. */
static struct str field_of(const struct run *r, const char *mark,
                           struct buf *space)
{
	buf_fmt(space, "%s%" STR_FMT, mark, STR_ARG(r->o->limit));
	if (r->o->scope.len > 0)
		buf_fmt(space, ":%" STR_FMT, STR_ARG(r->o->scope));
	return buf_str(space);
}

/* -------------------------------------------------------------------- set */

static const struct policy_limit *limit_named(const struct policy *p,
                                              struct str name)
{
	size_t i;

	for (i = 0; i < p->n_limits; i++)
		if (str_eq(p->limits[i].name, name))
			return &p->limits[i];
	return NULL;
}

/* In units of the store, as text; empty: as configured. */
static bool read_amount(struct run *r, struct buf *out)
{
	const struct policy_limit *l = limit_named(r->p, r->o->limit);
	double usd = l->unit == UNIT_USD ? 1e9 : 1, units;
	char *end = NULL;
	double d;

	if (str_eq(r->o->amount, STR("configured")))
		return true;
	d = r->o->amount.len > 0 ? strtod(r->o->amount.p, &end) : 0;
	units = round(d * usd);
	if (!end || *end || !(units >= 1) || units > (double)LIMIT_AMOUNT_MAX ||
	    (usd < 2 && units != d)) {
		buf_fmt(r->error,
		        "--amount: found \"%" STR_FMT "\", expected a number "
		        "above 0, whole but for usd, or configured\n",
		        STR_ARG(r->o->amount));
		return false;
	}
	return buf_fmt(out, "%.0f", units);
}

static bool set_account(struct run *r, struct str account)
{
	struct buf field, amount;
	bool ok;

	buf_init(&field, LIMITS_FIELD_MAX);
	buf_init(&amount, LIMITS_FIELD_MAX);
	ok = read_amount(r, &amount) &&
	     put_or_del(r, account, field_of(r, "=", &field), buf_str(&amount));
	buf_done(&field);
	buf_done(&amount);
	return ok;
}

static bool reset_account(struct run *r, struct str account)
{
	struct str argv[] = {STR("forget"), r->o->limit, STR_NONE};
	struct str look[] = {STR("usage"), r->o->limit, STR_NONE};
	struct buf field;
	bool ok;

	buf_init(&field, LIMITS_FIELD_MAX);
	argv[2] = look[2] = field_of(r, "", &field);
	ok = change(r, account, argv[2], STR("unused"), look, argv,
	            r->o->scope.len > 0 ? 3 : 2);
	buf_done(&field);
	return ok;
}

static bool needs_limit(struct run *r, account_fn *fn)
{
	if (!limit_named(r->p, r->o->limit)) {
		buf_fmt(r->error,
		        "--limit: found \"%" STR_FMT
		        "\", expected a limit of the "
		        "configuration\n",
		        STR_ARG(r->o->limit));
		return false;
	}
	return each_account(r, fn);
}

static bool set(struct run *r)
{
	return needs_limit(r, set_account);
}

static bool reset(struct run *r)
{
	return needs_limit(r, reset_account);
}

/* ------------------------------------------------------------------ block */

static bool is_blocking(const struct run *r)
{
	return strcmp(r->o->verb, "block") == 0;
}

/* "!KIND:NAME": the field of an account. Behind the mark, the name in the list
 * of whose streams are cut. */
static bool blocked_field(struct run *r, struct buf *out)
{
	const struct limits_options *o = r->o;
	struct str name;
	size_t i;

	if (o->consumer.len > 0)
		buf_fmt(out, "!consumer:%" STR_FMT, STR_ARG(o->consumer));
	else if (o->app.len > 0)
		buf_fmt(out, "!app:%" STR_FMT, STR_ARG(o->app));
	else
		buf_fmt(out, "!agent:%" STR_FMT, STR_ARG(o->agent));
	name = buf_str(out);
	for (i = 0; i < name.len; i++)
		if ((unsigned char)name.p[i] < ' ' || name.p[i] == 0x7f)
			out->failed = true;
	if (out->failed || name.len > BLOCKED_NAME_MAX) {
		buf_fmt(r->error,
		        "expected a name of at most 500 bytes without control "
		        "characters\n");
		return false;
	}
	return true;
}

static bool block_account(struct run *r, struct str account)
{
	struct buf field;
	bool ok;

	buf_init(&field, LIMITS_FIELD_MAX);
	ok = blocked_field(r, &field) &&
	     put_or_del(r, account, buf_str(&field),
	                is_blocking(r) ? STR("1") : STR_NONE);
	buf_done(&field);
	return ok;
}

/* Running streams are cut after new requests are refused, and not any more
 * before new requests are let in: by then every HAProxy has read that, so that
 * nobody who was let in is cut. */
static bool block_streams(struct run *r)
{
	static const struct timespec spread = {
		BLOCKED_SPREAD_MS / 1000, BLOCKED_SPREAD_MS % 1000 * 1000000};
	struct buf field;
	bool ok;

	buf_init(&field, LIMITS_FIELD_MAX);
	ok = blocked_field(r, &field) &&
	     tune_blocked(r->tune, is_blocking(r) ? "put" : "del",
	                  str_from(buf_str(&field), 1), &r->reply, r->error);
	if (ok && !is_blocking(r))
		nanosleep(&spread, NULL);
	if (!ok && is_blocking(r))
		buf_fmt(r->error, "new requests are refused, but running "
		                  "streams are not cut\n");
	buf_done(&field);
	return ok;
}

static bool block(struct run *r)
{
	const struct limits_options *o = r->o;

	if ((o->consumer.len > 0) + (o->app.len > 0) + (o->agent.len > 0) !=
	    1) {
		buf_fmt(r->error,
		        "expected one of --consumer, --app and --agent\n");
		return false;
	}
	if (is_blocking(r))
		return each_account(r, block_account) && block_streams(r);
	return block_streams(r) && each_account(r, block_account);
}

/* ------------------------------------------------------------------- show */

static struct str take(struct str *rest, char end)
{
	size_t n = str_find(*rest, end);
	struct str word = str_first(*rest, n);

	*rest = str_from(*rest, n < rest->len ? n + 1 : n);
	return word;
}

/* "use" FIELD KIND COUNT: what is used, of a bucket what is left, and what is
 * configured. */
static void show_use(struct run *r, struct str account, struct str line)
{
	static const char *const units[] = {"requests", "tokens", "nano-usd",
	                                    "concurrent"};
	struct str field = take(&line, '\t');
	bool bucket = str_eq(take(&line, '\t'), STR("0"));
	struct str name = str_first(field, str_find(field, ':'));
	const struct policy_limit *l = limit_named(r->p, name);

	buf_fmt(r->out, "%" STR_FMT "\t%" STR_FMT "\t%s %" STR_FMT,
	        STR_ARG(account), STR_ARG(field), bucket ? "left" : "used",
	        STR_ARG(line));
	if (l)
		buf_fmt(r->out, "\tconfigured %" PRIu64 " %s", l->amount,
		        units[l->unit]);
	buf_fmt(r->out, "\n");
}

static void show_set(struct run *r, struct str account, struct str line)
{
	struct str field = take(&line, '\t');
	bool blocked = str_starts(field, STR("!"));

	buf_fmt(r->out, "%" STR_FMT "\t%" STR_FMT "\t%s", STR_ARG(account),
	        STR_ARG(str_from(field, 1)), blocked ? "blocked" : "set ");
	if (!blocked)
		buf_add_str(r->out, line);
	buf_fmt(r->out, "\n");
}

static bool show_account(struct run *r, struct str account)
{
	const struct str list[] = {STR("list")};
	struct str rest;

	if (!tune_ask(r->tune, account, list, 1, &r->reply, r->error))
		return false;
	for (rest = buf_str(&r->reply); rest.len > 0;) {
		struct str line = take(&rest, '\n');

		if (str_eq(take(&line, '\t'), STR("use")))
			show_use(r, account, line);
		else
			show_set(r, account, line);
	}
	return true;
}

static bool show(struct run *r)
{
	return each_account(r, show_account);
}

/* ------------------------------------------------------------------ audit */

static bool audit(struct run *r)
{
	struct str rest;

	if (!tune_audit(r->tune, NULL, 0, &r->reply, r->error))
		return false;
	for (rest = buf_str(&r->reply); rest.len > 0;) {
		struct str line = take(&rest, '\n');
		char time[25];
		uint64_t ms = 0;

		str_to_u64(take(&line, '\t'), &ms);
		clock_iso8601((int64_t)ms, time);
		buf_fmt(r->out, "%s\t%" STR_FMT "\n", time, STR_ARG(line));
	}
	return true;
}

/* ---------------------------------------------------------------- command */

static const struct {
	const char *name;
	bool (*run)(struct run *r);
	const char *help;
} verbs[] = {
	{"show", show, "what is used and what is set; [--consumer]"},
	{"set", set, "--limit, --amount; [--scope] [--consumer]"},
	{"reset", reset, "forget usage: --limit; [--scope] [--consumer]"},
	{"block", block, "one of --consumer, --app, --agent"},
	{"unblock", block, "one of --consumer, --app, --agent"},
	{"audit", audit, "who changed what, newest last"},
};

enum { N_VERBS = sizeof(verbs) / sizeof(*verbs) };

static size_t verb_of(const char *name)
{
	size_t i = 0;

	while (i < N_VERBS && strcmp(verbs[i].name, name) != 0)
		i++;
	return i;
}

bool limits_read_options(int argc, char **argv, struct limits_options *out,
                         struct buf *error)
{
	*out = (struct limits_options){.verb = argc > 0 ? argv[0] : ""};
	if (verb_of(out->verb) == N_VERBS) {
		buf_fmt(error, "found \"%s\", expected a verb\n", out->verb);
		return false;
	}
	if (!argv_read(options, N_OPTIONS, argc - 1, argv + 1, out,
	               &out->config, error))
		return false;
	if (!out->config)
		buf_fmt(error, "expected the configuration's file\n");
	return out->config != NULL;
}

void limits_usage(struct buf *out)
{
	size_t i;

	buf_fmt(out, "usage: foundry-spoa limits VERB FILE ..\n");
	for (i = 0; i < N_VERBS; i++)
		buf_fmt(out, "  %-8s %s\n", verbs[i].name, verbs[i].help);
	argv_usage(options, N_OPTIONS, out);
}

/* Connected as the configuration says; the token is NULL where it names no
 * credential. */
static bool reach_redis(struct run *r, struct policy *p,
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
	struct run r = {.o = o, .p = p, .out = out, .error = error};
	struct redis_token *token = NULL;
	bool ok;

	if (!p->redis.enabled) {
		buf_fmt(error, "the configuration has no redis: limits are in "
		               "the memory of the agent, where nothing can be "
		               "changed at run time\n");
		return false;
	}
	buf_init(&r.reply, LIMITS_TEXT_MAX);
	ok = reach_redis(&r, p, &token);
	if (ok) {
		who_am_i(&r);
		ok = verbs[verb_of(o->verb)].run(&r);
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
	log_set_level(LOG_WARN); /* the output is what was asked for */
	ok = limits_read_options(argc, argv, &o, &error);
	if (ok)
		p = command_load(o.config);
	else
		limits_usage(&error);
	ok = p && limits_run(&o, p, &out, &error);
	/* what was done before something failed */
	printf("%" STR_FMT, STR_ARG(buf_str(&out)));
	command_tell(&error);
	policy_unref(p);
	buf_done(&out);
	return ok && fflush(stdout) == 0 ? 0 : 1;
}
