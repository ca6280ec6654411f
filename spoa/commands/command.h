/*
 * commands/command: what the commands of foundry-spoa have in common.
 *
 *   main -> command_find -> struct command -> run(argc, argv) -> exit status
 *
 * One file a command. What was asked for goes to standard output, messages and
 * remarks to standard error, so that output can go into a file. The exit status
 * is 0, or 1 when the command failed. It is COMMAND_USAGE when the name is
 * unknown or the number of arguments is wrong; wrong options are 1, but for
 * `top`, which has them as COMMAND_USAGE, too.
 */
#ifndef COMMANDS_COMMAND_H
#define COMMANDS_COMMAND_H

#include "base/buf.h"
#include "conf/policy.h"

enum {
	COMMAND_USAGE = 2, /* exit status, as most Unix commands have it */
	/* Bytes of messages, and of output whose size follows the
	 * configuration. */
	COMMAND_TEXT_MAX = 1 << 20,
	/* Bytes of output whose size follows data. The largest report has
	 * REPORT_ROWS_MAX rows. It is printed when it is complete, so all of it
	 * is in memory. */
	COMMAND_REPORT_MAX = 1 << 28,
};

/* Gets the arguments behind the command's name, returns the exit status. */
typedef int command_fn(int argc, char **argv);

command_fn command_run, command_check, command_render, command_options,
	command_connection, command_report, command_limits, command_top,
	command_prices, command_healthcheck, command_versions;

struct command {
	const char *name;
	int min, max; /* number of arguments behind the name */
	command_fn *run;
	const char *arguments, *help; /* of the usage text */
};

/* `argc` is the number of arguments behind the name. NULL when no command has
 * that name and takes so many. */
const struct command *command_find(const char *name, int argc);

/* Print the list of all commands to standard error. Returns COMMAND_USAGE. */
int command_usage(void);

/* Load a configuration; errors and warnings go to standard error. The caller
 * owns the reference; NULL when the file has errors. */
struct policy *command_load(const char *file);

/* Print a text to standard error, and free its memory. */
void command_tell(struct buf *text);

/* Print a text to standard output if `ok`, and free its memory. Returns the
 * exit status: 0 when it was printed. */
int command_print(struct buf *text, bool ok);

#endif
