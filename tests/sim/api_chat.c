/*
 * api_chat: chat completions and completions, in Azure's bytes.
 *
 * Members stand in alphabetical order, so `usage` is last. A stream starts
 * with an event without choices that carries the prompt's filter results and
 * ends with [DONE]; usage comes only when it was asked for.
 */
#include <stdio.h>

#include "ask.h"

#define FINGERPRINT "fp_efad92c60b"

enum phase {
	PROMPT_FILTERS = 0,
	ROLE = 1,
	CONTENT = 2,
	FINISH = 3,
	USAGE = 4,
	DONE = 5,
	OVER = 6,
};

static const char *finish_reason(const struct ask *a)
{
	if (a->tool != NULL)
		return "tool_calls";
	return a->cut_short ? "length" : "stop";
}

static void usage_json(const struct ask *a, struct sb *out)
{
	long total = ask_total(a);

	sb_fmt(out,
	       "{\"completion_tokens\":%ld,\"completion_tokens_details\":"
	       "{\"accepted_prediction_tokens\":0,\"audio_tokens\":0,"
	       "\"reasoning_tokens\":%ld,\"rejected_prediction_tokens\":0},"
	       "\"prompt_tokens\":%ld,\"prompt_tokens_details\":"
	       "{\"audio_tokens\":0,\"cached_tokens\":%ld},"
	       "\"total_tokens\":%ld}",
	       total, a->reasoning_tokens, a->prompt_tokens, a->cached_tokens,
	       a->prompt_tokens + total);
}

/* What stands behind the choices of every event. `pad`: characters that hide
 * the length of the text; usage is null only where usage was asked for. */
static void tail(const struct ask *a, size_t pad, bool usage, struct sb *out)
{
	sb_fmt(out, "],\"created\":%lld,\"id\":\"chatcmpl-%s\",\"model\":",
	       (long long)a->created, a->id);
	sb_json(out, a->model.p, a->model.len);
	if (a->obfuscate) {
		sb_lit(out, ",\"obfuscation\":\"");
		sb_rnd_alnum(out, pad);
		sb_lit(out, "\"");
	}
	sb_lit(out, ",\"object\":\"chat.completion.chunk\","
	            "\"system_fingerprint\":\"" FINGERPRINT "\"");
	if (usage) {
		sb_lit(out, ",\"usage\":");
		usage_json(a, out);
	} else if (a->include_usage) {
		sb_lit(out, ",\"usage\":null");
	}
	sb_lit(out, "}\n\n");
}

static void choice(struct sb *out, const char *filters, const char *delta,
                   size_t delta_len, const char *finish, long index)
{
	sb_fmt(out,
	       "data: {\"choices\":[{\"content_filter_results\":%s,"
	       "\"delta\":",
	       filters);
	sb_add(out, delta, delta_len);
	sb_fmt(out, ",\"finish_reason\":%s,\"index\":%ld,\"logprobs\":null}",
	       finish, index);
}

static void role_event(const struct ask *a, long index, struct sb *out)
{
	static const char text[] = "{\"content\":\"\",\"refusal\":null,"
				   "\"role\":\"assistant\"}";
	static const char tool[] = "{\"content\":null,\"refusal\":null,"
				   "\"role\":\"assistant\"}";

	if (a->tool != NULL)
		choice(out, "{}", tool, sizeof(tool) - 1, "null", index);
	else
		choice(out, "{}", text, sizeof(text) - 1, "null", index);
	tail(a, 2, false, out);
}

/* One token of one choice. A tool call first says its name, then its
 * arguments in pieces. */
static void content_event(const struct ask *a, struct sb *out)
{
	long token = a->step / a->n;
	struct sb delta = {0};
	size_t len;
	const char *p = ask_piece(a, token, &len);

	if (a->tool != NULL && token == 0) {
		sb_fmt(&delta,
		       "{\"tool_calls\":[{\"function\":{\"arguments\":\"\","
		       "\"name\":\"%s\"},\"id\":\"call_%.24s\",\"index\":0,"
		       "\"type\":\"function\"}]}",
		       a->tool, a->id);
	} else if (a->tool != NULL) {
		sb_fmt(&delta,
		       "{\"tool_calls\":[{\"function\":{\"arguments\":"
		       "\"%s\"},\"index\":0}]}",
		       token == 1 ? "{}" : " ");
	} else {
		sb_lit(&delta, "{\"content\":");
		sb_json(&delta, p, len);
		sb_lit(&delta, "}");
	}
	choice(out, a->tool ? "{}" : FILTERS_SAFE, delta.p, delta.len, "null",
	       a->step % a->n);
	tail(a, 1 + (size_t)(rnd() % 16), false, out);
	sb_free(&delta);
}

