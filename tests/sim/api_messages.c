/*
 * api_messages: Anthropic messages as Foundry serves them.
 *
 * Usage is reported twice in a stream: input tokens in message_start, and in
 * message_delta the output tokens so far, which replace the earlier number.
 * Cached tokens are beside input_tokens here, not inside them.
 */
#include "ask.h"

enum phase {
	START = 0,
	BLOCK_START = 1,
	PING = 2,
	DELTA = 3,
	BLOCK_STOP = 4,
	MESSAGE_DELTA = 5,
	STOP = 6,
	OVER = 7,
};

static const char *stop_reason(const struct ask *a)
{
	if (a->tool != NULL)
		return "tool_use";
	return a->cut_short ? "max_tokens" : "end_turn";
}

static void usage_json(const struct ask *a, long output, struct sb *out)
{
	sb_fmt(out,
	       "{\"input_tokens\":%ld,\"cache_creation_input_tokens\":0,"
	       "\"cache_read_input_tokens\":%ld,\"output_tokens\":%ld,"
	       "\"service_tier\":\"standard\"}",
	       a->prompt_tokens - a->cached_tokens, a->cached_tokens, output);
}

static void message_head(const struct ask *a, struct sb *out)
{
	sb_fmt(out,
	       "{\"id\":\"msg_%s\",\"type\":\"message\","
	       "\"role\":\"assistant\",",
	       a->id);
}

static void start_event(const struct ask *a, struct sb *out)
{
	sb_lit(out, "event: message_start\n"
	            "data: {\"type\":\"message_start\",\"message\":");
	message_head(a, out);
	sb_lit(out, "\"content\":[],\"model\":");
	sb_json(out, a->model.p, a->model.len);
	sb_lit(out, ",\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
	usage_json(a, 1, out);
	sb_lit(out, "}}\n\n");
}

static void block_start_event(const struct ask *a, struct sb *out)
{
	sb_lit(out, "event: content_block_start\n"
	            "data: {\"type\":\"content_block_start\",\"index\":0,"
	            "\"content_block\":");
	if (a->tool != NULL)
		sb_fmt(out,
		       "{\"type\":\"tool_use\",\"id\":\"toolu_%.24s\","
		       "\"name\":\"%s\",\"input\":{}}}\n\n",
		       a->id, a->tool);
	else
		sb_lit(out, "{\"type\":\"text\",\"text\":\"\"}}\n\n");
}

/* The arguments of a tool come with the first token. */
static void tool_delta_event(const struct ask *a, struct sb *out)
{
	sb_fmt(out,
	       "event: content_block_delta\n"
	       "data: {\"type\":\"content_block_delta\",\"index\":0,"
	       "\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":"
	       "\"%s\"}}\n\n",
	       a->step == 0 ? "{}" : "");
}

static void delta_event(const struct ask *a, struct sb *out)
{
	size_t len;
	const char *p = ask_piece(a, a->step, &len);

	if (a->tool != NULL) {
		tool_delta_event(a, out);
		return;
	}

	sb_lit(out, "event: content_block_delta\n"
	            "data: {\"type\":\"content_block_delta\",\"index\":0,"
	            "\"delta\":{\"type\":\"text_delta\",\"text\":");
	sb_json(out, p, len);
	sb_lit(out, "}}\n\n");
}

static void message_delta_event(struct exchange *x, struct sb *out)
{
	const struct ask *a = x->ask;

	sb_fmt(out,
	       "event: message_delta\n"
	       "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
	       "\"%s\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":"
	       "%ld}}\n\n",
	       stop_reason(a), ask_total(a));
	x->usage.completion = ask_total(a);
	x->usage.told = true;
}

static bool messages_next(struct exchange *x, struct sb *out)
{
	struct ask *a = x->ask;

	if (a->phase == OVER)
		return false;
	if (x->stream.n_events == x->effect.fail_after_events) {
		sb_lit(out, "event: error\n"
		            "data: {\"type\":\"error\",\"error\":{\"type\":"
		            "\"overloaded_error\",\"message\":\"Overloaded\"}}"
		            "\n\n");
		a->phase = OVER;
		return true;
	}
	switch ((enum phase)a->phase) {
	case START:
		start_event(a, out);
		break;
	case BLOCK_START:
		block_start_event(a, out);
		break;
	case PING:
		sb_lit(out, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
		break;
	case DELTA:
		delta_event(a, out);
		x->usage.completion++;
		if (++a->step < a->completion_tokens)
			return true;
		break;
	case BLOCK_STOP:
		sb_lit(out,
		       "event: content_block_stop\n"
		       "data: {\"type\":\"content_block_stop\",\"index\":0}"
		       "\n\n");
		break;
	case MESSAGE_DELTA:
		message_delta_event(x, out);
		break;
	case STOP:
		sb_lit(out, "event: message_stop\n"
		            "data: {\"type\":\"message_stop\"}\n\n");
		break;
	case OVER:
		return false;
	}
	a->phase++;
	if (a->phase == DELTA && a->completion_tokens == 0)
		a->phase = BLOCK_STOP;
	return true;
}

void api_messages(struct exchange *x)
{
	const struct ask *a = x->ask;
	struct sb out = {0};

	if (a->stream) {
		http_stream(x, messages_next);
		return;
	}
	message_head(a, &out);
	sb_lit(&out, "\"model\":");
	sb_json(&out, a->model.p, a->model.len);
	sb_lit(&out, ",\"content\":[");
	if (a->tool != NULL) {
		sb_fmt(&out,
		       "{\"type\":\"tool_use\",\"id\":\"toolu_%.24s\","
		       "\"name\":\"%s\",\"input\":{}}",
		       a->id, a->tool);
	} else {
		sb_lit(&out, "{\"type\":\"text\",\"text\":\"");
		ask_said(a, &out);
		sb_lit(&out, "\"}");
	}
	sb_fmt(&out,
	       "],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"usage\":",
	       stop_reason(a));
	usage_json(a, ask_total(a), &out);
	sb_lit(&out, "}");
	x->usage.completion = ask_total(a);
	x->usage.told = true;
	http_answer(x, 200, "application/json", &out);
}
