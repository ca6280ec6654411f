/*
 * conf/options: the table of all options of gateway.json.
 *
 *   gateway.json --base/json--> conf/read --this table--> struct raw_config
 *                --conf/process, azure, callers--> struct policy
 *
 * A row has the key, type, default, bounds and help of an option, and the field
 * that its value is stored in. Reading, the checks of single values, defaults
 * and the printed documentation are all made from the rows, so they cannot
 * differ.
 *
 * To add an option: a field in a raw_ struct (or in the policy_ struct that it
 * contains), a row in options.c, and in a build function what depends on other
 * options.
 */
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include "base/buf.h"
#include "conf/policy.h"

enum option_type {
	/* single values; in brackets the type of the field */
	OPT_BOOL = 0,       /* [bool] */
	OPT_UINT = 1,       /* whole number, min..max [unsigned] */
	OPT_U64 = 2,        /* whole number, min..max [uint64_t] */
	OPT_NUMBER = 3,     /* 0 or more, also fractional [double] */
	OPT_PRICE = 4,      /* USD per million tokens [uint64_t pico-dollars
	                     * per token] */
	OPT_ENUM = 5,       /* one of `names` [int, its position] */
	OPT_MODE = 6,       /* "0660" [unsigned] */
	OPT_TIME = 7,       /* "2027-01-01T00:00:00Z" [int64_t seconds] */
	OPT_SHA256 = 8,     /* 64 hex digits [uint8_t[32]] */
	OPT_OPERATIONS = 9, /* list of API operations [uint32_t bits] */
	OPT_MEMBERS = 10,   /* list of body members [uint32_t bits of
	                     * enum scan_member] */
	OPT_WORDS = 11,     /* object of WORD: WORD or null [policy_words] */
	OPT_USD = 12,       /* "1.25" [uint64_t pico-dollars] */

	/* texts [struct str]; with `many` lists of them [struct strs] */
	OPT_TEXT = 20,
	OPT_NAME = 21,        /* [A-Za-z0-9._-]{1,64} */
	OPT_RESOURCE = 22,    /* [A-Za-z0-9_-]{1,32} */
	OPT_MODEL = 23,       /* up to 128 bytes without '/' and '*' */
	OPT_GUID = 24,        /* stored in lower case */
	OPT_ID = 25,          /* any text; a GUID is stored in lower case */
	OPT_WORD = 26,        /* no blanks, no control characters */
	OPT_GLOB = 27,        /* at most one '*' */
	OPT_GLOB_NOCASE = 28, /* the same, stored in lower case */
	OPT_HEADER = 29,      /* name of an HTTP header, stored in lower case */
	OPT_URL = 30,         /* http:// or https:// */
	OPT_REDIS_URL = 31,
	OPT_ADDRESS = 32,  /* "HOST:PORT" with a numeric host */
	OPT_ENDPOINT = 33, /* "HOST[:PORT]" */
	OPT_LISTEN = 34,   /* "unix:/path" or an OPT_ADDRESS */
	OPT_ENV = 35,      /* name of an environment variable */
	OPT_FILE = 36,     /* path of a file */

	/* objects with a section of their own */
	OPT_OBJECT = 50,      /* one object [the section's struct] */
	OPT_MAP = 51,         /* named objects [struct raw_list] */
	OPT_LIST = 52,        /* list of objects [struct raw_list] */
	OPT_ONE_OR_LIST = 53, /* either form [struct raw_list] */
};

struct section;

struct option {
	const char *key; /* NULL ends the table */
	enum option_type type;
	bool many;   /* texts: a list of them, min..max entries */
	bool or_one; /* with many: one text is accepted instead of a list */
	bool required;
	size_t offset;    /* of the field in the section's struct */
	const char *def;  /* as JSON text; NULL: the field stays zero */
	int64_t min, max; /* of numbers, and of the length of a list; max 0:
	                   * no maximum of its own */
	const char *const *names;  /* OPT_ENUM; ends with NULL */
	enum option_type key_type; /* OPT_MAP: text type of the names */
	unsigned kinds; /* credentials: bit set of the credential types that
	                 * have this key; 0: all */
	const struct section *section; /* OPT_OBJECT and later */
	const char *help;              /* for conf/manual */
};

/* The keys of one JSON object, and the struct that they are stored in. */
struct section {
	const struct option *options;
	size_t size; /* of the struct, which begins with a raw_head */
};

