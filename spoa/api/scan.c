/*
 * api/scan: what the agent must know of a request body, in one pass.
 *
 *   body --base/jscan--> tokens --fields[]--> struct scan_result
 */
#include "api/scan.h"

#include "base/jscan.h"

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct str scan_member_names[SCAN_N_MEMBERS] = {
	[SCAN_INCLUDE_USAGE] = STR_INIT("include_usage"),
	[SCAN_MODEL] = STR_INIT("model"),
	[SCAN_STREAM_OPTIONS] = STR_INIT("stream_options"),
	[SCAN_MAX_TOKENS] = STR_INIT("max_tokens"),
	[SCAN_MAX_COMPLETION_TOKENS] = STR_INIT("max_completion_tokens"),
	[SCAN_MAX_OUTPUT_TOKENS] = STR_INIT("max_output_tokens"),
	[SCAN_REASONING_EFFORT] = STR_INIT("reasoning_effort"),
	[SCAN_DATA_SOURCES] = STR_INIT("data_sources"),
	[SCAN_TEMPERATURE] = STR_INIT("temperature"),
	[SCAN_TOP_P] = STR_INIT("top_p"),
	[SCAN_PRESENCE_PENALTY] = STR_INIT("presence_penalty"),
	[SCAN_FREQUENCY_PENALTY] = STR_INIT("frequency_penalty"),
	[SCAN_LOGPROBS] = STR_INIT("logprobs"),
	[SCAN_TOP_LOGPROBS] = STR_INIT("top_logprobs"),
	[SCAN_LOGIT_BIAS] = STR_INIT("logit_bias"),
	[SCAN_PARALLEL_TOOL_CALLS] = STR_INIT("parallel_tool_calls"),
	[SCAN_SEED] = STR_INIT("seed"),
	[SCAN_STOP] = STR_INIT("stop"),
	[SCAN_USER] = STR_INIT("user"),
	[SCAN_STORE] = STR_INIT("store"),
	[SCAN_METADATA] = STR_INIT("metadata"),
	[SCAN_SERVICE_TIER] = STR_INIT("service_tier"),
	[SCAN_VERBOSITY] = STR_INIT("verbosity"),
	[SCAN_PREDICTION] = STR_INIT("prediction"),
};

struct seen_key {
	struct str raw;
	uint64_t hash; /* of the unescaped bytes */
};

struct scanner {
	struct jscan s;
	enum jscan_token token; /* the last one */
	struct arena *arena;
	struct scan_result *out;
	enum scan_status status;
	bool data_key;          /* the last key was `data` */
	struct scan_span *span; /* of the member being read, or NULL */
	uint64_t choices, best_of, prompts;
};

/* A member that is read. The scanner stands on the first token of its value,
 * which is not null. */
struct field {
	struct str name;
	bool (*read)(struct scanner *c);
	const char *wrong; /* sentence when its value is not acceptable */
};

struct object {
	const struct field *fields;
	size_t n_fields;
	/* the spans to note: of these members */
	unsigned first_span, end_span;
	struct scan_object *place; /* or NULL */
	struct scan_span *last;    /* of the member before, or NULL */
	uint32_t prev_end;
	struct seen_key keys[SCAN_MAX_KEYS];
	size_t n_keys;
};

static bool bad(struct scanner *c, const char *error, size_t at)
{
	c->status = SCAN_BAD;
	c->out->error = error;
	c->out->error_at = at;
	return false;
}

/* ------------------------------------------------------------------- text */

/* Base64 of either alphabet; some writers escape its '/'. Any other escape is
 * refused: words written in escapes would pass for a picture. */
static bool is_base64(struct str s)
{
	static const bool digit[256] = {
		['A' ... 'Z'] = true, ['a' ... 'z'] = true,
		['0' ... '9'] = true, ['+'] = true,
		['/'] = true,         ['='] = true,
		['-'] = true,         ['_'] = true,
	};
	bool all = true;
	size_t i;

	for (i = 0; i < s.len && all; i++) {
		bool slash =
			s.p[i] == '\\' && i + 1 < s.len && s.p[i + 1] == '/';

		all = digit[(unsigned char)s.p[i]] || slash;
	}
	return all && s.len > 0;
}

