/*
 * conf/value: one JSON value -> one field, as its row in conf/options says.
 *
 * One setter per type of single value, one check per type of text. Types are
 * never converted: "1" is no number.
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
 * The message quotes the value, except for types where an operator may have
 * written a secret by mistake (keys, headers, names of files and variables,
 * URLs): there it has only the length. */
bool value_set(struct pool *pool, struct report *rep, const struct option *o,
               const struct json *j, const struct place *at, void *field);

/* Check the name of an object in an OPT_MAP; `key_type` is a text type. */
bool value_name_ok(enum option_type key_type, struct str name);

/* Append the value for a message: "a list", 12.5, "text" (cut after 60 bytes).
 */
void value_found(struct buf *out, const struct json *j);

#endif
