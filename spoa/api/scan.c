/*
 * api/scan: what the agent must know of a JSON request body, in one pass.
 *
 *   body --jscan--> scan_next        every token: errors, size of the text
 *                   scan_read_object an object whose keys are read:
 *                     scan_find_field  duplicates, letter case, place
 *                     scan_read_value  scan_*_fields[] -> struct scan_result
 *                   scan_skip_value  all other objects and arrays
 *
 * All tokens go through scan_next(), so text_bytes counts the whole body
 * whatever the members are.
 *
 * A function that reads returns true when it has consumed its value. False
 * means that the scan is over: `status` is SCAN_BAD or SCAN_PARTIAL, or it is
 * still SCAN_OK and the value has the wrong type, which scan_read_value() turns
 * into the error of the field.
 */
#include "api/scan.h"

#include "base/fold.h"
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

/* A key of an object that is read. */
struct seen_key {
	struct str raw; /* still escaped; a view into the body */
	uint64_t hash;  /* of the unescaped bytes */
};

struct scanner {
	struct jscan s;
	enum jscan_token token; /* the last token */
	struct arena *arena;
	struct scan_result *out;
	enum scan_status status;
	bool data_key;          /* the last key was `data` */
	struct scan_span *span; /* of the member being read, or NULL */
	uint64_t choices, best_of, prompts; /* 0: absent */
	struct refs_reader *refs;           /* sees every token, too; or NULL */
};

/* A known member. `read` is called with the first token of its value, which is
 * not null, as the last token of the scanner. */
struct scan_field {
	struct str name;
	bool (*read)(struct scanner *c);
	const char *wrong; /* the error when `read` refuses the value */
};

/* An object whose keys are read. */
struct scan_level {
	const struct scan_field *fields;
	size_t n_fields;
	unsigned first_span, end_span; /* members whose place is noted: a range
	                                * of enum scan_member */
	struct scan_object *place;     /* of the object itself, or NULL */
	struct scan_span *last; /* of the member before, or NULL: its `next` is
	                         * not known yet */
	uint32_t prev_end;      /* as in struct scan_span */
	struct seen_key keys[SCAN_MAX_KEYS];
	size_t n_keys;
};

/* Refuse the body for the byte at offset `at`. Always false. */
static bool scan_fail(struct scanner *c, const char *error, size_t at)
{
	c->status = SCAN_BAD;
	c->out->error = error;
	c->out->error_at = at;
	return false;
}

/* ------------------------------------------------------------------- text */

/* True for base64 of either alphabet (RFC 4648); some writers escape its '/'. A
 * string with any other escape is text: base64 costs a flat estimate, and text
 * whose blanks are written as escapes must not pass for it. */
static bool scan_is_base64(struct str s)
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

/* True for a data: URL (RFC 2397) with base64. One without is text: the model
 * reads it as such. */
static bool scan_is_data_url(struct str s)
{
	struct str head = str_first(s, 256); /* media type and parameters */
	size_t comma;

	if (!str_starts_nocase(s, STR("data:")))
		return false;
	comma = str_find(head, ',');
	if (comma == head.len)
		return false;
	return str_ends(str_first(head, comma), STR(";base64")) &&
	       scan_is_base64(str_from(s, comma + 1));
}

/* Count a string that is not a key. `raw` is as written. */
static void scan_count_text(struct scanner *c, struct str raw,
                            size_t decoded_len)
{
	/* A shorter value of `data` is counted as text: it may be a word, and
	 * it costs little. */
	enum { DATA_MIN = 64 };
	bool member = c->data_key && raw.len >= DATA_MIN && scan_is_base64(raw);

	if (member || scan_is_data_url(raw))
		c->out->n_data_urls++;
	else
		c->out->text_bytes += decoded_len;
}

/* Read the next token. False at the end of the document and on errors; then
 * `status` is set. */
static bool scan_next(struct scanner *c)
{
	c->token = jscan_next(&c->s);
	switch (c->token) {
	case JSCAN_BAD:
		return scan_fail(c, c->s.error, c->s.error_at);
	case JSCAN_PARTIAL:
		c->status = SCAN_PARTIAL;
		scan_count_text(c, c->s.text, c->s.decoded_len);
		return false;
	case JSCAN_END:
		return false;
	case JSCAN_STRING:
		scan_count_text(c, c->s.text, c->s.decoded_len);
		break;
	default:
		break;
	}
	c->data_key = c->token == JSCAN_KEY && str_eq(c->s.text, STR("data"));
	if (c->refs)
		refs_on_token(c->refs, &c->s, c->token);
	return true;
}

