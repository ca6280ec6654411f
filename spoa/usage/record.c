/* usage/record: one end-of-stream line of HAProxy, taken apart. */
#include "usage/record.h"

#include "base/jscan.h"
#include "base/json.h"
#include "usage/price.h"

#include <stdlib.h>

enum {
	RECORD_LINE_MAX = 16384,
	RECORD_TOKENS_MAX = 1 << 30, /* more is a broken report */
	BYTES_PER_OUTPUT_TOKEN = 4,  /* of an answer nobody counted */
	/* Events that arrive together with the upstream's close are not seen
	 * one by one. Azure's have 300 to 450 bytes. */
	BYTES_PER_EVENT_AT_MOST = 512,
};

/* What haproxy.cfg writes, in the same order. */
enum field {
	F_V,
	F_ID,
	F_STATUS,
	F_TERMINATION,
	F_RETRIES,
	F_BYTES,
	F_TTFB,
	F_TOTAL,
	F_VERDICT,
	F_CODE,
	F_CONSUMER,
	F_ACCOUNT,
	F_APP,
	F_AGENT,
	F_PROJECT,
	F_MODEL,
	F_DEPLOYMENT,
	F_RESOURCE,
	F_OPERATION,
	F_RESERVED,
	F_TEXT_BYTES,
	F_STREAM,
	F_EVENTS,
	F_TOKEN_MS,
	F_USAGE_FIRST,
	F_USAGE,
	F_OBJECT,
	F_OWNER,
	F_ORIGIN,
	F_SPILLED,
	F_BATCH,
	F_BATCH_MODEL,
	N_FIELDS,
};

static const struct str names[N_FIELDS] = {
	[F_V] = STR_INIT("v"),
	[F_ID] = STR_INIT("id"),
	[F_STATUS] = STR_INIT("status"),
	[F_TERMINATION] = STR_INIT("termination"),
	[F_RETRIES] = STR_INIT("retries"),
	[F_BYTES] = STR_INIT("bytes"),
	[F_TTFB] = STR_INIT("ttfb_ms"),
	[F_TOTAL] = STR_INIT("total_ms"),
	[F_VERDICT] = STR_INIT("verdict"),
	[F_CODE] = STR_INIT("code"),
	[F_CONSUMER] = STR_INIT("consumer"),
	[F_ACCOUNT] = STR_INIT("account"),
	[F_APP] = STR_INIT("app"),
	[F_AGENT] = STR_INIT("agent"),
	[F_PROJECT] = STR_INIT("project"),
	[F_MODEL] = STR_INIT("model"),
	[F_DEPLOYMENT] = STR_INIT("deployment"),
	[F_RESOURCE] = STR_INIT("resource"),
	[F_OPERATION] = STR_INIT("operation"),
	[F_RESERVED] = STR_INIT("reserved"),
	[F_TEXT_BYTES] = STR_INIT("text_bytes"),
	[F_STREAM] = STR_INIT("stream"),
	[F_EVENTS] = STR_INIT("events"),
	[F_TOKEN_MS] = STR_INIT("token_ms"),
	[F_USAGE_FIRST] = STR_INIT("usage_first"),
	[F_USAGE] = STR_INIT("usage"),
	[F_OBJECT] = STR_INIT("object"),
	[F_OWNER] = STR_INIT("owner"),
	[F_ORIGIN] = STR_INIT("origin"),
	[F_SPILLED] = STR_INIT("spilled"),
	[F_BATCH] = STR_INIT("batch"),
	[F_BATCH_MODEL] = STR_INIT("batch_model"),
};

/* The values of a line; empty where there is none. */
struct fields {
	struct str v[N_FIELDS];
	uint32_t seen;
	enum field last;
	char *room; /* for strings, as much as the line is long */
};

_Static_assert(N_FIELDS <= 32, "one bit a field");

/* N_FIELDS: none of ours. They come in order, so the search begins behind the
 * last one. */
static enum field field_of(const struct fields *f, struct str name)
{
	unsigned i;

	for (i = 1; i <= N_FIELDS; i++) {
		enum field at = (enum field)((f->last + i) % N_FIELDS);

		if (str_eq(names[at], name))
			return at;
	}
	return N_FIELDS;
}

static bool read_member(struct fields *f, struct jscan *s)
{
	enum field at = field_of(f, s->text);
	enum jscan_token t = jscan_next(s);
	struct str value;

	if (t != JSCAN_STRING && t != JSCAN_NUMBER)
		return false;
	/* a number has nothing to unescape */
	value = str_of(f->room, jscan_unescape(s->text, f->room));
	f->room += value.len;
	if (at == N_FIELDS)
		return true;
	if (f->seen & (UINT32_C(1) << at))
		return false; /* twice: which one counts? */
	f->seen |= UINT32_C(1) << at;
	f->last = at;
	/* HAProxy writes an unset variable as "" or "-" */
	if (!str_eq(value, STR("-")))
		f->v[at] = value;
	return true;
}

