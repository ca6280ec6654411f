/*
 * commands/command: what the commands of foundry-spoa have in common.
 *
 * A command is a row of cmd_table. The table gives both the look-up and the
 * usage text, so that no command can be missing from the text.
 */
#include "commands/command.h"

#include "conf/load.h"

#include <stdio.h>

/* In the order of the usage text. The number of arguments counts the words
 * behind the command's name; each command checks what they mean. */
static const struct command cmd_table[] = {
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

enum { CMD_COUNT = sizeof(cmd_table) / sizeof(*cmd_table) };

const struct command *command_find(const char *name, int argc)
{
	size_t i;

	for (i = 0; i < CMD_COUNT; i++) {
		const struct command *c = &cmd_table[i];

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
	for (i = 0; i < CMD_COUNT; i++)
		fprintf(stderr, "  %-14s %-8s  %s\n", cmd_table[i].name,
		        cmd_table[i].arguments, cmd_table[i].help);
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

/* Also fails when standard output cannot be written (a full disk, a closed
 * pipe): a script must not take a part of a report for all of it. */
int command_print(struct buf *text, bool ok)
{
	if (ok)
		printf("%" STR_FMT, STR_ARG(buf_str(text)));
	buf_done(text);
	return ok && fflush(stdout) == 0 ? 0 : 1;
}
