/*
 * decide/authorize: rules over caller x model x operation.
 *
 * The pure part, without a request: so that decision tables can test it.
 */
#ifndef DECIDE_AUTHORIZE_H
#define DECIDE_AUTHORIZE_H

#include "conf/policy.h"
#include "api/operations.h"
#include "keys/identity.h"

/* The first consumer, in the order of the file, that the caller matches;
 * NULL when there is none. */
const struct policy_consumer *authorize_consumer(const struct policy *p,
                                                 const struct identity *who);

/* The first rule that matches; NULL when none does (then: deny).
 *
 * `model` is empty for what works without one. A rule that names models then
 * matches only when it names the operation as well; for batches not even so,
 * because their files may name any model. */
const struct policy_rule *authorize_rule(const struct policy *p,
                                         const struct policy_consumer *c,
                                         const struct identity *who,
                                         struct str model,
                                         enum api_operation op);

#endif
