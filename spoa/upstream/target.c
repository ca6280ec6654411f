/* upstream/target: how a deployment, or an object of a resource, is addressed.
 */
#include "upstream/target.h"

/* What is being built. */
struct target {
	const struct api_call *call;
	struct str asked; /* the caller's query */
	const struct policy_deployment *deployment;
	struct arena *arena;
	struct target_url *out;
};

/* ---------------------------------------------------------------- versions */

/* An api-version is passed on only in the form Azure uses. */
static bool tgt_is_version(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		      c == '-' || c == '.'))
			return false;
	}
	return s.len > 0 && s.len <= 32;
}

/* The deployment's own version, else a dated one of the caller, else the
 * surface's default. */
static struct str tgt_version(const struct target *t, struct str fallback)
{
	struct str asked = operations_query_get(t->asked, STR("api-version"));

	if (t->deployment->api_version.len > 0)
		return t->deployment->api_version;
	if (tgt_is_version(asked) && str_starts(asked, STR("20")))
		return asked;
	return fallback;
}

static void tgt_set_version(const struct target *t, struct str version)
{
	t->out->query =
		arena_fmt(t->arena, "api-version=%" STR_FMT, STR_ARG(version));
}

static struct str tgt_percent_encode(struct arena *a, struct str s)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"
				    "qrstuvwxyz0123456789-._~";
	char *out = arena_alloc(a, s.len * 3 + 1);
	size_t i, n = 0;

	if (!out)
		return STR_NONE;
	for (i = 0; i < s.len; i++) {
		if (memchr(plain, s.p[i], sizeof(plain) - 1)) {
			out[n++] = s.p[i];
		} else {
			out[n++] = '%';
			str_hex(s.p + i, 1, out + n);
			n += 2;
		}
	}
	return str_of(out, n);
}

/* --------------------------------------------------------------- surfaces */

static void tgt_set_path(const struct target *t, const char *prefix)
{
	t->out->path = arena_fmt(t->arena, "%s%" STR_FMT, prefix,
	                         STR_ARG(t->call->suffix));
}

/* What is younger than the dated API of Azure OpenAI is on v1 only. */
static bool tgt_is_v1_only(const struct api_call *call)
{
	return call->operation == API_REALTIME ||
	       (call->operation == API_RESPONSES &&
	        !str_eq(call->suffix, STR("/responses")));
}

static void tgt_azure(const struct target *t)
{
	if (tgt_is_v1_only(t->call)) {
		tgt_set_path(t, "/openai/v1");
		return;
	}
	if (t->call->operation == API_RESPONSES)
		t->out->path = STR("/openai/responses");
	else
		t->out->path = arena_fmt(
			t->arena, "/openai/deployments/%" STR_FMT "%" STR_FMT,
			STR_ARG(tgt_percent_encode(t->arena,
		                                   t->deployment->name)),
			STR_ARG(t->call->suffix));
	tgt_set_version(t, tgt_version(t, STR("2024-10-21")));
}

static void tgt_v1(const struct target *t)
{
	tgt_set_path(t, "/openai/v1");
	if (t->deployment->api_version.len > 0)
		tgt_set_version(t, t->deployment->api_version);
}

static void tgt_models(const struct target *t)
{
	tgt_set_path(t, "/models");
	tgt_set_version(t, tgt_version(t, STR("2024-05-01-preview")));
}

static void tgt_anthropic(const struct target *t)
{
	struct str beta = operations_query_get(t->asked, STR("beta"));

	tgt_set_path(t, "/anthropic/v1");
	if (str_eq(beta, STR("true")))
		t->out->query = STR("beta=true");
}

/* A WebSocket: the query names the deployment. */
static void tgt_azure_socket(const struct target *t)
{
	struct str version = tgt_version(t, STR("2025-04-01-preview"));

	t->out->path = STR("/openai/realtime");
	t->out->query = arena_fmt(
		t->arena, "api-version=%" STR_FMT "&deployment=%" STR_FMT,
		STR_ARG(version),
		STR_ARG(tgt_percent_encode(t->arena, t->deployment->name)));
}

static void tgt_v1_socket(const struct target *t)
{
	t->out->path = STR("/openai/v1/realtime");
	t->out->query = arena_fmt(
		t->arena, "model=%" STR_FMT,
		STR_ARG(tgt_percent_encode(t->arena, t->deployment->name)));
}

