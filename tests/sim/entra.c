/*
 * entra: OpenID metadata, JWKS and the token endpoint of a tenant.
 *
 * The token endpoint takes client_credentials: with the secret, with a
 * federated assertion (any unexpired JWT for api://AzureADTokenExchange), or
 * with a certificate assertion, whose signature is checked when
 * POST /control/defaults gave the PEM as "certificate".
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "identity.h"
#include "issued.h"
#include "jwt.h"

#define CACHE "max-age=86400, private"

/* The path behind "/{tid}", or NULL; *tenant is that of ours, or NULL. */
static const char *behind_tenant(const struct exchange *x, size_t *len,
                                 const char **tenant)
{
	const char *end = x->uri + x->path_len;
	const char *slash;

	if (x->path_len < 2 || x->uri[0] != '/')
		return NULL;
	slash = memchr(x->uri + 1, '/', x->path_len - 1);
	if (slash == NULL)
		return NULL;
	*tenant = NULL;
	for (int i = 0; i < x->sim->n_tenants; i++)
		if (strlen(x->sim->tenant[i]) == (size_t)(slash - x->uri - 1) &&
		    memcmp(x->sim->tenant[i], x->uri + 1,
		           (size_t)(slash - x->uri - 1)) == 0)
			*tenant = x->sim->tenant[i];
	*len = (size_t)(end - slash);
	return slash;
}

static const struct entra_path {
	const char *path;
	enum endpoint endpoint;
	bool v2;
} entra_paths[] = {
	{"/.well-known/openid-configuration", AT_METADATA, false},
	{"/v2.0/.well-known/openid-configuration", AT_METADATA, true},
	{"/discovery/keys", AT_JWKS, false},
	{"/discovery/v2.0/keys", AT_JWKS, true},
	{"/oauth2/v2.0/token", AT_TOKEN, true},
};

static const struct entra_path *path_of(const struct exchange *x,
                                        const char **tenant)
{
	size_t len;
	const char *p = behind_tenant(x, &len, tenant);

	for (size_t i = 0; p && i < sizeof(entra_paths) / sizeof(*entra_paths);
	     i++)
		if (strlen(entra_paths[i].path) == len &&
		    memcmp(entra_paths[i].path, p, len) == 0)
			return &entra_paths[i];
	return NULL;
}

enum endpoint entra_owns(const struct exchange *x)
{
	const char *tenant;
	const struct entra_path *p = path_of(x, &tenant);

	return p ? p->endpoint : AT_NOWHERE;
}

/* ---- errors ---- */

static void refuse(struct exchange *x, unsigned status, const char *error,
                   int code, const char *text)
{
	cJSON *o = cJSON_CreateObject();
	struct sb trace = {0}, corr = {0}, desc = {0};
	char stamp[32];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%SZ", &tm);
	sb_rnd_guid(&trace);
	sb_rnd_guid(&corr);
	sb_fmt(&desc,
	       "AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
	       code, text, trace.p, corr.p, stamp);
	cJSON_AddStringToObject(o, "error", error);
	cJSON_AddStringToObject(o, "error_description", desc.p);
	cJSON_AddItemToObject(o, "error_codes", cJSON_CreateIntArray(&code, 1));
	cJSON_AddStringToObject(o, "timestamp", stamp);
	cJSON_AddStringToObject(o, "trace_id", trace.p);
	cJSON_AddStringToObject(o, "correlation_id", corr.p);
	sb_fmt(&desc, "%c%s/error?code=%d", 0, x->sim->base, code);
	cJSON_AddStringToObject(o, "error_uri", desc.p + strlen(desc.p) + 1);
	http_answer_cjson(x, status, o);
	sb_free(&trace);
	sb_free(&corr);
	sb_free(&desc);
}

/* ---- metadata and keys ---- */

static void add_url(cJSON *o, const char *name, const struct exchange *x,
                    const char *tenant, const char *path)
{
	struct sb s = {0};

	sb_fmt(&s, "%s/%s%s", x->sim->base, tenant, path);
	cJSON_AddStringToObject(o, name, s.p);
	sb_free(&s);
}

static void add_list(cJSON *o, const char *name, const char *const *items,
                     int n)
{
	cJSON_AddItemToObject(o, name, cJSON_CreateStringArray(items, n));
}

