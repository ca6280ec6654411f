/*
 * keys/identity: the caller of a request, as its credentials have proved it.
 *
 * Made by keys/claims from a verified token, a gateway key, or both; immutable
 * and reference-counted, because the cache of verified tokens and the requests
 * that use an entry of it end at different times.
 */
#ifndef KEYS_IDENTITY_H
#define KEYS_IDENTITY_H

#include "base/arena.h"
#include "base/str.h"

/* What has proved the caller. */
enum identity_kind { IDENTITY_TOKEN = 1, IDENTITY_KEY = 2, IDENTITY_BOTH = 3 };

/* One allocation: all strings and arrays are in `mem`. */
struct identity {
	unsigned refs;
	enum identity_kind kind;
	struct str key; /* name of the gateway key, else empty */

	/* claims of the token (azure.md 1.7); empty where it has none */
	int tenant;        /* index in the policy's tenants, -1 for a key */
	struct str tid;    /* GUID, lower case */
	struct str app;    /* appid (v1) or azp (v2), lower case */
	struct str object; /* oid, lower case */
	struct str mirid;  /* xms_mirid, in the token's letter case */
	struct str scopes; /* scp: words separated by one space */
	struct str *roles; /* in the token's letter case */
	size_t n_roles;
	struct str *groups; /* lower case */
	size_t n_groups;
	bool groups_overage; /* more groups than fit a token: it names a URL
	                      * instead, which is not asked; for the log */
	bool app_only;       /* no user: the app calls for itself */
	int64_t exp;         /* unix seconds, without skew; of a key its end,
	                      * 0: none */
	struct str agent_blueprint; /* xms_par_app_azp: for logs only, never to
	                             * authorize by (azure.md 1.10) */

	char mem[];
};

static inline struct identity *identity_ref(struct identity *i)
{
	if (i)
		i->refs++;
	return i;
}

/* Gives back one reference; the last one frees. Accepts NULL. */
void identity_unref(struct identity *i);

/* The owner of what a caller creates at a resource (files, responses, ...),
 * as text in `a`: tenant, app and object id of a token, else the name of the
 * gateway key. Not the consumer: many apps may share one. Empty when the arena
 * is full. */
struct str identity_owner(struct arena *a, const struct identity *who);

#endif
