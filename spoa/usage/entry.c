/*
 * usage/entry: one line of the ledger.
 *
 * No field is named here but those that a rule needs (time and id make a line a
 * line; time has the columns hour, day and month): ENTRY_FIELDS is expanded.
 */
#include "usage/entry.h"

#include "base/jscan.h"

#include <inttypes.h>

#define ENT_ROW(kind, name, where)                                             \
	FIELD_IF_##where(FIELD_ROW(struct usage_entry, ENTRY_AS_##kind, name))
static const struct field ent_fields[] = {ENTRY_FIELDS(ENT_ROW)};
#undef ENT_ROW

/* The fields that a line does not have when they are absent. */
#define ENT_ROW(kind, name, where) FIELD_IF_##where(ENT_IS_##where, )
#define ENT_IS_LEDGER              false
#define ENT_IS_RARE                true
static const bool ent_rare[] = {ENTRY_FIELDS(ENT_ROW)};
#undef ENT_ROW

enum { ENT_N_FIELDS = sizeof(ent_fields) / sizeof(*ent_fields) };

/* ----------------------------------------------------------------- filling */

#define ENT_VALUE_TEXT(v)      (v)
#define ENT_VALUE_COUNT(v)     (v)
#define ENT_VALUE_SIGNED(v)    ((v) > 0 ? (uint64_t)(v) : 0)
#define ENT_VALUE_FLAG(v)      (v)
#define ENT_VALUE_OPERATION(v) str_c(operations_name(v))

#define ENT_TAKE(kind, name, where)                                            \
	FIELD_IF_##where(e->name = ENT_VALUE_##kind(from->name);)

static void ent_take_ticket(struct usage_entry *e, const struct ticket *from)
{
	TICKET_FIELDS(ENT_TAKE)
}

static void ent_take_record(struct usage_entry *e,
                            const struct usage_record *from)
{
	RECORD_FIELDS(ENT_TAKE)
}
#undef ENT_TAKE

void entry_take(struct usage_entry *e, const struct usage_record *rec)
{
	ent_take_ticket(e, &rec->ticket);
	ent_take_record(e, rec);
}

void entry_put_tokens(struct usage_entry *e, const struct usage_tokens *t)
{
#define ENT_PUT(kind, name, where) e->name = t->name;
	USAGE_TOKENS(ENT_PUT)
#undef ENT_PUT
	e->longest = t->longest;
	e->service_tier = t->service_tier;
}

struct usage_tokens entry_tokens(const struct usage_entry *e)
{
#define ENT_GET(kind, name, where) .name = e->name,
	return (struct usage_tokens){USAGE_TOKENS(ENT_GET).longest = e->longest,
	                             .service_tier = e->service_tier};
#undef ENT_GET
}

/* ----------------------------------------------------------------- writing */

static bool ent_is_absent(const struct field *f, const void *at)
{
	if (f->kind == FIELD_TEXT)
		return ((const struct str *)at)->len == 0;
	return f->kind == FIELD_COUNT && *(const uint64_t *)at == 0;
}

void entry_write(const struct usage_entry *e, struct buf *out)
{
	buf_add_str(out, STR("{\"v\":1"));
	for (size_t i = 0; i < ENT_N_FIELDS; i++) {
		const void *at = (const char *)e + ent_fields[i].at;

		if (ent_rare[i] && ent_is_absent(&ent_fields[i], at))
			continue;
		buf_fmt(out, ",\"%" STR_FMT "\":", STR_ARG(ent_fields[i].name));
		switch (ent_fields[i].kind) {
		case FIELD_TEXT:
			buf_json(out, *(const struct str *)at);
			break;
		case FIELD_COUNT:
			buf_fmt(out, "%" PRIu64, *(const uint64_t *)at);
			break;
		case FIELD_FLAG:
			buf_add_str(out, *(const bool *)at ? STR("true")
			                                   : STR("false"));
			break;
		default: /* ENTRY_AS_... has no other */
			out->failed = true;
		}
	}
	buf_add_str(out, STR("}\n"));
}

