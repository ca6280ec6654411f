/*
 * prices: from LiteLLM's public price file to `price` of gateway.json.
 *
 *   {"azure/gpt-4o": {"input_cost_per_token": 2.5e-06, ...}}
 *     -> {"gpt-4o": {"price": {"input": 2.5, "cached": 1.25, "output": 10}}}
 *
 * What is printed goes into `models` of gateway.json, by hand: it has prices
 * and no deployments. The file is LiteLLM's
 * model_prices_and_context_window.json (azure.md 7), which the operator
 * downloads; nothing is fetched here.
 *
 * Prices are read as the decimal text they are written in, never as a double: a
 * rounding in the last place is a wrong bill after enough tokens. An entry
 * whose price gateway.json cannot hold exactly (USD per million tokens, six
 * decimals) is left out, and a note names it.
 */
#ifndef COMMANDS_PRICES_H
#define COMMANDS_PRICES_H

#include "base/buf.h"

/* Bytes of the file: 1.6 MB today (azure.md 7), with room to grow. */
enum { PRICES_FILE_MAX = 64 << 20 };

struct prices_options {
	const char *file;  /* path, from argv */
	struct str prefix; /* entries that begin with it are wanted; their
	                    * names are printed without it */
};

/* Read the arguments of `foundry-spoa prices`; the file is required. False with
 * a sentence in `error`. */
bool prices_read_options(int argc, char **argv, struct prices_options *out,
                         struct buf *error);

/* Append one line per option. */
void prices_usage(struct buf *out);

/* `text` is the content of the file. Append a JSON object to `out`, and to
 * `notes` a line for each wanted entry that is left out, or that has prices
 * which gateway.json has no member for. False, with a sentence in `notes`, when
 * the text is no JSON object, when no entry was taken, or when one of the two
 * reached its maximum. */
bool prices_print(struct str text, struct str prefix, struct buf *out,
                  struct buf *notes);

/* Read the file and print it as above. False with a sentence in `notes`. */
bool prices_run(const struct prices_options *o, struct buf *out,
                struct buf *notes);

/* USD per token, written as a JSON number ("2.5e-06"), as pico-dollars. False,
 * and *out untouched, when it is no number of 0 or more, is above one dollar,
 * or has more than twelve decimals. */
bool prices_pico(struct str number, uint64_t *out);

#endif
