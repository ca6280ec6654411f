/*
 * usage/record: one end-of-stream line of HAProxy, taken apart.
 *
 *   line --rec_read_line--> RECORD_FIELDS --record_read_usage--> tokens
 *                              |
 *                              +--ticket_read--> what the agent knew
 *
 * then, with the price of the model, record_charge: tokens and dollars.
 */
#include "usage/record.h"

#include "base/jscan.h"
#include "base/json.h"
#include "usage/price.h"

#include <stdlib.h>

enum {
	RECORD_TOKENS_MAX = 1 << 30, /* more is a broken report */
	/* Of an answer nobody counted: English has about four bytes a token. */
	RECORD_BYTES_PER_TOKEN = 4,
	/* Events that arrive together with the upstream's close are not seen
	 * one by one. Azure's have 300 to 450 bytes. */
	RECORD_BYTES_PER_EVENT = 512,
};

#define REC_ROW(kind, name, where) FIELD_ROW(struct usage_record, kind, name)
static const struct field rec_fields[] = {RECORD_FIELDS(REC_ROW)};
#undef REC_ROW

enum { REC_N_FIELDS = sizeof(rec_fields) / sizeof(*rec_fields) };

/* Where the reading of a line is. */
struct rec_reader {
	struct usage_record *rec;
	uint32_t seen; /* one bit a field */
	size_t next;   /* the field expected next: haproxy.cfg writes them
	                * in the order of the table */
	char *room;    /* for texts: in all, as much as the line is long */
};

_Static_assert(REC_N_FIELDS <= 32, "rec_reader.seen has one bit a field");

/* ---------------------------------------------------------------- the line */

/* Variables can only be logged quoted, because an unset one would break the
 * JSON; so a number is digits either way. */
static int64_t rec_number(struct str s, int64_t absent)
{
	bool negative = str_starts(s, STR("-"));
	uint64_t u;

	if (!str_to_u64(str_from(s, negative), &u) || u > INT64_MAX)
		return absent;
	return negative ? -(int64_t)u : (int64_t)u;
}

/* False when a ticket cannot be read. A number that cannot be read counts as
 * absent: the request has ended in any case and must be settled. */
static bool rec_store(struct usage_record *rec, const struct field *f,
                      char *value, size_t len)
{
	void *at = (char *)rec + f->at;
	struct str s = str_of(value, len);
	int64_t n;

	switch (f->kind) {
	case FIELD_TEXT:
		*(struct str *)at = s;
		return true;
	case FIELD_COUNT:
		n = rec_number(s, 0);
		*(uint64_t *)at = n > 0 ? (uint64_t)n : 0;
		return true;
	case FIELD_SIGNED:
		*(int64_t *)at = rec_number(s, -1);
		return true;
	case FIELD_FLAG:
		*(bool *)at = str_eq(s, STR("1"));
		return true;
	case FIELD_TICKET: /* decoded where it stands */
		return ticket_read(s, value, at, &rec->proof);
	case FIELD_OPERATION: /* not of a line */
		break;
	}
	return false;
}

/* REC_N_FIELDS when the table has no field of this name. */
static size_t rec_find(const struct rec_reader *r, struct str name)
{
	for (size_t i = 0; i < REC_N_FIELDS; i++) {
		size_t at = (r->next + i) % REC_N_FIELDS;

		if (str_eq(rec_fields[at].name, name))
			return at;
	}
	return REC_N_FIELDS;
}

static bool rec_read_member(struct rec_reader *r, struct jscan *s)
{
	size_t at = rec_find(r, s->text);
	enum jscan_token t = jscan_next(s);
	char *value = r->room;
	size_t len;

	if (t != JSCAN_STRING && t != JSCAN_NUMBER)
		return false;
	if (at == REC_N_FIELDS)
		return true;
	if (r->seen & (UINT32_C(1) << at))
		return false; /* twice: which one counts? */
	r->seen |= UINT32_C(1) << at;
	r->next = at + 1;
	/* a number has nothing to unescape */
	len = jscan_unescape(s->text, value);
	r->room += len;
	if (len == 0 || (len == 1 && *value == '-'))
		return true; /* HAProxy's words for an unset variable */
	return rec_store(r->rec, &rec_fields[at], value, len);
}

