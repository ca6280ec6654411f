/*
 * api_responses: the Responses API, and embeddings.
 *
 * Every event has an `event:` line and a sequence_number; there is no [DONE].
 * Usage stands only in the last event, inside `response`.
 */
#include "ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "objects.h"

enum phase {
	CREATED = 0,
	IN_PROGRESS = 1,
	ITEM_ADDED = 2,
	PART_ADDED = 3,
	DELTA = 4,
	TEXT_DONE = 5,
	PART_DONE = 6,
	ITEM_DONE = 7,
	COMPLETED = 8,
	OVER = 9,
};

static void part_json(const struct ask *a, bool full, struct sb *out)
{
	sb_lit(out, "{\"type\":\"output_text\",\"text\":\"");
	if (full)
		ask_said(a, out);
	sb_lit(out, "\",\"annotations\":[]}");
}

static void item_json(const struct ask *a, bool full, struct sb *out)
{
	sb_fmt(out,
	       "{\"id\":\"msg_%s\",\"type\":\"message\",\"status\":\"%s\","
	       "\"role\":\"assistant\",\"content\":[",
	       a->id, full ? "completed" : "in_progress");
	if (full)
		part_json(a, true, out);
	sb_lit(out, "]}");
}

static void usage_json(const struct ask *a, struct sb *out)
{
	long total = ask_total(a);

	sb_fmt(out,
	       "{\"input_tokens\":%ld,\"input_tokens_details\":"
	       "{\"cached_tokens\":%ld},\"output_tokens\":%ld,"
	       "\"output_tokens_details\":{\"reasoning_tokens\":%ld},"
	       "\"total_tokens\":%ld}",
	       a->prompt_tokens, a->cached_tokens, total, a->reasoning_tokens,
	       a->prompt_tokens + total);
}

/* The response object; `status` NULL while it is in progress. */
static void response_json(const struct ask *a, const char *status,
                          struct sb *out)
{
	bool failed = status != NULL && strcmp(status, "failed") == 0;
	bool queued = status != NULL && strcmp(status, "queued") == 0;
	bool full = status != NULL && !failed && !queued;

	sb_fmt(out,
	       "{\"id\":\"resp_%s\",\"object\":\"response\",\"created_at\":"
	       "%lld,\"status\":\"%s\",\"background\":false,"
	       "\"content_filters\":%s,\"error\":%s,"
	       "\"incomplete_details\":%s,\"instructions\":null,"
	       "\"max_output_tokens\":",
	       a->id, (long long)a->created, status ? status : "in_progress",
	       full ? "[{\"blocked\":false,\"source_type\":\"prompt\","
	              "\"content_filter_raw\":[],\"content_filter_"
	              "results\":" FILTERS_SAFE ",\"content_filter_offsets\":"
	              "{\"start_offset\":0,\"end_offset\":0,"
	              "\"check_offset\":0}}]"
	            : "null",
	       failed ? "{\"code\":\"server_error\",\"message\":\"The model "
	                "failed to generate a response.\"}"
	              : "null",
	       full && a->cut_short ? "{\"reason\":\"max_output_tokens\"}"
	                            : "null");
	if (a->max_tokens >= 0)
		sb_fmt(out, "%ld", a->max_tokens);
	else
		sb_lit(out, "null");
	sb_lit(out, ",\"model\":");
	sb_json(out, a->model.p, a->model.len);
	sb_lit(out, ",\"output\":[");
	if (full)
		item_json(a, true, out);
	sb_fmt(out,
	       "],\"parallel_tool_calls\":true,\"previous_response_id\":null,"
	       "\"reasoning\":{\"effort\":null,\"summary\":null},"
	       "\"service_tier\":\"%s\",\"store\":true,\"temperature\":1.0,"
	       "\"text\":{\"format\":{\"type\":\"text\"}},"
	       "\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,"
	       "\"truncation\":\"disabled\",\"usage\":",
	       full ? "default" : "auto");
	if (full)
		usage_json(a, out);
	else
		sb_lit(out, "null");
	sb_lit(out, ",\"user\":null,\"metadata\":");
	sb_add(out, a->metadata.p, a->metadata.len);
	sb_lit(out, "}");
}

static void begin(struct ask *a, const char *type, struct sb *out)
{
	sb_fmt(out,
	       "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%ld,",
	       type, type, a->sequence++);
}

static void response_event(struct ask *a, const char *type, const char *status,
                           struct sb *out)
{
	begin(a, type, out);
	sb_lit(out, "\"response\":");
	response_json(a, status, out);
	sb_lit(out, "}\n\n");
}

static void item_event(struct ask *a, bool done, struct sb *out)
{
	begin(a,
	      done ? "response.output_item.done" : "response.output_item.added",
	      out);
	sb_lit(out, "\"output_index\":0,\"item\":");
	item_json(a, done, out);
	sb_lit(out, "}\n\n");
}

static void place(const struct ask *a, struct sb *out)
{
	sb_fmt(out,
	       "\"item_id\":\"msg_%s\",\"output_index\":0,"
	       "\"content_index\":0,",
	       a->id);
}

static void part_event(struct ask *a, bool done, struct sb *out)
{
	begin(a,
	      done ? "response.content_part.done"
	           : "response.content_part.added",
	      out);
	place(a, out);
	sb_lit(out, "\"part\":");
	part_json(a, done, out);
	sb_lit(out, "}\n\n");
}

