/* keys/grant: what to ask an identity endpoint, and what it answered. */
#include "keys/grant.h"

#include "base/file.h"
#include "base/json.h"
#include "base/backoff.h"
#include "keys/jose_sign.h"

#include <stdlib.h>

enum {
	GRANT_REQUEST_MAX = 32768,
	GRANT_LONG_LIFE_S = 7200,
	GRANT_AHEAD_S = 300,
	GRANT_SAID_MAX = 200,
};

/* ------------------------------------------------------------- requests */

static bool is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_';
}

/* As in application/x-www-form-urlencoded, blanks as %20: right in a query
 * and in a body (RFC 3986, 2.3). */
static void add_encoded(struct buf *out, struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (is_plain(s.p[i]) || s.p[i] == '~')
			buf_add(out, &s.p[i], 1);
		else
			buf_fmt(out, "%%%02X", (unsigned char)s.p[i]);
	}
}

static void add_param(struct buf *out, const char *name, struct str value)
{
	if (value.len == 0)
		return;
	buf_fmt(out, "&%s=", name);
	add_encoded(out, value);
}

/* "resource" of the older endpoints: the audience without "/.default". */
static struct str resource_of(struct str audience)
{
	struct str suffix = STR("/.default");

	if (str_ends(audience, suffix))
		audience.len -= suffix.len;
	return audience;
}

static struct str without_slash(struct str s)
{
	if (str_ends(s, STR("/")))
		s.len--;
	return s;
}

/* What a request is made of, and made in. */
struct ask {
	const struct policy_credential *c;
	struct str audience;
	int64_t now_s;
	struct buf url, header, body;
	struct buf *why; /* not empty: it cannot be made */
};

/* At most one of the three says which user-assigned identity is meant. */
static void add_identity(struct ask *a, const char *object,
                         const char *resource)
{
	if (a->c->client_id.len)
		add_param(&a->url, "client_id", a->c->client_id);
	else if (a->c->object_id.len)
		add_param(&a->url, object, a->c->object_id);
	else
		add_param(&a->url, resource, a->c->resource_id);
}

static void ask_metadata(struct ask *a, struct str version)
{
	buf_add_str(&a->url, without_slash(a->c->endpoint));
	buf_add_str(&a->url,
	            STR("/metadata/identity/oauth2/token?api-version="));
	buf_add_str(&a->url, version);
	add_param(&a->url, "resource", resource_of(a->audience));
	buf_add_str(&a->header, STR("Metadata: true"));
}

static void ask_imds(struct ask *a)
{
	ask_metadata(a, STR("2018-02-01"));
	add_identity(a, "object_id", "msi_res_id");
}

static void ask_arc(struct ask *a)
{
	ask_metadata(a, STR("2020-06-01"));
}

static void ask_app_service(struct ask *a)
{
	const struct policy_credential *c = a->c;
	bool has_query = str_find(c->endpoint, '?') < c->endpoint.len;

	buf_add_str(&a->url, c->endpoint);
	buf_add_str(&a->url, has_query ? STR("&") : STR("?"));
	buf_add_str(&a->url, STR("api-version=2019-08-01"));
	add_param(&a->url, "resource", resource_of(a->audience));
	add_identity(a, "principal_id", "mi_res_id");
	buf_add_str(&a->header, STR("X-IDENTITY-HEADER: "));
	buf_add_str(&a->header, c->header_value);
}

/* The request to Entra, but for what proves who we are. */
static void ask_entra(struct ask *a)
{
	struct str audience = without_slash(resource_of(a->audience));

	buf_add_str(&a->url, without_slash(a->c->endpoint));
	buf_add_str(&a->url, STR("/"));
	add_encoded(&a->url, a->c->tenant_id);
	buf_add_str(&a->url, STR("/oauth2/v2.0/token"));
	buf_add_str(&a->body, STR("grant_type=client_credentials"));
	add_param(&a->body, "client_id", a->c->client_id);
	buf_add_str(&a->body, STR("&scope="));
	add_encoded(&a->body, audience);
	add_encoded(&a->body, STR("/.default"));
}

static void ask_client_secret(struct ask *a)
{
	ask_entra(a);
	add_param(&a->body, "client_secret", a->c->secret);
}

static void add_assertion(struct ask *a, struct str assertion)
{
	add_param(&a->body, "client_assertion_type",
	          STR("urn:ietf:params:oauth:client-assertion-type:"
	              "jwt-bearer"));
	add_param(&a->body, "client_assertion", assertion);
}

