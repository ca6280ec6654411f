/*
 * conf/build: raw_config (as written) -> policy (checked, references are
 * indexes). Three parts, in the order a request meets them:
 *
 *   process   workers, listeners, Redis
 *   callers   tenants, keys, consumers, rules, limits
 *   azure     credentials, resources, models
 *
 * Each fills its members of `policy` and reports what is wrong. A reference
 * that cannot be resolved is reported once and stands for index 0 until the
 * whole policy is thrown away.
 */
#ifndef CONF_BUILD_H
#define CONF_BUILD_H

#include "conf/options.h"
#include "conf/pool.h"
#include "conf/report.h"

struct build {
	struct raw_config *raw;
	struct policy *policy;
	struct pool *pool;
	struct report *rep;
};

void process_build(struct build *b);
void azure_build(struct build *b);
void callers_build(struct build *b); /* after azure: rules name models */

/* What holds between the parts: limits that do nothing, ways that lead
 * nowhere, things nobody uses. After all of the above. */
void check_policy(struct build *b);

/* Position of the element called `name` in a list of structs of `size` that
 * begin with a raw_head; false when there is none. */
bool build_find(const struct raw_list *list, size_t size, struct str name,
                unsigned *out);

/* The same, and an error at `at` when `name` is not empty and not there.
 * `what` names the section: "credentials". (An empty name was reported when
 * it was read.) */
bool build_refer(struct build *b, const struct raw_list *list, size_t size,
                 const char *what, struct str name, const struct place *at,
                 unsigned *out);

#endif
