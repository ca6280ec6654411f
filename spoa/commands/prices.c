/*
 * prices: from LiteLLM's public price file to `price` of gateway.json.
 *
 *   text -> prices_check_text                  one JSON object, no key twice
 *        -> jscan, key by key
 *             prefix matches? else skipped
 *             prices_read_entry                members -> struct entry
 *             prices_print_entry --> out       "NAME": {"price": {..}}
 *                                --> notes     why it was left out
 *
 * The file has thousands of entries with dozens of members (azure.md 7), of
 * which a few are of interest. A pull scanner reads numbers as text, so no
 * price is ever a double: 2.5e-06 has no exact one.
 *
 * Notes are written as the entry is: its name comes first, and is taken back
 * (the buffer's length is reset) when there was nothing to say.
 */
#include "commands/prices.h"

#include "base/file.h"
#include "base/jscan.h"
#include "base/json.h"
#include "base/usd.h"
#include "commands/argv.h"
#include "commands/command.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A dollar per token in pico-dollars: a million dollars per million tokens, the
 * largest amount that base/usd reads, and so gateway.json. */
#define PRICES_PICO_MAX UINT64_C(1000000000000)

/* ---------------------------------------------------------------- options */

static const struct argv_option prices_option_rows[] = {
	ARGV_OPTION("--prefix", ARGV_TEXT, prices_options, prefix, NULL,
                    "of the names that are taken, default azure/"),
};

enum {
	PRICES_N_OPTIONS =
		sizeof(prices_option_rows) / sizeof(*prices_option_rows)
};

bool prices_read_options(int argc, char **argv, struct prices_options *out,
                         struct buf *error)
{
	*out = (struct prices_options){.prefix = STR("azure/")};
	if (!argv_read(prices_option_rows, PRICES_N_OPTIONS, argc, argv, out,
	               &out->file, error))
		return false;
	if (!out->file)
		buf_fmt(error, "prices: expected FILE, LiteLLM's "
		               "model_prices_and_context_window.json\n");
	return out->file != NULL;
}

void prices_usage(struct buf *out)
{
	argv_usage(prices_option_rows, PRICES_N_OPTIONS, out);
}

/* --------------------------------------------------------------- decimals */

bool prices_pico(struct str number, uint64_t *out)
{
	uint64_t v;

	if (!usd_read(number, &v) || v > PRICES_PICO_MAX)
		return false;
	*out = v;
	return true;
}

/* USD per million tokens, from pico-dollars per token: 10^-12 * 10^6 = 10^-6,
 * so six decimals hold it exactly. Zeros at the end are left out. */
static void prices_write_price(struct buf *out, uint64_t pico)
{
	uint64_t part = pico % 1000000;
	int digits = 6;

	buf_fmt(out, "%" PRIu64, pico / 1000000);
	if (part == 0)
		return;
	for (; part % 10 == 0; part /= 10)
		digits--;
	buf_fmt(out, ".%0*" PRIu64, digits, part);
}

/* ----------------------------------------------------------------- entries */

/* A group of prices of gateway.json. The key of a price in LiteLLM's file is
 * the base below, with what says the group behind it (azure.md 7):
 *   input_cost_per_token _above_272k_tokens _priority */
enum group {
	PLAIN = 0,
	BATCH = 1,
	PRIORITY = 2,
	FLEX = 3,
	N_GROUPS = 4,
};

static const struct {
	struct str suffix;
	const char *ours;
} prices_groups[N_GROUPS] = {
	[PLAIN] = {STR_INIT(""), NULL},
	[BATCH] = {STR_INIT("_batches"), "batch"},
	[PRIORITY] = {STR_INIT("_priority"), "priority"},
	[FLEX] = {STR_INIT("_flex"), "flex"},
};

enum rate {
	INPUT = 0,
	CACHED = 1,
	OUTPUT = 2,
	N_RATES = 12,
};

