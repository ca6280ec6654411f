/*
 * keys/jose: the door to OpenSSL's RSA and digests and to libjwt.
 *
 *   token -> split -> base64url -> base/json      form    (jose_split)
 *                 \-> SHA-256 -> EVP_PKEY_verify  trust   (jose_verify)
 *                 \-> libjwt                      claims  (jose_claims_new)
 */
#include "keys/jose.h"

#include "base/json.h"

#include <jwt.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	JOSE_MODULUS_MAX = 1024, /* bytes, that is 8192 bits */
	JOSE_EXPONENT_MAX = 8,
	JOSE_MIN_BITS = 2048,
};

/* Year 9999: leaves room to add any skew without overflow. */
static const int64_t time_max = 253402300799;

/* ------------------------------------------------------------ base64url */

static int b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -1;
}

/* RFC 7515, 2 and RFC 4648, 3.5: no padding, no other characters, and unused
 * bits of the last character are zero, so that a text has one spelling. */
static bool b64url(struct str in, uint8_t *out, size_t cap, size_t *len)
{
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t n = 0, i;

	if (in.len % 4 == 1 || in.len / 4 * 3 + in.len % 4 * 3 / 4 > cap)
		return false;
	for (i = 0; i < in.len; i++) {
		int v = b64_value(in.p[i]);

		if (v < 0)
			return false;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (uint8_t)(acc >> bits);
		}
	}
	if (acc & ((1u << bits) - 1))
		return false;
	*len = n;
	return true;
}

/* A base64url segment that holds one JSON object, or NULL. */
static struct json *json_segment(struct str segment)
{
	uint8_t text[JOSE_TOKEN_MAX];
	struct json *root;
	const char *error;
	size_t len, at;

	if (!b64url(segment, text, sizeof(text), &len))
		return NULL;
	root = json_parse(str_of((const char *)text, len), &error, &at);
	if (root && json_type(root) != JSON_OBJECT) {
		json_free(root);
		return NULL;
	}
	return root;
}

/* ----------------------------------------------------------------- keys */

struct jose_key {
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *verify; /* reused: making one costs as much as using it */
	EVP_MD *sha256;
	size_t modulus_len;
};

/* NULL unless n and e make a key we want to trust. */
static EVP_PKEY *rsa_public(const BIGNUM *n, const BIGNUM *e)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = NULL;
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;

	if (BN_num_bits(n) < JOSE_MIN_BITS || !BN_is_odd(n) || !BN_is_odd(e) ||
	    BN_num_bits(e) > 64 || BN_get_word(e) < 65537)
		goto out;
	if (!bld || !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) ||
	    !OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e))
		goto out;
	params = OSSL_PARAM_BLD_to_param(bld);
	ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) <= 0 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) <= 0)
		pkey = NULL;
out:
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	return pkey;
}

static EVP_PKEY *rsa_from_jwk(struct str n_b64url, struct str e_b64url)
{
	uint8_t n[JOSE_MODULUS_MAX], e[JOSE_EXPONENT_MAX];
	size_t n_len, e_len;
	BIGNUM *bn, *be;
	EVP_PKEY *pkey = NULL;

	if (!b64url(n_b64url, n, sizeof(n), &n_len) ||
	    !b64url(e_b64url, e, sizeof(e), &e_len))
		return NULL;
	bn = BN_bin2bn(n, (int)n_len, NULL);
	be = BN_bin2bn(e, (int)e_len, NULL);
	if (bn && be)
		pkey = rsa_public(bn, be);
	BN_free(bn);
	BN_free(be);
	return pkey;
}

