/*
 * conf/azure: credentials, resources, objects and models of a configuration.
 *
 *   credentials <-- resources <-- deployments of models
 *        ^              ^
 *   redis.credential    objects.resource
 *
 * An arrow is a reference. They are built from left to right, so that what a
 * reference points to exists already.
 */
#include "conf/build.h"
#include "conf/model_price.h"
#include "conf/secret.h"
#include "conf/url.h"

#include <stdlib.h>

/* Azure keeps a response for 30 days. */
enum { OBJECTS_TTL_DAYS = 30 };

/* Defaults of the identity endpoints: azure.md 3.2 and 3.4. */
static const char az_imds_url[] = "http://169.254.169.254";
static const char az_arc_url[] = "http://127.0.0.1:40342";

/* ---------------------------------------------------------- credentials */

/* A key that the type does not use is an error: it would look effective. */
static void az_refuse_foreign_keys(struct build *b,
                                   const struct raw_credential *c,
                                   const struct place *top)
{
	const struct option *o;

	for (o = options_credential.options; o->key; o++) {
		struct place at = place_key(top, str_c(o->key));

		if (!o->kinds || o->kinds >> c->type & 1 ||
		    !options_given(&options_credential, c, o->key))
			continue;
		report_error(b->rep, &at,
		             "found a key that type %s does not have, "
		             "expected it to be absent",
		             options_credential_types[c->type]);
	}
}

/* For keys that only some credential types need, so that the table cannot say
 * `required`. A value that is no GUID was reported by conf/value. */
static void az_require_guid(struct build *b, const struct place *top,
                            const char *key, struct str value)
{
	struct place at = place_key(top, str_c(key));

	if (value.len == 0)
		report_error(b->rep, &at,
		             "found nothing, expected a GUID for this type");
}

/* The identity endpoints of the platform speak http, on loopback and link-local
 * addresses, which are not routed. */
static void az_check_endpoint(struct build *b, const struct place *at,
                              struct str text)
{
	struct url u;

	if (!url_parse(text, &u) ||
	    !(url_is_safe(&u) || url_is_link_local(u.host)))
		report_error(b->rep, at,
		             "found %" STR_FMT ", expected https, or http on "
		             "a loopback or link-local address",
		             STR_ARG(text));
}

/* Remove the '/' at the end, because paths are appended. */
static struct str az_trim_slashes(struct str s)
{
	while (s.len > 0 && s.p[s.len - 1] == '/')
		s.len--;
	return s;
}

/* A VM can have several identities; at most one of the three ids selects one.
 */
static void az_build_imds(struct build *b, const struct raw_credential *raw,
                          const struct place *top, struct policy_credential *c)
{
	struct place at = place_key(top, STR("endpoint"));
	int n = (c->client_id.len > 0) + (c->object_id.len > 0) +
	        (c->resource_id.len > 0);

	c->endpoint = raw->endpoint.len ? raw->endpoint : str_c(az_imds_url);
	c->endpoint = pool_str(b->pool, az_trim_slashes(c->endpoint));
	az_check_endpoint(b, &at, c->endpoint);
	if (n > 1)
		report_error(b->rep, top,
		             "found %d of client_id, object_id and "
		             "resource_id, expected at most one",
		             n);
}

/* The platform gives both in the environment: azure.md 3.3. */
static void az_build_app_service(struct build *b,
                                 const struct raw_credential *raw,
                                 const struct place *top,
                                 struct policy_credential *c)
{
	struct place endpoint = place_key(top, STR("endpoint"));
	struct place header = place_key(top, STR("header_env"));

	c->endpoint = raw->endpoint;
	if (c->endpoint.len == 0 &&
	    !secret_env(b->pool, b->rep, &endpoint, STR("IDENTITY_ENDPOINT"),
	                &c->endpoint))
		return;
	az_check_endpoint(b, &endpoint, c->endpoint);
	if (raw->header_env.len > 0)
		secret_env(b->pool, b->rep, &header, raw->header_env,
		           &c->header_value);
}

/* Arc has the identity of the machine only, so there is no client_id. */
static void az_build_arc(struct build *b, const struct raw_credential *raw,
                         const struct place *top, struct policy_credential *c)
{
	struct place at = place_key(top, STR("endpoint"));

	c->endpoint = raw->endpoint.len ? raw->endpoint : str_c(az_arc_url);
	c->endpoint = pool_str(b->pool, az_trim_slashes(c->endpoint));
	az_check_endpoint(b, &at, c->endpoint);
}

/* The secret or signed assertion is sent there, so it must be https. */
static void az_set_authority(struct build *b, const struct place *top,
                             struct str authority, struct policy_credential *c)
{
	struct place at = place_key(top, STR("authority"));
	struct url u;

	c->endpoint = pool_str(b->pool, az_trim_slashes(authority));
	if (c->endpoint.len > 0 &&
	    (!url_parse(c->endpoint, &u) || !url_is_safe(&u)))
		report_error(b->rep, &at, "found %" STR_FMT ", expected https",
		             STR_ARG(c->endpoint));
}

static void az_build_client_secret(struct build *b,
                                   const struct raw_credential *raw,
                                   const struct place *top,
                                   struct policy_credential *c)
{
	const struct secret_source from = {"secret_env", "secret_file",
	                                   raw->secret_env, raw->secret_file};

	az_set_authority(b, top, raw->authority, c);
	az_require_guid(b, top, "tenant_id", c->tenant_id);
	az_require_guid(b, top, "client_id", c->client_id);
	secret_read(b->pool, b->rep, top, &from, &c->secret);
}

/* The file is read for each token, so that a renewed certificate needs no
 * reload. Here it is only looked at. */
