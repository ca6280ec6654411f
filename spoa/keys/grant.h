/*
 * keys/grant: what to ask an identity endpoint, and what it answered.
 *
 * One small dialect per kind of credential (azure.md 3.2 to 3.4, 3.6, 3.7).
 * Text in, text out; the only I/O is to read the small files that others
 * renew: the federated token, the certificate, the key of the Arc agent.
 */
#ifndef KEYS_GRANT_H
#define KEYS_GRANT_H

#include "base/buf.h"
#include "conf/policy.h"

enum {
	GRANT_TOKEN_MAX = 16384,
	GRANT_WHY_MAX = 512,
	GRANT_ARC_KEY_MAX = 4096,
};

/* Where the Arc agent keeps the files it challenges us with. */
#define GRANT_ARC_DIR "/var/opt/azcmagent/tokens"

/* The request for one token; made anew for each. */
struct grant {
	char *url;
	char *body;             /* POST; NULL: GET. Holds the secret */
	char *header;           /* may hold a secret */
	char *proof;            /* header with the Arc key, else NULL */
	const char *headers[3]; /* NULL-terminated, for net/fetch */
	bool plain_http;        /* the configured endpoint is http:// */
};

/* A request for a token for `audience`. Not for CRED_KEY. False when it
 * cannot be made: then `why` (empty before, at least GRANT_WHY_MAX) says what
 * was found. Nothing secret is in it. */
bool grant_init(struct grant *g, const struct policy_credential *c,
                struct str audience, int64_t now_s, struct buf *why);
void grant_done(struct grant *g); /* wipes; accepts one that is zeroed */

/* The Arc agent answered 401: add the proof that its challenge asks for, the
 * content of a file only the group `himds` can read, so that the same request
 * can be sent again. `challenge` is its WWW-Authenticate and must name a file
 * NAME.key of at most GRANT_ARC_KEY_MAX bytes, directly in `dir`: whoever
 * answers on that port must not make us read and send any other file. */
bool grant_prove(struct grant *g, struct str challenge, const char *dir,
                 struct buf *why);

struct grant_token {
	struct str access_token; /* borrowed from the answer; a secret */
	int64_t lifetime_s;      /* from now */
	int64_t renew_in_s;      /* from now, with jitter, before the end */
};

/* The answer of status 200. NULL when it is no token or one that has ended
 * already: then *why is a constant sentence. */
struct grant_answer;
struct grant_answer *grant_answer_new(struct str text, int64_t now_s,
                                      struct grant_token *out,
                                      const char **why);
void grant_answer_free(struct grant_answer *a); /* wipes; accepts NULL */

/* What an answer that was refused says, in short, for the log. False when it
 * says nothing we can read. */
bool grant_error(struct str text, struct buf *out);

/* Trying again soon cannot help: the request itself is refused. */
bool grant_is_misconfigured(int status);

/* When to renew a token of that lifetime; refresh_in_s is 0 when the endpoint
 * did not say (azure.md 3.8). Without jitter. */
int64_t grant_renew_in(int64_t lifetime_s, int64_t refresh_in_s);

#endif
