/*
 * keys/jose: the form of tokens, the trust in them, and their claims.
 *
 * The attacks are those of RFC 8725 and of what has befallen other libraries;
 * each test is named by one.
 */
#include "test.h"

#include "keys/jose.h"
#include "mint.h"

#include <stdio.h>
#include <stdlib.h>

#define TID     "aaaaaaaa-0000-4000-8000-000000000001"
#define PAYLOAD "{\"tid\":\"" TID "\",\"ver\":\"2.0\"}"

static struct mint_key rsa, other;
static struct jose_key *key;

static int setup(void **state)
{
	(void)state;
	mint_key_init(&rsa, 2048, 65537);
	mint_key_init(&other, 2048, 65537);
	key = jose_key_new(str_c(rsa.n), str_c(rsa.e));
	return key ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	jose_key_free(key);
	mint_key_done(&rsa);
	mint_key_done(&other);
	return 0;
}

/* Split and verify; frees the token. */
static enum jose_status judge(char *token)
{
	struct jose_token t;
	enum jose_status s = jose_split(str_c(token), &t);

	if (s == JOSE_OK && !jose_verify(&t, key))
		s = JOSE_SIGNATURE;
	free(token);
	return s;
}

static enum jose_status judge_header(const char *header)
{
	return judge(
		mint_rsa(&rsa, "SHA256", false, str_c(header), STR(PAYLOAD)));
}

static enum jose_status judge_payload(struct str payload)
{
	return judge(mint_rsa(&rsa, "SHA256", false,
	                      STR("{\"alg\":\"RS256\",\"kid\":\"k1\"}"),
	                      payload));
}

static char *good(void)
{
	return mint(&rsa, "k1", PAYLOAD);
}

/* The token with `with` put in at `at`. */
static char *spliced(char *token, size_t at, struct str with)
{
	struct str s = str_c(token);
	char *out = malloc(s.len + with.len + 1);

	assert_non_null(out);
	memcpy(out, s.p, at);
	memcpy(out + at, with.p, with.len);
	memcpy(out + at + with.len, s.p + at, s.len - at + 1);
	free(token);
	return out;
}

/* -------------------------------------------------------------- the good */

static void good_token_is_accepted(void **state)
{
	char *token = good();
	struct jose_token t;

	(void)state;
	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	assert_string_equal(t.kid, "k1");
	assert_string_equal(t.tid, TID);
	assert_string_equal(t.ver, "2.0");
	assert_int_equal(t.sig_len, 256);
	assert_true(jose_verify(&t, key));
	assert_true(jose_verify(&t, key)); /* the context is reused */
	free(token);
}

static void bigger_keys_are_accepted(void **state)
{
	struct mint_key big;
	struct jose_key *k;
	struct jose_token t;
	char *token;

	(void)state;
	mint_key_init(&big, 4096, 65537);
	k = jose_key_new(str_c(big.n), str_c(big.e));
	assert_non_null(k);
	token = mint(&big, "k1", PAYLOAD);
	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	assert_true(jose_verify(&t, k));
	assert_false(jose_verify(&t, key));
	free(token);
	jose_key_free(k);
	mint_key_done(&big);
}

static void known_typs_are_accepted_in_any_case(void **state)
{
	(void)state;
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"typ\":\"jwt\"}"),
	                 JOSE_OK);
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"typ\":\"AT+jwt\"}"),
	                 JOSE_OK);
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\"}"),
	                 JOSE_OK);
}

static void other_typs_are_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"typ\":\"id_token\"}"),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"typ\":1}"),
	                 JOSE_MALFORMED);
}

/* --------------------------------------------------------------- vectors */

#define A_PAYLOAD                                                              \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leG"       \
	"FtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

