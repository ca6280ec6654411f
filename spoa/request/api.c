/*
 * request/api: method + path -> operation, and where the model stands.
 *
 *   /any/prefix [/deployments/{d}] /chat/completions
 *   '------------ lead ----------' '--- suffix ---'
 *
 * Foundry connections put whatever their `target` says in front, so the lead
 * is free; it only says how the caller addressed us. The upstream's path is
 * never made from it.
 */
#include "request/api.h"

#include "base/arena.h"
#include "base/utf8.h"

/* One operation. With a further method on the same path it gets a further
 * row; a longer suffix stands before the shorter one it ends with. */
struct operation {
	enum api_operation operation;
	enum api_shape shape;
	struct str method;
	struct str version; /* must stand directly in front of the suffix */
	struct str suffix;
};

static const struct operation operations[] = {
	{API_CHAT, SHAPE_OPENAI, STR_INIT("POST"), STR_INIT(""),
         STR_INIT("/chat/completions")},
	{API_COMPLETIONS, SHAPE_OPENAI, STR_INIT("POST"), STR_INIT(""),
         STR_INIT("/completions")},
	{API_RESPONSES, SHAPE_OPENAI, STR_INIT("POST"), STR_INIT(""),
         STR_INIT("/responses")},
	{API_EMBEDDINGS, SHAPE_OPENAI, STR_INIT("POST"), STR_INIT(""),
         STR_INIT("/embeddings")},
	/* with its version, because "/messages" also ends other APIs' paths */
	{API_MESSAGES, SHAPE_ANTHROPIC, STR_INIT("POST"), STR_INIT("/v1"),
         STR_INIT("/messages")},
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
};

static const struct str deployments = STR_INIT("/deployments");

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

/* Fill *out from a path that row `op` matches; `lead` is what stands in
 * front. False when that is not acceptable. */
static bool fill(const struct operation *op, struct str lead,
                 struct arena *arena, struct api_call *out)
{
	struct str d = take_deployment(&lead);

	/* a second {d}, or one in an unknown place, leaves it open which
	 * model is meant */
	if (has_segment(lead, STR("deployments")) ||
	    str_find(lead, '%') < lead.len)
		return false;
	if (!decode(d, arena, &out->path_model))
		return false;
	out->operation = op->operation;
	out->shape = op->shape;
	out->suffix = op->suffix;
	out->surface = surface_of(lead, out);
	return true;
}

/* What stands before version and suffix of a row; false when the path does
 * not end with them. */
static bool match(const struct operation *op, struct str path, struct str *lead)
{
	if (!str_ends(path, op->suffix))
		return false;
	path.len -= op->suffix.len;
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

void api_find(struct str method, struct str path, struct arena *arena,
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

		if (!match(op, path, &lead))
			continue;
		/* rows of one path differ in their methods only */
		if (first && !str_eq(first->suffix, op->suffix))
			break;
		if (!first && !fill(op, lead, arena, &call))
			return;
		first = first ? first : op;
		if (str_eq(op->method, method)) {
			call.operation = op->operation;
			call.method_ok = true;
			break;
		}
	}
	if (first)
		*out = call;
}

const char *api_operation_name(enum api_operation op)
{
	return names[op];
}

enum api_operation api_operation_of(struct str name)
{
	for (unsigned i = API_NONE + 1; i < API_N_OPERATIONS; i++)
		if (str_eq(name, str_c(names[i])))
			return (enum api_operation)i;
	return API_NONE;
}

struct str api_query_get(struct str query, struct str name)
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
