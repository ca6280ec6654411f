/*
 * decide/adapt: what must change in a body on its way upstream.
 *
 *   spans of api/scan + policy --fixes[]--> struct edit [] --> target.edits
 */
#include "decide/adapt.h"

#include "base/buf.h"
#include "decide/step.h"
#include "decide/verdict.h"

#include <assert.h>

enum {
	EDITS_MAX = SCAN_N_MEMBERS * 2, /* a member has a key and a value */
	TEXT_MAX = 2048,                /* of all edits: part of the ACK */
	VERSION_DATE = 10,              /* "2024-10-21" */
};

struct edit {
	uint32_t at, remove;
	struct str insert;
};

struct editor {
	struct request *r;
	const struct scan_result *scan;
	const struct policy_model *model;
	struct edit edits[EDITS_MAX]; /* in any order until the end */
	size_t n;
	uint32_t drops;   /* bit set of enum scan_member */
	struct str added; /* new members, each with a comma behind it */
};

static const struct scan_span *span_of(const struct editor *e,
                                       enum scan_member m)
{
	return &e->scan->spans[m];
}

static void edit(struct editor *e, uint32_t at, uint32_t end, struct str insert)
{
	assert(e->n < EDITS_MAX && end >= at);
	e->edits[e->n++] = (struct edit){at, end - at, insert};
}

static void set_value(struct editor *e, enum scan_member m, struct str value)
{
	edit(e, span_of(e, m)->value, span_of(e, m)->end, value);
}

static void add_member(struct editor *e, struct str key, struct str value)
{
	e->added = arena_fmt(&e->r->arena,
	                     "%" STR_FMT "\"%" STR_FMT "\":%" STR_FMT ",",
	                     STR_ARG(e->added), STR_ARG(key), STR_ARG(value));
}

static void drop(struct editor *e, enum scan_member m)
{
	if (span_of(e, m)->found)
		e->drops |= 1u << m;
}

static struct str quoted(struct editor *e, struct str s)
{
	char space[512];
	struct buf b = {.p = space, .cap = sizeof(space), .max = sizeof(space)};

	buf_json(&b, s);
	if (b.failed)
		e->r->arena.overflow = true; /* refuses the request */
	return arena_str(&e->r->arena, buf_str(&b));
}

/* ------------------------------------------------------------------ fixes */

static void name_model(struct editor *e)
{
	struct str name = e->r->target[0].deployment->name;

	if (!e->r->target[0].model_in_body || str_eq(e->scan->model, name))
		return;
	if (span_of(e, SCAN_MODEL)->found)
		set_value(e, SCAN_MODEL, quoted(e, name));
	else
		add_member(e, STR("model"), quoted(e, name));
}

/* Older versions of Azure OpenAI answer 400 to stream_options. */
static bool knows_stream_options(const struct request *r)
{
	struct str version =
		operations_query_get(r->target[0].query, STR("api-version"));
	const char *since;

	if (r->target[0].deployment->surface == SURFACE_V1)
		return true;
	if (r->target[0].deployment->surface != SURFACE_AZURE ||
	    version.len < VERSION_DATE)
		return false;
	since = version.len > VERSION_DATE ? "2024-09-01" : "2024-10-21";
	return memcmp(version.p, since, VERSION_DATE) >= 0;
}

static bool must_ask_usage(const struct editor *e)
{
	const struct scan_span *sources = span_of(e, SCAN_DATA_SOURCES);

	return e->r->call.api.operation == API_CHAT && e->scan->stream &&
	       !e->scan->include_usage && e->model->ask_usage &&
	       !(sources->found && !sources->null) &&
	       knows_stream_options(e->r);
}

static void ask_usage(struct editor *e)
{
	const struct scan_object *o = &e->scan->stream_options;
	const struct scan_span *span = span_of(e, SCAN_STREAM_OPTIONS);

	if (!must_ask_usage(e))
		return;
	e->r->target[0].strip_usage = true;
	if (!span->found)
		add_member(e, STR("stream_options"),
		           STR("{\"include_usage\":true}"));
	else if (span->null)
		set_value(e, SCAN_STREAM_OPTIONS,
		          STR("{\"include_usage\":true}"));
	else if (span_of(e, SCAN_INCLUDE_USAGE)->found)
		set_value(e, SCAN_INCLUDE_USAGE, STR("true"));
	else
		edit(e, o->inside, o->inside,
		     o->n_members > 0 ? STR("\"include_usage\":true,")
		                      : STR("\"include_usage\":true"));
}

/* The member that limits the output of this operation upstream; none for
 * those that have no such limit. */
static enum scan_member limit_member(const struct editor *e)
{
	switch (e->r->call.api.operation) {
	case API_CHAT:
		return e->model->adapt.max_tokens == ADAPT_MAX_TOKENS
		               ? SCAN_MAX_TOKENS
		               : SCAN_MAX_COMPLETION_TOKENS;
	case API_COMPLETIONS:
	case API_MESSAGES:
		return SCAN_MAX_TOKENS;
	case API_RESPONSES:
		return SCAN_MAX_OUTPUT_TOKENS;
	default:
		return SCAN_N_MEMBERS;
	}
}

static void rename_limit(struct editor *e)
{
	enum scan_member to = limit_member(e), from = SCAN_MAX_TOKENS;

	if (e->r->call.api.operation != API_CHAT ||
	    e->model->adapt.max_tokens == ADAPT_KEEP)
		return;
	if (to == SCAN_MAX_TOKENS)
		from = SCAN_MAX_COMPLETION_TOKENS;
	if (!span_of(e, from)->found)
		return;
	if (span_of(e, to)->found)
		drop(e, from);
	else
		edit(e, span_of(e, from)->key, span_of(e, from)->key_end,
		     quoted(e, scan_member_names[to]));
}