static void rfc7515_a1_hs256_is_refused(void **state)
{
	struct jose_token t;

	(void)state;
	assert_int_equal(
		jose_split(STR("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
	                       "." A_PAYLOAD
	                       ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
	                   &t),
		JOSE_ALGORITHM);
}

static void rfc7515_a5_none_is_refused(void **state)
{
	struct jose_token t;

	(void)state;
	assert_int_equal(
		jose_split(STR("eyJhbGciOiJub25lIn0." A_PAYLOAD "."), &t),
		JOSE_ALGORITHM);
}

/* The vectors have no kid, or no JSON inside: the form refuses them, so their
 * signatures are checked beneath it. */
static void verify_vector(const char *n, const char *signed_text,
                          const char *sig_b64)
{
	struct jose_key *k = jose_key_new(str_c(n), STR("AQAB"));
	struct jose_token t = {.signed_part = str_c(signed_text)};
	char padded[512];
	size_t i, len = strlen(sig_b64);

	assert_non_null(k);
	assert_int_equal(len, 342); /* 256 bytes */
	for (i = 0; i < len; i++)
		padded[i] = sig_b64[i] == '-'   ? '+'
		            : sig_b64[i] == '_' ? '/'
		                                : sig_b64[i];
	memcpy(padded + len, "==", 2);
	assert_int_equal(
		EVP_DecodeBlock(t.sig, (unsigned char *)padded, (int)len + 2),
		258);
	t.sig_len = 256;
	assert_true(jose_verify(&t, k));
	t.sig[7] ^= 1;
	assert_false(jose_verify(&t, k));
	t.sig[7] ^= 1;
	t.signed_part.len--;
	assert_false(jose_verify(&t, k));
	jose_key_free(k);
}

static void rfc7515_a2_rs256_verifies(void **state)
{
	static const char text[] = "eyJhbGciOiJSUzI1NiJ9." A_PAYLOAD;
	static const char sig[] =
		"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5R"
		"Zmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQ"
		"jbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQB"
		"MHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqt"
		"FZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq"
		"Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
	char token[sizeof(text) + sizeof(sig)];
	struct jose_token t;

	(void)state;
	verify_vector(
		"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHm"
		"fHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"
		"YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5"
		"z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD"
		"Zlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia"
		"GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
		text, sig);
	snprintf(token, sizeof(token), "%s.%s", text, sig);
	assert_int_equal(jose_split(str_c(token), &t), JOSE_KEY);
}

static void rfc7520_4_1_rs256_verifies(void **state)
{
	static const char text[] =
		"eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24u"
		"ZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbyw"
		"gZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCw"
		"gYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5"
		"vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
	static const char sig[] =
		"MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoF"
		"mKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-"
		"Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5a"
		"AE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrD"
		"aLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJu"
		"shZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg";
	char token[sizeof(text) + sizeof(sig)];
	struct jose_token t;

	(void)state;
	verify_vector(
		"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2"
		"jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL"
		"-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tp"
		"e-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzw"
		"OHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_"
		"qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw",
		text, sig);
	snprintf(token, sizeof(token), "%s.%s", text, sig);
	assert_int_equal(jose_split(str_c(token), &t), JOSE_MALFORMED);
	assert_string_equal(t.kid, "bilbo.baggins@hobbiton.example");
}

/* ------------------------------------------------------------- algorithm */

static void alg_none_in_any_case_is_refused(void **state)
{
	static const char *const algs[] = {"none", "None", "NONE", "nOnE"};
	char header[64];
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		snprintf(header, sizeof(header),
		         "{\"alg\":\"%s\",\"kid\":\"k1\"}", algs[i]);
		assert_int_equal(
			judge(mint_raw(str_c(header), STR(PAYLOAD), STR_NONE)),
			JOSE_ALGORITHM);
		/* and with a signature that would do */
		assert_int_equal(judge_header(header), JOSE_ALGORITHM);
	}
}

static void hs256_with_the_public_key_is_refused(void **state)
{
	struct str hs = STR("{\"alg\":\"HS256\",\"kid\":\"k1\"}");
	struct str rs = STR("{\"alg\":\"RS256\",\"kid\":\"k1\"}");
	char *secrets[3];
	size_t lens[3], i;

	(void)state;
	secrets[0] = mint_pem(&rsa, &lens[0]);
	secrets[1] = mint_der(&rsa, &lens[1]);
	secrets[2] = str_dup(str_c(rsa.n));
	lens[2] = strlen(rsa.n);
	for (i = 0; i < 3; i++) {
		struct str secret = str_of(secrets[i], lens[i]);

		assert_int_equal(judge(mint_hs256(secret, hs, STR(PAYLOAD))),
		                 JOSE_ALGORITHM);
		assert_int_equal(judge(mint_hs256(secret, rs, STR(PAYLOAD))),
		                 JOSE_SIGNATURE);
		free(secrets[i]);
	}
}

