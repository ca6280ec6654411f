/*
 * conf/options: the table of all options of gateway.json.
 *
 * Sections in the order in which they are used, from the inside out: a section
 * stands before the one that contains it. The order of rows is the order of the
 * documentation. Bit numbers of raw_head.seen follow it, too.
 *
 * The help texts are what operators read: `foundry-spoa options`.
 */
#include "conf/options.h"

#include <assert.h>

/* Where the value of a row is stored. */
#define AT(type_, member) .offset = offsetof(struct type_, member)
#define SECTION(rows, type_)                                                   \
	{                                                                      \
		rows, sizeof(struct type_)                                     \
	}
/* A bit of option.kinds. */
#define KIND(type_) (1u << (type_))
/* Credential types of an app registration: a tenant, an app and a proof. */
#define OF_ENTRA                                                               \
	(KIND(CRED_CLIENT_SECRET) | KIND(CRED_WORKLOAD) |                      \
	 KIND(CRED_CERTIFICATE))

/* Names of enum values, in the order of the enum that each is cast to. */
static const char *const opt_log_levels[] = {"debug", "info", "warn", "error",
                                             NULL};
static const char *const opt_requires[] = {"any", "token", "key", "both", NULL};
static const char *const opt_effects[] = {"deny", "allow", NULL};
static const char *const opt_surfaces[] = {"azure", "v1", "models", "anthropic",
                                           NULL};
static const char *const opt_pers[] = {"consumer", "app",  "agent",
                                       "model",    "team", NULL};
static const char *const opt_windows[] = {"minute", "hour", "day", "month",
                                          NULL};
static const char *const opt_modes[] = {"exact", "lease", NULL};
static const char *const opt_on_failures[] = {"local", "allow", "deny", NULL};
const char *const options_units[] = {"requests", "tokens", "usd", "concurrent",
                                     NULL};
const char *const options_credential_types[] = {
	"managed_identity",  "app_service", "client_secret", "key",
	"workload_identity", "certificate", "azure_arc",     NULL};
const char *const options_key_headers[] = {"api-key", "authorization",
                                           "x-api-key",
                                           "ocp-apim-subscription-key", NULL};

/* "listen": built by conf/process, opened by agent/workers. Bound at start; a
 * reload does not change them. */
static const struct option opt_listen_rows[] = {
	{"spop", OPT_LISTEN, .many = true, AT(raw_listen, p.spop), .min = 1,
         .max = 8, .def = "[\"unix:/run/foundry-gateway/spop.sock\"]",
         .help = "where HAProxy asks: unix:/path or a loopback HOST:PORT"},
	{"unix_mode", OPT_MODE, AT(raw_listen, p.unix_mode), .def = "\"0660\"",
         .help = "of unix sockets; nothing for others, who could ask for "
                 "Azure tokens there"},
	{"unix_group", OPT_WORD, AT(raw_listen, p.unix_group),
         .help = "group of unix sockets, usually that of HAProxy"},
	{"usage", OPT_ADDRESS, AT(raw_listen, p.usage),
         .def = "\"127.0.0.1:9103\"",
         .help = "UDP, loopback: usage records from HAProxy's log"},
	{"http", OPT_ADDRESS, AT(raw_listen, p.http),
         .def = "\"127.0.0.1:9102\"",
         .help = "TCP: /metrics, /healthz, /readyz, /blocked (for HAProxy)"},
	{.key = NULL}};
static const struct section opt_listen = SECTION(opt_listen_rows, raw_listen);

/* "redis": absent, all limits are counted in memory. conf/process reads the
 * URLs and the password, conf/azure resolves the credential. */
static const struct option opt_redis_rows[] = {
	{"url", OPT_REDIS_URL, .many = true, .or_one = true, .required = true,
         AT(raw_redis, url), .min = 1, .max = POLICY_REDIS_ENDPOINTS,
         .help = "redis://[USER@]HOST[:PORT][/DB], rediss:// for TLS, or "
                 "unix:/path; of a list, a primary and its replicas, the "
                 "one that can write is used"},
	{"password_env", OPT_ENV, AT(raw_redis, password_env),
         .help = "environment variable that holds the password"},
	{"password_file", OPT_FILE, AT(raw_redis, password_file),
         .help = "file that holds the password"},
	{"credential", OPT_NAME, AT(raw_redis, credential),
         .help = "name of a credential whose Entra tokens are the password, "
                 "for Azure Redis; the user is USER, else the object id in "
                 "the token"},
	{"ca_file", OPT_FILE, AT(raw_redis, p.ca_file),
         .help = "certificates to trust for rediss://, else the system's"},
	{"deadline_ms", OPT_UINT, AT(raw_redis, p.deadline_ms), .def = "150",
         .min = 1, .max = 5000,
         .help = "for one command; then on_store_failure applies"},
	{"required", OPT_BOOL, AT(raw_redis, p.required),
         .help = "/readyz fails while Redis is away"},
	{"prefix", OPT_NAME, AT(raw_redis, p.prefix), .def = "\"gw\"",
         .help = "of every key; gateways that share limits share it"},
	{.key = NULL}};