static bool rec_read_line(struct rec_reader *r, struct str line)
{
	enum jscan_token t;
	struct jscan s;

	jscan_init(&s, line, 1);
	if (jscan_next(&s) != JSCAN_OBJECT)
		return false;
	while ((t = jscan_next(&s)) == JSCAN_KEY)
		if (!rec_read_member(r, &s))
			return false;
	return t == JSCAN_OBJECT_END && jscan_next(&s) == JSCAN_END;
}

/* --------------------------------------------------------------- the usage */

/* A token count: absent and null are 0; anything else that is no sane count
 * spoils the report. */
static uint64_t rec_tokens(const struct json *usage, const char *name,
                           bool *bad)
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

static uint64_t rec_larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A detail of the input or output, from the first group that has it: the APIs
 * name the groups differently. */
static uint64_t rec_detail(const struct json *usage,
                           const char *const groups[3], const char *name,
                           bool *bad)
{
	uint64_t most = 0;

	for (size_t i = 0; i < 3; i++)
		most = rec_larger(most, rec_tokens(json_get(usage, groups[i]),
		                                   name, bad));
	return most;
}

/* The names of these groups: chat, completions; responses, images; audio and
 * realtime. */
static const char *const rec_in[] = {
	"prompt_tokens_details", "input_tokens_details", "input_token_details"};
static const char *const rec_out[] = {"completion_tokens_details",
                                      "output_tokens_details",
                                      "output_token_details"};

static bool rec_has_detail(const struct json *u, const char *const groups[3])
{
	for (size_t i = 0; i < 3; i++)
		if (json_type(json_get(u, groups[i])) == JSON_OBJECT)
			return true;
	return false;
}

/* Which of the cached tokens were audio and pictures: only realtime tells. */
static void rec_read_cached_details(const struct json *u,
                                    struct usage_tokens *t, bool *bad)
{
	for (size_t i = 0; i < 3; i++) {
		const struct json *d = json_get(json_get(u, rec_in[i]),
		                                "cached_tokens_details");

		t->audio_cached = rec_larger(
			t->audio_cached, rec_tokens(d, "audio_tokens", bad));
		t->image_cached = rec_larger(
			t->image_cached, rec_tokens(d, "image_tokens", bad));
	}
}

/* Answers of one kind only, which therefore have no details of their output:
 * the images API makes pictures (newer models tell what is text of it), and a
 * usage of audio without details and without `type` is one of speech. */
static void rec_read_media(const struct json *u, enum api_operation op,
                           struct usage_tokens *t, bool *bad)
{
	uint64_t text = rec_detail(u, rec_out, "text_tokens", bad);

	if (op == API_IMAGES && t->image_output == 0 && t->output > text)
		t->image_output = t->output - text;
	if (op == API_AUDIO && !rec_has_detail(u, rec_in) &&
	    !rec_has_detail(u, rec_out) &&
	    json_type(json_get(u, "type")) == JSON_NONE)
		t->audio_output = t->output;
}

/* chat, completions, embeddings: prompt_* / completion_*;
 * responses, images: input_* / output_*; audio, realtime: the same, with the
 * details in the singular. What is billed by its duration has no tokens. */
