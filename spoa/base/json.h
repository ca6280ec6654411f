/*
 * base/json: JSON documents in memory, and the only user of cJSON.
 *
 * For small documents: the configuration, key sets, token headers, answers of
 * token endpoints, usage. Request bodies are read by api/scan, which allocates
 * nothing.
 *
 * cJSON by itself takes the first of duplicate keys, ends strings at U+0000,
 * compares names without case, and accepts "01", invalid UTF-8 and bytes behind
 * the document (azure.md 2.6): a token or a configuration could be read here
 * in another way than by its writer. So a text is first checked as a whole
 * (base/jscan) and only then given to cJSON, and no accessor converts one type
 * into another.
 *
 * Ownership: json_parse() returns the root, which the caller frees with
 * json_free(). All values, strings and keys that accessors return are part of
 * the document and end with it.
 *
 * All accessors accept NULL, which stands for an absent member, and return
 * false, NULL or 0 for it, so lookups may be nested without checks.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/str.h"

struct json; /* one value; a document is referred to by its root */

enum json_type {
	JSON_NONE = 0, /* of NULL: absent */
	JSON_NULL = 1,
	JSON_BOOL = 2,
	JSON_NUMBER = 3,
	JSON_STRING = 4,
	JSON_ARRAY = 5,
	JSON_OBJECT = 6,
};

/* Bits. */
enum json_option {
	JSON_STRICT = 0,
	JSON_COMMENTS = 1, /* accept // and slash-star comments, as in C */
};

/* Nesting that is accepted. gateway.json, JWKS and tokens need less than 10;
 * cJSON recurses once per level. */
enum { JSON_MAX_DEPTH = 32 };

/* Parse a whole document: RFC 8259, at most JSON_MAX_DEPTH deep, no key twice
 * in an object (compared unescaped), no U+0000, no byte order mark, no number
 * of more than 63 bytes, only blanks behind it. `text` is not kept.
 *
 * NULL on failure, also when out of memory: *error is then a constant sentence
 * and *error_at the offset of the byte it is about (text.len when the text ends
 * too early). Both are untouched on success. */
struct json *json_parse(struct str text, const char **error, size_t *error_at);

/* json_parse with a set of enum json_option. */
struct json *json_parse_with(struct str text, unsigned options,
                             const char **error, size_t *error_at);

/* Free a document by its root. Accepts NULL. */
void json_free(struct json *root);

enum json_type json_type(const struct json *j);

/* "a string", "an object", "nothing" ...: for messages. A constant. */
const char *json_type_name(enum json_type t);

/* The member of the object j with that name, case-sensitive. NULL when there is
 * none or j is not an object. */
const struct json *json_get(const struct json *j, const char *name);

/* The value of j. False, with *out untouched, when j is of another type. A NUL
 * follows the bytes of a string. Numbers are finite: 1e400 is refused. */
bool json_str(const struct json *j, struct str *out);
bool json_bool(const struct json *j, bool *out);
bool json_number(const struct json *j, double *out);

/* The value of a number that is whole and within +-(2^53 - 1): cJSON keeps
 * numbers as doubles, and beyond that a double stands for several integers.
 * 1.0 and 1e3 are whole numbers. False leaves *out untouched. */
bool json_int(const struct json *j, int64_t *out);

/* The members of an object or the elements of an array, in the order of the
 * text; none for any other type. */
size_t json_count(const struct json *j);
const struct json *json_first(const struct json *j);
const struct json *json_next(const struct json *child);
struct str json_key(const struct json *member); /* empty of an element */

#define json_each(j, child)                                                    \
	for ((child) = json_first(j); (child); (child) = json_next(child))

/* The line and the column of byte `at` of `text`, for messages. Both count from
 * 1; columns count UTF-8 characters. */
void json_place(struct str text, size_t at, unsigned *line, unsigned *column);

/* The name and version of cJSON, for -V. A static text. */
const char *json_library(void);

#endif