static void finish_event(const struct ask *a, long index, struct sb *out)
{
	char reason[16];

	snprintf(reason, sizeof(reason), "\"%s\"", finish_reason(a));
	choice(out, "{}", "{}", 2, reason, index);
	tail(a, 14, false, out);
}

/* The asynchronous filter's word on what was said already: a choice without
 * a delta, here with the blank at the end of the line as documented. It comes
 * behind finish_reason: that is not the end of a stream. */
static void annotation_event(const struct ask *a, struct sb *out)
{
	struct sb said = {0};

	ask_said(a, &said);
	sb_fmt(out,
	       "data: {\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":"
	       "\"\",\"choices\":[{\"index\":0,\"finish_reason\":null,"
	       "\"content_filter_results\":" FILTERS_SAFE ","
	       "\"content_filter_offsets\":{\"check_offset\":%zu,"
	       "\"start_offset\":0,\"end_offset\":%zu}}],\"usage\":null} \n\n",
	       said.len, said.len);
	sb_free(&said);
}

static bool failed(struct exchange *x, struct sb *out)
{
	if (x->stream.n_events != x->effect.fail_after_events)
		return false;
	sb_lit(out, "data: {\"error\":{\"message\":\"The server had an error "
	            "while processing your request. Sorry about that!\","
	            "\"type\":\"server_error\",\"param\":null,"
	            "\"code\":null}}\n\n");
	x->ask->phase = OVER;
	return true;
}

static bool next_phase(struct ask *a, long steps)
{
	if (++a->step < steps)
		return false;
	a->step = 0;
	a->phase++;
	return true;
}

static bool chat_next(struct exchange *x, struct sb *out)
{
	struct ask *a = x->ask;

	if (a->phase != OVER && failed(x, out))
		return true;
	switch ((enum phase)a->phase) {
	case PROMPT_FILTERS:
		sb_lit(out, "data: {\"choices\":[],\"created\":0,\"id\":\"\","
		            "\"model\":\"\",\"object\":\"\","
		            "\"prompt_filter_results\":" PROMPT_FILTERS_SAFE
		            "}\n\n");
		next_phase(a, 1);
		return true;
	case ROLE:
		role_event(a, a->step, out);
		if (next_phase(a, a->n) && a->completion_tokens == 0)
			a->phase = FINISH;
		return true;
	case CONTENT:
		content_event(a, out);
		x->usage.completion++;
		next_phase(a, a->completion_tokens * a->n);
		return true;
	case FINISH:
		finish_event(a, a->step, out);
		if (!next_phase(a, a->n))
			return true;
		x->usage.completion = ask_total(a);
		if (a->filters)
			annotation_event(a, out);
		if (!a->include_usage)
			a->phase = DONE;
		return true;
	case USAGE:
		sb_lit(out, "data: {\"choices\":[");
		tail(a, 0, true, out);
		x->usage.told = true;
		next_phase(a, 1);
		return true;
	case DONE:
		sb_lit(out, "data: [DONE]\n\n");
		next_phase(a, 1);
		return true;
	case OVER:
		break;
	}
	return false;
}

static void whole_message(const struct ask *a, struct sb *out)
{
	if (a->tool != NULL) {
		sb_fmt(out,
		       "{\"annotations\":[],\"content\":null,\"refusal\":null,"
		       "\"role\":\"assistant\",\"tool_calls\":[{\"function\":"
		       "{\"arguments\":\"{}\",\"name\":\"%s\"},"
		       "\"id\":\"call_%.24s\",\"type\":\"function\"}]}",
		       a->tool, a->id);
		return;
	}
	sb_lit(out, "{\"annotations\":[],\"content\":\"");
	ask_said(a, out);
	sb_lit(out, "\",\"refusal\":null,\"role\":\"assistant\"}");
}