static bool read_line(struct fields *f, struct str line)
{
	enum jscan_token t;
	struct jscan s;

	jscan_init(&s, line, 1);
	if (jscan_next(&s) != JSCAN_OBJECT)
		return false;
	while ((t = jscan_next(&s)) == JSCAN_KEY)
		if (!read_member(f, &s))
			return false;
	return t == JSCAN_OBJECT_END && jscan_next(&s) == JSCAN_END;
}

/* Variables can only be logged quoted, because an unset one would break the
 * JSON; so a number is digits either way. */
static int64_t number_of(struct str s, int64_t absent)
{
	bool negative = str_starts(s, STR("-"));
	uint64_t u;

	if (!str_to_u64(str_from(s, negative), &u) || u > INT64_MAX)
		return absent;
	return negative ? -(int64_t)u : (int64_t)u;
}

static uint64_t count_of(struct str s)
{
	int64_t v = number_of(s, 0);

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
static int64_t first_token(struct str behind_head, int64_t ttfb_ms)
{
	int64_t behind = number_of(behind_head, -1);

	return ttfb_ms >= 0 && behind >= 0 ? ttfb_ms + behind : -1;
}

static void take_fields(const struct str v[N_FIELDS], struct usage_record *rec)
{
	rec->id = v[F_ID];
	rec->verdict = v[F_VERDICT];
	rec->code = v[F_CODE];
	rec->account = v[F_ACCOUNT];
	rec->consumer = v[F_CONSUMER];
	rec->app = v[F_APP];
	rec->agent = v[F_AGENT];
	rec->project = v[F_PROJECT];
	rec->model = v[F_MODEL];
	rec->deployment = v[F_DEPLOYMENT];
	rec->resource = v[F_RESOURCE];
	rec->operation = operations_by_name(v[F_OPERATION]);
	rec->termination = v[F_TERMINATION];
	rec->status = number_of(v[F_STATUS], 0);
	rec->object = v[F_OBJECT];
	rec->owner = v[F_OWNER];
	rec->origin = v[F_ORIGIN];
	rec->batch = v[F_BATCH];
	rec->batch_model = v[F_BATCH_MODEL];
	rec->counted = number_of(v[F_RESERVED], -1) != 0;
	rec->reserved = count_of(v[F_RESERVED]);
	rec->text_bytes = count_of(v[F_TEXT_BYTES]);
	rec->bytes = count_of(v[F_BYTES]);
	rec->events = count_of(v[F_EVENTS]);
	rec->ttfb_ms = number_of(v[F_TTFB], -1);
	rec->ttft_ms = first_token(v[F_TOKEN_MS], rec->ttfb_ms);
	rec->total_ms = number_of(v[F_TOTAL], -1);
	rec->retries = count_of(v[F_RETRIES]);
	rec->spilled = str_eq(v[F_SPILLED], STR("1"));
	/* a boolean variable, as HAProxy's versions print it */
	rec->stream = str_eq(v[F_STREAM], STR("1")) ||
	              str_eq(v[F_STREAM], STR("true"));
	rec->has_usage = record_read_usage(v[F_USAGE], v[F_USAGE_FIRST],
	                                   rec->operation, &rec->tokens);
}

enum record_status record_parse(struct str line, struct usage_record *out)
{
	struct usage_record rec = {0};
	struct fields f = {.last = N_FIELDS - 1};

	line = str_trim(line);
	if (!str_starts(line, STR("{\"v\":")))
		return RECORD_OTHER;
	if (line.len > RECORD_LINE_MAX)
		return RECORD_BAD;
	rec.text = f.room = malloc(line.len);
	if (!rec.text || !read_line(&f, line) || number_of(f.v[F_V], 0) != 1 ||
	    f.v[F_ID].len == 0 || f.v[F_ID].len > STORE_ID_MAX) {
		free(rec.text);
		return RECORD_BAD;
	}
	take_fields(f.v, &rec);
	*out = rec;
	return RECORD_OK;
}

void record_done(struct usage_record *rec)
{
	free(rec->text);
	rec->text = NULL;
}

/* Did the upstream work on it, as far as the status tells? An error answer
 * costs nothing; no answer (the time was up, or the client left while the
 * upstream was thinking, which HAProxy logs as a 400: CH, from 3.2 on also CL)
 * costs the prompt, which was read by then. */
static bool was_refused(const struct usage_record *rec)
{
	bool client_left =
		str_starts(rec->termination, STR("CH")) ||
		(str_starts(rec->termination, STR("CL")) && rec->ttfb_ms < 0);

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

/* HAProxy's second letter says how far it was: R, it had no complete request; Q
 * and C, no connection to the upstream. Then nothing was sent there, and it is
 * not sent again after it was once (`retry-on conn-failure`). */
static bool was_unsent(const struct usage_record *rec)
{
	const struct str t = rec->termination;

	return t.len > 1 && memchr("RQC", t.p[1], 3);
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
	if (was_refused(rec) || was_unsent(rec))
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
		used->nano_usd = price_nano_usd(
			&m->price,
			&(struct price_use){tokens->input, tokens->cached,
		                            tokens->output, rec->counted});
}
