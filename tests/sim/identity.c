/*
 * identity: the managed identity endpoints of VMs (IMDS), App Service and
 * Arc.
 *
 * Any client_id, object_id or resource id names a user-assigned identity that
 * exists, except those that begin with "missing" or with eight zeros.
 */
#include "identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "issued.h"
#include "jwt.h"

#define SYSTEM_APP   "77777777-7777-7777-7777-777777777777"
#define SYSTEM_OID   "66666666-6666-6666-6666-666666666666"
#define USER_APP     "88888888-8888-8888-8888-888888888888"
#define USER_OID     "88888888-0000-0000-0000-888888888888"
#define SUBSCRIPTION "/subscriptions/99999999-9999-9999-9999-999999999999"
#define SYSTEM_RID                                                             \
	SUBSCRIPTION "/resourcegroups/rg-gateway/providers/"                   \
		     "Microsoft.Compute/virtualMachines/gateway-vm"
#define USER_RID                                                               \
	SUBSCRIPTION "/resourcegroups/rg-gateway/providers/"                   \
		     "Microsoft.ManagedIdentity/userAssignedIdentities/"       \
		     "gateway"

struct wanted {
	char *resource, *version;
	char *client, *object, *rid; /* which identity; at most one */
	int n_ids;
};

enum endpoint identity_owns(const struct exchange *x)
{
	if (http_path_is(x, "/metadata/identity/oauth2/token"))
		return AT_IMDS;
	if (http_path_is(x, "/msi/token"))
		return AT_APPSERVICE;
	return AT_NOWHERE;
}

void identity_issue(struct exchange *x, cJSON *claims, const char *aud,
                    long lifetime_s, struct sb *out)
{
	const struct key *key = keys_current(x->sim->keys);

	jwt_sign(claims, NULL, key ? key : keys_other(x->sim->keys), false,
	         "pem", out);
	issued_add(x->sim->issued, out->p, out->len, aud,
	           time(NULL) + lifetime_s);
	cJSON_Delete(claims);
}

static void wanted_read(const struct exchange *x, struct wanted *w)
{
	bool imds = x->endpoint == AT_IMDS;

	w->resource = http_query(x, "resource");
	w->version = http_query(x, "api-version");
	w->client = http_query(x, "client_id");
	w->object = http_query(x, imds ? "object_id" : "principal_id");
	w->rid = http_query(x, imds ? "msi_res_id" : "mi_res_id");
	w->n_ids = (w->client != NULL) + (w->object != NULL) + (w->rid != NULL);
}

static void wanted_free(struct wanted *w)
{
	free(w->resource);
	free(w->version);
	free(w->client);
	free(w->object);
	free(w->rid);
}

static bool exists(const struct exchange *x, const struct wanted *w)
{
	const char *id = w->client ? w->client : w->object ? w->object : w->rid;

	if (id == NULL)
		return x->sim->defaults.system_assigned;
	return *id != '\0' && strncmp(id, "missing", 7) != 0 &&
	       strncmp(id, "00000000", 8) != 0;
}

/* A claim that nobody reads: tokens with many groups or roles are long. */
static void add_padding(cJSON *claims, size_t len)
{
	struct sb s = {0};

	sb_rnd_alnum(&s, len);
	cJSON_AddStringToObject(claims, "xms_padding", s.p);
	sb_free(&s);
}

/* The claims of 1.9: the identity's, so that a test can tell this token from
 * the one its caller sent. Returns the client id. */
static const char *identity_token(struct exchange *x, const struct wanted *w,
                                  struct sb *out)
{
	bool user = w->n_ids > 0;
	const char *app = w->client ? w->client : user ? USER_APP : SYSTEM_APP;
	const char *oid = w->object ? w->object : user ? USER_OID : SYSTEM_OID;
	long life = x->sim->defaults.token_lifetime_s;
	cJSON *c = jwt_claims(x->sim, false, w->resource, app, oid, life);

	cJSON_ReplaceItemInObjectCaseSensitive(c, "appidacr",
	                                       cJSON_CreateString("2"));
	cJSON_AddStringToObject(c, "xms_mirid",
	                        w->rid ? w->rid
	                        : user ? USER_RID
	                               : SYSTEM_RID);
	if (x->sim->defaults.token_padding > 0)
		add_padding(c, (size_t)x->sim->defaults.token_padding);
	identity_issue(x, c, w->resource, life, out);
	return app;
}

static void add_num_text(cJSON *o, const char *name, long v)
{
	char num[24];

	snprintf(num, sizeof(num), "%ld", v);
	cJSON_AddStringToObject(o, name, num);
}

/* ---- IMDS ---- */

static void imds_refuse(struct exchange *x, unsigned status, const char *error,
                        const char *text)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "error", error);
	cJSON_AddStringToObject(o, "error_description", text);
	http_answer_cjson(x, status, o);
}

