/*
 * api/refs: the objects and further models that a JSON body refers to.
 *
 *   token --refs_on_token--> refs_on_key      what the name means: refs_rows[]
 *                            refs_on_string   id? model? part of an item?
 *                            refs_open/close  the levels; an item ends
 *         --refs_add_id, refs_add_model--> struct refs
 *
 * The state is small: the names of the members that the open levels are values
 * of, the name of the value that comes next, and one item. Depths are those of
 * jscan: a member of the top level has depth 1, a member of an object in it 2;
 * the elements of an array have the depth of the array.
 */
#include "api/refs.h"

#include "api/family.h"
#include "base/fold.h"

#include <stddef.h>

enum {
	/* Bytes of a name that can fold to one of the table: the longest has
	 * 27 letters, for each of which there may be 3 bytes. */
	NAME_MAX_LEN = 96,
	/* Names whose meaning is not "an id" or "a model"; from ROW_FIRST on
	 * rows of the table, counted from 0. */
	NAME_NONE = 0,
	NAME_OWN_ID, /* `id` */
	NAME_MODEL,
	NAME_TYPE,
	NAME_CONTENT,
	NAME_ENCRYPTED,
	NAME_RESULT,
	NAME_LABEL, /* of an item: neither its id nor its content */
	NAME_METADATA,
	NAME_BACKGROUND,
	NAME_STORE,
	NAME_SESSION,
	NAME_ITEMS, /* `input`, `items` */
	ROW_FIRST,
};

/* Where the id or model stands. */
enum refs_form {
	FORM_VALUE = 1,  /* the value: a string or a list of them */
	FORM_INSIDE = 2, /* in `id` of the value, an object or a list of them;
	                  * for a model in `model` */
	/* the value, too, but only at the top level or of a tool */
	FORM_TOP = 4,
	FORM_TOOL = 8,
	FORM_OBJECT = 16, /* the value itself, an object at the top level */
	FORM_MODEL = 32,  /* it is no id but the name of a model */
};

struct refs_row {
	struct str name;
	unsigned form;
	enum refs_kind kind;
	const char *member, *remedy;
};

static const char refs_own[] =
	"Name only what this caller has made through the gateway.";
static const char refs_no_container[] =
	"Use {\"type\":\"auto\"}, or send previous_response_id in place of the "
	"items that name it.";
static const char refs_resend[] =
	"Send previous_response_id, or the item with its content.";
static const char refs_leave_out[] = "Leave it out.";
static const char refs_by_model[] =
	"Send the model and the instructions themselves.";

#define OBJECT(name, form, member)                                             \
	{                                                                      \
		STR_INIT(name), form, REFS_OBJECT, member, refs_own            \
	}
#define ITEM(name, form, member, remedy)                                       \
	{                                                                      \
		STR_INIT(name), form, REFS_ITEM, member, remedy                \
	}
#define FOREIGN(name, form, member, remedy)                                    \
	{                                                                      \
		STR_INIT(name), form, REFS_FOREIGN, member, remedy             \
	}
#define MODEL(name, form, member)                                              \
	{                                                                      \
		STR_INIT(name), FORM_MODEL | (form), REFS_OBJECT, member, NULL \
	}

enum {
	ROW_TOOLS = 0,
	ROW_SKILL = 1, /* a name of the service's own is none of an object */
	ROW_ITEM = 2,  /* `id` of an item */
	ROW_TRANSCRIPTION = 3,
};

