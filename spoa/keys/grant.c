/* keys/grant: what to ask an identity endpoint, and what it answered. */
#include "keys/grant.h"

#include "base/json.h"
#include "keys/backoff.h"

#include <stdlib.h>

enum {
	GRANT_REQUEST_MAX = 16384,
	GRANT_LONG_LIFE_S = 7200,
	GRANT_AHEAD_S = 300,
	GRANT_SAID_MAX = 200,
};

/* ------------------------------------------------------------- requests */

/* As in application/x-www-form-urlencoded, blanks as %20: right in a query
 * and in a body (RFC 3986, 2.3). */
static void add_encoded(struct buf *out, struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		char c = s.p[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		             (c >= 'a' && c <= 'z') || c == '-' || c == '.' ||
		             c == '_' || c == '~';

		if (plain)
			buf_add(out, &c, 1);
		else
			buf_fmt(out, "%%%02X", (unsigned char)c);
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

/* At most one of the three says which user-assigned identity is meant. */
static void add_identity(struct buf *url, const struct policy_credential *c,
                         const char *object, const char *resource)
{
	if (c->client_id.len)
		add_param(url, "client_id", c->client_id);
	else if (c->object_id.len)
		add_param(url, object, c->object_id);
	else
		add_param(url, resource, c->resource_id);
}

static void ask_imds(const struct policy_credential *c, struct buf *url,
                     struct buf *header, struct buf *body)
{
	(void)body;
	buf_add_str(url, without_slash(c->endpoint));
	buf_add_str(url, STR("/metadata/identity/oauth2/token"
	                     "?api-version=2018-02-01"));
	add_param(url, "resource", resource_of(c->audience));
	add_identity(url, c, "object_id", "msi_res_id");
	buf_add_str(header, STR("Metadata: true"));
}

static void ask_app_service(const struct policy_credential *c, struct buf *url,
                            struct buf *header, struct buf *body)
{
	bool has_query = str_find(c->endpoint, '?') < c->endpoint.len;

	(void)body;
	buf_add_str(url, c->endpoint);
	buf_add_str(url, has_query ? STR("&") : STR("?"));
	buf_add_str(url, STR("api-version=2019-08-01"));
	add_param(url, "resource", resource_of(c->audience));
	add_identity(url, c, "principal_id", "mi_res_id");
	buf_add_str(header, STR("X-IDENTITY-HEADER: "));
	buf_add_str(header, c->header_value);
}

static void ask_client_secret(const struct policy_credential *c,
                              struct buf *url, struct buf *header,
                              struct buf *body)
{
	struct str audience = resource_of(c->audience);

	(void)header;
	buf_add_str(url, without_slash(c->endpoint));
	buf_add_str(url, STR("/"));
	add_encoded(url, c->tenant_id);
	buf_add_str(url, STR("/oauth2/v2.0/token"));
	buf_add_str(body, STR("grant_type=client_credentials"));
	add_param(body, "client_id", c->client_id);
	add_param(body, "client_secret", c->secret);
	buf_add_str(body, STR("&scope="));
	add_encoded(body, without_slash(audience));
	add_encoded(body, STR("/.default"));
}

static void (*const ask[])(const struct policy_credential *c, struct buf *url,
                           struct buf *header, struct buf *body) = {
	[CRED_IMDS] = ask_imds,
	[CRED_APP_SERVICE] = ask_app_service,
	[CRED_CLIENT_SECRET] = ask_client_secret,
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

bool grant_init(struct grant *g, const struct policy_credential *c)
{
	struct buf url, header, body;
	bool ok;

	*g = (struct grant){
		.plain_http = str_starts_nocase(c->endpoint, STR("http://"))};
	buf_init(&url, GRANT_REQUEST_MAX);
	buf_init(&header, GRANT_REQUEST_MAX);
	buf_init(&body, GRANT_REQUEST_MAX);
	/* all room at once: growing would leave copies of the secret */
	ok = buf_reserve(&header, GRANT_REQUEST_MAX) &&
	     buf_reserve(&body, GRANT_REQUEST_MAX);
	ask[c->type](c, &url, &header, &body);
	ok = ok && !url.failed && !header.failed && !body.failed &&
	     is_line(buf_str(&header)) && is_line(buf_str(&url));
	if (ok) {
		g->url = dup_or_null(&url);
		g->header = dup_or_null(&header);
		g->body = dup_or_null(&body);
		g->headers[0] = g->header;
		ok = g->url && (g->header || !header.len) &&
		     (g->body || !body.len);
	}
	buf_done(&url);
	wipe(&header);
	wipe(&body);
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
	*g = (struct grant){0};
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