static void delta_event(struct ask *a, struct sb *out)
{
	size_t len;
	const char *p = ask_piece(a, a->step, &len);

	begin(a, "response.output_text.delta", out);
	place(a, out);
	sb_lit(out, "\"delta\":");
	sb_json(out, p, len);
	if (a->obfuscate) {
		sb_lit(out, ",\"obfuscation\":\"");
		sb_rnd_alnum(out, 1 + (size_t)(rnd() % 16));
		sb_lit(out, "\"");
	}
	sb_lit(out, "}\n\n");
}

static void text_done_event(struct ask *a, struct sb *out)
{
	begin(a, "response.output_text.done", out);
	place(a, out);
	sb_lit(out, "\"text\":\"");
	ask_said(a, out);
	sb_lit(out, "\"}\n\n");
}

/* Usage is told in this event and nowhere before it. */
static void last_event(struct exchange *x, struct sb *out)
{
	struct ask *a = x->ask;

	if (a->cut_short)
		response_event(a, "response.incomplete", "incomplete", out);
	else
		response_event(a, "response.completed", "completed", out);
	x->usage.completion = ask_total(a);
	x->usage.told = true;
}

static bool responses_next(struct exchange *x, struct sb *out)
{
	struct ask *a = x->ask;

	if (a->phase == OVER)
		return false;
	if (x->stream.n_events == x->effect.fail_after_events) {
		response_event(a, "response.failed", "failed", out);
		a->phase = OVER;
		return true;
	}
	switch ((enum phase)a->phase) {
	case CREATED:
		response_event(a, "response.created", NULL, out);
		break;
	case IN_PROGRESS:
		response_event(a, "response.in_progress", NULL, out);
		break;
	case ITEM_ADDED:
	case ITEM_DONE:
		item_event(a, a->phase == ITEM_DONE, out);
		break;
	case PART_ADDED:
	case PART_DONE:
		part_event(a, a->phase == PART_DONE, out);
		break;
	case DELTA:
		delta_event(a, out);
		x->usage.completion++;
		if (++a->step < a->completion_tokens)
			return true;
		break;
	case TEXT_DONE:
		text_done_event(a, out);
		break;
	case COMPLETED:
		last_event(x, out);
		break;
	case OVER:
		return false;
	}
	a->phase++;
	if (a->phase == DELTA && a->completion_tokens == 0)
		a->phase = TEXT_DONE;
	return true;
}

/* For those who ask for it by its id. In the background it is not ready when
 * it is asked for the first time. */
static void keep(struct exchange *x)
{
	struct ask *a = x->ask;
	struct sb json = {0}, waiting = {0};
	char id[80];

	snprintf(id, sizeof(id), "resp_%s", a->id);
	response_json(a, a->cut_short ? "incomplete" : "completed", &json);
	if (objects_flag(x, "background"))
		response_json(a, NULL, &waiting);
	objects_keep(x, id, &json, waiting.len > 0 ? &waiting : NULL);
}

void api_responses(struct exchange *x)
{
	struct ask *a = x->ask;
	struct sb out = {0};

	objects_digits(x, a->id);
	keep(x);
	if (a->stream) {
		http_stream(x, responses_next);
		return;
	}
	if (objects_flag(x, "background")) {
		response_json(a, "queued", &out);
		http_answer(x, 200, "application/json", &out);
		return;
	}
	response_json(a, a->cut_short ? "incomplete" : "completed", &out);
	x->usage.completion = ask_total(a);
	x->usage.told = true;
	http_answer(x, 200, "application/json", &out);
}

/* ---- embeddings ---- */

static void vector(const struct ask *a, long input, struct sb *out)
{
	if (a->base64) {
		size_t len = (size_t)a->dims * sizeof(float);
		float *v = xmalloc(len);

		for (long i = 0; i < a->dims; i++)
			v[i] = (float)(input + 1) / (float)(i + 2);
		sb_lit(out, "\"");
		sb_b64(out, v, len);
		sb_lit(out, "\"");
		free(v);
		return;
	}
	sb_lit(out, "[");
	for (long i = 0; i < a->dims; i++)
		sb_fmt(out, "%s%.8f", i ? "," : "",
		       (double)(input + 1) / (double)(i + 2));
	sb_lit(out, "]");
}

void api_embeddings(struct exchange *x)
{
	const struct ask *a = x->ask;
	struct sb out = {0};

	sb_lit(&out, "{\"object\":\"list\",\"data\":[");
	for (long i = 0; i < a->inputs; i++) {
		sb_fmt(&out,
		       "%s{\"object\":\"embedding\",\"index\":%ld,"
		       "\"embedding\":",
		       i ? "," : "", i);
		vector(a, i, &out);
		sb_lit(&out, "}");
	}
	sb_lit(&out, "],\"model\":");
	sb_json(&out, a->model.p, a->model.len);
	sb_fmt(&out, ",\"usage\":{\"prompt_tokens\":%ld,\"total_tokens\":%ld}}",
	       a->prompt_tokens, a->prompt_tokens);
	x->usage.told = true;
	http_answer(x, 200, "application/json", &out);
}
