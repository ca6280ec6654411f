/*
 * api/operations: which operation of which API a request asks for.
 *
 *   /any/prefix [/deployments/{d}] /chat/completions
 *   '------------ lead ----------' '--- suffix ---'
 *
 *   operations_find: oper_is_safe_path   one reading only
 *                    oper_match_row      suffix == pattern of a row
 *                    oper_fill_call      lead -> {d}, surface
 *
 * The lead is free, because a Foundry connection puts its `target` in front of
 * the path. It only tells which dialect the caller speaks. The path for the
 * resource is built from the suffix, never from the lead (upstream/target).
 */
#include "api/operations.h"

#include "base/arena.h"
#include "base/utf8.h"

/* A row of the table. The first row whose pattern matches decides, so
 *
 * - a pattern comes before another one that it ends with
 *   ("/chat/completions" before "/completions");
 * - a word comes before an {id} in the same place;
 * - rows of one pattern, one for each method, come one after the other. They
 *   differ in method and traits only.
 *
 * In a pattern, {id} is an object, which must belong to the caller; {part} is
 * a name within the object before it, which needs no check of its own; {model}
 * is the name of a model and may have escapes. */
struct operation {
	enum api_operation operation;
	enum api_shape shape;
	struct str method;
	struct str version; /* must come directly before the pattern */
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
/* with its version, because paths of other APIs end with "/messages", too */
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

static const struct operation oper_rows[] = {
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
            .tokens = TOKENS_REPORTED, .upgrade = true),

	ROW(API_MODELS, "GET", "/deployments/{model}",
            .discover = DISCOVER_AZURE),
	ROW(API_MODELS, "GET", "/deployments", .discover = DISCOVER_AZURE),
	ROW(API_MODELS, "GET", "/models/{model}", .discover = DISCOVER_OPENAI),
	ROW(API_MODELS, "GET", "/models", .discover = DISCOVER_OPENAI),
};

enum { N_ROWS = sizeof(oper_rows) / sizeof(oper_rows[0]) };

/* Whole leads that name a surface; Azure's and Anthropic's are known by {d} and
 * by the row. */
static const struct {
	struct str lead;
	enum api_surface surface;
} oper_leads[] = {
	{STR_INIT("/openai/v1"), CALL_V1},
	{STR_INIT("/models"), CALL_MODELS},
};

static const char *const oper_names[API_N_OPERATIONS] = {
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

static const struct str oper_deployments = STR_INIT("/deployments");

/* The names of collections of objects. A lead is free text, so
 * "/threads/t1/files" would match the row "/files" with the lead "/threads/t1",
 * although it is an operation on a thread that the table does not have. A lead
 * with one of these names is refused. */
static const struct str oper_collections[] = {
	STR_INIT("responses"),     STR_INIT("files"),
	STR_INIT("batches"),       STR_INIT("vector_stores"),
	STR_INIT("conversations"), STR_INIT("containers"),
	STR_INIT("threads"),       STR_INIT("assistants"),
	STR_INIT("evals"),         STR_INIT("fine_tuning"),
	STR_INIT("uploads"),       STR_INIT("realtime"),
	STR_INIT("runs"),          STR_INIT("organization"),
};

/* ------------------------------------------------------------- safe paths */

/* False for bytes that no path of the table has and that servers treat
 * differently: ';' begins parameters, which some cut off after routing, and
 * some take '\' for a slash. */
static bool oper_is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && !memchr(";\\?#", c, 4);
}

/* The segments that refer to another directory (RFC 3986, 5.2.4). */
static bool oper_is_dots(struct str segment)
{
	return str_eq(segment, STR(".")) || str_eq(segment, STR(".."));
}

/* True when all bytes are plain and every segment is a name: an empty one
 * ("//", a slash at the end), "." and ".." are not. '%' passes here: where
 * escapes are allowed, oper_decode_model checks them, elsewhere oper_fill_call
 * refuses them. */
static bool oper_is_safe_path(struct str path)
{
	if (path.len == 0 || path.p[0] != '/')
		return false;
	for (size_t i = 0; i < path.len; i++)
		if (!oper_is_plain((unsigned char)path.p[i]))
			return false;
	while (path.len > 0) {
		struct str rest = str_from(path, 1);
		struct str segment = str_first(rest, str_find(rest, '/'));

		if (segment.len == 0 || oper_is_dots(segment))
			return false;
		path = str_from(rest, segment.len);
	}
	return true;
}

/* True when a decoded {d} cannot be read as a path or as another escape. */
static bool oper_is_safe_name(struct str s)
{
	size_t n;

	if (s.len == 0 || oper_is_dots(s))
		return false;
	for (; s.len > 0; s = str_from(s, n)) {
		unsigned char c = (unsigned char)s.p[0];

		n = utf8_len(s);
		if (n == 0 || c < ' ' || c == 0x7f || memchr("/\\%;", c, 4))
			return false;
	}
	return true;
}

/* Decode {d}. A view when it has no escapes, else in the arena. False when an
 * escape is malformed, the result is not a safe name, or the arena is full. */
static bool oper_decode_model(struct str s, struct arena *arena,
                              struct str *out)
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
	return oper_is_safe_name(*out);
}

/* --------------------------------------------------------------- matching */

/* True when a segment of the path is `name`, in any letter case. */
static bool oper_has_segment(struct str path, struct str name)
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

/* Remove "/deployments/{d}" from the end of *lead and return {d}. Empty, with
 * *lead untouched, when it is not there. */
