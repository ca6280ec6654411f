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
 *
 *   main -> command_find -> command_NAME -> exit status
 *
 * Each command is a file of commands/; `run` is the agent itself. An unknown
 * name, or a wrong number of arguments, prints the list and exits with
 * COMMAND_USAGE.
 */
#include "commands/command.h"

int main(int argc, char **argv)
{
	const struct command *c = NULL;

	if (argc > 1)
		c = command_find(argv[1], argc - 2);
	return c ? c->run(argc - 2, argv + 2) : command_usage();
}
