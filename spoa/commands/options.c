/*
 * commands/options: document every option of gateway.json, from the table that
 * parses them (conf/options).
 */
#include "commands/command.h"
#include "conf/manual.h"

int command_options(int argc, char **argv)
{
	struct buf out;

	(void)argc;
	(void)argv;
	buf_init(&out, COMMAND_TEXT_MAX);
	manual_print(&out);
	return command_print(&out, true);
}
