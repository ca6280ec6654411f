/* connection: the Foundry connection that leads to this gateway. */
#include "commands/connection.h"

#include "decide/discover.h"
#include "commands/argv.h"
#include "commands/command.h"

#include <string.h>

enum { CONNECTION_NAME_MAX = 64, CONNECTION_TEXT_MAX = 1 << 18 };

static const char *const kinds[] = {"ModelGateway", "ApiManagement", NULL};
static const char *const auths[] = {"ApiKey", "OAuth2",
                                    "ProjectManagedIdentity", NULL};
static const char *const outputs[] = {"bicep", "json", NULL};
static const char *const lists[] = {"static", "dynamic", NULL};
static const char *const booleans[] = {"false", "true", NULL};

/* ---------------------------------------------------------------- options */

#define TEXT(name, member, help)                                               \
	ARGV_OPTION(name, ARGV_TEXT, connection, member, NULL, help)

static const struct argv_option options[] = {
	ARGV_OPTION("--kind", ARGV_ENUM, connection, kind, kinds,
                    "ModelGateway (default) or ApiManagement"),
	TEXT("--name", name, "of the connection; agents use NAME/MODEL"),
	TEXT("--target", target, "https://HOST[/PREFIX] of this gateway"),
	ARGV_OPTION("--auth", ARGV_ENUM, connection, auth, auths,
                    "ApiKey (default), OAuth2 (ModelGateway only) or "
                    "ProjectManagedIdentity (ApiManagement only)"),
	ARGV_OPTION(
		"--list", ARGV_BOOL, connection, discovery, lists,
		"static (default): models in the connection; dynamic: Foundry "
		"asks the gateway"),
	TEXT("--models", models, "A,B,..: only these (static)"),
	ARGV_OPTION("--in-path", ARGV_BOOL, connection, in_path, booleans,
                    "true: .../deployments/MODEL/chat/completions"),
	TEXT("--api-version", api_version, "sent as ?api-version="),
	TEXT("--key-header", key_header, "default api-key"),
	TEXT("--key-format", key_format, "default {api_key}"),
	TEXT("--token-url", token_url, "OAuth2"),
	TEXT("--scope", scope,
             "OAuth2, for example api://foundry-gateway/.default"),
	TEXT("--client-id", client_id, "OAuth2"),
	TEXT("--audience", audience,
             "managed identity; default https://cognitiveservices.azure.com"),
	ARGV_OPTION("--output", ARGV_ENUM, connection, output, outputs,
                    "bicep (default) or json"),
};

enum { N_OPTIONS = sizeof(options) / sizeof(*options) };

bool connection_options(int argc, char **argv, struct connection *out,
                        const char **file, struct buf *error)
{
	*out = (struct connection){.key_header = STR("api-key"),
	                           .key_format = STR("{api_key}"),
	                           .audience = STR("https://cognitiveservices"
	                                           ".azure.com")};
	if (!argv_read(options, N_OPTIONS, argc, argv, out, file, error))
		return false;
	if (!*file || out->name.len == 0 || out->target.len == 0) {
		buf_fmt(error, "connection: expected FILE, --name and "
		               "--target\n");
		return false;
	}
	return true;
}

void connection_usage(struct buf *out)
{
	argv_usage(options, N_OPTIONS, out);
}

/* ----------------------------------------------------------------- checks */

static bool is_name(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return s.len > 0 && s.len <= CONNECTION_NAME_MAX;
}

/* A sentence when the combination cannot work, else NULL. */
static const char *what_is_wrong(const struct connection *c)
{
	if (!is_name(c->name))
		return "--name: expected letters, digits, - and _ (agents "
		       "write NAME/MODEL)";
	if (!str_starts(c->target, STR("https://")))
		return "--target: expected https://, Foundry calls nothing "
		       "else";
	if (str_ends(c->target, STR("/")))
		return "--target: expected no / at the end, Foundry appends "
		       "paths as they are";
	if (c->auth == CONNECTION_MANAGED_IDENTITY &&
	    c->kind == CONNECTION_MODEL_GATEWAY)
		return "--auth ProjectManagedIdentity: Azure refuses it for "
		       "ModelGateway, use --kind ApiManagement (the target "
		       "may be any gateway)";
	if (c->auth == CONNECTION_OAUTH2 &&
	    c->kind == CONNECTION_API_MANAGEMENT)
		return "--auth OAuth2: only with --kind ModelGateway";
	if (c->auth == CONNECTION_OAUTH2 &&
	    (c->token_url.len == 0 || c->client_id.len == 0 ||
	     c->scope.len == 0))
		return "--auth OAuth2: expected --token-url, --client-id and "
		       "--scope";
	if (c->auth == CONNECTION_API_KEY &&
	    str_find(c->key_format, '{') == c->key_format.len)
		return "--key-format: expected {api_key} in it";
	return NULL;
}

static bool is_listed(const struct connection *c, const struct policy_model *m)
{
	return c->models.len == 0 || str_has_word(c->models, ',', m->name);
}

