/*
 * api/refs: which objects of a resource a JSON body names.
 *
 * Files, vector stores, responses and conversations may stand anywhere in a
 * body: in the content of a message, in a tool, in a list. Every string under
 * a name of such an id counts, at any depth; only the caller's own `metadata`
 * is left out. What is named twice is kept once.
 */
#ifndef API_REFS_H
#define API_REFS_H

#include "base/arena.h"
#include "base/str.h"

enum {
	REFS_MAX = 24,
	REFS_ID_MAX = 256,
};

struct refs {
	struct str ids[REFS_MAX]; /* in the arena */
	size_t n;
	bool too_many; /* more than that, or longer than any id */
	bool background;
	bool unstored;             /* `store` is false */
	struct str session_model;  /* `model` in `session`: realtime */
	unsigned n_session_models; /* so many, strings or not */
	/* the same of `input_audio_transcription` */
	struct str transcription_model;
	unsigned n_transcription_models;
};

/* Of a body that scan_body() has found to be one JSON object, or a part of
 * it. Nothing is refused here. */
void refs_read(struct str body, struct arena *arena, struct refs *out);

#endif
