/*
 * decide/adapt: what must change in a body on its way upstream.
 *
 *   api/scan: spans --adp_fixes[]--> edits[]  values replaced, keys renamed
 *   policy: adapt                    drops    members that go
 *                                    added    members that come
 *                                      |
 *             adp_remove_dropped, adp_insert_added, adp_sort_edits
 *                                      |
 *                      adp_write_edits v  target[0].edits --ACK-->
 * lua/edits.lua
 *
 * The spans are those of the body as it came, so an edit never has to know of
 * another one. Removing and inserting members come last, because their commas
 * depend on which other members stay.
 *
 * All edits are of whole values, keys or members outside of strings, so what
 * was valid JSON stays valid JSON: inserted text comes from the configuration
 * or from here, and is quoted.
 */
#include "decide/adapt.h"

#include "base/buf.h"
#include "decide/step.h"
#include "decide/verdict.h"

#include <assert.h>

enum {
	/* Each fix edits a member at most once: its key (rename) or its value.
	 * The two of a member and the insertion fit with room to spare. */
	EDITS_MAX = SCAN_N_MEMBERS * 2,
	/* Bytes of all edits as text. They travel in the ACK, of which 20 must
	 * fit HAProxy's buffer (haproxy.md 0.11). More is DENY_WORKSPACE. */
	TEXT_MAX = 2048,
	VERSION_DATE = 10, /* bytes of "2024-10-21" */
};

struct edit {
	uint32_t at, remove; /* bytes, in the body as the client sent it */
	struct str insert;
};

/* The edits of one request while they are collected; on the stack. */
struct editor {
	struct request *r;
	const struct scan_result *scan;
	const struct policy_model *model; /* r->call.model: not NULL */
	struct edit edits[EDITS_MAX];     /* in any order until the end */
	size_t n;
	uint32_t drops;   /* bit set of enum scan_member */
	struct str added; /* new members, each followed by a comma */
};

static const struct scan_span *adp_span(const struct editor *e,
                                        enum scan_member m)
{
	return &e->scan->spans[m];
}

/* Replace the bytes from `at` up to `end`; insert when they are the same. */
static void adp_add_edit(struct editor *e, uint32_t at, uint32_t end,
                         struct str insert)
{
	assert(e->n < EDITS_MAX && end >= at);
	e->edits[e->n++] = (struct edit){at, end - at, insert};
}

static void adp_replace_value(struct editor *e, enum scan_member m,
                              struct str value)
{
	adp_add_edit(e, adp_span(e, m)->value, adp_span(e, m)->end, value);
}

static void adp_add_member(struct editor *e, struct str key, struct str value)
{
	e->added = arena_fmt(&e->r->arena,
	                     "%" STR_FMT "\"%" STR_FMT "\":%" STR_FMT ",",
	                     STR_ARG(e->added), STR_ARG(key), STR_ARG(value));
}

/* The member goes. A bit and not an edit yet, because two fixes may drop the
 * same one, and because of the commas (adp_remove_dropped). */
static void adp_mark_dropped(struct editor *e, enum scan_member m)
{
	if (adp_span(e, m)->found)
		e->drops |= 1u << m;
}

/* As a JSON string, in the arena. */
static struct str adp_quote(struct editor *e, struct str s)
{
	char space[512];
	struct buf b = {.p = space, .cap = sizeof(space), .max = sizeof(space)};

	buf_json(&b, s);
	if (b.failed)
		e->r->arena.overflow = true; /* becomes DENY_WORKSPACE */
	return arena_str(&e->r->arena, buf_str(&b));
}

/* ------------------------------------------------------------------ fixes */

/* What runs must be what was authorized: the upstream reads `model` from the
 * body, and the client may have written the public name or an alias there, or
 * the name of the deployment in the path alone. */
static void adp_name_model(struct editor *e)
{
	struct str name = e->r->target[0].deployment->name;

	if (!e->r->target[0].model_in_body || str_eq(e->scan->model, name))
		return;
	if (adp_span(e, SCAN_MODEL)->found)
		adp_replace_value(e, SCAN_MODEL, adp_quote(e, name));
	else
		adp_add_member(e, STR("model"), adp_quote(e, name));
}

