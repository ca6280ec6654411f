/*
 * decide/match: whether a caller fulfils a condition of the configuration.
 *
 * Pure functions: for consumers, for rules, and for the decision tables.
 */
#ifndef DECIDE_MATCH_H
#define DECIDE_MATCH_H

#include "conf/policy.h"
#include "keys/identity.h"

/* All conditions that are given hold. A claim that the token does not have
 * fulfils none. A match without a condition holds for everybody when it says
 * "any", else for nobody: conf refuses such a one, and so does this. */
bool match_caller(const struct policy_match *m, const struct identity *who);

/* One of the globs (base/str) matches; an empty list matches everything. */
bool match_globs(const struct strs *globs, struct str name);

#endif
