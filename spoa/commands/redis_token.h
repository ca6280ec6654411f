/*
 * redis_token: one token for a command that talks to Redis.
 *
 * Needed where `redis.credential` of the configuration names a credential
 * (azure.md 3.10). The agent has such tokens fetched in the background; a
 * command has no loop that turns, so it waits for one here.
 */
#ifndef COMMANDS_REDIS_TOKEN_H
#define COMMANDS_REDIS_TOKEN_H

#include "base/buf.h"
#include "conf/policy.h"
#include "store/redis_setup.h"

struct redis_token;

/* Fetch a token of p->redis.credential, which must not be NULL. Blocks. NULL
 * with a sentence in `error`; the reason is in the log (keys/outbound). The
 * policy is referenced until redis_token_free(). */
struct redis_token *redis_token_new(struct policy *p, struct buf *error);
void redis_token_free(
	struct redis_token *t); /* wipes the token; accepts NULL */

/* User and token, borrowed from `t`. NULL for NULL: then store/tune logs in
 * with the password of the configuration, if it has one. */
const struct redis_login *redis_token_login(const struct redis_token *t);

#endif
