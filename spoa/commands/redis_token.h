/*
 * redis_token: who a command is to Redis, where the configuration names a
 * credential for that: one token, waited for.
 */
#ifndef COMMANDS_REDIS_TOKEN_H
#define COMMANDS_REDIS_TOKEN_H

#include "base/buf.h"
#include "conf/policy.h"
#include "store/redis_setup.h"

struct redis_token;

/* Fetch it. NULL with a sentence in `error`; why, stands in the log. The policy
 * is referenced. */
struct redis_token *redis_token_new(struct policy *p, struct buf *error);
void redis_token_free(struct redis_token *t); /* wipes; accepts NULL */

/* Borrowed from t. NULL stays NULL: no credential was named. */
const struct redis_login *redis_token_login(const struct redis_token *t);

#endif
