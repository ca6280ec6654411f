/*
 * keys/jose: the door to libjwt and to OpenSSL's RSA verification and SHA-256.
 *
 *   header . payload . signature
 *      |        |          |
 *      |        |          '- jose_decode -----------------.
 *      |        '- jose_read_payload: tid, ver             |  jose_split
 *      '- jose_read_header: alg, kid, crit, typ            |
 *   '------.------'                                        v
 *          '- SHA-256 ----------------> EVP_PKEY_verify     jose_verify
 *
 *      {"alg":"none"} . payload .  ---> libjwt              jose_claims_new
 */
#include "keys/jose.h"

#include "base/b64url.h"
#include "base/json.h"

#include <jwt.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	/* bytes: 8192 bits. Verifying takes time by the square of it, and the
	 * keys of Entra have 2048 bits. */
	JOSE_MODULUS_MAX = 1024,
	/* bytes: what BN_get_word() takes. Public exponents are 65537. */
	JOSE_EXPONENT_MAX = 8,
	/* RFC 7518, 3.3 */
	JOSE_MIN_BITS = 2048,
};

/* The end of the year 9999: times up to it can be added to without overflow,
 * and have a calendar date. */
static const int64_t jose_time_max = 253402300799;

/* base64url (RFC 7515, 2) in its one spelling: libjwt accepts more (azure.md
 * 2.2), by which a token could be varied without breaking its signature. False
 * also when the bytes do not fit `cap`. */
static bool jose_decode(struct str in, void *out, size_t cap, size_t *len)
{
	return B64URL_BYTES(in.len) <= cap && b64url_read(in, out, len);
}

/* The JSON object in a base64url segment; the caller frees it. NULL when it is
 * anything else. */
static struct json *jose_parse_segment(struct str segment)
{
	uint8_t text[JOSE_TOKEN_MAX];
	struct json *root;
	const char *error;
	size_t len, at;

	if (!jose_decode(segment, text, sizeof(text), &len))
		return NULL;
	root = json_parse(str_of((const char *)text, len), &error, &at);
	if (root && json_type(root) != JSON_OBJECT) {
		json_free(root);
		return NULL;
	}
	return root;
}

/* ----------------------------------------------------------------- keys */

/* Owns all three objects. */
struct jose_key {
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *verify; /* reused: making one costs as much as using it */
	EVP_MD *sha256;
	size_t modulus_len;
};

/* The public key of modulus n and exponent e (azure.md 2.3). NULL when it is
 * too weak: a small exponent makes forgery of badly padded signatures easy,
 * and an even number is no RSA key at all. */
static EVP_PKEY *jose_rsa_public(const BIGNUM *n, const BIGNUM *e)
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

static EVP_PKEY *jose_rsa_from_jwk(struct str n_b64url, struct str e_b64url)
{
	uint8_t n[JOSE_MODULUS_MAX], e[JOSE_EXPONENT_MAX];
	size_t n_len, e_len;
	BIGNUM *bn, *be;
	EVP_PKEY *pkey = NULL;

	if (!jose_decode(n_b64url, n, sizeof(n), &n_len) ||
	    !jose_decode(e_b64url, e, sizeof(e), &e_len))
		return NULL;
	bn = BN_bin2bn(n, (int)n_len, NULL);
	be = BN_bin2bn(e, (int)e_len, NULL);
	if (bn && be)
		pkey = jose_rsa_public(bn, be);
	BN_free(bn);
	BN_free(be);
	return pkey;
}

/* Set up the verification of PKCS1-v1_5 with SHA-256 once per key; OpenSSL
 * would look up its implementations for every token otherwise. */
static bool jose_prepare_key(struct jose_key *k)
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
	k->pkey = jose_rsa_from_jwk(n_b64url, e_b64url);
	if (!k->pkey || !jose_prepare_key(k)) {
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
	/* This fails only without memory. The digests are keys of caches and
	 * compared with gateway keys: any bytes returned in their place could
	 * match those of another caller. */
	if (EVP_Digest(s.len ? s.p : "", s.len, out, NULL, EVP_sha256(),
	               NULL) != 1)
		abort();
}

void jose_hmac_sha256(struct str key, struct str s, uint8_t out[JOSE_HMAC_LEN])
{
	if (!HMAC(EVP_sha256(), key.p, (int)key.len, (const uint8_t *)s.p,
	          s.len, out, NULL))
		abort();
}

bool jose_random(void *out, size_t len)
{
	return RAND_bytes(out, (int)len) == 1;
}

/* ----------------------------------------------------------------- form */

/* Exactly three parts (RFC 7515, 7.1); the signature may be empty here. libjwt
 * 1.17 accepts four (azure.md 2.2). */
static bool jose_split_parts(struct str token, struct str part[3])
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

/* `typ` may be absent, "JWT" (RFC 7519, 5.1) or "at+jwt" (RFC 9068, 2.1), in
 * any letter case (RFC 7515, 4.1.9). */