/* RFC 2397, base64 only: what is not base64 costs tokens like other text. */
static bool is_data_url(struct str s)
{
	struct str head = str_first(s, 256);
	size_t comma;

	if (!str_starts_nocase(s, STR("data:")))
		return false;
	comma = str_find(head, ',');
	if (comma == head.len)
		return false;
	return str_ends(str_first(head, comma), STR(";base64")) &&
	       is_base64(str_from(s, comma + 1));
}

static void count_text(struct scanner *c, struct str raw, size_t decoded_len)
{
	enum { DATA_MIN = 64 }; /* a shorter `data` costs little anyway */
	bool member = c->data_key && raw.len >= DATA_MIN && is_base64(raw);

	if (member || is_data_url(raw))
		c->out->n_data_urls++;
	else
		c->out->text_bytes += decoded_len;
}

/* Go on to the next token. False when there is none. */
static bool next(struct scanner *c)
{
	c->token = jscan_next(&c->s);
	switch (c->token) {
	case JSCAN_BAD:
		return bad(c, c->s.error, c->s.error_at);
	case JSCAN_PARTIAL:
		c->status = SCAN_PARTIAL;
		count_text(c, c->s.text, c->s.decoded_len);
		return false;
	case JSCAN_END:
		return false;
	case JSCAN_STRING:
		count_text(c, c->s.text, c->s.decoded_len);
		break;
	default:
		break;
	}
	c->data_key = c->token == JSCAN_KEY && str_eq(c->s.text, STR("data"));
	return true;
}

/* Step over the rest of the value whose first token was just read. */
static bool skip_value(struct scanner *c)
{
	unsigned inside = c->s.depth;

	if (c->token != JSCAN_OBJECT && c->token != JSCAN_ARRAY)
		return true;
	while (c->s.depth >= inside)
		if (!next(c))
			return false;
	return true;
}

/* ----------------------------------------------------------------- fields */

static bool read_string(struct scanner *c, struct str *out)
{
	if (c->token != JSCAN_STRING || c->s.decoded_len > SCAN_MAX_NAME)
		return false;
	*out = jscan_str(&c->s, c->arena);
	return true;
}

static bool read_bool(struct scanner *c, bool *out)
{
	*out = c->token == JSCAN_TRUE;
	return c->token == JSCAN_TRUE || c->token == JSCAN_FALSE;
}

static bool read_number(struct scanner *c, uint64_t *out)
{
	return c->token == JSCAN_NUMBER && jscan_to_u53(c->s.text, out);
}

static bool read_model(struct scanner *c)
{
	c->out->has_model = read_string(c, &c->out->model);
	return c->out->has_model;
}

static bool read_previous(struct scanner *c)
{
	return read_string(c, &c->out->previous_response_id);
}

static bool read_cache_key(struct scanner *c)
{
	return read_string(c, &c->out->prompt_cache_key);
}

static bool read_stream(struct scanner *c)
{
	return read_bool(c, &c->out->stream);
}

static bool read_include_usage(struct scanner *c)
{
	return read_bool(c, &c->out->include_usage);
}

static bool read_max(struct scanner *c)
{
	uint64_t v;

	if (!read_number(c, &v))
		return false;
	if (c->span)
		c->span->number = v;
	if (v > c->out->max_output)
		c->out->max_output = v;
	c->out->has_max_output = true;
	return true;
}

static bool read_choices(struct scanner *c)
{
	return read_number(c, &c->choices) && c->choices >= 1 &&
	       c->choices <= SCAN_MAX_CHOICES;
}

static bool read_best_of(struct scanner *c)
{
	return read_number(c, &c->best_of) && c->best_of >= 1 &&
	       c->best_of <= SCAN_MAX_CHOICES;
}

/* `input` and `prompt`: text, or arrays of texts or of token ids. */
static bool read_input(struct scanner *c)
{
	unsigned inside = c->s.depth;

	if (c->token != JSCAN_ARRAY)
		return skip_value(c);
	while (next(c) && c->s.depth >= inside)
		if (c->token == JSCAN_NUMBER)
			c->out->text_bytes += SCAN_TOKEN_ID_BYTES;
	return c->status == SCAN_OK;
}