static bool prepare(struct jose_key *k)
{
	k->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	k->verify = EVP_PKEY_CTX_new(k->pkey, NULL);
	k->modulus_len = (size_t)EVP_PKEY_get_size(k->pkey);
	return k->sha256 && k->verify && EVP_PKEY_verify_init(k->verify) > 0 &&
	       EVP_PKEY_CTX_set_rsa_padding(k->verify, RSA_PKCS1_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_signature_md(k->verify, k->sha256) > 0;
}

struct jose_key *jose_key_new(struct str n_b64url, struct str e_b64url)
{
	struct jose_key *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->pkey = rsa_from_jwk(n_b64url, e_b64url);
	if (!k->pkey || !prepare(k)) {
		ERR_clear_error();
		jose_key_free(k);
		return NULL;
	}
	return k;
}

void jose_key_free(struct jose_key *k)
{
	if (!k)
		return;
	EVP_PKEY_CTX_free(k->verify);
	EVP_PKEY_free(k->pkey);
	EVP_MD_free(k->sha256);
	free(k);
}

void jose_sha256(struct str s, uint8_t out[32])
{
	/* SHA-256 of bytes in memory fails only without memory; an answer
	 * that could be mistaken for a digest would be worse than stopping */
	if (EVP_Digest(s.len ? s.p : "", s.len, out, NULL, EVP_sha256(),
	               NULL) != 1)
		abort();
}

/* ----------------------------------------------------------------- form */

static bool three_parts(struct str token, struct str part[3])
{
	size_t a, b;
	struct str rest;

	if (token.len == 0 || token.len > JOSE_TOKEN_MAX)
		return false;
	a = str_find(token, '.');
	rest = str_from(token, a + 1);
	b = str_find(rest, '.');
	part[0] = str_first(token, a);
	part[1] = str_first(rest, b);
	part[2] = str_from(rest, b + 1);
	return a < token.len && b < rest.len && part[0].len > 0 &&
	       part[1].len > 0 && str_find(part[2], '.') == part[2].len;
}

/* RFC 7519, 5.1 and RFC 9068, 2.1; RFC 7515, 4.1.9: without case. */
static bool is_typ(const struct json *typ)
{
	struct str s;

	return !typ || (json_str(typ, &s) && (str_eq_nocase(s, STR("JWT")) ||
	                                      str_eq_nocase(s, STR("at+jwt"))));
}

static enum jose_status read_header(const struct json *header,
                                    struct jose_token *out)
{
	struct str alg, kid;

	if (!json_str(json_get(header, "alg"), &alg) ||
	    !str_eq(alg, STR("RS256")))
		return JOSE_ALGORITHM;
	/* RFC 7515, 4.1.11: extensions we must understand - we know none,
	 * and `b64` (RFC 7797) changes what is signed */
	if (json_get(header, "crit") || json_get(header, "b64"))
		return JOSE_ALGORITHM;
	if (!is_typ(json_get(header, "typ")))
		return JOSE_MALFORMED;
	if (!json_str(json_get(header, "kid"), &kid) || kid.len == 0 ||
	    kid.len > JOSE_KID_MAX)
		return JOSE_KEY;
	memcpy(out->kid, kid.p, kid.len);
	out->kid[kid.len] = '\0';
	return JOSE_OK;
}

/* Two spellings of `tid` would let two readers see two tenants. */
static bool one_tid(const struct json *payload)
{
	const struct json *member;
	unsigned n = 0;

	json_each (payload, member)
		if (str_eq_nocase(json_key(member), STR("tid")))
			n++;
	return n <= 1;
}

static enum jose_status read_payload(const struct json *payload,
                                     struct jose_token *out)
{
	struct str tid, ver;
	size_t i;

	if (!one_tid(payload))
		return JOSE_MALFORMED;
	if (json_str(json_get(payload, "tid"), &tid) && str_is_guid(tid) &&
	    tid.len < sizeof(out->tid)) {
		for (i = 0; i < tid.len; i++) {
			bool upper = tid.p[i] >= 'A' && tid.p[i] <= 'Z';

			out->tid[i] = (char)(tid.p[i] | (upper ? 0x20 : 0));
		}
		out->tid[tid.len] = '\0';
	}
	if (json_str(json_get(payload, "ver"), &ver) &&
	    ver.len < sizeof(out->ver)) {
		memcpy(out->ver, ver.p, ver.len);
		out->ver[ver.len] = '\0';
	}
	return JOSE_OK;
}

typedef enum jose_status read_fn(const struct json *root,
                                 struct jose_token *out);

static enum jose_status check_segment(struct str segment, read_fn *read,
                                      struct jose_token *out)
{
	struct json *root = json_segment(segment);
	enum jose_status status;

	if (!root)
		return JOSE_MALFORMED;
	status = read(root, out);
	json_free(root);
	return status;
}

enum jose_status jose_split(struct str token, struct jose_token *out)
{
	enum jose_status status;
	struct str part[3];

	out->kid[0] = out->ver[0] = out->tid[0] = '\0';
	out->sig_len = 0;
	if (!three_parts(token, part))
		return JOSE_MALFORMED;
	out->raw = token;
	out->signed_part = str_first(token, part[0].len + 1 + part[1].len);
	status = check_segment(part[0], read_header, out);
	if (status != JOSE_OK)
		return status;
	if (!b64url(part[2], out->sig, sizeof(out->sig), &out->sig_len))
		return JOSE_MALFORMED;
	if (out->sig_len == 0)
		return JOSE_SIGNATURE;
	return check_segment(part[1], read_payload, out);
}

bool jose_oid(struct str token, char oid[37])
{
	struct str part[3], found;
	struct json *payload = NULL;
	bool ok;

	if (three_parts(token, part))
		payload = json_segment(part[1]);
	ok = json_str(json_get(payload, "oid"), &found) && str_is_guid(found);
	if (ok) {
		memcpy(oid, found.p, found.len);
		oid[found.len] = '\0';
	}
	json_free(payload);
	return ok;
}

/* ---------------------------------------------------------------- trust */

bool jose_verify(const struct jose_token *t, struct jose_key *k)
{
	uint8_t hash[32];
	int ok;

	if (t->sig_len != k->modulus_len)
		return false; /* RFC 8017, 8.2.2, step 1 */
	if (EVP_Digest(t->signed_part.p, t->signed_part.len, hash, NULL,
	               k->sha256, NULL) != 1)
		return false;
	ok = EVP_PKEY_verify(k->verify, t->sig, t->sig_len, hash, sizeof(hash));
	if (ok != 1)
		ERR_clear_error(); /* or the queue grows with every attack */
	return ok == 1;
}

/* --------------------------------------------------------------- claims */

struct jose_claims {
	jwt_t *jwt;
};

/* libjwt is given the verified payload alone, as a token without signature
 * (RFC 7519, 6.1): the only form all its versions read without a key, one
 * that its narrower idea of `typ` cannot refuse, and no credential any more. */
struct jose_claims *jose_claims_new(const struct jose_token *t)
{
	static const char head[] = "eyJhbGciOiJub25lIn0"; /* {"alg":"none"} */
	struct str payload =
		str_from(t->signed_part, str_find(t->signed_part, '.'));
	struct jose_claims *c = calloc(1, sizeof(*c));
	size_t head_len = sizeof(head) - 1;
	char *text = malloc(head_len + payload.len + sizeof("."));

	if (c && text) {
		memcpy(text, head, head_len);
		memcpy(text + head_len, payload.p, payload.len);
		memcpy(text + head_len + payload.len, ".", sizeof("."));
		if (jwt_decode(&c->jwt, text, NULL, 0) != 0)
			c->jwt = NULL;
	}
	free(text);
	if (c && !c->jwt) {
		free(c);
		return NULL;
	}
	return c;
}

void jose_claims_free(struct jose_claims *c)
{
	if (!c)
		return;
	jwt_free(c->jwt);
	free(c);
}

struct str jose_claim_str(const struct jose_claims *c, const char *name)
{
	return str_c(jwt_get_grant(c->jwt, name));
}

/* Read from the claim's JSON text: the library's own integer getter says 0 for
 * a string. Reals are printed with a point or exponent, so digits alone are an
 * integer. */
bool jose_claim_time(const struct jose_claims *c, const char *name,
                     int64_t *out)
{
	char *text = jwt_get_grants_json(c->jwt, name);
	uint64_t v;
	bool ok = str_to_u64(str_c(text), &v) && v <= (uint64_t)time_max;

	free(text);
	if (ok)
		*out = (int64_t)v;
	return ok;
}

bool jose_claim_present(const struct jose_claims *c, const char *name)
{
	char *json = jwt_get_grants_json(c->jwt, name);
	bool present = json != NULL;

	free(json);
	return present;
}

static bool all_strings(const struct json *array)
{
	const struct json *item;

	if (json_type(array) != JSON_ARRAY)
		return false;
	json_each (array, item)
		if (json_type(item) != JSON_STRING)
			return false;
	return true;
}

bool jose_claim_strs(const struct jose_claims *c, const char *name,
                     void (*each)(void *ctx, struct str s), void *ctx)
{
	char *text = jwt_get_grants_json(c->jwt, name);
	const struct json *item;
	const char *error;
	struct json *root;
	struct str s;
	size_t at;
	bool ok;

	if (!text)
		return true;
	root = json_parse(str_c(text), &error, &at);
	ok = all_strings(root);
	if (ok)
		json_each (root, item)
			if (json_str(item, &s))
				each(ctx, s);
	json_free(root);
	free(text);
	return ok;
}

const char *jose_library(void)
{
	static char text[96];

	/* libjwt 1.x tells its version to nobody */
	snprintf(text, sizeof(text), "libjwt 1.x, %s",
	         OpenSSL_version(OPENSSL_VERSION));
	return text;
}