static void metadata(struct exchange *x, const char *tenant, bool v2)
{
	static const char *const methods[] = {
		"client_secret_post", "private_key_jwt", "client_secret_basic"};
	static const char *const algs[] = {"RS256"};
	static const char *const subjects[] = {"pairwise"};
	static const char *const types[] = {"code", "id_token",
	                                    "code id_token"};
	cJSON *o = cJSON_CreateObject();

	add_url(o, "token_endpoint", x, tenant,
	        v2 ? "/oauth2/v2.0/token" : "/oauth2/token");
	add_list(o, "token_endpoint_auth_methods_supported", methods, 3);
	add_url(o, "jwks_uri", x, tenant,
	        v2 ? "/discovery/v2.0/keys" : "/discovery/keys");
	add_list(o, "subject_types_supported", subjects, 1);
	add_list(o, "id_token_signing_alg_values_supported", algs, 1);
	add_list(o, "response_types_supported", types, 3);
	add_url(o, "issuer", x, tenant, v2 ? "/v2.0" : "/");
	add_url(o, "authorization_endpoint", x, tenant,
	        v2 ? "/oauth2/v2.0/authorize" : "/oauth2/authorize");
	cJSON_AddStringToObject(o, "tenant_region_scope", "EU");
	cJSON_AddStringToObject(o, "cloud_instance_name",
	                        "microsoftonline.com");
	cJSON_AddStringToObject(o, "msgraph_host", "graph.microsoft.com");
	http_set(x, "Cache-Control", CACHE);
	http_answer_cjson(x, 200, o);
}

static void jwks(struct exchange *x, const char *tenant, bool v2)
{
	struct sb issuer = {0}, out = {0};

	if (x->sim->defaults.key_issuer != NULL)
		sb_z(&issuer, x->sim->defaults.key_issuer);
	else
		sb_fmt(&issuer, "%s/%s/%s", x->sim->base, tenant,
		       v2 ? "v2.0" : "");
	keys_jwks(x->sim->keys, issuer.p, &out);
	sb_free(&issuer);
	http_set(x, "Cache-Control", CACHE);
	http_answer(x, 200, "application/json; charset=utf-8", &out);
}

/* ---- the token endpoint ---- */

struct grant {
	char *type, *client, *secret, *scope, *assertion, *assertion_type;
};

static void grant_read(const struct exchange *x, struct grant *g)
{
	const char *p = x->body.p ? x->body.p : "";
	size_t len = x->body.len;

	g->type = form_get(p, len, "grant_type");
	g->client = form_get(p, len, "client_id");
	g->secret = form_get(p, len, "client_secret");
	g->scope = form_get(p, len, "scope");
	g->assertion = form_get(p, len, "client_assertion");
	g->assertion_type = form_get(p, len, "client_assertion_type");
}

static void grant_free(struct grant *g)
{
	free(g->type);
	free(g->client);
	free(g->secret);
	free(g->scope);
	free(g->assertion);
	free(g->assertion_type);
}

static cJSON *part_of(const char *p, size_t len)
{
	struct sb s = {0};
	cJSON *o = sb_unb64url(&s, p, len) ? cJSON_ParseWithLength(s.p, s.len)
	                                   : NULL;

	sb_free(&s);
	return o;
}

static bool text_is(const cJSON *o, const char *name, const char *want)
{
	const cJSON *i = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsString(i) && strcmp(i->valuestring, want) == 0;
}

static bool time_ahead(const cJSON *o, const char *name)
{
	const cJSON *i = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(i) && i->valuedouble > (double)time(NULL);
}

/* A certificate assertion names its key by x5t or x5t#S256. */
static bool certificate_good(const struct exchange *x, const cJSON *header,
                             const cJSON *claims, const struct grant *g,
                             const char *last_dot)
{
	const char *pem = x->sim->defaults.certificate;
	bool pss = text_is(header, "alg", "PS256");
	struct sb aud = {0}, sig = {0};
	bool ok;

	sb_fmt(&aud, "%s%.*s", x->sim->base, (int)x->path_len, x->uri);
	ok = text_is(claims, "aud", aud.p) &&
	     text_is(claims, "iss", g->client) &&
	     text_is(claims, "sub", g->client) &&
	     cJSON_HasObjectItem(claims, "jti") &&
	     (pss || text_is(header, "alg", "RS256")) &&
	     sb_unb64url(&sig, last_dot + 1, strlen(last_dot + 1));
	if (ok && pem != NULL)
		ok = keys_check_cert(pem, pss, g->assertion,
		                     (size_t)(last_dot - g->assertion), &sig);
	sb_free(&aud);
	sb_free(&sig);
	return ok;
}

