/*
 * conf/load: gateway.json -> struct policy, with every error and its place. The
 * entry of this folder.
 */
#ifndef CONF_LOAD_H
#define CONF_LOAD_H

#include "base/buf.h"
#include "conf/policy.h"

/* Read, parse and check `path`. Secrets are read here, too, from the
 * environment and the files that the configuration names. Blocks on these files
 * only.
 *
 * On success: a policy with one reference, owned by the caller.
 * On failure: NULL, and one line per error in `errors`, each of the form
 *   FILE: JSON.PATH: what was found, what was expected
 * Warnings go to `errors` too, beginning with "warning: ", also on success. */
struct policy *conf_load(const char *path, struct buf *errors);

/* The same from memory. `name` is used as the file name in messages. `text` is
 * not kept. */
struct policy *conf_parse(const char *name, struct str text,
                          struct buf *errors);

#endif