static const struct refs_row refs_rows[] = {
	[ROW_TOOLS] = MODEL("tools", FORM_INSIDE, "tools[].model"),
	[ROW_SKILL] =
		FOREIGN("skill_id", FORM_VALUE, "skill_id", refs_leave_out),
	[ROW_ITEM] = ITEM("", 0, "input[].id", refs_resend),
	[ROW_TRANSCRIPTION] = MODEL("input_audio_transcription", FORM_INSIDE,
                                    "input_audio_transcription.model"),

	OBJECT("file_id", FORM_VALUE, "file_id"),
	OBJECT("file_ids", FORM_VALUE, "file_ids"),
	OBJECT("input_file_id", FORM_VALUE, "input_file_id"),
	OBJECT("vector_store_id", FORM_VALUE, "vector_store_id"),
	OBJECT("vector_store_ids", FORM_VALUE, "vector_store_ids"),
	OBJECT("previous_response_id", FORM_VALUE, "previous_response_id"),
	OBJECT("comparison_response_id", FORM_VALUE, "comparison_response_id"),
	OBJECT("response_id", FORM_VALUE, "response_id"),
	OBJECT("conversation_id", FORM_VALUE, "conversation_id"),
	OBJECT("conversation", FORM_TOP | FORM_INSIDE, "conversation"),

	ITEM("container", FORM_TOP | FORM_TOOL | FORM_INSIDE, "container",
             refs_no_container),
	ITEM("container_id", FORM_VALUE, "container_id", refs_no_container),
	ITEM("previous_item_id", FORM_VALUE, "previous_item_id", refs_resend),
	{STR_INIT("approval_request_id"), FORM_VALUE, REFS_CARRIED,
         "approval_request_id", refs_resend},

	FOREIGN("prompt", FORM_INSIDE, "prompt.id",
                "Send the text of the prompt as `instructions` and `input`."),
	FOREIGN("audio", FORM_INSIDE, "audio.id",
                "Send what was said as `content` of the message."),
	FOREIGN("voice", FORM_INSIDE, "voice.id",
                "Use a voice of the service by its name."),
	FOREIGN("tunnel_id", FORM_VALUE, "tunnel_id",
                "Use a server that has a `server_url`."),
	FOREIGN("project_connection_id", FORM_VALUE, "project_connection_id",
                refs_leave_out),
	FOREIGN("previous_message_id", FORM_VALUE, "previous_message_id",
                "Send the messages themselves."),
	FOREIGN("user_profile_id", FORM_VALUE, "user_profile_id",
                refs_leave_out),
	FOREIGN("workspace_id", FORM_VALUE, "workspace_id", refs_leave_out),
	FOREIGN("agent", FORM_OBJECT, "agent", refs_by_model),
	FOREIGN("agent_reference", FORM_OBJECT, "agent_reference",
                refs_by_model),

	MODEL("definition", FORM_INSIDE, "tool.definition.model"),
	MODEL("svg", FORM_INSIDE, "svg.model"),
	MODEL("moderation", FORM_INSIDE, "moderation.model"),
	MODEL("transcription", FORM_INSIDE, "transcription.model"),
	MODEL("fallbacks", FORM_INSIDE | FORM_VALUE, "fallbacks[].model"),
	MODEL("deployment_name", FORM_VALUE, "deployment_name"),
};

enum { N_ROWS = sizeof(refs_rows) / sizeof(*refs_rows) };

static const struct {
	struct str text;
	unsigned char name;
} refs_names[] = {
	{STR_INIT("id"), NAME_OWN_ID},
	{STR_INIT("model"), NAME_MODEL},
	{STR_INIT("type"), NAME_TYPE},
	{STR_INIT("content"), NAME_CONTENT},
	{STR_INIT("encrypted_content"), NAME_ENCRYPTED},
	{STR_INIT("result"), NAME_RESULT},
	{STR_INIT("role"), NAME_LABEL},
	{STR_INIT("status"), NAME_LABEL},
	{STR_INIT("background"), NAME_BACKGROUND},
	{STR_INIT("store"), NAME_STORE},
	{STR_INIT("session"), NAME_SESSION},
	{STR_INIT("input"), NAME_ITEMS},
	{STR_INIT("items"), NAME_ITEMS},
};

/* The row of a name, or NULL. */
static const struct refs_row *refs_row_of(unsigned char name)
{
	return name >= ROW_FIRST ? &refs_rows[name - ROW_FIRST] : NULL;
}