static void az_build_certificate(struct build *b,
                                 const struct raw_credential *raw,
                                 const struct place *top,
                                 struct policy_credential *c)
{
	struct place at = place_key(top, STR("certificate_file"));

	az_set_authority(b, top, raw->authority, c);
	az_require_guid(b, top, "tenant_id", c->tenant_id);
	az_require_guid(b, top, "client_id", c->client_id);
	c->file = raw->certificate_file;
	if (c->file.len == 0)
		report_error(b->rep, &at,
		             "found nothing, expected a PEM file with "
		             "certificate and key");
	else
		secret_look(b->rep, &at, c->file, true);
}

/* The value in the file, otherwise the environment variable that the webhook of
 * AKS workload identity sets in a pod (azure.md 3.6). */
static struct str az_value_or_env(struct build *b, const struct place *top,
                                  const char *key, struct str written,
                                  const char *name)
{
	struct place at = place_key(top, str_c(key));
	struct str value = str_c(getenv(name));

	if (written.len > 0)
		return written;
	if (value.len == 0)
		report_error(b->rep, &at,
		             "found nothing here nor in the environment "
		             "variable %s, expected it in one of them",
		             name);
	return pool_str(b->pool, value);
}

/* A GUID from the environment has not been checked by conf/value. */
static void az_guid_or_env(struct build *b, const struct place *top,
                           const char *key, const char *name, struct str *value)
{
	struct place at = place_key(top, str_c(key));

	*value = az_value_or_env(b, top, key, *value, name);
	if (value->len > 0 && !str_is_guid(*value))
		report_error(b->rep, &at,
		             "found %" STR_FMT " in the environment variable "
		             "%s, expected a GUID",
		             STR_ARG(*value), name);
	*value = pool_lower(b->pool, *value);
}

/* AZURE_AUTHORITY_HOST replaces the default, but not a written authority. */
static void az_build_workload(struct build *b, const struct raw_credential *raw,
                              const struct place *top,
                              struct policy_credential *c)
{
	struct place at = place_key(top, STR("token_file"));
	struct str host = str_c(getenv("AZURE_AUTHORITY_HOST"));

	if (options_given(&options_credential, raw, "authority") ||
	    host.len == 0)
		host = raw->authority;
	az_set_authority(b, top, host, c);
	az_guid_or_env(b, top, "tenant_id", "AZURE_TENANT_ID", &c->tenant_id);
	az_guid_or_env(b, top, "client_id", "AZURE_CLIENT_ID", &c->client_id);
	c->file = az_value_or_env(b, top, "token_file", raw->token_file,
	                          "AZURE_FEDERATED_TOKEN_FILE");
	if (c->file.len > 0)
		secret_look(b->rep, &at, c->file, false);
}

/* A key is sent as it is: it has no audience. */
static void az_build_key(struct build *b, const struct raw_credential *raw,
                         const struct place *top, struct policy_credential *c)
{
	const struct secret_source from = {"key_env", "key_file", raw->key_env,
	                                   raw->key_file};

	c->key_header = str_c(options_key_headers[raw->header]);
	c->audience = STR_NONE;
	secret_read(b->pool, b->rep, top, &from, &c->secret);
}

/* Complete the fields of one credential type; `c` is a copy of the fields that
 * were read. */
typedef void credential_fn(struct build *b, const struct raw_credential *raw,
                           const struct place *top,
                           struct policy_credential *c);

static void az_build_credentials(struct build *b)
{
	static credential_fn *const builders[] = {
		[CRED_IMDS] = az_build_imds,
		[CRED_APP_SERVICE] = az_build_app_service,
		[CRED_CLIENT_SECRET] = az_build_client_secret,
		[CRED_KEY] = az_build_key,
		[CRED_WORKLOAD] = az_build_workload,
		[CRED_CERTIFICATE] = az_build_certificate,
		[CRED_ARC] = az_build_arc,
	};
	struct place section = place_key(NULL, STR("credentials"));
	const struct raw_list *list = &b->raw->credentials;
	const struct raw_credential *raw = list->v;
	size_t i;
	struct policy_credential *v = pool_alloc(b->pool, list->n, sizeof(*v));

	b->policy->credentials = v;
	if (!v)
		return;
	for (i = 0; i < list->n; i++, raw++) {
		struct policy_credential *c = &v[b->policy->n_credentials++];
		struct place at = place_key(&section, raw->head.name);

		*c = raw->p;
		c->name = raw->head.name;
		c->type = (enum credential_type)raw->type;
		/* a missing or bad type was reported; all further errors
		 * would be consequences of it */
		if (!options_given(&options_credential, raw, "type"))
			continue;
		az_refuse_foreign_keys(b, raw, &at);
		builders[raw->type](b, raw, &at, c);
	}
}

/* Here and not in conf/process, which runs before the credentials exist. */
static void az_build_redis_credential(struct build *b)
{
	struct place top = place_key(NULL, STR("redis"));
	struct place at = place_key(&top, STR("credential"));
	struct str name = b->raw->redis.credential;
	const struct policy_credential *c;
	unsigned i = 0;

	if (name.len == 0 ||
	    !build_refer(b, &b->raw->credentials, sizeof(struct raw_credential),
	                 "credentials", name, &at, &i))
		return;
	c = &b->policy->credentials[i];
	if (c->type == CRED_KEY)
		report_error(b->rep, &at,
		             "found \"%" STR_FMT "\", which is a key, expected "
		             "one that gets tokens; a password is named by "
		             "password_file or password_env",
		             STR_ARG(name));
	b->policy->redis.credential = c;
}

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
	if (az_trim_slashes(u.path).len > 0)
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
	az_build_credentials(b);
	az_build_redis_credential(b);
	az_build_resources(b);
	az_build_objects(b);
	az_build_models(b);
	az_build_provisioned(b);
}
