/*
 * api/refs: the objects of a resource that a JSON body refers to.
 *
 *   body --refs_may_refer--> most bodies end here
 *        --jscan--> refs_on_token -> refs_on_key, refs_on_string -> struct refs
 *
 * The state is small: the member of the top level that the token is in, the
 * last key, and the list of ids that the token is in. Depths are those of
 * jscan: a member of the top level has depth 1, a member of an object in it 2;
 * the elements of an array have the depth of the array.
 */
#include "api/refs.h"

#include "base/jscan.h"

enum {
	DEPTH_MAX = 128,   /* that of api/scan: nothing is deeper */
	NAME_MAX_LEN = 32, /* more than the longest name of the table */
};

enum refs_name {
	NAME_OTHER = 0,
	NAME_ID = 1,           /* a string, or a list of them */
	NAME_CONVERSATION = 2, /* an id, or an object with it in `id` */
	NAME_METADATA = 3,
	NAME_BACKGROUND = 4,
	NAME_STORE = 5,
	NAME_SESSION = 6,
	NAME_MODEL = 7,
	NAME_OWN_ID = 8, /* `id` */
	NAME_TRANSCRIPTION = 9,
};

static const struct {
	struct str text;
	enum refs_name name;
	bool anywhere; /* else at depth 1 and 2 only */
} refs_names[] = {
	{STR_INIT("file_id"), NAME_ID, true},
	{STR_INIT("file_ids"), NAME_ID, true},
	{STR_INIT("input_file_id"), NAME_ID, true},
	{STR_INIT("vector_store_id"), NAME_ID, true},
	{STR_INIT("vector_store_ids"), NAME_ID, true},
	{STR_INIT("previous_response_id"), NAME_ID, true},
	{STR_INIT("response_id"), NAME_ID, true},
	{STR_INIT("conversation_id"), NAME_ID, true},
	{STR_INIT("conversation"), NAME_CONVERSATION, false},
	{STR_INIT("metadata"), NAME_METADATA, false},
	{STR_INIT("background"), NAME_BACKGROUND, false},
	{STR_INIT("store"), NAME_STORE, false},
	{STR_INIT("session"), NAME_SESSION, false},
	{STR_INIT("input_audio_transcription"), NAME_TRANSCRIPTION, false},
	{STR_INIT("model"), NAME_MODEL, false},
	{STR_INIT("id"), NAME_OWN_ID, false},
};

struct refs_reader {
	struct jscan s;
	struct arena *arena;
	struct refs *out;
	enum refs_name top; /* the member of the top level around the token */
	enum refs_name key; /* of the value that comes next, else NAME_OTHER */
	unsigned ids; /* depth of the list of ids around the token, or 0 */
};

/* `model` is compared without case: a parser that ignores case must not find a
 * model that was not counted here. (Of the keys of the top level that api/scan
 * knows, it refuses those that differ in case only.) */
static bool refs_is_name(size_t i, struct str key)
{
	if (refs_names[i].name == NAME_MODEL)
		return str_eq_nocase(key, refs_names[i].text);
	return str_eq(key, refs_names[i].text);
}

/* What the key just read stands for. */
static enum refs_name refs_find_name(const struct jscan *s)
{
	char text[NAME_MAX_LEN];
	struct str key;

	/* an escape has at most 6 bytes per byte of its character */
	if (s->decoded_len > sizeof(text) || s->text.len > 6 * sizeof(text))
		return NAME_OTHER;
	key = str_of(text, jscan_unescape(s->text, text));
	for (size_t i = 0; i < sizeof(refs_names) / sizeof(*refs_names); i++)
		if (refs_is_name(i, key) &&
		    (refs_names[i].anywhere || s->depth <= 2))
			return refs_names[i].name;
	return NAME_OTHER;
}

/* Add the string just read to the ids, unless it is there. */
static void refs_add_id(struct refs_reader *r)
{
	struct refs *u = r->out;
	struct str id;

	/* resources treat an empty id like a missing member */
	if (r->s.decoded_len == 0)
		return;
	if (r->s.decoded_len > REFS_ID_MAX) {
		u->too_many = true;
		return;
	}
	id = jscan_str(&r->s, r->arena);
	for (size_t i = 0; i < u->n; i++)
		if (str_eq(u->ids[i], id))
			return;
	if (u->n == REFS_MAX)
		u->too_many = true;
	else
		u->ids[u->n++] = arena_str(r->arena, id);
}

