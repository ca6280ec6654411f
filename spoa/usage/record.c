/* usage/record: one end-of-stream line of HAProxy, taken apart. */
#include "usage/record.h"

#include "decide/estimate.h"

enum {
	RECORD_LINE_MAX = 16384,
	RECORD_TOKENS_MAX = 1 << 30, /* more is a broken report */
	BYTES_PER_OUTPUT_TOKEN = 4,  /* of an answer nobody counted */
	/* Events that arrive together with the upstream's close are not seen
	 * one by one. Azure's have 300 to 450 bytes. */
	BYTES_PER_EVENT_AT_MOST = 512,
};

/* HAProxy writes an unset variable as "" or "-". */
static struct str text_of(const struct json *doc, const char *name)
{
	struct str s = STR_NONE;

	if (!json_str(json_get(doc, name), &s) || str_eq(s, STR("-")))
		return STR_NONE;
	return s;
}

/* A number as such or as a string of digits: variables can only be logged
 * quoted, because an unset one would break the JSON. */
static int64_t number_of(const struct json *doc, const char *name,
                         int64_t absent)
{
	const struct json *j = json_get(doc, name);
	uint64_t u;
	int64_t v;

	if (json_int(j, &v))
		return v;
	if (str_to_u64(text_of(doc, name), &u) && u <= INT64_MAX)
		return (int64_t)u;
	return absent;
}

static uint64_t count_of(const struct json *doc, const char *name)
{
	int64_t v = number_of(doc, name, 0);

	return v > 0 ? (uint64_t)v : 0;
}

/* A token count: absent and null are 0; anything else that is no sane count
 * spoils the report. */
