/*
 * conf/value: one JSON value -> one field, as its row in conf/options says.
 *
 *   value_set --single types--> setters[type]    cval_set_uint and others
 *             --text types----> cval_set_text    check: text_kinds[type]
 *             --many----------> cval_set_texts   a list of texts
 *
 * A setter stores the value only if it is valid, and otherwise reports what was
 * found and what was expected. Strings are copied into the pool.
 */
#include "conf/value.h"

#include "base/clock.h"
#include "base/usd.h"
#include "conf/text.h"
#include "api/operations.h"
#include "api/scan.h"

#include <math.h>
#include <stdio.h>

enum {
	LIST_MAX = 1000, /* elements of a list without a bound of its own */
};

void value_found(struct buf *out, const struct json *j)
{
	enum json_type type = json_type(j);
	double d = 0;
	bool yes = false;
	struct str s;

	if (json_str(j, &s)) {
		buf_json(out, str_first(s, 60));
		buf_fmt(out, "%s", s.len > 60 ? "..." : "");
	} else if (json_number(j, &d)) {
		buf_fmt(out, "%.10g", d);
	} else if (json_bool(j, &yes)) {
		buf_fmt(out, "%s", yes ? "true" : "false");
	} else {
		buf_fmt(out, "%s", json_type_name(type));
	}
}

/* Names of objects are keys of the JSON document, so they are not stored by a
 * setter. */
bool value_name_ok(enum option_type key_type, struct str name)
{
	return text_kinds[key_type].ok(name);
}

/* ------------------------------------------------------------ messages */

/* Arguments of a setter. */
struct job {
	struct pool *pool;
	struct report *rep;
	const struct option *o;
	const struct place *at;
};

/* Whether a message must not quote a value of this type. */
static bool cval_is_hidden(enum option_type t)
{
	return t == OPT_SHA256 ||
	       (t >= OPT_TEXT && t <= OPT_FILE && text_kinds[t].hidden);
}

/* Always false, so that a setter can end with it. */
static bool cval_refuse(const struct job *w, const struct json *j,
                        const char *expected)
{
	struct buf found;
	struct str s;

	buf_init(&found, 512);
	if (cval_is_hidden(w->o->type) && json_str(j, &s))
		buf_fmt(&found, "a text of %zu bytes", s.len);
	else
		value_found(&found, j);
	report_error(w->rep, w->at, "found %" STR_FMT ", expected %s",
	             STR_ARG(buf_str(&found)), expected);
	buf_done(&found);
	return false;
}

static bool cval_refuse_type(const struct job *w, const struct json *j)
{
	return cval_refuse(w, j, options_type_name(w->o->type));
}

/* ------------------------------------------------------------- setters */

static bool cval_set_bool(const struct job *w, const struct json *j,
                          void *field)
{
	return json_bool(j, field) || cval_refuse_type(w, j);
}

/* A whole number within the bounds of the row. */
static bool cval_read_whole(const struct job *w, const struct json *j,
                            int64_t *out)
{
	char expected[96];
	int64_t v;

	snprintf(expected, sizeof(expected), "a whole number from %lld to %lld",
	         (long long)w->o->min, (long long)w->o->max);
	if (!json_int(j, &v) || v < w->o->min || v > w->o->max)
		return cval_refuse(w, j, expected);
	*out = v;
	return true;
}

static bool cval_set_uint(const struct job *w, const struct json *j,
                          void *field)
{
	int64_t v;

	if (!cval_read_whole(w, j, &v))
		return false;
	*(unsigned *)field = (unsigned)v;
	return true;
}

static bool cval_set_u64(const struct job *w, const struct json *j, void *field)
{
	int64_t v;

	if (!cval_read_whole(w, j, &v))
		return false;
	*(uint64_t *)field = (uint64_t)v;
	return true;
}

/* Finite and not negative; json_number() refuses infinities. */
static bool cval_set_number(const struct job *w, const struct json *j,
                            void *field)
{
	double d;

	if (!json_number(j, &d) || d < 0)
		return cval_refuse_type(w, j);
	*(double *)field = d;
	return true;
}

/* USD per million tokens times 10^6 is pico-dollars per token. With at most
 * 10^6 USD and six decimals every price is a whole number below 2^53, so the
 * nearest whole number is exactly the decimal that was written. More decimals
 * are refused, not rounded. */
static bool cval_set_price(const struct job *w, const struct json *j,
                           void *field)
{
	double d, pico;

	if (!json_number(j, &d) || d < 0 || d > 1e6)
		return cval_refuse_type(w, j);
	pico = round(d * 1e6);
	if (fabs(d * 1e6 - pico) > 1e-3)
		return cval_refuse_type(w, j);
	*(uint64_t *)field = (uint64_t)pico;
	return true;
}