/* Older API versions of Azure OpenAI answer 400 to stream_options (azure.md
 * 4.9). The first good ones are the preview of 2024-09-01 and the release of
 * 2024-10-21; a preview is longer than a date ("2024-09-01-preview"). The v1
 * API has no version. */
static bool adp_knows_stream_options(const struct request *r)
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

/* A chat stream reports its usage only when it is asked to (azure.md 4.7). With
 * `data_sources` (On Your Data) Azure refuses the question (azure.md 4.9). */
static bool adp_must_ask_usage(const struct editor *e)
{
	const struct scan_span *sources = adp_span(e, SCAN_DATA_SOURCES);

	return e->r->call.api.operation == API_CHAT && e->scan->stream &&
	       !e->scan->include_usage && e->model->ask_usage &&
	       !(sources->found && !sources->null) &&
	       adp_knows_stream_options(e->r);
}

/* Four forms of the body: no stream_options, null, without include_usage, and
 * with include_usage false or null. */
static void adp_ask_usage(struct editor *e)
{
	const struct scan_object *o = &e->scan->stream_options;
	const struct scan_span *span = adp_span(e, SCAN_STREAM_OPTIONS);

	if (!adp_must_ask_usage(e))
		return;
	e->r->target[0].strip_usage = true;
	if (!span->found)
		adp_add_member(e, STR("stream_options"),
		               STR("{\"include_usage\":true}"));
	else if (span->null)
		adp_replace_value(e, SCAN_STREAM_OPTIONS,
		                  STR("{\"include_usage\":true}"));
	else if (adp_span(e, SCAN_INCLUDE_USAGE)->found)
		adp_replace_value(e, SCAN_INCLUDE_USAGE, STR("true"));
	else
		adp_add_edit(e, o->inside, o->inside,
		             o->n_members > 0 ? STR("\"include_usage\":true,")
		                              : STR("\"include_usage\":true"));
}

/* The member that limits the output of this operation upstream; SCAN_N_MEMBERS
 * for operations that have no such limit. */
static enum scan_member adp_limit_member(const struct editor *e)
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

/* Reasoning models know max_completion_tokens only, some others max_tokens
 * only; the operator says which. Where the client sent both, the one that the
 * model knows stays. */
static void adp_rename_limit(struct editor *e)
{
	enum scan_member to = adp_limit_member(e), from = SCAN_MAX_TOKENS;

	if (e->r->call.api.operation != API_CHAT ||
	    e->model->adapt.max_tokens == ADAPT_KEEP)
		return;
	if (to == SCAN_MAX_TOKENS)
		from = SCAN_MAX_COMPLETION_TOKENS;
	if (!adp_span(e, from)->found)
		return;
	if (adp_span(e, to)->found)
		adp_mark_dropped(e, from);
	else
		adp_add_edit(e, adp_span(e, from)->key,
		             adp_span(e, from)->key_end,
		             adp_quote(e, scan_member_names[to]));
}

/* No more output than the operator allows: every limit that the client gave is
 * lowered, and where it gave none that stays, one is added. decide/estimate
 * counts with the same cap. */
static void adp_cap_limit(struct editor *e)
{
	static const enum scan_member limits[] = {SCAN_MAX_TOKENS,
	                                          SCAN_MAX_COMPLETION_TOKENS,
	                                          SCAN_MAX_OUTPUT_TOKENS};
	uint64_t cap = e->model->adapt.cap_output_tokens;
	enum scan_member member = adp_limit_member(e);
	bool found = false;
	struct str value;

	if (cap == 0 || member == SCAN_N_MEMBERS)
		return;
	value = arena_fmt(&e->r->arena, "%llu", (unsigned long long)cap);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const struct scan_span *span = adp_span(e, limits[i]);

		if (!span->found || (e->drops >> limits[i] & 1))
			continue;
		found = true;
		if (span->null || span->number > cap)
			adp_replace_value(e, limits[i], value);
	}
	if (!found)
		adp_add_member(e, scan_member_names[member], value);
}

/* Words of reasoning_effort that this model does not know become others, or the
 * member goes. */
