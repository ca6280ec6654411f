/*
 * report: who consumed what, from the ledger.
 *
 *   rpt_read_all_files   FILE.TIME.., FILE
 *     rpt_read_file      mmap, line by line
 *       rpt_add_line     entry_read
 *         rpt_keep_batch_increase   what a batch has used since it was last
 *                                   asked for
 *         rpt_is_in_period          --from, --to
 *         rpt_find_row              by the columns of --by, made if new
 *         rpt_add_cost              by the token here; by the hour later
 *   report_ptu_share     what is paid by the hour, over the rows (report_ptu)
 *   report_print         table, CSV or JSON (report_print)
 *
 * Lines are read once, and only sums are kept, so memory follows the number of
 * rows and not the size of the ledger.
 */
#include "commands/report_rows.h"

#include "base/clock.h"
#include "usage/price.h"
#include "commands/argv.h"
#include "commands/command.h"

#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---------------------------------------------------------------- options */

static const char *const rpt_formats[] = {"table", "csv", "json", NULL};

#define RPT_TEXT(name, member, help)                                           \
	ARGV_OPTION(name, ARGV_TEXT, report_options, member, NULL, help)

static const struct argv_option rpt_option_rows[] = {
	RPT_TEXT("--from", from, "2026-11, 2026-11-22 or 2026-11-22T14:00:00Z"),
	RPT_TEXT("--to", to, "the same; the first moment that does not count"),
	RPT_TEXT("--by", by, "columns, with commas; default consumer"),
	ARGV_OPTION("--format", ARGV_ENUM, report_options, format, rpt_formats,
                    "table (default), csv or json"),
	RPT_TEXT("--ledger", ledger, "a file, instead of that in FILE"),
};

enum { RPT_N_OPTIONS = sizeof(rpt_option_rows) / sizeof(*rpt_option_rows) };

bool report_read_options(int argc, char **argv, struct report_options *out,
                         struct buf *error)
{
	*out = (struct report_options){.by = STR("consumer"),
	                               .now_ms = clock_real_ms(&clock_system)};
	if (!argv_read(rpt_option_rows, RPT_N_OPTIONS, argc, argv, out,
	               &out->config, error))
		return false;
	if (!out->config)
		buf_fmt(error, "report: expected FILE, the gateway.json with "
		               "the prices\n");
	return out->config != NULL;
}

void report_usage(struct buf *out)
{
	argv_usage(rpt_option_rows, RPT_N_OPTIONS, out);
	buf_fmt(out, "    columns: %s\n", entry_columns());
}

/* The names of --by, as functions that give the column of an entry. */
static bool rpt_read_columns(struct report *rep, struct buf *error)
{
	struct str rest = rep->o->by;

	while (rest.len > 0) {
		struct str name = str_first(rest, str_find(rest, ','));
		entry_column_fn *column = entry_column(name);

		if (!column || rep->n_columns == REPORT_COLUMNS_MAX) {
			buf_fmt(error,
			        "--by: found \"%" STR_FMT "\", expected at "
			        "most %d of %s\n",
			        STR_ARG(name), REPORT_COLUMNS_MAX,
			        entry_columns());
			return false;
		}
		rep->names[rep->n_columns] = name;
		rep->columns[rep->n_columns++] = column;
		rest = str_from(rest, name.len + 1);
	}
	return true;
}

static bool rpt_check_times(const struct report_options *o, struct buf *error)
{
	int64_t ms;

	if ((o->from.len == 0 || clock_read(o->from, &ms)) &&
	    (o->to.len == 0 || clock_read(o->to, &ms)))
		return true;
	buf_fmt(error, "--from and --to: expected a time in UTC like 2026-11, "
	               "2026-11-22 or 2026-11-22T14:00:00Z\n");
	return false;
}

/* ------------------------------------------------------------------ rows */

/* Bytewise; a text comes after its own beginning. So UTC times in ISO 8601
 * compare as times, and a shorter one ("2026-11") as its first moment. */