static void cap_limit(struct editor *e)
{
	static const enum scan_member limits[] = {SCAN_MAX_TOKENS,
	                                          SCAN_MAX_COMPLETION_TOKENS,
	                                          SCAN_MAX_OUTPUT_TOKENS};
	uint64_t cap = e->model->adapt.cap_output_tokens;
	enum scan_member member = limit_member(e);
	bool found = false;
	struct str value;

	if (cap == 0 || member == SCAN_N_MEMBERS)
		return;
	value = arena_fmt(&e->r->arena, "%llu", (unsigned long long)cap);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const struct scan_span *span = span_of(e, limits[i]);

		if (!span->found || (e->drops >> limits[i] & 1))
			continue;
		found = true;
		if (span->null || span->number > cap)
			set_value(e, limits[i], value);
	}
	if (!found)
		add_member(e, scan_member_names[member], value);
}

static void map_effort(struct editor *e)
{
	const struct policy_words *words = &e->model->adapt.reasoning_effort;

	if (e->r->call.api.operation != API_CHAT ||
	    e->scan->reasoning_effort.len == 0)
		return;
	for (size_t i = 0; i < words->n; i++) {
		if (!str_eq(words->v[i].from, e->scan->reasoning_effort))
			continue;
		if (words->v[i].to.len == 0)
			drop(e, SCAN_REASONING_EFFORT);
		else
			set_value(e, SCAN_REASONING_EFFORT,
			          quoted(e, words->v[i].to));
	}
}

static void drop_members(struct editor *e)
{
	unsigned m;

	for (m = SCAN_FIRST_DROPPABLE; m < SCAN_N_MEMBERS; m++)
		if (e->model->adapt.drop >> m & 1)
			drop(e, (enum scan_member)m);
}

static void (*const fixes[])(struct editor *e) = {
	name_model, ask_usage,  rename_limit,
	cap_limit,  map_effort, drop_members,
};

/* -------------------------------------------------------- drops and order */

/* The member that goes and stands first in the body, of those from `after`
 * on; NULL when there is none. */
static const struct scan_span *next_drop(const struct editor *e, unsigned after)
{
	const struct scan_span *first = NULL;
	unsigned m;

	for (m = 0; m < SCAN_N_MEMBERS; m++) {
		const struct scan_span *s = &e->scan->spans[m];

		if ((e->drops >> m & 1) && s->index >= after &&
		    (!first || s->index < first->index))
			first = s;
	}
	return first;
}

/* With a member goes the comma before it; with the first ones, which have
 * none before them, the comma behind. Returns how many went. */
static unsigned take_out(struct editor *e)
{
	const struct scan_span *s = next_drop(e, 0);
	unsigned n = 0, leading = 0;

	for (; s; s = next_drop(e, s->index + 1), n++) {
		if (s->index == leading) {
			leading++;
			edit(e, s->key, s->next > 0 ? s->next : s->end,
			     STR_NONE);
		} else {
			edit(e, s->prev_end, s->end, STR_NONE);
		}
	}
	return n;
}

/* New members stand first in the body. */
static void put_in(struct editor *e, unsigned n_dropped)
{
	struct str s = e->added;

	if (s.len == 0)
		return;
	if (e->scan->top.n_members == n_dropped)
		s = str_first(s, s.len - 1); /* nothing behind the comma */
	edit(e, e->scan->top.inside, e->scan->top.inside, s);
}

/* By place; an insertion before the removal that begins there. */
static bool before(const struct edit *a, const struct edit *b)
{
	return a->at != b->at ? a->at < b->at : a->remove < b->remove;
}

static void sort(struct editor *e)
{
	for (size_t i = 1; i < e->n; i++) {
		struct edit x = e->edits[i];
		size_t j = i;

		for (; j > 0 && before(&x, &e->edits[j - 1]); j--)
			e->edits[j] = e->edits[j - 1];
		e->edits[j] = x;
	}
}

/* ----------------------------------------------------------------- result */

/* "AT,REMOVE,LENGTH:INSERT" again and again, as lua/edits.lua reads it. */
static bool write_edits(struct editor *e)
{
	struct request_target *t = &e->r->target[0];
	uint64_t length = e->r->facts.body_len;
	char space[TEXT_MAX];
	struct buf b = {.p = space, .cap = sizeof(space), .max = sizeof(space)};

	for (size_t i = 0; i < e->n; i++) {
		const struct edit *x = &e->edits[i];

		buf_fmt(&b, "%u,%u,%zu:", (unsigned)x->at, (unsigned)x->remove,
		        x->insert.len);
		buf_add_str(&b, x->insert);
		length += x->insert.len;
		length -= x->remove;
	}
	t->edits = arena_str(&e->r->arena, buf_str(&b));
	t->edited_length = length;
	t->n_edits = (unsigned)e->n;
	return !b.failed && !e->r->arena.overflow;
}

enum step_result decide_adapt(struct request *r)
{
	struct editor e = {
		.r = r, .scan = &r->facts.scan, .model = r->call.model};
	size_t i;

	if (!r->call.model || !r->target[0].deployment ||
	    !adapt_possible(&r->facts))
		return STEP_NEXT;
	for (i = 0; i < sizeof(fixes) / sizeof(fixes[0]); i++)
		fixes[i](&e);
	put_in(&e, take_out(&e));
	if (e.n == 0)
		return STEP_NEXT;
	sort(&e);
	if (!write_edits(&e))
		return verdict_deny(r, DENY_WORKSPACE, NULL);
	/* the filter that makes the edits is in s.NAME only */
	r->target[0].backend = arena_fmt(&r->arena, "s.%" STR_FMT,
	                                 STR_ARG(r->target[0].resource->name));
	return STEP_NEXT;
}
