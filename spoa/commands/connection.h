/*
 * connection: the Foundry connection that leads to this gateway.
 *
 *   gateway.json + options --> Bicep, or the body of the ARM call --> Azure
 *
 * A connection is a resource of a Foundry project. Agents of the project name
 * their model CONNECTION/MODEL, and Foundry then calls `target` (foundry.md 1,
 * 2). The fields come from Microsoft's templates and from measurements: every
 * value of `metadata` is a string, with lists and objects as JSON in it; the
 * portal shows a static list only beside custom headers; a project's managed
 * identity works with kind ApiManagement only, whatever the target is.
 */
#ifndef COMMANDS_CONNECTION_H
#define COMMANDS_CONNECTION_H

#include "base/buf.h"
#include "conf/policy.h"

/* `category` in Azure (foundry.md 1.2). */
enum connection_kind {
	CONNECTION_MODEL_GATEWAY = 0,
	CONNECTION_API_MANAGEMENT = 1,
};

/* `authType` in Azure: how Foundry authenticates here (foundry.md 1.3). */
enum connection_auth {
	CONNECTION_API_KEY = 0,          /* a gateway key */
	CONNECTION_OAUTH2 = 1,           /* ModelGateway only */
	CONNECTION_MANAGED_IDENTITY = 2, /* ApiManagement only */
};

enum connection_output { CONNECTION_BICEP = 0, CONNECTION_JSON = 1 };

/* The options of the command; texts are views into argv. */
struct connection {
	enum connection_kind kind;
	enum connection_auth auth;
	enum connection_output output;
	struct str name;   /* of the connection; in agents NAME/MODEL */
	struct str target; /* https://gateway.example.com[/prefix] */
	struct str models; /* names, with commas; empty: all of the config */
	bool discovery;    /* no list: Foundry asks the gateway */
	bool in_path;      /* deploymentInPath */
	struct str api_version; /* inferenceAPIVersion; empty: none is sent */
	struct str key_header;  /* api key: header, default "api-key" */
	struct str key_format;  /* default "{api_key}" */
	struct str token_url, scope, client_id; /* OAuth2 */
	struct str audience;                    /* managed identity */
};

/* Read the arguments of `foundry-spoa connection`; what is not given gets its
 * default. *file is the configuration, and required. False with a sentence in
 * `error`. */
bool connection_options(int argc, char **argv, struct connection *out,
                        const char **file, struct buf *error);

/* Append one line per option, for the usage text. */
void connection_usage(struct buf *out);

/* Append the connection to the models of `p`, all of them or those that are
 * named. No secret is written. False with a sentence in `error` when Azure
 * would not accept it, a model is unknown, or `out` reached its maximum. On
 * success `error` may hold a remark: with JSON, the `az` command that sends it.
 */
bool connection_print(const struct connection *c, const struct policy *p,
                      struct buf *out, struct buf *error);

#endif