/* Every name of --models is a model. */
static bool check_models(const struct connection *c, const struct policy *p,
                         struct buf *error)
{
	struct str rest = c->models;

	while (rest.len > 0) {
		size_t n = str_find(rest, ',');
		struct str name = str_first(rest, n);
		const struct policy_model *m = policy_model(p, name);

		if (!m || !str_eq(m->name, name)) {
			buf_fmt(error,
			        "--models: found %" STR_FMT
			        ", expected names of models in %s\n",
			        STR_ARG(name), p->file);
			return false;
		}
		rest = str_from(rest, n + 1);
	}
	return true;
}

/* ----------------------------------------------------------------- output */

/* The list as Foundry wants it, foundry.md 3.1. */
static void write_models(const struct connection *c, const struct policy *p,
                         struct buf *out)
{
	const char *comma = "";
	size_t i;

	buf_add_str(out, STR("["));
	for (i = 0; i < p->n_models; i++) {
		const struct policy_model *m = &p->models[i];

		if (!is_listed(c, m))
			continue;
		buf_add_str(out, str_c(comma));
		discover_one(m, m->name, DISCOVER_AZURE, out);
		comma = ",";
	}
	buf_add_str(out, STR("]"));
}

/* A Bicep string: '..' with \, ' and ${ escaped. */
static void write_bicep(struct buf *out, struct str s)
{
	size_t i;

	buf_add_str(out, STR("'"));
	for (i = 0; i < s.len; i++) {
		bool hole = s.p[i] == '$' && i + 1 < s.len && s.p[i + 1] == '{';

		if (s.p[i] == '\\' || s.p[i] == '\'' || hole)
			buf_add_str(out, STR("\\"));
		buf_add(out, s.p + i, 1);
	}
	buf_add_str(out, STR("'"));
}

/* What the two languages write differently. */
struct writer {
	struct buf *out;
	bool bicep;
	bool first; /* of the members of the open object */
	unsigned indent;
};

static void begin_member(struct writer *w, const char *key)
{
	buf_fmt(w->out, "%s\n%*s%s%s%s: ", w->bicep || w->first ? "" : ",",
	        (int)w->indent, "", w->bicep ? "" : "\"", key,
	        w->bicep ? "" : "\"");
	w->first = false;
}

static void write_text(struct writer *w, const char *key, struct str value)
{
	begin_member(w, key);
	if (w->bicep)
		write_bicep(w->out, value);
	else
		buf_json(w->out, value);
}

/* A bare word in Bicep (a parameter), a placeholder in JSON. */
static void write_secret(struct writer *w, const char *key, const char *param)
{
	begin_member(w, key);
	if (w->bicep)
		buf_fmt(w->out, "%s", param);
	else
		buf_fmt(w->out, "\"<%s>\"", param);
}

static void open_object(struct writer *w, const char *key)
{
	begin_member(w, key);
	buf_add_str(w->out, STR("{"));
	w->indent += 2;
	w->first = true;
}

static void close_object(struct writer *w)
{
	w->indent -= 2;
	buf_fmt(w->out, "\n%*s}", (int)w->indent, "");
	w->first = false;
}

static void write_auth(struct writer *w, const struct connection *c)
{
	write_text(w, "authType", str_c(auths[c->auth]));
	switch (c->auth) {
	case CONNECTION_API_KEY:
		open_object(w, "credentials");
		write_secret(w, "key", "gatewayKey");
		close_object(w);
		break;
	case CONNECTION_OAUTH2:
		write_text(w, "tokenUrl", c->token_url);
		begin_member(w, "scopes");
		buf_add_str(w->out, STR("["));
		if (w->bicep)
			write_bicep(w->out, c->scope);
		else
			buf_json(w->out, c->scope);
		buf_add_str(w->out, STR("]"));
		open_object(w, "credentials");
		write_text(w, "clientId", c->client_id);
		write_secret(w, "clientSecret", "clientSecret");
		close_object(w);
		break;
	case CONNECTION_MANAGED_IDENTITY:
		write_text(w, "audience", c->audience);
		open_object(w, "credentials");
		close_object(w);
		break;
	}
}

static void write_key_header(struct writer *w, const struct connection *c,
                             struct buf *text)
{
	/* two spellings are in use, and nobody documents which one wins */
	write_text(w, "authHeaderName", c->key_header);
	write_text(w, "authHeaderFormat", c->key_format);
	buf_clear(text);
	buf_add_str(text, STR("{\"type\":\"api_key\",\"name\":"));
	buf_json(text, c->key_header);
	buf_add_str(text, STR(",\"format\":"));
	buf_json(text, c->key_format);
	buf_add_str(text, STR("}"));
	write_text(w, "authConfig", buf_str(text));
}

