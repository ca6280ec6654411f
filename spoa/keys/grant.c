/*
 * keys/grant: makes the request for an access token, and reads the answer.
 *
 *   grant_init -> grant_asks[type] -> struct ask: url, header, body
 *                                      |
 *                 grant_store_request <-'  -> struct grant, for net/fetch
 *
 *   answer -> grant_answer_new -> grant_read_answer -> struct grant_token
 *   401    -> grant_prove -> grant_read_arc_key -> second header
 *
 * Header and body of a request hold secrets. Their buffers get all their
 * memory at once and never grow, and are wiped, so that no copy is left in
 * freed memory.
 */
#include "keys/grant.h"

#include "base/file.h"
#include "base/json.h"
#include "base/backoff.h"
#include "keys/jose_sign.h"

#include <stdlib.h>

enum {
	/* bytes each of URL, header and body: a client secret may need three
	 * bytes for one when it is encoded, a federated token of 8 kB none */
	GRANT_REQUEST_MAX = 32768,
	/* seconds: lifetimes from which on half of it is waited, and the time
	 * before the end otherwise (azure.md 3.8) */
	GRANT_LONG_LIFE_S = 7200,
	GRANT_AHEAD_S = 300,
	/* bytes of each text of an error that go into a log line */
	GRANT_SAID_MAX = 200,
};

/* ------------------------------------------------------------- requests */

/* The unreserved characters (RFC 3986, 2.3) but '~', which is in no token and
 * no name of a key file. */
static bool grant_is_plain(char c)
{
	return str_is_alnum(c) || c == '-' || c == '.' || c == '_';
}

/* Percent-encoding (RFC 3986, 2.1) of all that is not unreserved. A blank is
 * %20 and not '+', which is right both in a query and in a form. */
static void grant_add_encoded(struct buf *out, struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (grant_is_plain(s.p[i]) || s.p[i] == '~')
			buf_add(out, &s.p[i], 1);
		else
			buf_fmt(out, "%%%02X", (unsigned char)s.p[i]);
	}
}

/* An empty value adds nothing: the parameter is optional. */
static void grant_add_param(struct buf *out, const char *name, struct str value)
{
	if (value.len == 0)
		return;
	buf_fmt(out, "&%s=", name);
	grant_add_encoded(out, value);
}

/* `resource` of managed identities: the audience without the "/.default" that
 * makes a scope of it. */
static struct str grant_resource_of(struct str audience)
{
	struct str suffix = STR("/.default");

	if (str_ends(audience, suffix))
		audience.len -= suffix.len;
	return audience;
}

static struct str grant_without_slash(struct str s)
{
	if (str_ends(s, STR("/")))
		s.len--;
	return s;
}

/* A request while it is made: what it is made of, and its parts. */
struct ask {
	const struct policy_credential *c;
	struct str audience;
	int64_t now_s;
	struct buf url, header, body;
	struct buf *why; /* not empty: the request cannot be made */
};

/* Which user-assigned identity is meant, by at most one of three ids. Without
 * any the endpoint takes the system-assigned one (azure.md 3.2). The names of
 * two parameters depend on the endpoint. */
static void grant_add_identity(struct ask *a, const char *object,
                               const char *resource)
{
	if (a->c->client_id.len)
		grant_add_param(&a->url, "client_id", a->c->client_id);
	else if (a->c->object_id.len)
		grant_add_param(&a->url, object, a->c->object_id);
	else
		grant_add_param(&a->url, resource, a->c->resource_id);
}

/* IMDS, and the Arc agent, which has taken over its interface. The header
 * shows that the request does not come from a redirect or a browser. */
static void grant_ask_metadata(struct ask *a, struct str version)
{
	buf_add_str(&a->url, grant_without_slash(a->c->endpoint));
	buf_add_str(&a->url,
	            STR("/metadata/identity/oauth2/token?api-version="));
	buf_add_str(&a->url, version);
	grant_add_param(&a->url, "resource", grant_resource_of(a->audience));
	buf_add_str(&a->header, STR("Metadata: true"));
}

static void grant_ask_imds(struct ask *a)
{
	grant_ask_metadata(a, STR("2018-02-01"));
	grant_add_identity(a, "object_id", "msi_res_id");
}

static void grant_ask_arc(struct ask *a)
{
	grant_ask_metadata(a, STR("2020-06-01"));
}

