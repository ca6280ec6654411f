/*
 * ask: body and x-sim-* headers -> what to answer, how much, how fast.
 */
#include "ask.h"

#include <stdlib.h>
#include <time.h>

enum { CHOICES_MAX = 16 };

/* Sixteen words: as many tokens as an answer has by default. */
static const char stock_text[] =
	"The quick brown fox jumps over the lazy dog while the gateway counts "
	"every single token";

/* Bytes of text in a content value: a string, or parts that have one. */
static size_t text_bytes(const struct jdoc *d, int i)
{
	size_t sum = 0;

	if (i < 0)
		return 0;
	if (d->tok[i].type == J_STRING)
		return jdoc_string_len(d, i);
	if (d->tok[i].type == J_OBJECT)
		return text_bytes(d, jdoc_get_as(d, i, "text", J_STRING)) +
		       text_bytes(d, jdoc_get(d, i, "content"));
	if (d->tok[i].type == J_ARRAY)
		jdoc_each(d, i, c) sum += text_bytes(d, c);
	return sum;
}

static void count_prompt(struct ask *a, const struct jdoc *d)
{
	static const char *const members[] = {"messages", "prompt", "input",
	                                      "instructions", "system"};
	size_t bytes = 0;
	int i;

	for (size_t n = 0; n < sizeof(members) / sizeof(*members); n++)
		bytes += text_bytes(d, jdoc_get(d, 0, members[n]));
	a->prompt_tokens = (long)(bytes / 4);
	if (a->prompt_tokens < 1)
		a->prompt_tokens = 1;
	i = jdoc_get_as(d, 0, "input", J_ARRAY);
	a->inputs = 0;
	if (i >= 0)
		jdoc_each(d, i, c) a->inputs++;
	if (a->inputs == 0)
		a->inputs = 1;
}

static bool is_true(const struct jdoc *d, int i)
{
	return i >= 0 && d->tok[i].type == J_TRUE;
}

static void read_body(struct ask *a, const struct jdoc *d)
{
	static const char *const max_names[] = {
		"max_completion_tokens", "max_output_tokens", "max_tokens"};
	int so = jdoc_get_as(d, 0, "stream_options", J_OBJECT);
	int i = jdoc_get(d, so, "include_obfuscation");

	a->stream = is_true(d, jdoc_get(d, 0, "stream"));
	a->has_stream_options = so >= 0;
	a->include_usage = is_true(d, jdoc_get(d, so, "include_usage"));
	a->obfuscate = i < 0 || d->tok[i].type != J_FALSE;
	a->n = jdoc_int(d, jdoc_get(d, 0, "n"), 1);
	if (a->n < 1 || a->n > CHOICES_MAX)
		a->n = 1;
	a->max_tokens = -1;
	for (size_t m = 0; a->max_tokens < 0 && m < 3; m++)
		a->max_tokens = jdoc_int(d, jdoc_get(d, 0, max_names[m]), -1);
	a->dims = jdoc_int(d, jdoc_get(d, 0, "dimensions"), 8);
	if (a->dims < 1 || a->dims > 4096)
		a->dims = 8;
	i = jdoc_get_as(d, 0, "encoding_format", J_STRING);
	a->base64 = i >= 0 && d->tok[i].end - d->tok[i].start == 6 &&
	            memcmp(d->text + d->tok[i].start, "base64", 6) == 0;
	i = jdoc_get_as(d, 0, "metadata", J_OBJECT);
	if (i >= 0)
		sb_add(&a->metadata, d->text + d->tok[i].start,
		       d->tok[i].end - d->tok[i].start);
	else
		sb_lit(&a->metadata, "{}");
	count_prompt(a, d);
}

