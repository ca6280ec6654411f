/*
 * store/check: validation of names and amounts, the same for both stores.
 *
 * It runs before anything is counted, so a bad reservation changes nothing. The
 * names come from the configuration and from tokens; they become parts of Redis
 * keys.
 */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "store/store.h"

enum {
	/* bytes; conf limits names to 64, scopes (app, agent) can be longer */
	CHECK_ACCOUNT_MAX = 256,
	CHECK_FIELD_MAX = 512,
};

/* Whether a request may have this id: 1 to STORE_ID_MAX characters of
 * [A-Za-z0-9-]. request/request refuses all others before they get here. */
bool check_id(struct str id);

/* NULL when the reservation is valid, else the reason as a constant:
 * - an account is not empty and has no braces or NUL: it is the hash tag of the
 *   Redis keys, and a brace would move the tag to another slot;
 * - an id passes check_id();
 * - a field is not empty and occurs once per reservation;
 * - a limit is at most WINDOW_AMOUNT_MAX.
 * The amount to reserve is not checked: more than the limit is
 * STORE_TOO_LARGE. */
const char *check_reservation(const struct store_reservation *r);

/* The first two of these rules, for a settle. */
const char *check_names(struct str account, struct str id);

/* The real use in this unit, cut at WINDOW_AMOUNT_MAX; 0 for the unit
 * concurrent, because a settled request has ended. */
int64_t check_used(const struct store_usage *used, enum limit_unit unit);

#endif