static void rec_read_openai(const struct json *u, enum api_operation op,
                            struct usage_tokens *t, bool *bad)
{
	t->input = rec_larger(rec_tokens(u, "prompt_tokens", bad),
	                      rec_tokens(u, "input_tokens", bad));
	t->output = rec_larger(rec_tokens(u, "completion_tokens", bad),
	                       rec_tokens(u, "output_tokens", bad));
	t->cached = rec_detail(u, rec_in, "cached_tokens", bad);
	t->cache_write_5m = rec_detail(u, rec_in, "cache_write_tokens", bad);
	t->audio_input = rec_detail(u, rec_in, "audio_tokens", bad);
	t->image_input = rec_detail(u, rec_in, "image_tokens", bad);
	rec_read_cached_details(u, t, bad);
	t->reasoning = rec_detail(u, rec_out, "reasoning_tokens", bad);
	t->audio_output = rec_detail(u, rec_out, "audio_tokens", bad);
	t->image_output = rec_detail(u, rec_out, "image_tokens", bad);
	rec_read_media(u, op, t, bad);
}

/* One run of the model: the members that the outermost object and each of its
 * iterations have. Anthropic counts cached tokens outside input_tokens. */
static void rec_read_run(const struct json *u, struct usage_tokens *t,
                         bool *bad)
{
	const struct json *made = json_get(u, "cache_creation");
	uint64_t hour = rec_tokens(made, "ephemeral_1h_input_tokens", bad);
	uint64_t all = rec_larger(
		rec_tokens(u, "cache_creation_input_tokens", bad),
		hour + rec_tokens(made, "ephemeral_5m_input_tokens", bad));

	t->cached = rec_tokens(u, "cache_read_input_tokens", bad);
	t->cache_write_1h = hour;
	t->cache_write_5m = all - hour;
	t->input = rec_tokens(u, "input_tokens", bad) + t->cached + all;
	t->output = rec_tokens(u, "output_tokens", bad);
	t->longest = t->input;
}

/* The outermost members do not count what a compaction or an advisor has used;
 * all iterations together do. They are cumulative, as all of it. */
static void rec_read_iterations(const struct json *list, struct usage_tokens *t,
                                bool *bad)
{
	const struct json *item;

	json_each (list, item) {
		struct usage_tokens run = {0};

		rec_read_run(item, &run, bad);
		t->input += run.input;
		t->cached += run.cached;
		t->cache_write_5m += run.cache_write_5m;
		t->cache_write_1h += run.cache_write_1h;
		t->output += run.output;
		t->longest = rec_larger(t->longest, run.longest);
	}
}

static void rec_read_tier(const struct json *u, struct usage_tokens *t)
{
	static const struct str known[] = {STR_INIT("priority"),
	                                   STR_INIT("flex"), STR_INIT("batch")};
	struct str s;

	if (!json_str(json_get(u, "service_tier"), &s))
		return;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (str_eq(s, known[i]))
			t->service_tier = known[i];
}

/* Of two reports of the same answer the later one repeats cumulative figures:
 * the larger is the final one, kind by kind. Not all of them say for how long
 * something was written to a cache: the sum is what they agree on. */
static void rec_keep_larger(struct usage_tokens *t,
                            const struct usage_tokens *other)
{
	uint64_t writes =
		rec_larger(t->cache_write_5m + t->cache_write_1h,
	                   other->cache_write_5m + other->cache_write_1h);

#define REC_LARGER(kind, name, where)                                          \
	t->name = rec_larger(t->name, other->name);
	USAGE_TOKENS(REC_LARGER)
#undef REC_LARGER
	t->cache_write_5m = writes - t->cache_write_1h;
	t->longest = rec_larger(t->longest, other->longest);
}

static void rec_read_anthropic(const struct json *u, struct usage_tokens *t,
                               bool *bad)
{
	const struct json *list = json_get(u, "iterations");
	struct usage_tokens outer = {0}, runs = {0};

	rec_read_run(u, &outer, bad);
	outer.reasoning = rec_tokens(json_get(u, "output_tokens_details"),
	                             "thinking_tokens", bad);
	if (json_type(list) == JSON_ARRAY)
		rec_read_iterations(list, &runs, bad);
	if (runs.input + runs.output > 0)
		outer.longest = runs.longest;
	rec_keep_larger(&outer, &runs);
	rec_keep_larger(t, &outer);
	rec_read_tier(u, t);
}

