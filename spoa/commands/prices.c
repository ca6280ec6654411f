/* prices: from LiteLLM's public price file to `price` of gateway.json. */
#include "commands/prices.h"

#include "base/file.h"
#include "base/jscan.h"
#include "base/json.h"
#include "base/usd.h"
#include "commands/argv.h"
#include "commands/command.h"

#include <inttypes.h>
#include <stdlib.h>

/* A dollar: what gateway.json can hold per token. */
#define PICO_MAX UINT64_C(1000000000000)

/* ---------------------------------------------------------------- options */

static const struct argv_option options[] = {
	ARGV_OPTION("--prefix", ARGV_TEXT, prices_options, prefix, NULL,
                    "of the names that are taken, default azure/"),
};

enum { N_OPTIONS = sizeof(options) / sizeof(*options) };

bool prices_read_options(int argc, char **argv, struct prices_options *out,
                         struct buf *error)
{
	*out = (struct prices_options){.prefix = STR("azure/")};
	if (!argv_read(options, N_OPTIONS, argc, argv, out, &out->file, error))
		return false;
	if (!out->file)
		buf_fmt(error, "prices: expected FILE, LiteLLM's "
		               "model_prices_and_context_window.json\n");
	return out->file != NULL;
}

void prices_usage(struct buf *out)
{
	argv_usage(options, N_OPTIONS, out);
}

/* --------------------------------------------------------------- decimals */

bool prices_pico(struct str number, uint64_t *out)
{
	uint64_t v;

	if (!usd_read(number, &v) || v > PICO_MAX)
		return false;
	*out = v;
	return true;
}

/* Pico-dollars a token are micro-dollars a million: six decimals, without the
 * zeros that say nothing. */
static void write_price(struct buf *out, uint64_t pico)
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

enum price {
	INPUT = 0,
	CACHED = 1,
	OUTPUT = 2,
	REQUEST = 3,
	BATCH_INPUT = 4,
	BATCH_OUTPUT = 5,
	N_PRICES = 6,
};

static const struct {
	struct str theirs;
	const char *ours;
} prices[N_PRICES] = {
	[INPUT] = {STR_INIT("input_cost_per_token"), "input"},
	[CACHED] = {STR_INIT("cache_read_input_token_cost"), "cached"},
	[OUTPUT] = {STR_INIT("output_cost_per_token"), "output"},
	[REQUEST] = {STR_INIT("input_cost_per_request"), "request"},
	[BATCH_INPUT] = {STR_INIT("input_cost_per_token_batches"), "input"},
	[BATCH_OUTPUT] = {STR_INIT("output_cost_per_token_batches"), "output"},
};

struct entry {
	struct str name; /* without the prefix, as in the text */
	struct str mode;
	struct str other; /* a price that we have no place for, or empty */
	bool given[N_PRICES];
	uint64_t pico[N_PRICES];
	struct str bad; /* a price that cannot be taken, as written */
	enum price bad_price;
};

/* The value that begins with token `t`, which was just read. */
static void pass_over(struct jscan *s, enum jscan_token t)
{
	unsigned depth = s->depth;

	if (t != JSCAN_OBJECT && t != JSCAN_ARRAY)
		return;
	while (t > JSCAN_BAD && s->depth >= depth)
		t = jscan_next(s);
}

static void take_price(struct entry *e, enum price p, enum jscan_token t,
                       struct str value)
{
	e->given[p] = t == JSCAN_NUMBER && prices_pico(value, &e->pico[p]);
	if (!e->given[p] && t != JSCAN_NULL) {
		e->bad = value.len > 0 ? value : STR("no number");
		e->bad_price = p;
	}
}

static void take_member(struct entry *e, struct str key, enum jscan_token t,
                        struct str value)
{
	unsigned i;

	for (i = 0; i < N_PRICES; i++)
		if (str_eq(key, prices[i].theirs))
			take_price(e, (enum price)i, t, value);
	if (str_eq(key, STR("mode")) && t == JSCAN_STRING)
		e->mode = value;
	/* input_cost_per_token_above_200k_tokens, and the like */
	if (t == JSCAN_NUMBER &&
	    (str_starts(key, STR("input_cost_per_token_above_")) ||
	     str_starts(key, STR("input_cost_per_audio_token"))))
		e->other = key;
}

