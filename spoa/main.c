/*
 * foundry-spoa: the agent that decides for HAProxy.
 *
 *   foundry-spoa run FILE             serve
 *   foundry-spoa check FILE           report every error of a configuration
 *   foundry-spoa render-haproxy FILE  print the HAProxy backends
 *   foundry-spoa options              document every option
 *   foundry-spoa connection FILE ..   the Foundry connection that leads here
 *   foundry-spoa report FILE ..       who consumed what, from the ledger
 *   foundry-spoa limits VERB FILE ..  see and change them while it runs
 *   foundry-spoa top [URL]            live use per consumer and model
 *   foundry-spoa prices FILE ..       prices from LiteLLM's price file
 *   foundry-spoa healthcheck [URL]    ask a running agent
 *   foundry-spoa -V                   versions of the agent and its libraries
 */
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "conf/load.h"
#include "conf/manual.h"
#include "upstream/render.h"
#include "commands/connection.h"
#include "net/fetch.h"
#include "keys/jose.h"
#include "commands/limits.h"
#include "net/http.h"
#include "commands/prices.h"
#include "commands/report.h"
#include "store/redis_link.h"
#include "commands/top.h"
#include "base/version.h"
#include "agent/workers.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	MAIN_TEXT_MAX = 1 << 20,
	MAIN_REPORT_MAX = 1 << 28,
	MAIN_EXIT_USAGE = 2,
	MAIN_HEALTH_MS = 3000,
};

static const char default_health_url[] = "http://127.0.0.1:9102/healthz";

/* Load and say everything that is wrong with it. */
static struct policy *load(const char *file)
{
	struct buf errors;
	struct policy *p;

	buf_init(&errors, MAIN_TEXT_MAX);
	p = conf_load(file, &errors);
	fprintf(stderr, "%" STR_FMT, STR_ARG(buf_str(&errors)));
	buf_done(&errors);
	return p;
}

static int print(struct buf *text, bool ok)
{
	if (ok)
		printf("%" STR_FMT, STR_ARG(buf_str(text)));
	buf_done(text);
	return ok && fflush(stdout) == 0 ? 0 : 1;
}

static int run(int argc, char **argv)
{
	struct policy *p = load(argv[0]);

	(void)argc;
	if (!p)
		return 1;
	log_set_level((enum log_level)p->log_level);
	return workers_run(p);
}

static int check(int argc, char **argv)
{
	struct policy *p = load(argv[0]);

	(void)argc;
	if (!p)
		return 1;
	printf("%s: ok (%zu models, %zu resources, %zu consumers, %zu "
	       "limits)\n",
	       argv[0], p->n_models, p->n_resources, p->n_consumers,
	       p->n_limits);
	policy_unref(p);
	return 0;
}

static int render(int argc, char **argv)
{
	struct policy *p = load(argv[0]);
	struct buf out;
	bool ok;

	(void)argc;
	if (!p)
		return 1;
	buf_init(&out, MAIN_TEXT_MAX);
	ok = render_haproxy(p, &out);
	policy_unref(p);
	return print(&out, ok);
}

static int options(int argc, char **argv)
{
	struct buf out;

	(void)argc;
	(void)argv;
	buf_init(&out, MAIN_TEXT_MAX);
	manual_print(&out);
	return print(&out, true);
}

struct health {
	struct loop *loop;
	int status;
};

static void on_health(void *ctx, const struct fetch_result *res)
{
	struct health *h = ctx;

	h->status = res->status;
	if (res->error)
		fprintf(stderr, "healthcheck: %s\n", res->error);
	loop_stop(h->loop);
}

static int healthcheck(int argc, char **argv)
{
	struct health h = {.loop = loop_new()};
	struct fetch *f = h.loop ? fetch_new(h.loop, NULL) : NULL;
	struct fetch_request req = {
		.url = str_c(argc > 0 ? argv[0] : default_health_url),
		.allow_http = true,
		.deadline_ms = MAIN_HEALTH_MS,
		.max_answer = 4096,
	};

	if (f && fetch_start(f, &req, on_health, &h))
		loop_run(h.loop);
	fetch_free(f);
	loop_free(h.loop);
	return h.status == 200 ? 0 : 1;
}

static int versions(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("foundry-spoa " VERSION "\n");
	printf("libev %s\n", loop_library());
	printf("%s\n", json_library());
	printf("%s\n", fetch_library());
	printf("%s\n", jose_library());
	printf("%s\n", redis_link_library());
	printf("%s\n", http_library());
	return 0;
}

