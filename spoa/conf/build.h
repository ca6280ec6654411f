/*
 * conf/build: struct raw_config (as written) -> struct policy (checked, names
 * resolved to indexes).
 *
 *   process_build   workers, listeners, Redis, ledger
 *   azure_build     credentials, resources, objects, models
 *   callers_build   tenants, keys, limits, consumers, rules
 *   check_policy    conditions between the parts
 *
 * conf/load calls them in this order. Each function fills its own members of
 * the policy, reports every error at its place, and goes on. A name that cannot
 * be resolved is reported once and becomes index 0. That is harmless, because a
 * policy with an error is never used.
 */
#ifndef CONF_BUILD_H
#define CONF_BUILD_H

#include "conf/options.h"
#include "conf/pool.h"
#include "conf/report.h"

/* All members are borrowed and belong to conf/load. The raw structs and all
 * strings are in the pool, so the policy may keep them. */
struct build {
	struct raw_config *raw;
	struct policy *policy;
	struct pool *pool;
	struct report *rep;
};

void process_build(struct build *b);
void credentials_build(struct build *b); /* after process: redis */
void azure_build(struct build *b);       /* after credentials */
void callers_build(struct build *b);     /* after azure: rules name models */

/* Report what is wrong or without effect between the parts: a limit that cannot
 * count, a rule that cannot fire, an entry that nothing uses. */
void check_policy(struct build *b);

/* Index of the element with this name in a list of structs of `size` bytes that
 * begin with a struct raw_head. False, and an error at `at`, when there is
 * none. `what` is the section for the message, "credentials". An empty name is
 * false without an error: the key was absent, which conf/read has reported if
 * it is required. */
bool build_refer(struct build *b, const struct raw_list *list, size_t size,
                 const char *what, struct str name, const struct place *at,
                 unsigned *out);

#endif
