/*
 * decide/authorize: who is charged, and the rules over caller, model,
 * operation.
 *
 * The two functions are pure and know no request, so that decision tables can
 * test them (tests/tables/authorize.cases) and decide/discover can ask what a
 * caller may use. Results point into the policy and live as long as it does.
 */
#ifndef DECIDE_AUTHORIZE_H
#define DECIDE_AUTHORIZE_H

#include "conf/policy.h"
#include "api/operations.h"
#include "keys/identity.h"

/* The first consumer, in the order of the file, of which one `match` holds for
 * the caller; NULL when there is none: a caller that nobody pays for. */
const struct policy_consumer *authorize_consumer(const struct policy *p,
                                                 const struct identity *who);

/* The first rule, in the order of the file, that matches; NULL when none does.
 * The caller is allowed only by a rule with `allow`: no rule means no.
 *
 * `model` is the public name, or empty for a request without one. A rule that
 * names models then matches only when it names the operation as well, because
 * otherwise a rule about one model would open, say, all files. For batches it
 * does not even so: a batch's input file may name any model. */
const struct policy_rule *authorize_rule(const struct policy *p,
                                         const struct policy_consumer *c,
                                         const struct identity *who,
                                         struct str model,
                                         enum api_operation op);

#endif
