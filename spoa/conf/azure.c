/*
 * conf/azure: resources, objects and models of a configuration.
 *
 *   credentials <-- resources <-- deployments of models
 *                       ^
 *                       objects.resource
 *
 * An arrow is a reference. They are built from left to right, so that what a
 * reference points to exists already; credentials by conf/credentials.
 */
#include "conf/build.h"
#include "conf/model_price.h"
#include "conf/url.h"

/* Azure keeps a response for 30 days. */
enum { OBJECTS_TTL_DAYS = 30 };

/* ------------------------------------------------------------ resources */

/* Scheme and host only: paths come from the surface of a deployment. With TLS a
 * numeric host is refused, because certificates of Azure have names. */
static void az_build_resource_url(struct build *b,
                                  const struct raw_resource *raw,
                                  const struct place *top,
                                  struct policy_resource *r)
{
	struct place at = place_key(top, STR("url"));
	struct url u;

	if (!url_parse(raw->url, &u))
		return; /* reported when it was read */
	if (url_trim_slashes(u.path).len > 0)
		report_error(b->rep, &at,
		             "found a path, expected scheme and host only");
	if (!url_is_safe(&u))
		report_error(b->rep, &at,
		             "found http, expected https: credentials would "
		             "go in clear text (http is for loopback)");
	r->tls = str_eq(u.scheme, STR("https"));
	if (r->tls && url_is_numeric(u.host))
		report_error(b->rep, &at,
		             "found a number for a host, expected the name "
		             "that its certificate has (and `address`)");
	r->host = pool_lower(b->pool, u.host);
	r->port = u.port ? u.port : r->tls ? 443 : 80;
}

/* `address` overrides where to connect; name, SNI and Host stay those of the
 * URL. Stored with a port, so that users of the policy need no default. */
static void az_build_resource_address(struct build *b,
                                      const struct raw_resource *raw,
                                      const struct place *top,
                                      struct policy_resource *r)
{
	struct place at = place_key(top, STR("address"));
	struct str host;
	uint16_t port;
	bool v6;

	if (!url_address(raw->address, &host, &port))
		return;
	if (!r->tls && !url_is_loopback(host))
		report_error(b->rep, &at,
		             "found %" STR_FMT " with an http URL, expected "
		             "a loopback address",
		             STR_ARG(raw->address));
	v6 = str_find(host, ':') < host.len;
	r->address =
		pool_fmt(b->pool, "%s%" STR_FMT "%s:%u", v6 ? "[" : "",
	                 STR_ARG(host), v6 ? "]" : "", port ? port : r->port);
}

/* A key has no audience, so an audience with a key is an error. */
static void az_check_resource_audience(struct build *b, const struct place *top,
                                       const struct policy_resource *r)
{
	struct place at = place_key(top, STR("audience"));
	const struct policy_credential *c;

	if (r->audience.len == 0 || r->credential >= b->policy->n_credentials)
		return;
	c = &b->policy->credentials[r->credential];
	if (c->type == CRED_KEY)
		report_error(b->rep, &at,
		             "found an audience, but credential \"%" STR_FMT
		             "\" is a key, which has none",
		             STR_ARG(c->name));
}

static void az_build_resources(struct build *b)
{
	struct place section = place_key(NULL, STR("resources"));
	const struct raw_list *list = &b->raw->resources;
	const struct raw_resource *raw = list->v;
	size_t i;
	struct policy_resource *v = pool_alloc(b->pool, list->n, sizeof(*v));

	b->policy->resources = v;
	if (!v)
		return;
	for (i = 0; i < list->n; i++, raw++) {
		struct policy_resource *r = &v[b->policy->n_resources++];
		struct place top = place_key(&section, raw->head.name);
		struct place at = place_key(&top, STR("credential"));

		*r = raw->p;
		r->name = raw->head.name;
		az_build_resource_url(b, raw, &top, r);
		az_build_resource_address(b, raw, &top, r);
		build_refer(b, &b->raw->credentials,
		            sizeof(struct raw_credential), "credentials",
		            raw->credential, &at, &r->credential);
		az_check_resource_audience(b, &top, r);
	}
}

/* --------------------------------------------------------------- models */

static void az_build_ptu(struct build *b, const struct raw_deployment *raw,
                         const struct place *top, struct policy_ptu *ptu)
{
	struct place section = place_key(top, STR("ptu"));
	struct place at = place_key(&section, STR("until"));

	if (!options_given(&options_deployment, raw, "ptu"))
		return;
	*ptu = raw->ptu.p;
	if (ptu->until > 0 && ptu->until <= ptu->since)
		report_error(b->rep, &at,
		             "found a time that is not after since, expected "
		             "a later one");
}

/* A deployment without a name has that of its model. */
static void az_build_deployments(struct build *b, const struct raw_model *raw,
                                 const struct place *top,
                                 struct policy_model *m)
{
	struct place list = place_key(top, STR("deployments"));
	const struct raw_deployment *d = raw->deployments.v;
	struct policy_deployment *v =
		pool_alloc(b->pool, raw->deployments.n, sizeof(*v));
	size_t i;

	m->deployments = v;
	if (!v)
		return;
	for (i = 0; i < raw->deployments.n; i++, d++) {
		struct place item = place_index(&list, m->n_deployments);
		struct place at = place_key(&item, STR("resource"));
		struct policy_deployment *out = &v[m->n_deployments++];

		*out = d->p;
		if (out->name.len == 0)
			out->name = m->name;
		out->surface = (enum policy_surface)d->surface;
		az_build_ptu(b, d, &item, &out->ptu);
		build_refer(b, &b->raw->resources, sizeof(struct raw_resource),
		            "resources", d->resource, &at, &out->resource);
	}
}