static bool assertion_good(const struct exchange *x, const struct grant *g)
{
	const char *dot = strchr(g->assertion, '.');
	const char *last = strrchr(g->assertion, '.');
	cJSON *header, *claims;
	bool ok = false;

	if (g->assertion_type == NULL ||
	    strcmp(g->assertion_type, "urn:ietf:params:oauth:client-assertion-"
	                              "type:jwt-bearer") != 0)
		return false;
	if (dot == NULL || dot == last)
		return false;
	header = part_of(g->assertion, (size_t)(dot - g->assertion));
	claims = part_of(dot + 1, (size_t)(last - dot - 1));
	if (header != NULL && claims != NULL && time_ahead(claims, "exp")) {
		if (cJSON_HasObjectItem(header, "x5t#S256") ||
		    !text_is(claims, "aud", "api://AzureADTokenExchange"))
			ok = certificate_good(x, header, claims, g, last);
		else
			ok = true;
	}
	cJSON_Delete(header);
	cJSON_Delete(claims);
	return ok;
}

/* True when it was refused. */
static bool grant_refused(struct exchange *x, const struct grant *g)
{
	const char *dot = g->scope ? strstr(g->scope, "/.default") : NULL;

	if (g->type == NULL || g->client == NULL)
		refuse(x, 400, "invalid_request", 900144,
		       "The request body must contain the following parameter: "
		       "'grant_type' or 'client_id'.");
	else if (strcmp(g->type, "client_credentials") != 0)
		refuse(x, 400, "unsupported_grant_type", 70003,
		       "The app requested an unsupported grant type.");
	else if (dot == NULL || strcmp(dot, "/.default") != 0)
		refuse(x, 400, "invalid_scope", 1002012,
		       "The provided value for scope is not valid. Client "
		       "credential flows must have a scope value with "
		       "/.default "
		       "suffixed to the resource identifier.");
	else if (strncmp(g->client, "missing", 7) == 0)
		refuse(x, 400, "unauthorized_client", 700016,
		       "Application was not found in the directory.");
	else if (g->assertion != NULL && !assertion_good(x, g))
		refuse(x, 401, "invalid_client", 700211,
		       "No matching federated identity record found for "
		       "presented assertion.");
	else if (g->assertion == NULL && g->secret == NULL)
		refuse(x, 401, "invalid_client", 7000218,
		       "The request body must contain the following parameter: "
		       "'client_assertion' or 'client_secret'.");
	else if (g->assertion == NULL &&
	         strcmp(g->secret, x->sim->defaults.client_secret) != 0)
		refuse(x, 401, "invalid_client", 7000215,
		       "Invalid client secret provided.");
	else
		return false;
	return true;
}

static void token(struct exchange *x)
{
	long life = x->sim->defaults.token_lifetime_s;
	struct grant g;
	struct sb jwt = {0};
	cJSON *o;

	if (strcmp(x->method, "POST") != 0) {
		refuse(x, 400, "invalid_request", 900561,
		       "The endpoint only accepts POST requests.");
		return;
	}
	grant_read(x, &g);
	if (!grant_refused(x, &g)) {
		/* the audience is the scope without "/.default" */
		g.scope[strlen(g.scope) - strlen("/.default")] = '\0';
		identity_issue(
			x,
			jwt_claims(x->sim, false, g.scope, g.client,
		                   "55555555-5555-5555-5555-555555555555",
		                   life),
			g.scope, life, &jwt);
		o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "token_type", "Bearer");
		cJSON_AddNumberToObject(o, "expires_in", (double)life - 1);
		cJSON_AddNumberToObject(o, "ext_expires_in", (double)life - 1);
		cJSON_AddStringToObject(o, "access_token", jwt.p);
		http_set(x, "Cache-Control", "no-store, no-cache");
		http_answer_cjson(x, 200, o);
		sb_free(&jwt);
	}
	grant_free(&g);
}

void entra_answer(struct exchange *x)
{
	const char *tenant = NULL;
	const struct entra_path *p = path_of(x, &tenant);

	if (tenant == NULL)
		refuse(x, 400,
		       p->endpoint == AT_TOKEN ? "invalid_request"
		                               : "invalid_tenant",
		       90002,
		       "Tenant not found. Check to make sure you have "
		       "the correct tenant ID.");
	else if (p->endpoint == AT_METADATA)
		metadata(x, tenant, p->v2);
	else if (p->endpoint == AT_JWKS)
		jwks(x, tenant, p->v2);
	else
		token(x);
}
