/*
 * commands/limits_verbs: what limits.c and limits_show.c share. Private to
 * them.
 */
#ifndef COMMANDS_LIMITS_VERBS_H
#define COMMANDS_LIMITS_VERBS_H

#include "commands/limits.h"

struct tune;

/* A run of the command: what every verb uses. */
struct limits_run {
	const struct limits_options *o;
	const struct policy *p;
	struct tune *tune;       /* the connection to Redis */
	struct buf *out, *error; /* the caller's */
	struct buf reply;        /* the last answer of Redis */
	char who[256];           /* USER@HOST, for the audit */
};

typedef bool limits_account_fn(struct limits_run *r, struct str account);

/* Call `fn` once for each account that --limit and --consumer select, until it
 * fails. False with a sentence in r->error when they select none. */
bool limits_each_account(struct limits_run *r, limits_account_fn *fn);

/* The limit of this name in the configuration, or NULL. */
const struct policy_limit *limits_find(const struct policy *p, struct str name);

/* Verbs. Append lines to r->out; false with a sentence in r->error. */
bool limits_show(struct limits_run *r);
bool limits_audit(struct limits_run *r);

#endif