/* Skip the rest of the value whose first token was just read. */
static bool scan_skip_value(struct scanner *c)
{
	unsigned inside = c->s.depth;

	if (c->token != JSCAN_OBJECT && c->token != JSCAN_ARRAY)
		return true;
	while (c->s.depth >= inside)
		if (!scan_next(c))
			return false;
	return true;
}

/* ----------------------------------------------------------------- fields */

static bool scan_read_string(struct scanner *c, struct str *out)
{
	if (c->token != JSCAN_STRING || c->s.decoded_len > SCAN_MAX_NAME)
		return false;
	*out = jscan_str(&c->s, c->arena);
	return true;
}

static bool scan_read_bool(struct scanner *c, bool *out)
{
	*out = c->token == JSCAN_TRUE;
	return c->token == JSCAN_TRUE || c->token == JSCAN_FALSE;
}

static bool scan_read_number(struct scanner *c, uint64_t *out)
{
	return c->token == JSCAN_NUMBER && jscan_to_u53(c->s.text, out);
}

static bool scan_read_model(struct scanner *c)
{
	c->out->has_model = scan_read_string(c, &c->out->model);
	return c->out->has_model;
}

static bool scan_read_previous_id(struct scanner *c)
{
	return scan_read_string(c, &c->out->previous_response_id);
}

static bool scan_read_cache_key(struct scanner *c)
{
	return scan_read_string(c, &c->out->prompt_cache_key);
}

static bool scan_read_stream(struct scanner *c)
{
	return scan_read_bool(c, &c->out->stream);
}

static bool scan_read_include_usage(struct scanner *c)
{
	return scan_read_bool(c, &c->out->include_usage);
}

/* A limit of output tokens. Of several the largest counts: which one the model
 * obeys depends on the API version. */
static bool scan_read_max_output(struct scanner *c)
{
	uint64_t v;

	if (!scan_read_number(c, &v))
		return false;
	if (c->span)
		c->span->number = v;
	if (v > c->out->max_output)
		c->out->max_output = v;
	c->out->has_max_output = true;
	return true;
}

static bool scan_read_choices(struct scanner *c)
{
	return scan_read_number(c, &c->choices) && c->choices >= 1 &&
	       c->choices <= SCAN_MAX_CHOICES;
}

static bool scan_read_best_of(struct scanner *c)
{
	return scan_read_number(c, &c->best_of) && c->best_of >= 1 &&
	       c->best_of <= SCAN_MAX_CHOICES;
}

/* `input`: text, an array of texts or of token ids, or items with text. */
static bool scan_read_input(struct scanner *c)
{
	unsigned inside = c->s.depth;

	if (c->token != JSCAN_ARRAY)
		return scan_skip_value(c);
	while (scan_next(c) && c->s.depth >= inside)
		if (c->token == JSCAN_NUMBER)
			c->out->text_bytes += SCAN_TOKEN_ID_BYTES;
	return c->status == SCAN_OK;
}

/* `prompt`: text, or an array. Each text and each array of token ids in it gets
 * an answer of its own; a plain array of token ids is one prompt. */
static bool scan_read_prompt(struct scanner *c)
{
	unsigned inside = c->s.depth;

	if (c->token != JSCAN_ARRAY)
		return scan_skip_value(c);
	while (scan_next(c) && c->s.depth >= inside) {
		if (c->token == JSCAN_NUMBER)
			c->out->text_bytes += SCAN_TOKEN_ID_BYTES;
		if ((c->token == JSCAN_STRING && c->s.depth == inside) ||
		    (c->token == JSCAN_ARRAY && c->s.depth == inside + 1))
			c->prompts++;
	}
	return c->status == SCAN_OK;
}

static bool scan_read_stream_options(struct scanner *c);
static bool scan_read_reasoning(struct scanner *c);

static const char scan_wrong_max[] =
	"the limit of output tokens must be a whole number of 0 or more";

/* Only for decide/adapt: a value of another type is left to the resource. */
static bool scan_read_effort(struct scanner *c)
{
	if (!scan_read_string(c, &c->out->reasoning_effort))
		return scan_skip_value(c);
	return true;
}