static bool cval_set_usd(const struct job *w, const struct json *j, void *field)
{
	struct str s;

	return (json_str(j, &s) && usd_read(s, field)) ||
	       cval_refuse_type(w, j);
}

/* The message lists the accepted names. */
static bool cval_set_enum(const struct job *w, const struct json *j,
                          void *field)
{
	char expected[256] = "one of";
	struct str s = STR_NONE;
	size_t used;
	int i;

	json_str(j, &s);
	for (i = 0; w->o->names[i]; i++) {
		if (s.p && str_eq(s, str_c(w->o->names[i]))) {
			*(int *)field = i;
			return true;
		}
		used = strlen(expected);
		snprintf(expected + used, sizeof(expected) - used, "%s %s",
		         i ? "," : "", w->o->names[i]);
	}
	return cval_refuse(w, j, expected);
}

/* Three or four octal digits, as chmod has them. Others get no rights, and the
 * owner must be able to read and write. */
static bool cval_set_mode(const struct job *w, const struct json *j,
                          void *field)
{
	unsigned mode = 0;
	struct str s;
	size_t i;

	if (!json_str(j, &s) || s.len < 3 || s.len > 4)
		return cval_refuse_type(w, j);
	for (i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '7')
			return cval_refuse_type(w, j);
		mode = mode << 3 | (unsigned)(s.p[i] - '0');
	}
	if (mode & 07 || (mode & 0600) != 0600 || mode > 0777)
		return cval_refuse_type(w, j);
	*(unsigned *)field = mode;
	return true;
}

/* RFC 3339 section 5.6, whole seconds and "Z" only. */
static bool cval_set_time(const struct job *w, const struct json *j,
                          void *field)
{
	int64_t ms;
	struct str s;

	if (!json_str(j, &s) || s.len != 20 || s.p[19] != 'Z' ||
	    !clock_read(s, &ms))
		return cval_refuse_type(w, j);
	*(int64_t *)field = ms / 1000;
	return true;
}

static bool cval_set_sha256(const struct job *w, const struct json *j,
                            void *field)
{
	struct str s;

	if (!json_str(j, &s) || !str_unhex(s, field, 32))
		return cval_refuse_type(w, j);
	return true;
}

/* Type and length of a list. */
static bool cval_list_ok(const struct job *w, const struct json *j)
{
	char expected[96];
	size_t n = json_count(j), max = LIST_MAX;

	if (w->o->max > 0)
		max = (size_t)w->o->max;
	snprintf(expected, sizeof(expected), "a list of %lld to %zu entries",
	         (long long)w->o->min, max);
	if (json_type(j) != JSON_ARRAY)
		return cval_refuse(w, j, expected);
	if (n < (size_t)w->o->min || n > max) {
		report_error(w->rep, w->at,
		             "found a list of %zu entries, expected %s", n,
		             expected);
		return false;
	}
	return true;
}

/* A list of names that is stored as a bit set: bit i for name(i). */
struct bit_names {
	unsigned first, end;
	struct str (*name)(unsigned i);
};

static struct str cval_operation_name(unsigned i)
{
	return str_c(operations_name((enum api_operation)i));
}

static struct str cval_member_name(unsigned i)
{
	return scan_member_names[i];
}

static const struct bit_names cval_operations = {API_NONE + 1, API_N_OPERATIONS,
                                                 cval_operation_name};
static const struct bit_names cval_members = {SCAN_FIRST_DROPPABLE,
                                              SCAN_N_MEMBERS, cval_member_name};

/* The buffer is on the stack and never grows, so it is not released. */
static bool cval_refuse_name(const struct job *w, const struct json *j,
                             const struct bit_names *n)
{
	char space[512];
	struct buf b = {.p = space, .cap = sizeof(space), .max = sizeof(space)};
	unsigned i;

	buf_fmt(&b, "one of");
	for (i = n->first; i < n->end; i++)
		buf_fmt(&b, "%s %" STR_FMT, i > n->first ? "," : "",
		        STR_ARG(n->name(i)));
	buf_add(&b, "", 1);
	return cval_refuse(w, j, b.p);
}

/* All bad elements are reported, each at its index. */
static bool cval_set_bits(const struct job *w, const struct json *j,
                          const struct bit_names *names, void *field)
{
	const struct json *child;
	struct job inner = *w;
	struct place at;
	uint32_t bits = 0;
	size_t i = 0;
	bool ok = true;

	if (!cval_list_ok(w, j))
		return false;
	json_each (j, child) {
		struct str s = STR_NONE;
		unsigned bit = names->first;

		at = place_index(w->at, i++);
		inner.at = &at;
		json_str(child, &s);
		while (bit < names->end && !str_eq(names->name(bit), s))
			bit++;
		if (bit == names->end)
			ok = cval_refuse_name(&inner, child, names);
		else
			bits |= 1u << bit;
	}
	if (ok)
		*(uint32_t *)field = bits;
	return ok;
}

