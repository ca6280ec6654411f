/*
 * connection: the Foundry connection that leads to this gateway.
 *
 *   argv --connection_options--> struct connection
 *   policy + struct connection --connection_print--> Bicep or JSON
 *
 *   cnx_write_bicep_head, or "{"
 *   cnx_write_properties
 *     category, target
 *     cnx_write_auth        authType, credentials
 *     isSharedToAll
 *     cnx_write_metadata    strings only; lists and objects as JSON texts
 *
 * Both languages have the same tree of members (foundry.md 1.1), so one walk
 * writes both, and struct writer knows where they differ.
 */
#include "commands/connection.h"

#include "decide/discover.h"
#include "commands/argv.h"
#include "commands/command.h"

#include <string.h>

enum {
	CONNECTION_NAME_MAX = 64, /* our choice; it is part of a model's name */
	/* Bytes of one value of `metadata`: the static list of models. Our
	 * choice, far above the hundreds of models of a large configuration. */
	CONNECTION_TEXT_MAX = 1 << 18,
};

/* The words of the command line, which are those of Azure, too: kinds and auths
 * are printed as they are. The order is that of the enums in connection.h. */

static const char *const cnx_kinds[] = {"ModelGateway", "ApiManagement", NULL};
static const char *const cnx_auths[] = {"ApiKey", "OAuth2",
                                        "ProjectManagedIdentity", NULL};
static const char *const cnx_outputs[] = {"bicep", "json", NULL};
static const char *const cnx_lists[] = {"static", "dynamic", NULL};
static const char *const cnx_booleans[] = {"false", "true", NULL};

/* ---------------------------------------------------------------- options */

#define CNX_TEXT(name, member, help)                                           \
	ARGV_OPTION(name, ARGV_TEXT, connection, member, NULL, help)

static const struct argv_option cnx_option_rows[] = {
	ARGV_OPTION("--kind", ARGV_ENUM, connection, kind, cnx_kinds,
                    "ModelGateway (default) or ApiManagement"),
	CNX_TEXT("--name", name, "of the connection; agents use NAME/MODEL"),
	CNX_TEXT("--target", target, "https://HOST[/PREFIX] of this gateway"),
	ARGV_OPTION("--auth", ARGV_ENUM, connection, auth, cnx_auths,
                    "ApiKey (default), OAuth2 (ModelGateway only) or "
                    "ProjectManagedIdentity (ApiManagement only)"),
	ARGV_OPTION(
		"--list", ARGV_BOOL, connection, discovery, cnx_lists,
		"static (default): models in the connection; dynamic: Foundry "
		"asks the gateway"),
	CNX_TEXT("--models", models, "A,B,..: only these (static)"),
	ARGV_OPTION("--in-path", ARGV_BOOL, connection, in_path, cnx_booleans,
                    "true: .../deployments/MODEL/chat/completions"),
	CNX_TEXT("--api-version", api_version, "sent as ?api-version="),
	CNX_TEXT("--key-header", key_header, "default api-key"),
	CNX_TEXT("--key-format", key_format, "default {api_key}"),
	CNX_TEXT("--token-url", token_url, "OAuth2"),
	CNX_TEXT("--scope", scope,
                 "OAuth2, for example api://foundry-gateway/.default"),
	CNX_TEXT("--client-id", client_id, "OAuth2"),
	CNX_TEXT("--audience", audience,
                 "managed identity; default "
                 "https://cognitiveservices.azure.com"),
	ARGV_OPTION("--output", ARGV_ENUM, connection, output, cnx_outputs,
                    "bicep (default) or json"),
};

enum { CNX_N_OPTIONS = sizeof(cnx_option_rows) / sizeof(*cnx_option_rows) };

bool connection_options(int argc, char **argv, struct connection *out,
                        const char **file, struct buf *error)
{
	*out = (struct connection){.key_header = STR("api-key"),
	                           .key_format = STR("{api_key}"),
	                           .audience = STR("https://cognitiveservices"
	                                           ".azure.com")};
	if (!argv_read(cnx_option_rows, CNX_N_OPTIONS, argc, argv, out, file,
	               error))
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
	argv_usage(cnx_option_rows, CNX_N_OPTIONS, out);
}

/* ----------------------------------------------------------------- checks */

static bool cnx_is_name(struct str s)
{
	return s.len > 0 && s.len <= CONNECTION_NAME_MAX &&
	       str_has_only(s, "-_");
}

