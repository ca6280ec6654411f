/*
 * conf/read: a JSON document -> struct raw_config, by the option table.
 *
 * The JSON text itself was checked by base/json: no duplicate keys, valid
 * UTF-8, bounded depth.
 */
#ifndef CONF_READ_H
#define CONF_READ_H

#include "base/json.h"
#include "conf/options.h"
#include "conf/pool.h"
#include "conf/report.h"

/* Fill `out` (a zeroed struct of section `s`) from `j`, whose path is `at`. An
 * unknown key, a wrong type or a refused value is reported at its place; the
 * field keeps its default and reading goes on. `j` NULL: the section is absent,
 * so all fields get their defaults and no key is required. */
void read_section(struct pool *pool, struct report *rep,
                  const struct section *s, const struct json *j,
                  const struct place *at, void *out);

#endif
