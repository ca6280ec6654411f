/*
 * decide/discover: the models of this gateway, as far as a caller may use
 * them.
 *
 * Foundry asks for them when a connection has no static list (foundry.md 3.2),
 * SDKs with models.list(). The answer comes from the configuration, never from
 * Azure, and only after the caller was authenticated: a list for everybody
 * would tell strangers what is there.
 */
#ifndef DECIDE_DISCOVER_H
#define DECIDE_DISCOVER_H

#include "base/buf.h"
#include "conf/policy.h"
#include "decide/step.h"

/* May this caller use the model for anything at all? */
bool discover_visible(const struct policy *p, const struct policy_consumer *c,
                      const struct identity *who, const struct policy_model *m);

/* The list of all visible models. */
void discover_list(const struct policy *p, const struct policy_consumer *c,
                   const struct identity *who, enum api_discover format,
                   struct buf *out);

/* One of them, under the name it was asked for (which may be an alias). */
void discover_one(const struct policy_model *m, struct str name,
                  enum api_discover format, struct buf *out);

/* Answer an operation that discovers: the verdict is set. The consumer must be
 * known. */
enum step_result discover_answer(struct request *r);

#endif
