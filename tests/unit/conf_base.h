/*
 * A small, good configuration for the tests of conf/, and ways to change it.
 *
 * A test says which piece of text becomes which other one; a piece that does
 * not stand there exactly once fails the test, so no test can pass because
 * its change was lost.
 */
#ifndef CONF_BASE_H
#define CONF_BASE_H

#include "conf/load.h"

struct change {
	const char *from; /* NULL: `to` is the whole document */
	const char *to;
};

extern const char conf_base[];

/* The base with n changes, into `out`. */
void conf_changed(struct buf *out, const struct change *changes, size_t n);

/* Parse the base with n changes as file "g.json". What was reported is in
 * `errors` (initialised here), NUL-terminated. */
struct policy *conf_base_parse(struct buf *errors, const struct change *changes,
                               size_t n);

#endif