/* A count of a line is at most 2^30, but there may be many iterations. */
static bool rec_is_sane(const struct usage_tokens *t)
{
#define REC_SANE(kind, name, where) &&t->name <= RECORD_TOKENS_MAX
	return true USAGE_TOKENS(REC_SANE);
#undef REC_SANE
}

static bool rec_read_report(struct str text, enum api_operation op,
                            struct usage_tokens *t)
{
	const char *error;
	size_t at;
	struct json *u = json_parse(text, &error, &at);
	bool bad = json_type(u) != JSON_OBJECT;

	if (!bad && op == API_MESSAGES)
		rec_read_anthropic(u, t, &bad);
	else if (!bad)
		rec_read_openai(u, op, t, &bad);
	json_free(u);
	return !bad && rec_is_sane(t);
}

bool record_read_usage(struct str text, struct str first, enum api_operation op,
                       struct usage_tokens *out)
{
	struct usage_tokens t = {0};

	if (text.len == 0 || !rec_read_report(text, op, &t))
		return false;
	if (op == API_MESSAGES && first.len > 0 &&
	    !rec_read_report(first, op, &t))
		return false;
	t.audio = t.audio_input + t.audio_output;
	/* the prompt is the longest when it was the only one */
	if (t.longest == t.input)
		t.longest = 0;
	*out = t;
	return true;
}

/* ----------------------------------------------------------------- parsing */

/* Measured from the head of the answer on, as the stream passed. */
static int64_t rec_first_token(const struct usage_record *rec)
{
	if (rec->ttfb_ms < 0 || rec->token_ms < 0 ||
	    rec->token_ms > INT64_MAX - rec->ttfb_ms)
		return -1;
	return rec->ttfb_ms + rec->token_ms;
}

/* SIGNED is -1 when absent, all else 0. */
#define REC_ABSENT_TEXT(name)
#define REC_ABSENT_COUNT(name)
#define REC_ABSENT_SIGNED(name) .name = -1,
#define REC_ABSENT_FLAG(name)
#define REC_ABSENT_TICKET(name)
#define REC_ABSENT(kind, name, where) REC_ABSENT_##kind(name)

static enum record_status rec_check(const struct usage_record *rec, bool whole)
{
	/* first, because it is not known what else differs in another version
	 */
	if (rec->v > 0 && rec->v != RECORD_VERSION)
		return RECORD_OTHER_VERSION;
	if (!whole || rec->v == 0)
		return RECORD_BAD;
	if (rec->id.len == 0 || rec->id.len > STORE_ID_MAX)
		return RECORD_BAD;
	return RECORD_OK;
}

enum record_status record_parse(struct str line, struct usage_record *out)
{
	struct usage_record rec = {RECORD_FIELDS(REC_ABSENT)};
	struct rec_reader r = {.rec = &rec};
	enum record_status st;

	line = str_trim(line);
	if (!str_starts(line, STR("{\"v\":")))
		return RECORD_OTHER;
	if (line.len > RECORD_LINE_MAX)
		return RECORD_BAD;
	rec.text = r.room = malloc(line.len);
	if (!rec.text)
		return RECORD_BAD;
	st = rec_check(&rec, rec_read_line(&r, line));
	if (st != RECORD_OK) {
		free(rec.text);
		return st;
	}
	rec.ttft_ms = rec_first_token(&rec);
	rec.has_usage = record_read_usage(rec.usage, rec.usage_first,
	                                  rec.ticket.operation, &rec.tokens);
	*out = rec;
	return RECORD_OK;
}

void record_done(struct usage_record *rec)
{
	free(rec->text);
	rec->text = NULL;
}