static int rpt_compare_texts(struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* Texts are compared, not parsed: a ledger has millions of lines. */
static bool rpt_is_in_period(const struct report_options *o, struct str time)
{
	if (o->from.len > 0 && rpt_compare_texts(time, o->from) < 0)
		return false;
	return o->to.len == 0 || rpt_compare_texts(time, o->to) < 0;
}

/* One block of memory: the row, the text of its values, its uses. `key` has
 * each value with a newline behind it. */
static struct row *rpt_new_row(const struct report *rep, struct str key)
{
	size_t n = rep->policy->n_provisioned;
	size_t text = (key.len + 8) & ~(size_t)7; /* aligns the uses */
	struct row *row = calloc(1, sizeof(*row) + text + n * 8);
	struct str rest;
	size_t i;

	if (!row)
		return NULL;
	row->uses = (void *)(row->text + text);
	memcpy(row->text, key.p, key.len);
	rest = str_of(row->text, key.len);
	for (i = 0; i < rep->n_columns; i++) {
		row->values[i] = str_first(rest, str_find(rest, '\n'));
		rest = str_from(rest, row->values[i].len + 1);
	}
	return row;
}

struct row *report_row(struct report *rep, struct str key)
{
	struct row *row = map_get(&rep->rows, key);

	if (row)
		return row;
	row = rpt_new_row(rep, key);
	if (row && !map_put(&rep->rows, key, row)) {
		free(row);
		row = NULL;
	}
	return row;
}

/* A newline cannot be in a value: the texts of an entry keep their JSON
 * escapes. NULL also when the values are longer than REPORT_KEY_MAX. */
static struct row *rpt_find_row(struct report *rep, const struct usage_entry *e)
{
	char space[REPORT_KEY_MAX];
	struct buf key = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	size_t i;

	for (i = 0; i < rep->n_columns; i++) {
		buf_add_str(&key, rep->columns[i](e));
		buf_add(&key, "\n", 1);
	}
	return key.failed ? NULL : report_row(rep, buf_str(&key));
}

/* By the prices of the given configuration. The cost in the line is used only
 * for a model that the configuration does not have (any more). */
static unsigned __int128 rpt_price_entry(const struct report *rep,
                                         const struct usage_entry *e)
{
	const struct policy_model *m = policy_model(rep->policy, e->model);
	struct usage_tokens tokens;

	if (!m)
		return (unsigned __int128)e->nano_usd * 1000;
	tokens = entry_tokens(e);
	return price_pico_usd(e->batch.len > 0
	                              ? &m->price_batch
	                              : price_of_tier(m, e->service_tier),
	                      &tokens, e->requests);
}

/* What a provisioned deployment has served is paid by the hour: its tokens are
 * only weighed here. What Azure spilled over went to a deployment that is paid
 * by the token. */
static void rpt_add_cost(const struct report *rep, struct row *row,
                         const struct usage_entry *e)
{
	const struct policy_provisioned *p = NULL;

	if (!e->spilled)
		p = policy_provisioned(rep->policy, e->resource, e->deployment);
	if (p)
		report_ptu_add(row, p, (size_t)(p - rep->policy->provisioned),
		               e);
	else
		row->sums.pico_usd += rpt_price_entry(rep, e);
}

/* Replaces a running total by its increase. A total that fell counts as no
 * increase. */
static void rpt_keep_increase(uint64_t *now, uint64_t *before)
{
	uint64_t all = *now > *before ? *now : *before;

	*now = all - *before;
	*before = all;
}

/* Each line of a batch has the total that it has used so far, once per question
 * of its owner. The entry is changed to what is new since the line before.
 * Lines before --from are needed as well: their tokens belong to the earlier
 * period. False without memory, or with too many batches. */
static bool rpt_keep_batch_increase(struct report *rep, struct usage_entry *e)
{
	struct usage_entry *seen = map_get(&rep->batches, e->batch);

	if (!seen) {
		seen = calloc(1, sizeof(*seen));
		if (!seen || !map_put(&rep->batches, e->batch, seen)) {
			free(seen);
			return false;
		}
	}
#define RPT_INCREASE(kind, name, where)                                        \
	rpt_keep_increase(&e->name, &seen->name);
	USAGE_TOKENS(RPT_INCREASE)
#undef RPT_INCREASE
	return true;
}

/* A line that is no ledger line is counted and skipped: a crash may have cut
 * one. Without memory the sums would be wrong, so `full` fails the report. */
static void rpt_add_line(struct report *rep, struct str line)
{
	struct usage_entry e;
	struct row *row;

	if (!entry_read(line, &e)) {
		rep->bad_lines++;
		return;
	}
	if (e.batch.len > 0 && !rpt_keep_batch_increase(rep, &e)) {
		rep->full = true;
		return;
	}
	if (!rpt_is_in_period(rep->o, e.time))
		return;
	if (!rep->first[0] ||
	    memcmp(e.time.p, rep->first, sizeof(rep->first)) < 0)
		memcpy(rep->first, e.time.p, sizeof(rep->first));
	row = rpt_find_row(rep, &e);
	if (!row) {
		rep->full = true;
		return;
	}
	row->sums.requests++;
	row->sums.estimated += e.estimated;
	row->sums.failed += e.status < 200 || e.status > 299;
#define RPT_ADD(kind, name, where) row->sums.name += e.name;
	USAGE_TOKENS(RPT_ADD)
#undef RPT_ADD
	rpt_add_cost(rep, row, &e);
}

/* By value, column by column; idle throughput behind all others. */
static int rpt_compare_rows(const void *a, const void *b)
{
	const struct row *const *x = a, *const *y = b;
	int order = (*x)->idle - (*y)->idle;
	size_t i;

	for (i = 0; i < REPORT_COLUMNS_MAX && order == 0; i++)
		order = rpt_compare_texts((*x)->values[i], (*y)->values[i]);
	return order;
}

struct row **report_sorted(const struct report *rep)
{
	struct row **v = calloc(rep->rows.n + 1, sizeof(struct row *));
	struct map_node *node;
	size_t n = 0;

	if (!v)
		return NULL;
	map_each (&rep->rows, node)
		v[n++] = node->value;
	qsort(v, n, sizeof(struct row *), rpt_compare_rows);
	return v;
}

/* ------------------------------------------------------------------ files */

/* Mapped rather than read: a month may have gigabytes, and each is used once.
 * The agent may append meanwhile; the size at the start counts. An empty file
 * cannot be mapped. */
static bool rpt_read_file(struct report *rep, const char *path,
                          struct buf *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st = {0};
	struct str rest;
	void *text;

	if (fd < 0 || fstat(fd, &st) < 0) {
		buf_fmt(error, "%s: cannot be read\n", path);
		if (fd >= 0)
			close(fd);
		return false;
	}
	text = st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ,
	                             MAP_PRIVATE, fd, 0)
	                      : NULL;
	close(fd);
	if (text == MAP_FAILED) {
		buf_fmt(error, "%s: cannot be mapped\n", path);
		return false;
	}
	rest = str_of(text, (size_t)st.st_size);
	while (rest.len > 0) {
		struct str line = str_first(rest, str_find(rest, '\n'));

		if (line.len > 0)
			rpt_add_line(rep, line);
		rest = str_from(rest, line.len + 1);
	}
	if (text)
		munmap(text, (size_t)st.st_size);
	return true;
}