/* Names of the members, in the order in which they are written. */
static const struct {
	struct str theirs;
	const char *ours;
} prices_fields[N_RATES] = {
	[INPUT] = {STR_INIT("input_cost_per_token"), "input"},
	[CACHED] = {STR_INIT("cache_read_input_token_cost"), "cached"},
	[OUTPUT] = {STR_INIT("output_cost_per_token"), "output"},
	{STR_INIT("cache_creation_input_token_cost"), "cache_write_5m"},
	{STR_INIT("cache_creation_input_token_cost_above_1hr"),
         "cache_write_1h"},
	{STR_INIT("input_cost_per_audio_token"), "audio_input"},
	{STR_INIT("cache_read_input_audio_token_cost"), "audio_cached"},
	{STR_INIT("output_cost_per_audio_token"), "audio_output"},
	{STR_INIT("input_cost_per_image_token"), "image_input"},
	{STR_INIT("cache_read_input_image_token_cost"), "image_cached"},
	{STR_INIT("output_cost_per_image_token"), "image_output"},
	{STR_INIT("output_cost_per_reasoning_token"), "reasoning"},
};

/* What gateway.json can have of "above" in one group. */
enum { N_ABOVE = 8 };

struct rates {
	bool given[N_RATES];
	uint64_t pico[N_RATES]; /* valid where given */
};

/* [0] is for prompts of all lengths, the others by `tokens`, ascending. */
struct tier {
	size_t n_above;
	uint64_t tokens[1 + N_ABOVE];
	struct rates rates[1 + N_ABOVE];
};

/* A model of the file. Texts are views into it, with their JSON escapes. */
struct entry {
	struct str name; /* without the prefix */
	struct str mode; /* "chat", "embedding", ... */
	struct tier tiers[N_GROUPS];
	bool has_request;
	uint64_t request;
	struct str bad;     /* a price that cannot be read, as written */
	struct str bad_key; /* which one that is */
	size_t n_other;     /* prices that gateway.json has no member for */
	struct str other[16];
};

/* Where a price belongs; tokens 0: to prompts of all lengths. */
struct member {
	enum group group;
	size_t rate;
	uint64_t tokens;
};

/* Take `end` off *key, if it ends so. */
static bool prices_strip(struct str *key, struct str end)
{
	if (!str_ends(*key, end))
		return false;
	*key = str_first(*key, key->len - end.len);
	return true;
}

/* "..._above_272k_tokens": 272000. False when it is no length. */
static bool prices_strip_length(struct str *key, uint64_t *tokens)
{
	static const struct str above = STR_INIT("_above_");
	struct str rest = *key;
	size_t at = rest.len;
	uint64_t n;

	if (!prices_strip(&rest, STR("k_tokens")))
		return false;
	while (at > 0 && !str_starts(str_from(rest, at), above))
		at--;
	if (!str_starts(str_from(rest, at), above) ||
	    !str_to_u64(str_from(rest, at + above.len), &n) || n == 0 ||
	    n > 1000000)
		return false;
	*tokens = n * 1000;
	*key = str_first(rest, at);
	return true;
}

/* False when gateway.json has no member for this key. A batch tells the sum of
 * many prompts, so it has no prices above a length. */
static bool prices_find_member(struct str key, struct member *out)
{
	struct member m = {.group = PLAIN, .rate = 0};

	for (size_t g = BATCH; g < N_GROUPS && m.group == PLAIN; g++)
		if (prices_strip(&key, prices_groups[g].suffix))
			m.group = (enum group)g;
	prices_strip_length(&key, &m.tokens);
	if (m.group == BATCH && m.tokens > 0)
		return false;
	while (m.rate < N_RATES && !str_eq(key, prices_fields[m.rate].theirs))
		m.rate++;
	*out = m;
	return m.rate < N_RATES;
}

/* The rates of this length, made in their place in the order. NULL: there are
 * too many. */
static struct rates *prices_rates_of(struct tier *t, uint64_t tokens)
{
	size_t i = 0, k;

