/*
 * conf/policy: the checked configuration, ready for use.
 *
 *   conf/load -> struct policy --policy_ref--> agent, store, requests
 *
 * A policy is immutable and reference-counted. A reload builds a new one and
 * swaps one pointer; a request keeps the one it began with. All strings and
 * arrays in it belong to it and live as long as it does. Only conf/ writes to
 * it, before anybody else has it. The count is not atomic: a policy belongs to
 * one process, which has one thread. Indexes (tenant, credential, resource,
 * limit) point into its arrays.
 */
#ifndef CONF_POLICY_H
#define CONF_POLICY_H

#include "base/map.h"
#include "base/str.h"

struct strs {
	const struct str *v;
	size_t n;
};

/* ------------------------------------------- process: listeners and Redis */

struct policy_listen {
	struct strs spop;      /* "unix:/path" or "127.0.0.1:9101": SPOE */
	struct str usage;      /* UDP, "127.0.0.1:9103": usage records */
	struct str http;       /* TCP, "127.0.0.1:9102": metrics, health */
	unsigned unix_mode;    /* of the unix socket, default 0660 */
	struct str unix_group; /* group of the unix socket; empty: unchanged */
};

struct policy_endpoint {
	struct str host; /* or the path of a unix socket when port is 0 */
	uint16_t port;
};

/* A primary with its replicas; more than any setup needs. */
enum { POLICY_REDIS_ENDPOINTS = 8 };

struct policy_redis {
	bool enabled;
	bool required; /* /readyz fails while Redis is away */
	bool tls;      /* rediss:// */
	/* one primary and its replicas, in the order in which they are tried */
	struct policy_endpoint endpoints[POLICY_REDIS_ENDPOINTS];
	size_t n_endpoints;
	unsigned db;
	struct str username; /* ACL user, empty: default */
	struct str password; /* read from file or environment */
	/* Its access token is the password, and the object id in that token is
	 * the user if there is no username (azure.md 3.10). NULL: none. */
	const struct policy_credential *credential;
	struct str ca_file;   /* empty: the system's */
	unsigned deadline_ms; /* for one command, default 150 */
	struct str prefix;    /* of every key, default "gw" */
};

/* ------------------------------------------------------ callers: inbound */

/* A directory (tenant) of Entra whose access tokens are accepted. */

struct policy_tenant {
	struct str name;
	struct str id;          /* GUID, lower case */
	struct str authority;   /* "https://login.microsoftonline.com" */
	struct str issuer_v1;   /* "https://sts.windows.net/{id}/" */
	struct str issuer_v2;   /* "{authority}/{id}/v2.0" */
	struct str metadata_v1; /* OIDC metadata URL for ver 1.0 tokens */
	struct str metadata_v2;
	struct strs audiences; /* each also matches with one trailing '/' */
	struct strs scopes;    /* a delegated token needs one of these */
	struct strs roles;     /* an app-only token needs one of these ... */
	struct strs callers;   /* ... or its app or object id is listed */
	unsigned skew_s;       /* for exp and nbf, default 60 */
};

/* Conditions on a caller. All given conditions must hold; a list holds when one
 * of its entries does. An empty condition (n == 0) is not tested. Names of
 * claims: azure.md 1.7. */
struct policy_match {
	bool any;            /* "any": true, holds for everybody */
	int tenant;          /* index, -1: not tested */
	struct strs apps;    /* appid / azp */
	struct strs objects; /* oid */
	struct strs roles;
	struct strs scopes;
	struct strs groups;
	struct strs keys;   /* names of gateway keys */
	struct strs mirids; /* xms_mirid, without case (here in lower case), one
	                     * '*' allowed */
};

/* A gateway key. Only its hash is configured. */
struct policy_key {
	struct str name;
	uint8_t sha256[32]; /* of the key's text */
	int64_t not_after;  /* unix seconds, 0: no end */
};

/* Whom a caller is charged to. The first consumer with a match that holds. */
struct policy_consumer {
	struct str name;
	struct str team;                  /* empty: none */
	const struct policy_match *match; /* one of these must hold */
	size_t n_match;
	const unsigned *limits; /* indexes; all of them are charged */
	size_t n_limits;
	bool trust_foundry; /* its x-ms-foundry-* headers are used */
};