static struct str oper_take_deployment(struct str *lead)
{
	size_t at = lead->len;
	struct str name, before;

	while (at > 0 && lead->p[at - 1] != '/')
		at--;
	if (at == 0)
		return STR_NONE;
	name = str_from(*lead, at);
	before = str_first(*lead, at - 1);
	if (!str_ends(before, oper_deployments))
		return STR_NONE;
	*lead = str_first(before, before.len - oper_deployments.len);
	return name;
}

static enum api_surface oper_find_surface(struct str lead,
                                          const struct api_call *call)
{
	if (call->shape == SHAPE_ANTHROPIC)
		return CALL_ANTHROPIC;
	if (call->path_model.len > 0)
		return CALL_AZURE;
	for (size_t i = 0; i < sizeof(oper_leads) / sizeof(oper_leads[0]); i++)
		if (str_eq(lead, oper_leads[i].lead))
			return oper_leads[i].surface;
	return CALL_PLAIN;
}

/* True for what an id can be. It goes into the path upstream as it is, and into
 * keys of the store. */
static bool oper_is_id(struct str s)
{
	return s.len > 0 && s.len <= API_ID_LEN && str_has_only(s, "-_.") &&
	       !oper_is_dots(s);
}

/* Remove the last segment and its slash from the end of *s and return the
 * segment, without the slash. */
static struct str oper_take_segment(struct str *s)
{
	size_t at = s->len;
	struct str last;

	while (at > 0 && s->p[at - 1] != '/')
		at--;
	last = str_from(*s, at);
	s->len = at > 0 ? at - 1 : 0;
	return last;
}

/* True when *path ends with the pattern. The matched part is then removed from
 * *path and is the suffix of *out, with its ids and model. Compares segment by
 * segment from the end, as the beginning of the path is free. */
static bool oper_match_pattern(struct str pattern, struct str *path,
                               struct api_call *out)
{
	struct str left = *path, ids[API_IDS_MAX], model = STR_NONE;
	size_t n = 0;

	while (pattern.len > 0) {
		struct str want = oper_take_segment(&pattern), have;

		if (left.len == 0)
			return false;
		have = oper_take_segment(&left);
		if (!str_starts(want, STR("{"))) {
			if (!str_eq(want, have))
				return false;
			continue;
		}
		if (str_eq(want, STR("{model}"))) {
			model = have;
			continue;
		}
		if (!oper_is_id(have))
			return false;
		if (str_eq(want, STR("{id}")))
			ids[n++] = have;
	}
	out->suffix = str_from(*path, left.len);
	out->path_model = model;
	out->n_ids = n;
	/* found from right to left */
	for (size_t i = 0; i < n; i++)
		out->ids[i] = ids[n - 1 - i];
	*path = left;
	return true;
}

static bool oper_is_in_collection(struct str lead)
{
	for (size_t i = 0;
	     i < sizeof(oper_collections) / sizeof(*oper_collections); i++)
		if (oper_has_segment(lead, oper_collections[i]))
			return true;
	return false;
}

/* Fill *out from the row that matched and from the lead in front of its version
 * and pattern. False when the lead makes the path ambiguous. */
static bool oper_fill_call(const struct operation *op, struct str lead,
                           struct arena *arena, struct api_call *out)
{
	bool takes_model = op->traits.model == MODEL_BODY;
	bool discovers = op->traits.discover != DISCOVER_NOT;
	struct str d =
		discovers ? out->path_model : oper_take_deployment(&lead);

	/* With a second {d}, or one in an unusual place, the resource could
	 * read another model from the path than this function does. */
	if (oper_has_segment(lead, STR("deployments")) ||
	    str_find(lead, '%') < lead.len)
		return false;
	/* Anthropic's list of models has a format of its own, which the agent
	 * does not write */
	if (discovers && oper_has_segment(lead, STR("anthropic")))
		return false;
	/* a row without a model in the path cannot have {d} */
	if (!takes_model && !discovers &&
	    (d.len > 0 || oper_is_in_collection(lead)))
		return false;
	if (!oper_decode_model(d, arena, &out->path_model))
		return false;
	out->operation = op->operation;
	out->shape = op->shape;
	out->traits = op->traits;
	out->surface = oper_find_surface(lead, out);
	return true;
}

/* True when the path ends with the version and the pattern of a row; *lead is
 * then what comes before them. */
static bool oper_match_row(const struct operation *op, struct str path,
                           struct str *lead, struct api_call *out)
{
	if (!oper_match_pattern(op->pattern, &path, out))
		return false;
	if (!str_ends(path, op->version))
		return false;
	path.len -= op->version.len;
	*lead = path;
	return true;
}

/* The shape of errors for a path, also for one without an operation: its client
 * understands only one. */
static enum api_shape oper_find_shape(struct str path)
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
	struct api_call call = {.shape = oper_find_shape(path)};
	const struct operation *first = NULL;

	*out = call;
	if (!oper_is_safe_path(path))
		return;
	for (size_t i = 0; i < N_ROWS; i++) {
		const struct operation *op = &oper_rows[i];
		struct str lead;

		/* the rows of a path end where the pattern changes */
		if (first && !str_eq(first->pattern, op->pattern))
			break;
		if (!first && !oper_match_row(op, path, &lead, &call))
			continue;
		if (!first && !oper_fill_call(op, lead, arena, &call))
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
	return oper_names[op];
}

enum api_operation operations_by_name(struct str name)
{
	for (unsigned i = API_NONE + 1; i < API_N_OPERATIONS; i++)
		if (str_eq(name, str_c(oper_names[i])))
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
