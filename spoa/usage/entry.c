/* usage/entry: one line of the ledger. */
#include "usage/entry.h"

#include "base/jscan.h"

#include <inttypes.h>

enum field_type { FIELD_TEXT = 0, FIELD_NUMBER = 1, FIELD_BOOL = 2 };

#define FIELD(type_, member)                                                   \
	{                                                                      \
		STR_INIT(#member), type_, offsetof(struct usage_entry, member) \
	}

/* The order of the line. */
static const struct field {
	struct str name;
	enum field_type type;
	size_t at;
} fields[] = {
	FIELD(FIELD_TEXT, time),       FIELD(FIELD_TEXT, id),
	FIELD(FIELD_TEXT, consumer),   FIELD(FIELD_TEXT, team),
	FIELD(FIELD_TEXT, app),        FIELD(FIELD_TEXT, agent),
	FIELD(FIELD_TEXT, project),    FIELD(FIELD_TEXT, operation),
	FIELD(FIELD_TEXT, model),      FIELD(FIELD_TEXT, deployment),
	FIELD(FIELD_TEXT, resource),   FIELD(FIELD_TEXT, batch),
	FIELD(FIELD_NUMBER, status),   FIELD(FIELD_TEXT, termination),
	FIELD(FIELD_BOOL, stream),     FIELD(FIELD_BOOL, spilled),
	FIELD(FIELD_BOOL, estimated),  FIELD(FIELD_NUMBER, requests),
	FIELD(FIELD_NUMBER, input),    FIELD(FIELD_NUMBER, cached),
	FIELD(FIELD_NUMBER, output),   FIELD(FIELD_NUMBER, reasoning),
	FIELD(FIELD_NUMBER, audio),    FIELD(FIELD_NUMBER, nano_usd),
	FIELD(FIELD_NUMBER, bytes),    FIELD(FIELD_NUMBER, events),
	FIELD(FIELD_NUMBER, ttfb_ms),  FIELD(FIELD_NUMBER, ttft_ms),
	FIELD(FIELD_NUMBER, total_ms),
};

enum { N_FIELDS = sizeof(fields) / sizeof(*fields) };

void entry_write(const struct usage_entry *e, struct buf *out)
{
	size_t i;

	buf_add_str(out, STR("{\"v\":1"));
	for (i = 0; i < N_FIELDS; i++) {
		const void *at = (const char *)e + fields[i].at;

		buf_fmt(out, ",\"%" STR_FMT "\":", STR_ARG(fields[i].name));
		switch (fields[i].type) {
		case FIELD_TEXT:
			buf_json(out, *(const struct str *)at);
			break;
		case FIELD_NUMBER:
			buf_fmt(out, "%" PRIu64, *(const uint64_t *)at);
			break;
		case FIELD_BOOL:
			buf_add_str(out, *(const bool *)at ? STR("true")
			                                   : STR("false"));
			break;
		}
	}
	buf_add_str(out, STR("}\n"));
}

/* Members mostly come in our order: the search begins at *next. */
static const struct field *field_of(struct str name, size_t *next)
{
	size_t i, k;

	for (i = 0; i < N_FIELDS; i++) {
		k = (*next + i) % N_FIELDS;
		if (str_eq(fields[k].name, name)) {
			*next = k + 1;
			return &fields[k];
		}
	}
	return NULL;
}

/* The value behind a key. False when it has the wrong type. */
static bool read_value(struct jscan *s, const struct field *f,
                       struct usage_entry *e)
{
	enum jscan_token t = jscan_next(s);
	void *at = f ? (char *)e + f->at : NULL;

	if (!f) /* a member of a later version: one value, not nested */
		return t >= JSCAN_STRING;
	switch (f->type) {
	case FIELD_TEXT:
		*(struct str *)at = s->text;
		return t == JSCAN_STRING;
	case FIELD_NUMBER:
		return t == JSCAN_NUMBER && jscan_to_u53(s->text, at);
	case FIELD_BOOL:
		*(bool *)at = t == JSCAN_TRUE;
		return t == JSCAN_TRUE || t == JSCAN_FALSE;
	}
	return false;
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
		if (!read_value(&s, field_of(s.text, &next), &e))
			return false;
	if (t != JSCAN_OBJECT_END || jscan_next(&s) != JSCAN_END)
		return false;
	if (e.time.len != 24 || e.id.len == 0)
		return false;
	*out = e;
	return true;
}

/* ---------------------------------------------------------------- columns */

#define COLUMN(name, expr)                                                     \
	static struct str column_##name(const struct usage_entry *e)           \
	{                                                                      \
		return expr;                                                   \
	}

COLUMN(consumer, e->consumer)
COLUMN(team, e->team)
COLUMN(app, e->app)
COLUMN(agent, e->agent)
COLUMN(project, e->project)
COLUMN(operation, e->operation)
COLUMN(model, e->model)
COLUMN(deployment, e->deployment)
COLUMN(resource, e->resource)
COLUMN(day, str_first(e->time, 10))
COLUMN(month, str_first(e->time, 7))
COLUMN(hour, str_first(e->time, 13))

static const struct {
	struct str name;
	entry_column_fn *text;
} columns[] = {
	{STR_INIT("consumer"), column_consumer},
	{STR_INIT("team"), column_team},
	{STR_INIT("app"), column_app},
	{STR_INIT("agent"), column_agent},
	{STR_INIT("project"), column_project},
	{STR_INIT("operation"), column_operation},
	{STR_INIT("model"), column_model},
	{STR_INIT("deployment"), column_deployment},
	{STR_INIT("resource"), column_resource},
	{STR_INIT("hour"), column_hour},
	{STR_INIT("day"), column_day},
	{STR_INIT("month"), column_month},
};

entry_column_fn *entry_column(struct str name)
{
	size_t i;

	for (i = 0; i < sizeof(columns) / sizeof(*columns); i++)
		if (str_eq(columns[i].name, name))
			return columns[i].text;
	return NULL;
}

const char *entry_columns(void)
{
	return "consumer, team, app, agent, project, operation, model, "
	       "deployment, resource, hour, day, month";
}
