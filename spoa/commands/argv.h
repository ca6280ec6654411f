/*
 * commands/argv: the options of a command, `--name value`, from a table.
 */
#ifndef COMMANDS_ARGV_H
#define COMMANDS_ARGV_H

#include "base/buf.h"

enum argv_type {
	ARGV_TEXT = 0, /* struct str */
	ARGV_ENUM = 1, /* int: the position among `names` */
	ARGV_BOOL = 2, /* bool: not the first of `names` */
	ARGV_FLAG = 3, /* bool: it is there; no value follows */
};

struct argv_option {
	const char *name; /* "--by" */
	enum argv_type type;
	size_t at;                /* in the command's struct */
	const char *const *names; /* NULL ends */
	const char *help;
};

#define ARGV_OPTION(name_, type_, struct_, member, names_, help_)              \
	{                                                                      \
		.name = (name_), .type = (type_),                              \
		.at = offsetof(struct struct_, member), .names = (names_),     \
		.help = (help_)                                                \
	}

/* Sets `into` from argv; the one word without -- is the file. False with a
 * sentence in `error`. *file stays NULL when there was none. */
bool argv_read(const struct argv_option *table, size_t n, int argc, char **argv,
               void *into, const char **file, struct buf *error);

/* One line per option. */
void argv_usage(const struct argv_option *table, size_t n, struct buf *out);

#endif