#define TGT_BIT(op) (1u << (op))

enum { TGT_ALL_BUT_MESSAGES = ~TGT_BIT(API_MESSAGES) };

/* NULL: the surface has no WebSockets. */
static const struct tgt_surface {
	unsigned operations;    /* bits of those that it has */
	unsigned model_in_body; /* of these it reads the model from there */
	void (*url)(const struct target *t);
	void (*socket)(const struct target *t);
} tgt_surfaces[] = {
	[SURFACE_AZURE] = {TGT_ALL_BUT_MESSAGES,
                           TGT_BIT(API_RESPONSES) | TGT_BIT(API_REALTIME),
                           tgt_azure, tgt_azure_socket},
	[SURFACE_V1] = {TGT_ALL_BUT_MESSAGES, TGT_ALL_BUT_MESSAGES, tgt_v1,
                        tgt_v1_socket},
	[SURFACE_MODELS] = {TGT_BIT(API_CHAT) | TGT_BIT(API_EMBEDDINGS),
                            TGT_BIT(API_CHAT) | TGT_BIT(API_EMBEDDINGS),
                            tgt_models, NULL},
	[SURFACE_ANTHROPIC] = {TGT_BIT(API_MESSAGES), TGT_BIT(API_MESSAGES),
                               tgt_anthropic, NULL},
};

enum target_model target_model(enum policy_surface s,
                               const struct api_call *call)
{
	const struct tgt_surface *row = &tgt_surfaces[s];

	if (call->traits.model == MODEL_QUERY)
		return row->socket ? TARGET_MODEL_PATH : TARGET_MODEL_NONE;
	if (!(row->operations & TGT_BIT(call->operation)))
		return TARGET_MODEL_NONE;
	return row->model_in_body & TGT_BIT(call->operation)
	               ? TARGET_MODEL_BODY
	               : TARGET_MODEL_PATH;
}

static struct str tgt_host(const struct policy_resource *at, struct arena *a)
{
	if (at->port == (at->tls ? 443 : 80))
		return at->host;
	return arena_fmt(a, "%" STR_FMT ":%u", STR_ARG(at->host), at->port);
}

void target_deployment(const struct api_call *call, struct str asked,
                       const struct policy_deployment *d,
                       const struct policy_resource *at, struct arena *a,
                       struct target_url *out)
{
	const struct tgt_surface *row = &tgt_surfaces[d->surface];
	const struct target t = {call, asked, d, a, out};

	*out = (struct target_url){.host = tgt_host(at, a)};
	if (call->traits.model == MODEL_QUERY)
		row->socket(&t);
	else
		row->url(&t);
}

/* ---------------------------------------------------------------- objects */

/* What callers may say to a resource about its objects; all else of their
 * query is left out. */
static bool tgt_is_passed_on(struct str name)
{
	static const struct str names[] = {
		STR_INIT("after"),          STR_INIT("before"),
		STR_INIT("limit"),          STR_INIT("order"),
		STR_INIT("include"),        STR_INIT("include[]"),
		STR_INIT("include%5B%5D"),  STR_INIT("stream"),
		STR_INIT("starting_after"), STR_INIT("filter"),
		STR_INIT("webrtcfilter"),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_eq_nocase(name, names[i]))
			return true;
	return false;
}

static struct str tgt_object_query(struct str query, struct arena *a)
{
	struct str out = STR_NONE;

	while (query.len > 0) {
		struct str pair = str_first(query, str_find(query, '&'));

		query = str_from(query, pair.len + 1);
		if (tgt_is_passed_on(str_first(pair, str_find(pair, '='))))
			out = arena_fmt(a, "%" STR_FMT "%s%" STR_FMT,
			                STR_ARG(out), out.len > 0 ? "&" : "",
			                STR_ARG(pair));
	}
	return out;
}

void target_object(const struct api_call *call, struct str asked,
                   const struct policy_resource *at, struct arena *a,
                   struct target_url *out)
{
	*out = (struct target_url){
		.host = tgt_host(at, a),
		.path = arena_fmt(a, "/openai/v1%" STR_FMT,
	                          STR_ARG(call->suffix)),
		.query = tgt_object_query(asked, a),
	};
}