/* Each text, and each array of token ids, of `prompt` is answered alone. */
static bool read_prompt(struct scanner *c)
{
	unsigned inside = c->s.depth;

	if (c->token != JSCAN_ARRAY)
		return skip_value(c);
	while (next(c) && c->s.depth >= inside) {
		if (c->token == JSCAN_NUMBER)
			c->out->text_bytes += SCAN_TOKEN_ID_BYTES;
		if ((c->token == JSCAN_STRING && c->s.depth == inside) ||
		    (c->token == JSCAN_ARRAY && c->s.depth == inside + 1))
			c->prompts++;
	}
	return c->status == SCAN_OK;
}

static bool read_stream_options(struct scanner *c);
static bool read_reasoning(struct scanner *c);

static const char wrong_max[] =
	"the limit of output tokens must be a whole number of 0 or more";

/* Of another type it is the upstream's to refuse. */
static bool read_effort(struct scanner *c)
{
	if (!read_string(c, &c->out->reasoning_effort))
		return skip_value(c);
	return true;
}

static const struct field top_fields[] = {
	{STR_INIT("model"), read_model,
         "`model` must be a string of at most 1024 bytes"},
	{STR_INIT("stream"), read_stream, "`stream` must be true or false"},
	{STR_INIT("stream_options"), read_stream_options,
         "`stream_options` must be an object"},
	{STR_INIT("max_tokens"), read_max, wrong_max},
	{STR_INIT("max_completion_tokens"), read_max, wrong_max},
	{STR_INIT("max_output_tokens"), read_max, wrong_max},
	{STR_INIT("n"), read_choices, "`n` must be a number from 1 to 128"},
	{STR_INIT("best_of"), read_best_of,
         "`best_of` must be a number from 1 to 128"},
	{STR_INIT("previous_response_id"), read_previous,
         "`previous_response_id` must be a string of at most 1024 bytes"},
	{STR_INIT("prompt_cache_key"), read_cache_key,
         "`prompt_cache_key` must be a string of at most 1024 bytes"},
	{STR_INIT("reasoning_effort"), read_effort, NULL},
	{STR_INIT("input"), read_input, NULL},
	{STR_INIT("prompt"), read_prompt, NULL},
	{STR_INIT("reasoning"), read_reasoning,
         "`reasoning` must be an object"},
	/* read by api/refs; here only so that no other spelling passes */
	{STR_INIT("session"), skip_value, NULL},
	{STR_INIT("conversation"), skip_value, NULL},
	{STR_INIT("background"), skip_value, NULL},
	{STR_INIT("store"), skip_value, NULL},
};

static const struct field stream_options_fields[] = {
	{STR_INIT("include_usage"), read_include_usage,
         "`include_usage` must be true or false"},
};

/* ---------------------------------------------------------------- objects */

static uint64_t fnv1a(struct str s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
	return h;
}

/* Remember the key just read; false when this object had it before. */
static bool remember_key(struct scanner *c, struct object *o, struct str name)
{
	struct seen_key key = {c->s.text, fnv1a(name)};

	for (size_t i = 0; i < o->n_keys; i++)
		if (o->keys[i].hash == key.hash &&
		    jscan_compare(o->keys[i].raw, key.raw) == 0)
			return bad(c, "a key stands twice", c->s.at);
	if (o->n_keys == SCAN_MAX_KEYS)
		return bad(c, "an object has too many keys", c->s.at);
	o->keys[o->n_keys++] = key;
	return true;
}

/* Note where the member begins whose key was just read. */
static void begin_span(struct scanner *c, struct object *o, struct str name)
{
	struct scan_span *span = NULL;
	unsigned i;

	if (o->last)
		o->last->next = (uint32_t)c->s.at;
	for (i = o->first_span; i < o->end_span && !span; i++)
		if (str_eq(scan_member_names[i], name))
			span = &c->out->spans[i];
	o->last = span;
	if (!span)
		return;
	*span = (struct scan_span){
		.found = true,
		.index = (unsigned)o->n_keys - 1,
		.key = (uint32_t)c->s.at,
		.key_end = (uint32_t)(c->s.at + c->s.text.len + 2),
		.prev_end = o->prev_end,
	};
}

/* The field of the key just read into *out, NULL when it is none of ours.
 * False when the key is not acceptable. */