static const struct section opt_redis = SECTION(opt_redis_rows, raw_redis);

/* "objects": requests that create an object without naming a model. */
static const struct option opt_objects_rows[] = {
	{"resource", OPT_NAME, .required = true, AT(raw_objects, resource),
         .help = "name of the resource where files, batches, vector stores "
                 "and conversations are made"},
	{"ttl_days", OPT_UINT, AT(raw_objects, p.ttl_days), .def = "30",
         .min = 1, .max = 3650,
         .help = "without use, until it is forgotten whose an object is"},
	{.key = NULL}};
static const struct section opt_objects =
	SECTION(opt_objects_rows, raw_objects);

/* "ledger": the record of the usage of each request, see usage/ledger. */
static const struct option opt_ledger_rows[] = {
	{"file", OPT_FILE, .required = true, AT(raw_ledger, p.file),
         .help = "one line of JSON per request: who consumed what; for "
                 "foundry-spoa report"},
	{"max_mb", OPT_U64, AT(raw_ledger, max_mb), .def = "256", .min = 0,
         .max = 1000000,
         .help = "then it is moved to FILE.TIME; 0: left to logrotate"},
	{"stream_max", OPT_U64, AT(raw_ledger, p.stream_max), .def = "100000",
         .min = 0, .max = 100000000,
         .help = "the newest lines of each account, about this many, are "
                 "also kept in Redis, in the stream PREFIX:{ACCOUNT}:ledger; "
                 "0: none"},
	{.key = NULL}};
static const struct section opt_ledger = SECTION(opt_ledger_rows, raw_ledger);

/* "tenants": which access tokens are valid, see keys/inbound. Issuers and
 * metadata URLs are derived from id and authority by conf/callers. */
static const struct option opt_tenant_rows[] = {
	{"id", OPT_GUID, .required = true, AT(raw_tenant, p.id),
         .help = "the directory (tenant) id"},
	{"authority", OPT_URL, AT(raw_tenant, p.authority),
         .def = "\"https://login.microsoftonline.com\"",
         .help = "where its OIDC metadata is; other clouds differ"},
	{"issuer_v1", OPT_WORD, AT(raw_tenant, p.issuer_v1),
         .help = "iss of version 1.0 tokens; default for the public cloud "
                 "https://sts.windows.net/ID/"},
	{"issuer_v2", OPT_WORD, AT(raw_tenant, p.issuer_v2),
         .help = "iss of version 2.0 tokens; default AUTHORITY/ID/v2.0"},
	{"audiences", OPT_WORD, .many = true, .required = true,
         AT(raw_tenant, p.audiences), .min = 1, .max = 32,
         .help = "aud, one of these: id and App ID URI of the gateway's app "
                 "registration"},
	{"scopes", OPT_WORD, .many = true, AT(raw_tenant, p.scopes), .min = 1,
         .max = 64, .help = "a user's token needs one of these in scp"},
	{"roles", OPT_WORD, .many = true, AT(raw_tenant, p.roles), .min = 1,
         .max = 64, .help = "an application's token needs one of these ..."},
	{"callers", OPT_GUID, .many = true, AT(raw_tenant, p.callers), .min = 1,
         .max = 1000, .help = "... or its app or object id is listed here"},
	{"skew_s", OPT_UINT, AT(raw_tenant, p.skew_s), .def = "60", .min = 0,
         .max = 300, .help = "tolerance for exp and nbf"},
	{.key = NULL}};
static const struct section opt_tenant = SECTION(opt_tenant_rows, raw_tenant);

/* "match" of a consumer and "caller" of a rule. `any` must stay the first row:
 * clrs_build_match() knows its bit. */
