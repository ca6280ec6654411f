/*
 * report: who consumed what, from the ledger.
 *
 *   files -> lines -> usage/entry -> filter -> groups -> sorted -> printed
 */
#include "report.h"

#include "decide/estimate.h"
#include "usage/entry.h"
#include "words.h"

#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_MAX = 1024 };

struct sums {
	uint64_t requests, estimated, failed;
	uint64_t input, cached, output, reasoning;
	unsigned __int128 pico_usd;
};

struct group {
	struct sums sums;
	struct str values[REPORT_COLUMNS_MAX]; /* behind, in `text` */
	char text[];
};

struct report {
	const struct report_options *o;
	const struct policy *policy;
	entry_column_fn *columns[REPORT_COLUMNS_MAX];
	struct str names[REPORT_COLUMNS_MAX];
	size_t n_columns;
	struct map groups; /* values with '\n' between -> struct group */
	uint64_t bad_lines;
	bool full;
};

/* ---------------------------------------------------------------- options */

static const char *const formats[] = {"table", "csv", "json", NULL};

#define TEXT(name, member, help)                                               \
	WORD_OF(name, WORD_TEXT, report_options, member, NULL, help)

static const struct word words[] = {
	TEXT("--from", from, "2026-11, 2026-11-22 or 2026-11-22T14:00:00Z"),
	TEXT("--to", to, "the same; the first moment that does not count"),
	TEXT("--by", by, "columns, with commas; default consumer"),
	WORD_OF("--format", WORD_ENUM, report_options, format, formats,
                "table (default), csv or json"),
	TEXT("--ledger", ledger, "a file, instead of that in FILE"),
};

enum { N_WORDS = sizeof(words) / sizeof(*words) };

bool report_read_options(int argc, char **argv, struct report_options *out,
                         struct buf *error)
{
	*out = (struct report_options){.by = STR("consumer")};
	if (!words_read(words, N_WORDS, argc, argv, out, &out->config, error))
		return false;
	if (!out->config)
		buf_fmt(error, "report: expected FILE, the gateway.json with "
		               "the prices\n");
	return out->config != NULL;
}

void report_usage(struct buf *out)
{
	words_usage(words, N_WORDS, out);
	buf_fmt(out, "    columns: %s\n", entry_columns());
}

/* "2026-11-22T14:03" and every beginning of it that ends with a number. */
static bool is_time(struct str s)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
	size_t i;

	if (s.len > 0 && s.p[s.len - 1] == 'Z')
		s.len--;
	for (i = 0; i < s.len && i < sizeof(form) - 1; i++) {
		bool digit = s.p[i] >= '0' && s.p[i] <= '9';

		if (form[i] == 'd' ? !digit : s.p[i] != form[i])
			return false;
	}
	return i == s.len && (i == 0 || form[i] != 'd');
}

static bool read_columns(struct report *rep, struct buf *error)
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

static bool check(const struct report_options *o, struct buf *error)
{
	if (is_time(o->from) && is_time(o->to))
		return true;
	buf_fmt(error, "--from and --to: expected a time in UTC like 2026-11, "
	               "2026-11-22 or 2026-11-22T14:00:00Z\n");
	return false;
}

/* ---------------------------------------------------------------- groups */

/* ISO times compare as text; a shorter one stands for its first moment. */
static int compare_time(struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

static bool is_inside(const struct report_options *o, struct str time)
{
	if (o->from.len > 0 && compare_time(time, o->from) < 0)
		return false;
	return o->to.len == 0 || compare_time(time, o->to) < 0;
}

static struct group *group_new(const struct report *rep, struct str key)
{
	struct group *g = calloc(1, sizeof(*g) + key.len + 1);
	struct str rest;
	size_t i;

	if (!g)
		return NULL;
	memcpy(g->text, key.p, key.len);
	rest = str_of(g->text, key.len);
	for (i = 0; i < rep->n_columns; i++) {
		g->values[i] = str_first(rest, str_find(rest, '\n'));
		rest = str_from(rest, g->values[i].len + 1);
	}
	return g;
}

static struct group *group_of(struct report *rep, const struct usage_entry *e)
{
	char space[KEY_MAX];
	struct buf key = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	struct group *g;
	size_t i;

	for (i = 0; i < rep->n_columns; i++) {
		buf_add_str(&key, rep->columns[i](e));
		buf_add(&key, "\n", 1);
	}
	if (key.failed)
		return NULL;
	g = map_get(&rep->groups, buf_str(&key));
	if (g)
		return g;
	g = group_new(rep, buf_str(&key));
	if (g && !map_put(&rep->groups, buf_str(&key), g)) {
		free(g);
		g = NULL;
	}
	return g;
}

static unsigned __int128 cost_of(const struct report *rep,
                                 const struct usage_entry *e)
{
	const struct policy_model *m = policy_model(rep->policy, e->model);

	if (!m)
		return (unsigned __int128)e->nano_usd * 1000;
	return estimate_pico(m, e->input, e->cached, e->output);
}

static void add(struct report *rep, struct str line)
{
	struct usage_entry e;
	struct group *g;

	if (!entry_read(line, &e)) {
		rep->bad_lines++;
		return;
	}
	if (!is_inside(rep->o, e.time))
		return;
	g = group_of(rep, &e);
	if (!g) {
		rep->full = true;
		return;
	}
	g->sums.requests++;
	g->sums.estimated += e.estimated;
	g->sums.failed += e.status < 200 || e.status > 299;
	g->sums.input += e.input;
	g->sums.cached += e.cached;
	g->sums.output += e.output;
	g->sums.reasoning += e.reasoning;
	g->sums.pico_usd += cost_of(rep, &e);
}

/* ------------------------------------------------------------------ files */

static bool read_file(struct report *rep, const char *path, struct buf *error)
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
			add(rep, line);
		rest = str_from(rest, line.len + 1);
	}
	if (text)
		munmap(text, (size_t)st.st_size);
	return true;
}

