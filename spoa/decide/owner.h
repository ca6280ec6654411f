/*
 * decide/owner: the name under which what a caller makes is remembered.
 *
 * Not the consumer: many apps may share one. A token owns by tenant, app and
 * object id, a gateway key by its name.
 */
#ifndef DECIDE_OWNER_H
#define DECIDE_OWNER_H

#include "base/arena.h"
#include "keys/identity.h"

struct str identity_owner(struct arena *a, const struct identity *who);

#endif