static const struct option opt_match_rows[] = {
	{"any", OPT_BOOL, AT(raw_match, p.any),
         .help = "true: everybody who was authenticated"},
	{"tenant", OPT_NAME, AT(raw_match, tenant),
         .help = "name of a tenant above"},
	{"apps", OPT_GUID, .many = true, AT(raw_match, p.apps), .min = 1,
         .help = "appid or azp: the calling application"},
	{"objects", OPT_GUID, .many = true, AT(raw_match, p.objects), .min = 1,
         .help = "oid: the user or service principal"},
	{"roles", OPT_WORD, .many = true, AT(raw_match, p.roles), .min = 1,
         .help = "one of its app roles"},
	{"scopes", OPT_WORD, .many = true, AT(raw_match, p.scopes), .min = 1,
         .help = "one of its delegated scopes"},
	{"groups", OPT_ID, .many = true, AT(raw_match, p.groups), .min = 1,
         .help = "one of its groups; prefer app roles, Entra leaves groups "
                 "out of a token when there are many"},
	{"keys", OPT_NAME, .many = true, AT(raw_match, p.keys), .min = 1,
         .help = "names of gateway keys"},
	{"mirids", OPT_GLOB_NOCASE, .many = true, AT(raw_match, p.mirids),
         .min = 1,
         .help = "xms_mirid of a managed identity, without case, one * "
                 "allowed"},
	{.key = NULL}};
static const struct section opt_match = SECTION(opt_match_rows, raw_match);

/* "keys": gateway keys, by name. The file has only their hashes. */
static const struct option opt_key_rows[] = {
	{"sha256", OPT_SHA256, .required = true, AT(raw_key, p.sha256),
         .help = "of the key, in hex: printf %s KEY | sha256sum"},
	{"not_after", OPT_TIME, AT(raw_key, p.not_after),
         .help = "the key ends then (RFC 3339, UTC)"},
	{.key = NULL}};
const struct section options_key = SECTION(opt_key_rows, raw_key);

static const struct option opt_keys_rows[] = {
	{"require", OPT_ENUM, AT(raw_keys, require), .def = "\"any\"",
         .names = opt_requires,
         .help = "any: the token counts when there is one, else the key, "
                 "and whatever comes must be good; token or key: only that "
                 "is looked at; both: both must be there and good"},
	{"header", OPT_HEADER, AT(raw_keys, header), .def = "\"x-gateway-key\"",
         .help = "a key may come here too, besides api-key, x-api-key and "
                 "Authorization: Bearer"},
	{"entries", OPT_MAP, AT(raw_keys, entries), .key_type = OPT_NAME,
         .section = &options_key, .help = "gateway keys by name"},
	{.key = NULL}};
static const struct section opt_keys = SECTION(opt_keys_rows, raw_keys);

/* "consumers": whom a caller is charged to. Their order matters. */
static const struct option opt_consumer_rows[] = {
	{"team", OPT_NAME, AT(raw_consumer, team),
         .help = "limits per team are shared by all of the team"},
	{"match", OPT_ONE_OR_LIST, .required = true, AT(raw_consumer, match),
         .section = &opt_match, .min = 1, .max = 256,
         .help = "who it is: all conditions of one of these hold; the first "
                 "consumer in the file that matches counts"},
	{"limits", OPT_NAME, .many = true, AT(raw_consumer, limits), .max = 16,
         .help = "names of limits, all of them count"},
	{"trust_foundry_headers", OPT_BOOL, AT(raw_consumer, trust_foundry),
         .help = "this is a Foundry connection: what it says of agent and "
                 "project is logged and counted; anybody else's is ignored"},
	{.key = NULL}};
static const struct section opt_consumer =
	SECTION(opt_consumer_rows, raw_consumer);

/* "rules": authorization. Their order matters. */
static const struct option opt_rule_rows[] = {
	{"name", OPT_NAME, .required = true, AT(raw_rule, name),
         .help = "for the log"},
	{"effect", OPT_ENUM, .required = true, AT(raw_rule, effect),
         .names = opt_effects, .help = "what happens when the rule matches"},
	{"consumers", OPT_GLOB, .many = true, AT(raw_rule, p.consumers),
         .min = 1, .help = "names, one * allowed in each; absent: all"},
	{"caller", OPT_OBJECT, AT(raw_rule, caller), .section = &opt_match,
         .help = "further conditions on the caller"},
	{"models", OPT_GLOB, .many = true, AT(raw_rule, p.models), .min = 1,
         .help = "public names, one * allowed in each; absent: all"},
	{"operations", OPT_OPERATIONS, AT(raw_rule, p.operations), .min = 1,
         .help = "chat, completions, responses, embeddings, messages, files, "
                 "batches, vector_stores, conversations, images, audio, "
                 "realtime, models; absent: all"},
	{.key = NULL}};