/* Arc: the caller proves that it may read a file only root's group can. */
static bool arc_refused(struct exchange *x, const struct wanted *w)
{
	const struct defaults *d = &x->sim->defaults;
	const char *auth = http_header(x, "authorization");
	struct sb realm = {0}, empty = {0};

	if (d->arc_realm == NULL || w->version == NULL ||
	    strcmp(w->version, "2020-06-01") != 0)
		return false;
	if (auth != NULL && strncmp(auth, "Basic ", 6) == 0 &&
	    strcmp(auth + 6, d->arc_secret ? d->arc_secret : "") == 0)
		return false;
	sb_fmt(&realm, "Basic realm=%s", d->arc_realm);
	http_set(x, "WWW-Authenticate", realm.p);
	sb_free(&realm);
	http_answer(x, 401, NULL, &empty);
	return true;
}

static bool imds_refused(struct exchange *x, const struct wanted *w)
{
	const char *metadata = http_header(x, "metadata");

	if (metadata == NULL || strcmp(metadata, "true") != 0)
		imds_refuse(x, 400, "bad_request_102",
		            "Required metadata header not specified");
	else if (http_header(x, "x-forwarded-for") != NULL)
		imds_refuse(x, 400, "bad_request_101",
		            "Requests through a proxy are not served");
	else if (strcmp(x->method, "GET") != 0)
		imds_refuse(x, 405, "method_not_allowed", "Only GET is served");
	else if (w->version == NULL)
		imds_refuse(x, 400, "bad_request_100",
		            "The api-version is missing");
	else if (w->resource == NULL || *w->resource == '\0')
		imds_refuse(x, 400, "invalid_resource",
		            "The resource parameter is missing or invalid");
	else if (w->n_ids > 1)
		imds_refuse(x, 400, "invalid_request",
		            "At most one of client_id, object_id and "
		            "msi_res_id may be given");
	else if (!exists(x, w))
		imds_refuse(x, 400, "invalid_request", "Identity not found");
	else
		return arc_refused(x, w);
	return true;
}

/* All values are strings here, the times too. */
static void imds(struct exchange *x, const struct wanted *w)
{
	long life = x->sim->defaults.token_lifetime_s, now = time(NULL);
	struct sb jwt = {0};
	const char *app;
	cJSON *o;

	if (imds_refused(x, w))
		return;
	app = identity_token(x, w, &jwt);
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "access_token", jwt.p);
	cJSON_AddStringToObject(o, "client_id", app);
	add_num_text(o, "expires_in", life - 1);
	add_num_text(o, "expires_on", now + life);
	add_num_text(o, "ext_expires_in", life - 1);
	add_num_text(o, "not_before", now);
	cJSON_AddStringToObject(o, "refresh_token", "");
	cJSON_AddStringToObject(o, "resource", w->resource);
	cJSON_AddStringToObject(o, "token_type", "Bearer");
	http_answer_cjson(x, 200, o);
	sb_free(&jwt);
}

/* ---- App Service ---- */

static void msi_refuse(struct exchange *x, unsigned status, const char *text)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddNumberToObject(o, "statusCode", status);
	cJSON_AddStringToObject(o, "message", text);
	http_answer_cjson(x, status, o);
}

static void msi(struct exchange *x, const struct wanted *w)
{
	const char *secret = http_header(x, "x-identity-header");
	struct sb jwt = {0};
	const char *app;
	cJSON *o;

	if (secret == NULL ||
	    strcmp(secret, x->sim->defaults.identity_header) != 0) {
		msi_refuse(x, 401, "X-IDENTITY-HEADER is missing or wrong");
		return;
	}
	if (w->version == NULL || w->resource == NULL || *w->resource == '\0' ||
	    w->n_ids > 1 || !exists(x, w)) {
		msi_refuse(x, 400,
		           "No Managed Identity found for specified "
		           "ClientId/ResourceId/PrincipalId, or "
		           "resource or api-version is missing.");
		return;
	}
	app = identity_token(x, w, &jwt);
	o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "access_token", jwt.p);
	add_num_text(o, "expires_on",
	             time(NULL) + x->sim->defaults.token_lifetime_s);
	cJSON_AddStringToObject(o, "resource", w->resource);
	cJSON_AddStringToObject(o, "token_type", "Bearer");
	cJSON_AddStringToObject(o, "client_id", app);
	http_answer_cjson(x, 200, o);
	sb_free(&jwt);
}

void identity_answer(struct exchange *x)
{
	struct wanted w;

	wanted_read(x, &w);
	if (x->endpoint == AT_IMDS)
		imds(x, &w);
	else
		msi(x, &w);
	wanted_free(&w);
}