static int connection(int argc, char **argv)
{
	struct connection c;
	struct policy *p = NULL;
	struct buf out, error;
	const char *file;
	bool ok;

	buf_init(&out, MAIN_TEXT_MAX);
	buf_init(&error, MAIN_TEXT_MAX);
	ok = connection_options(argc, argv, &c, &file, &error);
	if (ok)
		p = load(file);
	else
		connection_usage(&error);
	ok = p && connection_print(&c, p, &out, &error);
	fprintf(stderr, "%" STR_FMT, STR_ARG(buf_str(&error)));
	policy_unref(p);
	buf_done(&error);
	return print(&out, ok);
}

static int report(int argc, char **argv)
{
	struct report_options o;
	struct policy *p = NULL;
	struct buf out, error;
	bool ok;

	buf_init(&out, MAIN_REPORT_MAX);
	buf_init(&error, MAIN_TEXT_MAX);
	ok = report_read_options(argc, argv, &o, &error);
	if (ok)
		p = load(o.config);
	else
		report_usage(&error);
	ok = p && report_run(&o, p, &out, &error);
	fprintf(stderr, "%" STR_FMT, STR_ARG(buf_str(&error)));
	policy_unref(p);
	buf_done(&error);
	return print(&out, ok);
}

/* Standard output has the prices alone, to go into a file. */
static int prices(int argc, char **argv)
{
	struct prices_options o;
	struct buf out, notes;
	bool ok;

	buf_init(&out, MAIN_REPORT_MAX);
	buf_init(&notes, MAIN_REPORT_MAX);
	ok = prices_read_options(argc, argv, &o, &notes);
	if (ok)
		ok = prices_run(&o, &out, &notes);
	else
		prices_usage(&notes);
	fprintf(stderr, "%" STR_FMT, STR_ARG(buf_str(&notes)));
	buf_done(&notes);
	return print(&out, ok);
}

static int top(int argc, char **argv)
{
	struct top_options o;
	struct buf error;
	bool ok;

	buf_init(&error, MAIN_TEXT_MAX);
	ok = top_read_options(argc, argv, &o, &error);
	if (!ok)
		top_usage(&error);
	fprintf(stderr, "%" STR_FMT, STR_ARG(buf_str(&error)));
	buf_done(&error);
	return ok ? top_run(&o) : MAIN_EXIT_USAGE;
}

static int limits(int argc, char **argv)
{
	struct limits_options o;
	struct policy *p = NULL;
	struct buf out, error;
	bool ok;

	buf_init(&out, MAIN_REPORT_MAX);
	buf_init(&error, MAIN_TEXT_MAX);
	log_set_level(LOG_WARN); /* the output is what was asked for */
	ok = limits_read_options(argc, argv, &o, &error);
	if (ok)
		p = load(o.config);
	else
		limits_usage(&error);
	ok = p && limits_run(&o, p, &out, &error);
	/* what was done before something failed */
	printf("%" STR_FMT, STR_ARG(buf_str(&out)));
	fprintf(stderr, "%" STR_FMT, STR_ARG(buf_str(&error)));
	policy_unref(p);
	buf_done(&error);
	buf_done(&out);
	return ok && fflush(stdout) == 0 ? 0 : 1;
}

static const struct command {
	const char *name;
	int min, max; /* arguments behind the name */
	int (*run)(int argc, char **argv);
	const char *arguments, *help;
} commands[] = {
	{"run", 1, 1, run, "FILE", "serve HAProxy with this configuration"},
	{"check", 1, 1, check, "FILE", "report every error and its place"},
	{"render-haproxy", 1, 1, render, "FILE",
         "print the HAProxy backends of its resources"},
	{"options", 0, 0, options, "", "document every option"},
	{"connection", 0, 64, connection, "FILE ..",
         "print the Foundry connection that leads here"},
	{"report", 0, 16, report, "FILE ..",
         "who consumed what, from the ledger"},
	{"limits", 0, 16, limits, "VERB ..",
         "show, set, reset, block, unblock, audit, while it runs"},
	{"top", 0, 4, top, "[URL] ..",
         "live use per consumer and model; --once for scripts"},
	{"prices", 0, 8, prices, "FILE ..",
         "prices for gateway.json from LiteLLM's price file"},
	{"healthcheck", 0, 1, healthcheck, "[URL]",
         "exit 0 when a running agent answers"},
	{"-V", 0, 0, versions, "", "versions of agent and libraries"},
};

static int usage(void)
{
	size_t i;

	fprintf(stderr, "usage: foundry-spoa COMMAND\n");
	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		fprintf(stderr, "  %-14s %-8s  %s\n", commands[i].name,
		        commands[i].arguments, commands[i].help);
	return MAIN_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands); i++) {
		const struct command *c = &commands[i];

		if (strcmp(argv[1], c->name) != 0)
			continue;
		if (argc - 2 < c->min || argc - 2 > c->max)
			break;
		return c->run(argc - 2, argv + 2);
	}
	return usage();
}