static void read_entry(struct jscan *s, struct entry *e)
{
	while (jscan_next(s) == JSCAN_KEY) {
		struct str key = s->text;
		enum jscan_token t = jscan_next(s);

		if (s->depth == 2 && t != JSCAN_OBJECT && t != JSCAN_ARRAY)
			take_member(e, key, t, s->text);
		else
			pass_over(s, t);
	}
}

/* NULL when it can be taken. */
static const char *why_not(const struct entry *e)
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

static void write_batch(const struct entry *e, struct buf *out)
{
	const char *sep = ", \"batch\": {";
	unsigned i;

	for (i = BATCH_INPUT; i <= BATCH_OUTPUT; i++) {
		if (!e->given[i])
			continue;
		buf_fmt(out, "%s\"%s\": ", sep, prices[i].ours);
		write_price(out, e->pico[i]);
		sep = ", ";
	}
	if (e->given[BATCH_INPUT] || e->given[BATCH_OUTPUT])
		buf_fmt(out, "}");
}

static bool write_entry(const struct entry *e, struct str prefix, bool first,
                        struct buf *out, struct buf *notes)
{
	const char *why = why_not(e);
	unsigned i;

	buf_fmt(notes, "%" STR_FMT "%" STR_FMT ": ", STR_ARG(prefix),
	        STR_ARG(e->name));
	if (e->bad.len > 0)
		buf_fmt(notes,
		        "skipped: found %" STR_FMT " as %" STR_FMT
		        ", expected USD with at most 12 decimals\n",
		        STR_ARG(e->bad), STR_ARG(prices[e->bad_price].theirs));
	else if (why)
		buf_fmt(notes, "skipped: %s (%" STR_FMT ")\n", why,
		        STR_ARG(e->mode));
	if (e->bad.len > 0 || why)
		return false;
	buf_fmt(out, "%s\n\t\"%" STR_FMT "\": {\"price\": {", first ? "" : ",",
	        STR_ARG(e->name));
	for (i = INPUT; i <= OUTPUT; i++) {
		/* what makes vectors has no output to pay for */
		if (!e->given[i] && i != OUTPUT)
			continue;
		buf_fmt(out, "%s\"%s\": ", i ? ", " : "", prices[i].ours);
		write_price(out, e->given[i] ? e->pico[i] : 0);
	}
	if (e->given[REQUEST]) {
		buf_fmt(out, ", \"%s\": \"", prices[REQUEST].ours);
		usd_write(out, e->pico[REQUEST]);
		buf_fmt(out, "\"");
	}
	write_batch(e, out);
	buf_fmt(out, "}}");
	return true;
}

/* Notes begin with the name; without anything to say it goes again. */
static bool print_entry(const struct entry *e, struct str prefix, bool first,
                        struct buf *out, struct buf *notes)
{
	size_t before = notes->len;

	if (!write_entry(e, prefix, first, out, notes))
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

/* Everything json_parse refuses is refused: keys twice, for one. */
static bool check(struct str text, struct buf *notes)
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

	if (!check(text, notes))
		return false;
	jscan_init(&s, text, JSON_MAX_DEPTH);
	jscan_next(&s);
	buf_fmt(out, "{");
	while (jscan_next(&s) == JSCAN_KEY) {
		struct str key = s.text;
		enum jscan_token t = jscan_next(&s);
		struct entry e = {.name = str_from(key, prefix.len)};

		if (t != JSCAN_OBJECT || !str_starts(key, prefix)) {
			pass_over(&s, t);
			continue;
		}
		read_entry(&s, &e);
		n += print_entry(&e, prefix, n == 0, out, notes);
	}
	buf_fmt(out, "\n}\n");
	if (n == 0)
		buf_fmt(notes,
		        "prices: no entry could be taken whose name begins "
		        "with \"%" STR_FMT "\"\n",
		        STR_ARG(prefix));
	return n > 0 && !out->failed && !notes->failed;
}

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

/* Standard output has the prices alone, to go into a file. */
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