static void other_rsa_algorithms_are_refused(void **state)
{
	static const struct {
		const char *alg, *digest;
		bool pss;
	} of[] = {
		{"RS384", "SHA384", false}, {"RS512", "SHA512", false},
		{"PS256", "SHA256", true},  {"RS1", "SHA1", false},
		{"rs256", "SHA256", false}, {"RS256 ", "SHA256", false},
	};
	char header[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		snprintf(header, sizeof(header),
		         "{\"alg\":\"%s\",\"kid\":\"k1\"}", of[i].alg);
		assert_int_equal(judge(mint_rsa(&rsa, of[i].digest, of[i].pss,
		                                str_c(header), STR(PAYLOAD))),
		                 JOSE_ALGORITHM);
	}
}

static void other_signatures_under_alg_rs256_are_refused(void **state)
{
	struct str rs = STR("{\"alg\":\"RS256\",\"kid\":\"k1\"}");

	(void)state;
	assert_int_equal(
		judge(mint_rsa(&rsa, "SHA384", false, rs, STR(PAYLOAD))),
		JOSE_SIGNATURE);
	assert_int_equal(
		judge(mint_rsa(&rsa, "SHA512", false, rs, STR(PAYLOAD))),
		JOSE_SIGNATURE);
	assert_int_equal(
		judge(mint_rsa(&rsa, "SHA256", true, rs, STR(PAYLOAD))),
		JOSE_SIGNATURE);
}

static void alg_of_another_type_or_absent_is_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_header("{\"alg\":[\"RS256\"],\"kid\":\"k1\"}"),
	                 JOSE_ALGORITHM);
	assert_int_equal(judge_header("{\"alg\":null,\"kid\":\"k1\"}"),
	                 JOSE_ALGORITHM);
	assert_int_equal(judge_header("{\"kid\":\"k1\"}"), JOSE_ALGORITHM);
	assert_int_equal(judge_header("{\"ALG\":\"RS256\",\"kid\":\"k1\"}"),
	                 JOSE_ALGORITHM);
}

/* ---------------------------------------------------------------- header */

static void keys_named_in_the_header_are_ignored(void **state)
{
	static const char *const members[] = {
		"\"jwk\":{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"",
		"\"jku\":\"http://127.0.0.1/",
		"\"x5u\":\"http://127.0.0.1/",
		"\"x5c\":[\"",
	};
	static const char *const ends[] = {"\"}", "\"", "\"", "\"]"};
	char header[1024];
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		snprintf(header, sizeof(header),
		         "{\"alg\":\"RS256\",\"kid\":\"k1\",%s%s%s}",
		         members[i], other.n, ends[i]);
		/* signed by the key it brings along: worth nothing */
		assert_int_equal(judge(mint_rsa(&other, "SHA256", false,
		                                str_c(header), STR(PAYLOAD))),
		                 JOSE_SIGNATURE);
		/* signed by ours: what it brings along does no harm */
		assert_int_equal(judge_header(header), JOSE_OK);
	}
}

static void kid_is_only_a_name(void **state)
{
	struct jose_token t;
	char *token;

	(void)state;
	token = mint(&rsa, "../../etc/passwd", PAYLOAD);
	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	assert_string_equal(t.kid, "../../etc/passwd");
	free(token);
	token = mint(&rsa, "x' OR '1'='1", PAYLOAD);
	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	assert_string_equal(t.kid, "x' OR '1'='1");
	free(token);
}

