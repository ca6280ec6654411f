/*
 * keys/keyset: parses the two documents that a tenant publishes.
 *
 *   metadata -> keyset_metadata -> kset_check_metadata -> jwks_uri
 *   key set  -> keyset_parse -> kset_add_keys -> kset_parse_key -> by kid
 */
#include "keys/keyset.h"

#include "base/json.h"
#include "base/map.h"

#include <stdlib.h>

/* Bytes, {tenantid} filled in. Issuers are URLs of about 60 bytes. */
enum { KEYSET_ISSUER_MAX = 1024 };

struct keyset_key {
	struct keyset_key *next;
	struct jose_key *key; /* owned; NULL: the kid is ambiguous */
	uint8_t sum[32];      /* of n, e and issuer */
	char *kid;            /* owned */
	char *issuer;         /* owned; "" when the key names none */
};

struct keyset {
	struct map by_kid;       /* to struct keyset_key, borrowed from keys */
	struct keyset_key *keys; /* owned */
	size_t n_good;           /* with a key */
	size_t n_seen;           /* members of the array */
};

/* Append `text` with every {tenantid} replaced. False when it does not fit. */
static bool kset_fill_tenant(struct buf *out, struct str text, struct str tid)
{
	struct str mark = STR("{tenantid}");

	while (text.len > 0) {
		size_t at = str_find(text, '{');

		buf_add_str(out, str_first(text, at));
		text = str_from(text, at);
		if (str_starts(text, mark)) {
			buf_add_str(out, tid);
			text = str_from(text, mark.len);
		} else if (text.len > 0) {
			buf_add(out, text.p, 1);
			text = str_from(text, 1);
		}
	}
	return !out->failed;
}

/* ------------------------------------------------------------- metadata */

struct origin {
	struct str scheme, host;
	uint64_t port;
};

/* Scheme, host and port of an absolute http(s) URL, as views into it. A URL
 * that this function and libcurl could read differently (user@host,
 * backslashes, blanks, controls, IPv6 zones) is refused: an attacker would
 * have the first check one host and the second connect to another. */
static bool kset_parse_origin(struct str url, struct origin *out)
{
	struct str rest, authority;
	size_t i, colon;

	for (i = 0; i < url.len; i++)
		if (url.p[i] <= ' ' || url.p[i] >= 0x7f ||
		    memchr("\\@\"<>^`{|}", url.p[i], 10))
			return false;
	if (str_starts_nocase(url, STR("https://")))
		*out = (struct origin){.scheme = STR("https"), .port = 443};
	else if (str_starts_nocase(url, STR("http://")))
		*out = (struct origin){.scheme = STR("http"), .port = 80};
	else
		return false;
	rest = str_from(url, out->scheme.len + 3);
	for (i = 0; i < rest.len && !memchr("/?#", rest.p[i], 3); i++)
		;
	authority = str_first(rest, i);
	/* an IPv6 address keeps its brackets */
	i = str_starts(authority, STR("[")) ? str_find(authority, ']') : 0;
	colon = i + str_find(str_from(authority, i), ':');
	out->host = str_first(authority, colon);
	if (colon < authority.len &&
	    !str_to_u64(str_from(authority, colon + 1), &out->port))
		return false;
	return out->host.len > 0 && out->port > 0 && out->port < 65536;
}

static bool kset_same_origin(struct str a, struct str b)
{
	struct origin x, y;

	return kset_parse_origin(a, &x) && kset_parse_origin(b, &y) &&
	       str_eq(x.scheme, y.scheme) && str_eq_nocase(x.host, y.host) &&
	       x.port == y.port;
}

static bool kset_issuer_matches(struct str found, struct str issuer,
                                struct str tid)
{
	struct buf filled;
	bool ok;

	buf_init(&filled, KEYSET_ISSUER_MAX);
	ok = kset_fill_tenant(&filled, found, tid) &&
	     str_eq(buf_str(&filled), issuer);
	buf_done(&filled);
	return ok;
}

/* A document that names another issuer than the configured one is not of this
 * tenant. Its jwks_uri must be on the authority, because whoever controls the
 * keys can sign tokens. */
static const char *kset_check_metadata(const struct json *root,
                                       struct str issuer, struct str tid,
                                       struct str authority, struct buf *uri)
{
	struct str found, jwks_uri;

	if (!json_str(json_get(root, "issuer"), &found))
		return "the metadata names no issuer";
	if (!kset_issuer_matches(found, issuer, tid))
		return "the issuer in the metadata is not the configured one";
	if (!json_str(json_get(root, "jwks_uri"), &jwks_uri))
		return "the metadata names no jwks_uri";
	if (!kset_same_origin(jwks_uri, authority))
		return "the jwks_uri is not on the tenant's authority";
	if (!buf_add_str(uri, jwks_uri))
		return "the jwks_uri is too long";
	return NULL;
}

const char *keyset_metadata(struct str text, struct str issuer, struct str tid,
                            struct str authority, struct buf *uri)
{
	const char *error, *why;
	size_t at;
	struct json *root = json_parse(text, &error, &at);

	if (!root)
		return "the metadata is not JSON";
	why = kset_check_metadata(root, issuer, tid, authority, uri);
	json_free(root);
	return why;
}

/* ----------------------------------------------------------------- keys */

static void kset_key_free(struct keyset_key *k)
{
	if (!k)
		return;
	jose_key_free(k->key);
	free(k->kid);
	free(k->issuer);
	free(k);
}

void keyset_free(struct keyset *ks)
{
	struct keyset_key *k;

	if (!ks)
		return;
	while (ks->keys) {
		k = ks->keys;
		ks->keys = k->next;
		kset_key_free(k);
	}
	map_done(&ks->by_kid);
	free(ks);
}

