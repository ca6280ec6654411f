/*
 * conf/policy: what gateway.json says, checked and ready for use.
 *
 * A policy is immutable and reference-counted: reload builds a new one and
 * swaps one pointer; a request keeps the one it began with. All strings and
 * arrays in it belong to it and live as long as it does. conf/load builds it;
 * nothing else writes to it. Indexes (tenant, credential, resource, model)
 * point into its arrays.
 */
#ifndef CONF_POLICY_H
#define CONF_POLICY_H

#include "base/map.h"
#include "base/str.h"

struct strs {
	const struct str *v;
	size_t n;
};

/* ------------------------------------------------ the process: listeners */

struct policy_listen {
	struct strs spop;      /* "unix:/path" or "127.0.0.1:9101" */
	struct str usage;      /* UDP, "127.0.0.1:9103" */
	struct str http;       /* TCP, "127.0.0.1:9102" */
	unsigned unix_mode;    /* of the unix socket, default 0660 */
	struct str unix_group; /* group of the unix socket; empty: unchanged */
};

struct policy_endpoint {
	struct str host; /* or the path of a unix socket when port is 0 */
	uint16_t port;
};

enum { POLICY_REDIS_ENDPOINTS = 8 };

struct policy_redis {
	bool enabled;
	bool required; /* /readyz fails while Redis is away */
	bool tls;      /* rediss:// */
	/* one primary and its replicas, in the order they are tried */
	struct policy_endpoint endpoints[POLICY_REDIS_ENDPOINTS];
	size_t n_endpoints;
	unsigned db;
	struct str username; /* ACL user, empty: default */
	struct str password; /* read from file or environment */
	/* its tokens are the password, and their object id is the user where
	 * there is no username; NULL: none */
	const struct policy_credential *credential;
	struct str ca_file;   /* empty: the system's */
	unsigned deadline_ms; /* for one command, default 150 */
	struct str prefix;    /* of every key, default "gw" */
};

/* ------------------------------------------------------ callers: inbound */

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

/* Conditions on a caller. All that are given must hold; a list holds when
 * one of its entries does. An empty condition (n == 0, len == 0) is not
 * asked. */
struct policy_match {
	bool any;            /* written as "any": true - holds for everybody */
	int tenant;          /* index, -1: not asked */
	struct strs apps;    /* appid / azp */
	struct strs objects; /* oid */
	struct strs roles;
	struct strs scopes;
	struct strs groups;
	struct strs keys;   /* names of gateway keys */
	struct strs mirids; /* xms_mirid, without case (here in lower case), one
	                     * '*' allowed */
};

struct policy_key { /* a gateway key */
	struct str name;
	uint8_t sha256[32];
	int64_t not_after; /* unix seconds, 0: no end */
};

struct policy_consumer { /* who is charged */
	struct str name;
	struct str team;                  /* empty: none */
	const struct policy_match *match; /* one of these must hold */
	size_t n_match;
	const unsigned *limits; /* indexes, all of them count */
	size_t n_limits;
	bool trust_foundry; /* its x-ms-foundry-* headers are believed */
};

struct policy_rule { /* authorization; first match wins, default deny */
	struct str name;
	bool allow;
	struct strs consumers; /* names, "*" globs; empty: all */
	struct policy_match match;
	bool has_match;
	struct strs models;  /* public names, globs; empty: all */
	uint32_t operations; /* bit set over enum api_operation; 0: all */
};

/* When a token and a gateway key come in one request. */
enum policy_require {
	/* The token counts when there is one, else the key; one that is
	 * present and bad is refused. */
	REQUIRE_ANY = 0,
	REQUIRE_TOKEN = 1, /* only tokens; a key is ignored */
	REQUIRE_KEY = 2,   /* only keys; a token is ignored */
	/* Both must be there and good; the identity is the token's, with the
	 * key's name added. */
	REQUIRE_BOTH = 3,
};

/* ------------------------------------------------------- Azure: outbound */

enum credential_type {
	CRED_IMDS = 0,          /* managed identity of a VM (azure.md 3.2) */
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
	struct str endpoint;     /* URL of IMDS, Arc agent / IDENTITY_ENDPOINT /
	                          * authority */
	struct str header_value; /* IDENTITY_HEADER; secret */
	struct str tenant_id;    /* of the app: what has an authority */
	struct str client_id;    /* user-assigned identity or the app's id */
	struct str object_id;    /* IMDS: instead of client_id */
	struct str resource_id;  /* IMDS: msi_res_id, instead of client_id */
	struct str secret;       /* client secret or static key; secret */
	struct str file;         /* federated token, or PEM with key: read
	                          * again for every token */
	struct str audience;     /* "https://cognitiveservices.azure.com" */
	struct str key_header;   /* CRED_KEY: "api-key" (default) */
};

struct policy_resource { /* a Foundry / Azure OpenAI resource */
	struct str name; /* also of the HAProxy backend: [A-Za-z0-9_-] */
	bool tls;
	struct str host;    /* for connect, Host, SNI and verification */
	uint16_t port;      /* of the URL: for connect and Host */
	struct str address; /* "HOST:PORT", connect there instead of host:port;
	                     * empty: not so */
	struct str region;
	struct str ca_file;  /* for `verify required`, empty: the system's */
	unsigned credential; /* index */
	struct str audience; /* of its tokens; empty: the credential's */
};

