/*
 * top: who uses what right now, in the terminal.
 *
 *   top_on_time -> GET /metrics -> top_on_page -> top_add_page
 *       ^                            top_read: page -> sample
 *       |                            top_show: minus the last one -> stdout
 *       +------ TOP_EVERY_MS ------------+
 *
 * Counters of /metrics only grow, so a rate needs two samples: the first table
 * comes with the second one. Rows are found by consumer and model; series that
 * differ in other labels (operation, resource, token type, ...) are added up.
 */
#include "commands/top.h"

#include "base/clock.h"
#include "base/loop.h"
#include "net/fetch.h"
#include "commands/argv.h"
#include "commands/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	TOP_EVERY_MS = 1000, /* from an answer to the next question */
	TOP_DEADLINE_MS = 5000,
	TOP_PAGE_MAX = 8 << 20, /* bytes; net/http answers no longer page */
	TOP_TEXT_MAX = 8 << 20, /* bytes: TOP_ROWS_MAX rows of 120 fit */
	TOP_NAME_WIDTH = 28,    /* characters; longer names are cut */
	TOP_OTHER_LINES = 4,    /* of the screen: head, sum, and room below */
	TOP_LINES = 24,         /* of a terminal that does not tell its size */
};

/* In a sample: values as in the page. In a table: what they grew by. */
struct top_row {
	uint64_t v[TOP_N_COLUMNS];
	struct str consumer, model; /* table only: views into a node's key */
};

/* ---------------------------------------------------------------- reading */

/* The column that a series is added to, if its `label` has `value`. A name may
 * have several rows: refused requests are part of all requests. Tokens that
 * were estimated because the resource reported none are a metric of their own
 * (usage/README.md), and added here. */
static const struct {
	struct str name, label, value;
	enum top_column column;
} top_sources[] = {
	{STR_INIT("foundry_consumer_requests_total"), STR_INIT(""),
         STR_INIT(""), TOP_REQUESTS},
	{STR_INIT("foundry_consumer_requests_total"), STR_INIT("verdict"),
         STR_INIT("deny"), TOP_REFUSED},
	{STR_INIT("foundry_consumer_streams"), STR_INIT(""), STR_INIT(""),
         TOP_STREAMS},
	{STR_INIT("gen_ai_client_inference_usage_input_tokens_total"),
         STR_INIT(""), STR_INIT(""), TOP_INPUT},
	{STR_INIT("gen_ai_client_inference_usage_output_tokens_total"),
         STR_INIT(""), STR_INIT(""), TOP_OUTPUT},
	{STR_INIT("foundry_estimated_tokens_total"),
         STR_INIT("gen_ai_token_type"), STR_INIT("input"), TOP_INPUT},
	{STR_INIT("foundry_estimated_tokens_total"),
         STR_INIT("gen_ai_token_type"), STR_INIT("output"), TOP_OUTPUT},
};

enum { TOP_N_SOURCES = sizeof(top_sources) / sizeof(*top_sources) };

void top_sample_init(struct top_sample *s)
{
	map_init(&s->rows, TOP_ROWS_MAX);
}

void top_sample_done(struct top_sample *s)
{
	struct map_node *node;

	map_each (&s->rows, node)
		free(node->value);
	map_done(&s->rows);
}

/* The value of a label in `key="value",..` (Prometheus text format 0.0.4), with
 * its escapes; empty when there is none. So a row of top_sources whose label
 * and value are empty matches every series of its name. */
static struct str top_find_label(struct str labels, struct str key)
{
	while (labels.len > 0) {
		struct str name = str_first(labels, str_find(labels, '='));
		struct str rest = str_from(labels, name.len + 2);
		size_t n = 0;

		while (n < rest.len && rest.p[n] != '"')
			n += rest.p[n] == '\\' ? 2 : 1;
		if (str_eq(name, key))
			return str_first(rest, n);
		labels = str_from(rest, n + 2); /* quote and comma */
	}
	return STR_NONE;
}

/* The row of a series, made when it is new. NULL without memory, with too many
 * rows, or for names of more than 512 bytes. */
