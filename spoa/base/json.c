/* base/json: the door to cJSON. */
#include "base/json.h"

#include "base/jscan.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* cJSON 1.7.15 copies a number into 64 bytes and splits longer ones. */
enum { NUMBER_MAX = 63 };

static const char no_memory[] = "out of memory";

struct key {
	struct str raw;
	size_t at;
};

/* The keys of all objects that are open, innermost last. */
struct checker {
	struct jscan s;
	struct key *keys;
	size_t n, cap;
	size_t first[JSON_MAX_DEPTH + 1]; /* of the object at that depth */
	const char *error;
	size_t error_at;
};

static bool fail(struct checker *c, const char *error, size_t at)
{
	c->error = error;
	c->error_at = at;
	return false;
}

static bool key_push(struct checker *c)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 32;
		struct key *keys = realloc(c->keys, cap * sizeof(*keys));

		if (!keys)
			return fail(c, no_memory, c->s.at);
		c->keys = keys;
		c->cap = cap;
	}
	c->keys[c->n++] = (struct key){c->s.text, c->s.at};
	return true;
}

static int key_order(const void *va, const void *vb)
{
	const struct key *a = va, *b = vb;
	int d = jscan_compare(a->raw, b->raw);

	return d ? d : (a->at > b->at) - (a->at < b->at);
}

/* Sorting keeps this from being quadratic: a stranger writes the token. */
static bool object_end(struct checker *c)
{
	size_t first = c->first[c->s.depth + 1];
	size_t n = c->n - first;
	struct key *k;

	c->n = first;
	if (n < 2)
		return true;
	k = c->keys + first; /* NULL while no object had a key */
	qsort(k, n, sizeof(*k), key_order);
	for (size_t i = 1; i < n; i++)
		if (jscan_compare(k[i - 1].raw, k[i].raw) == 0)
			return fail(c, "the key stands twice in its object",
			            k[i].at);
	return true;
}

/* False at the end and on errors; then c->error tells. */
static bool check_token(struct checker *c)
{
	switch (jscan_next(&c->s)) {
	case JSCAN_END:
		return false;
	case JSCAN_PARTIAL:
		return fail(c, "the text ends too early",
		            (size_t)(c->s.end - c->s.start));
	case JSCAN_BAD:
		return fail(c, c->s.error, c->s.error_at);
	case JSCAN_OBJECT:
		c->first[c->s.depth] = c->n;
		return true;
	case JSCAN_KEY:
		return key_push(c);
	case JSCAN_OBJECT_END:
		return object_end(c);
	case JSCAN_NUMBER:
		return c->s.text.len <= NUMBER_MAX ||
		       fail(c, "the number has too many digits", c->s.at);
	default:
		return true;
	}
}

static struct json *build(struct str text, const char **error, size_t *error_at)
{
	struct checker c = {0};
	cJSON *root = NULL;

	jscan_init(&c.s, text, JSON_MAX_DEPTH);
	while (check_token(&c))
		;
	free(c.keys);
	if (!c.error) {
		root = cJSON_ParseWithLength(text.p, text.len);
		if (!root)
			fail(&c, no_memory, 0);
	}
	if (!root) {
		*error = c.error;
		*error_at = c.error_at;
	}
	return (struct json *)root;
}

/* Blank from `at` up to `end`, but keep the lines. */
static void blank(char *p, size_t at, size_t end)
{
	for (; at < end; at++)
		if (p[at] != '\n' && p[at] != '\r')
			p[at] = ' ';
}

/* The byte behind the string that begins at `at`. */
static size_t string_end(const char *p, size_t at, size_t len)
{
	for (at++; at < len && p[at] != '"'; at++)
		if (p[at] == '\\')
			at++;
	return at < len ? at + 1 : len;
}

/* The byte behind the comment at `at`; `at` itself when there is none, and
 * len + 1 when it is not closed. */
static size_t comment_end(const char *p, size_t at, size_t len)
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

/* Comments become blanks, so that all else stays where it was. */
static bool blank_comments(char *p, size_t len, size_t *error_at)
{
	size_t at = 0;

	while (at < len) {
		size_t end = comment_end(p, at, len);

		if (end > len) {
			*error_at = at;
			return false;
		}
		if (end > at) {
			blank(p, at, end);
			at = end;
		} else {
			at = p[at] == '"' ? string_end(p, at, len) : at + 1;
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
		return build(text, error, error_at);
	copy = str_dup(text);
	if (!copy) {
		*error = no_memory;
		*error_at = 0;
	} else if (!blank_comments(copy, text.len, error_at)) {
		*error = "the comment is not closed";
	} else {
		j = build(str_of(copy, text.len), error, error_at);
	}
	free(copy);
	return j;
}

struct json *json_parse(struct str text, const char **error, size_t *error_at)
{
	return json_parse_with(text, JSON_STRICT, error, error_at);
}

static const cJSON *node(const struct json *j)
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

	for (size_t i = 0; j && i < sizeof(types) / sizeof(types[0]); i++)
		if ((node(j)->type & 0xff) == types[i].cjson)
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
	return (const struct json *)cJSON_GetObjectItemCaseSensitive(node(j),
	                                                             name);
}

bool json_str(const struct json *j, struct str *out)
{
	if (json_type(j) != JSON_STRING)
		return false;
	*out = str_c(node(j)->valuestring);
	return true;
}

bool json_bool(const struct json *j, bool *out)
{
	if (json_type(j) != JSON_BOOL)
		return false;
	*out = cJSON_IsTrue(node(j));
	return true;
}

bool json_number(const struct json *j, double *out)
{
	if (json_type(j) != JSON_NUMBER || !isfinite(node(j)->valuedouble))
		return false;
	*out = node(j)->valuedouble;
	return true;
}

bool json_int(const struct json *j, int64_t *out)
{
	const double limit = 9007199254740991.0; /* 2^53 - 1 */
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
	return (const struct json *)node(j)->child;
}

const struct json *json_next(const struct json *child)
{
	return child ? (const struct json *)node(child)->next : NULL;
}

struct str json_key(const struct json *member)
{
	return member ? str_c(node(member)->string) : STR_NONE;
}

void json_place(struct str text, size_t at, unsigned *line, unsigned *column)
{
	unsigned l = 1, c = 1;

	for (size_t i = 0; i < at && i < text.len; i++) {
		if (text.p[i] == '\n') {
			l++;
			c = 1;
		} else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
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
