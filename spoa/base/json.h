/*
 * base/json: the door to cJSON, for everything small: the configuration, key
 * sets, token headers, usage records. (Request bodies: api/scan.)
 *
 * cJSON alone takes the first of duplicate keys, ends strings at U+0000,
 * compares names without case, accepts "01", bad UTF-8 and garbage behind the
 * document. So a text is first checked as a whole (base/jscan) and only then
 * built, and reading never converts one type into another.
 *
 * All accessors accept NULL (an absent member) and say false / NULL / 0 then,
 * so lookups may be chained. What they return lives as long as the document.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/str.h"

struct json; /* a value; the document is its root value */

enum json_type {
	JSON_NONE = 0, /* NULL was given: absent */
	JSON_NULL = 1,
	JSON_BOOL = 2,
	JSON_NUMBER = 3,
	JSON_STRING = 4,
	JSON_ARRAY = 5,
	JSON_OBJECT = 6,
};

enum json_option {
	JSON_STRICT = 0,
	JSON_COMMENTS = 1, /* also // to the end of line, and slash-star */
};

enum { JSON_MAX_DEPTH = 32 };

/* A whole document: RFC 8259, at most JSON_MAX_DEPTH deep, no key twice in an
 * object (compared unescaped), no U+0000, no BOM, nothing behind it. NULL on
 * failure: then *error is a constant sentence and *error_at the byte it is
 * about (text.len when the text ends too early). `text` is not kept. */
struct json *json_parse(struct str text, const char **error, size_t *error_at);

/* The same with options (enum json_option). */
struct json *json_parse_with(struct str text, unsigned options,
                             const char **error, size_t *error_at);

/* The root only. Accepts NULL. */
void json_free(struct json *root);

enum json_type json_type(const struct json *j);

/* "a string", "an object", "nothing", ... for messages. */
const char *json_type_name(enum json_type t);

/* Member by name, case-sensitive. NULL when absent or j is no object. */
const struct json *json_get(const struct json *j, const char *name);

/* Values. False, and *out untouched, when j is of another type. */
bool json_str(const struct json *j, struct str *out); /* NUL behind it */
bool json_bool(const struct json *j, bool *out);
bool json_number(const struct json *j, double *out); /* finite only */

/* A number that is whole and within +-(2^53 - 1): beyond that a double can
 * stand for several integers. (1.0 and 1e3 are whole numbers.) */
bool json_int(const struct json *j, int64_t *out);

/* Members or elements in the order they were written. */
size_t json_count(const struct json *j);
const struct json *json_first(const struct json *j);
const struct json *json_next(const struct json *child);
struct str json_key(const struct json *member); /* empty for an element */

#define json_each(j, child)                                                    \
	for ((child) = json_first(j); (child); (child) = json_next(child))

/* Line and column (of characters), both from 1, of byte `at` of `text`. */
void json_place(struct str text, size_t at, unsigned *line, unsigned *column);

/* Name and version of the library, for -V. */
const char *json_library(void);

#endif
