/*
 * upstream/target: how a deployment, or an object of a resource, is addressed.
 *
 *   call + deployment --target_deployment--> host, path, query
 *   call + resource   --target_object------> host, path, query
 *
 * A surface is one of Azure's APIs (conf/policy, azure.md 4.6). A row of a
 * table per surface says which operations it serves, where it reads the model
 * from, and how its URLs look: a new surface is a new row. Of the caller's
 * query only parameters that are known to be harmless are passed on.
 *
 * Pure functions: no state, no I/O. The path of the URL names the deployment or
 * the body does; which of both decides whether decide/adapt must edit the body.
 */
#ifndef UPSTREAM_TARGET_H
#define UPSTREAM_TARGET_H

#include "api/operations.h"
#include "base/arena.h"
#include "conf/policy.h"

/* Where a surface reads the model of an operation. */
enum target_model {
	TARGET_MODEL_NONE = 0, /* the surface does not serve the operation */
	TARGET_MODEL_PATH = 1, /* path or query, which the agent writes */
	TARGET_MODEL_BODY = 2, /* member `model`, which the caller wrote */
};

/* Constants, views into the policy or the call, or strings in the arena: valid
 * as long as the request and its policy. */
struct target_url {
	struct str host;  /* with the port where that is not the default */
	struct str path;  /* begins with '/'; percent-encoded */
	struct str query; /* without '?'; may be empty */
};

/* Never fails: a call that the surface cannot serve is TARGET_MODEL_NONE. */
enum target_model target_model(enum policy_surface s,
                               const struct api_call *call);

/* The URL of a call that the deployment `d` of the resource `at` is to serve.
 * Its surface must serve the call (target_model() is not TARGET_MODEL_NONE).
 * `asked` is the caller's query. Texts that found no room in the arena are
 * empty, and its `overflow` is set. */
void target_deployment(const struct api_call *call, struct str asked,
                       const struct policy_deployment *d,
                       const struct policy_resource *at, struct arena *a,
                       struct target_url *out);

/* The URL of a call about an object of the resource, or one that needs no
 * model: always on v1, the API that has files, batches and vector stores under
 * one prefix. `asked` and the arena as above. */
void target_object(const struct api_call *call, struct str asked,
                   const struct policy_resource *at, struct arena *a,
                   struct target_url *out);

#endif
