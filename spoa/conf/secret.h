/*
 * conf/secret: read a secret from the environment or a file, by name.
 *
 * gateway.json contains names only, so it can be shown and versioned. A secret
 * is copied into the pool of the policy, which is wiped when the policy is
 * freed. No message quotes one.
 */
#ifndef CONF_SECRET_H
#define CONF_SECRET_H

#include "conf/pool.h"
#include "conf/report.h"

/* Bytes. Larger than any key, client secret or token of Azure. */
enum { SECRET_MAX = 16384 };

/* The two keys that can name a secret, and their values; a value is empty when
 * the file does not have the key. */
struct secret_source {
	const char *env_key, *file_key; /* "secret_env", "secret_file" */
	struct str env, file;
};

/* Read the secret without the line ends behind it. Exactly one of the two keys
 * must be given. False after reporting an error at `at`.KEY: missing,
 * unreadable, empty, too long, or with control characters, which would end an
 * HTTP header. A file that everybody may read is a warning. */
bool secret_read(struct pool *pool, struct report *rep, const struct place *at,
                 const struct secret_source *from, struct str *out);

/* The same from one environment variable. */
bool secret_env(struct pool *pool, struct report *rep, const struct place *at,
                struct str name, struct str *out);

/* Check a file that is read later, for each token. A warning when it cannot be
 * read now, because the platform may still have to write it. `ours`: the
 * operator made the file, so a file that everybody may read is a warning, too.
 */
void secret_look(struct report *rep, const struct place *at, struct str path,
                 bool ours);

#endif
