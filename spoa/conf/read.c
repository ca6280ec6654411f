/*
 * conf/read: a JSON document -> struct raw_config, by the option table.
 *
 *   rd_read_object   an object: unknown keys, then row after row of its section
 *     rd_set_default   the default of a row, itself JSON text
 *     rd_read_value    by type: object, map, list, or a single value
 *       value_set        conf/value
 *
 * The recursion follows the table, not the document, so its depth is fixed.
 */
#include "conf/read.h"

#include "conf/value.h"

/* Passed to all functions. */
struct rd_context {
	struct pool *pool;
	struct report *rep;
};

static void rd_read_object(const struct rd_context *r, const struct section *s,
                           const struct json *j, const struct place *at,
                           void *out);

/* ---------------------------------------------------------- unknown keys */

enum { KEY_MAX = 32 }; /* longer than any key of the table */

/* Levenshtein distance: insertions, deletions and replacements between two
 * words. One row of the matrix is kept. SIZE_MAX when a word is longer than
 * KEY_MAX. */
static size_t rd_edit_distance(struct str a, struct str b)
{
	size_t row[KEY_MAX + 1], i, j;

	if (a.len > KEY_MAX || b.len > KEY_MAX)
		return SIZE_MAX;
	for (j = 0; j <= b.len; j++)
		row[j] = j;
	for (i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (j = 1; j <= b.len; j++) {
			size_t cost = diagonal + (a.p[i - 1] != b.p[j - 1]);
			size_t step =
				(row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

			diagonal = row[j];
			row[j] = cost < step ? cost : step;
		}
	}
	return row[b.len];
}

static const struct option *rd_find_option(const struct section *s,
                                           struct str key)
{
	const struct option *o;

	for (o = s->options; o->key; o++)
		if (str_eq(key, str_c(o->key)))
			return o;
	return NULL;
}

/* The first key of the section when all are too far away. */
static const char *rd_nearest_key(const struct section *s, struct str key)
{
	const struct option *o;
	const char *best = s->options->key;
	size_t d, best_d = SIZE_MAX;

	for (o = s->options; o->key; o++) {
		d = rd_edit_distance(key, str_c(o->key));
		if (d < best_d) {
			best_d = d;
			best = o->key;
		}
	}
	return best;
}

static void rd_report_unknown_keys(const struct rd_context *r,
                                   const struct section *s,
                                   const struct json *j, const struct place *at)
{
	const struct json *child;

	json_each (j, child) {
		struct place here = place_key(at, json_key(child));

		if (!rd_find_option(s, json_key(child)))
			report_error(r->rep, &here,
			             "found an unknown key, expected "
			             "\"%s\" (the nearest known one)",
			             rd_nearest_key(s, json_key(child)));
	}
}

/* --------------------------------------------------------------- values */

static void rd_report_type(const struct rd_context *r, const struct option *o,
                           const struct json *j, const struct place *at)
{
	struct buf found;

	buf_init(&found, 512);
	value_found(&found, j);
	report_error(r->rep, at, "found %" STR_FMT ", expected %s",
	             STR_ARG(buf_str(&found)), options_type_name(o->type));
	buf_done(&found);
}

static struct raw_head *rd_list_element(const struct option *o,
                                        const struct raw_list *list, size_t i)
{
	return (void *)((char *)list->v + i * o->section->size);
}

/* An object under a bad name is still read, so that references to it are not
 * reported as errors of their own. */
static void rd_read_map(const struct rd_context *r, const struct option *o,
                        const struct json *j, const struct place *at,
                        struct raw_list *list)
{
	const struct json *child;
	size_t i = 0;

	if (json_type(j) != JSON_OBJECT) {
		rd_report_type(r, o, j, at);
		return;
	}
	list->v = pool_alloc(r->pool, json_count(j), o->section->size);
	if (!list->v)
		return;
	json_each (j, child) {
		struct place here = place_key(at, json_key(child));
		struct raw_head *head = rd_list_element(o, list, i++);

		if (!value_name_ok(o->key_type, json_key(child)))
			report_error(r->rep, &here,
			             "found this name, expected %s",
			             options_type_name(o->key_type));
		rd_read_object(r, o->section, child, &here, head);
		head->name = pool_str(r->pool, json_key(child));
	}
	list->n = i;
}

static void rd_read_list(const struct rd_context *r, const struct option *o,
                         const struct json *j, const struct place *at,
                         struct raw_list *list)
{
	const struct json *child;
	size_t n = json_count(j), i = 0;

	if (json_type(j) != JSON_ARRAY) {
		rd_report_type(r, o, j, at);
		return;
	}
	if (n < (size_t)o->min || (o->max && n > (size_t)o->max))
		report_error(r->rep, at,
		             "found a list of %zu entries, expected at "
		             "least %lld%s",
		             n, (long long)o->min,
		             n > (size_t)o->min ? " and not so many" : "");
	list->v = pool_alloc(r->pool, n, o->section->size);
	if (!list->v)
		return;
	json_each (j, child) {
		struct place here = place_index(at, i);

		rd_read_object(r, o->section, child, &here,
		               rd_list_element(o, list, i));
		i++;
	}
	list->n = i;
}

/* OPT_ONE_OR_LIST: one object, stored as a list of one. */
static void rd_read_one(const struct rd_context *r, const struct option *o,
                        const struct json *j, const struct place *at,
                        struct raw_list *list)
{
	list->v = pool_alloc(r->pool, 1, o->section->size);
	if (!list->v)
		return;
	rd_read_object(r, o->section, j, at, list->v);
	list->n = 1;
	list->single = true;
}

static void rd_read_value(const struct rd_context *r, const struct option *o,
                          const struct json *j, const struct place *at,
                          void *field)
{
	switch (o->type) {
	case OPT_OBJECT:
		rd_read_object(r, o->section, j, at, field);
		break;
	case OPT_MAP:
		rd_read_map(r, o, j, at, field);
		break;
	case OPT_LIST:
		rd_read_list(r, o, j, at, field);
		break;
	case OPT_ONE_OR_LIST:
		if (json_type(j) == JSON_ARRAY)
			rd_read_list(r, o, j, at, field);
		else
			rd_read_one(r, o, j, at, field);
		break;
	default:
		value_set(r->pool, r->rep, o, j, at, field);
	}
}

/* A default is JSON text and is set like a value of the file, so a default that
 * the checks refuse cannot exist: tests/unit/test_conf.c would report it. */
static void rd_set_default(const struct rd_context *r, const struct option *o,
                           const struct place *at, void *field)
{
	const char *error;
	size_t error_at;
	struct json *j;

	if (o->type == OPT_OBJECT) {
		rd_read_object(r, o->section, NULL, at, field);
		return;
	}
	if (!o->def)
		return;
	j = json_parse(str_c(o->def), &error, &error_at);
	if (!j)
		r->pool->failed = true;
	else
		value_set(r->pool, r->rep, o, j, at, field);
	json_free(j);
}

static void rd_read_object(const struct rd_context *r, const struct section *s,
                           const struct json *j, const struct place *at,
                           void *out)
{
	static const struct option any_object = {.type = OPT_OBJECT};
	struct raw_head *head = out;
	const struct option *o;

	if (j && json_type(j) != JSON_OBJECT) {
		rd_report_type(r, &any_object, j, at);
		j = NULL;
	}
	rd_report_unknown_keys(r, s, j, at);
	for (o = s->options; o->key; o++) {
		const struct json *child = json_get(j, o->key);
		struct place here = place_key(at, str_c(o->key));
		void *field = (char *)out + o->offset;

		/* the default comes first: it stays if the value is refused */
		rd_set_default(r, o, &here, field);
		if (child) {
			head->seen |= UINT64_C(1) << (o - s->options);
			rd_read_value(r, o, child, &here, field);
		} else if (j && o->required) {
			report_error(r->rep, &here,
			             "found nothing, expected %s%s",
			             o->many && !o->or_one ? "a list: " : "",
			             options_type_name(o->type));
		}
	}
}

void read_section(struct pool *pool, struct report *rep,
                  const struct section *s, const struct json *j,
                  const struct place *at, void *out)
{
	const struct rd_context r = {pool, rep};

	rd_read_object(&r, s, j, at, out);
}