/* True when the string just read is the id of an object. */
static bool refs_is_id(const struct refs_reader *r)
{
	if (r->key == NAME_ID || (r->ids > 0 && r->s.depth >= r->ids))
		return true;
	return r->top == NAME_CONVERSATION &&
	       (r->key == NAME_CONVERSATION ||
	        (r->key == NAME_OWN_ID && r->s.depth == 2));
}

/* Where the model belongs whose key was read last; NULL for other keys. */
static struct str *refs_model_place(struct refs_reader *r)
{
	if (r->key != NAME_MODEL || r->s.depth != 2)
		return NULL;
	if (r->top == NAME_SESSION)
		return &r->out->session_model;
	return r->top == NAME_TRANSCRIPTION ? &r->out->transcription_model
	                                    : NULL;
}

static void refs_on_string(struct refs_reader *r)
{
	struct str *model = refs_model_place(r);

	if (r->top == NAME_METADATA)
		return;
	if (refs_is_id(r))
		refs_add_id(r);
	else if (model && r->s.decoded_len <= REFS_ID_MAX)
		*model = arena_str(r->arena, jscan_str(&r->s, r->arena));
}

static void refs_on_key(struct refs_reader *r)
{
	r->key = refs_find_name(&r->s);
	if (r->s.depth == 1)
		r->top = r->key;
	/* counted here and not with the value, which may be of any type */
	if (r->key != NAME_MODEL || r->s.depth != 2)
		return;
	if (r->top == NAME_SESSION)
		r->out->n_session_models++;
	else if (r->top == NAME_TRANSCRIPTION)
		r->out->n_transcription_models++;
}

static void refs_on_bool(struct refs_reader *r, bool value)
{
	if (r->s.depth != 1)
		return;
	if (r->key == NAME_BACKGROUND)
		r->out->background = value;
	if (r->key == NAME_STORE)
		r->out->unstored = !value;
}

static void refs_on_token(struct refs_reader *r, enum jscan_token token)
{
	switch (token) {
	case JSCAN_KEY:
		refs_on_key(r);
		return;
	case JSCAN_STRING:
		refs_on_string(r);
		break;
	case JSCAN_ARRAY:
		if (r->key == NAME_ID && r->ids == 0)
			r->ids = r->s.depth;
		break;
	case JSCAN_TRUE:
	case JSCAN_FALSE:
		refs_on_bool(r, token == JSCAN_TRUE);
		break;
	default:
		break;
	}
	/* the key belongs to the value that was just read or opened */
	r->key = NAME_OTHER;
	if (r->s.depth < r->ids)
		r->ids = 0;
}

/* A fast test for most bodies, which refer to nothing and are long: false when
 * none of the names can occur. A name can be written with escapes
 * (\u0066ile_id) and is then found by the "\u". */
static bool refs_may_refer(struct str body)
{
	static const struct str hints[] = {
		STR_INIT("file_id"),      STR_INIT("vector_store_id"),
		STR_INIT("response_id"),  STR_INIT("conversation"),
		STR_INIT("\"background"), STR_INIT("\"store"),
		STR_INIT("\"session"),    STR_INIT("\"input_audio"),
		STR_INIT("\\u"),
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(*hints); i++)
		if (memmem(body.p, body.len, hints[i].p, hints[i].len))
			return true;
	return false;
}

void refs_read(struct str body, struct arena *arena, struct refs *out)
{
	struct refs_reader r = {.arena = arena, .out = out};

	*out = (struct refs){0};
	if (body.len == 0 || !refs_may_refer(body))
		return;
	jscan_init(&r.s, body, DEPTH_MAX);
	for (;;) {
		enum jscan_token token = jscan_next(&r.s);

		if (token == JSCAN_END || token == JSCAN_BAD ||
		    token == JSCAN_PARTIAL)
			return;
		refs_on_token(&r, token);
	}
}