static void kid_absent_empty_long_or_no_string_is_refused(void **state)
{
	char kid[JOSE_KID_MAX + 2];

	(void)state;
	assert_int_equal(judge_header("{\"alg\":\"RS256\"}"), JOSE_KEY);
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"\"}"),
	                 JOSE_KEY);
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":7}"),
	                 JOSE_KEY);
	memset(kid, 'k', sizeof(kid) - 1);
	kid[JOSE_KID_MAX + 1] = '\0';
	assert_int_equal(judge(mint(&rsa, kid, PAYLOAD)), JOSE_KEY);
	kid[JOSE_KID_MAX] = '\0';
	assert_int_equal(judge(mint(&rsa, kid, PAYLOAD)), JOSE_OK);
}

static void kid_with_nul_is_refused(void **state)
{
	(void)state;
	assert_int_equal(
		judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\\u0000x\"}"),
		JOSE_MALFORMED);
}

static void duplicate_header_members_are_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"alg\":\"none\","
	                              "\"kid\":\"k1\"}"),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_header("{\"alg\":\"none\",\"alg\":\"RS256\","
	                              "\"kid\":\"k1\"}"),
	                 JOSE_MALFORMED);
	/* the same name, spelt with an escape */
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"k\\u0069d\":\"k2\"}"),
	                 JOSE_MALFORMED);
}

static void crit_is_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"crit\":[\"exp\"],\"exp\":1}"),
	                 JOSE_ALGORITHM);
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"crit\":[]}"),
	                 JOSE_ALGORITHM);
}

static void unencoded_payload_is_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"b64\":false}"),
	                 JOSE_ALGORITHM);
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                              "\"b64\":false,\"crit\":[\"b64\"]}"),
	                 JOSE_ALGORITHM);
}

static void header_that_is_no_object_is_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_header("[]"), JOSE_MALFORMED);
	assert_int_equal(judge_header("\"RS256\""), JOSE_MALFORMED);
	assert_int_equal(judge_header("{\"alg\":\"RS256\",\"kid\":\"k1\"}x"),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_header("{\"alg\":\"RS256\""), JOSE_MALFORMED);
}

/* ------------------------------------------------------------- segments */

static void number_of_segments_must_be_three(void **state)
{
	char *token, *cut;

	(void)state;
	token = good();
	*strrchr(token, '.') = '\0';
	assert_int_equal(judge(token), JOSE_MALFORMED);
	token = good();
	assert_int_equal(judge(spliced(token, strlen(token), STR(".AAAA"))),
	                 JOSE_MALFORMED);
	token = good(); /* JWE: five */
	assert_int_equal(judge(spliced(token, strlen(token), STR(".AA.AA"))),
	                 JOSE_MALFORMED);
	token = good();
	assert_int_equal(judge(spliced(token, strlen(token), STR("."))),
	                 JOSE_MALFORMED);
	token = good(); /* no header */
	cut = str_dup(str_c(strchr(token, '.')));
	free(token);
	assert_int_equal(judge(cut), JOSE_MALFORMED);
	assert_int_equal(judge(str_dup(STR(""))), JOSE_MALFORMED);
	assert_int_equal(judge(str_dup(STR(".."))), JOSE_MALFORMED);
	assert_int_equal(judge(str_dup(STR("..."))), JOSE_MALFORMED);
}

static void empty_signature_is_refused(void **state)
{
	char *token = good();

	(void)state;
	strrchr(token, '.')[1] = '\0';
	assert_int_equal(judge(token), JOSE_SIGNATURE);
}

static void padding_is_refused(void **state)
{
	char *token;

	(void)state;
	token = good();
	assert_int_equal(judge(spliced(token, strlen(token), STR("="))),
	                 JOSE_MALFORMED);
	token = good();
	assert_int_equal(judge(spliced(token, strlen(token), STR("=="))),
	                 JOSE_MALFORMED);
	token = good();
	assert_int_equal(judge(spliced(token, strcspn(token, "."), STR("="))),
	                 JOSE_MALFORMED);
}

