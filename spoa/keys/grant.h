/*
 * keys/grant: makes the request for an access token, and reads the answer.
 *
 * Each type of credential has its own endpoint and parameters (azure.md 3.2 to
 * 3.4, 3.6, 3.7):
 *
 *   IMDS, Arc        GET ENDPOINT/metadata/identity/oauth2/token?...
 *   App Service      GET ENDPOINT?...           X-IDENTITY-HEADER: secret
 *   client secret,   POST AUTHORITY/TENANT/oauth2/v2.0/token
 *   workload, cert.       client_credentials with secret or assertion
 *
 * No network I/O and no logging. Files that other programs renew are read for
 * each request: the federated token, the certificate with its key, the key of
 * the Arc agent. They are local and of some kB, so the loop can afford it.
 */
#ifndef KEYS_GRANT_H
#define KEYS_GRANT_H

#include "base/buf.h"
#include "conf/policy.h"

enum {
	/* bytes of an access token; those of Azure are about 2 kB */
	GRANT_TOKEN_MAX = 16384,
	/* bytes of `why` below: a path cut to 200 and a sentence */
	GRANT_WHY_MAX = 512,
	/* bytes of the Arc agent's key file (azure.md 3.4) */
	GRANT_ARC_KEY_MAX = 4096,
	GRANT_ARC_LINE_MAX = 2 * GRANT_ARC_KEY_MAX, /* the key in a header */
};

/* The folder of the key files that the Arc agent's challenges name. */
#define GRANT_ARC_DIR "/var/opt/azcmagent/tokens"

/* The request for one token, made anew for each. All texts are owned. */
struct grant {
	char *url;
	char *body;             /* of a POST, a secret; NULL: a GET */
	char *header;           /* may be a secret; NULL: none */
	char *proof;            /* header with the Arc key, a secret, or NULL */
	const char *headers[3]; /* header, proof and NULL, for net/fetch */
	bool plain_http;        /* the configured endpoint is http:// */
};

/* Make the request for a token for `audience`. Not for CRED_KEY. `now_s`: unix
 * seconds, for assertions. `why` must be empty and take GRANT_WHY_MAX bytes.
 * False when the request cannot be made: `why` says what was found, without
 * any secret, and there is nothing to free. */
bool grant_init(struct grant *g, const struct policy_credential *c,
                struct str audience, int64_t now_s, struct buf *why);

/* Wipe and free. Accepts a zeroed one; may be called twice. */
void grant_done(struct grant *g);

/* The Arc agent has answered 401: add the proof that it asks for, so that the
 * request can be sent once more. `challenge` is the value of WWW-Authenticate.
 * It names a file that only the group `himds` can read, whose content is the
 * proof. It must be a NAME.key of at most GRANT_ARC_KEY_MAX bytes, no symbolic
 * link, directly in `dir`: a process that has taken the agent's port must not
 * be able to have other files read and sent to it. False with `why` as above,
 * also when the request had a proof before. */
bool grant_prove(struct grant *g, struct str challenge, const char *dir,
                 struct buf *why);

struct grant_token {
	struct str access_token; /* borrowed from the answer; a secret */
	int64_t lifetime_s;      /* seconds from now, at least 1 */
	int64_t renew_in_s;      /* seconds from now, with jitter; before the
	                          * end of the token */
};

/* Read the body of an answer of status 200. `now_s`: unix seconds, used when
 * the answer has only the time of its end. *out is valid until
 * grant_answer_free(). NULL when the answer has no usable token, or one that
 * has ended, or without memory: *why is a constant sentence, *out untouched. */
struct grant_answer;
struct grant_answer *grant_answer_new(struct str text, int64_t now_s,
                                      struct grant_token *out,
                                      const char **why);

/* Wipes the token and frees. Accepts NULL. */
void grant_answer_free(struct grant_answer *a);

/* Append what the body of an error says ("error: error_description", each cut
 * to 200 bytes), for the log. False when there is nothing to read in it. */
bool grant_error(struct str text, struct buf *out);

/* Whether this status says that the request itself is wrong, so that a retry
 * cannot help before someone changes the config or Azure (azure.md 3.2). */
bool grant_is_misconfigured(int status);

/* After how many seconds to renew a token, without jitter (azure.md 3.8):
 * refresh_in_s when the endpoint named one (else 0) within the lifetime; half
 * the lifetime when that is two hours or more, or ten minutes or less; else
 * five minutes before the end. */
int64_t grant_renew_in(int64_t lifetime_s, int64_t refresh_in_s);

#endif
