/*
 * connection: the Foundry connection that leads to this gateway.
 *
 * Prints what an operator deploys in Azure so that agents call the models of
 * a gateway.json: a Bicep resource, or the body of the ARM call. The rules
 * come from Microsoft's own templates and from what was measured of them:
 * every value of `metadata` is a string, objects and lists in it are JSON in a
 * string; the portal shows a static list only with custom headers; a project's
 * managed identity works with kind ApiManagement only.
 */
#ifndef COMMANDS_CONNECTION_H
#define COMMANDS_CONNECTION_H

#include "base/buf.h"
#include "conf/policy.h"

enum connection_kind {
	CONNECTION_MODEL_GATEWAY = 0,
	CONNECTION_API_MANAGEMENT = 1,
};

enum connection_auth {
	CONNECTION_API_KEY = 0,
	CONNECTION_OAUTH2 = 1,           /* ModelGateway only */
	CONNECTION_MANAGED_IDENTITY = 2, /* ApiManagement only */
};

enum connection_output { CONNECTION_BICEP = 0, CONNECTION_JSON = 1 };

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

/* From the words behind `foundry-spoa connection`: FILE, then --name value.
 * *file is the configuration. False with a sentence in `error`. */
bool connection_options(int argc, char **argv, struct connection *out,
                        const char **file, struct buf *error);

/* One line per option, for the usage message. */
void connection_usage(struct buf *out);

/* False with a sentence in `error` when this cannot work. On success `error`
 * may hold a remark: with JSON, the `az` command that sends it. */
bool connection_print(const struct connection *c, const struct policy *p,
                      struct buf *out, struct buf *error);

#endif
