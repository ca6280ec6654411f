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
#include "request/identity.h"

enum discover_format {
	DISCOVER_AZURE = 0,  /* {"value":[{"name","properties":{"model"}}]} */
	DISCOVER_OPENAI = 1, /* {"object":"list","data":[{"id",..}]} */
};

/* May this caller use the model for anything at all? */
bool discover_visible(const struct policy *p, const struct policy_consumer *c,
                      const struct identity *who, const struct policy_model *m);

/* The list of all visible models. */
void discover_list(const struct policy *p, const struct policy_consumer *c,
                   const struct identity *who, enum discover_format format,
                   struct buf *out);

/* One of them, under the name it was asked for (which may be an alias). */
void discover_one(const struct policy_model *m, struct str name,
                  enum discover_format format, struct buf *out);

#endif
