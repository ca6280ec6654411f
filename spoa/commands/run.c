/*
 * commands/run: serve HAProxy until SIGTERM. The policy's reference goes to
 * agent/workers.
 */
#include "agent/workers.h"
#include "base/log.h"
#include "commands/command.h"

int command_run(int argc, char **argv)
{
	struct policy *p = command_load(argv[0]);

	(void)argc;
	if (!p)
		return 1;
	log_set_level((enum log_level)p->log_level);
	return workers_run(p);
}