static struct top_row *top_find_row(struct top_sample *s, struct str labels)
{
	char space[512];
	struct buf key = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	struct top_row *row;

	buf_add_str(&key, top_find_label(labels, STR("consumer")));
	buf_add_str(&key, STR("\n"));
	buf_add_str(&key, top_find_label(labels, STR("gen_ai_request_model")));
	if (key.failed)
		return NULL;
	row = map_get(&s->rows, buf_str(&key));
	if (row)
		return row;
	row = calloc(1, sizeof(*row));
	if (row && !map_put(&s->rows, buf_str(&key), row)) {
		free(row);
		row = NULL;
	}
	return row;
}

/* `name{labels} value`. Series without labels, and values that are not whole
 * (sums of histograms), are no source of a column and skipped. The labels end
 * at the last '}', because a value of a label may hold one. False when a row
 * could not be made. */
static bool top_read_line(struct top_sample *s, struct str line)
{
	size_t brace = str_find(line, '{');
	struct str name = str_first(line, brace);
	struct str rest = str_from(line, brace + 1);
	size_t end = rest.len;
	struct str labels;
	uint64_t value;
	unsigned i;

	while (end > 0 && rest.p[end - 1] != '}')
		end--;
	if (end == 0 || !str_to_u64(str_from(rest, end + 1), &value))
		return true;
	labels = str_first(rest, end - 1);
	for (i = 0; i < TOP_N_SOURCES; i++) {
		struct top_row *row;

		if (!str_eq(top_sources[i].name, name) ||
		    !str_eq(top_find_label(labels, top_sources[i].label),
		            top_sources[i].value))
			continue;
		row = top_find_row(s, labels);
		if (!row)
			return false;
		row->v[top_sources[i].column] += value;
	}
	return true;
}

bool top_read(struct top_sample *s, struct str page)
{
	bool ok = true;

	while (page.len > 0) {
		struct str line = str_first(page, str_find(page, '\n'));

		if (line.len > 0 && line.p[0] != '#')
			ok = top_read_line(s, line) && ok;
		page = str_from(page, line.len + 1);
	}
	return ok;
}

/* ---------------------------------------------------------------- writing */

/* What each column grew by. A counter that fell was set to 0 by a restart of
 * the agent, and grew by all it shows. Requests in flight are a level, shown as
 * it is. `before` is NULL for a new row. */
static void top_subtract(const struct top_row *before,
                         const struct top_row *after, struct top_row *out)
{
	unsigned i;

	for (i = 0; i < TOP_N_COLUMNS; i++) {
		uint64_t was = before && i != TOP_STREAMS ? before->v[i] : 0;

		out->v[i] =
			after->v[i] >= was ? after->v[i] - was : after->v[i];
	}
}

/* By tokens first, because they cost. Rows with equal numbers by name, so that
 * they keep their places from one table to the next. */
static int top_compare_rows(const void *a, const void *b)
{
	static const enum top_column by[] = {TOP_OUTPUT, TOP_INPUT,
	                                     TOP_REQUESTS, TOP_STREAMS};
	const struct top_row *x = a, *y = b;
	unsigned i;

	for (i = 0; i < sizeof(by) / sizeof(*by); i++)
		if (x->v[by[i]] != y->v[by[i]])
			return x->v[by[i]] < y->v[by[i]] ? 1 : -1;
	/* the text is the node's key: consumer and model, ended by a NUL */
	return strcmp(x->consumer.p, y->consumer.p);
}

/* The sorted rows of a table, *n of them, which the caller frees; their names
 * are views into `after`. A row that is only in `before` has left the page: the
 * agent was restarted. NULL without memory. */
static struct top_row *top_make_rows(const struct top_sample *before,
                                     const struct top_sample *after, size_t *n)
{
	struct top_row *rows = calloc(after->rows.n + 1, sizeof(*rows));
	struct map_node *node;

	*n = 0;
	if (!rows)
		return NULL;
	map_each (&after->rows, node) {
		struct top_row *row = &rows[(*n)++];
		struct str key = map_key(node);

		top_subtract(map_get(&before->rows, key), node->value, row);
		row->consumer = str_first(key, str_find(key, '\n'));
		row->model = str_from(key, row->consumer.len + 1);
	}
	qsort(rows, *n, sizeof(*rows), top_compare_rows);
	return rows;
}