/* Three parts in base64url: what else the file may hold is not sent out. */
static bool is_jwt(struct str s)
{
	unsigned dots = 0;
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (!is_plain(s.p[i]))
			return false;
		if (s.p[i] == '.' && (i == 0 || s.p[i - 1] == '.'))
			return false;
		dots += s.p[i] == '.';
	}
	return dots == 2 && s.p[s.len - 1] != '.';
}

static bool read_file(struct ask *a, char *mem, size_t size, size_t *len)
{
	const char *path = a->c->file.p;
	const char *why = file_read(path, FILE_PLAIN, mem, size, len, NULL);

	if (why)
		buf_fmt(a->why, "%.200s cannot be read: %s", path, why);
	else if (*len == size)
		buf_fmt(a->why, "%.200s is too long", path);
	return a->why->len == 0;
}

static void show_token(struct ask *a, struct str token)
{
	if (token.len == 0)
		buf_fmt(a->why, "%.200s is empty, expected a federated token",
		        a->c->file.p);
	else if (!is_jwt(token))
		buf_fmt(a->why, "%.200s holds no token (a JWT)", a->c->file.p);
	else
		add_assertion(a, token);
}

/* kubelet writes a new token long before the old one ends; read for every
 * request, the file is never behind. */
static void ask_workload(struct ask *a)
{
	char mem[GRANT_TOKEN_MAX / 2];
	size_t len;

	ask_entra(a);
	if (read_file(a, mem, sizeof(mem), &len))
		show_token(a, str_trim(str_of(mem, len)));
	explicit_bzero(mem, sizeof(mem));
}

static void sign(struct ask *a, struct str pem)
{
	struct jose_assertion j = {.pem = pem,
	                           .client_id = a->c->client_id,
	                           .audience = buf_str(&a->url),
	                           .now_s = a->now_s};
	struct buf assertion;
	const char *why;

	buf_init(&assertion, JOSE_ASSERTION_MAX);
	why = jose_sign(&j, &assertion);
	if (why)
		buf_fmt(a->why, "%.200s: %s", a->c->file.p, why);
	else
		add_assertion(a, buf_str(&assertion));
	buf_done(&assertion);
}

static void ask_certificate(struct ask *a)
{
	char mem[JOSE_PEM_MAX];
	size_t len;

	ask_entra(a);
	if (read_file(a, mem, sizeof(mem), &len))
		sign(a, str_of(mem, len));
	explicit_bzero(mem, sizeof(mem));
}

static void (*const asks[])(struct ask *a) = {
	[CRED_IMDS] = ask_imds,
	[CRED_APP_SERVICE] = ask_app_service,
	[CRED_CLIENT_SECRET] = ask_client_secret,
	[CRED_WORKLOAD] = ask_workload,
	[CRED_CERTIFICATE] = ask_certificate,
	[CRED_ARC] = ask_arc,
};

/* A control byte in a header could end it and begin another. */
static bool is_line(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

static void wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_done(b);
}

static char *dup_or_null(const struct buf *b)
{
	return b->len ? str_dup(buf_str(b)) : NULL;
}

static bool take(struct grant *g, const struct ask *a)
{
	if (a->why->len > 0)
		return false;
	if (a->url.failed || a->header.failed || a->body.failed) {
		buf_fmt(a->why, "the request for a token is too long");
		return false;
	}
	if (!is_line(buf_str(&a->header)) || !is_line(buf_str(&a->url))) {
		buf_fmt(a->why, "a control character in what goes into the "
		                "request for a token");
		return false;
	}
	g->url = dup_or_null(&a->url);
	g->header = dup_or_null(&a->header);
	g->body = dup_or_null(&a->body);
	g->headers[0] = g->header;
	if (g->url && (g->header || !a->header.len) &&
	    (g->body || !a->body.len))
		return true;
	buf_fmt(a->why, "out of memory");
	return false;
}

bool grant_init(struct grant *g, const struct policy_credential *c,
                struct str audience, int64_t now_s, struct buf *why)
{
	struct ask a = {
		.c = c, .audience = audience, .now_s = now_s, .why = why};
	bool ok;

