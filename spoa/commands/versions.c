/*
 * commands/versions: of the agent and of its libraries (-V).
 *
 * Each library is asked by its door, which tells the version that is loaded.
 * Two cannot: hiredis tells that of its headers, libjwt 1.x tells none.
 */
#include "base/json.h"
#include "base/loop.h"
#include "base/version.h"
#include "commands/command.h"
#include "keys/jose.h"
#include "net/fetch.h"
#include "net/http.h"
#include "store/redis_link.h"

#include <stdio.h>

int command_versions(int argc, char **argv)
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
