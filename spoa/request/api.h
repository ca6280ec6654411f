/*
 * request/api: method + path -> operation, and where the model stands.
 *
 * One row of a table per operation. What is not in the table is refused.
 */
#ifndef REQUEST_API_H
#define REQUEST_API_H

#include "base/str.h"

/* Append at the end only: policies store bits of these. */
enum api_operation {
	API_NONE = 0, /* not in the table */
	API_CHAT = 1,
	API_COMPLETIONS = 2,
	API_RESPONSES = 3,
	API_EMBEDDINGS = 4,
	API_MESSAGES = 5, /* Anthropic */
	API_N_OPERATIONS,
};

/* Of errors. */
enum api_shape {
	SHAPE_OPENAI = 0,    /* {"error":{..}}; Azure OpenAI's are the same */
	SHAPE_ANTHROPIC = 1, /* {"type":"error","error":{..}} */
};

/* How the caller addressed us. */
enum api_surface {
	CALL_PLAIN = 0,     /* /chat/completions, /v1/.., any other prefix */
	CALL_AZURE = 1,     /* ../deployments/{d}/.. behind any prefix */
	CALL_V1 = 2,        /* /openai/v1/.. */
	CALL_MODELS = 3,    /* /models/.. */
	CALL_ANTHROPIC = 4, /* ../v1/messages behind any prefix */
};

struct api_call {
	enum api_operation operation;
	enum api_shape shape; /* known even when the operation is not */
	enum api_surface surface;
	struct str path_model; /* decoded {d} of the path, else empty */
	struct str suffix;     /* "/chat/completions": the part that every
	                        * surface shares; a constant */
	bool method_ok;        /* false: 405 */
};

/* `path` as it came, without query. A path with a control character, ';', an
 * encoded slash or backslash, "//", or a "." or ".." segment (also encoded)
 * is no operation. Escapes are accepted in {d} only, which is then decoded
 * into `arena`; `deployments` may stand there and nowhere else. */
struct arena;
void api_find(struct str method, struct str path, struct arena *arena,
              struct api_call *out);

/* "chat", "embeddings", ...; "none" for API_NONE. For config, logs, labels. */
const char *api_operation_name(enum api_operation op);

/* The reverse; API_NONE when unknown. */
enum api_operation api_operation_of(struct str name);

/* Value of a query parameter, still encoded; empty when absent. */
struct str api_query_get(struct str query, struct str name);

#endif