const struct section options_rule = SECTION(opt_rule_rows, raw_rule);

/* "credentials": one table for all types. `kinds` says which types have a key;
 * which keys a type needs is checked by its function in conf/azure. */
static const struct option opt_credential_rows[] = {
	{"type", OPT_ENUM, .required = true, AT(raw_credential, type),
         .names = options_credential_types,
         .help = "where the credential comes from"},
	{"audience", OPT_WORD, AT(raw_credential, p.audience),
         .def = "\"https://cognitiveservices.azure.com\"",
         .kinds = ~KIND(CRED_KEY),
         .help = "what the token is for; Foundry projects want "
                 "https://ai.azure.com; a resource may name its own"},
	{"client_id", OPT_GUID, AT(raw_credential, p.client_id),
         .kinds = KIND(CRED_IMDS) | KIND(CRED_APP_SERVICE) | OF_ENTRA,
         .help = "the user-assigned identity, or the app's id; for "
                 "workload_identity the variable AZURE_CLIENT_ID"},
	{"object_id", OPT_GUID, AT(raw_credential, p.object_id),
         .kinds = KIND(CRED_IMDS), .help = "instead of client_id"},
	{"resource_id", OPT_WORD, AT(raw_credential, p.resource_id),
         .kinds = KIND(CRED_IMDS),
         .help = "instead of client_id: the ARM id of the identity"},
	{"endpoint", OPT_URL, AT(raw_credential, endpoint),
         .kinds = KIND(CRED_IMDS) | KIND(CRED_APP_SERVICE) | KIND(CRED_ARC),
         .help = "default http://169.254.169.254, for azure_arc "
                 "http://127.0.0.1:40342, for app_service the variable "
                 "IDENTITY_ENDPOINT"},
	{"header_env", OPT_ENV, AT(raw_credential, header_env),
         .def = "\"IDENTITY_HEADER\"", .kinds = KIND(CRED_APP_SERVICE),
         .help = "environment variable with the X-IDENTITY-HEADER"},
	{"authority", OPT_URL, AT(raw_credential, authority),
         .def = "\"https://login.microsoftonline.com\"", .kinds = OF_ENTRA,
         .help = "who gives the token; for workload_identity the variable "
                 "AZURE_AUTHORITY_HOST comes before the default"},
	{"tenant_id", OPT_GUID, AT(raw_credential, p.tenant_id),
         .kinds = OF_ENTRA,
         .help = "of the app; for workload_identity the variable "
                 "AZURE_TENANT_ID"},
	{"token_file", OPT_FILE, AT(raw_credential, token_file),
         .kinds = KIND(CRED_WORKLOAD),
         .help = "the federated token, read again for every token; default "
                 "the variable AZURE_FEDERATED_TOKEN_FILE"},
	{"certificate_file", OPT_FILE, AT(raw_credential, certificate_file),
         .kinds = KIND(CRED_CERTIFICATE),
         .help = "PEM file with the app's certificate and its RSA key, read "
                 "again for every token"},
	{"secret_env", OPT_ENV, AT(raw_credential, secret_env),
         .kinds = KIND(CRED_CLIENT_SECRET),
         .help = "environment variable that holds the client secret"},
	{"secret_file", OPT_FILE, AT(raw_credential, secret_file),
         .kinds = KIND(CRED_CLIENT_SECRET),
         .help = "file that holds the client secret"},
	{"key_env", OPT_ENV, AT(raw_credential, key_env),
         .kinds = KIND(CRED_KEY),
         .help = "environment variable that holds the resource's key"},
	{"key_file", OPT_FILE, AT(raw_credential, key_file),
         .kinds = KIND(CRED_KEY), .help = "file that holds the resource's key"},
	{"header", OPT_ENUM, AT(raw_credential, header), .def = "\"api-key\"",
         .names = options_key_headers, .kinds = KIND(CRED_KEY),
         .help = "where the resource wants its key"},
	{.key = NULL}};
