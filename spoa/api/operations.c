/*
 * api/operations: method + path -> operation, and where the model stands.
 *
 *   /any/prefix [/deployments/{d}] /chat/completions
 *   '------------ lead ----------' '--- suffix ---'
 *
 * Foundry connections put whatever their `target` says in front, so the lead
 * is free; it only says how the caller addressed us. The upstream's path is
 * never made from it.
 */
#include "api/operations.h"

#include "base/arena.h"
#include "base/utf8.h"

/* One operation. With a further method on the same path it gets a further
 * row; a longer pattern stands before the shorter one it ends with, and a
 * word before the {id} in whose place it stands. {id} is an object of the
 * caller, {part} a name within the object before it, {model} the name of a
 * model, with escapes. */
struct operation {
	enum api_operation operation;
	enum api_shape shape;
	struct str method;
	struct str version; /* must stand directly in front of the pattern */
	struct str pattern;
	struct api_traits traits;
};

#define ROW(operation, method, pattern, ...)                                   \
	{                                                                      \
		operation, SHAPE_OPENAI, STR_INIT(method), STR_INIT(""),       \
			STR_INIT(pattern),                                     \
		{                                                              \
			__VA_ARGS__                                            \
		}                                                              \
	}
/* with its version, because "/messages" also ends other APIs' paths */
#define ANTHROPIC(operation, method, pattern, ...)                             \
	{                                                                      \
		operation, SHAPE_ANTHROPIC, STR_INIT(method), STR_INIT("/v1"), \
			STR_INIT(pattern),                                     \
		{                                                              \
			__VA_ARGS__                                            \
		}                                                              \
	}

#define COUNTED  .model = MODEL_BODY, .body = BODY_JSON, .tokens = TOKENS_TEXT
#define REPORTED .model = MODEL_BODY, .tokens = TOKENS_REPORTED
#define JSON     .body = BODY_JSON

