/*
 * data: the Foundry data plane: paths, credentials, limits, headers.
 *
 * Every credential that is presented must be good: a caller's key or token
 * that slipped through the gateway is refused, even beside a good one.
 */
#include "data.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "ask.h"
#include "deployments.h"
#include "issued.h"
#include "media.h"
#include "objects.h"
#include "realtime.h"

struct operation {
	const char *path;
	enum api api;
	void (*answer)(struct exchange *x);
	const char *name; /* as in the text of a 429 */
};

static const struct operation operations[] = {
	{"chat/completions", API_CHAT, api_chat, "ChatCompletions_Create"},
	{"completions", API_COMPLETIONS, api_completions, "Completions_Create"},
	{"embeddings", API_EMBEDDINGS, api_embeddings, "Embeddings_Create"},
	{"responses", API_RESPONSES, api_responses, "Responses_Create"},
	{"v1/messages", API_MESSAGES, api_messages, "Messages_Create"},
};

/* Where operations are mounted. `dated`: needs ?api-version=. */
static const struct mount {
	const char *prefix;
	bool dated;
	unsigned apis; /* bit per enum api */
} mounts[] = {
	{"/openai/v1/", false,
         1 << API_CHAT | 1 << API_COMPLETIONS | 1 << API_EMBEDDINGS |
                 1 << API_RESPONSES},
	{"/openai/", true, 1 << API_RESPONSES},
	{"/models/", true, 1 << API_CHAT | 1 << API_EMBEDDINGS},
	{"/anthropic/", false, 1 << API_MESSAGES},
};

/* A path taken apart. */
struct target {
	const char *path; /* behind /api/projects/<p> */
	size_t len;
	bool project;
	bool dated;
	const struct operation *op; /* NULL: none of those that are POSTed */
	const char *deployment;     /* of the path; NULL: in the body */
	size_t deployment_len;
};

static bool starts(const char *p, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return len >= n && memcmp(p, prefix, n) == 0;
}

static const struct operation *operation_of(const char *p, size_t len)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
		if (strlen(operations[i].path) == len &&
		    memcmp(operations[i].path, p, len) == 0)
			return &operations[i];
	return NULL;
}

static void target_deployment(struct target *t)
{
	const char *p = t->path + strlen("/openai/deployments/");
	const char *end = t->path + t->len;
	const char *slash = memchr(p, '/', (size_t)(end - p));

	if (slash == NULL)
		return;
	t->dated = true;
	t->deployment = p;
	t->deployment_len = (size_t)(slash - p);
	t->op = operation_of(slash + 1, (size_t)(end - slash - 1));
	if (t->op != NULL && t->op->api > API_EMBEDDINGS)
		t->op = NULL;
}

static struct target target_of(const struct exchange *x)
{
	struct target t = {.path = x->uri, .len = x->path_len};
	const char *slash;

	if (starts(t.path, t.len, "/api/projects/")) {
		slash = memchr(t.path + 14, '/', t.len - 14);
		if (slash != NULL) {
			t.project = true;
			t.len -= (size_t)(slash - t.path);
			t.path = slash;
		}
	}
	if (starts(t.path, t.len, "/openai/deployments/")) {
		target_deployment(&t);
		return t;
	}
	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		size_t n = strlen(mounts[i].prefix);

		if (!starts(t.path, t.len, mounts[i].prefix))
			continue;
		t.op = operation_of(t.path + n, t.len - n);
		t.dated = mounts[i].dated;
		if (t.op != NULL && !(mounts[i].apis >> t.op->api & 1))
			t.op = NULL;
		break;
	}
	return t;
}

