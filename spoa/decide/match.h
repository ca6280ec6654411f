/*
 * decide/match: does a caller fulfil a condition of the config?
 */
#ifndef DECIDE_MATCH_H
#define DECIDE_MATCH_H

#include "conf/policy.h"
#include "keys/identity.h"

/* All conditions that are given hold. A match without any condition holds
 * for nobody: conf refuses it, and so does this. */
bool match_caller(const struct policy_match *m, const struct identity *who);

/* One of the globs matches; no globs match everything. */
bool match_globs(const struct strs *globs, struct str name);

#endif