/* The endpoint is the IDENTITY_ENDPOINT of the platform, which may have a
 * query of its own; X-IDENTITY-HEADER is its guard against SSRF. */
static void grant_ask_app_service(struct ask *a)
{
	const struct policy_credential *c = a->c;
	bool has_query = str_find(c->endpoint, '?') < c->endpoint.len;

	buf_add_str(&a->url, c->endpoint);
	buf_add_str(&a->url, has_query ? STR("&") : STR("?"));
	buf_add_str(&a->url, STR("api-version=2019-08-01"));
	grant_add_param(&a->url, "resource", grant_resource_of(a->audience));
	grant_add_identity(a, "principal_id", "mi_res_id");
	buf_add_str(&a->header, STR("X-IDENTITY-HEADER: "));
	buf_add_str(&a->header, c->header_value);
}

/* The request to Entra's token endpoint (client credentials, azure.md 3.6 and
 * 3.7), without the parameters that prove who asks. */
static void grant_ask_entra(struct ask *a)
{
	struct str audience =
		grant_without_slash(grant_resource_of(a->audience));

	buf_add_str(&a->url, grant_without_slash(a->c->endpoint));
	buf_add_str(&a->url, STR("/"));
	grant_add_encoded(&a->url, a->c->tenant_id);
	buf_add_str(&a->url, STR("/oauth2/v2.0/token"));
	buf_add_str(&a->body, STR("grant_type=client_credentials"));
	grant_add_param(&a->body, "client_id", a->c->client_id);
	buf_add_str(&a->body, STR("&scope="));
	grant_add_encoded(&a->body, audience);
	grant_add_encoded(&a->body, STR("/.default"));
}

static void grant_ask_secret(struct ask *a)
{
	grant_ask_entra(a);
	grant_add_param(&a->body, "client_secret", a->c->secret);
}

/* RFC 7523, 2.2 */
static void grant_add_assertion(struct ask *a, struct str assertion)
{
	grant_add_param(&a->body, "client_assertion_type",
	                STR("urn:ietf:params:oauth:client-assertion-type:"
	                    "jwt-bearer"));
	grant_add_param(&a->body, "client_assertion", assertion);
}

/* Three parts of base64url characters. The path of the file is configured: one
 * that names another file by mistake must not send its content to Entra. */
static bool grant_is_jwt(struct str s)
{
	unsigned dots = 0;
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (!grant_is_plain(s.p[i]))
			return false;
		if (s.p[i] == '.' && (i == 0 || s.p[i - 1] == '.'))
			return false;
		dots += s.p[i] == '.';
	}
	return dots == 2 && s.p[s.len - 1] != '.';
}

/* The credential's file. False with a->why when it cannot be read or fills
 * `mem`: then it may be longer. The caller wipes `mem` either way. */
static bool grant_read_file(struct ask *a, char *mem, size_t size, size_t *len)
{
	const char *path = a->c->file.p;
	const char *why = file_read(path, FILE_PLAIN, mem, size, len, NULL);

	if (why)
		buf_fmt(a->why, "%.200s cannot be read: %s", path, why);
	else if (*len == size)
		buf_fmt(a->why, "%.200s is too long", path);
	return a->why->len == 0;
}

/* The token of the pod (azure.md 3.6) is the assertion. */
static void grant_add_federated(struct ask *a, struct str token)
{
	if (token.len == 0)
		buf_fmt(a->why, "%.200s is empty, expected a federated token",
		        a->c->file.p);
	else if (!grant_is_jwt(token))
		buf_fmt(a->why, "%.200s holds no token (a JWT)", a->c->file.p);
	else
		grant_add_assertion(a, token);
}

/* kubelet replaces the token at about 80 % of its lifetime. It is read for
 * every request, so it is never older than the file (azure.md 3.6). */
static void grant_ask_workload(struct ask *a)
{
	char mem[GRANT_TOKEN_MAX / 2];
	size_t len;

	grant_ask_entra(a);
	if (grant_read_file(a, mem, sizeof(mem), &len))
		grant_add_federated(a, str_trim(str_of(mem, len)));
	explicit_bzero(mem, sizeof(mem));
}

/* The assertion's audience is the URL it is sent to (azure.md 3.7), which
 * grant_ask_entra() has put together before. */