const struct section options_credential =
	SECTION(opt_credential_rows, raw_credential);

/* "resources": a resource is also a backend in the rendered haproxy.cfg, so its
 * name has the characters of one. */
static const struct option opt_resource_rows[] = {
	{"url", OPT_URL, .required = true, AT(raw_resource, url),
         .help = "scheme and host of the resource; http only on loopback"},
	{"address", OPT_ENDPOINT, AT(raw_resource, address),
         .help = "connect here instead, for example a private endpoint; "
                 "certificate and Host stay those of url"},
	{"region", OPT_WORD, AT(raw_resource, p.region),
         .help = "for logs and metrics"},
	{"credential", OPT_NAME, .required = true, AT(raw_resource, credential),
         .help = "name of a credential"},
	{"audience", OPT_WORD, AT(raw_resource, p.audience),
         .help = "what the tokens for it are for, when it is not what the "
                 "credential says, for example https://ai.azure.com"},
	{"ca_file", OPT_FILE, AT(raw_resource, p.ca_file),
         .help = "certificates to trust, as HAProxy sees the path; else the "
                 "system's"},
	{.key = NULL}};
static const struct section opt_resource =
	SECTION(opt_resource_rows, raw_resource);

/* "price" of a model, and what it has in it. No defaults here: an absent price
 * takes another one, see conf/model_price. */
#define OPT_RATE(name_, first, second, help_)                                  \
	{#name_, OPT_PRICE, AT(raw_rates, p.name_),                            \
	 .help = "USD per million " help_},

static const struct option opt_batch_price_rows[] = {
	POLICY_RATES(OPT_RATE){.key = NULL}};
const struct section options_batch_price =
	SECTION(opt_batch_price_rows, raw_rates);

static const struct option opt_above_rows[] = {
	{"tokens", OPT_U64, .required = true, AT(raw_above, tokens), .min = 1,
         .max = 1000000000,
         .help = "of the prompt, cached ones included; the prices below are "
                 "those of all tokens of a request that has more"},
	POLICY_RATES(OPT_RATE){.key = NULL}};
const struct section options_above = SECTION(opt_above_rows, raw_above);

static const struct option opt_tier_rows[] = {
	POLICY_RATES(OPT_RATE){
		"above", OPT_LIST, AT(raw_tier, above), .min = 1, .max = 8,
		.section = &options_above,
		.help = "as in price; default: that of price, at the dearer of "
			"its prices and those of the tier"},
	{.key = NULL}};
const struct section options_tier = SECTION(opt_tier_rows, raw_tier);

static const struct option opt_price_rows[] = {
	POLICY_RATES(OPT_RATE){"request", OPT_USD, AT(raw_price, request),
                               .def = "\"0\"",
                               .help = "USD per request that the resource has "
                                       "served, besides its tokens"},
	{"above", OPT_LIST, AT(raw_price, above), .min = 1, .max = 8,
         .section = &options_above,
         .help = "prices of long prompts, the shortest first. What an entry "
                 "does not state is as without it, but not below its own "
                 "input or output"},
	{"batch", OPT_OBJECT, AT(raw_price, batch),
         .section = &options_batch_price,
         .help = "of what ran in batches: the usage that a batch tells when "
                 "it is asked for, in the ledger and in report only. What is "
                 "not stated: as in above"},
	{"priority", OPT_OBJECT, AT(raw_price, priority),
         .section = &options_tier,
         .help = "of the service tier of this name. What is not stated: as "
                 "in above"},
	{"flex", OPT_OBJECT, AT(raw_price, flex), .section = &options_tier,
         .help = "of the service tier of this name. What is not stated: as "
                 "in above"},
	{.key = NULL}};
const struct section options_price = SECTION(opt_price_rows, raw_price);
#undef OPT_RATE

/* "ptu" of a deployment: paid by the hour, see commands/report_ptu. */
static const struct option opt_ptu_rows[] = {
	{"units", OPT_UINT, .required = true, AT(raw_ptu, p.units), .min = 1,
         .max = 100000, .help = "that are paid for, used or not"},
	{"usd_per_unit_hour", OPT_USD, .required = true,
         AT(raw_ptu, p.unit_hour), .help = "what one costs, as is agreed"},
	{"tokens_per_minute_per_unit", OPT_U64, AT(raw_ptu, p.unit_tpm),
         .min = 0, .max = 10000000,
         .help = "input tokens that one is good for; report then shows what "
                 "lies idle; 0: all of the cost is that of who uses them"},
	{"output_weight", OPT_UINT, AT(raw_ptu, p.output_weight), .def = "1",
         .min = 1, .max = 100,
         .help = "input tokens that an output token counts as; cached ones "
                 "count nothing"},
	{"since", OPT_TIME, AT(raw_ptu, p.since),
         .help = "paid from then on; default: always"},
	{"until", OPT_TIME, AT(raw_ptu, p.until),
         .help = "not paid from then on; default: never"},
	{.key = NULL}};