/* The beginning of every section's struct. */
struct raw_head {
	struct str name; /* the key in an OPT_MAP, else empty */
	uint64_t seen;   /* bit i: the file has the key of row i. A section
	                  * therefore has at most 64 rows. */
};

struct raw_list {
	void *v; /* array of the struct of the row's section */
	size_t n;
	bool single; /* OPT_ONE_OR_LIST: one object instead of a list, so the
	              * paths of its errors have no index */
};

/* The sections as written: references are names. Values that need no further
 * work are read directly into `p`, which a build function copies into the
 * policy. */
struct raw_listen {
	struct raw_head head;
	struct policy_listen p;
};

struct raw_redis {
	struct raw_head head;
	struct strs url;
	struct str password_env, password_file, credential;
	struct policy_redis p;
};

struct raw_objects {
	struct raw_head head;
	struct str resource;
	struct policy_objects p;
};

struct raw_ledger {
	struct raw_head head;
	uint64_t max_mb;
	struct policy_ledger p;
};

struct raw_tenant {
	struct raw_head head;
	struct policy_tenant p;
};

struct raw_match {
	struct raw_head head;
	struct str tenant;
	struct policy_match p;
};

struct raw_key {
	struct raw_head head;
	struct policy_key p;
};

struct raw_keys {
	struct raw_head head;
	int require;
	struct str header;
	struct raw_list entries;
};

struct raw_consumer {
	struct raw_head head;
	struct str team;
	struct raw_list match;
	struct strs limits;
	bool trust_foundry;
};

struct raw_rule {
	struct raw_head head;
	struct str name;
	int effect; /* 0 deny, 1 allow */
	struct raw_match caller;
	struct policy_rule p;
};

struct raw_credential {
	struct raw_head head;
	int type;
	struct str endpoint, header_env, authority;
	struct str secret_env, secret_file, key_env, key_file;
	struct str token_file, certificate_file;
	int header;
	struct policy_credential p;
};

struct raw_resource {
	struct raw_head head;
	struct str url, address, credential;
	struct policy_resource p;
};

/* The beginning of every section with prices per token. */
struct raw_rates {
	struct raw_head head;
	struct policy_rates p;
};

struct raw_above {
	struct raw_rates rates;
	uint64_t tokens;
};

struct raw_tier {
	struct raw_rates rates;
	struct raw_list above;
};

struct raw_price {
	struct raw_rates rates;
	uint64_t request;
	struct raw_list above;
	struct raw_rates batch;
	struct raw_tier priority, flex;
};

struct raw_ptu {
	struct raw_head head;
	struct policy_ptu p;
};

struct raw_deployment {
	struct raw_head head;
	struct str resource;
	int surface;
	struct raw_ptu ptu;
	struct policy_deployment p;
};

struct raw_adapt {
	struct raw_head head;
	int max_tokens;
	struct policy_adapt p;
};

struct raw_model {
	struct raw_head head;
	struct raw_adapt adapt;
	struct raw_list deployments;
	struct raw_price price;
	struct policy_model p;
};

struct raw_limit {
	struct raw_head head;
	int per, unit, window, mode, on_store_failure;
	double amount, warn_at, lease_share;
};

struct raw_config {
	struct raw_head head;
	unsigned workers;
	int log_level;
	unsigned decision_timeout_ms;
	struct raw_listen listen;
	struct raw_redis redis;
	struct raw_ledger ledger;
	struct raw_list tenants;
	struct raw_keys keys;
	struct raw_list consumers, rules;
	struct raw_list credentials, resources, models;
	struct raw_objects objects;
	struct raw_list limits;
};

/* The top of the document, and the sections that build functions ask about with
 * options_given(). */
extern const struct section options_root;
extern const struct section options_above;
extern const struct section options_batch_price;
extern const struct section options_credential;
extern const struct section options_deployment;
extern const struct section options_key;
extern const struct section options_limit;
extern const struct section options_model;
extern const struct section options_price;
extern const struct section options_rule;
extern const struct section options_tier;

/* Names of enum values, in the order of their enum; NULL ends. */
extern const char *const options_credential_types[];
extern const char *const options_key_headers[];
extern const char *const options_units[];

/* Whether the file has this key, as opposed to the default. `raw` is a struct
 * of the section. Asserts that the key is in the table. */
bool options_given(const struct section *s, const void *raw, const char *key);

/* The type for a message, "a GUID", "a whole number". A constant. */
const char *options_type_name(enum option_type t);

#endif