static void grant_sign_assertion(struct ask *a, struct str pem)
{
	struct jose_assertion j = {.pem = pem,
	                           .client_id = a->c->client_id,
	                           .audience = buf_str(&a->url),
	                           .now_s = a->now_s};
	struct buf assertion;
	const char *why;

	/* A credential until it ends. All memory at once: growing would leave
	 * a copy in freed memory. */
	buf_init(&assertion, JOSE_ASSERTION_MAX);
	why = buf_reserve(&assertion, JOSE_ASSERTION_MAX)
	              ? jose_sign(&j, &assertion)
	              : "out of memory";
	if (why)
		buf_fmt(a->why, "%.200s: %s", a->c->file.p, why);
	else
		grant_add_assertion(a, buf_str(&assertion));
	buf_wipe(&assertion);
}

static void grant_ask_certificate(struct ask *a)
{
	char mem[JOSE_PEM_MAX];
	size_t len;

	grant_ask_entra(a);
	if (grant_read_file(a, mem, sizeof(mem), &len))
		grant_sign_assertion(a, str_of(mem, len));
	explicit_bzero(mem, sizeof(mem));
}

static void (*const grant_asks[])(struct ask *a) = {
	[CRED_IMDS] = grant_ask_imds,
	[CRED_APP_SERVICE] = grant_ask_app_service,
	[CRED_CLIENT_SECRET] = grant_ask_secret,
	[CRED_WORKLOAD] = grant_ask_workload,
	[CRED_CERTIFICATE] = grant_ask_certificate,
	[CRED_ARC] = grant_ask_arc,
};

/* NULL for an empty buffer, and without memory. */
static char *grant_dup_buf(const struct buf *b)
{
	return b->len ? str_dup(buf_str(b)) : NULL;
}

/* Check the request as a whole and copy it. False with a->why; the caller
 * frees what was copied. */
static bool grant_store_request(struct grant *g, const struct ask *a)
{
	if (a->why->len > 0)
		return false;
	if (a->url.failed || a->header.failed || a->body.failed) {
		buf_fmt(a->why, "the request for a token is too long");
		return false;
	}
	if (!str_is_one_line(buf_str(&a->header)) ||
	    !str_is_one_line(buf_str(&a->url))) {
		buf_fmt(a->why, "a control character in what goes into the "
		                "request for a token");
		return false;
	}
	g->url = grant_dup_buf(&a->url);
	g->header = grant_dup_buf(&a->header);
	g->body = grant_dup_buf(&a->body);
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
	/* growing later would leave copies of the secret in freed memory.
	 * Without memory all parts stay empty, and url is missing below. */
	if (buf_reserve(&a.header, GRANT_REQUEST_MAX) &&
	    buf_reserve(&a.body, GRANT_REQUEST_MAX))
		grant_asks[c->type](&a);
	ok = grant_store_request(g, &a);
	buf_done(&a.url);
	buf_wipe(&a.header);
	buf_wipe(&a.body);
	if (!ok)
		grant_done(g);
	return ok;
}

static void grant_free_secret(char *z)
{
	if (z)
		explicit_bzero(z, strlen(z));
	free(z);
}

void grant_done(struct grant *g)
{
	free(g->url);
	grant_free_secret(g->body);
	grant_free_secret(g->header);
	grant_free_secret(g->proof);
	*g = (struct grant){0};
}

/* ----------------------------------------------------- the Arc challenge */

/* The path in "Basic realm=DIR/NAME.key". The challenge must be exactly this:
 * no text before or behind, no "..", no further slash, no hidden file. NAME
 * has only characters of grant_is_plain(), so no NUL cuts the path short. */
static bool grant_arc_key_path(struct str challenge, const char *dir,
                               char *path, size_t size)
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
		if (!grant_is_plain(name.p[i]))
			return false;
	return true;
}

/* Make g->proof of the key file. False with `why`. */
static bool grant_read_arc_key(struct grant *g, const char *path,
                               struct buf *why)
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
	if (!wrong && (key.len == 0 || !str_is_one_line(key)))
		wrong = "it holds no key";
	if (wrong) {
		buf_fmt(why, "%.200s cannot be used: %s", path, wrong);
	} else {
		buf_init(&line, GRANT_ARC_LINE_MAX);
		if (buf_reserve(&line, GRANT_ARC_LINE_MAX) &&
		    buf_add_str(&line, STR("Authorization: Basic ")) &&
		    buf_add_str(&line, key))
			g->proof = str_dup(buf_str(&line));
		buf_wipe(&line);
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
	if (!grant_arc_key_path(challenge, dir, path, sizeof(path))) {
		buf_fmt(why,
		        "the Arc agent asks for something else than a file "
		        "NAME.key in %s",
		        dir);
		return false;
	}
	if (!grant_read_arc_key(g, path, why))
		return false;
	g->headers[1] = g->proof;
	return true;
}