static const struct scan_field scan_top_fields[] = {
	{STR_INIT("model"), scan_read_model,
         "`model` must be a string of at most 1024 bytes"},
	{STR_INIT("stream"), scan_read_stream,
         "`stream` must be true or false"},
	{STR_INIT("stream_options"), scan_read_stream_options,
         "`stream_options` must be an object"},
	{STR_INIT("max_tokens"), scan_read_max_output, scan_wrong_max},
	{STR_INIT("max_completion_tokens"), scan_read_max_output,
         scan_wrong_max},
	{STR_INIT("max_output_tokens"), scan_read_max_output, scan_wrong_max},
	{STR_INIT("n"), scan_read_choices,
         "`n` must be a number from 1 to 128"},
	{STR_INIT("best_of"), scan_read_best_of,
         "`best_of` must be a number from 1 to 128"},
	{STR_INIT("previous_response_id"), scan_read_previous_id,
         "`previous_response_id` must be a string of at most 1024 bytes"},
	{STR_INIT("prompt_cache_key"), scan_read_cache_key,
         "`prompt_cache_key` must be a string of at most 1024 bytes"},
	{STR_INIT("reasoning_effort"), scan_read_effort, NULL},
	{STR_INIT("input"), scan_read_input, NULL},
	{STR_INIT("prompt"), scan_read_prompt, NULL},
	{STR_INIT("reasoning"), scan_read_reasoning,
         "`reasoning` must be an object"},
	/* read by api/refs; they are here so that look-alikes are refused */
	{STR_INIT("session"), scan_skip_value, NULL},
	{STR_INIT("input_audio_transcription"), scan_skip_value, NULL},
	{STR_INIT("conversation"), scan_skip_value, NULL},
	{STR_INIT("background"), scan_skip_value, NULL},
	{STR_INIT("items"), scan_skip_value, NULL},
	{STR_INIT("tools"), scan_skip_value, NULL},
	{STR_INIT("container"), scan_skip_value, NULL},
	{STR_INIT("fallbacks"), scan_skip_value, NULL},
	{STR_INIT("agent"), scan_skip_value, NULL},
	{STR_INIT("agent_reference"), scan_skip_value, NULL},
};

static const struct scan_field scan_stream_options_fields[] = {
	{STR_INIT("include_usage"), scan_read_include_usage,
         "`include_usage` must be true or false"},
};

/* ---------------------------------------------------------------- objects */

/* FNV-1a. Collisions that a client chooses cost a comparison of the keys, of
 * which there are at most SCAN_MAX_KEYS. */
static uint64_t scan_hash(struct str s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
	return h;
}

/* Add the key just read to those of the object. False when it is there. */
static bool scan_add_key(struct scanner *c, struct scan_level *o,
                         struct str name)
{
	struct seen_key key = {c->s.text, scan_hash(name)};

	for (size_t i = 0; i < o->n_keys; i++)
		if (o->keys[i].hash == key.hash &&
		    jscan_compare(o->keys[i].raw, key.raw) == 0)
			return scan_fail(c, "a key occurs twice", c->s.at);
	if (o->n_keys == SCAN_MAX_KEYS)
		return scan_fail(c, "an object has too many keys", c->s.at);
	o->keys[o->n_keys++] = key;
	return true;
}

/* Note the place of the member whose key was just read, if it is one of enum
 * scan_member, and complete the one before it. */
static void scan_begin_span(struct scanner *c, struct scan_level *o,
                            struct str name)
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
		.key_end = (uint32_t)(c->s.at + c->s.text.len + 2), /* quotes */
		.prev_end = o->prev_end,
	};
}

/* The known name that a resource which folds names (base/fold) takes the key
 * for; empty when there is none. */
static struct str scan_looks_like(const struct scan_level *o, struct str name)
{
	for (size_t i = 0; i < o->n_fields; i++)
		if (fold_eq(o->fields[i].name, name))
			return o->fields[i].name;
	for (unsigned i = o->first_span; i < o->end_span; i++)
		if (fold_eq(scan_member_names[i], name))
			return scan_member_names[i];
	return STR_NONE;
}

/* Set *out to the field of the key just read, NULL for an unknown key. False
 * when the key is refused. */
static bool scan_find_field(struct scanner *c, struct scan_level *o,
                            const struct scan_field **out)
{
	char text[SCAN_MAX_KEY_LEN];
	struct str name;

	*out = NULL;
	if (c->s.decoded_len > sizeof(text) || c->s.text.len > 6 * sizeof(text))
		return scan_fail(c, "a key is too long", c->s.at);
	name = str_of(text, jscan_unescape(c->s.text, text));
	if (!scan_add_key(c, o, name))
		return false;
	scan_begin_span(c, o, name);
	for (size_t i = 0; i < o->n_fields && !*out; i++)
		if (str_eq(o->fields[i].name, name))
			*out = &o->fields[i];
	if (*out || o->last)
		return true;
	c->out->error_name = scan_looks_like(o, name);
	if (c->out->error_name.len > 0)
		return scan_fail(
			c, "a key differs from a known one in letter case only",
			c->s.at);
	return true;
}

