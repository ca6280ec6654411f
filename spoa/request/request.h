/*
 * request: one NOTIFY from HAProxy on its way to a verdict.
 *
 *   NOTIFY --request_read--> struct request --decide/pipeline--> verdict
 *          --decide/answer--> ACK
 *
 * A request lives in a slot of the worker's table (request/table) from its
 * NOTIFY until its ACK. What the steps need of the frame is copied into the
 * arena by request_read(), because a step may park the request (it waits for
 * keys, a token or Redis) and the frame is gone when the step is run again.
 *
 * Ownership: every struct str below points into the arena, into `policy`, or
 * to a constant, and lives as long as the request; an exception is marked. A
 * pointer to a part of the policy lives as long, because the request holds a
 * reference. Whoever waits for something on behalf of a request keeps its
 * `ref` and never a pointer: requests_find() gives NULL for a request that has
 * ended.
 *
 * Each sub-struct names the functions that write it; all others only read it.
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
	/* Bytes. The longest token (JOSE_TOKEN_MAX, 16 kB) and the longest
	 * URL that haproxy.cfg lets in (4 kB) fit together; what is left is for
	 * what the steps build. More is denied as DENY_WORKSPACE. */
	REQUEST_ARENA = 24576,
	/* Rows of step_table[] in decide/step.c. Here, because a request has a
	 * time for each step and request/ must not include decide/. */
	REQUEST_N_STEPS = 9,
	/* Deployments that one request may try, in the order of target[]. */
	REQUEST_MAX_TARGETS = 4,
};

struct decider;  /* decide/decider: what the steps may use */
struct requests; /* request/table: where the request lives */

/* What HAProxy says of the request. Written by request_read(), once, before
 * the first step; decide/resolve replaces refs.session_model where a realtime
 * session only transcribes. Nothing of it is proved: a header is what the
 * caller sent. */
struct request_facts {
	struct str id; /* unique-id: made by HAProxy, never by a client */
	struct str
		nonce;  /* of HAProxy for this request; nobody else knows it */
	struct str src; /* textual address; empty behind a unix socket */
	struct str method;
	struct str path;  /* as sent, escapes and all; may be empty */
	struct str query; /* without '?' */
	/* The headers that may hold a gateway key; `custom_key` is the one
	 * that the policy names (key_header). A value that is longer than any
	 * credential is empty here and still counted below. */
	struct str api_key, x_api_key, custom_key;
	struct str authorization;
	unsigned n_authorization, n_api_key, n_x_api_key, n_custom_key;
	/* What says how the body is to be read; this and all below: at most 256
	 * bytes. A longer one is empty here and still counted: cut it would be
	 * read in another way. */
	struct str content_type;
	struct str content_encoding;  /* empty: identity */
	struct str content_length;    /* empty: chunked, or HTTP/2 without */
	struct str transfer_encoding; /* empty: none */
	unsigned n_content_type, n_content_encoding, n_content_length,
		n_transfer_encoding;
	/* What Foundry says of the agent that calls. decide/authorize believes
	 * it of consumers with `trust_foundry` only. */
	struct str foundry_agent, foundry_project, openai_project;

	bool has_body;      /* HAProxy waited for the body and sent it */
	uint64_t body_len;  /* bytes of the body that HAProxy held */
	uint64_t body_size; /* bytes that Content-Length announced; without
	                     * one what HAProxy held; 0: not said */
	bool body_cut;      /* the agent did not see the whole body */
	enum scan_status scan_status; /* of `scan`, or of the form */
	struct scan_result scan; /* of a JSON body; of a form `model` alone */
	struct refs refs;        /* objects that a JSON body names */
	bool is_form;            /* multipart/form-data */
};

/* Who is calling. */
struct request_caller {
	/* By decide/authenticate or decide/session; a reference is held. NULL
	 * until then. */
	struct identity *identity;
	/* By decide/authorize: who is charged. */
	const struct policy_consumer *consumer;
	struct str account;        /* in the store: the team, or the consumer */
	struct str agent, project; /* empty unless Foundry is trusted */
	/* By decide/objects: owns what this request makes and must own what it
	 * names (identity_owner()). */
	struct str owner;
	/* By decide/reserve: the names that limits and blocks go by. */
	struct store_caller scope;
};

/* What is asked for. */
struct request_call {
	/* By decide/pipeline, before the first step. */
	struct api_call api;
	/* By decide/resolve from path, query or body; by decide/objects and
	 * decide/session from the object that is named. */
	const struct policy_model *model; /* NULL: none, or gone from policy */
	struct str model_name;            /* as the object has it, else empty */
	/* By decide/objects: the request whose reservation pays, when the
	 * object is a background response; else empty. */
	struct str origin;
	/* By decide/objects: ids that were found to be the caller's; also the
	 * position of the next id to look up. */
	size_t n_owned;
	/* By decide/objects and decide/session: the only resource that can
	 * serve the request; NULL: any. */
	const struct policy_resource *pinned;
	/* By decide/authorize: the rule that matched; NULL: none did. */
	const struct policy_rule *rule;
};