static void blanks_and_line_ends_are_refused_anywhere(void **state)
{
	static const struct str blanks[] = {STR_INIT(" "), STR_INIT("\n"),
	                                    STR_INIT("\r\n"), STR_INIT("\t"),
	                                    STR_INIT("%20")};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++) {
		char *token = good();
		size_t len = strlen(token), dot = strcspn(token, ".");

		free(token);
		assert_int_equal(judge(spliced(good(), 0, blanks[i])),
		                 JOSE_MALFORMED);
		assert_int_equal(judge(spliced(good(), 4, blanks[i])),
		                 JOSE_MALFORMED);
		assert_int_equal(judge(spliced(good(), dot + 1, blanks[i])),
		                 JOSE_MALFORMED);
		assert_int_equal(judge(spliced(good(), len, blanks[i])),
		                 JOSE_MALFORMED);
	}
}

static void nul_behind_the_token_is_refused(void **state)
{
	char *token = good();
	struct jose_token t;

	(void)state;
	assert_int_equal(jose_split(str_of(token, strlen(token) + 1), &t),
	                 JOSE_MALFORMED);
	free(token);
}

/* 256 bytes are 342 characters: the last one has four bits to spare, and each
 * of 16 spellings would decode to the same bytes. */
static void second_spelling_of_the_signature_is_refused(void **state)
{
	static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop"
				  "qrstuvwxyz0123456789-_";
	char *token = good(), *last = token + strlen(token) - 1;
	size_t v = (size_t)(strchr(abc, *last) - abc);

	(void)state;
	assert_int_equal(v & 15, 0);
	*last = abc[v | 1];
	assert_int_equal(judge(token), JOSE_MALFORMED);
}

static void standard_base64_letters_are_refused(void **state)
{
	char *token = good(), *sig = strrchr(token, '.') + 1;

	(void)state;
	*sig = '+';
	assert_int_equal(judge(token), JOSE_MALFORMED);
	token = good();
	strrchr(token, '.')[1] = '/';
	assert_int_equal(judge(token), JOSE_MALFORMED);
}

static void signature_of_another_length_is_refused(void **state)
{
	struct str h = STR("{\"alg\":\"RS256\",\"kid\":\"k1\"}");
	char *token = mint_rsa(&rsa, "SHA256", false, h, STR(PAYLOAD));
	uint8_t sig[1200] = {0};
	struct jose_token t;

	(void)state;
	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	free(token);
	/* the same number behind a zero byte */
	memcpy(sig + 1, t.sig, 256);
	assert_int_equal(
		judge(mint_raw(h, STR(PAYLOAD), str_of((char *)sig, 257))),
		JOSE_SIGNATURE);
	assert_int_equal(
		judge(mint_raw(h, STR(PAYLOAD), str_of((char *)sig + 1, 255))),
		JOSE_SIGNATURE);
	assert_int_equal(
		judge(mint_raw(h, STR(PAYLOAD), str_of((char *)sig, 1025))),
		JOSE_MALFORMED);
	/* at least as large as the modulus */
	memset(sig, 0xff, 256);
	assert_int_equal(
		judge(mint_raw(h, STR(PAYLOAD), str_of((char *)sig, 256))),
		JOSE_SIGNATURE);
	memset(sig, 0, 256);
	assert_int_equal(
		judge(mint_raw(h, STR(PAYLOAD), str_of((char *)sig, 256))),
		JOSE_SIGNATURE);
}

static void changed_payload_is_refused(void **state)
{
	char *a = good();
	char *b = mint(&rsa, "k1", "{\"tid\":\"" TID "\",\"ver\":\"1.0\"}");

	(void)state;
	assert_int_equal(strlen(a), strlen(b));
	/* b's header and payload, a's signature */
	memcpy(strrchr(b, '.'), strrchr(a, '.'), strlen(strrchr(a, '.')));
	free(a);
	assert_int_equal(judge(b), JOSE_SIGNATURE);
}

static void another_key_is_refused(void **state)
{
	(void)state;
	assert_int_equal(judge(mint(&other, "k1", PAYLOAD)), JOSE_SIGNATURE);
}

static void huge_token_is_refused(void **state)
{
	char *token = malloc(262145);

	(void)state;
	assert_non_null(token);
	memset(token, 'A', 262144);
	token[100] = token[200] = '.';
	token[262144] = '\0';
	assert_int_equal(judge(token), JOSE_MALFORMED);
}

