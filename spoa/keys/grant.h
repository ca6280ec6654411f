/*
 * keys/grant: what to ask an identity endpoint, and what it answered.
 *
 * One small dialect per kind of credential (azure.md 3.2, 3.3, 3.7). Text in,
 * text out; no I/O.
 */
#ifndef KEYS_GRANT_H
#define KEYS_GRANT_H

#include "base/buf.h"
#include "conf/policy.h"

enum { GRANT_TOKEN_MAX = 16384 };

/* The request for a token, ready to be sent again and again. */
struct grant {
	char *url;
	char *body;             /* POST; NULL: GET. Holds the secret */
	char *header;           /* may hold a secret */
	const char *headers[2]; /* NULL-terminated, for keys/fetch */
	bool plain_http;        /* the configured endpoint is http:// */
};

/* Not for CRED_KEY. False when the credential cannot be put into a request
 * (a byte below blank in a header) or without memory. */
bool grant_init(struct grant *g, const struct policy_credential *c);
void grant_done(struct grant *g); /* wipes; accepts one that is zeroed */

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