static void adp_map_effort(struct editor *e)
{
	const struct policy_words *words = &e->model->adapt.reasoning_effort;

	if (e->r->call.api.operation != API_CHAT ||
	    e->scan->reasoning_effort.len == 0)
		return;
	for (size_t i = 0; i < words->n; i++) {
		if (!str_eq(words->v[i].from, e->scan->reasoning_effort))
			continue;
		if (words->v[i].to.len == 0)
			adp_mark_dropped(e, SCAN_REASONING_EFFORT);
		else
			adp_replace_value(e, SCAN_REASONING_EFFORT,
			                  adp_quote(e, words->v[i].to));
	}
}

static void adp_drop_members(struct editor *e)
{
	unsigned m;

	for (m = SCAN_FIRST_DROPPABLE; m < SCAN_N_MEMBERS; m++)
		if (e->model->adapt.drop >> m & 1)
			adp_mark_dropped(e, (enum scan_member)m);
}

/* In this order: a limit that adp_rename_limit has dropped does not count for
 * adp_cap_limit. */
static void (*const adp_fixes[])(struct editor *e) = {
	adp_name_model, adp_ask_usage,  adp_rename_limit,
	adp_cap_limit,  adp_map_effort, adp_drop_members,
};

/* -------------------------------------------------------- drops and order */

/* Of the dropped members at position `after` or behind it the one that is first
 * in the body; NULL when there is none. */
static const struct scan_span *adp_next_dropped(const struct editor *e,
                                                unsigned after)
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

/* A dropped member takes the comma before it along. Those at the beginning of
 * the object have none before them and take the one behind:
 *
 *   {"a":1, "b":2, "c":3}   without b  {"a":1, "c":3}
 *                           without a  {"b":2, "c":3}
 *
 * Returns how many were dropped. */
static unsigned adp_remove_dropped(struct editor *e)
{
	const struct scan_span *s = adp_next_dropped(e, 0);
	unsigned n = 0, leading = 0;

	for (; s; s = adp_next_dropped(e, s->index + 1), n++) {
		if (s->index == leading) { /* so were all before it */
			leading++;
			adp_add_edit(e, s->key, s->next > 0 ? s->next : s->end,
			             STR_NONE);
		} else {
			adp_add_edit(e, s->prev_end, s->end, STR_NONE);
		}
	}
	return n;
}

/* New members come first in the body, because the place behind its brace is
 * known, and each ends with a comma for the member behind it. */
static void adp_insert_added(struct editor *e, unsigned n_dropped)
{
	struct str s = e->added;

	if (s.len == 0)
		return;
	if (e->scan->top.n_members == n_dropped)
		s = str_first(s, s.len - 1); /* nothing behind the comma */
	adp_add_edit(e, e->scan->top.inside, e->scan->top.inside, s);
}

/* By place; an insertion comes before the removal that begins there. */
static bool adp_precedes(const struct edit *a, const struct edit *b)
{
	return a->at != b->at ? a->at < b->at : a->remove < b->remove;
}

/* By insertion: there are a handful. */
static void adp_sort_edits(struct editor *e)
{
	for (size_t i = 1; i < e->n; i++) {
		struct edit x = e->edits[i];
		size_t j = i;

		for (; j > 0 && adp_precedes(&x, &e->edits[j - 1]); j--)
			e->edits[j] = e->edits[j - 1];
		e->edits[j] = x;
	}
}

/* ----------------------------------------------------------------- result */

/* "AT,REMOVE,LENGTH:INSERT" for each edit, ascending, without a separator: the
 * format that lua/edits.lua reads. And the Content-Length that the edited body
 * will have, because HAProxy sends it before the body. False: does not fit. */
static bool adp_write_edits(struct editor *e)
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
	for (i = 0; i < sizeof(adp_fixes) / sizeof(adp_fixes[0]); i++)
		adp_fixes[i](&e);
	adp_insert_added(&e, adp_remove_dropped(&e));
	if (e.n == 0)
		return STEP_NEXT;
	adp_sort_edits(&e);
	if (!adp_write_edits(&e))
		return verdict_deny(r, DENY_WORKSPACE, NULL);
	/* the Lua filter that makes the edits is in the backends s.NAME only */
	r->target[0].backend = arena_fmt(&r->arena, "s.%" STR_FMT,
	                                 STR_ARG(r->target[0].resource->name));
	return STEP_NEXT;
}