/* ---------------------------------------------------------------- charging */

/* Termination states of a request that was not sent to a resource: it was not
 * complete (R), still in a queue (Q), or there was no connection (C); L is what
 * HAProxy answered itself. Measured on 2.6, 3.0 and 3.2 with 11,482 requests,
 * tests/terminations/driver.py; states that are not in the list were sent. */
static const char rec_unsent[][3] = {"CR", "CQ", "CC", "SQ", "sQ",
                                     "SC", "sC", "LR", "PR", "RC"};

/* Both are needed: a process that is stopped may log KC without a connection
 * time for a request that it had sent. */
static bool rec_was_unsent(const struct usage_record *rec)
{
	if (rec->connect_ms >= 0)
		return false;
	for (size_t i = 0; i < sizeof(rec_unsent) / sizeof(*rec_unsent); i++)
		if (str_eq(rec->termination, str_c(rec_unsent[i])))
			return true;
	return false;
}

/* An error that the resource itself answered costs nothing, but its timeouts:
 * it may have worked until then. The status to the client says nothing of that:
 * HAProxy answers 400, 500, 502 or 504 when a client or a resource goes away.
 */
static bool rec_was_refused(const struct usage_record *rec)
{
	return rec->upstream >= 400 && rec->upstream != 408 &&
	       rec->upstream != 504;
}

/* Their bytes say nothing about tokens. */
static bool rec_is_media(enum api_operation op)
{
	return op == API_IMAGES || op == API_AUDIO || op == API_REALTIME;
}

/* Output tokens of an answer whose usage was not reported: it was cut short, or
 * the API does not report any. Azure sends about one token an event. */
static uint64_t rec_estimate_output(const struct usage_record *rec)
{
	const struct ticket *t = &rec->ticket;

	if (rec->upstream < 200 || rec->upstream >= 300)
		return 0;
	if (t->stream)
		return rec_larger(rec->events,
		                  rec->bytes / RECORD_BYTES_PER_EVENT);
	/* The model was done when the head of a short answer came. */
	if (!str_eq(rec->termination, STR("--")) && t->reserved > t->prompt)
		return t->reserved - t->prompt;
	return rec->bytes / RECORD_BYTES_PER_TOKEN;
}

/* True: *tokens is an estimate. */
static bool rec_count_tokens(const struct usage_record *rec,
                             struct usage_tokens *tokens)
{
	/* without `counted` an answer may repeat the usage of an earlier
	 * request, which has paid for it */
	if (!rec->ticket.counted)
		return false;
	if (rec->has_usage) {
		*tokens = rec->tokens;
		/* an odd report must not make `input - cached` wrap */
		if (tokens->cached > tokens->input)
			tokens->cached = tokens->input;
		return false;
	}
	if (rec_is_media(rec->ticket.operation)) {
		/* Many models report no usage: a complete answer is charged
		 * nothing. One that was cut short may have lost a report. */
		if (str_eq(rec->termination, STR("--")))
			return false;
		tokens->output = rec->ticket.reserved;
		if (rec->ticket.operation == API_IMAGES)
			tokens->image_output = tokens->output;
		return true;
	}
	tokens->input = rec->ticket.prompt;
	tokens->output = rec_estimate_output(rec);
	return true;
}

void record_charge(const struct usage_record *rec, const struct policy_model *m,
                   struct usage_tokens *tokens, struct store_usage *used,
                   bool *estimated)
{
	*tokens = (struct usage_tokens){0};
	*used = (struct store_usage){0};
	*estimated = false;
	if (rec_was_refused(rec) || rec_was_unsent(rec))
		return;
	*estimated = rec_count_tokens(rec, tokens);
	used->requests = 1;
	used->tokens = tokens->input + tokens->output;
	if (m)
		used->nano_usd =
			price_nano_usd(price_of_tier(m, tokens->service_tier),
		                       tokens, rec->ticket.counted);
}
