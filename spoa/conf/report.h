/*
 * conf/report: the errors and warnings of a configuration, each with its place.
 *
 *   gateway.json: models.gpt-4o.deployments[0].weight: found 0, expected ...
 *
 * Reading and building go on after an error, so that one run shows all of them.
 * Every message says what was found and what was expected. A secret is never
 * quoted.
 */
#ifndef CONF_REPORT_H
#define CONF_REPORT_H

#include "base/buf.h"

struct report {
	struct buf *out;  /* borrowed; one line per error or warning */
	const char *file; /* borrowed */
	size_t n_errors;  /* includes those that `out` had no room for */
	size_t n_warnings;
};

/* A path in the document: a chain of keys and indexes from the inside out. It
 * is made on the stack while descending, and costs nothing unless an error is
 * reported. `up` is NULL for a key of the document itself. */
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

/* One line each: FILE: PATH: text, a warning with "warning: " before it. `at`
 * NULL: the document as a whole. The text is cut after 1023 bytes. */
void report_error(struct report *r, const struct place *at, const char *fmt,
                  ...) __attribute__((format(printf, 3, 4)));
void report_warning(struct report *r, const struct place *at, const char *fmt,
                    ...) __attribute__((format(printf, 3, 4)));

/* Append the path, a.b[0]["c.d"]: keys with other characters than letters,
 * digits, '_' and '-' are quoted. */
void report_path(struct buf *out, const struct place *at);

#endif