/* Where a consumer is charged: a team shares the limits and the ledger stream
 * of one account. The name is the hash tag of its Redis keys (store/store.h).
 */
static inline struct str policy_account(const struct policy_consumer *c)
{
	return c->team.len > 0 ? c->team : c->name;
}

/* Authorization. The first rule that matches decides; without one the request
 * is denied. */
struct policy_rule {
	struct str name;
	bool allow;
	struct strs consumers; /* names, "*" globs; empty: all */
	struct policy_match match;
	bool has_match;
	struct strs models;  /* public names, globs; empty: all */
	uint32_t operations; /* bit set over enum api_operation; 0: all */
};

/* Which credential a request needs, and which is used when it has two. */
enum policy_require {
	/* The token if there is one, otherwise the key. A credential that is
	 * present and not valid is refused. */
	REQUIRE_ANY = 0,
	REQUIRE_TOKEN = 1, /* only tokens; a key is ignored */
	REQUIRE_KEY = 2,   /* only keys; a token is ignored */
	/* Both must be present and valid; the identity is that of the token,
	 * with the name of the key added. */
	REQUIRE_BOTH = 3,
};

/* ------------------------------------------------------- Azure: outbound */

/* Sources of an outbound credential; the sections are those of azure.md. */
enum credential_type {
	CRED_IMDS = 0,          /* managed identity of a VM (3.2) */
	CRED_APP_SERVICE = 1,   /* App Service, Container Apps (3.3) */
	CRED_CLIENT_SECRET = 2, /* (3.7) */
	CRED_KEY = 3,           /* a static key of the resource */
	CRED_WORKLOAD = 4,      /* AKS workload identity (3.6) */
	CRED_CERTIFICATE = 5,   /* an app's certificate (3.7) */
	CRED_ARC = 6,           /* managed identity of an Arc machine (3.4) */
};

struct policy_credential {
	struct str name;
	enum credential_type type;
	struct str endpoint;     /* by type: base URL of IMDS or the Arc agent,
	                          * IDENTITY_ENDPOINT, or the authority */
	struct str header_value; /* IDENTITY_HEADER; a secret */
	struct str tenant_id;    /* types with an authority */
	struct str client_id;    /* user-assigned identity or the app's id */
	struct str object_id;    /* IMDS: instead of client_id */
	struct str resource_id;  /* IMDS: msi_res_id, instead of client_id */
	struct str secret;       /* client secret or static key; a secret */
	struct str file;         /* federated token, or PEM with key: read
	                          * again for every token */
	struct str audience;     /* "https://cognitiveservices.azure.com" */
	struct str key_header;   /* CRED_KEY: "api-key" (default) */
};

/* A Foundry or Azure OpenAI resource. */
struct policy_resource {
	struct str name; /* also of the HAProxy backend: [A-Za-z0-9_-] */
	bool tls;
	struct str host;    /* for connect, Host, SNI and verification */
	uint16_t port;      /* of the URL: for connect and Host */
	struct str address; /* "HOST:PORT" to connect to instead of host:port;
	                     * empty: none */
	struct str region;
	struct str ca_file;  /* for `verify required`, empty: the system's */
	unsigned credential; /* index */
	struct str audience; /* of its tokens; empty: the credential's */
};

/* The URL scheme by which a deployment is called (azure.md 4.6). */
enum policy_surface {
	SURFACE_AZURE = 0,     /* /openai/deployments/{d}/..?api-version= */
	SURFACE_V1 = 1,        /* /openai/v1/.., model in the body */
	SURFACE_MODELS = 2,    /* /models/..?api-version= */
	SURFACE_ANTHROPIC = 3, /* /anthropic/v1/.. */
};

/* Provisioned throughput units: paid by the hour, used or not. */
struct policy_ptu {
	unsigned units;         /* 0: not provisioned, paid by the token */
	uint64_t unit_hour;     /* pico-dollars per unit and hour */
	uint64_t unit_tpm;      /* weighted tokens per minute and unit; 0: not
	                         * stated */
	unsigned output_weight; /* of an output token; an input token has 1 */
	int64_t since, until;   /* unix seconds; 0: open */
};

struct policy_deployment {
	struct str name;   /* as Azure knows it */
	unsigned resource; /* index */
	unsigned priority; /* 1 is used first */
	unsigned weight;   /* share within a priority, at least 1 */
	enum policy_surface surface;
	struct str api_version; /* empty: the caller's, else the default */
	struct policy_ptu ptu;
};

