/*
 * api/refs: the objects and further models that a JSON body refers to.
 *
 * Files, vector stores, responses, conversations and their items belong to the
 * caller that made them (decide/objects). A body can refer to them at any
 * depth: in the content of a message, in a tool, in a list. Every string that
 * is the value of a member with such a name counts as an id, wherever it is,
 * because nobody knows which of them the resource will look at; names are
 * compared by base/fold. Only `metadata` at the top level is left out: it is
 * text of the caller that no resource interprets.
 *
 * The names are those of the API references of OpenAI, Azure and Anthropic for
 * the operations that the gateway lets through. The table refs_rows[] says of
 * each what it names:
 *
 *   an object of the caller     file_id, vector_store_ids, conversation, ...
 *   an item of a response       "input":[{"type":"item_reference","id":..}]
 *   what nobody can have made   prompt.id, voice.id, audio.id, skill_id, ...
 *   through the gateway
 *   a further model that runs   tools[].model, fallbacks, deployment_name ...
 *
 * Ids that name nothing stored are not in it: call_id, tool_call_id,
 * connector_id, safety_identifier.
 *
 * The same pass reads the few other members that decide about ownership and
 * routing, and that api/scan does not read.
 */
#ifndef API_REFS_H
#define API_REFS_H

#include "base/arena.h"
#include "base/jscan.h"
#include "base/str.h"

enum {
	/* Different ids; each costs a look-up in the store and its bytes of
	 * the arena of the request. A client that sends its whole history has
	 * one family of items (api/family) per answer. */
	REFS_MAX = 128,
	/* bytes of an id; that of a path: API_ID_LEN */
	REFS_ID_MAX = 256,
	REFS_MODELS_MAX = 8,
};

enum refs_kind {
	REFS_OBJECT = 0, /* must be the caller's */
	REFS_ITEM = 1,   /* likewise, and is known by its family */
	/* An item that the body holds itself, and the resource may look up all
	 * the same (reasoning): must not be known as another caller's. */
	REFS_CARRIED = 2,
	REFS_FOREIGN = 3, /* nobody can have made it here */
};

struct refs_id {
	struct str id; /* in the arena */
	enum refs_kind kind;
	const char *member; /* constants: where it stands, as the API calls */
	const char *remedy; /* it, and what to send instead; or NULL */
};

/* A model besides `model` of the top level that the request makes run. */
struct refs_model {
	struct str name;    /* in the arena */
	const char *member; /* constant */
};

struct refs {
	bool too_many; /* more ids or models than that, or too long a name */
	const char *not_text; /* the member of a further model that is no
	                       * string; else NULL */
	bool background;      /* `background` at the top level is true */
	bool unstored;        /* `store` at the top level is false */
	/* `model` inside `session` (realtime): the last one that is a string,
	 * and how many members of that name there are, in any letter case and
	 * of any type; with more than one the model is ambiguous */
	struct str session_model;
	unsigned n_session_models;
	/* the same of `input_audio_transcription` at the top level */
	struct str transcription_model;
	unsigned n_transcription_models;
	size_t n, n_models;
	/* Last, because only the first n and n_models are set. */
	struct refs_id ids[REFS_MAX]; /* each once, and one of each family */
	struct refs_model models[REFS_MODELS_MAX]; /* each once */
};

enum { REFS_ITEM_IDS = 2 }; /* more members `id` are refused */

/* An element of `input` or `items`. */
struct refs_item {
	unsigned depth; /* of its members; 0: the reader is in none */
	struct str ids[REFS_ITEM_IDS]; /* views into the body, escaped */
	size_t id_lens[REFS_ITEM_IDS]; /* unescaped */
	unsigned n_ids;
	bool typed, reference, image, reasoning, message;
	bool content, encrypted, result, other;
};

enum { REFS_DEPTH_MAX = 128 }; /* that of api/scan: nothing is deeper */

/* The state of a pass; only api/refs looks into it. */
struct refs_reader {
	struct arena *arena;
	struct refs *out;
	unsigned char key; /* name of the value that comes next, or none */
	bool has_key;      /* that value belongs to a member */
	unsigned char top; /* name of the member of the top level */
	/* names of the members whose values the open levels are; what is in a
	 * list has the name of the list */
	unsigned char at[REFS_DEPTH_MAX + 1];
	struct refs_item item;
};

/* Begin a pass. *out is cleared; strings are copied into the arena. */
void refs_begin(struct refs_reader *r, struct arena *arena, struct refs *out);

/* Take the token that jscan_next(s) has just returned. Refuses nothing: the
 * caller decides on `too_many`, `not_text` and ambiguous models. */
void refs_on_token(struct refs_reader *r, const struct jscan *s,
                   enum jscan_token token);

/* A pass over a body alone, up to its end or its first error. */
void refs_read(struct str body, struct arena *arena, struct refs *out);

#endif