	while (i <= t->n_above && t->tokens[i] < tokens)
		i++;
	if (i <= t->n_above && t->tokens[i] == tokens)
		return &t->rates[i];
	if (t->n_above == N_ABOVE)
		return NULL;
	for (k = ++t->n_above; k > i; k--) {
		t->tokens[k] = t->tokens[k - 1];
		t->rates[k] = t->rates[k - 1];
	}
	t->tokens[i] = tokens;
	t->rates[i] = (struct rates){.given = {false}};
	return &t->rates[i];
}

/* Skips the value that begins with token `t`, which was just read. An object or
 * array is over when the scanner is less deep than inside it. */
static void prices_skip_value(struct jscan *s, enum jscan_token t)
{
	unsigned depth = s->depth;

	if (t != JSCAN_OBJECT && t != JSCAN_ARRAY)
		return;
	while (t > JSCAN_BAD && s->depth >= depth)
		t = jscan_next(s);
}

/* null counts as not given; any other value that is no exact price makes the
 * entry bad: a price that is left out silently would be 0. */
static void prices_read_price(struct entry *e, struct str key,
                              enum jscan_token t, struct str value, bool *given,
                              uint64_t *pico)
{
	*given = t == JSCAN_NUMBER && prices_pico(value, pico);
	if (!*given && t != JSCAN_NULL) {
		e->bad = value.len > 0 ? value : STR("no number");
		e->bad_key = key;
	}
}

/* By the words that LiteLLM's names of prices have. */
static bool prices_is_cost(struct str key)
{
	return memmem(key.p, key.len, "cost", 4) ||
	       memmem(key.p, key.len, "pricing", 7) ||
	       str_starts(key, STR("regional_processing_uplift"));
}

/* A price that gateway.json has no place for: it is named. */
static void prices_note_other(struct entry *e, struct str key)
{
	if (prices_is_cost(key) &&
	    e->n_other < sizeof(e->other) / sizeof(*e->other))
		e->other[e->n_other++] = key;
}

static void prices_read_member(struct entry *e, struct str key,
                               enum jscan_token t, struct str value)
{
	struct rates *r = NULL;
	struct member m = {.group = PLAIN, .rate = 0};

	if (str_eq(key, STR("mode")) && t == JSCAN_STRING)
		e->mode = value;
	else if (str_eq(key, STR("input_cost_per_request")))
		prices_read_price(e, key, t, value, &e->has_request,
		                  &e->request);
	else if (t != JSCAN_NULL && prices_find_member(key, &m))
		r = prices_rates_of(&e->tiers[m.group], m.tokens);
	else if (t != JSCAN_NUMBER)
		return;
	if (r)
		prices_read_price(e, key, t, value, &r->given[m.rate],
		                  &r->pico[m.rate]);
	else if (t == JSCAN_NUMBER &&
	         !str_eq(key, STR("input_cost_per_request")))
		prices_note_other(e, key);
}

/* Members of the entry only (depth 2): nested objects are about other things.
 */
static void prices_read_entry(struct jscan *s, struct entry *e)
{
	while (jscan_next(s) == JSCAN_KEY) {
		struct str key = s->text;
		enum jscan_token t = jscan_next(s);

		if (s->depth == 2 && t != JSCAN_OBJECT && t != JSCAN_ARRAY)
			prices_read_member(e, key, t, s->text);
		else {
			if (s->depth == 3)
				prices_note_other(e, key);
			prices_skip_value(s, t);
		}
	}
}

static bool prices_is_output(size_t rate)
{
	return str_starts(prices_fields[rate].theirs, STR("output_"));
}

/* Models of pictures and of speech may have none of text. */
static bool prices_has_output(const struct rates *r)
{
	bool has = false;

	for (size_t i = 0; i < N_RATES; i++)
		has = has || (r->given[i] && prices_is_output(i));
	return has;
}