static const struct operation operations[] = {
	ROW(API_CHAT, "POST", "/chat/completions", COUNTED),
	ROW(API_COMPLETIONS, "POST", "/completions", COUNTED),
	ROW(API_EMBEDDINGS, "POST", "/embeddings", COUNTED),

	ANTHROPIC(API_MESSAGES, "POST", "/messages/count_tokens",
                  .model = MODEL_BODY, JSON),
	ANTHROPIC(API_MESSAGES, "POST", "/messages", COUNTED),

	ROW(API_RESPONSES, "POST", "/responses/input_tokens",
            .model = MODEL_BODY, JSON),
	ROW(API_RESPONSES, "POST", "/responses/compact", COUNTED,
            .makes = MAKES_ID),
	ROW(API_RESPONSES, "POST", "/responses/{id}/cancel",
            .model = MODEL_OBJECT),
	ROW(API_RESPONSES, "GET", "/responses/{id}/input_items",
            .model = MODEL_OBJECT),
	ROW(API_RESPONSES, "GET", "/responses/{id}", .model = MODEL_OBJECT),
	ROW(API_RESPONSES, "DELETE", "/responses/{id}", .model = MODEL_OBJECT,
            .drops = true),
	ROW(API_RESPONSES, "POST", "/responses", COUNTED, .makes = MAKES_ID),
	ROW(API_RESPONSES, "GET", "/responses", .list = true),

	ROW(API_IMAGES, "POST", "/images/generations", REPORTED, JSON),
	ROW(API_IMAGES, "POST", "/images/edits", REPORTED, .body = BODY_FORM),

	ROW(API_AUDIO, "POST", "/audio/transcriptions", REPORTED,
            .body = BODY_FORM),
	ROW(API_AUDIO, "POST", "/audio/translations", REPORTED,
            .body = BODY_FORM),
	ROW(API_AUDIO, "POST", "/audio/speech", REPORTED, JSON),

	ROW(API_VECTOR_STORES, "POST", "/vector_stores/{id}/search", JSON),
	ROW(API_VECTOR_STORES, "GET", "/vector_stores/{id}/files/{id}/content"),
	ROW(API_VECTOR_STORES, "GET", "/vector_stores/{id}/files/{id}"),
	ROW(API_VECTOR_STORES, "POST", "/vector_stores/{id}/files/{id}", JSON),
	ROW(API_VECTOR_STORES, "DELETE", "/vector_stores/{id}/files/{id}"),
	ROW(API_VECTOR_STORES, "GET",
            "/vector_stores/{id}/file_batches/{part}/files"),
	ROW(API_VECTOR_STORES, "POST",
            "/vector_stores/{id}/file_batches/{part}/cancel"),
	ROW(API_VECTOR_STORES, "GET",
            "/vector_stores/{id}/file_batches/{part}"),
	ROW(API_VECTOR_STORES, "POST", "/vector_stores/{id}/file_batches",
            JSON),
	ROW(API_VECTOR_STORES, "GET", "/vector_stores/{id}/files"),
	ROW(API_VECTOR_STORES, "POST", "/vector_stores/{id}/files", JSON),
	ROW(API_VECTOR_STORES, "GET", "/vector_stores/{id}"),
	ROW(API_VECTOR_STORES, "POST", "/vector_stores/{id}", JSON),
	ROW(API_VECTOR_STORES, "DELETE", "/vector_stores/{id}", .drops = true),
	ROW(API_VECTOR_STORES, "POST", "/vector_stores", JSON,
            .makes = MAKES_ID),
	ROW(API_VECTOR_STORES, "GET", "/vector_stores", .list = true),

	ROW(API_FILES, "GET", "/files/{id}/content"),
	ROW(API_FILES, "GET", "/files/{id}"),
	ROW(API_FILES, "DELETE", "/files/{id}", .drops = true),
	ROW(API_FILES, "POST", "/files", .body = BODY_ANY, .makes = MAKES_ID),
	ROW(API_FILES, "GET", "/files", .list = true),

	ROW(API_BATCHES, "POST", "/batches/{id}/cancel"),
	ROW(API_BATCHES, "GET", "/batches/{id}", .makes = MAKES_FILES),
	ROW(API_BATCHES, "POST", "/batches", JSON, .makes = MAKES_ID),
	ROW(API_BATCHES, "GET", "/batches", .list = true),

	ROW(API_CONVERSATIONS, "GET", "/conversations/{id}/items/{part}"),
	ROW(API_CONVERSATIONS, "DELETE", "/conversations/{id}/items/{part}"),
	ROW(API_CONVERSATIONS, "GET", "/conversations/{id}/items"),
	ROW(API_CONVERSATIONS, "POST", "/conversations/{id}/items", JSON),
	ROW(API_CONVERSATIONS, "GET", "/conversations/{id}"),
	ROW(API_CONVERSATIONS, "POST", "/conversations/{id}", JSON),
	ROW(API_CONVERSATIONS, "DELETE", "/conversations/{id}", .drops = true),
	ROW(API_CONVERSATIONS, "POST", "/conversations", JSON,
            .makes = MAKES_ID),

	ROW(API_REALTIME, "POST", "/realtime/client_secrets",
            .model = MODEL_BODY, JSON, .makes = MAKES_SECRET),
	ROW(API_REALTIME, "POST", "/realtime/sessions", .model = MODEL_BODY,
            JSON, .makes = MAKES_SECRET),
	ROW(API_REALTIME, "POST", "/realtime/transcription_sessions",
            .model = MODEL_BODY, JSON, .makes = MAKES_SECRET),
	ROW(API_REALTIME, "POST", "/realtime/calls", .model = MODEL_OBJECT,
            .body = BODY_SDP, .by_secret = true),
	ROW(API_REALTIME, "GET", "/realtime", .model = MODEL_QUERY,
            .upgrade = true),

	ROW(API_MODELS, "GET", "/deployments/{model}",
            .discover = DISCOVER_AZURE),
	ROW(API_MODELS, "GET", "/deployments", .discover = DISCOVER_AZURE),
	ROW(API_MODELS, "GET", "/models/{model}", .discover = DISCOVER_OPENAI),
	ROW(API_MODELS, "GET", "/models", .discover = DISCOVER_OPENAI),
};

enum { N_ROWS = sizeof(operations) / sizeof(operations[0]) };

/* Leads that say more than CALL_PLAIN. */
static const struct {
	struct str lead;
	enum api_surface surface;
} leads[] = {
	{STR_INIT("/openai/v1"), CALL_V1},
	{STR_INIT("/models"), CALL_MODELS},
};

static const char *const names[API_N_OPERATIONS] = {
	[API_NONE] = "none",
	[API_CHAT] = "chat",
	[API_COMPLETIONS] = "completions",
	[API_RESPONSES] = "responses",
	[API_EMBEDDINGS] = "embeddings",
	[API_MESSAGES] = "messages",
	[API_FILES] = "files",
	[API_BATCHES] = "batches",
	[API_VECTOR_STORES] = "vector_stores",
	[API_CONVERSATIONS] = "conversations",
	[API_IMAGES] = "images",
	[API_AUDIO] = "audio",
	[API_REALTIME] = "realtime",
	[API_MODELS] = "models",
};

static const struct str deployments = STR_INIT("/deployments");