/* -------------------------------------------------------------- answers */

struct grant_answer {
	struct json *root; /* owned; has the token */
};

/* Seconds, not negative. IMDS writes them as strings, Entra's token endpoint
 * as numbers (azure.md 3.2, 3.6). */
static bool grant_read_seconds(const struct json *j, int64_t *out)
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

static bool grant_read_lifetime(const struct json *root, int64_t now_s,
                                int64_t *out)
{
	const struct json *in = json_get(root, "expires_in");
	int64_t at;

	/* expires_in first: it does not depend on the clock of this machine.
	 * App Service has expires_on only (azure.md 3.3). */
	if (in)
		return grant_read_seconds(in, out);
	if (!grant_read_seconds(json_get(root, "expires_on"), &at))
		return false;
	*out = at - now_s;
	return true;
}

int64_t grant_renew_in(int64_t lifetime_s, int64_t refresh_in_s)
{
	if (refresh_in_s > 0 && refresh_in_s < lifetime_s)
		return refresh_in_s;
	if (lifetime_s >= GRANT_LONG_LIFE_S ||
	    lifetime_s <= INT64_C(2) * GRANT_AHEAD_S)
		return lifetime_s / 2;
	return lifetime_s - GRANT_AHEAD_S;
}

/* +-10 %, so that many nodes do not renew together. It never moves a renewal
 * into the last tenth of the lifetime, where a failure leaves little time. */
static int64_t grant_add_jitter(int64_t renew_in_s, int64_t lifetime_s)
{
	int64_t s = (int64_t)backoff_jitter((uint64_t)renew_in_s);
	int64_t latest = renew_in_s > lifetime_s - lifetime_s / 10
	                         ? renew_in_s
	                         : lifetime_s - lifetime_s / 10;

	s = s > latest ? latest : s;
	return s > 0 ? s : 1;
}

/* b64token (RFC 6750, 2.1). Anything else could end the header that the token
 * is put into. */
static bool grant_is_b64token(struct str s)
{
	return s.len > 0 && s.len <= GRANT_TOKEN_MAX &&
	       str_has_only(s, "-._~+/=");
}

static const char *grant_read_answer(const struct json *root, int64_t now_s,
                                     struct grant_token *out)
{
	const struct json *type = json_get(root, "token_type");
	int64_t refresh_in_s = 0;
	struct str s;

	if (!json_str(json_get(root, "access_token"), &out->access_token) ||
	    !grant_is_b64token(out->access_token))
		return "the answer has no access_token we can use";
	/* token types have no letter case (RFC 6749, 5.1). An absent one is
	 * accepted: the value is used as a bearer token anyway. */
	if (type && (!json_str(type, &s) || !str_eq_nocase(s, STR("Bearer"))))
		return "the token in the answer is no Bearer token";
	if (!grant_read_lifetime(root, now_s, &out->lifetime_s))
		return "the answer has no expires_in or expires_on";
	if (out->lifetime_s <= 0)
		return "the token in the answer has ended already";
	/* at most ten years, which leaves room for arithmetic */
	if (out->lifetime_s > 315360000)
		out->lifetime_s = 315360000;
	if (!grant_read_seconds(json_get(root, "refresh_in"), &refresh_in_s))
		refresh_in_s = 0;
	out->renew_in_s = grant_add_jitter(
		grant_renew_in(out->lifetime_s, refresh_in_s), out->lifetime_s);
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
	*why = a->root ? grant_read_answer(a->root, now_s, &token)
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
	/* base/json hands strings out as const, but this document is owned
	 * here and freed next, so writing to it is allowed */
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
	/* Entra and IMDS: error, error_description; App Service: message */
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

/* By azure.md 3.2 the statuses 404, 408, 410, 429 and 5xx are temporary. So is
 * a redirect, which is not followed: a captive network may answer so. */
bool grant_is_misconfigured(int status)
{
	return status >= 400 && status < 500 && status != 404 &&
	       status != 408 && status != 410 && status != 429;
}