	*g = (struct grant){
		.plain_http = str_starts_nocase(c->endpoint, STR("http://"))};
	buf_init(&a.url, GRANT_REQUEST_MAX);
	buf_init(&a.header, GRANT_REQUEST_MAX);
	buf_init(&a.body, GRANT_REQUEST_MAX);
	/* all room at once: growing would leave copies of the secret */
	if (buf_reserve(&a.header, GRANT_REQUEST_MAX) &&
	    buf_reserve(&a.body, GRANT_REQUEST_MAX))
		asks[c->type](&a);
	ok = take(g, &a);
	buf_done(&a.url);
	wipe(&a.header);
	wipe(&a.body);
	if (!ok)
		grant_done(g);
	return ok;
}

static void free_secret(char *z)
{
	if (z)
		explicit_bzero(z, strlen(z));
	free(z);
}

void grant_done(struct grant *g)
{
	free(g->url);
	free_secret(g->body);
	free_secret(g->header);
	free_secret(g->proof);
	*g = (struct grant){0};
}

/* ----------------------------------------------------- the Arc challenge */

/* Basic realm=/var/opt/azcmagent/tokens/NAME.key - nothing before, nothing
 * behind, and one spelling of a path only: no "..", no second slash. */
static bool key_path(struct str challenge, const char *dir, char *path,
                     size_t size)
{
	struct str begin = STR("Basic realm="), name;
	size_t i, dir_len = strlen(dir);

	if (!str_starts_nocase(challenge, begin) ||
	    challenge.len - begin.len >= size)
		return false;
	name = str_from(challenge, begin.len);
	if (!str_starts(name, str_of(dir, dir_len)) || name.len <= dir_len ||
	    name.p[dir_len] != '/')
		return false;
	memcpy(path, name.p, name.len);
	path[name.len] = '\0';
	name = str_from(name, dir_len + 1);
	if (!str_ends(name, STR(".key")) || name.p[0] == '.')
		return false;
	for (i = 0; i < name.len; i++)
		if (!is_plain(name.p[i]))
			return false;
	return true;
}

static bool read_proof(struct grant *g, const char *path, struct buf *why)
{
	char mem[GRANT_ARC_KEY_MAX + 1];
	struct buf line;
	struct str key = STR_NONE;
	size_t len;
	const char *wrong =
		file_read(path, FILE_NO_LINK, mem, sizeof(mem), &len, NULL);

	if (!wrong)
		key = str_trim(str_of(mem, len));
	if (!wrong && len > GRANT_ARC_KEY_MAX)
		wrong = "it is longer than a key of the Arc agent";
	if (!wrong && (key.len == 0 || !is_line(key)))
		wrong = "it holds no key";
	if (wrong) {
		buf_fmt(why, "%.200s cannot be used: %s", path, wrong);
	} else {
		buf_init(&line, 2 * GRANT_ARC_KEY_MAX);
		if (buf_reserve(&line, 2 * GRANT_ARC_KEY_MAX) &&
		    buf_add_str(&line, STR("Authorization: Basic ")) &&
		    buf_add_str(&line, key))
			g->proof = str_dup(buf_str(&line));
		wipe(&line);
		if (!g->proof)
			buf_fmt(why, "out of memory");
	}
	explicit_bzero(mem, sizeof(mem));
	return g->proof != NULL;
}

bool grant_prove(struct grant *g, struct str challenge, const char *dir,
                 struct buf *why)
{
	char path[256];

	if (g->proof) {
		buf_fmt(why, "the Arc agent refuses the key it asked for");
		return false;
	}
	if (!key_path(challenge, dir, path, sizeof(path))) {
		buf_fmt(why,
		        "the Arc agent asks for something else than a file "
		        "NAME.key in %s",
		        dir);
		return false;
	}
	if (!read_proof(g, path, why))
		return false;
	g->headers[1] = g->proof;
	return true;
}

/* -------------------------------------------------------------- answers */

struct grant_answer {
	struct json *root;
};

/* IMDS writes numbers as strings, the token endpoint as numbers. */
static bool seconds(const struct json *j, int64_t *out)
{
	struct str s;
	uint64_t v;

	if (json_int(j, out))
		return *out >= 0;
	if (!json_str(j, &s) || !str_to_u64(s, &v) || v > INT64_MAX)
		return false;
	*out = (int64_t)v;
	return true;
}

static bool lifetime_of(const struct json *root, int64_t now_s, int64_t *out)
{
	const struct json *in = json_get(root, "expires_in");
	int64_t at;

	/* the span first: it does not depend on our clock being right */
	if (in)
		return seconds(in, out);
	if (!seconds(json_get(root, "expires_on"), &at))
		return false;
	*out = at - now_s;
	return true;
}