/* Collections of which only the rows above are known: a path within one of
 * them is not that of another collection with a prefix. */
static const struct str collections[] = {
	STR_INIT("responses"),     STR_INIT("files"),
	STR_INIT("batches"),       STR_INIT("vector_stores"),
	STR_INIT("conversations"), STR_INIT("containers"),
	STR_INIT("threads"),       STR_INIT("assistants"),
	STR_INIT("evals"),         STR_INIT("fine_tuning"),
	STR_INIT("uploads"),       STR_INIT("realtime"),
	STR_INIT("runs"),          STR_INIT("organization"),
};

/* ------------------------------------------------------------- safe paths */

/* Bytes that have no business in a path here. ';' begins parameters, which
 * some servers cut off after routing; '\' is a slash to some. */
static bool is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && !memchr(";\\?#", c, 4);
}

/* A name that stands for something else than itself. */
static bool is_dots(struct str segment)
{
	return str_eq(segment, STR(".")) || str_eq(segment, STR(".."));
}

/* Plain bytes, and each segment a name: "//", a last "/", "." and ".." are
 * not. Escapes are looked at where they are allowed. */
static bool is_safe(struct str path)
{
	if (path.len == 0 || path.p[0] != '/')
		return false;
	for (size_t i = 0; i < path.len; i++)
		if (!is_plain((unsigned char)path.p[i]))
			return false;
	while (path.len > 0) {
		struct str rest = str_from(path, 1);
		struct str segment = str_first(rest, str_find(rest, '/'));

		if (segment.len == 0 || is_dots(segment))
			return false;
		path = str_from(rest, segment.len);
	}
	return true;
}

/* What an escape in {d} may stand for: text that is no path. */
static bool is_safe_name(struct str s)
{
	size_t n;

	if (s.len == 0 || is_dots(s))
		return false;
	for (; s.len > 0; s = str_from(s, n)) {
		unsigned char c = (unsigned char)s.p[0];

		n = utf8_len(s);
		if (n == 0 || c < ' ' || c == 0x7f || memchr("/\\%;", c, 4))
			return false;
	}
	return true;
}

/* False when an escape is malformed or stands for what no name may hold. */
static bool decode(struct str s, struct arena *arena, struct str *out)
{
	size_t n = 0;
	char *p;

	if (str_find(s, '%') == s.len) {
		*out = s;
		return true;
	}
	p = arena_alloc(arena, s.len);
	if (!p)
		return false;
	while (s.len > 0) {
		bool escaped = s.p[0] == '%';

		p[n] = s.p[0];
		if (escaped && (s.len < 3 || !str_unhex(str_of(s.p + 1, 2),
		                                        (uint8_t *)p + n, 1)))
			return false;
		n++;
		s = str_from(s, escaped ? 3 : 1);
	}
	*out = str_of(p, n);
	return is_safe_name(*out);
}

/* --------------------------------------------------------------- matching */

static bool has_segment(struct str path, struct str name)
{
	while (path.len > 0) {
		struct str rest = str_from(path, 1);
		struct str segment = str_first(rest, str_find(rest, '/'));

		if (str_eq_nocase(segment, name))
			return true;
		path = str_from(rest, segment.len);
	}
	return false;
}

/* Take "/deployments/{d}" off the end of *lead. Empty when it is not there. */
static struct str take_deployment(struct str *lead)
{
	size_t at = lead->len;
	struct str name, before;

	while (at > 0 && lead->p[at - 1] != '/')
		at--;
	if (at == 0)
		return STR_NONE;
	name = str_from(*lead, at);
	before = str_first(*lead, at - 1);
	if (!str_ends(before, deployments))
		return STR_NONE;
	*lead = str_first(before, before.len - deployments.len);
	return name;
}

static enum api_surface surface_of(struct str lead, const struct api_call *call)
{
	if (call->shape == SHAPE_ANTHROPIC)
		return CALL_ANTHROPIC;
	if (call->path_model.len > 0)
		return CALL_AZURE;
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++)
		if (str_eq(lead, leads[i].lead))
			return leads[i].surface;
	return CALL_PLAIN;
}

static bool is_id(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '-' || c == '_' ||
		      c == '.'))
			return false;
	}
	return s.len > 0 && s.len <= API_ID_LEN && !is_dots(s);
}

/* Take the last segment, with its slash, off the end of *s. */
static struct str take_last(struct str *s)
{
	size_t at = s->len;
	struct str last;

	while (at > 0 && s->p[at - 1] != '/')
		at--;
	last = str_from(*s, at);
	s->len = at > 0 ? at - 1 : 0;
	return last;
}