static void longest_token_fits(void **state)
{
	struct str head = STR("{\"tid\":\"" TID "\",\"x\":\"");
	char payload[11500];

	(void)state;
	memset(payload, 'x', sizeof(payload));
	memcpy(payload, head.p, head.len);
	memcpy(payload + sizeof(payload) - 2, "\"}", 2);
	assert_int_equal(judge_payload(str_of(payload, sizeof(payload))),
	                 JOSE_OK);
}

/* --------------------------------------------------------------- payload */

static void tid_twice_in_any_letter_case_is_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_payload(STR("{\"tid\":\"" TID "\","
	                                   "\"TID\":\"" TID "\"}")),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{\"Tid\":\"" TID "\","
	                                   "\"tid\":\"" TID "\"}")),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{\"tid\":\"" TID "\","
	                                   "\"tid\":\"" TID "\"}")),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{\"tid\":\"" TID "\","
	                                   "\"t\\u0049d\":\"x\"}")),
	                 JOSE_MALFORMED);
}

static void tid_that_is_no_guid_chooses_nothing(void **state)
{
	static const char *const payloads[] = {
		"{\"tid\":\"../" TID "\"}",
		"{\"tid\":[\"" TID "\"]}",
		"{\"tid\":1}",
		"{\"Tid\":\"" TID "\"}",
		"{}",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		char *token = mint(&rsa, "k1", payloads[i]);
		struct jose_token t;

		assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
		assert_string_equal(t.tid, "");
		free(token);
	}
}

static void tid_is_lower_case(void **state)
{
	char *token = mint(&rsa, "k1",
	                   "{\"tid\":\"AAAAAAAA-0000-4000-8000-000000000001\","
	                   "\"ver\":\"123456789\"}");
	struct jose_token t;

	(void)state;
	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	assert_string_equal(t.tid, TID);
	assert_string_equal(t.ver, ""); /* too long to be one we know */
	free(token);
}

static void nul_in_a_claim_is_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_payload(STR("{\"tid\":\"" TID "\","
	                                   "\"aud\":\"good\\u0000evil\"}")),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{\"aud\":\"good\0evil\"}")),
	                 JOSE_MALFORMED);
}

static void invalid_utf8_is_refused(void **state)
{
	(void)state;
	/* overlong '/', a surrogate, a lone continuation, beyond U+10FFFF */
	assert_int_equal(judge_payload(STR("{\"a\":\"\xc0\xaf\"}")),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{\"a\":\"\xed\xa0\x80\"}")),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{\"a\":\"\x80\"}")),
	                 JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{\"a\":\"\xf4\x90\x80\x80\"}")),
	                 JOSE_MALFORMED);
}

static void deep_nesting_is_refused(void **state)
{
	char payload[8192];
	size_t n = sizeof(payload) / 2;

	(void)state;
	memset(payload, '[', n);
	memset(payload + n, ']', n);
	memcpy(payload, "{\"a\":", 5);
	payload[sizeof(payload) - 1] = '}';
	assert_int_equal(judge_payload(str_of(payload, sizeof(payload))),
	                 JOSE_MALFORMED);
}

static void payload_that_is_no_object_is_refused(void **state)
{
	(void)state;
	assert_int_equal(judge_payload(STR("[]")), JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{} {}")), JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("{\"a\":01}")), JOSE_MALFORMED);
	assert_int_equal(judge_payload(STR("not json")), JOSE_MALFORMED);
}

/* ------------------------------------------------------------------ keys */