static bool find_field(struct scanner *c, struct object *o,
                       const struct field **out)
{
	char text[SCAN_MAX_KEY_LEN];
	struct str name;

	*out = NULL;
	if (c->s.decoded_len > sizeof(text) || c->s.text.len > 6 * sizeof(text))
		return bad(c, "a key is too long", c->s.at);
	name = str_of(text, jscan_unescape(c->s.text, text));
	if (!remember_key(c, o, name))
		return false;
	begin_span(c, o, name);
	for (size_t i = 0; i < o->n_fields && !*out; i++) {
		if (!str_eq_nocase(o->fields[i].name, name))
			continue;
		if (!str_eq(o->fields[i].name, name))
			return bad(c,
			           "a key differs from a known one in letter "
			           "case only",
			           c->s.at);
		*out = &o->fields[i];
	}
	return true;
}

static bool read_value(struct scanner *c, const struct field *field)
{
	size_t at = c->s.at;

	if (!field)
		return skip_value(c);
	if (c->token == JSCAN_NULL)
		return true;
	if (field->read(c))
		return true;
	return c->status == SCAN_OK ? bad(c, field->wrong, at) : false;
}

static bool read_member(struct scanner *c, struct object *o)
{
	const struct field *field;
	struct scan_span *span;

	if (!find_field(c, o, &field))
		return false;
	span = o->last;
	if (!next(c))
		return false;
	if (span) {
		span->value = (uint32_t)c->s.at;
		span->null = c->token == JSCAN_NULL;
	}
	c->span = span;
	if (!read_value(c, field))
		return false;
	o->prev_end = (uint32_t)jscan_pos(&c->s);
	if (span)
		span->end = o->prev_end;
	return true;
}

/* The object whose brace was just read, to its end. */
static bool read_object(struct scanner *c, struct object *o)
{
	o->prev_end = (uint32_t)jscan_pos(&c->s);
	if (o->place)
		o->place->inside = o->prev_end;
	while (next(c) && c->token == JSCAN_KEY)
		if (!read_member(c, o))
			return false;
	if (o->place)
		o->place->n_members = (unsigned)o->n_keys;
	return c->token == JSCAN_OBJECT_END;
}

/* Not initialised whole: its list of keys is large. */
static void object_init(struct object *o, const struct field *fields,
                        size_t n_fields)
{
	o->fields = fields;
	o->n_fields = n_fields;
	o->first_span = o->end_span = 0;
	o->place = NULL;
	o->last = NULL;
	o->n_keys = 0;
}

static bool read_stream_options(struct scanner *c)
{
	struct object o;

	if (c->token != JSCAN_OBJECT)
		return false;
	c->out->has_stream_options = true;
	object_init(&o, stream_options_fields, N(stream_options_fields));
	o.first_span = SCAN_INCLUDE_USAGE;
	o.end_span = SCAN_INCLUDE_USAGE + 1;
	o.place = &c->out->stream_options;
	return read_object(c, &o);
}

static bool read_reasoning(struct scanner *c)
{
	struct object o;

	object_init(&o, NULL, 0);
	return c->token == JSCAN_OBJECT && read_object(c, &o);
}

static bool read_document(struct scanner *c)
{
	struct object o;

	if (!next(c))
		return false;
	if (c->token != JSCAN_OBJECT)
		return bad(c, "the body must be one JSON object", c->s.at);
	object_init(&o, top_fields, N(top_fields));
	o.first_span = SCAN_FIRST_TOP;
	o.end_span = SCAN_N_MEMBERS;
	o.place = &c->out->top;
	return read_object(c, &o);
}

static uint64_t answers(const struct scanner *c)
{
	uint64_t each = c->best_of > c->choices ? c->best_of : c->choices;

	return (each > 0 ? each : 1) * (c->prompts > 0 ? c->prompts : 1);
}

enum scan_status scan_body(struct str body, struct arena *arena,
                           struct scan_result *out)
{
	struct scanner c = {.arena = arena, .out = out};

	*out = (struct scan_result){0};
	jscan_init(&c.s, body, SCAN_MAX_DEPTH);
	if (read_document(&c))
		next(&c); /* the end, or what should not be there */
	out->n = answers(&c);
	return c.status;
}
