/*
 * keys/identity: who is calling, as far as it was proved.
 *
 * Made by keys/ from a verified token or a gateway key; immutable and
 * reference-counted, because the verified-token cache and the requests that
 * use an entry end at different times.
 */
#ifndef KEYS_IDENTITY_H
#define KEYS_IDENTITY_H

#include "base/arena.h"
#include "base/str.h"

enum identity_kind { IDENTITY_TOKEN = 1, IDENTITY_KEY = 2, IDENTITY_BOTH = 3 };

struct identity {
	unsigned refs;
	enum identity_kind kind;
	struct str key; /* name of the gateway key, else empty */

	/* from a token; empty where the token had none */
	int tenant; /* index in the policy's tenants, -1 for a key */
	struct str tid;
	struct str app;    /* appid (v1) or azp (v2), lower case */
	struct str object; /* oid, lower case */
	struct str mirid;  /* xms_mirid, as in the token */
	struct str scopes; /* scp: words separated by one space */
	struct str *roles;
	size_t n_roles;
	struct str *groups;
	size_t n_groups;
	bool groups_overage; /* the token names a place to ask instead */
	bool app_only;
	int64_t exp;                /* unix seconds, without skew */
	struct str agent_blueprint; /* xms_par_app_azp: for logs only */

	char mem[]; /* the strings above */
};

static inline struct identity *identity_ref(struct identity *i)
{
	if (i)
		i->refs++;
	return i;
}

void identity_unref(struct identity *i); /* accepts NULL */

/* The name under which what a caller makes is remembered, in `a`. Not the
 * consumer: many apps may share one. A token owns by tenant, app and object
 * id, a gateway key by its name. */
struct str identity_owner(struct arena *a, const struct identity *who);

#endif
