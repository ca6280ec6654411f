/*
 * prices: from LiteLLM's public price file to `price` of gateway.json.
 *
 *   {"azure/gpt-4o": {"input_cost_per_token": 2.5e-06, ...}}
 *     -> {"gpt-4o": {"price": {"input": 2.5, "cached": 1.25, "output": 10}}}
 *
 * What is printed goes into `models`. Prices are taken as the decimal text
 * they are written in, never as a double: a rounding in the last place is a
 * wrong bill after enough tokens. What cannot be said exactly in gateway.json
 * (USD per million tokens, six decimals) is left out by its name.
 */
#ifndef COMMANDS_PRICES_H
#define COMMANDS_PRICES_H

#include "base/buf.h"

enum { PRICES_FILE_MAX = 64 << 20 };

struct prices_options {
	const char *file;
	struct str prefix; /* of the names that are wanted, and taken off */
};

/* The words behind `foundry-spoa prices`. False with a sentence. */
bool prices_read_options(int argc, char **argv, struct prices_options *out,
                         struct buf *error);
void prices_usage(struct buf *out);

/* `text` is the file. One line in `notes` for each wanted entry that is left
 * out, or has prices that gateway.json has no word for. False, with a sentence
 * in `notes`, when it is no such file or nothing could be taken. */
bool prices_print(struct str text, struct str prefix, struct buf *out,
                  struct buf *notes);

/* The whole command: read the file, print. */
bool prices_run(const struct prices_options *o, struct buf *out,
                struct buf *notes);

/* USD per token, as a JSON number is written, in pico-dollars: exact, or
 * false. At most a dollar a token. */
bool prices_pico(struct str number, uint64_t *out);

#endif