/* What a deployment speaks. */
enum policy_surface {
	SURFACE_AZURE = 0,     /* /openai/deployments/{d}/..?api-version= */
	SURFACE_V1 = 1,        /* /openai/v1/.., model in the body */
	SURFACE_MODELS = 2,    /* /models/..?api-version= */
	SURFACE_ANTHROPIC = 3, /* /anthropic/v1/.. */
};

/* Provisioned throughput units: paid by the hour, whatever runs. */
struct policy_ptu {
	unsigned units;         /* 0: not provisioned, paid by the token */
	uint64_t unit_hour;     /* pico-dollars for a unit and an hour */
	uint64_t unit_tpm;      /* weighted tokens a minute; 0: not stated */
	unsigned output_weight; /* of an output token; one of input has 1 */
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
	struct str from, to; /* to is empty: the member goes */
};

struct policy_words { /* words that are replaced by others */
	const struct policy_word *v;
	size_t n;
};

/* How the limit of output is called upstream. */
enum policy_adapt_max {
	ADAPT_KEEP = 0,
	ADAPT_MAX_TOKENS = 1,
	ADAPT_MAX_COMPLETION_TOKENS = 2,
};

struct policy_adapt { /* changes of bodies; all off when zero */
	enum policy_adapt_max max_tokens;     /* chat */
	struct policy_words reasoning_effort; /* chat */
	uint32_t drop;                        /* bit set of enum scan_member */
	uint64_t cap_output_tokens;           /* 0: none */
};

struct policy_price {                   /* pico-dollars; 0: free */
	uint64_t input, cached, output; /* a token */
	uint64_t request;
};

struct policy_model {
	struct str name; /* public */
	struct strs aliases;
	/* what Foundry is told of it, empty: see decide/discover */
	struct str base_model, version, format;
	const struct policy_deployment *deployments;
	size_t n_deployments;
	uint64_t default_output_tokens; /* reserved when none are asked for */
	uint64_t max_output_tokens;     /* cap on what is reserved, 0: none */
	bool ask_usage; /* of chat streams whose client did not */
	struct policy_adapt adapt;
	struct policy_price price;
	struct policy_price price_batch; /* of tokens; no request has one */
};

/* A deployment that states its `ptu`, and the model where it does. */
struct policy_provisioned {
	const struct policy_model *model;
	const struct policy_deployment *deployment;
	struct str resource; /* name */
};

/* What has an id at a resource: files, responses, conversations, ... */
struct policy_objects {
	bool enabled;      /* false: nothing is made without a model */
	unsigned resource; /* index: of what is made without a model */
	unsigned ttl_days; /* without use, until the owner is forgotten */
};

/* ---------------------------------------------------------------- limits */

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

enum limit_window {
	WINDOW_MINUTE = 0, /* token bucket: refills steadily */
	WINDOW_HOUR = 1,   /* fixed, UTC */
	WINDOW_DAY = 2,
	WINDOW_MONTH = 3,
	WINDOW_OPEN = 4, /* no time: what is taken is given back */
};

/* What to do while the store is away. */
enum limit_on_failure {
	FAIL_LOCAL = 0, /* keep the limit in this process */
	FAIL_ALLOW = 1,
	FAIL_DENY = 2,
};

/* The largest amount: what counts it works with doubles in Redis and needs
 * room for debts. A million dollars in nano-dollars. */
#define LIMIT_AMOUNT_MAX INT64_C(1000000000000000)

struct policy_limit {
	struct str name;
	enum limit_per per;
	enum limit_unit unit;
	enum limit_window window;
	uint64_t amount; /* requests, tokens, nano-dollars, streams */
	enum limit_on_failure on_store_failure;
	double warn_at;     /* share from which it warns; 0: never */
	double lease_share; /* see struct store_charge; 0: exact mode */
};

struct policy_ledger {
	struct str file;     /* empty: none */
	uint64_t max_bytes;  /* rotated then; 0: never */
	uint64_t stream_max; /* entries an account keeps in Redis; 0: none */
};

/* ----------------------------------------------------------- all of it */

struct policy {
	unsigned refs;
	char *file; /* where it came from, for messages */

	unsigned workers;
	int log_level; /* enum log_level */
	struct policy_listen listen;
	struct policy_redis redis;
	struct policy_ledger ledger;
	unsigned decision_timeout_ms; /* answer by then; default 250 */

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

	void *pool; /* everything above; private to conf/ */
};

struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy *p); /* accepts NULL; wipes secrets */

/* By name; NULL when there is none. */
const struct policy_resource *policy_resource(const struct policy *p,
                                              struct str name);

/* By public name or alias, exact; NULL when there is none. */
const struct policy_model *policy_model(const struct policy *p,
                                        struct str name);

/* By public name or alias, else the first with a deployment of that name at the
 * resource: as Azure names what it has run. NULL when there is none. */
const struct policy_model *policy_model_deployed(const struct policy *p,
                                                 struct str resource,
                                                 struct str name);

/* The provisioned deployment of these names, of whichever model it is; NULL
 * when there is none. */
const struct policy_provisioned *policy_provisioned(const struct policy *p,
                                                    struct str resource,
                                                    struct str deployment);

#endif