static const struct section opt_ptu = SECTION(opt_ptu_rows, raw_ptu);

/* "deployments" of a model: where its requests are sent, see decide/route. */
static const struct option opt_deployment_rows[] = {
	{"resource", OPT_NAME, .required = true, AT(raw_deployment, resource),
         .help = "name of a resource"},
	{"name", OPT_NAME, AT(raw_deployment, p.name),
         .help = "of the deployment in Azure; default: the model's name"},
	{"priority", OPT_UINT, AT(raw_deployment, p.priority), .def = "1",
         .min = 1, .max = 100,
         .help = "lower is used first, others when those are cooling down"},
	{"weight", OPT_UINT, AT(raw_deployment, p.weight), .def = "1", .min = 1,
         .max = 1000, .help = "share among equals in priority"},
	{"surface", OPT_ENUM, AT(raw_deployment, surface), .def = "\"azure\"",
         .names = opt_surfaces,
         .help = "azure: /openai/deployments/NAME/..; v1: /openai/v1/..; "
                 "models: /models/..; anthropic: /anthropic/v1/.."},
	{"api_version", OPT_WORD, AT(raw_deployment, p.api_version),
         .help = "instead of the caller's (azure and models)"},
	{"ptu", OPT_OBJECT, AT(raw_deployment, ptu), .section = &opt_ptu,
         .help = "provisioned throughput: paid by the hour, so its tokens "
                 "cost nothing; foundry-spoa report shares the cost among "
                 "those who used it"},
	{.key = NULL}};
const struct section options_deployment =
	SECTION(opt_deployment_rows, raw_deployment);

static const char *const opt_adapt_max[] = {"keep", "max_tokens",
                                            "max_completion_tokens", NULL};

/* "adapt" of a model: changes of request bodies, see decide/adapt. */
static const struct option opt_adapt_rows[] = {
	{"max_tokens", OPT_ENUM, AT(raw_adapt, max_tokens), .def = "\"keep\"",
         .names = opt_adapt_max,
         .help = "the name under which chat completions limit their output "
                 "upstream; the other one is renamed to it"},
	{"reasoning_effort", OPT_WORDS, AT(raw_adapt, p.reasoning_effort),
         .max = 16,
         .help = "of chat completions, for example {\"none\": \"low\", "
                 "\"minimal\": null}; null takes the member away"},
	{"drop", OPT_MEMBERS, AT(raw_adapt, p.drop), .min = 0, .max = 32,
         .help = "members that this model refuses, for example temperature"},
	{"cap_output_tokens", OPT_U64, AT(raw_adapt, p.cap_output_tokens),
         .min = 0, .max = 10000000,
         .help = "a larger limit of output is lowered to this, and set to "
                 "this when the request names none; 0: no cap. Not for "
                 "bodies larger than GATEWAY_BODY_MAX"},
	{.key = NULL}};
static const struct section opt_adapt = SECTION(opt_adapt_rows, raw_adapt);

