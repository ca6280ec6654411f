/*
 * words: the options of a command, `--name value`, from a table.
 */
#ifndef WORDS_H
#define WORDS_H

#include "base/buf.h"

enum word_type {
	WORD_TEXT = 0, /* struct str */
	WORD_ENUM = 1, /* int: the position among `names` */
	WORD_BOOL = 2, /* bool: not the first of `names` */
	WORD_FLAG = 3, /* bool: it is there; no value follows */
};

struct word {
	const char *name; /* "--by" */
	enum word_type type;
	size_t at;                /* in the command's struct */
	const char *const *names; /* NULL ends */
	const char *help;
};

#define WORD_OF(name_, type_, struct_, member, names_, help_)                  \
	{                                                                      \
		.name = (name_), .type = (type_),                              \
		.at = offsetof(struct struct_, member), .names = (names_),     \
		.help = (help_)                                                \
	}

/* Sets `into` from argv; the one word without -- is the file. False with a
 * sentence in `error`. *file stays NULL when there was none. */
bool words_read(const struct word *table, size_t n, int argc, char **argv,
                void *into, const char **file, struct buf *error);

/* One line per option. */
void words_usage(const struct word *table, size_t n, struct buf *out);

#endif