static bool cval_set_operations(const struct job *w, const struct json *j,
                                void *field)
{
	return cval_set_bits(w, j, &cval_operations, field);
}

static bool cval_set_members(const struct job *w, const struct json *j,
                             void *field)
{
	return cval_set_bits(w, j, &cval_members, field);
}

/* `to` null removes the member: to.len is 0 then. */
static bool cval_set_word(const struct job *w, const struct json *j,
                          struct policy_word *out)
{
	struct str to = STR_NONE;

	if (json_type(j) != JSON_NULL &&
	    (!json_str(j, &to) || !text_kinds[OPT_NAME].ok(to)))
		return cval_refuse(w, j, "a word of A-Z a-z 0-9 . _ - or null");
	out->from = pool_str(w->pool, json_key(j));
	out->to = to.len > 0 ? pool_str(w->pool, to) : STR_NONE;
	return out->from.p != NULL;
}

static bool cval_set_words(const struct job *w, const struct json *j,
                           void *field)
{
	struct policy_words list = {NULL, json_count(j)};
	const struct json *child;
	struct policy_word *v;
	struct job inner = *w;
	struct place at;
	bool ok = true;
	size_t i = 0;

	if (json_type(j) != JSON_OBJECT || list.n > (size_t)w->o->max)
		return cval_refuse_type(w, j);
	v = pool_alloc(w->pool, list.n, sizeof(*v));
	if (!v)
		return false;
	json_each (j, child) {
		at = place_key(w->at, json_key(child));
		inner.at = &at;
		if (!cval_set_word(&inner, child, &v[i++]))
			ok = false;
	}
	list.v = v;
	if (ok)
		*(struct policy_words *)field = list;
	return ok;
}

static bool cval_set_text(const struct job *w, const struct json *j,
                          void *field)
{
	const struct text_kind *kind = &text_kinds[w->o->type];
	struct str s;

	if (!json_str(j, &s) || !kind->ok(s))
		return cval_refuse_type(w, j);
	if (kind->lower || (w->o->type == OPT_ID && str_is_guid(s)))
		s = pool_lower(w->pool, s);
	else
		s = pool_str(w->pool, s);
	*(struct str *)field = s;
	return s.p != NULL;
}

/* or_one: a text is stored as a list of one. */
static bool cval_set_one(const struct job *w, const struct json *j, void *field)
{
	struct str *v = pool_alloc(w->pool, 1, sizeof(*v));

	if (!v || !cval_set_text(w, j, v))
		return false;
	*(struct strs *)field = (struct strs){v, 1};
	return true;
}

static bool cval_set_texts(const struct job *w, const struct json *j,
                           void *field)
{
	const struct json *child;
	struct job inner = *w;
	struct strs list = {NULL, json_count(j)};
	struct place at;
	struct str *v;
	size_t i = 0;
	bool ok = true;

	if (w->o->or_one && json_type(j) != JSON_ARRAY)
		return cval_set_one(w, j, field);
	if (!cval_list_ok(w, j))
		return false;
	v = pool_alloc(w->pool, list.n, sizeof(*v));
	if (!v)
		return false;
	json_each (j, child) {
		at = place_index(w->at, i);
		inner.at = &at;
		if (!cval_set_text(&inner, child, &v[i++]))
			ok = false;
	}
	list.v = v;
	if (ok)
		*(struct strs *)field = list;
	return ok;
}

/* Store a valid value at `field` and return true, or report it. */
typedef bool set_fn(const struct job *w, const struct json *j, void *field);

bool value_set(struct pool *pool, struct report *rep, const struct option *o,
               const struct json *j, const struct place *at, void *field)
{
	static set_fn *const setters[] = {
		[OPT_BOOL] = cval_set_bool,
		[OPT_UINT] = cval_set_uint,
		[OPT_U64] = cval_set_u64,
		[OPT_NUMBER] = cval_set_number,
		[OPT_PRICE] = cval_set_price,
		[OPT_ENUM] = cval_set_enum,
		[OPT_MODE] = cval_set_mode,
		[OPT_TIME] = cval_set_time,
		[OPT_SHA256] = cval_set_sha256,
		[OPT_OPERATIONS] = cval_set_operations,
		[OPT_MEMBERS] = cval_set_members,
		[OPT_WORDS] = cval_set_words,
		[OPT_USD] = cval_set_usd,
	};
	const struct job w = {pool, rep, o, at};

	if (o->type >= OPT_TEXT)
		return o->many ? cval_set_texts(&w, j, field)
		               : cval_set_text(&w, j, field);
	return setters[o->type](&w, j, field);
}