static void write_metadata(struct writer *w, const struct connection *c,
                           const struct policy *p, struct buf *text)
{
	open_object(w, "metadata");
	write_text(w, "deploymentInPath", str_c(booleans[c->in_path]));
	if (c->api_version.len > 0)
		write_text(w, "inferenceAPIVersion", c->api_version);
	if (c->discovery) {
		write_text(w, "modelDiscovery",
		           STR("{\"listModelsEndpoint\":\"/deployments\","
		               "\"getModelEndpoint\":"
		               "\"/deployments/{deploymentName}\","
		               "\"deploymentProvider\":\"AzureOpenAI\"}"));
	} else {
		buf_clear(text);
		write_models(c, p, text);
		write_text(w, "models", buf_str(text));
	}
	/* without any, the portal ignores the list above */
	write_text(w, "customHeaders",
	           STR("{\"x-ms-foundry-models\":\"byom\"}"));
	if (c->auth == CONNECTION_API_KEY)
		write_key_header(w, c, text);
	close_object(w);
}

static void write_properties(struct writer *w, const struct connection *c,
                             const struct policy *p, struct buf *text)
{
	open_object(w, "properties");
	write_text(w, "category", str_c(kinds[c->kind]));
	write_text(w, "target", c->target);
	write_auth(w, c);
	begin_member(w, "isSharedToAll");
	buf_add_str(w->out, STR("false"));
	write_metadata(w, c, p, text);
	close_object(w);
}

static void write_bicep_head(const struct connection *c, struct buf *out)
{
	buf_fmt(out,
	        "// Connection '%" STR_FMT "' from a Foundry project to "
	        "the gateway.\n//\n",
	        STR_ARG(c->name));
	buf_fmt(out,
	        "//   az deployment group create -g GROUP -f "
	        "connection.bicep \\\n"
	        "//     -p account=ACCOUNT project=PROJECT%s\n//\n",
	        c->auth == CONNECTION_API_KEY  ? " gatewayKey=KEY"
	        : c->auth == CONNECTION_OAUTH2 ? " clientSecret=SECRET"
	                                       : "");
	buf_fmt(out,
	        "// Agents then name their model "
	        "'%" STR_FMT "/MODEL'. Azure may answer\n"
	        "// InternalServerError a few times: deploy again.\n",
	        STR_ARG(c->name));
	buf_fmt(out, "param account string\nparam project string\n");
	if (c->auth == CONNECTION_API_KEY)
		buf_fmt(out, "@secure()\nparam gatewayKey string\n");
	if (c->auth == CONNECTION_OAUTH2)
		buf_fmt(out, "@secure()\nparam clientSecret string\n");
	buf_fmt(out, "\nresource foundry 'Microsoft.CognitiveServices/accounts@"
	             "2025-04-01-preview' existing = {\n  name: account\n}\n"
	             "resource foundryProject 'Microsoft.CognitiveServices/"
	             "accounts/projects@2025-04-01-preview' existing = {\n"
	             "  parent: foundry\n  name: project\n}\n"
	             "resource gateway 'Microsoft.CognitiveServices/accounts/"
	             "projects/connections@2025-04-01-preview' = {\n"
	             "  parent: foundryProject\n  name: ");
	write_bicep(out, c->name);
}

/* How to send the JSON; a remark, so it goes where errors go. */
static void write_az_command(const struct connection *c, struct buf *remark)
{
	buf_fmt(remark,
	        "# az rest --method put --body @connection.json --url "
	        "\"https://management.azure.com/subscriptions/$SUB/"
	        "resourceGroups/$GROUP/providers/"
	        "Microsoft.CognitiveServices/accounts/$ACCOUNT/projects/"
	        "$PROJECT/connections/%" STR_FMT
	        "?api-version=2025-04-01-preview\"\n",
	        STR_ARG(c->name));
}

bool connection_print(const struct connection *c, const struct policy *p,
                      struct buf *out, struct buf *error)
{
	struct writer w = {.out = out,
	                   .bicep = c->output == CONNECTION_BICEP,
	                   .first = true,
	                   .indent = 2};
	const char *wrong = what_is_wrong(c);
	struct buf text;

	if (wrong) {
		buf_fmt(error, "%s\n", wrong);
		return false;
	}
	if (!check_models(c, p, error))
		return false;
	buf_init(&text, CONNECTION_TEXT_MAX);
	if (w.bicep)
		write_bicep_head(c, out);
	else
		buf_add_str(out, STR("{"));
	write_properties(&w, c, p, &text);
	buf_add_str(out, STR("\n}\n"));
	if (text.failed)
		out->failed = true;
	buf_done(&text);
	if (!w.bicep)
		write_az_command(c, error);
	if (out->failed)
		buf_fmt(error, "connection: too many models\n");
	return !out->failed;
}

int command_connection(int argc, char **argv)
{
	struct connection c;
	struct policy *p = NULL;
	struct buf out, error;
	const char *file;
	bool ok;

	buf_init(&out, COMMAND_TEXT_MAX);
	buf_init(&error, COMMAND_TEXT_MAX);
	ok = connection_options(argc, argv, &c, &file, &error);
	if (ok)
		p = command_load(file);
	else
		connection_usage(&error);
	ok = p && connection_print(&c, p, &out, &error);
	command_tell(&error);
	policy_unref(p);
	return command_print(&out, ok);
}