bool data_owns(const struct exchange *x)
{
	static const char *const prefixes[] = {"/openai/", "/models/",
	                                       "/anthropic/", "/api/projects/"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (starts(x->uri, x->path_len, prefixes[i]))
			return true;
	return false;
}

/* ---- errors ---- */

static const struct error_text {
	unsigned status;
	const char *body;
} error_texts[] = {
	{400, "{\"error\":{\"message\":\"The response was filtered due to the "
              "prompt triggering Azure OpenAI's content management policy. "
              "Please modify your prompt and retry. To learn more about our "
              "content filtering policies please read our documentation: "
              "https://go.microsoft.com/fwlink/?linkid=2198766\",\"type\":"
              "null,\"param\":\"prompt\",\"code\":\"content_filter\","
              "\"status\":400,\"innererror\":{\"code\":"
              "\"ResponsibleAIPolicyViolation\",\"content_filter_result\":"
              "{\"hate\":{\"filtered\":false,\"severity\":\"safe\"},"
              "\"self_harm\":{\"filtered\":false,\"severity\":\"safe\"},"
              "\"sexual\":{\"filtered\":true,\"severity\":\"high\"},"
              "\"violence\":{\"filtered\":false,\"severity\":\"safe\"}}}}}"},
	{401, "{ \"statusCode\": 401, \"message\": \"Unauthorized. Access "
              "token is missing, invalid, audience is incorrect "
              "(https://cognitiveservices.azure.com), or have expired.\" }"},
	{404, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"The "
              "API deployment for this resource does not exist. If you "
              "created the deployment within the last 5 minutes, please wait "
              "a moment and try again.\"}}"},
	{429, "{\"error\":{\"code\":\"429\",\"message\":\"Rate limit is "
              "exceeded. Try again in 2 seconds.\"}}"},
	{500, "{\"error\":{\"code\":\"InternalServerError\",\"message\":"
              "\"Internal server error\"}}"},
	{503, "{\"error\":{\"code\":\"ServiceUnavailable\",\"message\":\"The "
              "service is temporarily unable to process your request. Please "
              "try again later.\"}}"},
};

void data_error_body(struct exchange *x, unsigned status, struct sb *out)
{
	(void)x;
	for (size_t i = 0; i < sizeof(error_texts) / sizeof(*error_texts); i++)
		if (error_texts[i].status == status) {
			sb_z(out, error_texts[i].body);
			return;
		}
	sb_fmt(out,
	       "{\"error\":{\"code\":\"%u\",\"message\":\"Simulated "
	       "error\"}}",
	       status);
}

static void refuse(struct exchange *x, unsigned status, const char *body)
{
	struct sb out = {0};

	if (body != NULL)
		sb_z(&out, body);
	else
		data_error_body(x, status, &out);
	http_answer(x, status, "application/json", &out);
}

static void refuse_argument(struct exchange *x, const char *message)
{
	struct sb out = {0};

	sb_fmt(&out,
	       "{\"error\":{\"message\":\"%s\",\"type\":"
	       "\"invalid_request_error\",\"param\":null,\"code\":null}}",
	       message);
	http_answer(x, 400, "application/json", &out);
}

/* ---- credentials ---- */

static bool bearer_good(struct exchange *x, const char *value, bool project)
{
	enum audience a;

	if (strncasecmp(value, "Bearer ", 7) != 0)
		return false;
	value += 7;
	/* clients of the v1 API send the resource's key as a bearer */
	if (strcmp(value, RESOURCE_KEY) == 0)
		return true;
	a = issued_find(x->sim->issued, value, strlen(value));
	return project ? a == AUDIENCE_FOUNDRY : a != AUDIENCE_NONE;
}

struct credentials {
	struct exchange *x;
	bool project;
	int good, bad_key, bad_token;
};

static enum MHD_Result one_credential(void *cls, enum MHD_ValueKind kind,
                                      const char *name, const char *value)
{
	struct credentials *c = cls;

	(void)kind;
	if (value == NULL)
		value = "";
	if (strcasecmp(name, "authorization") == 0) {
		if (bearer_good(c->x, value, c->project))
			c->good++;
		else
			c->bad_token++;
	} else if (strcasecmp(name, "api-key") == 0 ||
	           strcasecmp(name, "x-api-key") == 0 ||
	           strcasecmp(name, "ocp-apim-subscription-key") == 0) {
		if (strcmp(value, RESOURCE_KEY) == 0)
			c->good++;
		else
			c->bad_key++;
	}
	return MHD_YES;
}

static bool authorized(struct exchange *x, const struct target *t)
{
	struct credentials c = {.x = x, .project = t->project};

	if (!x->sim->defaults.auth)
		return true;
	MHD_get_connection_values(x->con, MHD_HEADER_KIND, one_credential, &c);
	if (c.bad_token > 0 || c.good + c.bad_key == 0)
		refuse(x, 401, NULL);
	else if (c.bad_key > 0)
		refuse(x, 401,
		       "{\"error\":{\"code\":\"401\",\"message\":\"Access "
		       "denied due to invalid subscription key or wrong API "
		       "endpoint. Make sure to provide a valid key for an "
		       "active subscription and use a correct regional API "
		       "endpoint for your resource.\"}}");
	else
		return true;
	return false;
}

/* ---- limits and headers ---- */

static void set_guid(struct exchange *x, const char *name)
{
	struct sb s = {0};

	sb_rnd_guid(&s);
	http_set(x, name, s.p);
	sb_free(&s);
}

/* The headers of every answer, good or bad. */
static void common_headers(struct exchange *x)
{
	const char *id = http_header(x, "x-ms-client-request-id");

	set_guid(x, "apim-request-id");
	set_guid(x, "x-request-id");
	http_set(x, "x-ms-region", x->sim->defaults.region);
	http_set(x, "strict-transport-security",
	         "max-age=31536000; includeSubDomains; preload");
	http_set(x, "x-content-type-options", "nosniff");
	if (id != NULL)
		http_set(x, "x-ms-client-request-id", id);
}

static void served_headers(struct exchange *x, const struct quota *q)
{
	const struct ask *a = x->ask;
	struct sb s = {0};

	http_set(x, "azureml-model-session", "d060-20251201120000");
	http_set(x, "x-accel-buffering", "no");
	http_set(x, "x-ms-rai-invoked", "true");
	/* libmicrohttpd drops it when it would split the answer's head */
	http_set(x, "x-ms-deployment-name", a->deployment.p);
	if (q->ptu) {
		sb_fmt(&s, "%.1f%%", q->utilization);
		http_set(x, "azure-openai-deployment-utilization", s.p);
		sb_free(&s);
		return;
	}
	http_set_num(x, "x-ratelimit-limit-requests", q->limit_requests);
	http_set_num(x, "x-ratelimit-limit-tokens", q->limit_tokens);
	http_set_num(x, "x-ratelimit-remaining-requests",
	             q->remaining_requests);
	http_set_num(x, "x-ratelimit-remaining-tokens", q->remaining_tokens);
	http_set_num(x, "x-ratelimit-reset-requests", q->reset_requests);
	http_set_num(x, "x-ratelimit-reset-tokens", q->reset_tokens);
}

static void set_retry_after(struct exchange *x, long ms)
{
	http_set_num(x, "retry-after", (ms + 999) / 1000);
	http_set_num(x, "retry-after-ms", ms);
}

/* 86400: the one request passes the limit, and waiting will not help it. */
static void refuse_limit(struct exchange *x, const struct operation *op,
                         const struct quota *q)
{
	char *version = http_query(x, "api-version");
	long ms = q->alone_too_big ? 86400000 : q->retry_ms;
	struct sb out = {0};

	set_retry_after(x, ms);
	sb_fmt(&out,
	       "{\"error\":{\"code\":\"429\",\"message\":\"Requests to the %s "
	       "Operation under Azure OpenAI API version %s have exceeded "
	       "token rate limit of your current OpenAI S0 pricing tier. "
	       "Please retry after %ld seconds. Please go here: "
	       "https://aka.ms/oai/quotaincrease if you would like to further "
	       "increase the default rate limit.\"}}",
	       op->name, version ? version : "v1", (ms + 999) / 1000);
	free(version);
	http_answer(x, 429, "application/json", &out);
}

/* ---- the request ---- */

void data_read(struct exchange *x)
{
	static struct jdoc doc; /* its memory is used again and again */
	struct target t = target_of(x);

	if (t.op == NULL || strcmp(x->method, "POST") != 0)
		return;
	x->ask = xmalloc(sizeof(*x->ask));
	x->ask->api = t.op->api;
	if (!ask_read(x, &doc, t.deployment, t.deployment_len)) {
		ask_free(x->ask);
		x->ask = NULL;
	}
}

void data_ended(struct exchange *x)
{
	ask_free(x->ask);
	x->ask = NULL;
}

struct listing {
	struct sb out;
	bool arm; /* the shape of /openai/deployments */
};

static void list_one(void *ctx, const char *name, const char *model)
{
	struct listing *l = ctx;
	char last = l->out.p[l->out.len - 1];

	sb_z(&l->out, last == '[' ? "" : ",");
	sb_z(&l->out, l->arm ? "{\"object\":\"deployment\",\"status\":"
	                       "\"succeeded\",\"model\":"
	                     : "{\"object\":\"model\",\"created\":1687882411,"
	                       "\"owned_by\":\"system\",\"status\":"
	                       "\"succeeded\",\"base_model\":");
	sb_json(&l->out, model ? model : name, strlen(model ? model : name));
	sb_lit(&l->out, ",\"id\":");
	sb_json(&l->out, name, strlen(name));
	sb_lit(&l->out, "}");
}

static void list_models(struct exchange *x, bool arm)
{
	struct listing l = {.arm = arm};

	sb_lit(&l.out, "{\"object\":\"list\",\"data\":[");
	deployments_each(x->sim->deployments, list_one, &l);
	if (l.out.p[l.out.len - 1] == '[') {
		list_one(&l, "gpt-4o-mini", NULL);
		list_one(&l, "text-embedding-3-small", NULL);
	}
	sb_lit(&l.out, "]}");
	http_answer(x, 200, "application/json", &l.out);
}

static bool path_is(const struct target *t, const char *path)
{
	return t->len == strlen(path) && memcmp(t->path, path, t->len) == 0;
}

/* What stands behind the prefix, or behind the deployment. */
static bool answer_further(struct exchange *x, const struct target *t)
{
	static const char *const prefixes[] = {"/openai/v1/",
	                                       "/openai/deployments/",
	                                       "/openai/", "/anthropic/"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		size_t n = strlen(prefixes[i]);
		const char *p = t->path + n, *slash;
		size_t len = t->len - n;

		if (!starts(t->path, t->len, prefixes[i]))
			continue;
		slash = i == 1 ? memchr(p, '/', len) : NULL;
		if (slash != NULL) {
			len -= (size_t)(slash + 1 - p);
			p = slash + 1;
		}
		if (len == 8 && memcmp(p, "realtime", 8) == 0) {
			realtime_answer(x);
			return true;
		}
		return media_answer(x, p, len) || objects_answer(x, p, len);
	}
	return false;
}

static void answer_other(struct exchange *x, const struct target *t)
{
	bool get = strcmp(x->method, "GET") == 0;

	if (answer_further(x, t))
		return;
	if (get &&
	    (path_is(t, "/openai/v1/models") || path_is(t, "/openai/models")))
		list_models(x, false);
	else if (get && path_is(t, "/openai/deployments"))
		list_models(x, true);
	else
		refuse(x, 404,
		       "{\"error\":{\"code\":\"404\",\"message\":"
		       "\"Resource not found\"}}");
}

/* Dated versions before 2024-08 do not know stream_options. */
static bool too_old(const struct exchange *x, const struct target *t)
{
	char *version;
	bool old;

	if (!x->ask->has_stream_options || t->deployment == NULL)
		return false;
	version = http_query(x, "api-version");
	old = version != NULL && strcmp(version, "2024-08") < 0;
	free(version);
	return old;
}

/* What is wrong with the request itself; true when it was refused. */
static bool refused(struct exchange *x, const struct target *t)
{
	char *version;

	if (t->dated) {
		version = http_query(x, "api-version");
		free(version);
		if (version == NULL) {
			refuse(x, 404,
			       "{\"error\":{\"code\":\"404\","
			       "\"message\":\"Resource not found\"}}");
			return true;
		}
	}
	if (x->ask == NULL)
		refuse_argument(x, "We could not parse the JSON body of your "
		                   "request.");
	else if (x->ask->deployment.len == 0)
		refuse_argument(x, "you must provide a model parameter");
	else if (too_old(x, t))
		refuse_argument(x, "Unrecognized request argument supplied: "
		                   "stream_options");
	else
		return false;
	return true;
}

static void name_model(struct ask *a, const char *model)
{
	if (model != NULL) {
		sb_z(&a->model, model);
		return;
	}
	sb_add(&a->model, a->deployment.p, a->deployment.len);
	if (a->api == API_CHAT || a->api == API_COMPLETIONS)
		sb_lit(&a->model, "-2024-07-18");
}

static void serve(struct exchange *x, const struct target *t)
{
	struct sim *sim = x->sim;
	struct ask *a = x->ask;
	const char *host = http_header(x, "host");
	const char *model;
	struct quota q;
	long most = a->max_tokens > 0 ? a->max_tokens : a->completion_tokens;

	if (!deployments_find(sim->deployments, host, a->deployment.p,
	                      a->deployment.len, &model)) {
		refuse(x, 404, NULL);
		return;
	}
	deployments_charge(sim->deployments, host, a->deployment.p,
	                   a->deployment.len, a->prompt_tokens + most,
	                   ev_now(sim->loop), &q);
	served_headers(x, &q);
	if (q.refused) {
		refuse_limit(x, t->op, &q);
		return;
	}
	name_model(a, model);
	x->usage.prompt = a->prompt_tokens;
	t->op->answer(x);
}

void data_answer(struct exchange *x)
{
	struct target t = target_of(x);
	struct sb out = {0};

	common_headers(x);
	if (x->effect.status != 0) {
		if (x->effect.retry_after >= 0)
			set_retry_after(x, x->effect.retry_after * 1000);
		if (x->effect.body != NULL)
			sb_z(&out, x->effect.body);
		else
			data_error_body(x, (unsigned)x->effect.status, &out);
		http_answer(x, (unsigned)x->effect.status, "application/json",
		            &out);
		return;
	}
	if (!media_is_call(t.path, t.len) && !authorized(x, &t))
		return;
	if (t.op == NULL || strcmp(x->method, "POST") != 0)
		answer_other(x, &t);
	else if (!refused(x, &t))
		serve(x, &t);
}