int64_t grant_renew_in(int64_t lifetime_s, int64_t refresh_in_s)
{
	if (refresh_in_s > 0 && refresh_in_s < lifetime_s)
		return refresh_in_s;
	if (lifetime_s >= GRANT_LONG_LIFE_S || lifetime_s <= 2 * GRANT_AHEAD_S)
		return lifetime_s / 2;
	return lifetime_s - GRANT_AHEAD_S;
}

/* Jitter never moves the renewal into the last tenth of the lifetime. */
static int64_t spread(int64_t renew_in_s, int64_t lifetime_s)
{
	int64_t s = (int64_t)backoff_jitter((uint64_t)renew_in_s);
	int64_t latest = renew_in_s > lifetime_s - lifetime_s / 10
	                         ? renew_in_s
	                         : lifetime_s - lifetime_s / 10;

	s = s > latest ? latest : s;
	return s > 0 ? s : 1;
}

/* RFC 6750, 2.1: b64token. Anything else could break the header. */
static bool is_token(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		      (c >= 'a' && c <= 'z') || memchr("-._~+/=", c, 7)))
			return false;
	}
	return s.len > 0 && s.len <= GRANT_TOKEN_MAX;
}

static const char *read_answer(const struct json *root, int64_t now_s,
                               struct grant_token *out)
{
	const struct json *type = json_get(root, "token_type");
	int64_t refresh_in_s = 0;
	struct str s;

	if (!json_str(json_get(root, "access_token"), &out->access_token) ||
	    !is_token(out->access_token))
		return "the answer has no access_token we can use";
	if (type && (!json_str(type, &s) || !str_eq_nocase(s, STR("Bearer"))))
		return "the token in the answer is no Bearer token";
	if (!lifetime_of(root, now_s, &out->lifetime_s))
		return "the answer has no expires_in or expires_on";
	if (out->lifetime_s <= 0)
		return "the token in the answer has ended already";
	/* ten years stand for ever, and leave room for arithmetic */
	if (out->lifetime_s > 315360000)
		out->lifetime_s = 315360000;
	if (!seconds(json_get(root, "refresh_in"), &refresh_in_s))
		refresh_in_s = 0;
	out->renew_in_s = spread(grant_renew_in(out->lifetime_s, refresh_in_s),
	                         out->lifetime_s);
	return NULL;
}

struct grant_answer *grant_answer_new(struct str text, int64_t now_s,
                                      struct grant_token *out, const char **why)
{
	struct grant_answer *a = calloc(1, sizeof(*a));
	struct grant_token token;
	const char *error;
	size_t at;

	if (!a) {
		*why = "out of memory";
		return NULL;
	}
	a->root = json_parse(text, &error, &at);
	*why = a->root ? read_answer(a->root, now_s, &token)
	               : "the answer is not JSON";
	if (*why) {
		grant_answer_free(a);
		return NULL;
	}
	*out = token;
	return a;
}

void grant_answer_free(struct grant_answer *a)
{
	struct str token;

	if (!a)
		return;
	/* the document is ours alone and about to go: its one secret may be
	 * written over, though the door hands it out as read-only */
	if (json_str(json_get(a->root, "access_token"), &token))
		explicit_bzero((void *)(uintptr_t)token.p, token.len);
	json_free(a->root);
	free(a);
}

bool grant_error(struct str text, struct buf *out)
{
	const char *error;
	size_t at;
	struct json *root = json_parse(text, &error, &at);
	struct str code = STR_NONE, said = STR_NONE;

	if (!root)
		return false;
	json_str(json_get(root, "error"), &code);
	if (!json_str(json_get(root, "error_description"), &said))
		json_str(json_get(root, "message"), &said);
	buf_add_str(out, str_first(code, GRANT_SAID_MAX));
	if (code.len && said.len)
		buf_add_str(out, STR(": "));
	buf_add_str(out, str_first(said, GRANT_SAID_MAX));
	json_free(root);
	return out->len > 0;
}

/* azure.md 3.2: 404, 408, 410 and 429 pass, as do all of 5xx; so does a
 * redirect, which a captive network may answer. */
bool grant_is_misconfigured(int status)
{
	return status >= 400 && status < 500 && status != 404 &&
	       status != 408 && status != 410 && status != 429;
}
