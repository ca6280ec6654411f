/*
 * base/json: JSON documents in memory, and the only user of cJSON.
 *
 *   text -> json_blank_comments -> jscan + json_check_token -> cJSON -> root
 *           (only the config)      syntax, depth, keys, digits
 *
 * A struct json is a cJSON node under another name: no other file sees a
 * member of it.
 */
#include "base/json.h"

#include "base/jscan.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* cJSON 1.7.15 (Debian 12) copies a number into a buffer of 64 bytes and would
 * read the rest of a longer one as something else. */
enum { NUMBER_MAX = 63 };

static const char json_no_memory[] = "out of memory";

struct json_seen_key {
	struct str raw; /* still escaped; a view into the text */
	size_t at;      /* offset of the key in the text */
};

/* The state of the check. `keys` is a stack: the keys of all open objects, the
 * innermost object last, at first[its depth]. */
struct json_checker {
	struct jscan s;
	struct json_seen_key *keys;
	size_t n, cap;
	size_t first[JSON_MAX_DEPTH + 1]; /* of the object at that depth */
	const char *error;
	size_t error_at;
};

static bool json_fail(struct json_checker *c, const char *error, size_t at)
{
	c->error = error;
	c->error_at = at;
	return false;
}

static bool json_push_key(struct json_checker *c)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 32;
		struct json_seen_key *keys =
			realloc(c->keys, cap * sizeof(*keys));

		if (!keys)
			return json_fail(c, json_no_memory, c->s.at);
		c->keys = keys;
		c->cap = cap;
	}
	c->keys[c->n++] = (struct json_seen_key){c->s.text, c->s.at};
	return true;
}

/* By the unescaped key, then by place: the second of two equal keys is the one
 * that is reported. */
static int json_compare_keys(const void *va, const void *vb)
{
	const struct json_seen_key *a = va, *b = vb;
	int d = jscan_compare(a->raw, b->raw);

	return d ? d : (a->at > b->at) - (a->at < b->at);
}

/* At the end of an object: remove its keys from the stack and fail when two of
 * them are equal. They are sorted, as comparing each with each would take
 * quadratic time and the header of a token is written by a stranger. */
static bool json_check_keys(struct json_checker *c)
{
	size_t first = c->first[c->s.depth + 1];
	size_t n = c->n - first;
	struct json_seen_key *k;

	c->n = first;
	if (n < 2)
		return true;
	/* behind the test: c->keys is NULL while no object has had a key */
	k = c->keys + first;
	qsort(k, n, sizeof(*k), json_compare_keys);
	for (size_t i = 1; i < n; i++)
		if (jscan_compare(k[i - 1].raw, k[i].raw) == 0)
			return json_fail(c,
			                 "the key occurs twice in its object",
			                 k[i].at);
	return true;
}

/* Check the next token. False at the end (c->error is NULL) and on errors. */
static bool json_check_token(struct json_checker *c)
{
	switch (jscan_next(&c->s)) {
	case JSCAN_END:
		return false;
	case JSCAN_PARTIAL:
		return json_fail(c, "the text ends too early",
		                 (size_t)(c->s.end - c->s.start));
	case JSCAN_BAD:
		return json_fail(c, c->s.error, c->s.error_at);
	case JSCAN_OBJECT:
		c->first[c->s.depth] = c->n;
		return true;
	case JSCAN_KEY:
		return json_push_key(c);
	case JSCAN_OBJECT_END:
		return json_check_keys(c);
	case JSCAN_NUMBER:
		return c->s.text.len <= NUMBER_MAX ||
		       json_fail(c, "the number has too many digits", c->s.at);
	default:
		return true;
	}
}

/* Check the text and, when it is acceptable, let cJSON build the document.
 * cJSON accepts everything that passed the check, so it fails only for memory.
 */
static struct json *json_build(struct str text, const char **error,
                               size_t *error_at)
{
	struct json_checker c = {0};
	cJSON *root = NULL;

	jscan_init(&c.s, text, JSON_MAX_DEPTH);
	while (json_check_token(&c))
		;
	free(c.keys);
	/* the text is read a second time, by cJSON */
	if (!c.error) {
		root = cJSON_ParseWithLength(text.p, text.len);
		if (!root)
			json_fail(&c, json_no_memory, 0);
	}
	if (!root) {
		*error = c.error;
		*error_at = c.error_at;
	}
	return (struct json *)root;
}

/* Overwrite the bytes from `at` to before `end` with blanks, but keep the line
 * ends: lines and columns of messages stay those of the file. */
static void json_blank_out(char *p, size_t at, size_t end)
{
	for (; at < end; at++)
		if (p[at] != '\n' && p[at] != '\r')
			p[at] = ' ';
}

/* The offset behind the string whose quote is at `at`. A string that is not
 * closed ends with the text; the check finds that later. */
static size_t json_string_end(const char *p, size_t at, size_t len)
{
	for (at++; at < len && p[at] != '"'; at++)
		if (p[at] == '\\')
			at++;
	return at < len ? at + 1 : len;
}

/* The offset behind the comment at `at`; `at` when no comment begins there, and
 * len + 1 when it is not closed. */