/* The ledger of the configuration and the files it was rotated to by the agent
 * (FILE.TIME, usage/ledger; TIME ends with Z). The oldest comes first, because
 * glob() sorts and batches need their lines in order. Compressed files and
 * those of logrotate's own names are not found: --ledger reads one of them. */
static bool rpt_read_all_files(struct report *rep, struct buf *error)
{
	struct str file = rep->policy->ledger.file;
	struct buf pattern;
	glob_t found = {0};
	bool ok = true;
	size_t i;

	if (file.len == 0) {
		buf_fmt(error, "%s: has no ledger.file, expected --ledger\n",
		        rep->policy->file);
		return false;
	}
	buf_init(&pattern, PATH_MAX);
	ok = buf_fmt(&pattern, "%" STR_FMT ".*Z", STR_ARG(file));
	ok = ok && buf_add(&pattern, "", 1);
	if (ok && glob(pattern.p, 0, NULL, &found) == 0)
		for (i = 0; ok && i < found.gl_pathc; i++)
			ok = rpt_read_file(rep, found.gl_pathv[i], error);
	globfree(&found);
	buf_done(&pattern);
	return ok && rpt_read_file(rep, file.p, error);
}

static void rpt_free_rows(struct report *rep)
{
	struct map_node *node;

	map_each (&rep->rows, node)
		free(node->value);
	map_done(&rep->rows);
	map_each (&rep->batches, node)
		free(node->value);
	map_done(&rep->batches);
	free(rep->periods);
}

/* Lines have milliseconds. "14:03:05Z" would compare as later than
 * "14:03:05.123Z", because 'Z' is above '.'. */
static struct str rpt_strip_zone(struct str time)
{
	return str_ends(time, STR("Z")) ? str_first(time, time.len - 1) : time;
}

bool report_run(const struct report_options *o, const struct policy *p,
                struct buf *out, struct buf *error)
{
	struct report_options bare = *o;
	struct report rep = {.o = &bare, .policy = p};
	bool ok;

	if (!rpt_check_times(o, error) || !rpt_read_columns(&rep, error))
		return false;
	bare.from = rpt_strip_zone(o->from);
	bare.to = rpt_strip_zone(o->to);
	map_init(&rep.rows, REPORT_ROWS_MAX);
	map_init(&rep.batches, REPORT_ROWS_MAX);
	ok = o->ledger.len > 0 ? rpt_read_file(&rep, o->ledger.p, error)
	                       : rpt_read_all_files(&rep, error);
	if (ok && !report_ptu_share(&rep))
		rep.full = true;
	if (ok && rep.full) {
		buf_fmt(error, "report: more than %d rows or batches\n",
		        REPORT_ROWS_MAX);
		ok = false;
	}
	if (rep.bad_lines > 0)
		buf_fmt(error,
		        "report: %" PRIu64 " lines are no ledger lines and "
		        "were left out\n",
		        rep.bad_lines);
	ok = ok && report_print(&rep, out);
	rpt_free_rows(&rep);
	return ok;
}

/* Errors come with the usage text when the options could not be read. */
int command_report(int argc, char **argv)
{
	struct report_options o;
	struct policy *p = NULL;
	struct buf out, error;
	bool ok;

	buf_init(&out, COMMAND_REPORT_MAX);
	buf_init(&error, COMMAND_TEXT_MAX);
	ok = report_read_options(argc, argv, &o, &error);
	if (ok)
		p = command_load(o.config);
	else
		report_usage(&error);
	ok = p && report_run(&o, p, &out, &error);
	command_tell(&error);
	policy_unref(p);
	return command_print(&out, ok);
}
