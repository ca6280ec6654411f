/*
 * store/tune: the Redis connection of `foundry-spoa limits`.
 *
 *   commands/limits --tune_ask-----> scripts/tune.lua     of one account
 *                   --tune_audit---> scripts/audit.lua    PREFIX:audit
 *                   --tune_blocked-> scripts/blocked.lua  PREFIX:blocked
 *
 * For commands only: each call blocks until Redis has answered, by running an
 * event loop of its own. The agent does not use it.
 */
#ifndef STORE_TUNE_H
#define STORE_TUNE_H

#include "base/buf.h"
#include "conf/policy.h"

struct tune;
struct redis_login;

/* Connect; each endpoint of the policy is tried once. NULL after appending a
 * line per failure to `error`. `who` is the login for a policy that names a
 * credential, else NULL. Both arguments are borrowed until tune_close(). */
struct tune *tune_open(const struct policy_redis *to,
                       const struct redis_login *who, struct buf *error);
void tune_close(struct tune *t); /* accepts NULL */

/* Call a script. `argv` are its arguments without the keys, as the head of the
 * script lists them. The answer replaces the content of `out`. False after
 * appending a line to `error`. */
bool tune_ask(struct tune *t, struct str account, const struct str *argv,
              size_t argc, struct buf *out, struct buf *error);
bool tune_audit(struct tune *t, const struct str *argv, size_t argc,
                struct buf *out, struct buf *error);

/* Add a name to PREFIX:blocked (`verb` "put") or remove it ("del"). */
bool tune_blocked(struct tune *t, const char *verb, struct str name,
                  struct buf *out, struct buf *error);

#endif
