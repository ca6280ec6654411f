/*
 * entra: OpenID metadata, JWKS and the token endpoint of a tenant.
 *
 * The token endpoint takes client_credentials: with the secret, with a
 * federated assertion (any unexpired JWT for api://AzureADTokenExchange, of
 * the subject "federated_subject" when POST /control/defaults gave one), or
 * with an assertion signed by the certificate that it gave as "certificate".
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

/* What clients ask next stands where they asked: over TLS, when they came
 * that way (azure-identity refuses anything else). */
static void add_door(cJSON *o, const char *name, struct exchange *x,
                     const char *tenant, const char *path)
{
	const char *host = http_header(x, "host");
	struct sb s = {0};

	if (host == NULL || !http_is_tls(x)) {
		add_url(o, name, x, tenant, path);
		return;
	}
	sb_fmt(&s, "https://%s/%s%s", host, tenant, path);
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

	add_door(o, "token_endpoint", x, tenant,
	         v2 ? "/oauth2/v2.0/token" : "/oauth2/token");
	add_list(o, "token_endpoint_auth_methods_supported", methods, 3);
	add_url(o, "jwks_uri", x, tenant,
	        v2 ? "/discovery/v2.0/keys" : "/discovery/keys");
	add_list(o, "subject_types_supported", subjects, 1);
	add_list(o, "id_token_signing_alg_values_supported", algs, 1);
	add_list(o, "response_types_supported", types, 3);
	add_url(o, "issuer", x, tenant, v2 ? "/v2.0" : "/");
	add_door(o, "authorization_endpoint", x, tenant,
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

static double time_of(const cJSON *o, const char *name)
{
	const cJSON *i = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(i) ? i->valuedouble : 0;
}

/* The last part of the token is the signature of what is before it. */
static bool signature_good(const struct exchange *x, const struct grant *g,
                           const char *last_dot, bool pss)
{
	struct sb sig = {0};
	bool ok =
		sb_unb64url(&sig, last_dot + 1, strlen(last_dot + 1)) &&
		keys_check_cert(x->sim->defaults.certificate, pss, g->assertion,
	                        (size_t)(last_dot - g->assertion), &sig);

	sb_free(&sig);
	return ok;
}

static bool names_certificate(const struct exchange *x, const cJSON *header,
                              bool sha256)
{
	struct sb sum = {0};
	bool ok;

	keys_thumbprint(x->sim->defaults.certificate, sha256, &sum);
	ok = sum.p != NULL &&
	     text_is(header, sha256 ? "x5t#S256" : "x5t", sum.p);
	sb_free(&sum);
	return ok;
}

/* Entra's rules: for this token endpoint, from this app, at most ten minutes
 * long. NULL, or the words of its refusal. */
static const char *certificate_wrong(const struct exchange *x,
                                     const cJSON *header, const cJSON *claims,
                                     const struct grant *g,
                                     const char *last_dot)
{
	bool pss = text_is(header, "alg", "PS256");
	double now = (double)time(NULL), nbf = time_of(claims, "nbf");
	struct sb aud = {0};
	bool aud_good;

	sb_fmt(&aud, "%s%.*s", x->sim->base, (int)x->path_len, x->uri);
	aud_good = text_is(claims, "aud", aud.p);
	sb_free(&aud);
	if (x->sim->defaults.certificate == NULL)
		return "The app has no certificate.";
	if (!pss && !text_is(header, "alg", "RS256"))
		return "The algorithm is not supported.";
	if (!names_certificate(x, header,
	                       cJSON_HasObjectItem(header, "x5t#S256")))
		return "The certificate with identifier used to sign the "
		       "client assertion is not registered on application.";
	if (!aud_good)
		return "Client assertion audience claim does not match Realm "
		       "issuer.";
	if (!text_is(claims, "iss", g->client) ||
	    !text_is(claims, "sub", g->client))
		return "Client assertion issuer is not the application.";
	if (!cJSON_HasObjectItem(claims, "jti") || nbf > now + 5 ||
	    time_of(claims, "exp") - nbf > 600)
		return "Client assertion is not within its valid time range.";
	return signature_good(x, g, last_dot, pss)
	               ? NULL
	               : "Client assertion contains an invalid signature.";
}

static const char *federated_wrong(const struct exchange *x,
                                   const cJSON *claims)
{
	const char *subject = x->sim->defaults.federated_subject;

	if (!text_is(claims, "aud", "api://AzureADTokenExchange") ||
	    (subject != NULL && !text_is(claims, "sub", subject)))
		return "No matching federated identity record found for "
		       "presented assertion.";
	return NULL;
}

/* NULL when the assertion proves the client; else *code and why not. */
static const char *assertion_wrong(const struct exchange *x,
                                   const struct grant *g, int *code)
{
	const char *dot = strchr(g->assertion, '.');
	const char *last = strrchr(g->assertion, '.');
	const char *why = "The assertion is malformed.";
	cJSON *header, *claims;

	*code = 50027;
	if (g->assertion_type == NULL ||
	    strcmp(g->assertion_type, "urn:ietf:params:oauth:client-assertion-"
	                              "type:jwt-bearer") != 0 ||
	    dot == NULL || dot == last)
		return why;
	header = part_of(g->assertion, (size_t)(dot - g->assertion));
	claims = part_of(dot + 1, (size_t)(last - dot - 1));
	if (header == NULL || claims == NULL) {
		/* malformed */
	} else if (time_of(claims, "exp") <= (double)time(NULL)) {
		*code = 700024;
		why = "Client assertion is not within its valid time range.";
	} else if (cJSON_HasObjectItem(header, "x5t#S256") ||
	           text_is(claims, "iss", g->client)) {
		*code = 700027;
		why = certificate_wrong(x, header, claims, g, last);
	} else {
		*code = 700211;
		why = federated_wrong(x, claims);
	}
	cJSON_Delete(header);
	cJSON_Delete(claims);
	return why;
}

/* True when it was refused. */
static bool grant_refused(struct exchange *x, const struct grant *g)
{
	const char *dot = g->scope ? strstr(g->scope, "/.default") : NULL;
	int code = 0;
	const char *wrong = g->assertion ? assertion_wrong(x, g, &code) : NULL;

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
	else if (wrong != NULL)
		refuse(x, 401, "invalid_client", code, wrong);
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