/* Does *path end with the row's pattern? Then cut it off there; the ids it
 * held are in *out, in the order of the path. */
static bool match_pattern(struct str pattern, struct str *path,
                          struct api_call *out)
{
	struct str left = *path, ids[API_IDS_MAX], model = STR_NONE;
	size_t n = 0;

	while (pattern.len > 0) {
		struct str want = take_last(&pattern), have;

		if (left.len == 0)
			return false;
		have = take_last(&left);
		if (want.p[0] != '{') {
			if (!str_eq(want, have))
				return false;
			continue;
		}
		if (str_eq(want, STR("{model}"))) {
			model = have;
			continue;
		}
		if (!is_id(have))
			return false;
		if (str_eq(want, STR("{id}")))
			ids[n++] = have;
	}
	out->suffix = str_from(*path, left.len);
	out->path_model = model;
	out->n_ids = n;
	for (size_t i = 0; i < n; i++)
		out->ids[i] = ids[n - 1 - i];
	*path = left;
	return true;
}

static bool is_in_collection(struct str lead)
{
	for (size_t i = 0; i < sizeof(collections) / sizeof(*collections); i++)
		if (has_segment(lead, collections[i]))
			return true;
	return false;
}

/* Fill *out from a path that row `op` matches; `lead` is what stands in
 * front. False when that is not acceptable. */
static bool fill(const struct operation *op, struct str lead,
                 struct arena *arena, struct api_call *out)
{
	bool takes_model = op->traits.model == MODEL_BODY;
	bool discovers = op->traits.discover != DISCOVER_NOT;
	struct str d = discovers ? out->path_model : take_deployment(&lead);

	/* a second {d}, or one in an unknown place, leaves it open which
	 * model is meant */
	if (has_segment(lead, STR("deployments")) ||
	    str_find(lead, '%') < lead.len)
		return false;
	/* Anthropic's list has a form of its own, which nobody asked for yet */
	if (discovers && has_segment(lead, STR("anthropic")))
		return false;
	if (!takes_model && !discovers && (d.len > 0 || is_in_collection(lead)))
		return false;
	if (!decode(d, arena, &out->path_model))
		return false;
	out->operation = op->operation;
	out->shape = op->shape;
	out->traits = op->traits;
	out->surface = surface_of(lead, out);
	return true;
}

/* What stands before version and pattern of a row; false when the path does
 * not end with them. */
static bool match(const struct operation *op, struct str path, struct str *lead,
                  struct api_call *out)
{
	if (!match_pattern(op->pattern, &path, out))
		return false;
	if (!str_ends(path, op->version))
		return false;
	path.len -= op->version.len;
	*lead = path;
	return true;
}

/* Also of what is no operation: its caller reads errors in one shape only. */
static enum api_shape shape_of(struct str path)
{
	struct str anthropic = STR("/anthropic"),
		   messages = STR("/v1/messages");
	bool prefix =
		str_starts(path, anthropic) &&
		(path.len == anthropic.len || path.p[anthropic.len] == '/');

	return prefix || str_starts(path, messages) ? SHAPE_ANTHROPIC
	                                            : SHAPE_OPENAI;
}

void operations_find(struct str method, struct str path, struct arena *arena,
                     struct api_call *out)
{
	struct api_call call = {.shape = shape_of(path)};
	const struct operation *first = NULL;

	*out = call;
	if (!is_safe(path))
		return;
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct operation *op = &operations[i];
		struct str lead;

		/* rows of one path differ in method and traits only */
		if (first && !str_eq(first->pattern, op->pattern))
			break;
		if (!first && !match(op, path, &lead, &call))
			continue;
		if (!first && !fill(op, lead, arena, &call))
			return;
		first = first ? first : op;
		if (str_eq(op->method, method)) {
			call.traits = op->traits;
			call.method_ok = true;
			break;
		}
	}
	if (first)
		*out = call;
}

const char *operations_name(enum api_operation op)
{
	return names[op];
}

enum api_operation operations_by_name(struct str name)
{
	for (unsigned i = API_NONE + 1; i < API_N_OPERATIONS; i++)
		if (str_eq(name, str_c(names[i])))
			return (enum api_operation)i;
	return API_NONE;
}

struct str operations_query_get(struct str query, struct str name)
{
	while (query.len > 0) {
		struct str pair = str_first(query, str_find(query, '&'));
		size_t eq = str_find(pair, '=');

		if (str_eq(str_first(pair, eq), name))
			return str_from(pair, eq + 1);
		query = str_from(query, pair.len + 1);
	}
	return STR_NONE;
}
