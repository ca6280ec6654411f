/*
 * decide/discover: the models of this gateway, as far as a caller may use them.
 *
 * Foundry asks for them when a connection has no static list (foundry.md 3.2),
 * SDKs with models.list(). The answer comes from the configuration, never from
 * Azure, and only after the caller was authenticated: a list for everybody
 * would tell strangers what is there.
 *
 *   GET .../deployments[/{name}]  {"value":[{"name","properties":{..}}]}
 *   GET .../models[/{name}]       {"object":"list","data":[{"id",..}]}
 */
#ifndef DECIDE_DISCOVER_H
#define DECIDE_DISCOVER_H

#include "base/buf.h"
#include "conf/policy.h"
#include "decide/step.h"

/* Whether a rule allows the caller to use the model for some operation. All
 * arguments must be set. */
bool discover_visible(const struct policy *p, const struct policy_consumer *c,
                      const struct identity *who, const struct policy_model *m);

/* The list of all visible models, appended to `out` as JSON in one line. What
 * does not fit `out` makes it fail (base/buf). */
void discover_list(const struct policy *p, const struct policy_consumer *c,
                   const struct identity *who, enum api_discover format,
                   struct buf *out);

/* One model, under the name that it was asked for, which may be an alias. Not
 * asked here: whether it is visible. */
void discover_one(const struct policy_model *m, struct str name,
                  enum api_discover format, struct buf *out);

/* Answer a request with traits.discover: sets the verdict to VERDICT_ANSWER or
 * a denial and gives STEP_DONE. Identity and consumer must be known. */
enum step_result discover_answer(struct request *r);

#endif