static void weak_or_broken_keys_are_refused(void **state)
{
	struct mint_key weak, low;
	char *even;

	(void)state;
	mint_key_init(&weak, 1024, 65537);
	assert_null(jose_key_new(str_c(weak.n), str_c(weak.e)));
	mint_key_done(&weak);
	mint_key_init(&low, 2048, 3);
	assert_null(jose_key_new(str_c(low.n), str_c(low.e)));
	mint_key_done(&low);
	assert_null(jose_key_new(str_c(rsa.n), STR("AQ")));   /* e = 1 */
	assert_null(jose_key_new(str_c(rsa.n), STR("AQAA"))); /* even */
	assert_null(jose_key_new(str_c(rsa.n), STR("")));
	assert_null(jose_key_new(str_c(rsa.n), STR("AQABAQABAQAB")));
	assert_null(jose_key_new(STR(""), STR("AQAB")));
	assert_null(jose_key_new(STR("!"), STR("AQAB")));
	even = str_dup(str_c(rsa.n)); /* the last two bits belong to none */
	even[strlen(even) - 1] = 'A';
	even[strlen(even) - 2] = 'A';
	assert_null(jose_key_new(str_c(even), STR("AQAB")));
	free(even);
}

/* ---------------------------------------------------------------- claims */

static struct jose_claims *claims_of(const char *payload)
{
	char *token = mint(&rsa, "k1", payload);
	struct jose_claims *c;
	struct jose_token t;

	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	c = jose_claims_new(&t);
	free(token); /* the claims do not need it any more */
	return c;
}

static bool time_of(const char *payload, int64_t *out)
{
	struct jose_claims *c = claims_of(payload);
	bool ok = c && jose_claim_time(c, "exp", out);

	jose_claims_free(c);
	return ok;
}

static void times_are_plain_integers_only(void **state)
{
	static const char *const bad[] = {
		"{\"exp\":\"1700000000\"}",
		"{\"exp\":1700000000.0}",
		"{\"exp\":17e8}",
		"{\"exp\":1e400}",
		"{\"exp\":-1}",
		"{\"exp\":1700000000.5}",
		"{\"exp\":true}",
		"{\"exp\":null}",
		"{\"exp\":[1700000000]}",
		"{\"exp\":253402300800}",
		"{\"EXP\":1700000000}",
		"{}",
		"{\"exp\":9223372036854775807}",
		"{\"exp\":9223372036854775808}",
		"{\"exp\":99999999999999999999999}",
	};
	int64_t v = 42;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (time_of(bad[i], &v))
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(v, 42);
	assert_true(time_of("{\"exp\":1700000000}", &v));
	assert_int_equal(v, 1700000000);
	assert_true(time_of("{\"exp\":0}", &v));
	assert_int_equal(v, 0);
}

struct seen {
	unsigned n;
	char last[32];
};

static void see(void *ctx, struct str s)
{
	struct seen *seen = ctx;

	seen->n++;
	snprintf(seen->last, sizeof(seen->last), "%" STR_FMT, STR_ARG(s));
}

static void claims_are_read_by_type(void **state)
{
	struct jose_claims *c = claims_of(
		"{\"s\":\"a\\\"b\\u00e9\",\"e\":\"\",\"n\":5,\"f\":false,"
		"\"a\":[\"x\",\"y/z\"],\"m\":[\"x\",1],\"o\":{\"k\":1},"
		"\"z\":[],\"null\":null}");
	struct seen seen = {0};

	(void)state;
	assert_non_null(c);
	assert_true(str_eq(jose_claim_str(c, "s"), STR("a\"b\xc3\xa9")));
	assert_int_equal(jose_claim_str(c, "e").len, 0);
	assert_non_null(jose_claim_str(c, "e").p);
	assert_null(jose_claim_str(c, "n").p);
	assert_null(jose_claim_str(c, "a").p);
	assert_null(jose_claim_str(c, "none").p);
	assert_true(jose_claim_present(c, "n"));
	assert_true(jose_claim_present(c, "f"));
	assert_true(jose_claim_present(c, "o"));
	assert_true(jose_claim_present(c, "null"));
	assert_false(jose_claim_present(c, "N"));
	assert_true(jose_claim_strs(c, "a", see, &seen));
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.last, "y/z");
	assert_true(jose_claim_strs(c, "z", see, &seen));
	assert_true(jose_claim_strs(c, "none", see, &seen));
	assert_false(jose_claim_strs(c, "m", see, &seen));
	assert_false(jose_claim_strs(c, "s", see, &seen));
	assert_false(jose_claim_strs(c, "o", see, &seen));
	assert_false(jose_claim_strs(c, "null", see, &seen));
	assert_int_equal(seen.n, 2);
	jose_claims_free(c);
}

