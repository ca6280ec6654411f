/* mint: keys and tokens made while a test runs, good ones and forged ones. */
#include "mint.h"

#include "test.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

char *mint_b64(const void *p, size_t len)
{
	char *out = malloc(len / 3 * 4 + 5);
	size_t n, i;

	assert_non_null(out);
	n = (size_t)EVP_EncodeBlock((unsigned char *)out, p, (int)len);
	while (n > 0 && out[n - 1] == '=')
		n--;
	out[n] = '\0';
	for (i = 0; i < n; i++)
		if (out[i] == '+')
			out[i] = '-';
		else if (out[i] == '/')
			out[i] = '_';
	return out;
}

static char *number(const struct mint_key *k, const char *name)
{
	unsigned char bytes[1024];
	BIGNUM *bn = NULL;
	int len;

	assert_int_equal(EVP_PKEY_get_bn_param(k->pkey, name, &bn), 1);
	len = BN_bn2bin(bn, bytes);
	BN_free(bn);
	return mint_b64(bytes, (size_t)len);
}

void mint_key_init(struct mint_key *k, unsigned bits, unsigned exponent)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	BIGNUM *e = BN_new();

	*k = (struct mint_key){0};
	BN_set_word(e, exponent);
	assert_true(EVP_PKEY_keygen_init(ctx) > 0);
	assert_true(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits) > 0);
	assert_true(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) > 0);
	assert_true(EVP_PKEY_generate(ctx, &k->pkey) > 0);
	EVP_PKEY_CTX_free(ctx);
	BN_free(e);
	k->n = number(k, OSSL_PKEY_PARAM_RSA_N);
	k->e = number(k, OSSL_PKEY_PARAM_RSA_E);
}

void mint_key_done(struct mint_key *k)
{
	EVP_PKEY_free(k->pkey);
	free(k->n);
	free(k->e);
}

char *mint_pem(const struct mint_key *k, size_t *len)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p, *out;

	assert_int_equal(PEM_write_bio_PUBKEY(bio, k->pkey), 1);
	*len = (size_t)BIO_get_mem_data(bio, &p);
	out = str_dup(str_of(p, *len));
	BIO_free(bio);
	return out;
}

char *mint_der(const struct mint_key *k, size_t *len)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(k->pkey, &der);
	char *out;

	assert_true(n > 0);
	*len = (size_t)n;
	out = str_dup(str_of((const char *)der, *len));
	OPENSSL_free(der);
	return out;
}

char *mint_raw(struct str header, struct str payload, struct str sig)
{
	char *h = mint_b64(header.p, header.len);
	char *p = mint_b64(payload.p, payload.len);
	char *s = sig.len ? mint_b64(sig.p, sig.len) : str_dup(STR(""));
	char *out = NULL;

	assert_true(asprintf(&out, "%s.%s.%s", h, p, s) > 0);
	free(h);
	free(p);
	free(s);
	return out;
}

/* What is signed: the token up to its second dot. */
static struct str signed_part(const char *unsigned_token)
{
	struct str s = str_c(unsigned_token);

	s.len--;
	return s;
}

char *mint_rsa(const struct mint_key *k, const char *digest, bool pss,
               struct str header, struct str payload)
{
	char *bare = mint_raw(header, payload, STR_NONE), *out;
	struct str text = signed_part(bare);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	unsigned char sig[1024];
	size_t len = sizeof(sig);

	assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, digest, NULL, NULL,
	                                       k->pkey, NULL),
	                 1);
	if (pss)
		assert_true(EVP_PKEY_CTX_set_rsa_padding(
				    pctx, RSA_PKCS1_PSS_PADDING) > 0);
	assert_int_equal(EVP_DigestSign(ctx, sig, &len,
	                                (const unsigned char *)text.p,
	                                text.len),
	                 1);
	EVP_MD_CTX_free(ctx);
	free(bare);
	out = mint_raw(header, payload, str_of((const char *)sig, len));
	return out;
}

char *mint(const struct mint_key *k, const char *kid, const char *payload)
{
	char *header = NULL, *out;

	assert_true(asprintf(&header,
	                     "{\"alg\":\"RS256\",\"typ\":\"JWT\","
	                     "\"kid\":\"%s\"}",
	                     kid) > 0);
	out = mint_rsa(k, "SHA256", false, str_c(header), str_c(payload));
	free(header);
	return out;
}

char *mint_hs256(struct str secret, struct str header, struct str payload)
{
	char *bare = mint_raw(header, payload, STR_NONE), *out;
	struct str text = signed_part(bare);
	unsigned char mac[32];
	unsigned len = sizeof(mac);

	assert_non_null(HMAC(EVP_sha256(), secret.p, (int)secret.len,
	                     (const unsigned char *)text.p, text.len, mac,
	                     &len));
	free(bare);
	out = mint_raw(header, payload, str_of((const char *)mac, len));
	return out;
}