static bool refs_is_ascii(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* fold_eq(), quick for what most keys are. */
static bool refs_is_name(struct str name, struct str key, bool ascii)
{
	if (ascii && key.len != name.len)
		return false;
	return fold_eq(name, key);
}

/* The name of the table that a key stands for. */
static unsigned char refs_find_name(struct str key)
{
	bool ascii = refs_is_ascii(key);

	/* what is left out must be what everybody leaves out */
	if (str_eq(key, STR("metadata")))
		return NAME_METADATA;
	for (size_t i = 0; i < sizeof(refs_names) / sizeof(*refs_names); i++)
		if (refs_is_name(refs_names[i].text, key, ascii))
			return refs_names[i].name;
	for (size_t i = 0; i < N_ROWS; i++)
		if (refs_is_name(refs_rows[i].name, key, ascii))
			return (unsigned char)(ROW_FIRST + i);
	return NAME_NONE;
}

/* The text of a string or key, in `space` where it has escapes. False when it
 * is longer than `max` bytes, which `space` has; max is at least 1. */
static bool refs_text(struct str raw, size_t len, char *space, size_t max,
                      struct str *out)
{
	if (len > max)
		return false;
	*out = len == raw.len ? raw : str_of(space, jscan_unescape(raw, space));
	return true;
}

/* ---------------------------------------------------------------- results */

/* True when both are looked up by the same record of the store. */
static bool refs_is_same(const struct refs_id *known, struct str id,
                         enum refs_kind kind)
{
	struct str family = family_of(id);

	if (str_eq(known->id, id))
		return true;
	return family.len > 0 && kind != REFS_OBJECT &&
	       known->kind != REFS_OBJECT &&
	       str_eq(family, family_of(known->id));
}

/* Add a copy of an id, unless it is there. Of two kinds the stricter one stays:
 * an item must be known, one that is carried may be unknown. */
static void refs_add(struct refs_reader *r, const struct refs_row *row,
                     enum refs_kind kind, struct str id)
{
	struct refs *u = r->out;

	for (size_t i = 0; i < u->n; i++) {
		if (!refs_is_same(&u->ids[i], id, kind))
			continue;
		if (u->ids[i].kind == REFS_CARRIED)
			u->ids[i].kind = kind;
		return;
	}
	if (u->n == REFS_MAX)
		u->too_many = true;
	else
		u->ids[u->n++] = (struct refs_id){arena_str(r->arena, id), kind,
		                                  row->member, row->remedy};
}

/* Add a copy of the name of a further model, unless it is there. */
static void refs_add_model(struct refs_reader *r, const struct refs_row *row,
                           struct str name)
{
	struct refs *u = r->out;

	for (size_t i = 0; i < u->n_models; i++)
		if (str_eq(u->models[i].name, name))
			return;
	if (u->n_models == REFS_MODELS_MAX)
		u->too_many = true;
	else
		u->models[u->n_models++] = (struct refs_model){
			arena_str(r->arena, name), row->member};
}

/* A string with `len` bytes, still escaped, is what `row` says: an id of a kind
 * or a model. */
static void refs_add_string(struct refs_reader *r, const struct refs_row *row,
                            enum refs_kind kind, struct str raw, size_t len)
{
	char space[REFS_ID_MAX];
	struct str text;

	/* resources treat an empty string like a missing member */
	if (len == 0)
		return;
	if (!refs_text(raw, len, space, sizeof(space), &text))
		r->out->too_many = true;
	else if (row->form & FORM_MODEL)
		refs_add_model(r, row, text);
	else if (row != &refs_rows[ROW_SKILL] ||
	         str_starts(text, STR("skill_")))
		refs_add(r, row, kind, text);
}

/* The string just read. */
static void refs_add_token(struct refs_reader *r, const struct refs_row *row,
                           const struct jscan *s)
{
	refs_add_string(r, row, row->kind, s->text, s->decoded_len);
}

/* ------------------------------------------------------------------ items */

/* `type` of an item. One that is too long is of no type that is known. */
static void refs_item_type(struct refs_item *item, const struct jscan *s)
{
	char space[REFS_ID_MAX];
	struct str type = STR_NONE;

	item->typed = true;
	if (!refs_text(s->text, s->decoded_len, space, sizeof(space), &type))
		return;
	item->reference |= fold_eq(STR("item_reference"), type);
	item->image |= fold_eq(STR("image_generation_call"), type);
	item->reasoning |= fold_eq(STR("reasoning"), type);
	item->message |= fold_eq(STR("message"), type);
}

/* `id` of an item. It is kept as it stands in the body. */
static void refs_item_id(struct refs_reader *r, const struct jscan *s)
{
	struct refs_item *item = &r->item;

	if (item->n_ids == REFS_ITEM_IDS) {
		r->out->too_many = true;
		return;
	}
	item->ids[item->n_ids] = s->text;
	item->id_lens[item->n_ids++] = s->decoded_len;
}

/* A member of an item: a string, or any other value. */
static void refs_item_member(struct refs_reader *r, const struct jscan *s,
                             bool string)
{
	struct refs_item *item = &r->item;
	bool some = !string || s->decoded_len > 0;

	switch (r->key) {
	case NAME_OWN_ID:
		if (string)
			refs_item_id(r, s);
		break;
	case NAME_TYPE:
		if (string)
			refs_item_type(item, s);
		break;
	case NAME_CONTENT:
		item->content = item->other = true;
		break;
	case NAME_ENCRYPTED:
		item->encrypted |= some;
		break;
	case NAME_RESULT:
		item->result |= some;
		break;
	case NAME_LABEL:
		break;
	default:
		item->other = true;
	}
}

/* Whether the resource may load the item by its id. A reference need not have
 * a type, and what has nothing but its id is one. The result of an image and
 * the text of reasoning (if it is encrypted) can be sent along; else they are
 * what was stored. With a type given twice the strictest counts. */
static void refs_end_item(struct refs_reader *r)
{
	struct refs_item *item = &r->item;
	bool must = item->reference || (item->image && !item->result) ||
	            (item->message && !item->content) ||
	            (!item->typed && !item->content);
	bool may = item->image || (item->reasoning && !item->encrypted);

	if (!item->other && !item->result && !item->encrypted)
		must = true;
	for (unsigned i = 0; i < item->n_ids && (must || may); i++)
		refs_add_string(r, &refs_rows[ROW_ITEM],
		                must ? REFS_ITEM : REFS_CARRIED, item->ids[i],
		                item->id_lens[i]);
	*item = (struct refs_item){0};
}

/* ----------------------------------------------------------------- tokens */

/* The name of the member that the current level is the value of. */
static unsigned char refs_parent(const struct refs_reader *r,
                                 const struct jscan *s)
{
	return s->depth > 0 ? r->at[s->depth] : NAME_NONE;
}

static void refs_on_key(struct refs_reader *r, const struct jscan *s)
{
	unsigned char parent = refs_parent(r, s);
	char space[NAME_MAX_LEN];
	struct str key;

	r->has_key = true;
	r->key = NAME_NONE;
	if (refs_text(s->text, s->decoded_len, space, sizeof(space), &key))
		r->key = refs_find_name(key);
	if (s->depth == 1)
		r->top = r->key;
	/* counted here and not with the value, which may be of any type */
	if (r->key != NAME_MODEL || s->depth != 2)
		return;
	if (parent == NAME_SESSION)
		r->out->n_session_models++;
	else if (refs_row_of(parent) == &refs_rows[ROW_TRANSCRIPTION])
		r->out->n_transcription_models++;
}

/* The main model of a realtime body; empty when it is too long. */
static struct str refs_main_model(struct refs_reader *r, const struct jscan *s)
{
	if (s->decoded_len > REFS_ID_MAX)
		return STR_NONE;
	return arena_str(r->arena, jscan_str(s, r->arena));
}

/* `model` inside of a value that may name one. */
static void refs_on_inner_model(struct refs_reader *r, const struct jscan *s)
{
	unsigned char parent = refs_parent(r, s);
	const struct refs_row *row = refs_row_of(parent);

	if (parent == NAME_SESSION && s->depth == 2)
		r->out->session_model = refs_main_model(r, s);
	if (row == &refs_rows[ROW_TRANSCRIPTION] && s->depth == 2)
		r->out->transcription_model = refs_main_model(r, s);
	if (row && row->form & FORM_MODEL && row->form & FORM_INSIDE)
		refs_add_token(r, row, s);
}

/* A string that is the value of a member. */
static void refs_on_member_string(struct refs_reader *r, const struct jscan *s)
{
	const struct refs_row *row = refs_row_of(r->key);
	unsigned char parent = refs_parent(r, s);
	const struct refs_row *around = refs_row_of(parent);
	bool tool = around == &refs_rows[ROW_TOOLS];

	if (r->item.depth == s->depth)
		refs_item_member(r, s, true);
	if (r->key == NAME_MODEL)
		refs_on_inner_model(r, s);
	if (r->key == NAME_OWN_ID && around && !(around->form & FORM_MODEL) &&
	    around->form & (FORM_INSIDE | FORM_VALUE))
		refs_add_token(r, around, s);
	if (!row)
		return;
	if (row->form & FORM_VALUE || (row->form & FORM_TOP && s->depth == 1) ||
	    (row->form & FORM_TOOL && tool))
		refs_add_token(r, row, s);
}

static void refs_on_string(struct refs_reader *r, const struct jscan *s)
{
	const struct refs_row *row = refs_row_of(refs_parent(r, s));

	if (r->has_key)
		refs_on_member_string(r, s);
	else if (row && row->form & FORM_VALUE) /* an element of a list */
		refs_add_token(r, row, s);
}

/* A value that is no string: a further model must be one. */
static void refs_on_other(struct refs_reader *r, const struct jscan *s,
                          unsigned depth)
{
	const struct refs_row *row = refs_row_of(r->key);
	const struct refs_row *around = refs_row_of(r->at[depth]);

	if (!r->has_key)
		return;
	if (r->item.depth == depth)
		refs_item_member(r, s, false);
	if (r->key == NAME_MODEL && around && around->form & FORM_MODEL &&
	    around->form & FORM_INSIDE)
		r->out->not_text = around->member;
	if (row && row->form == (FORM_MODEL | FORM_VALUE))
		r->out->not_text = row->member;
}

static void refs_on_bool(struct refs_reader *r, const struct jscan *s,
                         bool value)
{
	refs_on_other(r, s, s->depth);
	if (s->depth != 1)
		return;
	if (r->key == NAME_BACKGROUND)
		r->out->background = value;
	if (r->key == NAME_STORE)
		r->out->unstored = !value;
}

/* An object or array was opened; its depth is that of the token. */
static void refs_open(struct refs_reader *r, const struct jscan *s, bool object)
{
	unsigned depth = s->depth;
	const struct refs_row *row = refs_row_of(r->key);

	refs_on_other(r, s, depth - 1);
	r->at[depth] = r->has_key ? r->key : r->at[depth - 1];
	if (object && depth == 2 && row && row->form & FORM_OBJECT)
		refs_add(r, row, row->kind, row->name);
	if (object && r->item.depth == 0 && r->at[depth] == NAME_ITEMS &&
	    r->top == NAME_ITEMS)
		r->item.depth = depth;
}

/* The closing token of an object no longer counts in the depth. */
static void refs_close_object(struct refs_reader *r, const struct jscan *s)
{
	if (r->item.depth == s->depth + 1)
		refs_end_item(r);
}

static void refs_on_value(struct refs_reader *r, const struct jscan *s,
                          enum jscan_token token)
{
	switch (token) {
	case JSCAN_STRING:
		refs_on_string(r, s);
		break;
	case JSCAN_OBJECT:
	case JSCAN_ARRAY:
		refs_open(r, s, token == JSCAN_OBJECT);
		break;
	case JSCAN_OBJECT_END:
		refs_close_object(r, s);
		break;
	case JSCAN_TRUE:
	case JSCAN_FALSE:
		refs_on_bool(r, s, token == JSCAN_TRUE);
		break;
	case JSCAN_NUMBER:
		refs_on_other(r, s, s->depth);
		break;
	default: /* null is like a missing member */
		break;
	}
}

void refs_begin(struct refs_reader *r, struct arena *arena, struct refs *out)
{
	memset(out, 0, offsetof(struct refs, ids));
	/* of at[] each entry is set when its level is opened */
	r->arena = arena;
	r->out = out;
	r->key = r->top = r->at[0] = NAME_NONE;
	r->has_key = false;
	r->item = (struct refs_item){0};
}

void refs_on_token(struct refs_reader *r, const struct jscan *s,
                   enum jscan_token token)
{
	/* the last token of the document has depth 0, the next member's key 1
	 */
	if (r->top == NAME_METADATA && s->depth > 1)
		return;
	if (token == JSCAN_KEY) {
		refs_on_key(r, s);
		return;
	}
	if (r->top != NAME_METADATA)
		refs_on_value(r, s, token);
	/* the key belongs to the value that was just read or opened */
	r->key = NAME_NONE;
	r->has_key = false;
}

void refs_read(struct str body, struct arena *arena, struct refs *out)
{
	struct refs_reader r;
	struct jscan s;

	refs_begin(&r, arena, out);
	jscan_init(&s, body, REFS_DEPTH_MAX);
	for (;;) {
		enum jscan_token token = jscan_next(&s);

		if (token == JSCAN_END || token == JSCAN_BAD ||
		    token == JSCAN_PARTIAL)
			return;
		refs_on_token(&r, &s, token);
	}
}