/* What Azure would refuse, or accept and then fail with at the first request:
 * checked here, because Azure's own messages do not name the cause (foundry.md
 * 1.2, 1.3). A sentence for the operator, NULL when the options fit together.
 */
static const char *cnx_find_conflict(const struct connection *c)
{
	if (!cnx_is_name(c->name))
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

static bool cnx_is_listed(const struct connection *c,
                          const struct policy_model *m)
{
	return c->models.len == 0 || str_has_word(c->models, ',', m->name);
}

/* Every name in --models must be a public name of the configuration: Azure does
 * not check the names, and a wrong one fails at the first run of an agent. An
 * alias is refused, because cnx_write_models() compares public names. */
static bool cnx_check_models(const struct connection *c, const struct policy *p,
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

/* The static list of foundry.md 3.1, of the models that --models names. */
static void cnx_write_models(const struct connection *c, const struct policy *p,
                             struct buf *out)
{
	const char *comma = "";
	size_t i;

	buf_add_str(out, STR("["));
	for (i = 0; i < p->n_models; i++) {
		const struct policy_model *m = &p->models[i];

		if (!cnx_is_listed(c, m))
			continue;
		buf_add_str(out, str_c(comma));
		discover_one(m, m->name, DISCOVER_AZURE, out);
		comma = ",";
	}
	buf_add_str(out, STR("]"));
}

/* A Bicep string: in single quotes, with \, ' and ${ (interpolation) escaped.
 * Control characters are not: the texts are the operator's own. */
static void cnx_write_bicep_text(struct buf *out, struct str s)
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

/* Writes the members of objects in Bicep or JSON. Bicep separates members by a
 * new line, has keys without quotes and strings in single quotes; JSON
 * separates by commas and quotes both. */
struct writer {
	struct buf *out;
	bool bicep;
	bool first;      /* the next member is the first one of its object */
	unsigned indent; /* spaces before the next member */
};

static void cnx_begin_member(struct writer *w, const char *key)
{
	buf_fmt(w->out, "%s\n%*s%s%s%s: ", w->bicep || w->first ? "" : ",",
	        (int)w->indent, "", w->bicep ? "" : "\"", key,
	        w->bicep ? "" : "\"");
	w->first = false;
}

static void cnx_write_text(struct writer *w, const char *key, struct str value)
{
	cnx_begin_member(w, key);
	if (w->bicep)
		cnx_write_bicep_text(w->out, value);
	else
		buf_json(w->out, value);
}

/* A secret is never printed: Bicep gets the name of a parameter, which the
 * operator gives when deploying, and JSON a placeholder to be replaced. */
static void cnx_write_secret(struct writer *w, const char *key,
                             const char *param)
{
	cnx_begin_member(w, key);
	if (w->bicep)
		buf_fmt(w->out, "%s", param);
	else
		buf_fmt(w->out, "\"<%s>\"", param);
}

static void cnx_open_object(struct writer *w, const char *key)
{
	cnx_begin_member(w, key);
	buf_add_str(w->out, STR("{"));
	w->indent += 2;
	w->first = true;
}

static void cnx_close_object(struct writer *w)
{
	w->indent -= 2;
	buf_fmt(w->out, "\n%*s}", (int)w->indent, "");
	w->first = false;
}

/* The fields of each auth type, foundry.md 1.2 and 1.3. `scopes` is an
 * array in Azure; one is enough. */
static void cnx_write_auth(struct writer *w, const struct connection *c)
{
	cnx_write_text(w, "authType", str_c(cnx_auths[c->auth]));
	switch (c->auth) {
	case CONNECTION_API_KEY:
		cnx_open_object(w, "credentials");
		cnx_write_secret(w, "key", "gatewayKey");
		cnx_close_object(w);
		break;
	case CONNECTION_OAUTH2:
		cnx_write_text(w, "tokenUrl", c->token_url);
		cnx_begin_member(w, "scopes");
		buf_add_str(w->out, STR("["));
		if (w->bicep)
			cnx_write_bicep_text(w->out, c->scope);
		else
			buf_json(w->out, c->scope);
		buf_add_str(w->out, STR("]"));
		cnx_open_object(w, "credentials");
		cnx_write_text(w, "clientId", c->client_id);
		cnx_write_secret(w, "clientSecret", "clientSecret");
		cnx_close_object(w);
		break;
	case CONNECTION_MANAGED_IDENTITY:
		cnx_write_text(w, "audience", c->audience);
		cnx_open_object(w, "credentials");
		cnx_close_object(w);
		break;
	}
}

static void cnx_write_key_header(struct writer *w, const struct connection *c,
                                 struct buf *text)
{
	/* Two spellings are in use, authHeader* by the portal and authConfig
	 * by Microsoft's templates. Which one wins is not documented
	 * (foundry.md 7), so both are written, with the same meaning. */
	cnx_write_text(w, "authHeaderName", c->key_header);
	cnx_write_text(w, "authHeaderFormat", c->key_format);
	buf_clear(text);
	buf_add_str(text, STR("{\"type\":\"api_key\",\"name\":"));
	buf_json(text, c->key_header);
	buf_add_str(text, STR(",\"format\":"));
	buf_json(text, c->key_format);
	buf_add_str(text, STR("}"));
	cnx_write_text(w, "authConfig", buf_str(text));
}

/* Azure refuses values that are not strings (foundry.md 1.1). `text` is scratch
 * space for values that are JSON themselves. A static list and discovery
 * exclude each other (foundry.md 1.2). */
static void cnx_write_metadata(struct writer *w, const struct connection *c,
                               const struct policy *p, struct buf *text)
{
	cnx_open_object(w, "metadata");
	cnx_write_text(w, "deploymentInPath", str_c(cnx_booleans[c->in_path]));
	if (c->api_version.len > 0)
		cnx_write_text(w, "inferenceAPIVersion", c->api_version);
	if (c->discovery) {
		cnx_write_text(w, "modelDiscovery",
		               STR("{\"listModelsEndpoint\":\"/deployments\","
		                   "\"getModelEndpoint\":"
		                   "\"/deployments/{deploymentName}\","
		                   "\"deploymentProvider\":\"AzureOpenAI\"}"));
	} else {
		buf_clear(text);
		cnx_write_models(c, p, text);
		cnx_write_text(w, "models", buf_str(text));
	}
	/* the portal ignores a static list without custom headers, and its own
	 * wizard sends this one (foundry.md 1.2) */
	cnx_write_text(w, "customHeaders",
	               STR("{\"x-ms-foundry-models\":\"byom\"}"));
	if (c->auth == CONNECTION_API_KEY)
		cnx_write_key_header(w, c, text);
	cnx_close_object(w);
}

/* isSharedToAll is false: a connection of the project. Shared ones belong to
 * the account, which agents do not always find (foundry.md 7). */
static void cnx_write_properties(struct writer *w, const struct connection *c,
                                 const struct policy *p, struct buf *text)
{
	cnx_open_object(w, "properties");
	cnx_write_text(w, "category", str_c(cnx_kinds[c->kind]));
	cnx_write_text(w, "target", c->target);
	cnx_write_auth(w, c);
	cnx_begin_member(w, "isSharedToAll");
	buf_add_str(w->out, STR("false"));
	cnx_write_metadata(w, c, p, text);
	cnx_close_object(w);
}

/* Ends with the open object of the resource. 2025-04-01-preview is the version
 * of Microsoft's own templates (foundry.md 1.1). */
static void cnx_write_bicep_head(const struct connection *c, struct buf *out)
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
	cnx_write_bicep_text(out, c->name);
}

/* The command that sends the JSON. A remark, so it goes to standard error: the
 * output must stay a file that can be sent. */
static void cnx_write_az_remark(const struct connection *c, struct buf *remark)
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
	const char *wrong = cnx_find_conflict(c);
	struct buf text;

	if (wrong) {
		buf_fmt(error, "%s\n", wrong);
		return false;
	}
	if (!cnx_check_models(c, p, error))
		return false;
	buf_init(&text, CONNECTION_TEXT_MAX);
	if (w.bicep)
		cnx_write_bicep_head(c, out);
	else
		buf_add_str(out, STR("{"));
	cnx_write_properties(&w, c, p, &text);
	buf_add_str(out, STR("\n}\n"));
	if (text.failed)
		out->failed = true;
	buf_done(&text);
	if (!w.bicep)
		cnx_write_az_remark(c, error);
	if (out->failed)
		buf_fmt(error, "connection: too many models\n");
	return !out->failed;
}

/* Errors come with the usage text when the options could not be read. */
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