static bool scan_read_value(struct scanner *c, const struct scan_field *field)
{
	size_t at = c->s.at; /* of the value, for its error */

	if (!field)
		return scan_skip_value(c);
	if (c->token == JSCAN_NULL)
		return true;
	if (field->read(c))
		return true;
	return c->status == SCAN_OK ? scan_fail(c, field->wrong, at) : false;
}

/* Read the member whose key was just read. */
static bool scan_read_member(struct scanner *c, struct scan_level *o)
{
	const struct scan_field *field;
	struct scan_span *span;

	if (!scan_find_field(c, o, &field))
		return false;
	span = o->last;
	if (!scan_next(c))
		return false;
	if (span) {
		span->value = (uint32_t)c->s.at;
		span->null = c->token == JSCAN_NULL;
	}
	c->span = span;
	if (!scan_read_value(c, field))
		return false;
	o->prev_end = (uint32_t)jscan_pos(&c->s);
	if (span)
		span->end = o->prev_end;
	return true;
}

/* Read the object whose opening brace was just read, to its end. */
static bool scan_read_object(struct scanner *c, struct scan_level *o)
{
	o->prev_end = (uint32_t)jscan_pos(&c->s);
	if (o->place)
		o->place->inside = o->prev_end;
	while (scan_next(c) && c->token == JSCAN_KEY)
		if (!scan_read_member(c, o))
			return false;
	if (o->place)
		o->place->n_members = (unsigned)o->n_keys;
	return c->token == JSCAN_OBJECT_END;
}

/* An initialiser would also clear the 3 kB of keys, for each body. */
static void scan_level_init(struct scan_level *o,
                            const struct scan_field *fields, size_t n_fields)
{
	o->fields = fields;
	o->n_fields = n_fields;
	o->first_span = o->end_span = 0;
	o->place = NULL;
	o->last = NULL;
	o->n_keys = 0;
}

static bool scan_read_stream_options(struct scanner *c)
{
	struct scan_level o;

	if (c->token != JSCAN_OBJECT)
		return false;
	c->out->has_stream_options = true;
	scan_level_init(&o, scan_stream_options_fields,
	                N(scan_stream_options_fields));
	o.first_span = SCAN_INCLUDE_USAGE;
	o.end_span = SCAN_INCLUDE_USAGE + 1;
	o.place = &c->out->stream_options;
	return scan_read_object(c, &o);
}

static bool scan_read_reasoning(struct scanner *c)
{
	struct scan_level o;

	scan_level_init(&o, NULL, 0);
	return c->token == JSCAN_OBJECT && scan_read_object(c, &o);
}

static bool scan_read_document(struct scanner *c)
{
	struct scan_level o;

	if (!scan_next(c))
		return false;
	if (c->token != JSCAN_OBJECT)
		return scan_fail(c, "the body must be one JSON object",
		                 c->s.at);
	scan_level_init(&o, scan_top_fields, N(scan_top_fields));
	o.first_span = SCAN_FIRST_TOP;
	o.end_span = SCAN_N_MEMBERS;
	o.place = &c->out->top;
	return scan_read_object(c, &o);
}

/* The answers that will be generated and charged: each prompt is answered `n`
 * times, or `best_of` times where that is larger. */
static uint64_t scan_count_answers(const struct scanner *c)
{
	uint64_t each = c->best_of > c->choices ? c->best_of : c->choices;

	return (each > 0 ? each : 1) * (c->prompts > 0 ? c->prompts : 1);
}

enum scan_status scan_body_refs(struct str body, struct arena *arena,
                                struct scan_result *out, struct refs *refs)
{
	struct scanner c = {.arena = arena, .out = out};
	struct refs_reader reader;

	*out = (struct scan_result){0};
	if (refs) {
		refs_begin(&reader, arena, refs);
		c.refs = &reader;
	}
	jscan_init(&c.s, body, SCAN_MAX_DEPTH);
	if (scan_read_document(&c))
		scan_next(&c); /* JSCAN_END, or an error for what follows */
	out->n = scan_count_answers(&c);
	return c.status;
}

enum scan_status scan_body(struct str body, struct arena *arena,
                           struct scan_result *out)
{
	return scan_body_refs(body, arena, out, NULL);
}