/* A member that is absent, or the string `value`. */
static bool kset_absent_or(const struct json *member, struct str value)
{
	struct str s;

	return !member || (json_str(member, &s) && str_eq(s, value));
}

/* Each part is hashed on its own first, so that no byte can move from one part
 * to the next without changing the sum. */
static void kset_sum_key(struct keyset_key *k, struct str n, struct str e)
{
	uint8_t part[3][32];

	jose_sha256(n, part[0]);
	jose_sha256(e, part[1]);
	jose_sha256(str_c(k->issuer), part[2]);
	jose_sha256(str_of((const char *)part, sizeof(part)), k->sum);
}

/* The issuer that a key is bound to, {tenantid} filled in; "" when it names
 * none. NULL when the member is no string, too long, or without memory; the
 * key is passed over then. The caller frees it. */
static char *kset_key_issuer(const struct json *jwk, struct str tid)
{
	const struct json *member = json_get(jwk, "issuer");
	struct buf filled;
	struct str s;
	char *out = NULL;

	if (!member)
		return str_dup(STR(""));
	buf_init(&filled, KEYSET_ISSUER_MAX);
	/* an empty issuer must not become "", which means bound to none */
	if (json_str(member, &s) && s.len > 0 &&
	    kset_fill_tenant(&filled, s, tid))
		out = str_dup(buf_str(&filled));
	buf_done(&filled);
	return out;
}

/* NULL when the key is not usable (keyset.h), or without memory. */
static struct keyset_key *kset_parse_key(const struct json *jwk, struct str tid)
{
	struct str kty, kid, n, e;
	struct keyset_key *k;

	if (!json_str(json_get(jwk, "kty"), &kty) || !str_eq(kty, STR("RSA")) ||
	    !kset_absent_or(json_get(jwk, "use"), STR("sig")) ||
	    !kset_absent_or(json_get(jwk, "alg"), STR("RS256")) ||
	    !json_str(json_get(jwk, "kid"), &kid) || kid.len == 0 ||
	    kid.len > JOSE_KID_MAX || !json_str(json_get(jwk, "n"), &n) ||
	    !json_str(json_get(jwk, "e"), &e))
		return NULL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->kid = str_dup(kid);
	k->issuer = kset_key_issuer(jwk, tid);
	k->key = jose_key_new(n, e);
	if (!k->kid || !k->issuer || !k->key) {
		kset_key_free(k);
		return NULL;
	}
	kset_sum_key(k, n, e);
	return k;
}

static bool kset_same_key(const struct keyset_key *a,
                          const struct keyset_key *b)
{
	return a->key && b->key && memcmp(a->sum, b->sum, sizeof(a->sum)) == 0;
}

/* Owns `k`. A second, different key under a kid takes the first one out, but
 * its entry stays, so that a third one does not come in again. False when the
 * set is full, or without memory. */
static bool kset_add_key(struct keyset *ks, struct keyset_key *k)
{
	struct keyset_key *old = map_get(&ks->by_kid, str_c(k->kid));

	if (old) {
		if (!kset_same_key(old, k) && old->key) {
			jose_key_free(old->key);
			old->key = NULL;
			ks->n_good--;
		}
		kset_key_free(k);
		return true;
	}
	if (!map_put(&ks->by_kid, str_c(k->kid), k)) {
		kset_key_free(k);
		return false;
	}
	k->next = ks->keys;
	ks->keys = k;
	ks->n_good++;
	return true;
}

/* NULL, or what is wrong with the document. Without memory for a single key
 * that key is passed over; the next refresh has it. */
static const char *kset_add_keys(struct keyset *ks, const struct json *root,
                                 struct str tid)
{
	const struct json *array = json_get(root, "keys"), *jwk;

	if (json_type(array) != JSON_ARRAY)
		return "the key set has no array `keys`";
	json_each (array, jwk) {
		struct keyset_key *k = kset_parse_key(jwk, tid);

		ks->n_seen++;
		if (k && !kset_add_key(ks, k))
			return "the key set has too many keys";
	}
	return ks->n_good > 0 ? NULL : "the key set has no usable key";
}

struct keyset *keyset_parse(struct str text, struct str tid, const char **why)
{
	const char *error;
	size_t at;
	struct json *root = json_parse(text, &error, &at);
	struct keyset *ks;

	if (!root) {
		*why = "the key set is not JSON";
		return NULL;
	}
	ks = calloc(1, sizeof(*ks));
	if (!ks) {
		*why = "out of memory";
	} else {
		map_init(&ks->by_kid, KEYSET_MAX_KEYS);
		*why = kset_add_keys(ks, root, tid);
	}
	json_free(root);
	if (*why) {
		keyset_free(ks);
		return NULL;
	}
	return ks;
}

/* --------------------------------------------------------------- asking */

bool keyset_find(const struct keyset *ks, struct str kid, struct jose_key **key,
                 struct str *issuer)
{
	const struct keyset_key *k = ks ? map_get(&ks->by_kid, kid) : NULL;

	if (!k || !k->key)
		return false;
	*key = k->key;
	*issuer = str_c(k->issuer);
	return true;
}

size_t keyset_count(const struct keyset *ks)
{
	return ks ? ks->n_good : 0;
}

size_t keyset_passed_over(const struct keyset *ks)
{
	return ks ? ks->n_seen - ks->n_good : 0;
}

bool keyset_covers(const struct keyset *whole, const struct keyset *part)
{
	const struct keyset_key *k, *twin;

	for (k = part ? part->keys : NULL; k; k = k->next) {
		if (!k->key)
			continue;
		twin = whole ? map_get(&whole->by_kid, str_c(k->kid)) : NULL;
		if (!twin || !kset_same_key(k, twin))
			return false;
	}
	return true;
}
