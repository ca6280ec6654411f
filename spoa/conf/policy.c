/*
 * conf/policy: references and look-ups of a checked configuration.
 *
 * Models are looked up for every request, through a map. The other look-ups are
 * linear, over lists of some tens of entries.
 */
#include "conf/policy.h"

#include "conf/pool.h"

#include <assert.h>
#include <stdlib.h>

/* Of one process and one thread: workers load their own policy, so the counter
 * needs no atomics. */
struct policy *policy_ref(struct policy *p)
{
	if (p)
		p->refs++;
	return p;
}

void policy_unref(struct policy *p)
{
	if (!p)
		return;
	assert(p->refs > 0);
	if (--p->refs > 0)
		return;
	map_done(&p->model_by_name);
	pool_free(p->pool);
	explicit_bzero(p, sizeof(*p));
	free(p);
}

const struct policy_resource *policy_resource(const struct policy *p,
                                              struct str name)
{
	for (size_t i = 0; i < p->n_resources; i++)
		if (str_eq(p->resources[i].name, name))
			return &p->resources[i];
	return NULL;
}

const struct policy_model *policy_model(const struct policy *p, struct str name)
{
	return map_get(&p->model_by_name, name);
}

/* Whether the model has a deployment with this name at this resource. */
static bool pol_is_deployed(const struct policy *p,
                            const struct policy_model *m, struct str resource,
                            struct str name)
{
	for (size_t i = 0; i < m->n_deployments; i++) {
		const struct policy_deployment *d = &m->deployments[i];

		if (str_eq(d->name, name) &&
		    str_eq(p->resources[d->resource].name, resource))
			return true;
	}
	return false;
}

const struct policy_model *policy_model_deployed(const struct policy *p,
                                                 struct str resource,
                                                 struct str name)
{
	const struct policy_model *m = policy_model(p, name);

	for (size_t i = 0; !m && i < p->n_models; i++)
		if (pol_is_deployed(p, &p->models[i], resource, name))
			m = &p->models[i];
	return m;
}

const struct policy_provisioned *policy_provisioned(const struct policy *p,
                                                    struct str resource,
                                                    struct str deployment)
{
	for (size_t i = 0; i < p->n_provisioned; i++)
		if (str_eq(p->provisioned[i].deployment->name, deployment) &&
		    str_eq(p->provisioned[i].resource, resource))
			return &p->provisioned[i];
	return NULL;
}
