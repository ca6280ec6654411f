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

/* The prices that gateway.json can hold. */
enum price {
	INPUT = 0,
	CACHED = 1,
	OUTPUT = 2,
	REQUEST = 3,
	BATCH_INPUT = 4,
	BATCH_OUTPUT = 5,
	N_PRICES = 6,
};

/* Names of the members: in LiteLLM's file (azure.md 7) and in gateway.json. */
static const struct {
	struct str theirs;
	const char *ours;
} prices_fields[N_PRICES] = {
	[INPUT] = {STR_INIT("input_cost_per_token"), "input"},
	[CACHED] = {STR_INIT("cache_read_input_token_cost"), "cached"},
	[OUTPUT] = {STR_INIT("output_cost_per_token"), "output"},
	[REQUEST] = {STR_INIT("input_cost_per_request"), "request"},
	[BATCH_INPUT] = {STR_INIT("input_cost_per_token_batches"), "input"},
	[BATCH_OUTPUT] = {STR_INIT("output_cost_per_token_batches"), "output"},
};

/* A model of the file. Texts are views into it, with their JSON escapes. */
struct entry {
	struct str name;  /* without the prefix */
	struct str mode;  /* "chat", "embedding", ... */
	struct str other; /* a price gateway.json has no member for, or empty */
	bool given[N_PRICES];
	uint64_t pico[N_PRICES]; /* valid where given */
	struct str bad;          /* a price that cannot be read, as written */
	enum price bad_price;    /* which one that is */
};

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
static void prices_read_price(struct entry *e, enum price p, enum jscan_token t,
                              struct str value)
{
	e->given[p] = t == JSCAN_NUMBER && prices_pico(value, &e->pico[p]);
	if (!e->given[p] && t != JSCAN_NULL) {
		e->bad = value.len > 0 ? value : STR("no number");
		e->bad_price = p;
	}
}

static void prices_read_member(struct entry *e, struct str key,
                               enum jscan_token t, struct str value)
{
	unsigned i;

	for (i = 0; i < N_PRICES; i++)
		if (str_eq(key, prices_fields[i].theirs))
			prices_read_price(e, (enum price)i, t, value);
	if (str_eq(key, STR("mode")) && t == JSCAN_STRING)
		e->mode = value;
	/* Azure bills these at other prices, gateway.json has one per token:
	 * input_cost_per_token_above_200k_tokens, and the like */
	if (t == JSCAN_NUMBER &&
	    (str_starts(key, STR("input_cost_per_token_above_")) ||
	     str_starts(key, STR("input_cost_per_audio_token"))))
		e->other = key;
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
		else
			prices_skip_value(s, t);
	}
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
	if (!e->given[INPUT])
		return "has no price per token";
	if (!e->given[OUTPUT] && !vectors)
		return "has no price of its output";
	return NULL;
}

static void prices_write_batch(const struct entry *e, struct buf *out)
{
	const char *sep = ", \"batch\": {";
	unsigned i;

	for (i = BATCH_INPUT; i <= BATCH_OUTPUT; i++) {
		if (!e->given[i])
			continue;
		buf_fmt(out, "%s\"%s\": ", sep, prices_fields[i].ours);
		prices_write_price(out, e->pico[i]);
		sep = ", ";
	}
	if (e->given[BATCH_INPUT] || e->given[BATCH_OUTPUT])
		buf_fmt(out, "}");
}

/* True when the entry was written. Else its note says why it was not. */
static bool prices_write_entry(const struct entry *e, struct str prefix,
                               bool first, struct buf *out, struct buf *notes)
{
	const char *why = prices_find_obstacle(e);
	unsigned i;

	buf_fmt(notes, "%" STR_FMT "%" STR_FMT ": ", STR_ARG(prefix),
	        STR_ARG(e->name));
	if (e->bad.len > 0)
		buf_fmt(notes,
		        "skipped: found %" STR_FMT " as %" STR_FMT
		        ", expected USD with at most 12 decimals\n",
		        STR_ARG(e->bad),
		        STR_ARG(prices_fields[e->bad_price].theirs));
	else if (why)
		buf_fmt(notes, "skipped: %s (%" STR_FMT ")\n", why,
		        STR_ARG(e->mode));
	if (e->bad.len > 0 || why)
		return false;
	buf_fmt(out, "%s\n\t\"%" STR_FMT "\": {\"price\": {", first ? "" : ",",
	        STR_ARG(e->name));
	for (i = INPUT; i <= OUTPUT; i++) {
		/* an embedding has no output: its price is written as 0 */
		if (!e->given[i] && i != OUTPUT)
			continue;
		buf_fmt(out, "%s\"%s\": ", i ? ", " : "",
		        prices_fields[i].ours);
		prices_write_price(out, e->given[i] ? e->pico[i] : 0);
	}
	if (e->given[REQUEST]) {
		buf_fmt(out, ", \"%s\": \"", prices_fields[REQUEST].ours);
		usd_write(out, e->pico[REQUEST]);
		buf_fmt(out, "\"");
	}
	prices_write_batch(e, out);
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
	if (e->other.len > 0)
		buf_fmt(notes,
		        "taken, without %" STR_FMT ": gateway.json has one "
		        "price for all lengths and kinds of input\n",
		        STR_ARG(e->other));
	else
		notes->len = before;
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