static uint64_t tokens_of(const struct json *usage, const char *name, bool *bad)
{
	const struct json *j = json_get(usage, name);
	int64_t v = 0;

	if (json_type(j) == JSON_NONE || json_type(j) == JSON_NULL)
		return 0;
	if (!json_int(j, &v) || v < 0 || v > RECORD_TOKENS_MAX) {
		*bad = true;
		return 0;
	}
	return (uint64_t)v;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A detail of the input or output, in whichever group it stands: the APIs
 * differ in the name. */
static uint64_t detail_of(const struct json *usage, const char *const groups[3],
                          const char *name, bool *bad)
{
	uint64_t most = 0;

	for (size_t i = 0; i < 3; i++)
		most = larger(most,
		              tokens_of(json_get(usage, groups[i]), name, bad));
	return most;
}

/* chat, completions, embeddings: prompt_* / completion_*;
 * responses, images: input_* / output_*; audio, realtime: the same, with the
 * details in the singular. What is billed by its duration has no tokens. */
static void read_openai(const struct json *u, struct usage_tokens *t, bool *bad)
{
	static const char *const in[] = {"prompt_tokens_details",
	                                 "input_tokens_details",
	                                 "input_token_details"};
	static const char *const out[] = {"completion_tokens_details",
	                                  "output_tokens_details",
	                                  "output_token_details"};

	t->input = larger(tokens_of(u, "prompt_tokens", bad),
	                  tokens_of(u, "input_tokens", bad));
	t->output = larger(tokens_of(u, "completion_tokens", bad),
	                   tokens_of(u, "output_tokens", bad));
	t->cached = detail_of(u, in, "cached_tokens", bad);
	t->reasoning = detail_of(u, out, "reasoning_tokens", bad);
	t->audio = detail_of(u, in, "audio_tokens", bad) +
	           detail_of(u, out, "audio_tokens", bad);
}

/* Anthropic counts cached tokens outside input_tokens, and repeats cumulative
 * figures: the larger of first and last is the final one. */
static void read_anthropic(const struct json *u, struct usage_tokens *t,
                           bool *bad)
{
	uint64_t read = tokens_of(u, "cache_read_input_tokens", bad);
	uint64_t made = tokens_of(u, "cache_creation_input_tokens", bad);

	t->input = larger(t->input,
	                  tokens_of(u, "input_tokens", bad) + read + made);
	t->cached = larger(t->cached, read);
	t->output = larger(t->output, tokens_of(u, "output_tokens", bad));
	t->reasoning = larger(t->reasoning,
	                      tokens_of(json_get(u, "output_tokens_details"),
	                                "thinking_tokens", bad));
}

static bool read_one(struct str text, enum api_operation op,
                     struct usage_tokens *t)
{
	const char *error;
	size_t at;
	struct json *u = json_parse(text, &error, &at);
	bool bad = json_type(u) != JSON_OBJECT;

	if (!bad && op == API_MESSAGES)
		read_anthropic(u, t, &bad);
	else if (!bad)
		read_openai(u, t, &bad);
	json_free(u);
	return !bad;
}

bool record_read_usage(struct str text, struct str first, enum api_operation op,
                       struct usage_tokens *out)
{
	struct usage_tokens t = {0};

	if (text.len == 0 || !read_one(text, op, &t))
		return false;
	if (op == API_MESSAGES && first.len > 0 && !read_one(first, op, &t))
		return false;
	*out = t;
	return true;
}

/* Measured from the head of the answer on, as the stream passed. */
static int64_t first_token(const struct json *doc, int64_t ttfb_ms)
{
	int64_t behind = number_of(doc, "token_ms", -1);

	return ttfb_ms >= 0 && behind >= 0 ? ttfb_ms + behind : -1;
}

static void read_fields(const struct json *doc, struct usage_record *rec)
{
	struct str operation = text_of(doc, "operation");

	rec->id = text_of(doc, "id");
	rec->verdict = text_of(doc, "verdict");
	rec->code = text_of(doc, "code");
	rec->account = text_of(doc, "account");
	rec->consumer = text_of(doc, "consumer");
	rec->app = text_of(doc, "app");
	rec->agent = text_of(doc, "agent");
	rec->project = text_of(doc, "project");
	rec->model = text_of(doc, "model");
	rec->deployment = text_of(doc, "deployment");
	rec->resource = text_of(doc, "resource");
	rec->operation = api_operation_of(operation);
	rec->termination = text_of(doc, "termination");
	rec->status = number_of(doc, "status", 0);
	rec->object = text_of(doc, "object");
	rec->owner = text_of(doc, "owner");
	rec->origin = text_of(doc, "origin");
	rec->batch = text_of(doc, "batch");
	rec->batch_model = text_of(doc, "batch_model");
	rec->counted = number_of(doc, "reserved", -1) != 0;
	rec->reserved = count_of(doc, "reserved");
	rec->text_bytes = count_of(doc, "text_bytes");
	rec->bytes = count_of(doc, "bytes");
	rec->events = count_of(doc, "events");
	rec->ttfb_ms = number_of(doc, "ttfb_ms", -1);
	rec->ttft_ms = first_token(doc, rec->ttfb_ms);
	rec->total_ms = number_of(doc, "total_ms", -1);
	rec->retries = count_of(doc, "retries");
	rec->spilled = str_eq(text_of(doc, "spilled"), STR("1"));
	/* a boolean variable, as HAProxy's versions print it */
	rec->stream = str_eq(text_of(doc, "stream"), STR("1")) ||
	              str_eq(text_of(doc, "stream"), STR("true"));
	rec->has_usage = record_read_usage(text_of(doc, "usage"),
	                                   text_of(doc, "usage_first"),
	                                   rec->operation, &rec->tokens);
}

enum record_status record_parse(struct str line, struct usage_record *out)
{
	struct usage_record rec = {0};
	const char *error;
	size_t at;

	line = str_trim(line);
	if (!str_starts(line, STR("{\"v\":")))
		return RECORD_OTHER;
	if (line.len > RECORD_LINE_MAX)
		return RECORD_BAD;
	rec.doc = json_parse(line, &error, &at);
	if (!rec.doc)
		return RECORD_BAD;
	read_fields(rec.doc, &rec);
	if (number_of(rec.doc, "v", 0) != 1 || rec.id.len == 0 ||
	    rec.id.len > STORE_ID_MAX) {
		json_free(rec.doc);
		return RECORD_BAD;
	}
	*out = rec;
	return RECORD_OK;
}

void record_done(struct usage_record *rec)
{
	json_free(rec->doc);
	rec->doc = NULL;
}

/* Did the upstream work on it, as far as the status tells? An error answer
 * costs nothing; no answer (the time was up, or the client left while the
 * upstream was thinking, which HAProxy logs as a 400) costs the prompt, which
 * was read by then. */
static bool was_refused(const struct usage_record *rec)
{
	bool client_left = str_starts(rec->termination, STR("CH"));

	return rec->status >= 400 && rec->status != 504 && !client_left;
}

static void estimate(const struct usage_record *rec, double ratio,
                     struct usage_tokens *t)
{
	t->input = (uint64_t)((double)rec->text_bytes / ratio) + 1;
	if (rec->status < 200 || rec->status >= 300)
		return;
	if (rec->stream)
		t->output = larger(rec->events,
		                   rec->bytes / BYTES_PER_EVENT_AT_MOST);
	else
		t->output = rec->bytes / BYTES_PER_OUTPUT_TOKEN;
}

/* Their bytes say nothing about tokens. */
static bool is_media(enum api_operation op)
{
	return op == API_IMAGES || op == API_AUDIO;
}

void record_charge(const struct usage_record *rec, const struct policy_model *m,
                   double ratio, struct usage_tokens *tokens,
                   struct store_usage *used, bool *estimated)
{
	*tokens = (struct usage_tokens){0};
	*used = (struct store_usage){0};
	*estimated = false;
	if (was_refused(rec))
		return;
	if (!rec->counted) {
		/* an answer may repeat the usage of another request */
	} else if (rec->has_usage) {
		*tokens = rec->tokens;
	} else if (is_media(rec->operation)) {
		/* Many models report none. One that was cut short may have. */
		*estimated = !str_eq(rec->termination, STR("--"));
		tokens->output = *estimated ? rec->reserved : 0;
	} else {
		*estimated = true;
		estimate(rec, ratio, tokens);
	}
	used->requests = 1;
	used->tokens = tokens->input + tokens->output;
	if (m)
		used->nano_usd = estimate_cost(
			&m->price,
			&(struct estimate_use){tokens->input, tokens->cached,
		                               tokens->output, rec->counted});
}