/* All but printable ASCII becomes '?': a name could hold an escape sequence
 * that the terminal obeys. */
static void top_write_name(struct str name, struct buf *out)
{
	char shown[TOP_NAME_WIDTH];
	size_t i;

	for (i = 0; i < name.len && i < sizeof(shown); i++) {
		shown[i] = '?';
		if (name.p[i] >= ' ' && name.p[i] <= '~')
			shown[i] = name.p[i];
	}
	buf_fmt(out, "%-*" STR_FMT "  ", (int)sizeof(shown), (int)i, shown);
}

/* Rates are per second. */
static void top_write_row(struct str consumer, struct str model,
                          const struct top_row *row, uint64_t elapsed_us,
                          struct buf *out)
{
	unsigned i;

	top_write_name(consumer, out);
	top_write_name(model, out);
	for (i = 0; i < TOP_N_COLUMNS; i++)
		if (i == TOP_STREAMS)
			buf_fmt(out, "%10" PRIu64, row->v[i]);
		else
			buf_fmt(out, "%12.1f",
			        (double)row->v[i] * 1e6 / (double)elapsed_us);
	buf_fmt(out, "\n");
}

bool top_write(const struct top_sample *before, const struct top_sample *after,
               uint64_t elapsed_us, size_t max_rows, struct buf *out)
{
	struct top_row sum = {.v = {0}};
	struct top_row *rows;
	size_t i, n;
	unsigned k;

	rows = top_make_rows(before, after, &n);
	if (!rows)
		return false;
	if (elapsed_us == 0)
		elapsed_us = 1;
	top_write_name(STR("consumer"), out);
	top_write_name(STR("model"), out);
	buf_fmt(out, "%12s%12s%12s%12s%10s\n", "requests/s", "refused/s",
	        "in tok/s", "out tok/s", "in flight");
	for (i = 0; i < n; i++) {
		if (i < max_rows)
			top_write_row(rows[i].consumer, rows[i].model, &rows[i],
			              elapsed_us, out);
		for (k = 0; k < TOP_N_COLUMNS; k++)
			sum.v[k] += rows[i].v[k];
	}
	top_write_row(STR("total"), STR_NONE, &sum, elapsed_us, out);
	free(rows);
	return !out->failed;
}

/* ---------------------------------------------------------------- options */

static const struct argv_option top_option_rows[] = {
	ARGV_OPTION("--once", ARGV_FLAG, top_options, once, NULL,
                    "one table, for scripts"),
};

enum { TOP_N_OPTIONS = sizeof(top_option_rows) / sizeof(*top_option_rows) };

bool top_read_options(int argc, char **argv, struct top_options *out,
                      struct buf *error)
{
	*out = (struct top_options){.url = NULL};
	return argv_read(top_option_rows, TOP_N_OPTIONS, argc, argv, out,
	                 &out->url, error);
}

void top_usage(struct buf *out)
{
	argv_usage(top_option_rows, TOP_N_OPTIONS, out);
}

/* ---------------------------------------------------------------- running */

/* A run of the command. */
struct top {
	const struct top_options *o;
	const struct clock *clock;
	struct loop *loop;
	struct fetch *fetch;
	struct loop_timer timer;
	struct buf url, out;
	struct top_sample last; /* the sample before */
	uint64_t last_us;       /* when it came, monotonic; 0: there is none */
	int exit_code;          /* 0 as soon as a table was printed */
};

/* As many as the terminal has room for, so that the head of the table stays in
 * sight; all of them for a file or a pipe. */
static size_t top_screen_rows(const struct top *t)
{
	struct winsize size;
	int lines = TOP_LINES;

	if (t->o->once || !isatty(STDOUT_FILENO))
		return TOP_ROWS_MAX;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
		lines = size.ws_row;
	return lines > TOP_OTHER_LINES ? (size_t)(lines - TOP_OTHER_LINES) : 1;
}