/* "models", by public name. */
static const struct option opt_model_rows[] = {
	{"aliases", OPT_MODEL, .many = true, AT(raw_model, p.aliases),
         .max = 100, .help = "further names callers may use"},
	{"base_model", OPT_MODEL, AT(raw_model, p.base_model),
         .help = "what discovery says it is, for example gpt-4o; default: "
                 "its name"},
	{"version", OPT_WORD, AT(raw_model, p.version),
         .help = "for discovery, for example 2024-11-20"},
	{"format", OPT_WORD, AT(raw_model, p.format),
         .help = "for discovery: OpenAI, Anthropic or NonOpenAI; default by "
                 "its first deployment"},
	{"deployments", OPT_LIST, .required = true, AT(raw_model, deployments),
         .section = &options_deployment, .min = 1, .max = 64,
         .help = "where it runs"},
	{"default_output_tokens", OPT_U64,
         AT(raw_model, p.default_output_tokens), .def = "1000", .min = 1,
         .max = 10000000, .help = "reserved when a request names no maximum"},
	{"max_output_tokens", OPT_U64, AT(raw_model, p.max_output_tokens),
         .min = 0, .max = 10000000, .help = "cap on what is reserved; 0: none"},
	{"ask_usage", OPT_BOOL, AT(raw_model, p.ask_usage), .def = "true",
         .help = "ask Azure for the usage of chat streams whose client does "
                 "not, where the API version knows stream_options, and take "
                 "it out of the answer; false: such streams are charged by "
                 "their events"},
	{"adapt", OPT_OBJECT, AT(raw_model, adapt), .section = &opt_adapt,
         .help = "what is changed in bodies so that this model takes them"},
	{"price", OPT_OBJECT, AT(raw_model, price), .section = &options_price,
         .help = "needed where a limit counts usd; 0 is a price, too"},
	{.key = NULL}};
const struct section options_model = SECTION(opt_model_rows, raw_model);

/* "limits", by name. The default of `window` is never used: the key is required
 * except for concurrent, see clrs_build_window(). */
static const struct option opt_limit_rows[] = {
	{"per", OPT_ENUM, .required = true, AT(raw_limit, per),
         .names = opt_pers, .help = "what has a counter of its own"},
	{"unit", OPT_ENUM, .required = true, AT(raw_limit, unit),
         .names = options_units, .help = "what is counted"},
	{"amount", OPT_NUMBER, .required = true, AT(raw_limit, amount),
         .help = "per window; usd may have decimals"},
	{"window", OPT_ENUM, AT(raw_limit, window), .names = opt_windows,
         .def = "\"minute\"",
         .help = "minute refills steadily; hour, day and month are fixed, "
                 "UTC; required, except for concurrent limits, which must not "
                 "have one"},
	{"warn_at", OPT_NUMBER, AT(raw_limit, warn_at), .def = "0",
         .help = "a share from 0 to 1: answers carry a warning once so much "
                 "of it is used; 0: never"},
	{"mode", OPT_ENUM, AT(raw_limit, mode), .def = "\"exact\"",
         .names = opt_modes,
         .help = "exact: Redis is asked each time; lease: a worker that has "
                 "just heard from Redis admits at once and tells it; used "
                 "when all limits of a request are leased; without Redis "
                 "there is no difference"},
	{"lease_share", OPT_NUMBER, AT(raw_limit, lease_share), .def = "0.05",
         .help = "of a leased limit, what each worker may have admitted "
                 "before Redis has heard of it: at most workers * "
                 "lease_share * amount is admitted too much"},
	{"on_store_failure", OPT_ENUM, AT(raw_limit, on_store_failure),
         .def = "\"local\"", .names = opt_on_failures,
         .help = "while Redis is away: count in this process, or let "
                 "everything or nothing through"},
	{.key = NULL}};
const struct section options_limit = SECTION(opt_limit_rows, raw_limit);

/* The document. */
static const struct option opt_root_rows[] = {
	{"workers", OPT_UINT, AT(raw_config, workers), .def = "1", .min = 1,
         .max = 64, .help = "processes; each decides on its own"},
	{"log_level", OPT_ENUM, AT(raw_config, log_level), .def = "\"info\"",
         .names = opt_log_levels, .help = "least important lines to write"},
	{"decision_timeout_ms", OPT_UINT, AT(raw_config, decision_timeout_ms),
         .def = "250", .min = 10, .max = 10000,
         .help = "every question of HAProxy is answered by then; keep it "
                 "below its `timeout processing`"},
	{"listen", OPT_OBJECT, AT(raw_config, listen), .section = &opt_listen,
         .help = "the doors of the agent"},
	{"redis", OPT_OBJECT, AT(raw_config, redis), .section = &opt_redis,
         .help = "where nodes share limits; absent: in memory of a process"},
	{"ledger", OPT_OBJECT, AT(raw_config, ledger), .section = &opt_ledger,
         .help = "where consumption is written down; absent: only in the log"},
	{"tenants", OPT_MAP, AT(raw_config, tenants), .key_type = OPT_NAME,
         .section = &opt_tenant, .help = "Entra tenants whose tokens count"},
	{"keys", OPT_OBJECT, AT(raw_config, keys), .section = &opt_keys,
         .help = "gateway keys, for callers without Entra"},
	{"consumers", OPT_MAP, .required = true, AT(raw_config, consumers),
         .key_type = OPT_NAME, .section = &opt_consumer,
         .help = "who is charged"},
	{"rules", OPT_LIST, .required = true, AT(raw_config, rules), .min = 1,
         .section = &options_rule,
         .help = "what they may use: the first rule that matches counts, "
                 "nothing is allowed otherwise"},
	{"credentials", OPT_MAP, .required = true, AT(raw_config, credentials),
         .key_type = OPT_NAME, .section = &options_credential,
         .help = "how the gateway authenticates to Azure"},
	{"resources", OPT_MAP, .required = true, AT(raw_config, resources),
         .key_type = OPT_RESOURCE, .section = &opt_resource,
         .help = "Foundry and Azure OpenAI resources"},
	{"models", OPT_MAP, .required = true, AT(raw_config, models),
         .key_type = OPT_MODEL, .section = &options_model,
         .help = "public model names"},
	{"objects", OPT_OBJECT, AT(raw_config, objects),
         .section = &opt_objects,
         .help = "files and the like; absent: none are made, and responses "
                 "are remembered for 30 days"},
	{"limits", OPT_MAP, AT(raw_config, limits), .key_type = OPT_NAME,
         .section = &options_limit, .help = "used by consumers, by name"},
	{.key = NULL}};
