/*
 * api/operations: which operation of which API a request asks for.
 *
 *   method, path --operations_find--> struct api_call
 *
 * One table row per method and path pattern says everything that the rest of
 * the agent must know of an operation (struct api_traits): where the name of
 * its model is, what its body is, whether it costs tokens, which objects it
 * makes and removes. A path without a row is refused: the gateway passes only
 * what it can authorize and count. The operations are those of foundry.md 4.6.
 */
#ifndef API_OPERATIONS_H
#define API_OPERATIONS_H

#include "base/str.h"

/* The unit that policies allow or deny and that logs and metrics name. All
 * methods and paths that concern one kind of object are one operation.
 * struct policy_rule keeps them as bits of a uint32_t. */
enum api_operation {
	API_NONE = 0, /* the path is not in the table */
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
	API_MODELS = 13, /* discovery: the agent answers, not a resource */
	API_N_OPERATIONS,
};

/* The shape of error bodies that the client of this API expects. */
enum api_shape {
	SHAPE_OPENAI = 0,    /* {"error":{..}}; Azure OpenAI's are the same */
	SHAPE_ANTHROPIC = 1, /* {"type":"error","error":{..}} */
};

/* The dialect of the inference API that the caller's path belongs to. Any
 * prefix may come first: Foundry connections put their `target` there. */
enum api_surface {
	CALL_PLAIN = 0,     /* /chat/completions, /v1/.., none of the below */
	CALL_AZURE = 1,     /* ../deployments/{d}/.. */
	CALL_V1 = 2,        /* /openai/v1/.., without a prefix */
	CALL_MODELS = 3,    /* /models/.., without a prefix */
	CALL_ANTHROPIC = 4, /* ../v1/messages */
};

/* Where the name of the model is. decide/resolve relies on the order: from
 * MODEL_BODY on the request itself names it. */
enum api_model {
	MODEL_NONE = 0,   /* there is none; the objects that are named decide on
	                   * the resource, else the configuration does */
	MODEL_OBJECT = 1, /* the object in the path was made with a model */
	MODEL_BODY = 2,   /* {d} of the path, else `model` of JSON or form */
	MODEL_QUERY = 3,  /* query parameter `deployment`, else `model` */
};

/* What the body must be. */
enum api_body {
	BODY_NONE = 0, /* nothing; a JSON object that comes is checked */
	BODY_JSON = 1,
	BODY_FORM = 2, /* multipart/form-data, or JSON */
	BODY_ANY = 3,  /* an upload, which passes unread */
	BODY_SDP = 4,  /* application/sdp. The API also takes a form, but that
	                * could contain a session with another model */
};

/* What the operation is charged with besides the request itself. */
enum api_tokens {
	TOKENS_NONE = 0,
	TOKENS_TEXT = 1,     /* an estimate from the text, if none reported */
	TOKENS_REPORTED = 2, /* only reported ones: images, audio,
	                      * a WebSocket of the realtime API */
};

/* The members of a successful answer whose values are ids of new objects; they
 * belong to the caller from then on (decide/ownership). */
enum api_makes {
	MAKES_NOTHING = 0,
	MAKES_ID = 1,     /* $.id */
	MAKES_FILES = 2,  /* $.output_file_id and $.error_file_id */
	MAKES_SECRET = 3, /* $.value or $.client_secret.value: a session */
};

/* The format in which discovery answers (foundry.md 3). */
enum api_discover {
	DISCOVER_NOT = 0,
	DISCOVER_AZURE = 1,  /* {"value":[{"name","properties":{"model"}}]} */
	DISCOVER_OPENAI = 2, /* {"object":"list","data":[{"id",..}]} */
};

enum {
	API_IDS_MAX = 2,  /* {id} in one pattern; no row has more */
	API_ID_LEN = 256, /* bytes; ids of Azure have 30 to 60 */
};

/* What a row says of its method and path. */
struct api_traits {
	enum api_model model;
	enum api_body body;
	enum api_tokens tokens;
	enum api_makes makes;
	enum api_discover discover;
	bool upgrade;   /* the connection becomes a WebSocket */
	bool by_secret; /* the caller proves itself by the secret of a
	                 * session, which also goes upstream */
	bool drops;     /* deletes the object of the path */
	bool list;      /* refused: would list objects of other callers */
};

/* What operations_find() found. */
struct api_call {
	enum api_operation operation;
	enum api_shape shape; /* set also for API_NONE */
	enum api_surface surface;
	struct str path_model;       /* decoded {d} of the path, else empty */
	struct str suffix;           /* the part that the pattern matched,
	                              * "/chat/completions": every surface has
	                              * it, and upstream paths end with it */
	struct str ids[API_IDS_MAX]; /* {id} in the suffix, left to right */
	size_t n_ids;
	struct api_traits traits;
	bool method_ok; /* false: the path has no row of the method (405) */
};

struct arena;

/* Find the operation of a request. `path` is as the client sent it, without
 * query. *out is always set; `operation` is API_NONE for a path that is not in
 * the table or that two servers could read in two ways:
 *
 * - control characters, blanks, bytes above 0x7e, ';', '\', '?', '#';
 * - an empty, "." or ".." segment, also at the end;
 * - an escape ("%2f") anywhere but in {d} or {model}, or one there that stands
 *   for a slash, a backslash, a control character, '%' or ';';
 * - a segment "deployments" anywhere but in front of {d};
 * - an id with other characters than letters, digits, '-', '_' and '.'.
 *
 * {d} and {model} are decoded into `arena`; suffix and ids point into `path`,
 * which must outlive *out. */
void operations_find(struct str method, struct str path, struct arena *arena,
                     struct api_call *out);

/* "chat", "embeddings" ...; "none" for API_NONE: the name in the configuration,
 * in logs and in labels of metrics. A constant. */
const char *operations_name(enum api_operation op);

/* The operation with that name; API_NONE when there is none. */
enum api_operation operations_by_name(struct str name);

/* The value of the first parameter `name` of a query string, still encoded;
 * empty when it is missing. */
struct str operations_query_get(struct str query, struct str name);

#endif