/* ----------------------------------------------------------------- reading */

/* The row of a member, NULL when it is none of ours. Members mostly come in
 * our order, so the search begins at *next. */
static const struct field *ent_find(struct str name, size_t *next)
{
	for (size_t i = 0; i < ENT_N_FIELDS; i++) {
		size_t k = (*next + i) % ENT_N_FIELDS;

		if (str_eq(ent_fields[k].name, name)) {
			*next = k + 1;
			return &ent_fields[k];
		}
	}
	return NULL;
}

/* The value behind a key. False when it has the wrong type. */
static bool ent_read_value(struct jscan *s, const struct field *f,
                           struct usage_entry *e)
{
	enum jscan_token t = jscan_next(s);
	void *at = f ? (char *)e + f->at : NULL;

	if (!f) /* a member of a later version: one value, not nested */
		return t >= JSCAN_STRING;
	switch (f->kind) {
	case FIELD_TEXT:
		*(struct str *)at = s->text;
		return t == JSCAN_STRING;
	case FIELD_COUNT:
		return t == JSCAN_NUMBER && jscan_to_u53(s->text, at);
	case FIELD_FLAG:
		*(bool *)at = t == JSCAN_TRUE;
		return t == JSCAN_TRUE || t == JSCAN_FALSE;
	default:
		return false;
	}
}

bool entry_read(struct str line, struct usage_entry *out)
{
	struct usage_entry e = {.time = STR_NONE};
	enum jscan_token t;
	struct jscan s;
	size_t next = 0;

	jscan_init(&s, line, 4);
	if (jscan_next(&s) != JSCAN_OBJECT)
		return false;
	while ((t = jscan_next(&s)) == JSCAN_KEY)
		if (!ent_read_value(&s, ent_find(s.text, &next), &e))
			return false;
	if (t != JSCAN_OBJECT_END || jscan_next(&s) != JSCAN_END)
		return false;
	if (e.time.len != 24 || e.id.len == 0)
		return false;
	*out = e;
	return true;
}

/* ----------------------------------------------------------------- columns */

/* What `report --by` can group by: the team, the texts of a ticket, the service
 * tier, and parts of the time. The list is expanded with three meanings of
 * COL(name, text). */
#define ENT_COLUMNS                                                            \
	COL(team, e->team)                                                     \
	TICKET_FIELDS(ENT_COLUMN)                                              \
	COL(service_tier, e->service_tier)                                     \
	COL(hour, str_first(e->time, 13))                                      \
	COL(day, str_first(e->time, 10))                                       \
	COL(month, str_first(e->time, 7))

#define ENT_COLUMN(kind, name, where) FIELD_IF_##where(ENT_COLUMN_##kind(name))
#define ENT_COLUMN_TEXT(name)         COL(name, e->name)
#define ENT_COLUMN_OPERATION(name)    COL(name, e->name)
#define ENT_COLUMN_COUNT(name)
#define ENT_COLUMN_FLAG(name)

#define COL(name, expr)                                                        \
	static struct str ent_##name(const struct usage_entry *e)              \
	{                                                                      \
		return expr;                                                   \
	}
ENT_COLUMNS
#undef COL

entry_column_fn *entry_column(struct str name)
{
	static const struct {
		struct str name;
		entry_column_fn *text;
	} columns[] = {
#define COL(name, expr) {STR_INIT(#name), ent_##name},
		ENT_COLUMNS
#undef COL
	};

	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++)
		if (str_eq(columns[i].name, name))
			return columns[i].text;
	return NULL;
}

const char *entry_columns(void)
{
#define COL(name, expr) ", " #name
	static const char names[] = ENT_COLUMNS;
#undef COL

	return names + 2; /* without the first comma */
}