const struct section options_root = SECTION(opt_root_rows, raw_config);

/* Linear in the rows of the section; only build functions call it. */
bool options_given(const struct section *s, const void *raw, const char *key_)
{
	const struct raw_head *head = raw;
	unsigned i;

	for (i = 0; s->options[i].key; i++)
		if (strcmp(s->options[i].key, key_) == 0)
			return head->seen >> i & 1;
	assert(!"a key of the table");
	return false;
}

/* Completes "found ..., expected ...". */
const char *options_type_name(enum option_type t)
{
	static const char *const names[] = {
		[OPT_BOOL] = "true or false",
		[OPT_UINT] = "a whole number",
		[OPT_U64] = "a whole number",
		[OPT_NUMBER] = "a number, 0 or more",
		[OPT_PRICE] = "a price in USD with at most 6 decimals",
		[OPT_USD] = "US dollars as text with at most 12 decimals, such "
			    "as \"1.25\"",
		[OPT_ENUM] = "a word",
		[OPT_MODE] = "a file mode such as \"0660\", for owner and "
			     "group only",
		[OPT_TIME] = "a time such as \"2027-01-01T00:00:00Z\"",
		[OPT_SHA256] = "the SHA-256 of the key as 64 hex digits",
		[OPT_OPERATIONS] = "a list of operations",
		[OPT_MEMBERS] = "a list of members of a request body",
		[OPT_WORDS] = "an object of texts and null",
		[OPT_TEXT] = "a text",
		[OPT_NAME] = "a name of 1 to 64 characters A-Z a-z 0-9 . _ -",
		[OPT_RESOURCE] = "a name of 1 to 32 characters A-Z a-z 0-9 _ -",
		[OPT_MODEL] = "a model name of 1 to 128 bytes without / and *",
		[OPT_GUID] = "a GUID",
		[OPT_ID] = "a text without blanks",
		[OPT_WORD] = "a text without blanks",
		[OPT_GLOB] = "a name with at most one *",
		[OPT_GLOB_NOCASE] = "a text with at most one *",
		[OPT_HEADER] = "the name of an HTTP header that has no other "
			       "use",
		[OPT_URL] = "a URL https://HOST[:PORT] or http://HOST[:PORT]",
		[OPT_REDIS_URL] = "redis://[USER@]HOST[:PORT][/DB], "
				  "rediss:// or unix:/path",
		[OPT_ADDRESS] = "a numeric address HOST:PORT",
		[OPT_ENDPOINT] = "an address HOST[:PORT]",
		[OPT_LISTEN] = "unix:/path or a numeric address HOST:PORT",
		[OPT_ENV] = "the name of an environment variable (A-Z, 0-9, "
			    "_)",
		[OPT_FILE] = "a path that begins with / or ./ and has no "
			     "blanks or quotes",
		[OPT_OBJECT] = "an object",
		[OPT_MAP] = "an object of named objects",
		[OPT_LIST] = "a list of objects",
		[OPT_ONE_OR_LIST] = "an object or a list of objects",
	};

	return names[t];
}
