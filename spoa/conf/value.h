/*
 * conf/value: one JSON value -> one field, as its row in conf/options says.
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "base/json.h"
#include "conf/options.h"
#include "conf/pool.h"
#include "conf/report.h"

/* Check `j` against row `o` (not one of the object types) and store it at
 * `field`. False after reporting an error at `at`; then `field` is as it was.
 *
 * What was found is quoted in the message, except where an operator may have
 * put a secret by mistake (keys, names of files and variables, URLs). */
bool value_set(struct pool *pool, struct report *rep, const struct option *o,
               const struct json *j, const struct place *at, void *field);

/* Check the name of an object in an OPT_MAP. */
bool value_name_ok(enum option_type key_type, struct str name);

/* Append what was found: "a list", 12.5, "text" (cut after 60 bytes). */
void value_found(struct buf *out, const struct json *j);

#endif