/* Names and aliases share one map, which the look-up of a request uses. */
static void az_add_name(struct build *b, struct policy_model *m,
                        struct str name, const struct place *at)
{
	struct policy_model *other = map_get(&b->policy->model_by_name, name);

	if (name.len == 0)
		return;
	if (other) {
		report_error(b->rep, at,
		             "found \"%" STR_FMT "\", which model \"%" STR_FMT
		             "\" has already, expected a name of its own",
		             STR_ARG(name), STR_ARG(other->name));
		return;
	}
	if (!map_put(&b->policy->model_by_name, name, m))
		b->pool->failed = true;
}

static void az_add_names(struct build *b, struct policy_model *v)
{
	struct place section = place_key(NULL, STR("models"));
	size_t i, j;

	/* All names come first, so that a conflict is reported at the alias
	 * and not at the model with that name. */
	for (i = 0; i < b->policy->n_models; i++) {
		struct place top = place_key(&section, v[i].name);

		az_add_name(b, &v[i], v[i].name, &top);
	}
	for (i = 0; i < b->policy->n_models; i++) {
		struct place top = place_key(&section, v[i].name);
		struct place list = place_key(&top, STR("aliases"));

		for (j = 0; j < v[i].aliases.n; j++) {
			struct place at = place_index(&list, j);

			az_add_name(b, &v[i], v[i].aliases.v[j], &at);
		}
	}
}

/* A deployment may serve several models, but it is paid for once: its units are
 * configured at one of them. */
static void az_add_provisioned(struct build *b, const struct policy_model *m,
                               size_t i, struct policy_provisioned *v)
{
	const struct policy_deployment *d = &m->deployments[i];
	struct place section = place_key(NULL, STR("models"));
	struct place top = place_key(&section, m->name);
	struct place list = place_key(&top, STR("deployments"));
	struct place item = place_index(&list, i);
	struct place at = place_key(&item, STR("ptu"));
	struct str resource;
	const struct policy_provisioned *other;

	if (d->ptu.units == 0 || d->resource >= b->policy->n_resources)
		return;
	resource = b->policy->resources[d->resource].name;
	other = policy_provisioned(b->policy, resource, d->name);
	if (other)
		report_error(b->rep, &at,
		             "found units of a deployment that has them at "
		             "model \"%" STR_FMT
		             "\" already, expected them in one place",
		             STR_ARG(other->model->name));
	else
		v[b->policy->n_provisioned++] =
			(struct policy_provisioned){m, d, resource};
}

/* List all deployments with `ptu`, for the report and for the look-up by name.
 * The array has room for all deployments. */
static void az_build_provisioned(struct build *b)
{
	struct policy *p = b->policy;
	struct policy_provisioned *v;
	size_t i, k, n = 0;

	for (i = 0; i < p->n_models; i++)
		n += p->models[i].n_deployments;
	v = pool_alloc(b->pool, n, sizeof(*v));
	p->provisioned = v;
	for (i = 0; v && i < p->n_models; i++)
		for (k = 0; k < p->models[i].n_deployments; k++)
			az_add_provisioned(b, &p->models[i], k, v);
}

/* A written default above the maximum is an error; the default of the table is
 * lowered without a message. */
static void az_build_output_tokens(struct build *b, const struct raw_model *raw,
                                   const struct place *top,
                                   struct policy_model *m)
{
	struct place at = place_key(top, STR("default_output_tokens"));
	uint64_t max = m->max_output_tokens;

	if (max == 0 || m->default_output_tokens <= max)
		return;
	if (options_given(&options_model, raw, "default_output_tokens"))
		report_error(b->rep, &at,
		             "found %llu, expected at most max_output_tokens "
		             "(%llu)",
		             (unsigned long long)m->default_output_tokens,
		             (unsigned long long)max);
	m->default_output_tokens = max;
}

static void az_build_models(struct build *b)
{
	struct place section = place_key(NULL, STR("models"));
	const struct raw_list *list = &b->raw->models;
	const struct raw_model *raw = list->v;
	size_t i;
	struct policy_model *v = pool_alloc(b->pool, list->n, sizeof(*v));

	b->policy->models = v;
	if (!v)
		return;
	for (i = 0; i < list->n; i++, raw++) {
		struct policy_model *m = &v[b->policy->n_models++];
		struct place top = place_key(&section, raw->head.name);

		*m = raw->p;
		m->name = raw->head.name;
		az_build_deployments(b, raw, &top, m);
		model_price_build(b, &raw->price, &top, m);
		m->adapt = raw->adapt.p;
		m->adapt.max_tokens =
			(enum policy_adapt_max)raw->adapt.max_tokens;
		az_build_output_tokens(b, raw, &top, m);
	}
	az_add_names(b, v);
}

/* Without the section objects are still bound to their owners, by requests that
 * name a model. */
static void az_build_objects(struct build *b)
{
	struct place top = place_key(NULL, STR("objects"));
	struct place at = place_key(&top, STR("resource"));
	struct policy_objects *o = &b->policy->objects;

	*o = b->raw->objects.p;
	o->enabled = options_given(&options_root, b->raw, "objects");
	if (!o->enabled) {
		o->ttl_days = OBJECTS_TTL_DAYS;
		return;
	}
	build_refer(b, &b->raw->resources, sizeof(struct raw_resource),
	            "resources", b->raw->objects.resource, &at, &o->resource);
}

void azure_build(struct build *b)
{
	az_build_resources(b);
	az_build_objects(b);
	az_build_models(b);
	az_build_provisioned(b);
}
