/*
 * conf/read: a JSON document -> struct raw_config, by the option table.
 */
#ifndef CONF_READ_H
#define CONF_READ_H

#include "base/json.h"
#include "conf/options.h"
#include "conf/pool.h"
#include "conf/report.h"

/* Fill `out` (a zeroed struct of section `s`) from `j`. Everything wrong is
 * reported at its place and left at its default; reading goes on. `j` NULL:
 * the section is absent, so all defaults and nothing is required. */
void read_section(struct pool *pool, struct report *rep,
                  const struct section *s, const struct json *j,
                  const struct place *at, void *out);

#endif