static size_t json_comment_end(const char *p, size_t at, size_t len)
{
	size_t i = at + 2;

	if (len - at < 2 || p[at] != '/' ||
	    (p[at + 1] != '/' && p[at + 1] != '*'))
		return at;
	if (p[at + 1] == '/') {
		while (i < len && p[i] != '\n')
			i++;
		return i;
	}
	for (; i + 1 < len; i++)
		if (p[i] == '*' && p[i + 1] == '/')
			return i + 2;
	return len + 1;
}

/* Overwrite all comments outside strings. False, with *error_at set, when one
 * is not closed. cJSON_Minify is not used: it moves the text, so that errors
 * could not be placed, and it ignores a comment that is not closed. */
static bool json_blank_comments(char *p, size_t len, size_t *error_at)
{
	size_t at = 0;

	while (at < len) {
		size_t end = json_comment_end(p, at, len);

		if (end > len) {
			*error_at = at;
			return false;
		}
		if (end > at) {
			json_blank_out(p, at, end);
			at = end;
		} else {
			at = p[at] == '"' ? json_string_end(p, at, len)
			                  : at + 1;
		}
	}
	return true;
}

struct json *json_parse_with(struct str text, unsigned options,
                             const char **error, size_t *error_at)
{
	struct json *j = NULL;
	char *copy;

	if (!(options & JSON_COMMENTS))
		return json_build(text, error, error_at);
	copy = str_dup(text);
	if (!copy) {
		*error = json_no_memory;
		*error_at = 0;
	} else if (!json_blank_comments(copy, text.len, error_at)) {
		*error = "the comment is not closed";
	} else {
		j = json_build(str_of(copy, text.len), error, error_at);
	}
	free(copy);
	return j;
}

struct json *json_parse(struct str text, const char **error, size_t *error_at)
{
	return json_parse_with(text, JSON_STRICT, error, error_at);
}

static const cJSON *json_node(const struct json *j)
{
	return (const cJSON *)j;
}

void json_free(struct json *root)
{
	cJSON_Delete((cJSON *)root);
}

enum json_type json_type(const struct json *j)
{
	static const struct {
		int cjson;
		enum json_type type;
	} types[] = {
		{cJSON_NULL, JSON_NULL},     {cJSON_False, JSON_BOOL},
		{cJSON_True, JSON_BOOL},     {cJSON_Number, JSON_NUMBER},
		{cJSON_String, JSON_STRING}, {cJSON_Array, JSON_ARRAY},
		{cJSON_Object, JSON_OBJECT},
	};

	/* the upper bits of the type are flags of cJSON (reference, constant)
	 */
	for (size_t i = 0; j && i < sizeof(types) / sizeof(types[0]); i++)
		if ((json_node(j)->type & 0xff) == types[i].cjson)
			return types[i].type;
	return JSON_NONE;
}

const char *json_type_name(enum json_type t)
{
	static const char *const names[] = {
		[JSON_NONE] = "nothing",     [JSON_NULL] = "null",
		[JSON_BOOL] = "a boolean",   [JSON_NUMBER] = "a number",
		[JSON_STRING] = "a string",  [JSON_ARRAY] = "an array",
		[JSON_OBJECT] = "an object",
	};

	return names[t];
}

const struct json *json_get(const struct json *j, const char *name)
{
	if (json_type(j) != JSON_OBJECT)
		return NULL;
	return (const struct json *)cJSON_GetObjectItemCaseSensitive(
		json_node(j), name);
}

bool json_str(const struct json *j, struct str *out)
{
	if (json_type(j) != JSON_STRING)
		return false;
	/* the length of a C string is that of the value: U+0000 was refused */
	*out = str_c(json_node(j)->valuestring);
	return true;
}

bool json_bool(const struct json *j, bool *out)
{
	if (json_type(j) != JSON_BOOL)
		return false;
	*out = cJSON_IsTrue(json_node(j));
	return true;
}

bool json_number(const struct json *j, double *out)
{
	if (json_type(j) != JSON_NUMBER || !isfinite(json_node(j)->valuedouble))
		return false;
	*out = json_node(j)->valuedouble;
	return true;
}

bool json_int(const struct json *j, int64_t *out)
{
	/* 2^53 - 1, the limit of RFC 8259, section 6 (and of JavaScript) */
	const double limit = 9007199254740991.0;
	double d;

	if (!json_number(j, &d) || d < -limit || d > limit || d != trunc(d))
		return false;
	*out = (int64_t)d;
	return true;
}

size_t json_count(const struct json *j)
{
	const struct json *child;
	size_t n = 0;

	json_each (j, child)
		n++;
	return n;
}

const struct json *json_first(const struct json *j)
{
	enum json_type t = json_type(j);

	if (t != JSON_ARRAY && t != JSON_OBJECT)
		return NULL;
	return (const struct json *)json_node(j)->child;
}

const struct json *json_next(const struct json *child)
{
	return child ? (const struct json *)json_node(child)->next : NULL;
}

struct str json_key(const struct json *member)
{
	return member ? str_c(json_node(member)->string) : STR_NONE;
}

void json_place(struct str text, size_t at, unsigned *line, unsigned *column)
{
	unsigned l = 1, c = 1;

	for (size_t i = 0; i < at && i < text.len; i++) {
		if (text.p[i] == '\n') {
			l++;
			c = 1;
		} else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
			/* not a tail byte of UTF-8: a new character */
			c++;
		}
	}
	*line = l;
	*column = c;
}

const char *json_library(void)
{
	static char text[32];

	snprintf(text, sizeof(text), "cJSON %s", cJSON_Version());
	return text;
}
