/*
 * commands/argv: the options of a command, `--name value`, from a table.
 *
 * One row per option gives parsing, checking and the usage text. An option that
 * comes twice counts the last time. Options and the file may come in any order.
 */
#ifndef COMMANDS_ARGV_H
#define COMMANDS_ARGV_H

#include "base/buf.h"

/* What the member of the command's struct is, and how a value becomes one. */
enum argv_type {
	ARGV_TEXT = 0, /* struct str: the value, a view into argv */
	ARGV_ENUM = 1, /* int or enum: the position of the value in `names` */
	ARGV_BOOL = 2, /* bool: false for the first of `names`, else true */
	ARGV_FLAG = 3, /* bool: true; no value follows */
};

struct argv_option {
	const char *name; /* with its dashes: "--by" */
	enum argv_type type;
	size_t at;                /* offset of the member in the struct */
	const char *const *names; /* ENUM, BOOL: the values; NULL ends */
	const char *help;         /* what is expected, also in messages */
};

/* A row: `member` of `struct struct_`. */
#define ARGV_OPTION(name_, type_, struct_, member, names_, help_)              \
	{                                                                      \
		.name = (name_), .type = (type_),                              \
		.at = offsetof(struct struct_, member), .names = (names_),     \
		.help = (help_)                                                \
	}

/* Set members of `into` from argv. An argument without `--` is the file; of
 * several the last one counts, and *file is NULL when there was none. False
 * with a sentence in `error` at the first unknown option or bad value; what
 * came before it is set then. */
bool argv_read(const struct argv_option *table, size_t n, int argc, char **argv,
               void *into, const char **file, struct buf *error);

/* One line per option. */
void argv_usage(const struct argv_option *table, size_t n, struct buf *out);

#endif