/* The file of the config, and what it was moved to. */
static bool read_all(struct report *rep, struct buf *error)
{
	struct str file = rep->policy->ledger.file;
	char *pattern = NULL;
	glob_t found = {0};
	bool ok = true;
	size_t i;

	if (file.len == 0) {
		buf_fmt(error, "%s: has no ledger.file, expected --ledger\n",
		        rep->policy->file);
		return false;
	}
	if (asprintf(&pattern, "%" STR_FMT ".*Z", STR_ARG(file)) < 0)
		return false;
	if (glob(pattern, 0, NULL, &found) == 0)
		for (i = 0; ok && i < found.gl_pathc; i++)
			ok = read_file(rep, found.gl_pathv[i], error);
	globfree(&found);
	free(pattern);
	return ok && read_file(rep, file.p, error);
}

/* --------------------------------------------------------------- printing */

static int compare_groups(const void *a, const void *b)
{
	const struct group *const *x = a, *const *y = b;
	int order = 0;
	size_t i;

	for (i = 0; i < REPORT_COLUMNS_MAX && order == 0; i++)
		order = compare_time((*x)->values[i], (*y)->values[i]);
	return order;
}

static struct group **sorted(const struct report *rep)
{
	struct group **v = calloc(rep->groups.n + 1, sizeof(struct group *));
	struct map_node *node;
	size_t n = 0;

	if (!v)
		return NULL;
	map_each (&rep->groups, node)
		v[n++] = node->value;
	qsort(v, n, sizeof(*v), compare_groups);
	return v;
}

/* Exact: pico-dollars with twelve decimals, of which six are shown in the
 * table, rounded half up. */
static void write_usd(struct buf *out, unsigned __int128 pico, bool all)
{
	const uint64_t million = 1000000;
	uint64_t whole, part;

	if (!all)
		pico = (pico + million / 2) / million * million;
	whole = (uint64_t)(pico / million / million);
	part = (uint64_t)(pico % ((unsigned __int128)million * million));
	if (all)
		buf_fmt(out, "%" PRIu64 ".%012" PRIu64, whole, part);
	else
		buf_fmt(out, "%" PRIu64 ".%06" PRIu64, whole, part / million);
}

static const struct number {
	const char *name;
	size_t at;
} numbers[] = {
	{"requests", offsetof(struct sums, requests)},
	{"failed", offsetof(struct sums, failed)},
	{"estimated", offsetof(struct sums, estimated)},
	{"input", offsetof(struct sums, input)},
	{"cached", offsetof(struct sums, cached)},
	{"output", offsetof(struct sums, output)},
	{"reasoning", offsetof(struct sums, reasoning)},
};

enum { N_NUMBERS = sizeof(numbers) / sizeof(*numbers) };

static uint64_t number_of(const struct sums *s, size_t i)
{
	return *(const uint64_t *)((const char *)s + numbers[i].at);
}

/* RFC 4180: quoted, quotes doubled. */
static void write_csv_text(struct buf *out, struct str s)
{
	size_t i;

	buf_add_str(out, STR("\""));
	for (i = 0; i < s.len; i++) {
		if (s.p[i] == '"')
			buf_add_str(out, STR("\""));
		buf_add(out, s.p + i, 1);
	}
	buf_add_str(out, STR("\","));
}

static void write_csv(const struct report *rep, struct group *const *v,
                      struct buf *out)
{
	size_t i, k;