static bool jose_is_jwt_typ(const struct json *typ)
{
	struct str s;

	return !typ || (json_str(typ, &s) && (str_eq_nocase(s, STR("JWT")) ||
	                                      str_eq_nocase(s, STR("at+jwt"))));
}

/* The algorithm is required to be RS256, and not looked up in the key: Entra's
 * JWKs name none (azure.md 1.2), and all its access tokens are RS256. */
static enum jose_status jose_read_header(const struct json *header,
                                         struct jose_token *out)
{
	struct str alg, kid;

	if (!json_str(json_get(header, "alg"), &alg) ||
	    !str_eq(alg, STR("RS256")))
		return JOSE_ALGORITHM;
	/* `crit` lists extensions that must be understood (RFC 7515, 4.1.11),
	 * and none is; `b64` (RFC 7797) changes what is signed */
	if (json_get(header, "crit") || json_get(header, "b64"))
		return JOSE_ALGORITHM;
	if (!jose_is_jwt_typ(json_get(header, "typ")))
		return JOSE_MALFORMED;
	if (!json_str(json_get(header, "kid"), &kid) || kid.len == 0 ||
	    kid.len > JOSE_KID_MAX)
		return JOSE_KEY;
	memcpy(out->kid, kid.p, kid.len);
	out->kid[kid.len] = '\0';
	return JOSE_OK;
}

/* base/json refuses the same name twice. Names that differ in letter case are
 * refused here: a reader that ignores case would see another tenant. */
static bool jose_has_one_tid(const struct json *payload)
{
	const struct json *member;
	unsigned n = 0;

	json_each (payload, member)
		if (str_eq_nocase(json_key(member), STR("tid")))
			n++;
	return n <= 1;
}

/* tid and ver, where they have the right form; without them no tenant and no
 * key is found, and keys/claims checks both again after the signature. */
static enum jose_status jose_read_payload(const struct json *payload,
                                          struct jose_token *out)
{
	struct str tid, ver;

	if (!jose_has_one_tid(payload))
		return JOSE_MALFORMED;
	if (json_str(json_get(payload, "tid"), &tid) && str_is_guid(tid) &&
	    tid.len < sizeof(out->tid)) {
		str_copy_lower(out->tid, tid);
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

static enum jose_status jose_read_segment(struct str segment, read_fn *read,
                                          struct jose_token *out)
{
	struct json *root = jose_parse_segment(segment);
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
	if (!jose_split_parts(token, part))
		return JOSE_MALFORMED;
	out->raw = token;
	out->signed_part = str_first(token, part[0].len + 1 + part[1].len);
	status = jose_read_segment(part[0], jose_read_header, out);
	if (status != JOSE_OK)
		return status;
	if (!jose_decode(part[2], out->sig, sizeof(out->sig), &out->sig_len))
		return JOSE_MALFORMED;
	if (out->sig_len == 0) /* as in alg "none" */
		return JOSE_SIGNATURE;
	return jose_read_segment(part[1], jose_read_payload, out);
}

bool jose_oid(struct str token, char oid[37])
{
	struct str part[3], found;
	struct json *payload = NULL;
	bool ok;

	if (jose_split_parts(token, part))
		payload = jose_parse_segment(part[1]);
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

	/* RFC 8017, 8.2.2, step 1 */
	if (t->sig_len != k->modulus_len)
		return false;
	if (EVP_Digest(t->signed_part.p, t->signed_part.len, hash, NULL,
	               k->sha256, NULL) != 1)
		return false;
	ok = EVP_PKEY_verify(k->verify, t->sig, t->sig_len, hash, sizeof(hash));
	/* the error queue of OpenSSL is per thread, and later calls would find
	 * the errors of this token in it */
	if (ok != 1)
		ERR_clear_error();
	return ok == 1;
}

/* --------------------------------------------------------------- claims */

struct jose_claims {
	jwt_t *jwt;
};

/* libjwt is given the verified payload under a constant header, as an
 * unsecured JWT (RFC 7519, 6.1). That is the one form that all its versions
 * read without a key. The header of the caller, whose `typ` libjwt would judge
 * by rules of its own, does not reach it; and what it holds in memory is no
 * credential. */
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

/* Read from the JSON text of the claim, because libjwt's getter for integers
 * returns 0 for a string. libjwt prints reals with a point or an exponent, so
 * digits alone are an integer. */
bool jose_claim_time(const struct jose_claims *c, const char *name,
                     int64_t *out)
{
	char *text = jwt_get_grants_json(c->jwt, name);
	uint64_t v;
	bool ok = str_to_u64(str_c(text), &v) && v <= (uint64_t)jose_time_max;

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

/* Checked before the first callback, so that a refused claim has no effect. */
static bool jose_all_strings(const struct json *array)
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
	ok = jose_all_strings(root);
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

	/* libjwt 1.x has no function or macro for its version */
	snprintf(text, sizeof(text), "libjwt 1.x, %s",
	         OpenSSL_version(OPENSSL_VERSION));
	return text;
}
