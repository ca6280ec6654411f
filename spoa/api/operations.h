/*
 * api/operations: method + path -> operation, and where the model stands.
 *
 * One row of a table per operation: its shape, where its model stands, what
 * its body is, whether tokens are counted, and which objects it makes and
 * uses. What is not in the table is refused.
 */
#ifndef API_OPERATIONS_H
#define API_OPERATIONS_H

#include "base/str.h"

/* What policies allow and logs show: all that concerns one kind of object is
 * one operation. Append at the end only: policies store bits of these. */
enum api_operation {
	API_NONE = 0, /* not in the table */
	API_CHAT = 1,
	API_COMPLETIONS = 2,
	API_RESPONSES = 3,
	API_EMBEDDINGS = 4,
	API_MESSAGES = 5, /* Anthropic */
	API_FILES = 6,
	API_BATCHES = 7,
	API_VECTOR_STORES = 8,
	API_CONVERSATIONS = 9,
	API_IMAGES = 10,
	API_AUDIO = 11,
	API_REALTIME = 12,
	API_MODELS = 13, /* discovery: answered here, never by Azure */
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

/* Where the name of the model is. */
enum api_model {
	MODEL_NONE = 0,   /* the objects say which resource, else the config */
	MODEL_OBJECT = 1, /* the object of the path was made with one */
	MODEL_BODY = 2,   /* path, then `model` in JSON or form */
	MODEL_QUERY = 3,  /* `deployment`, then `model` */
};

enum api_body {
	BODY_NONE = 0, /* not read; a JSON object is, when it comes */
	BODY_JSON = 1,
	BODY_FORM = 2, /* multipart/form-data, or JSON */
	BODY_ANY = 3,  /* passes unread: uploads */
	BODY_SDP = 4,  /* application/sdp only: a form could hold a session
	                * with another model */
};

enum api_tokens {
	TOKENS_NONE = 0,
	TOKENS_TEXT = 1,     /* estimated by the text when not reported */
	TOKENS_REPORTED = 2, /* only what is reported: images, audio */
};

/* Which ids of a good answer belong to the caller from then on. */
enum api_makes {
	MAKES_NOTHING = 0,
	MAKES_ID = 1,     /* $.id */
	MAKES_FILES = 2,  /* $.output_file_id and $.error_file_id */
	MAKES_SECRET = 3, /* $.value or $.client_secret.value */
};

/* The form in which discovery answers. */
enum api_discover {
	DISCOVER_NOT = 0,
	DISCOVER_AZURE = 1,  /* {"value":[{"name","properties":{"model"}}]} */
	DISCOVER_OPENAI = 2, /* {"object":"list","data":[{"id",..}]} */
};

enum {
	API_IDS_MAX = 2, /* in one path */
	API_ID_LEN = 256,
};

/* What the row of an operation says beyond its name. */
struct api_traits {
	enum api_model model;
	enum api_body body;
	enum api_tokens tokens;
	enum api_makes makes;
	enum api_discover discover;
	bool upgrade;   /* becomes a WebSocket */
	bool by_secret; /* of a session, in place of a credential */
	bool drops;     /* the object of the path is gone then */
	bool list;      /* would show the objects of other callers */
};

struct api_call {
	enum api_operation operation;
	enum api_shape shape; /* known even when the operation is not */
	enum api_surface surface;
	struct str path_model;       /* decoded {d} of the path, else empty */
	struct str suffix;           /* "/chat/completions": the part that every
	                              * surface shares; ids in it are checked */
	struct str ids[API_IDS_MAX]; /* objects it names */
	size_t n_ids;
	struct api_traits traits;
	bool method_ok; /* false: 405 */
};

/* `path` as it came, without query. A path with a control character, ';', an
 * encoded slash or backslash, "//", or a "." or ".." segment (also encoded)
 * is no operation. Escapes are accepted in {d} only, which is then decoded
 * into `arena`; `deployments` may stand there and nowhere else. An id has
 * letters, digits, '-', '_' and '.' only. The suffix and ids of *out point
 * into `path`. */
struct arena;
void operations_find(struct str method, struct str path, struct arena *arena,
                     struct api_call *out);

/* "chat", "embeddings", ...; "none" for API_NONE. For config, logs, labels. */
const char *operations_name(enum api_operation op);

/* The reverse; API_NONE when unknown. */
enum api_operation operations_by_name(struct str name);

/* Value of a query parameter, still encoded; empty when absent. */
struct str operations_query_get(struct str query, struct str name);

#endif