	for (k = 0; k < rep->n_columns; k++)
		buf_fmt(out, "%" STR_FMT ",", STR_ARG(rep->names[k]));
	for (k = 0; k < N_NUMBERS; k++)
		buf_fmt(out, "%s,", numbers[k].name);
	buf_fmt(out, "usd\n");
	for (i = 0; v[i]; i++) {
		for (k = 0; k < rep->n_columns; k++)
			write_csv_text(out, v[i]->values[k]);
		for (k = 0; k < N_NUMBERS; k++)
			buf_fmt(out, "%" PRIu64 ",", number_of(&v[i]->sums, k));
		write_usd(out, v[i]->sums.pico_usd, true);
		buf_fmt(out, "\n");
	}
}

static void write_json(const struct report *rep, struct group *const *v,
                       struct buf *out)
{
	size_t i, k;

	buf_fmt(out, "[");
	for (i = 0; v[i]; i++) {
		buf_fmt(out, "%s\n{", i ? "," : "");
		for (k = 0; k < rep->n_columns; k++)
			/* the text still has its JSON escapes */
			buf_fmt(out, "\"%" STR_FMT "\":\"%" STR_FMT "\",",
			        STR_ARG(rep->names[k]),
			        STR_ARG(v[i]->values[k]));
		for (k = 0; k < N_NUMBERS; k++)
			buf_fmt(out, "\"%s\":%" PRIu64 ",", numbers[k].name,
			        number_of(&v[i]->sums, k));
		buf_fmt(out, "\"usd\":");
		write_usd(out, v[i]->sums.pico_usd, true);
		buf_fmt(out, "}");
	}
	buf_fmt(out, "\n]\n");
}

static void add_up(struct sums *total, const struct sums *s)
{
	size_t k;

	for (k = 0; k < N_NUMBERS; k++)
		*(uint64_t *)((char *)total + numbers[k].at) += number_of(s, k);
	total->pico_usd += s->pico_usd;
}

static int width_of(const struct report *rep, struct group *const *v, size_t k)
{
	size_t i, width = rep->names[k].len > 5 ? rep->names[k].len : 5;

	for (i = 0; v[i]; i++)
		if (v[i]->values[k].len > width)
			width = v[i]->values[k].len;
	return width > 60 ? 60 : (int)width;
}

static void write_sums(const struct sums *s, struct buf *out)
{
	size_t k;

	for (k = 0; k < N_NUMBERS; k++)
		buf_fmt(out, "%14" PRIu64, number_of(s, k));
	buf_fmt(out, "    ");
	write_usd(out, s->pico_usd, false);
	buf_fmt(out, "\n");
}

static void write_table(const struct report *rep, struct group *const *v,
                        struct buf *out)
{
	int widths[REPORT_COLUMNS_MAX] = {0};
	struct sums total = {0};
	size_t i, k;

	for (k = 0; k < rep->n_columns; k++) {
		widths[k] = width_of(rep, v, k);
		buf_fmt(out, "%-*" STR_FMT "  ", widths[k],
		        STR_ARG(rep->names[k]));
	}
	for (k = 0; k < N_NUMBERS; k++)
		buf_fmt(out, "%14s", numbers[k].name);
	buf_fmt(out, "    usd\n");
	for (i = 0; v[i]; i++) {
		for (k = 0; k < rep->n_columns; k++)
			buf_fmt(out, "%-*" STR_FMT "  ", widths[k],
			        STR_ARG(str_first(v[i]->values[k], 60)));
		write_sums(&v[i]->sums, out);
		add_up(&total, &v[i]->sums);
	}
	for (k = 0; k < rep->n_columns; k++)
		buf_fmt(out, "%-*s  ", widths[k], k == 0 ? "total" : "");
	write_sums(&total, out);
}

static bool print(const struct report *rep, struct buf *out)
{
	struct group **v = sorted(rep);

	if (!v)
		return false;
	switch (rep->o->format) {
	case REPORT_CSV:
		write_csv(rep, v, out);
		break;
	case REPORT_JSON:
		write_json(rep, v, out);
		break;
	default:
		write_table(rep, v, out);
		break;
	}
	free(v);
	return !out->failed;
}

static void free_groups(struct report *rep)
{
	struct map_node *node;

	map_each (&rep->groups, node)
		free(node->value);
	map_done(&rep->groups);
}

bool report_run(const struct report_options *o, const struct policy *p,
                struct buf *out, struct buf *error)
{
	struct report rep = {.o = o, .policy = p};
	bool ok;

	if (!check(o, error) || !read_columns(&rep, error))
		return false;
	map_init(&rep.groups, REPORT_GROUPS_MAX);
	ok = o->ledger.len > 0 ? read_file(&rep, o->ledger.p, error)
	                       : read_all(&rep, error);
	if (ok && rep.full) {
		buf_fmt(error, "report: more than %d groups\n",
		        REPORT_GROUPS_MAX);
		ok = false;
	}
	if (rep.bad_lines > 0)
		buf_fmt(error,
		        "report: %" PRIu64 " lines are no ledger lines and "
		        "were left out\n",
		        rep.bad_lines);
	ok = ok && print(&rep, out);
	free_groups(&rep);
	return ok;
}
