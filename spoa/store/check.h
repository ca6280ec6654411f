/*
 * store/check: what both stores refuse before they count anything.
 */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "store/store.h"

enum {
	CHECK_ACCOUNT_MAX = 256,
	CHECK_FIELD_MAX = 512,
};

/* NULL, or what is wrong as a constant: accounts are not empty and hold no
 * braces (they are the hash tag of the Redis keys); ids are [A-Za-z0-9-];
 * fields are not empty and each is named once; no limit is above
 * WINDOW_AMOUNT_MAX. An amount may be anything: more than the limit is
 * STORE_TOO_LARGE. */
const char *check_reservation(const struct store_reservation *r);

/* The same for the names in a settle. */
const char *check_names(struct str account, struct str id);

/* What was used of one unit, at most WINDOW_AMOUNT_MAX. */
int64_t check_used(const struct store_usage *used, enum limit_unit unit);

#endif
