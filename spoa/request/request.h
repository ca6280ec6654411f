/*
 * request: one NOTIFY from HAProxy on its way to a verdict.
 *
 *   frame --request_read--> struct request --decide/pipeline--> verdict
 *         --answer_write--> ACK
 *
 * A request lives in a slot of the worker's table from the NOTIFY until its
 * ACK. All it needs later is copied into its arena while the frame is still
 * there, so it can be parked (waiting for keys, a token, Redis) at any step.
 * Whoever waits for something on its behalf keeps its `ref`, not a pointer:
 * requests_find() gives NULL once the request has ended.
 */
#ifndef REQUEST_REQUEST_H
#define REQUEST_REQUEST_H

#include "base/arena.h"
#include "conf/policy.h"
#include "keys/jwks.h"
#include "keys/outbound.h"
#include "net/conn.h"
#include "api/operations.h"
#include "keys/identity.h"
#include "api/scan.h"
#include "api/refs.h"
#include "store/objects.h"
#include "store/store.h"

enum {
	REQUEST_ARENA = 24576,
	REQUEST_N_STEPS = 9, /* decide/steps has the table */
	/* Candidates in the order in which they are to be tried; target[0] is
	 * the one that the ACK names. */
	REQUEST_MAX_TARGETS = 4,
};

struct decider;  /* decide/decider: what the steps may use */
struct requests; /* request/table: where the request lives */

/* What HAProxy told us. All strings are in the arena. */
struct request_facts {
	struct str id;  /* unique-id: made by HAProxy, never by a client */
	struct str src; /* textual address */
	struct str method;
	struct str path;
	struct str query;
	struct str api_key, x_api_key, custom_key; /* the three key headers */
	struct str authorization;
	unsigned n_authorization, n_api_key, n_x_api_key, n_custom_key;
	struct str content_type;
	struct str content_encoding;
	struct str content_length; /* empty: chunked, or HTTP/2 without */
	/* what the caller says of itself; believed of trusted consumers */
	struct str foundry_agent, foundry_project, openai_project;
	bool has_body;      /* a body argument came */
	uint64_t body_len;  /* bytes of it that HAProxy held */
	uint64_t body_size; /* bytes announced; 0 when not known */
	bool body_cut;      /* we did not see all of it */
	enum scan_status scan_status;
	struct scan_result scan;
	struct refs refs;
	bool is_form; /* multipart; scan.model is the form's */
};

/* Who is calling. Written by authenticate (identity) and authorize (rest). */
struct request_caller {
	struct identity *identity; /* reference held */
	const struct policy_consumer *consumer;
	struct str account;        /* of the store: team or consumer */
	struct str agent, project; /* of a trusted Foundry connection */
	struct str owner;          /* of what is made; set by objects */
	struct store_caller scope; /* as limits and blocks name it; reserve */
};

/* What is asked for. Written by resolve, objects and authorize. */
struct request_call {
	struct api_call api;
	const struct policy_model *model; /* NULL: works without one */
	struct str model_name; /* of an object whose model is gone, too */
	struct str origin;     /* request that pays: a background response */
	size_t n_owned;        /* objects that were found to be the caller's */
	const struct policy_resource *pinned; /* which holds them, or NULL */
	const struct policy_rule *rule;
};

/* What it may cost, and from which limits that was taken. Written by estimate
 * and reserve. */
struct request_charge {
	bool estimated; /* the next three are set */
	uint64_t prompt_tokens;
	uint64_t output_tokens;
	uint64_t nano_usd;
	struct store_charge items[STORE_MAX_CHARGES];
	const struct policy_limit *limits[STORE_MAX_CHARGES]; /* of items[] */
	size_t n;
	bool reserved;
	bool local;  /* Redis was away: held in memory */
	bool leased; /* admitted without waiting for Redis */
	/* what the caller is told of its limits, see decide/ratelimit.h */
	struct str rate_requests, rate_tokens, warning;
};

/* One place where the request can run. Written by route, adapt, credential. */
struct request_target {
	const struct policy_deployment *deployment; /* NULL: without model */
	const struct policy_resource *resource;
	bool model_in_body; /* the upstream reads `model` from the body */
	struct str backend, host, path, query;
	struct str edits; /* of the body, see decide/adapt.h; or empty */
	unsigned n_edits;
	uint64_t edited_length; /* of the body, when there are edits */
	bool strip_usage;       /* the usage of the answer is only ours */
	struct str auth_name, auth_value; /* the value is a secret */
};

enum verdict {
	VERDICT_NONE = 0,
	VERDICT_ALLOW = 1,
	VERDICT_DENY = 2,
	VERDICT_ANSWER = 3, /* by the gateway itself: discovery */
};

struct request_verdict {
	enum verdict verdict;
	int status;
	const char *code;       /* constant: "token_expired" */
	struct str message;     /* for the caller: a sentence */
	struct str detail;      /* for the log only */
	uint64_t retry_after_s; /* 0: none */
	struct str body;        /* VERDICT_ANSWER: JSON, one line */
	struct str limit;       /* name of the limit that refused */
};

/* The answer of the object store that a parked step was woken for. */
struct request_lookup {
	bool done; /* the two below are set, and nobody has read them yet */
	enum object_status status;
	struct object object; /* its strings are in the arena */
};

struct request {
	struct decider *decider;
	struct requests *table;
	uint64_t ref; /* what waiters keep */
	struct conn_ref conn;
	size_t ack_limit;
	struct policy *policy; /* reference held */
	struct arena arena;

	struct request_facts facts;
	struct request_caller caller;
	struct request_call call;
	struct request_charge charge;
	struct request_target target[REQUEST_MAX_TARGETS];
	size_t n_targets;
	struct request_verdict verdict;

	/* how far the pipeline is, and what a parked step waits for */
	unsigned step;
	bool parked;
	bool woken;            /* was parked in this step before */
	const char *waits_for; /* constant, for the log and the timeout */
	struct waiter wait;    /* for keys or a token */
	struct store_result store_result; /* what woke decide/reserve */
	struct request_lookup lookup;
	struct loop_timer again; /* wakes decide/objects */
	uint64_t started_us;
	uint64_t parked_us;
	uint64_t step_us[REQUEST_N_STEPS];

	struct request *next, **prev; /* the table's list, oldest first */
	char mem[REQUEST_ARENA] __attribute__((aligned(16)));
};

/* Fill facts from a message `admit` or `admit_head`. False when the frame is
 * malformed or lacks what HAProxy always sends; the pipeline then denies. */
bool request_read(struct request *r, const struct frame *f);

/* The same for id, src, method, path and query alone: neither headers nor body
 * are read. */
bool request_read_head(struct request *r, const struct frame *f);

#endif
