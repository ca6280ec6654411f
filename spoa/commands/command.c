/* commands/command: what the commands of foundry-spoa have in common. */
#include "commands/command.h"

#include "conf/load.h"

#include <stdio.h>

static const struct command commands[] = {
	{"run", 1, 1, command_run, "FILE",
         "serve HAProxy with this configuration"},
	{"check", 1, 1, command_check, "FILE",
         "report every error and its place"},
	{"render-haproxy", 1, 1, command_render, "FILE",
         "print the HAProxy backends of its resources"},
	{"options", 0, 0, command_options, "", "document every option"},
	{"connection", 0, 64, command_connection, "FILE ..",
         "print the Foundry connection that leads here"},
	{"report", 0, 16, command_report, "FILE ..",
         "who consumed what, from the ledger"},
	{"limits", 0, 16, command_limits, "VERB ..",
         "show, set, reset, block, unblock, audit, while it runs"},
	{"top", 0, 4, command_top, "[URL] ..",
         "live use per consumer and model; --once for scripts"},
	{"prices", 0, 8, command_prices, "FILE ..",
         "prices for gateway.json from LiteLLM's price file"},
	{"healthcheck", 0, 1, command_healthcheck, "[URL]",
         "exit 0 when a running agent answers"},
	{"-V", 0, 0, command_versions, "", "versions of agent and libraries"},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(*commands) };

const struct command *command_find(const char *name, int argc)
{
	size_t i;

	for (i = 0; i < N_COMMANDS; i++) {
		const struct command *c = &commands[i];

		if (strcmp(name, c->name) == 0 && argc >= c->min &&
		    argc <= c->max)
			return c;
	}
	return NULL;
}

int command_usage(void)
{
	size_t i;

	fprintf(stderr, "usage: foundry-spoa COMMAND\n");
	for (i = 0; i < N_COMMANDS; i++)
		fprintf(stderr, "  %-14s %-8s  %s\n", commands[i].name,
		        commands[i].arguments, commands[i].help);
	return COMMAND_USAGE;
}

struct policy *command_load(const char *file)
{
	struct buf errors;
	struct policy *p;

	buf_init(&errors, COMMAND_TEXT_MAX);
	p = conf_load(file, &errors);
	command_tell(&errors);
	return p;
}

void command_tell(struct buf *text)
{
	fprintf(stderr, "%" STR_FMT, STR_ARG(buf_str(text)));
	buf_done(text);
}

int command_print(struct buf *text, bool ok)
{
	if (ok)
		printf("%" STR_FMT, STR_ARG(buf_str(text)));
	buf_done(text);
	return ok && fflush(stdout) == 0 ? 0 : 1;
}
