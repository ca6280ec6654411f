/*
 * api/refs: the objects of a resource that a JSON body refers to.
 *
 * Files, vector stores, responses and conversations belong to the caller that
 * made them (decide/objects). A body can refer to them at any depth: in the
 * content of a message, in a tool, in a list. Every string that is the value
 * of a member with such a name (`file_id`, `vector_store_ids`,
 * `previous_response_id` ...) counts as an id, wherever it is, because nobody
 * knows which of them the resource will look at. Only `metadata` at the top
 * level is left out: it is text of the caller that no resource interprets.
 *
 * The same pass reads the few other members that decide about ownership and
 * routing, and that api/scan does not read.
 */
#ifndef API_REFS_H
#define API_REFS_H

#include "base/arena.h"
#include "base/str.h"

enum {
	/* different ids; each costs a look-up in the store and up to 272 bytes
	 * of the arena of the request, which has 24 kB */
	REFS_MAX = 24,
	/* bytes of an id; that of a path: API_ID_LEN */
	REFS_ID_MAX = 256,
};

struct refs {
	struct str ids[REFS_MAX]; /* in the arena, each once */
	size_t n;
	bool too_many;   /* more ids than REFS_MAX, or one that is too long */
	bool background; /* `background` at the top level is true */
	bool unstored;   /* `store` at the top level is false */
	/* `model` inside `session` (realtime): the last one that is a string,
	 * and how many members of that name there are, in any letter case and
	 * of any type; with more than one the model is ambiguous */
	struct str session_model;
	unsigned n_session_models;
	/* the same of `input_audio_transcription` at the top level */
	struct str transcription_model;
	unsigned n_transcription_models;
};

/* Read a body for which scan_body() returned SCAN_OK or SCAN_PARTIAL; of a part
 * of a body, what came before the end. Refuses nothing; the caller decides on
 * `too_many` and on ambiguous models. Strings are copied into the arena. */
void refs_read(struct str body, struct arena *arena, struct refs *out);

#endif