/* Why this entry cannot be a model of gateway.json, NULL when it can. A '/' in
 * the rest of the name is a variant with prices of its own ("azure/eu/gpt-4o"),
 * which would otherwise be mixed up with the model itself. An embedding has no
 * output. */
static const char *prices_find_obstacle(const struct entry *e)
{
	bool vectors = str_eq(e->mode, STR("embedding"));

	if (e->name.len == 0)
		return "nothing is left of its name";
	if (str_find(e->name, '/') < e->name.len)
		return "is priced apart: ask for it with a longer --prefix";
	if (!e->tiers[PLAIN].rates[0].given[INPUT])
		return "has no price per token";
	if (!prices_has_output(&e->tiers[PLAIN].rates[0]) && !vectors)
		return "has no price of its output";
	return NULL;
}

/* The members of an object, without its brackets. `sep` stands before the first
 * of them; the result before the next one. */
static const char *prices_write_rates(const struct rates *r, const char *sep,
                                      struct buf *out)
{
	for (size_t i = 0; i < N_RATES; i++) {
		if (!r->given[i])
			continue;
		buf_fmt(out, "%s\"%s\": ", sep, prices_fields[i].ours);
		prices_write_price(out, r->pico[i]);
		sep = ", ";
	}
	return sep;
}

static const char *prices_write_tier(const struct tier *t, const char *sep,
                                     struct buf *out)
{
	sep = prices_write_rates(&t->rates[0], sep, out);
	for (size_t i = 1; i <= t->n_above; i++) {
		buf_fmt(out, "%s%s{\"tokens\": %" PRIu64, i == 1 ? sep : ", ",
		        i == 1 ? "\"above\": [" : "", t->tokens[i]);
		prices_write_rates(&t->rates[i], ", ", out);
		buf_fmt(out, "}%s", i == t->n_above ? "]" : "");
		sep = ", ";
	}
	return sep;
}

static void prices_write_prices(const struct entry *e, struct buf *out)
{
	struct tier plain = e->tiers[PLAIN];
	struct rates *r = &plain.rates[0];
	const char *sep;

	/* Where an answer has no text the price of text is that of the dearest
	 * of what it has; an embedding has nothing. */
	for (size_t i = 0; !r->given[OUTPUT] && i < N_RATES; i++)
		if (r->given[i] && prices_is_output(i) &&
		    r->pico[i] > r->pico[OUTPUT])
			r->pico[OUTPUT] = r->pico[i];
	r->given[OUTPUT] = true;
	sep = prices_write_tier(&plain, "", out);
	if (e->has_request) {
		buf_fmt(out, "%s\"request\": \"", sep);
		usd_write(out, e->request);
		buf_fmt(out, "\"");
	}
	for (size_t g = BATCH; g < N_GROUPS; g++) {
		size_t before = out->len;

		buf_fmt(out, ", \"%s\": {", prices_groups[g].ours);
		sep = prices_write_tier(&e->tiers[g], "", out);
		if (*sep)
			buf_fmt(out, "}");
		else
			out->len = before;
	}
}

/* True when the entry was written. Else its note says why it was not. */
static bool prices_write_entry(const struct entry *e, struct str prefix,
                               bool first, struct buf *out, struct buf *notes)
{
	const char *why = prices_find_obstacle(e);

	buf_fmt(notes, "%" STR_FMT "%" STR_FMT ": ", STR_ARG(prefix),
	        STR_ARG(e->name));
	if (e->bad.len > 0)
		buf_fmt(notes,
		        "skipped: found %" STR_FMT " as %" STR_FMT
		        ", expected USD with at most 12 decimals\n",
		        STR_ARG(e->bad), STR_ARG(e->bad_key));
	else if (why)
		buf_fmt(notes, "skipped: %s (%" STR_FMT ")\n", why,
		        STR_ARG(e->mode));
	if (e->bad.len > 0 || why)
		return false;
	buf_fmt(out, "%s\n\t\"%" STR_FMT "\": {\"price\": {", first ? "" : ",",
	        STR_ARG(e->name));
	prices_write_prices(e, out);
	buf_fmt(out, "}}");
	return true;
}

