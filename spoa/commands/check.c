/*
 * commands/check: report every error of a configuration.
 *
 * command_load() prints the errors and warnings; here is only the summary.
 */
#include "commands/command.h"

#include <stdio.h>

int command_check(int argc, char **argv)
{
	struct policy *p = command_load(argv[0]);

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