struct policy_word {
	struct str from, to; /* `to` is empty: the member is removed */
};

/* Values of a body member that are replaced by others. */
struct policy_words {
	const struct policy_word *v;
	size_t n;
};

/* Name of the member that limits the output tokens upstream. */
enum policy_adapt_max {
	ADAPT_KEEP = 0,
	ADAPT_MAX_TOKENS = 1,
	ADAPT_MAX_COMPLETION_TOKENS = 2,
};

/* Changes of request bodies (decide/adapt); zero: none. */
struct policy_adapt {
	enum policy_adapt_max max_tokens;     /* chat */
	struct policy_words reasoning_effort; /* chat */
	uint32_t drop;                        /* bit set of enum scan_member */
	uint64_t cap_output_tokens;           /* 0: none */
};

/* Prices per token. Pico-dollars (10^-12 USD); 0: free. USD per million tokens
 * with six decimals is a whole number of them per token.
 *
 * X(name, FIRST, SECOND, help): one that the file does not state takes that of
 * FIRST if the file states it, else that of SECOND (conf/model_price). Both are
 * above it in the table; of `input` and `output` they are the row itself. */
/* clang-format off */
#define POLICY_RATES(X)                                                        \
	X(input, input, input, "prompt tokens")                                \
	X(cached, input, input,                                                \
	  "cached prompt tokens; default: as input")                           \
	X(output, output, output, "completion tokens")                         \
	X(cache_write_5m, input, input,                                        \
	  "prompt tokens that are written to a cache for 5 minutes, or it is " \
	  "not told for how long; default: as input")                          \
	X(cache_write_1h, cache_write_5m, cache_write_5m,                      \
	  "prompt tokens that are written to a cache for an hour; default: as "\
	  "cache_write_5m")                                                    \
	X(audio_input, input, input,                                           \
	  "audio tokens of prompts; default: as input")                        \
	X(audio_cached, audio_input, cached,                                   \
	  "cached audio tokens; default: as audio_input, or without that as "  \
	  "cached")                                                            \
	X(audio_output, output, output,                                        \
	  "audio tokens of answers; default: as output")                       \
	X(image_input, input, input,                                           \
	  "image tokens of prompts; default: as input")                        \
	X(image_cached, image_input, cached,                                   \
	  "cached image tokens; default: as image_input, or without that as "  \
	  "cached")                                                            \
	X(image_output, output, output,                                        \
	  "image tokens of answers; default: as output")                       \
	X(reasoning, output, output, "reasoning tokens; default: as output")
/* clang-format on */

struct policy_rates {
#define POLICY_RATE(name, first, second, help) uint64_t name;
	POLICY_RATES(POLICY_RATE)
#undef POLICY_RATE
};

/* For all tokens of a request whose prompt has more than `tokens`. */
struct policy_price_above {
	uint64_t tokens;
	struct policy_rates rates;
};

struct policy_price {
	struct policy_rates rates;
	uint64_t request;                       /* pico-dollars per request */
	const struct policy_price_above *above; /* by `tokens`, ascending */
	size_t n_above;
};

struct policy_model {
	struct str name; /* public */
	struct strs aliases;
	/* for model discovery; empty: derived, see decide/discover */
	struct str base_model, version, format;
	const struct policy_deployment *deployments;
	size_t n_deployments;
	uint64_t default_output_tokens; /* reserved if the request names no
	                                 * maximum */
	uint64_t max_output_tokens;     /* cap of the reservation, 0: none */
	bool ask_usage; /* request the usage of chat streams (stream_options)
	                 * if the client did not */
	struct policy_adapt adapt;
	struct policy_price price;
	/* per token; `request` is not used, and `above` not of a batch: its
	 * usage is the sum of many prompts */
	struct policy_price price_batch;
	/* the service tiers; `request` is that of `price` */
	struct policy_price price_priority, price_flex;
};

/* A deployment with `ptu`, and the model that configures it. */
struct policy_provisioned {
	const struct policy_model *model;
	const struct policy_deployment *deployment;
	struct str resource; /* name */
};

