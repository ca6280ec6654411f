/*
 * decide/lookup: an object of the store, for a step that may have to wait.
 */
#ifndef DECIDE_LOOKUP_H
#define DECIDE_LOOKUP_H

#include "request/request.h"

/* OBJECT_WAIT: the step parks, is run again, and asks again: then it is told
 * what the store has answered. */
enum object_status lookup_object(struct request *r, struct str id,
                                 enum object_life life, struct object *out);

#endif
