/*
 * commands/command: what the commands of foundry-spoa have in common.
 *
 *   main -> command_find -> struct command -> run(argc, argv) -> exit status
 *
 * One file a command. What is asked for goes to standard output, everything
 * else to standard error. The exit status is 0, 1 when it failed, or
 * COMMAND_USAGE.
 */
#ifndef COMMANDS_COMMAND_H
#define COMMANDS_COMMAND_H

#include "base/buf.h"
#include "conf/policy.h"

enum {
	COMMAND_USAGE = 2,            /* exit status: wrong arguments */
	COMMAND_TEXT_MAX = 1 << 20,   /* of a message */
	COMMAND_REPORT_MAX = 1 << 28, /* of what is printed */
};

/* The arguments behind the command's name. */
typedef int command_fn(int argc, char **argv);

command_fn command_run, command_check, command_render, command_options,
	command_connection, command_report, command_limits, command_top,
	command_prices, command_healthcheck, command_versions;

struct command {
	const char *name;
	int min, max; /* arguments behind the name */
	command_fn *run;
	const char *arguments, *help;
};

/* NULL when there is none of that name, or not with so many arguments. */
const struct command *command_find(const char *name, int argc);

/* The list of all commands, to standard error. */
int command_usage(void);

/* Load a configuration, and say everything that is wrong with it on standard
 * error. The caller owns the reference; NULL when it has errors. */
struct policy *command_load(const char *file);

/* Print a text to standard error, and free it. */
void command_tell(struct buf *text);

/* Print a text to standard output when `ok`, and free it. The exit status. */
int command_print(struct buf *text, bool ok);

#endif
