/*
 * control: what tests tell the simulator under /control/, and ask it.
 */
#include "control.h"

#include <stddef.h>
#include <stdlib.h>

#include "deployments.h"
#include "issued.h"
#include "jwt.h"
#include "record.h"
#include "wait.h"

static void refuse(struct exchange *x, const char *what)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "error", what);
	http_answer_cjson(x, 400, o);
}

static void fine(struct exchange *x)
{
	http_answer_cjson(x, 200, cJSON_CreateObject());
}

/* ---- defaults ---- */

enum kind { NUMBER = 0, FLAG = 1, TEXT = 2 };

static const struct setting {
	const char *name;
	enum kind kind;
	size_t at;
} settings[] = {
	{"tokens", NUMBER, offsetof(struct defaults, tokens)},
	{"delay_ms", NUMBER, offsetof(struct defaults, delay_ms)},
	{"event_delay_ms", NUMBER, offsetof(struct defaults, event_delay_ms)},
	{"text", TEXT, offsetof(struct defaults, text)},
	{"region", TEXT, offsetof(struct defaults, region)},
	{"auth", FLAG, offsetof(struct defaults, auth)},
	{"token_lifetime_s", NUMBER,
         offsetof(struct defaults, token_lifetime_s)},
	{"token_padding", NUMBER, offsetof(struct defaults, token_padding)},
	{"system_assigned", FLAG, offsetof(struct defaults, system_assigned)},
	{"identity_header", TEXT, offsetof(struct defaults, identity_header)},
	{"client_secret", TEXT, offsetof(struct defaults, client_secret)},
	{"certificate", TEXT, offsetof(struct defaults, certificate)},
	{"federated_subject", TEXT,
         offsetof(struct defaults, federated_subject)},
	{"key_issuer", TEXT, offsetof(struct defaults, key_issuer)},
	{"arc_realm", TEXT, offsetof(struct defaults, arc_realm)},
	{"arc_secret", TEXT, offsetof(struct defaults, arc_secret)},
};

enum { N_SETTINGS = sizeof(settings) / sizeof(*settings) };

static void set_text(char **at, const char *value)
{
	free(*at);
	*at = value ? xstrndup(value, strlen(value)) : NULL;
}

void defaults_free(struct defaults *d)
{
	for (int i = 0; i < N_SETTINGS; i++) {
		char *at = (char *)d + settings[i].at;

		if (settings[i].kind == TEXT)
			set_text((char **)(void *)at, NULL);
	}
}

void defaults_reset(struct defaults *d)
{
	defaults_free(d);
	*d = (struct defaults){
		.tokens = -1,
		.auth = true,
		.token_lifetime_s = 86700,
		.system_assigned = true,
	};
	set_text(&d->region, "East US 2");
	set_text(&d->identity_header, "sim-identity-header");
	set_text(&d->client_secret, "sim-client-secret");
}

static bool set_one(struct defaults *d, const struct setting *s, const cJSON *v)
{
	char *at = (char *)d + s->at;

	if (s->kind == NUMBER && cJSON_IsNumber(v))
		*(long *)(void *)at = (long)v->valuedouble;
	else if (s->kind == FLAG && cJSON_IsBool(v))
		*(bool *)at = cJSON_IsTrue(v);
	else if (s->kind == TEXT && cJSON_IsString(v))
		set_text((char **)(void *)at, v->valuestring);
	else if (s->kind == TEXT && cJSON_IsNull(v))
		set_text((char **)(void *)at, NULL);
	else
		return false;
	return true;
}

static void set_defaults(struct exchange *x, cJSON *wish)
{
	const cJSON *v;

	cJSON_ArrayForEach(v, wish)
	{
		int i = 0;

		while (i < N_SETTINGS &&
		       strcmp(settings[i].name, v->string) != 0)
			i++;
		if (i == N_SETTINGS ||
		    !set_one(&x->sim->defaults, &settings[i], v)) {
			refuse(x, v->string);
			return;
		}
	}
	fine(x);
}

/* ---- the calls ---- */

static void mint(struct exchange *x, cJSON *wish)
{
	struct sb out = {0};
	bool ok = jwt_mint(x->sim, wish, &out);

	http_answer(x, ok ? 200 : 400, "text/plain", &out);
}

/* Only this call keeps what it was sent: it gets a copy of its own. */
static void add_fault(struct exchange *x, cJSON *wish)
{
	cJSON *own = cJSON_Duplicate(wish, true);
	const char *why = NULL;

	if (faults_add(x->sim->faults, own, &why)) {
		fine(x);
		return;
	}
	refuse(x, why);
	cJSON_Delete(own);
}

