/* api/refs: which objects of a resource a JSON body names. */
#include "api/refs.h"

#include "base/jscan.h"

enum { DEPTH_MAX = 128, NAME_MAX_LEN = 32 };

enum name {
	NAME_OTHER = 0,
	NAME_ID = 1,           /* a string, or a list of them */
	NAME_CONVERSATION = 2, /* a string, or {"id": ..} */
	NAME_METADATA = 3,
	NAME_BACKGROUND = 4,
	NAME_STORE = 5,
	NAME_SESSION = 6,
	NAME_MODEL = 7,
	NAME_OWN_ID = 8,
	NAME_TRANSCRIPTION = 9,
};

static const struct {
	struct str text;
	enum name name;
	bool anywhere; /* else at the outermost level, or in what is there */
} names[] = {
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

struct reader {
	struct jscan s;
	struct arena *arena;
	struct refs *out;
	enum name top; /* of the outermost member we are in */
	enum name key; /* the last key */
	unsigned ids;  /* depth of the list of ids we are in; 0: none */
};

/* A resource may read the model of a session in any case; it must not find
 * one that we have not seen. (Names of the outermost level are the scanner's
 * care.) */
static bool fits(size_t i, struct str key)
{
	if (names[i].name == NAME_MODEL)
		return str_eq_nocase(key, names[i].text);
	return str_eq(key, names[i].text);
}

static enum name name_of(const struct jscan *s)
{
	char text[NAME_MAX_LEN];
	struct str key;

	if (s->decoded_len > sizeof(text) || s->text.len > 6 * sizeof(text))
		return NAME_OTHER;
	key = str_of(text, jscan_unescape(s->text, text));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (fits(i, key) && (names[i].anywhere || s->depth <= 2))
			return names[i].name;
	return NAME_OTHER;
}

static void add(struct reader *r)
{
	struct refs *u = r->out;
	struct str id;

	/* an empty one is as good as none to some; to us it names nothing */
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

static void take_string(struct reader *r)
{
	bool second = r->s.depth == 2;

	if (r->top == NAME_METADATA)
		return;
	if (r->key == NAME_ID || (r->ids > 0 && r->s.depth >= r->ids))
		add(r);
	else if (r->top == NAME_CONVERSATION &&
	         (r->key == NAME_CONVERSATION ||
	          (second && r->key == NAME_OWN_ID)))
		add(r);
	else if (r->top == NAME_SESSION && second && r->key == NAME_MODEL &&
	         r->s.decoded_len <= REFS_ID_MAX)
		r->out->session_model =
			arena_str(r->arena, jscan_str(&r->s, r->arena));
	else if (r->top == NAME_TRANSCRIPTION && second &&
	         r->key == NAME_MODEL && r->s.decoded_len <= REFS_ID_MAX)
		r->out->transcription_model =
			arena_str(r->arena, jscan_str(&r->s, r->arena));
}

/* Inside an array the depth is that of the array. */
static void take_token(struct reader *r, enum jscan_token token)
{
	switch (token) {
	case JSCAN_KEY:
		r->key = name_of(&r->s);
		if (r->s.depth == 1)
			r->top = r->key;
		else if (r->top == NAME_SESSION && r->s.depth == 2 &&
		         r->key == NAME_MODEL)
			r->out->n_session_models++;
		else if (r->top == NAME_TRANSCRIPTION && r->s.depth == 2 &&
		         r->key == NAME_MODEL)
			r->out->n_transcription_models++;
		return;
	case JSCAN_STRING:
		take_string(r);
		break;
	case JSCAN_ARRAY:
		if (r->key == NAME_ID && r->ids == 0)
			r->ids = r->s.depth;
		break;
	case JSCAN_TRUE:
	case JSCAN_FALSE:
		if (r->s.depth != 1)
			break;
		if (r->key == NAME_BACKGROUND)
			r->out->background = token == JSCAN_TRUE;
		if (r->key == NAME_STORE)
			r->out->unstored = token == JSCAN_FALSE;
		break;
	default:
		break;
	}
	r->key = NAME_OTHER;
	if (r->s.depth < r->ids)
		r->ids = 0;
}

/* Most bodies name nothing, and are long. An escape may hide a name. */
static bool may_name(struct str body)
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
	struct reader r = {.arena = arena, .out = out};

	*out = (struct refs){0};
	if (body.len == 0 || !may_name(body))
		return;
	jscan_init(&r.s, body, DEPTH_MAX);
	for (;;) {
		enum jscan_token token = jscan_next(&r.s);

		if (token == JSCAN_END || token == JSCAN_BAD ||
		    token == JSCAN_PARTIAL)
			return;
		take_token(&r, token);
	}
}
