/*
 * conf/secret: a secret from the environment or a file, by name.
 */
#ifndef CONF_SECRET_H
#define CONF_SECRET_H

#include "conf/pool.h"
#include "conf/report.h"

enum { SECRET_MAX = 16384 }; /* bytes */

/* One place a secret may come from: the keys of the config and what they
 * say; a name is empty when its key was not written. */
struct secret_source {
	const char *env_key, *file_key; /* "secret_env", "secret_file" */
	struct str env, file;
};

/* Read the secret; line ends behind it are taken off. Exactly one of the two
 * must be given. False after an error at `at`.KEY: missing, unreadable, empty,
 * too long, or with control characters (they would end a header). A file that
 * everybody may read is a warning. */
bool secret_read(struct pool *pool, struct report *rep, const struct place *at,
                 const struct secret_source *from, struct str *out);

/* The same from one environment variable. */
bool secret_env(struct pool *pool, struct report *rep, const struct place *at,
                struct str name, struct str *out);

/* A file that is read later, again and again: a warning when it cannot be read
 * now (others may have yet to write it), and for one of `ours`, whose mode the
 * operator chose, also when everybody may read it. */
void secret_look(struct report *rep, const struct place *at, struct str path,
                 bool ours);

#endif