static void no_faults(struct exchange *x, cJSON *wish)
{
	(void)wish;
	faults_reset(x->sim->faults);
	fine(x);
}

static void set_deployments(struct exchange *x, cJSON *wish)
{
	const char *why;

	if (deployments_set(x->sim->deployments, wish, &why))
		fine(x);
	else
		refuse(x, why);
}

static void rotate(struct exchange *x, cJSON *wish)
{
	bool drop = cJSON_IsTrue(
		cJSON_GetObjectItemCaseSensitive(wish, "drop_old"));
	const struct key *key = keys_rotate(x->sim->keys, drop);
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "kid", key_kid(key));
	http_answer_cjson(x, 200, o);
}

static void drop_key(struct exchange *x, cJSON *wish)
{
	const cJSON *kid = cJSON_GetObjectItemCaseSensitive(wish, "kid");

	if (keys_drop(x->sim->keys,
	              cJSON_IsString(kid) ? kid->valuestring : NULL))
		fine(x);
	else
		refuse(x, "kid");
}

static void forget_tokens(struct exchange *x, cJSON *wish)
{
	(void)wish;
	issued_clear(x->sim->issued);
	fine(x);
}

static void redis_token(struct exchange *x, cJSON *wish)
{
	struct sb out = {0};

	(void)wish;
	sb_z(&out, issued_redis(x->sim->issued));
	http_answer(x, 200, "text/plain", &out);
}

static void switch_record(struct exchange *x, cJSON *wish)
{
	record_switch(
		x->sim->record,
		cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(wish, "on")));
	fine(x);
}

static void reset(struct exchange *x, cJSON *wish)
{
	(void)wish;
	faults_reset(x->sim->faults);
	deployments_reset(x->sim->deployments);
	defaults_reset(&x->sim->defaults);
	record_reset(x->sim->record);
	fine(x);
	control_changed(x->sim);
}

static void requests(struct exchange *x, cJSON *wish)
{
	char *since = http_query(x, "since");
	struct sb out = {0};

	(void)wish;
	record_requests(x->sim->record, (uint64_t)num_or(since, 0), &out);
	free(since);
	http_answer(x, 200, "application/json", &out);
}

static void stats(struct exchange *x, cJSON *wish)
{
	struct sb out = {0};

	(void)wish;
	record_stats(x->sim->record, &out);
	http_answer(x, 200, "application/json", &out);
}

static void start_wait(struct exchange *x, cJSON *wish)
{
	(void)wish;
	if (!wait_start(x))
		refuse(x, "no counter of that name");
}

static const struct call {
	const char *method, *path;
	void (*run)(struct exchange *x, cJSON *wish);
} calls[] = {
	{"POST", "/control/token", mint},
	{"GET", "/control/token", mint},
	{"POST", "/control/fault", add_fault},
	{"DELETE", "/control/fault", no_faults},
	{"POST", "/control/defaults", set_defaults},
	{"POST", "/control/deployments", set_deployments},
	{"POST", "/control/rotate", rotate},
	{"POST", "/control/drop-key", drop_key},
	{"POST", "/control/revoke", forget_tokens},
	{"GET", "/control/redis-token", redis_token},
	{"POST", "/control/record", switch_record},
	{"POST", "/control/reset", reset},
	{"GET", "/control/requests", requests},
	{"GET", "/control/stats", stats},
	{"GET", "/control/wait", start_wait},
};

bool control_owns(const struct exchange *x)
{
	return x->path_len > 9 && memcmp(x->uri, "/control/", 9) == 0;
}

void control_answer(struct exchange *x)
{
	cJSON *wish = x->body.len > 0
	                      ? cJSON_ParseWithLength(x->body.p, x->body.len)
	                      : cJSON_CreateObject();
	size_t i = 0, n = sizeof(calls) / sizeof(*calls);

	while (i < n && !(http_path_is(x, calls[i].path) &&
	                  strcmp(x->method, calls[i].method) == 0))
		i++;
	if (i == n)
		refuse(x, "no such call; tests/sim/control.h names them");
	else if (!cJSON_IsObject(wish))
		refuse(x, "the body is no JSON object");
	else
		calls[i].run(x, wish);
	cJSON_Delete(wish);
}

void control_changed(struct sim *sim)
{
	wait_changed(sim->waits, sim->record);
}

void control_ended(struct exchange *x)
{
	wait_ended(x);
}