static void chat_whole(struct exchange *x)
{
	const struct ask *a = x->ask;
	struct sb out = {0};

	sb_lit(&out, "{\"choices\":[");
	for (long i = 0; i < a->n; i++) {
		sb_fmt(&out,
		       "%s{\"content_filter_results\":" FILTERS_SAFE ","
		       "\"finish_reason\":\"%s\",\"index\":%ld,"
		       "\"logprobs\":null,\"message\":",
		       i ? "," : "", finish_reason(a), i);
		whole_message(a, &out);
		sb_lit(&out, "}");
	}
	sb_fmt(&out, "],\"created\":%lld,\"id\":\"chatcmpl-%s\",\"metadata\":",
	       (long long)a->created, a->id);
	sb_add(&out, a->metadata.p, a->metadata.len);
	sb_lit(&out, ",\"model\":");
	sb_json(&out, a->model.p, a->model.len);
	sb_lit(&out, ",\"object\":\"chat.completion\","
	             "\"prompt_filter_results\":" PROMPT_FILTERS_SAFE ","
	             "\"system_fingerprint\":\"" FINGERPRINT "\",\"usage\":");
	usage_json(a, &out);
	sb_lit(&out, "}");
	x->usage.completion = ask_total(a);
	x->usage.told = true;
	http_answer(x, 200, "application/json", &out);
}

void api_chat(struct exchange *x)
{
	if (x->ask->stream)
		http_stream(x, chat_next);
	else
		chat_whole(x);
}

/* ---- completions ---- */

static void cmpl_head(const struct ask *a, struct sb *out)
{
	sb_fmt(out,
	       "{\"id\":\"cmpl-%s\",\"object\":\"text_completion\","
	       "\"created\":%lld,\"model\":",
	       a->id, (long long)a->created);
	sb_json(out, a->model.p, a->model.len);
	sb_lit(out, ",\"choices\":[");
}

static void cmpl_event(const struct ask *a, const char *text, size_t len,
                       const char *finish, struct sb *out)
{
	sb_lit(out, "data: ");
	cmpl_head(a, out);
	sb_lit(out, "{\"text\":");
	sb_json(out, text, len);
	sb_fmt(out,
	       ",\"index\":%ld,\"finish_reason\":%s,\"logprobs\":null,"
	       "\"content_filter_results\":%s}]%s}\n\n",
	       a->step % a->n, finish, len ? FILTERS_SAFE : "{}",
	       a->include_usage ? ",\"usage\":null" : "");
}

static bool cmpl_next(struct exchange *x, struct sb *out)
{
	struct ask *a = x->ask;
	char reason[16];
	const char *p;
	size_t len;

	if (a->phase == OVER)
		return false;
	if (failed(x, out))
		return true;
	if (a->phase < CONTENT)
		a->phase = a->completion_tokens > 0 ? CONTENT : FINISH;
	switch ((enum phase)a->phase) {
	case CONTENT:
		p = ask_piece(a, a->step / a->n, &len);
		cmpl_event(a, p, len, "null", out);
		x->usage.completion++;
		next_phase(a, a->completion_tokens * a->n);
		return true;
	case FINISH:
		snprintf(reason, sizeof(reason), "\"%s\"", finish_reason(a));
		cmpl_event(a, "", 0, reason, out);
		if (next_phase(a, a->n) && !a->include_usage)
			a->phase = DONE;
		return true;
	case USAGE:
		sb_lit(out, "data: ");
		cmpl_head(a, out);
		sb_lit(out, "],\"usage\":");
		usage_json(a, out);
		sb_lit(out, "}\n\n");
		x->usage.told = true;
		next_phase(a, 1);
		return true;
	default:
		sb_lit(out, "data: [DONE]\n\n");
		a->phase = OVER;
		return true;
	}
}

void api_completions(struct exchange *x)
{
	const struct ask *a = x->ask;
	struct sb out = {0};

	if (a->stream) {
		http_stream(x, cmpl_next);
		return;
	}
	cmpl_head(a, &out);
	for (long i = 0; i < a->n; i++) {
		sb_z(&out, i ? ",{\"text\":\"" : "{\"text\":\"");
		ask_said(a, &out);
		sb_fmt(&out,
		       "\",\"index\":%ld,\"finish_reason\":\"%s\","
		       "\"logprobs\":null,"
		       "\"content_filter_results\":" FILTERS_SAFE "}",
		       i, finish_reason(a));
	}
	sb_lit(&out, "],\"usage\":");
	usage_json(a, &out);
	sb_lit(&out, "}");
	x->usage.completion = ask_total(a);
	x->usage.told = true;
	http_answer(x, 200, "application/json", &out);
}
