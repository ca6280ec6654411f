/*
 * conf/report: every error of a configuration, each with its place.
 *
 *   gateway.json: models.gpt-4o.deployments[0].weight: found 0, expected ...
 *
 * Reading goes on after an error, so that one run shows all of them.
 */
#ifndef CONF_REPORT_H
#define CONF_REPORT_H

#include "base/buf.h"

struct report {
	struct buf *out;  /* borrowed; one line per error or warning */
	const char *file; /* borrowed */
	size_t n_errors;  /* also those `out` had no room for */
	size_t n_warnings;
};

/* Where in the document: a chain of keys and indexes, usually on the stack.
 * `up` is NULL for the topmost key. */
struct place {
	const struct place *up;
	struct str key;
	size_t index; /* counts when key.p is NULL */
};

static inline struct place place_key(const struct place *up, struct str key)
{
	return (struct place){up, key, 0};
}

static inline struct place place_index(const struct place *up, size_t index)
{
	return (struct place){up, STR_NONE, index};
}

/* `at` NULL: the document as a whole. */
void report_error(struct report *r, const struct place *at, const char *fmt,
                  ...) __attribute__((format(printf, 3, 4)));
void report_warning(struct report *r, const struct place *at, const char *fmt,
                    ...) __attribute__((format(printf, 3, 4)));

/* Append the path: a.b[0]["c.d"]. */
void report_path(struct buf *out, const struct place *at);

#endif