/* Cut the text before every blank: a piece is what one token says. */
static void cut_text(struct ask *a)
{
	size_t len = strlen(a->text), blanks = 0;

	for (size_t i = 1; i < len; i++)
		blanks += a->text[i] == ' ';
	a->piece = xmalloc((blanks + 2) * sizeof(*a->piece));
	a->n_pieces = 1;
	for (size_t i = 1; i < len; i++)
		if (a->text[i] == ' ')
			a->piece[a->n_pieces++] = (uint32_t)i;
	a->piece[a->n_pieces] = (uint32_t)len;
}

static long header_num(struct exchange *x, const char *name, long otherwise)
{
	return num_or(http_header(x, name), otherwise);
}

static void read_headers(struct exchange *x, struct ask *a)
{
	const struct defaults *d = &x->sim->defaults;
	const char *tool = http_header(x, "x-sim-tool");
	const char *text = http_header(x, "x-sim-text");
	long tokens = d->tokens;

	if (text != NULL) {
		a->own_text = xstrndup(text, strlen(text));
		tokens = -1;
	}
	a->text = a->own_text ? a->own_text : d->text ? d->text : stock_text;
	cut_text(a);
	tokens = header_num(x, "x-sim-tokens", tokens);
	a->completion_tokens = tokens < 0 ? a->n_pieces : tokens;
	if (a->max_tokens >= 0 && a->completion_tokens > a->max_tokens) {
		a->completion_tokens = a->max_tokens;
		a->cut_short = true;
	}
	a->prompt_tokens =
		header_num(x, "x-sim-prompt-tokens", a->prompt_tokens);
	a->cached_tokens = header_num(x, "x-sim-cached-tokens", 0);
	a->reasoning_tokens = header_num(x, "x-sim-reasoning-tokens", 0);
	a->filters = header_num(x, "x-sim-async-filter", 0) != 0;
	a->tool = tool ? xstrndup(tool, strlen(tool)) : NULL;
	x->delay = (double)header_num(x, "x-sim-delay-ms", d->delay_ms) / 1e3;
	x->stream.event_delay = (double)header_num(x, "x-sim-event-delay-ms",
	                                           d->event_delay_ms) /
	                        1e3;
	x->stream.chunk = (size_t)header_num(x, "x-sim-chunk", 0);
}

bool ask_read(struct exchange *x, struct jdoc *d, const char *path_deployment,
              size_t len)
{
	struct ask *a = x->ask;
	struct sb id = {0};
	int i;

	if (!jdoc_parse(d, x->body.p, x->body.len) ||
	    d->tok[0].type != J_OBJECT)
		return false;
	if (len > 0) {
		sb_urldecode(&a->deployment, path_deployment, len);
	} else {
		i = jdoc_get_as(d, 0, "model", J_STRING);
		if (i >= 0)
			jdoc_string(d, i, &a->deployment);
	}
	read_body(a, d);
	read_headers(x, a);
	a->created = time(NULL);
	sb_rnd_alnum(&id, 29);
	memcpy(a->id, id.p, id.len + 1);
	sb_free(&id);
	return true;
}

void ask_free(struct ask *a)
{
	if (a == NULL)
		return;
	sb_free(&a->deployment);
	sb_free(&a->model);
	sb_free(&a->metadata);
	free(a->own_text);
	free(a->tool);
	free(a->piece);
	free(a);
}

const char *ask_piece(const struct ask *a, long i, size_t *len)
{
	long n = i % a->n_pieces;
	uint32_t from = a->piece[n];

	*len = a->piece[n + 1] - from;
	return a->text + from;
}

void ask_said(const struct ask *a, struct sb *out)
{
	struct sb said = {0}, quoted = {0};

	for (long i = 0; i < a->completion_tokens; i++) {
		size_t len;
		const char *p = ask_piece(a, i, &len);

		sb_add(&said, p, len);
	}
	sb_json(&quoted, said.p ? said.p : "", said.len);
	sb_add(out, quoted.p + 1, quoted.len - 2);
	sb_free(&said);
	sb_free(&quoted);
}

long ask_total(const struct ask *a)
{
	return a->completion_tokens * a->n + a->reasoning_tokens;
}
