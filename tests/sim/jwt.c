/*
 * jwt: access tokens as Entra makes them, and as an attacker would.
 */
#include "jwt.h"

#include <time.h>

static void claim_times(cJSON *c, long lifetime_s)
{
	double now = (double)time(NULL);

	cJSON_AddNumberToObject(c, "iat", now);
	cJSON_AddNumberToObject(c, "nbf", now);
	cJSON_AddNumberToObject(c, "exp", now + (double)lifetime_s);
}

static void claim_opaque(cJSON *c, const char *name, size_t len)
{
	struct sb s = {0};

	sb_rnd_alnum(&s, len);
	cJSON_AddStringToObject(c, name, s.p);
	sb_free(&s);
}

cJSON *jwt_claims(const struct sim *sim, bool v2, const char *aud,
                  const char *app, const char *oid, long lifetime_s)
{
	cJSON *c = cJSON_CreateObject();
	struct sb iss = {0}, v1 = {0};

	sb_fmt(&v1, "%s/%s/", sim->base, sim->tenant[0]);
	sb_add(&iss, v1.p, v1.len);
	if (v2)
		sb_lit(&iss, "v2.0");
	cJSON_AddStringToObject(c, "aud", aud);
	cJSON_AddStringToObject(c, "iss", iss.p);
	claim_times(c, lifetime_s);
	claim_opaque(c, "aio", 40);
	cJSON_AddStringToObject(c, v2 ? "azp" : "appid", app);
	cJSON_AddStringToObject(c, v2 ? "azpacr" : "appidacr", "1");
	if (!v2)
		cJSON_AddStringToObject(c, "idp", v1.p);
	cJSON_AddStringToObject(c, "idtyp", "app");
	cJSON_AddStringToObject(c, "oid", oid);
	claim_opaque(c, "rh", 32);
	cJSON_AddStringToObject(c, "sub", oid);
	cJSON_AddStringToObject(c, "tid", sim->tenant[0]);
	claim_opaque(c, "uti", 22);
	cJSON_AddStringToObject(c, "ver", v2 ? "2.0" : "1.0");
	cJSON_AddStringToObject(c, "xms_act_fct", "3 9");
	claim_opaque(c, "xms_ftd", 43);
	cJSON_AddStringToObject(c, "xms_idrel", "7 4");
	claim_opaque(c, "xms_rd", 40);
	cJSON_AddStringToObject(c, "xms_sub_fct", "9 3");
	cJSON_AddNumberToObject(c, "xms_tcdt", 1540000000);
	sb_free(&iss);
	sb_free(&v1);
	return c;
}

void jwt_override(cJSON *to, const cJSON *over)
{
	const cJSON *o;

	cJSON_ArrayForEach(o, over)
	{
		cJSON *own = cJSON_Duplicate(o, true);

		if (cJSON_IsNull(o)) {
			cJSON_DeleteItemFromObjectCaseSensitive(to, o->string);
			cJSON_Delete(own);
		} else if (!cJSON_ReplaceItemInObjectCaseSensitive(
				   to, o->string, own)) {
			cJSON_AddItemToObject(to, o->string, own);
		}
	}
}

static void part(const char *json, struct sb *out)
{
	sb_b64url(out, json, strlen(json));
}

static void part_json(const cJSON *json, struct sb *out)
{
	char *text = cJSON_PrintUnformatted(json);

	part(text, out);
	cJSON_free(text);
}

/* Entra's header: v1 names the key twice, v2 by kid only. */
static cJSON *header_of(const struct key *key, const cJSON *over, bool v2)
{
	cJSON *h = cJSON_CreateObject();

	cJSON_AddStringToObject(h, "typ", "JWT");
	cJSON_AddStringToObject(h, "alg", "RS256");
	if (!v2)
		cJSON_AddStringToObject(h, "x5t", key_kid(key));
	cJSON_AddStringToObject(h, "kid", key_kid(key));
	jwt_override(h, over);
	return h;
}

static const char *text_of(const cJSON *o, const char *name,
                           const char *otherwise)
{
	const cJSON *i = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsString(i) ? i->valuestring : otherwise;
}

/* `raw` (may be NULL) puts texts in place of what would be made: header and
 * payload are JSON texts taken as they are, so they can hold members twice;
 * signature is taken as it is; suffix is hung on at the end. */
static void assemble(const cJSON *claims, const cJSON *header, const cJSON *raw,
                     const struct key *key, const char *hmac_key,
                     struct sb *out)
{
	const char *text = text_of(raw, "header", NULL);
	const char *sig = text_of(raw, "signature", NULL);
	size_t from = out->len;

	if (text != NULL)
		part(text, out);
	else
		part_json(header, out);
	sb_lit(out, ".");
	text = text_of(raw, "payload", NULL);
	if (text != NULL)
		part(text, out);
	else
		part_json(claims, out);
	if (sig == NULL) {
		struct sb made = {0};

		keys_sign(key, text_of(header, "alg", "RS256"), hmac_key,
		          out->p + from, out->len - from, &made);
		sb_lit(out, ".");
		sb_add(out, made.p, made.len);
		sb_free(&made);
	} else {
		sb_fmt(out, ".%s", sig);
	}
	sb_z(out, text_of(raw, "suffix", ""));
}

void jwt_sign(const cJSON *claims, const cJSON *header, const struct key *key,
              bool v2, const char *hmac_key, struct sb *out)
{
	cJSON *h = header_of(key, header, v2);

	assemble(claims, h, NULL, key, hmac_key, out);
	cJSON_Delete(h);
}

static const struct key *wished_key(const struct sim *sim, const char *name)
{
	if (strcmp(name, "other") == 0)
		return keys_other(sim->keys);
	if (strcmp(name, "current") == 0)
		return keys_current(sim->keys);
	return keys_find(sim->keys, name);
}

bool jwt_mint(const struct sim *sim, const cJSON *wish, struct sb *out)
{
	const struct key *key =
		wished_key(sim, text_of(wish, "key", "current"));
	bool v2 = strcmp(text_of(wish, "version", "1.0"), "2.0") == 0;
	cJSON *claims, *header, *roles;

	if (key == NULL) {
		sb_lit(out, "key: expected \"current\", \"other\" or a kid\n");
		return false;
	}
	claims = jwt_claims(sim, v2, CALLER_AUD, CALLER_APP, CALLER_OID, 3600);
	cJSON_AddStringToObject(
		claims, "xms_mirid",
		"/subscriptions/99999999-9999-9999-9999-999999999999"
		"/resourcegroups/rg-clients/providers/Microsoft.ManagedIdentity"
		"/userAssignedIdentities/client");
	roles = cJSON_AddArrayToObject(claims, "roles");
	cJSON_AddItemToArray(roles, cJSON_CreateString("Gateway.Use"));
	jwt_override(claims, cJSON_GetObjectItemCaseSensitive(wish, "claims"));
	header = header_of(
		key, cJSON_GetObjectItemCaseSensitive(wish, "header"), v2);
	assemble(claims, header, cJSON_GetObjectItemCaseSensitive(wish, "raw"),
	         key, text_of(wish, "hmac_key", "pem"), out);
	cJSON_Delete(claims);
	cJSON_Delete(header);
	return true;
}