/* As prices_write_entry(), with a note about prices that are left out, and
 * without a note when there is nothing to say. */
static bool prices_print_entry(const struct entry *e, struct str prefix,
                               bool first, struct buf *out, struct buf *notes)
{
	size_t before = notes->len;

	if (!prices_write_entry(e, prefix, first, out, notes))
		return false;
	if (e->n_other == 0) {
		notes->len = before;
		return true;
	}
	buf_fmt(notes, "taken, without");
	for (size_t i = 0; i < e->n_other; i++)
		buf_fmt(notes, "%s %" STR_FMT, i ? "," : "",
		        STR_ARG(e->other[i]));
	buf_fmt(notes, ": gateway.json has no such price\n");
	return true;
}

/* jscan does not see keys that come twice, and stops at the first error without
 * a line number. base/json does both, at the cost of a tree in memory that is
 * freed at once. */
static bool prices_check_text(struct str text, struct buf *notes)
{
	const char *error = "is no object";
	struct json *doc;
	unsigned line, column;
	size_t at = 0;
	bool ok;

	doc = json_parse(text, &error, &at);
	ok = json_type(doc) == JSON_OBJECT;
	if (!ok) {
		json_place(text, at, &line, &column);
		buf_fmt(notes, "prices: line %u column %u: %s\n", line, column,
		        doc ? "is no object" : error);
	}
	json_free(doc);
	return ok;
}

bool prices_print(struct str text, struct str prefix, struct buf *out,
                  struct buf *notes)
{
	struct jscan s;
	size_t n = 0;

	if (!prices_check_text(text, notes))
		return false;
	jscan_init(&s, text, JSON_MAX_DEPTH);
	jscan_next(&s);
	buf_fmt(out, "{");
	while (jscan_next(&s) == JSCAN_KEY) {
		struct str key = s.text;
		enum jscan_token t = jscan_next(&s);
		struct entry e = {.name = str_from(key, prefix.len)};

		if (t != JSCAN_OBJECT || !str_starts(key, prefix)) {
			prices_skip_value(&s, t);
			continue;
		}
		prices_read_entry(&s, &e);
		n += prices_print_entry(&e, prefix, n == 0, out, notes);
	}
	buf_fmt(out, "\n}\n");
	if (n == 0)
		buf_fmt(notes,
		        "prices: no entry could be taken whose name begins "
		        "with \"%" STR_FMT "\"\n",
		        STR_ARG(prefix));
	return n > 0 && !out->failed && !notes->failed;
}

/* The file is read into memory in one piece: entries keep views into it. */
bool prices_run(const struct prices_options *o, struct buf *out,
                struct buf *notes)
{
	char *mem = malloc(PRICES_FILE_MAX);
	const char *error = "no memory";
	size_t len = 0;
	bool ok;

	if (mem)
		error = file_read(o->file, FILE_PLAIN, mem, PRICES_FILE_MAX,
		                  &len, NULL);
	if (!error && len == PRICES_FILE_MAX)
		error = "is too large";
	if (error)
		buf_fmt(notes, "%s: %s\n", o->file, error);
	ok = !error && prices_print(str_of(mem, len), o->prefix, out, notes);
	free(mem);
	return ok;
}

/* Notes go to standard error: standard output is JSON that can be pasted. */
int command_prices(int argc, char **argv)
{
	struct prices_options o;
	struct buf out, notes;
	bool ok;

	buf_init(&out, COMMAND_REPORT_MAX);
	buf_init(&notes, COMMAND_REPORT_MAX);
	ok = prices_read_options(argc, argv, &o, &notes);
	if (ok)
		ok = prices_run(&o, &out, &notes);
	else
		prices_usage(&notes);
	command_tell(&notes);
	return command_print(&out, ok);
}
