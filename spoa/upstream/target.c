/*
 * upstream/target: how a deployment, or an object of a resource, is addressed.
 *
 *   target_model       may this surface serve the call, and where does it read
 *                      the model from?
 *   target_deployment  --> row of tgt_surfaces --> url() or socket()
 *   target_object      --> the v1 API of the resource
 *
 * The caller chooses the operation, never the URL: host, prefix and deployment
 * come from the policy, the suffix from the table of api/operations. Every text
 * is made in the request's arena; when that is full the texts are empty and its
 * `overflow` is set, which decide/ looks at before it allows.
 */
#include "upstream/target.h"

/* The arguments of the functions that build a URL: what is known, and `out`. */
struct target {
	const struct api_call *call;
	struct str asked; /* the caller's query, without '?' */
	const struct policy_deployment *deployment;
	struct arena *arena;
	struct target_url *out;
};

/* ---------------------------------------------------------------- versions */

/* An api-version is passed on only in the form Azure uses: a date, or a word
 * like "preview". Anything else could carry a second parameter into the query.
 * Those in use have at most 18 bytes ("2024-12-01-preview"). */
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

/* The version that the deployment's configuration names, else a dated one of
 * the caller, else the surface's default. A version without a date ("v1",
 * "preview") belongs to another API and would be refused here. */
static struct str tgt_choose_version(const struct target *t,
                                     struct str fallback)
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

/* All but the unreserved characters of RFC 3986, 2.3. Names of deployments may
 * come from names of models, which may hold spaces and '?'. */
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

/* --------------------------------------------------------------- surfaces
 *
 * The paths of azure.md 4.6, one function per surface. */

static void tgt_set_path(const struct target *t, const char *prefix)
{
	t->out->path = arena_fmt(t->arena, "%s%" STR_FMT, prefix,
	                         STR_ARG(t->call->suffix));
}

/* The objects of Responses, and what Realtime has besides the WebSocket, are in
 * previews of the dated API or not in it at all (foundry.md 4.6): v1 has them.
 */
static bool tgt_is_v1_only(const struct api_call *call)
{
	return call->operation == API_REALTIME ||
	       (call->operation == API_RESPONSES &&
	        !str_eq(call->suffix, STR("/responses")));
}

/* The default version, 2024-10-21, is generally available and takes
 * stream_options (azure.md 4.9), which decide/adapt may add. Responses is the
 * one operation here whose path does not name the deployment. */
static void tgt_build_azure(const struct target *t)
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
	tgt_set_version(t, tgt_choose_version(t, STR("2024-10-21")));
}

/* v1 needs no api-version (foundry.md 4.2); one that the configuration names is
 * sent. The caller's is dropped: it belongs to the API that was addressed. */
static void tgt_build_v1(const struct target *t)
{
	tgt_set_path(t, "/openai/v1");
	if (t->deployment->api_version.len > 0)
		tgt_set_version(t, t->deployment->api_version);
}

static void tgt_build_models(const struct target *t)
{
	tgt_set_path(t, "/models");
	tgt_set_version(t, tgt_choose_version(t, STR("2024-05-01-preview")));
}

/* No api-version here. Anthropic's SDK sends `beta=true` for beta features
 * (foundry.md 4.5), which the resource must see; nothing else is passed on. */
static void tgt_build_anthropic(const struct target *t)
{
	struct str beta = operations_query_get(t->asked, STR("beta"));

	tgt_set_path(t, "/anthropic/v1");
	if (str_eq(beta, STR("true")))
		t->out->query = STR("beta=true");
}

/* Realtime over a WebSocket (foundry.md 4.1): the query names the deployment,
 * because the request of a WebSocket has no body that could. */
static void tgt_build_azure_socket(const struct target *t)
{
	struct str version = tgt_choose_version(t, STR("2025-04-01-preview"));

	t->out->path = STR("/openai/realtime");
	t->out->query = arena_fmt(
		t->arena, "api-version=%" STR_FMT "&deployment=%" STR_FMT,
		STR_ARG(version),
		STR_ARG(tgt_percent_encode(t->arena, t->deployment->name)));
}

static void tgt_build_v1_socket(const struct target *t)
{
	t->out->path = STR("/openai/v1/realtime");
	t->out->query = arena_fmt(
		t->arena, "model=%" STR_FMT,
		STR_ARG(tgt_percent_encode(t->arena, t->deployment->name)));
}

/* Sets of operations, as in policy_rule. */
#define TGT_BIT(op) (1u << (op))

enum { TGT_ALL_BUT_MESSAGES = ~TGT_BIT(API_MESSAGES) };

/* One row per enum policy_surface. */
static const struct tgt_surface {
	unsigned operations;    /* set of those that it serves */
	unsigned model_in_body; /* subset: reads the model from the body */
	void (*url)(const struct target *t);
	void (*socket)(const struct target *t); /* NULL: no WebSockets */
} tgt_surfaces[] = {
	[SURFACE_AZURE] = {TGT_ALL_BUT_MESSAGES,
                           TGT_BIT(API_RESPONSES) | TGT_BIT(API_REALTIME),
                           tgt_build_azure, tgt_build_azure_socket},
	[SURFACE_V1] = {TGT_ALL_BUT_MESSAGES, TGT_ALL_BUT_MESSAGES,
                        tgt_build_v1, tgt_build_v1_socket},
	[SURFACE_MODELS] = {TGT_BIT(API_CHAT) | TGT_BIT(API_EMBEDDINGS),
                            TGT_BIT(API_CHAT) | TGT_BIT(API_EMBEDDINGS),
                            tgt_build_models, NULL},
	[SURFACE_ANTHROPIC] = {TGT_BIT(API_MESSAGES), TGT_BIT(API_MESSAGES),
                               tgt_build_anthropic, NULL},
};

enum target_model target_model(enum policy_surface s,
                               const struct api_call *call)
{
	const struct tgt_surface *row = &tgt_surfaces[s];

	if (call->traits.model == MODEL_QUERY)
		return row->socket ? TARGET_MODEL_PATH : TARGET_MODEL_NONE;
	if (!(row->operations & TGT_BIT(call->operation)))
		return TARGET_MODEL_NONE;
	return (row->model_in_body & TGT_BIT(call->operation))
	               ? TARGET_MODEL_BODY
	               : TARGET_MODEL_PATH;
}

/* The value of the header Host (RFC 9110, 7.2), without the port where it is
 * the scheme's default, as clients write it. */
static struct str tgt_write_host(const struct policy_resource *at,
                                 struct arena *a)
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

	*out = (struct target_url){.host = tgt_write_host(at, a)};
	if (call->traits.model == MODEL_QUERY)
		row->socket(&t);
	else
		row->url(&t);
}

/* ---------------------------------------------------------------- objects */

/* Parameters of lists and of streams that begin again (OpenAI's API). All
 * others are dropped: an unknown parameter might address something else at the
 * resource than what was authorized, and api-version is dropped because
 * objects are reached on v1. `include[]` comes plain or percent-encoded. */
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

static struct str tgt_filter_query(struct str query, struct arena *a)
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
		.host = tgt_write_host(at, a),
		.path = arena_fmt(a, "/openai/v1%" STR_FMT,
	                          STR_ARG(call->suffix)),
		.query = tgt_filter_query(asked, a),
	};
}