static void claims_of_an_access_token_typ_are_read(void **state)
{
	char *token = mint_rsa(&rsa, "SHA256", false,
	                       STR("{\"alg\":\"RS256\",\"kid\":\"k1\","
	                           "\"typ\":\"at+jwt\"}"),
	                       STR(PAYLOAD));
	struct jose_token t;
	struct jose_claims *c;

	(void)state;
	assert_int_equal(jose_split(str_c(token), &t), JOSE_OK);
	c = jose_claims_new(&t);
	assert_non_null(c);
	assert_true(str_eq(jose_claim_str(c, "tid"), STR(TID)));
	jose_claims_free(c);
	free(token);
}

static void sha256_is_sha256(void **state)
{
	uint8_t sum[32];
	char hex[65];

	(void)state;
	jose_sha256(STR("abc"), sum);
	str_hex(sum, 32, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223"
	                         "b00361a396177a9cb410ff61f20015ad");
	jose_sha256(STR_NONE, sum);
	str_hex(sum, 32, hex);
	assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb924"
	                         "27ae41e4649b934ca495991b7852b855");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_token_is_accepted),
		cmocka_unit_test(bigger_keys_are_accepted),
		cmocka_unit_test(known_typs_are_accepted_in_any_case),
		cmocka_unit_test(other_typs_are_refused),
		cmocka_unit_test(rfc7515_a1_hs256_is_refused),
		cmocka_unit_test(rfc7515_a2_rs256_verifies),
		cmocka_unit_test(rfc7515_a5_none_is_refused),
		cmocka_unit_test(rfc7520_4_1_rs256_verifies),
		cmocka_unit_test(alg_none_in_any_case_is_refused),
		cmocka_unit_test(hs256_with_the_public_key_is_refused),
		cmocka_unit_test(other_rsa_algorithms_are_refused),
		cmocka_unit_test(other_signatures_under_alg_rs256_are_refused),
		cmocka_unit_test(alg_of_another_type_or_absent_is_refused),
		cmocka_unit_test(keys_named_in_the_header_are_ignored),
		cmocka_unit_test(kid_is_only_a_name),
		cmocka_unit_test(kid_absent_empty_long_or_no_string_is_refused),
		cmocka_unit_test(kid_with_nul_is_refused),
		cmocka_unit_test(duplicate_header_members_are_refused),
		cmocka_unit_test(crit_is_refused),
		cmocka_unit_test(unencoded_payload_is_refused),
		cmocka_unit_test(header_that_is_no_object_is_refused),
		cmocka_unit_test(number_of_segments_must_be_three),
		cmocka_unit_test(empty_signature_is_refused),
		cmocka_unit_test(padding_is_refused),
		cmocka_unit_test(blanks_and_line_ends_are_refused_anywhere),
		cmocka_unit_test(nul_behind_the_token_is_refused),
		cmocka_unit_test(second_spelling_of_the_signature_is_refused),
		cmocka_unit_test(standard_base64_letters_are_refused),
		cmocka_unit_test(signature_of_another_length_is_refused),
		cmocka_unit_test(changed_payload_is_refused),
		cmocka_unit_test(another_key_is_refused),
		cmocka_unit_test(huge_token_is_refused),
		cmocka_unit_test(longest_token_fits),
		cmocka_unit_test(tid_twice_in_any_letter_case_is_refused),
		cmocka_unit_test(tid_that_is_no_guid_chooses_nothing),
		cmocka_unit_test(tid_is_lower_case),
		cmocka_unit_test(nul_in_a_claim_is_refused),
		cmocka_unit_test(invalid_utf8_is_refused),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(payload_that_is_no_object_is_refused),
		cmocka_unit_test(weak_or_broken_keys_are_refused),
		cmocka_unit_test(times_are_plain_integers_only),
		cmocka_unit_test(claims_are_read_by_type),
		cmocka_unit_test(claims_of_an_access_token_typ_are_read),
		cmocka_unit_test(sha256_is_sha256),
	};

	return cmocka_run_group_tests_name("jose", tests, setup, teardown);
}
