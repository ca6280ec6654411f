/*
 * conf/credentials: the section `credentials`, and which of them Redis uses.
 *
 *   raw_credential --crd_build_all: by type--> policy_credential
 *
 * A type uses some of the keys of the section and refuses the others. What the
 * platform sets (AKS, App Service) is read from the environment once, here.
 */
#include "conf/build.h"
#include "conf/secret.h"
#include "conf/url.h"

#include <stdlib.h>

/* Defaults of the identity endpoints: azure.md 3.2 and 3.4. */
static const char crd_imds_url[] = "http://169.254.169.254";
static const char crd_arc_url[] = "http://127.0.0.1:40342";

/* A key that the type does not use is an error: it would look effective. */
static void crd_refuse_foreign_keys(struct build *b,
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
static void crd_require_guid(struct build *b, const struct place *top,
                             const char *key, struct str value)
{
	struct place at = place_key(top, str_c(key));

	if (value.len == 0)
		report_error(b->rep, &at,
		             "found nothing, expected a GUID for this type");
}

/* The identity endpoints of the platform speak http, on loopback and link-local
 * addresses, which are not routed. */
static void crd_check_endpoint(struct build *b, const struct place *at,
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

/* A VM can have several identities; at most one of the three ids selects one.
 */
static void crd_build_imds(struct build *b, const struct raw_credential *raw,
                           const struct place *top, struct policy_credential *c)
{
	struct place at = place_key(top, STR("endpoint"));
	int n = (c->client_id.len > 0) + (c->object_id.len > 0) +
	        (c->resource_id.len > 0);

	c->endpoint = raw->endpoint.len ? raw->endpoint : str_c(crd_imds_url);
	c->endpoint = pool_str(b->pool, url_trim_slashes(c->endpoint));
	crd_check_endpoint(b, &at, c->endpoint);
	if (n > 1)
		report_error(b->rep, top,
		             "found %d of client_id, object_id and "
		             "resource_id, expected at most one",
		             n);
}

/* The platform gives both in the environment: azure.md 3.3. */
static void crd_build_app_service(struct build *b,
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
	crd_check_endpoint(b, &endpoint, c->endpoint);
	if (raw->header_env.len > 0)
		secret_env(b->pool, b->rep, &header, raw->header_env,
		           &c->header_value);
}

/* Arc has the identity of the machine only, so there is no client_id. */
static void crd_build_arc(struct build *b, const struct raw_credential *raw,
                          const struct place *top, struct policy_credential *c)
{
	struct place at = place_key(top, STR("endpoint"));

	c->endpoint = raw->endpoint.len ? raw->endpoint : str_c(crd_arc_url);
	c->endpoint = pool_str(b->pool, url_trim_slashes(c->endpoint));
	crd_check_endpoint(b, &at, c->endpoint);
}

/* The secret or signed assertion is sent there, so it must be https. */
static void crd_set_authority(struct build *b, const struct place *top,
                              struct str authority, struct policy_credential *c)
{
	struct place at = place_key(top, STR("authority"));
	struct url u;

	c->endpoint = pool_str(b->pool, url_trim_slashes(authority));
	if (c->endpoint.len > 0 &&
	    (!url_parse(c->endpoint, &u) || !url_is_safe(&u)))
		report_error(b->rep, &at, "found %" STR_FMT ", expected https",
		             STR_ARG(c->endpoint));
}

static void crd_build_client_secret(struct build *b,
                                    const struct raw_credential *raw,
                                    const struct place *top,
                                    struct policy_credential *c)
{
	const struct secret_source from = {"secret_env", "secret_file",
	                                   raw->secret_env, raw->secret_file};

	crd_set_authority(b, top, raw->authority, c);
	crd_require_guid(b, top, "tenant_id", c->tenant_id);
	crd_require_guid(b, top, "client_id", c->client_id);
	secret_read(b->pool, b->rep, top, &from, &c->secret);
}

/* The file is read for each token, so that a renewed certificate needs no
 * reload. Here it is only looked at. */
static void crd_build_certificate(struct build *b,
                                  const struct raw_credential *raw,
                                  const struct place *top,
                                  struct policy_credential *c)
{
	struct place at = place_key(top, STR("certificate_file"));

	crd_set_authority(b, top, raw->authority, c);
	crd_require_guid(b, top, "tenant_id", c->tenant_id);
	crd_require_guid(b, top, "client_id", c->client_id);
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
static struct str crd_value_or_env(struct build *b, const struct place *top,
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
static void crd_guid_or_env(struct build *b, const struct place *top,
                            const char *key, const char *name,
                            struct str *value)
{
	struct place at = place_key(top, str_c(key));

	*value = crd_value_or_env(b, top, key, *value, name);
	if (value->len > 0 && !str_is_guid(*value))
		report_error(b->rep, &at,
		             "found %" STR_FMT " in the environment variable "
		             "%s, expected a GUID",
		             STR_ARG(*value), name);
	*value = pool_lower(b->pool, *value);
}

/* AZURE_AUTHORITY_HOST replaces the default, but not a written authority. */
static void crd_build_workload(struct build *b,
                               const struct raw_credential *raw,
                               const struct place *top,
                               struct policy_credential *c)
{
	struct place at = place_key(top, STR("token_file"));
	struct str host = str_c(getenv("AZURE_AUTHORITY_HOST"));

	if (options_given(&options_credential, raw, "authority") ||
	    host.len == 0)
		host = raw->authority;
	crd_set_authority(b, top, host, c);
	crd_guid_or_env(b, top, "tenant_id", "AZURE_TENANT_ID", &c->tenant_id);
	crd_guid_or_env(b, top, "client_id", "AZURE_CLIENT_ID", &c->client_id);
	c->file = crd_value_or_env(b, top, "token_file", raw->token_file,
	                           "AZURE_FEDERATED_TOKEN_FILE");
	if (c->file.len > 0)
		secret_look(b->rep, &at, c->file, false);
}

/* A key is sent as it is: it has no audience. */
static void crd_build_key(struct build *b, const struct raw_credential *raw,
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

static void crd_build_all(struct build *b)
{
	static credential_fn *const builders[] = {
		[CRED_IMDS] = crd_build_imds,
		[CRED_APP_SERVICE] = crd_build_app_service,
		[CRED_CLIENT_SECRET] = crd_build_client_secret,
		[CRED_KEY] = crd_build_key,
		[CRED_WORKLOAD] = crd_build_workload,
		[CRED_CERTIFICATE] = crd_build_certificate,
		[CRED_ARC] = crd_build_arc,
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
		crd_refuse_foreign_keys(b, raw, &at);
		builders[raw->type](b, raw, &at, c);
	}
}

/* Here and not in conf/process, which runs before the credentials exist. */
static void crd_build_redis_credential(struct build *b)
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

void credentials_build(struct build *b)
{
	crd_build_all(b);
	crd_build_redis_credential(b);
}
