/*
 * upstream/target: how a deployment, or an object of a resource, is addressed.
 *
 *   api_call + deployment --target_deployment--> host, path, query
 *   api_call + resource   --target_object------> host, path, query
 *
 * One row of a table per surface of Azure (conf/policy) says which operations
 * it has, where it reads the model from, and how its URLs look. What a caller
 * says in its query is passed on only where it is known to be harmless.
 */
#ifndef UPSTREAM_TARGET_H
#define UPSTREAM_TARGET_H

#include "api/operations.h"
#include "base/arena.h"
#include "conf/policy.h"

/* Where a surface reads the model of an operation. */
enum target_model {
	TARGET_MODEL_NONE = 0, /* it does not have this operation */
	TARGET_MODEL_PATH = 1, /* path or query, which the agent writes */
	TARGET_MODEL_BODY = 2,
};

/* Views into the policy, or strings in the arena. */
struct target_url {
	struct str host; /* with the port where that is not the default */
	struct str path;
	struct str query; /* may be empty */
};

enum target_model target_model(enum policy_surface s,
                               const struct api_call *call);

/* `asked` is the caller's query. Overflow is seen in the arena. */
void target_deployment(const struct api_call *call, struct str asked,
                       const struct policy_deployment *d,
                       const struct policy_resource *at, struct arena *a,
                       struct target_url *out);

/* What works without a model: on the v1 API of the resource. */
void target_object(const struct api_call *call, struct str asked,
                   const struct policy_resource *at, struct arena *a,
                   struct target_url *out);

#endif