/* Objects of a resource: files, responses, conversations, ... */
struct policy_objects {
	bool enabled;      /* false: requests that create an object without a
	                    * model are refused */
	unsigned resource; /* index: where those are created */
	unsigned ttl_days; /* without use, until the owner is forgotten */
};

/* ---------------------------------------------------------------- limits */

/* The scope that has a counter of its own. */
enum limit_per {
	PER_CONSUMER = 0,
	PER_APP = 1,
	PER_AGENT = 2,
	PER_MODEL = 3,
	PER_TEAM = 4,
};

enum limit_unit {
	UNIT_REQUESTS = 0,
	UNIT_TOKENS = 1,
	UNIT_USD = 2,
	UNIT_CONCURRENT = 3, /* requests and streams in flight */
};

/* The numbers are stored in Redis (store/scripts/common.lua). */
enum limit_window {
	WINDOW_MINUTE = 0, /* token bucket: refills steadily */
	WINDOW_HOUR = 1,   /* fixed, UTC */
	WINDOW_DAY = 2,
	WINDOW_MONTH = 3,
	WINDOW_OPEN = 4, /* concurrency: no time, the settle returns it */
};

/* What to do while Redis does not answer. */
enum limit_on_failure {
	FAIL_LOCAL = 0, /* keep the limit in this process */
	FAIL_ALLOW = 1,
	FAIL_DENY = 2,
};

/* The largest amount: a million dollars in nano-dollars. Redis counts in
 * doubles, which are exact up to 9 * 10^15 and need room for debts; see
 * store/window.h. */
#define LIMIT_AMOUNT_MAX INT64_C(1000000000000000)

struct policy_limit {
	struct str name;
	enum limit_per per;
	enum limit_unit unit;
	enum limit_window window;
	uint64_t amount; /* requests, tokens, nano-dollars, streams */
	enum limit_on_failure on_store_failure;
	double warn_at;     /* used share from which answers warn; 0: never */
	double lease_share; /* see struct store_charge; 0: mode exact */
};

/* The record of what each request has used (usage/ledger). */
struct policy_ledger {
	struct str file;     /* empty: none */
	uint64_t max_bytes;  /* size at which it is rotated; 0: never */
	uint64_t stream_max; /* entries per account in Redis; 0: none */
};

/* ------------------------------------------------------ the whole policy */

struct policy {
	unsigned refs;
	char *file; /* path it was read from, for messages and reload */

	unsigned workers;
	int log_level; /* enum log_level */
	struct policy_listen listen;
	struct policy_redis redis;
	struct policy_ledger ledger;
	unsigned decision_timeout_ms; /* of one request; default 250 */

	const struct policy_tenant *tenants;
	size_t n_tenants;
	enum policy_require require;
	struct str key_header; /* additional header for keys, lower case */
	const struct policy_key *keys;
	size_t n_keys;
	const struct policy_consumer *consumers;
	size_t n_consumers;
	const struct policy_rule *rules;
	size_t n_rules;

	const struct policy_credential *credentials;
	size_t n_credentials;
	const struct policy_resource *resources;
	size_t n_resources;
	struct policy_objects objects;
	const struct policy_model *models;
	size_t n_models;
	struct map model_by_name; /* name or alias -> struct policy_model* */
	const struct policy_provisioned *provisioned;
	size_t n_provisioned;

	const struct policy_limit *limits;
	size_t n_limits;

	void *pool; /* struct pool with everything above; private to conf/ */
};

/* Take a reference, and return p. Accepts NULL. */
struct policy *policy_ref(struct policy *p);

/* Release a reference. The last one frees and wipes the policy. Accepts NULL.
 */
void policy_unref(struct policy *p);

/* By name; NULL when there is none. */
const struct policy_resource *policy_resource(const struct policy *p,
                                              struct str name);

/* By public name or alias, case-sensitive; NULL when there is none. */
const struct policy_model *policy_model(const struct policy *p,
                                        struct str name);

/* By public name or alias; otherwise the first model that has a deployment with
 * this name at the resource, because answers of Azure may name the deployment.
 * NULL when there is none. */
const struct policy_model *policy_model_deployed(const struct policy *p,
                                                 struct str resource,
                                                 struct str name);

/* The provisioned deployment with this name at this resource, of any model;
 * NULL when there is none. */
const struct policy_provisioned *policy_provisioned(const struct policy *p,
                                                    struct str resource,
                                                    struct str deployment);

#endif