static void top_show(struct top *t, struct top_sample *now, uint64_t now_us)
{
	buf_clear(&t->out);
	if (!t->o->once) /* cursor to the upper left; clear below it */
		buf_fmt(&t->out, "\033[H\033[J");
	if (!top_write(&t->last, now, now_us - t->last_us, top_screen_rows(t),
	               &t->out))
		return;
	printf("%" STR_FMT, STR_ARG(buf_str(&t->out)));
	if (fflush(stdout) == 0)
		t->exit_code = 0;
	else
		loop_stop(t->loop); /* the reader of the pipe is gone */
}

static void top_on_time(void *ctx);

/* The page becomes the last sample. With --once the second page ends the run.
 */
static void top_add_page(struct top *t, struct str page)
{
	uint64_t now_us = clock_mono_us(t->clock);
	struct top_sample now;

	top_sample_init(&now);
	if (!top_read(&now, page))
		fprintf(stderr, "top: more than %d rows: not all are shown\n",
		        TOP_ROWS_MAX);
	if (t->last_us) {
		top_show(t, &now, now_us);
		if (t->o->once)
			loop_stop(t->loop);
	}
	top_sample_done(&t->last);
	t->last = now;
	t->last_us = now_us;
}

/* Without --once an error does not end the run: the agent may be restarting. */
static void top_on_page(void *ctx, const struct fetch_result *res)
{
	struct top *t = ctx;

	if (res->status == 200) {
		top_add_page(t, res->body);
	} else {
		fprintf(stderr, "top: %" STR_FMT ": %s (status %d)\n",
		        STR_ARG(buf_str(&t->url)),
		        res->error ? res->error : "refused", res->status);
		if (t->o->once)
			loop_stop(t->loop);
	}
	loop_timer_start(t->loop, &t->timer, TOP_EVERY_MS, top_on_time, t);
}

static void top_on_time(void *ctx)
{
	struct top *t = ctx;
	struct fetch_request req = {
		.url = buf_str(&t->url),
		.allow_http = true,
		.deadline_ms = TOP_DEADLINE_MS,
		.max_answer = TOP_PAGE_MAX,
	};

	if (!fetch_start(t->fetch, &req, top_on_page, t)) {
		fprintf(stderr, "top: %" STR_FMT " cannot be asked\n",
		        STR_ARG(req.url));
		loop_stop(t->loop);
	}
}

/* Appends /metrics where it is missing: http://HOST:PORT is enough. */
static void top_set_url(struct top *t)
{
	struct str url =
		t->o->url ? str_c(t->o->url) : STR("http://127.0.0.1:9102");

	if (str_ends(url, STR("/")))
		url.len--;
	buf_add_str(&t->url, url);
	if (!str_ends(url, STR("/metrics")))
		buf_add_str(&t->url, STR("/metrics"));
}

int top_run(const struct top_options *o)
{
	struct top t = {.o = o, .clock = &clock_system, .exit_code = 1};

	buf_init(&t.url, 4096);
	buf_init(&t.out, TOP_TEXT_MAX);
	top_sample_init(&t.last);
	top_set_url(&t);
	t.loop = loop_new();
	t.fetch = t.loop ? fetch_new(t.loop, NULL) : NULL;
	if (t.fetch) {
		top_on_time(&t);
		loop_run(t.loop);
	}
	loop_timer_stop(&t.timer);
	fetch_free(t.fetch);
	loop_free(t.loop);
	top_sample_done(&t.last);
	buf_done(&t.url);
	buf_done(&t.out);
	return t.exit_code;
}

int command_top(int argc, char **argv)
{
	struct top_options o;
	struct buf error;
	bool ok;

	buf_init(&error, COMMAND_TEXT_MAX);
	ok = top_read_options(argc, argv, &o, &error);
	if (!ok)
		top_usage(&error);
	command_tell(&error);
	return ok ? top_run(&o) : COMMAND_USAGE;
}