/* What it may cost, and from which limits that was taken. */
struct request_charge {
	/* By decide/estimate. Zero for what costs no tokens. */
	bool estimated; /* the step has run */
	uint64_t prompt_tokens;
	uint64_t output_tokens;
	uint64_t nano_usd;
	/* By decide/reserve. */
	struct store_charge items[STORE_MAX_CHARGES];
	const struct policy_limit *limits[STORE_MAX_CHARGES]; /* of items[] */
	size_t n;
	bool reserved; /* the store holds a reservation under facts.id */
	bool local;    /* ... in the memory of this worker, not in Redis */
	bool leased;   /* ... admitted before Redis has answered */
	/* By decide/ratelimit: headers that tell the caller of its limits. */
	struct str rate_requests, rate_tokens; /* LIMIT/REMAINING/RESET */
	struct str warning; /* name of the limit that is nearly used up */
};

/* One place where the request can run. */
struct request_target {
	/* By decide/route. */
	const struct policy_deployment *deployment; /* NULL: without model */
	const struct policy_resource *resource;
	bool model_in_body; /* the upstream reads `model` from the body */
	struct str backend; /* of haproxy: r.RESOURCE, or s.RESOURCE */
	struct str host, path, query;
	/* By decide/adapt, which also turns `backend` into s.RESOURCE. */
	struct str edits; /* of the body, for lua/edits.lua; empty: none */
	unsigned n_edits;
	uint64_t edited_length; /* bytes of the body with the edits made */
	bool strip_usage;       /* the client did not ask for the usage that
	                         * the stream will end with */
	/* By decide/credential. Borrowed from keys/outbound until the next turn
	 * of the loop, so that step is the last one. The value is a secret. */
	struct str auth_name, auth_value;
};

enum verdict {
	VERDICT_NONE = 0, /* not decided yet; told to HAProxy as a denial */
	VERDICT_ALLOW = 1,
	VERDICT_DENY = 2,
	VERDICT_ANSWER = 3, /* the gateway answers itself: discovery */
};

/* Written by decide/verdict alone, except for the two fields that are marked.
 */
struct request_verdict {
	enum verdict verdict;
	int status;             /* of HTTP */
	const char *code;       /* constant: "token_expired" */
	struct str message;     /* for the caller: a sentence */
	struct str detail;      /* for the log only */
	uint64_t retry_after_s; /* 0: none; also by reserve and route */
	struct str body;        /* VERDICT_ANSWER: JSON, one line */
	struct str limit;       /* the limit that refused; by reserve */
};

/* What the object store has answered to a parked step. Written and read by
 * decide/lookup. */
struct request_lookup {
	bool done; /* the answer is here and the step has not read it yet */
	enum object_status status;
	struct object object; /* its strings are in the arena */
};

struct request {
	struct decider *decider; /* borrowed; outlives every request */
	struct requests *table;  /* likewise */
	uint64_t ref;            /* what waiters keep; never 0 */
	struct conn_ref conn;    /* where the ACK goes */
	size_t ack_limit;        /* bytes that the ACK may have, see net/conn */
	struct policy *policy;   /* the one at its start; reference held */
	struct arena arena;      /* works in `mem` */

	struct request_facts facts;
	struct request_caller caller;
	struct request_call call;
	struct request_charge charge;
	/* The candidates, best first. The ACK names target[0]. decide/route
	 * fills in one: n_targets is 0 before it and 1 after it. */
	struct request_target target[REQUEST_MAX_TARGETS];
	size_t n_targets;
	struct request_verdict verdict;

	/* How far decide/pipeline is, and what a parked step waits for. */
	unsigned step;         /* row of step_table[] that is run or parked */
	bool parked;           /* a waker is known, the deadline runs */
	bool woken;            /* this step was parked and is run again */
	const char *waits_for; /* constant; in the message of a timeout */
	struct waiter wait;    /* in a list of keys/: for keys or a token */
	struct store_result store_result; /* answer to decide/reserve */
	struct request_lookup lookup;     /* answer to decide/lookup */
	struct loop_timer again;          /* decide/objects looks up again */
	uint64_t started_us;              /* of the monotonic clock */
	uint64_t parked_us;               /* likewise: when last parked */
	/* Microseconds of each step, with the time that it was parked. */
	uint64_t step_us[REQUEST_N_STEPS];

	struct request *next, **prev; /* of the table's list, oldest first */
	/* Last, because request/table does not zero it for a new request. */
	char mem[REQUEST_ARENA] __attribute__((aligned(16)));
};

/* Fill in r->facts from a NOTIFY with one message `admit` or `admit_head`
 * (haproxy-conf/spoe-gateway.conf). r->policy and r->arena must be set; the
 * views in `f` are not kept. False when the frame is malformed, lacks what
 * HAProxy always sends, or holds more than one message: r->facts may then be
 * filled in part, and the request must be denied. An arena that overflows is
 * no error here: decide/pipeline denies the request at its end. */
bool request_read(struct request *r, const struct frame *f);

/* The same for id, src, method, path and query alone: neither headers nor body
 * are read. For a request that is refused whatever it says. */
bool request_read_head(struct request *r, const struct frame *f);

#endif
