/*
 * store/tune: what an operator's command says to Redis, one call after the
 * other, each waited for.
 *
 *   limits --tune_ask--> scripts/tune.lua    of one account
 *          --tune_audit-> scripts/audit.lua  PREFIX:audit
 *          --tune_blocked-> scripts/blocked.lua  PREFIX:blocked
 */
#ifndef STORE_TUNE_H
#define STORE_TUNE_H

#include "base/buf.h"
#include "conf/policy.h"

struct tune;
struct redis_login;

/* Connected, or NULL with a sentence. `who` is for a policy that names a
 * credential, else NULL. Both are referenced until the close. */
struct tune *tune_open(const struct policy_redis *to,
                       const struct redis_login *who, struct buf *error);
void tune_close(struct tune *t); /* accepts NULL */

/* The arguments of the script; what it answers is put into `out`, which is
 * cleared first. False with a sentence. */
bool tune_ask(struct tune *t, struct str account, const struct str *argv,
              size_t argc, struct buf *out, struct buf *error);
bool tune_audit(struct tune *t, const struct str *argv, size_t argc,
                struct buf *out, struct buf *error);

/* Whose running streams are cut: `verb` is "put" or "del" of a name. */
bool tune_blocked(struct tune *t, const char *verb, struct str name,
                  struct buf *out, struct buf *error);

#endif
