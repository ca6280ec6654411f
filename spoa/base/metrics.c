/*
 * base/metrics: counters, gauges and histograms that all workers share.
 *
 *   name --metric_names_find--> metric_names[] : type, help, bounds
 *   (name, part, labels) --met_hash--> cells[] --met_get_cell--> struct metric
 *
 * The cells are an open-addressing hash table in memory that several processes
 * change without a lock. A process claims a free cell with compare-and-swap of
 * its hash, fills in the key, and then sets `ready` (release); readers look at
 * the key only after they have seen `ready` (acquire). The key of a ready cell
 * never changes, its value is an atomic number.
 *
 * A histogram has a cell for each bucket and one for the sum ("part"). Buckets
 * are counted separately and added up when they are printed.
 */
#include "base/metrics.h"

#include "base/metric_names.h"
#include "base/utf8.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
	PART_SUM = METRIC_BUCKETS, /* parts below it are the buckets */
	/* 4 MB. A consumer takes about 10 cells for each model and resource, an
	 * operation on a model up to 64 for its histograms (usage/count). */
	N_CELLS = 16384,
	/* cells that a look-up tries: in a full table it must not walk through
	 * all of them in the path of a request */
	MAX_PROBES = 256,
	/* a cell then has 248 bytes */
	MAX_LABELS = 224,
	/* calls of sched_yield() to wait for a process that fills in a cell */
	MAX_WAITS = 100,
};

struct metric {
	_Atomic int64_t value;
};

/* One number of one series. See the head of the file for who may write what. */
struct cell {
	_Atomic uint64_t hash; /* 0: free */
	_Atomic bool ready;    /* the key below is complete */
	uint8_t name;          /* row of metric_names */
	uint8_t part;          /* of a histogram */
	uint8_t labels_len;
	char labels[MAX_LABELS];
	struct metric m;
};

struct metrics {
	struct metric dropped; /* look-ups that found no cell */
	struct metric nowhere; /* the cell they got; never printed */
	struct cell cells[N_CELLS];
};

struct metrics *metrics_new(void)
{
	/* anonymous memory is zero: all cells are free */
	void *p = mmap(NULL, sizeof(struct metrics), PROT_READ | PROT_WRITE,
	               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void metrics_free(struct metrics *m)
{
	if (m)
		munmap(m, sizeof(*m));
}

/* FNV-1a of the key of a cell. Without a random seed: labels do not come from
 * clients, and all processes must agree. Never 0, which marks a free cell. */
static uint64_t met_hash(unsigned name, unsigned part, struct str labels)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	size_t i;

	h = (h ^ name) * 0x100000001b3ULL;
	h = (h ^ part) * 0x100000001b3ULL;
	for (i = 0; i < labels.len; i++)
		h = (h ^ (unsigned char)labels.p[i]) * 0x100000001b3ULL;
	/* the index is taken from the low bits, which FNV mixes least */
	h ^= h >> 32;
	return h ? h : 1;
}

static bool met_is_ready(struct cell *c)
{
	return atomic_load_explicit(&c->ready, memory_order_acquire);
}

/* Wait until the process that claimed the cell has filled it in. It may have
 * died before that, so the wait is bounded: the cell is then lost, and the
 * series gets another one (and, where that process was only slow, two). */
static bool met_wait_ready(struct cell *c)
{
	unsigned i;

	for (i = 0; i < MAX_WAITS && !met_is_ready(c); i++)
		sched_yield();
	return met_is_ready(c);
}

static struct str met_cell_labels(const struct cell *c)
{
	return str_of(c->labels, c->labels_len);
}

/* Find the cell of a key, or claim the first free one of its probes. */
static struct metric *met_get_cell(struct metrics *m, unsigned name,
                                   unsigned part, struct str labels)
{
	uint64_t hash = met_hash(name, part, labels);
	size_t i;

	for (i = 0; i < MAX_PROBES && labels.len <= MAX_LABELS; i++) {
		struct cell *c = &m->cells[(hash + i) % N_CELLS];
		uint64_t was =
			atomic_load_explicit(&c->hash, memory_order_relaxed);

		/* The expensive compare-and-swap is tried only on a free cell.
		 * When another process wins it, `was` is the hash that it
		 * stored, which may be that of the same series. */
		if (was == 0 &&
		    atomic_compare_exchange_strong(&c->hash, &was, hash)) {
			c->name = (uint8_t)name;
			c->part = (uint8_t)part;
			c->labels_len = (uint8_t)labels.len;
			if (labels.len)
				memcpy(c->labels, labels.p, labels.len);
			atomic_store_explicit(&c->ready, true,
			                      memory_order_release);
			return &c->m;
		}
		if (was == hash && met_wait_ready(c) && c->name == name &&
		    c->part == part && str_eq(met_cell_labels(c), labels))
			return &c->m;
	}
	metric_add(&m->dropped, 1);
	return &m->nowhere;
}

struct metric *metrics_get(struct metrics *m, const char *name,
                           struct str labels)
{
	unsigned i = metric_names_find(name);

	assert(metric_names[i].kind->type != HISTOGRAM);
	return met_get_cell(m, i, 0, labels);
}

void metrics_label(struct buf *labels, const char *key, struct str value)
{
	if (labels->len > 0)
		buf_add(labels, ",", 1);
	buf_add_str(labels, str_c(key));
	buf_add(labels, "=\"", 2);
	while (value.len > 0) {
		size_t n = utf8_len(value);
		char c = value.p[0];

		/* the format is UTF-8: a scraper rejects the whole page for
		 * one invalid byte */
		if (n == 0)
			buf_add_str(labels, STR("\xef\xbf\xbd"));
		else if (c == '\n')
			buf_add_str(labels, STR("\\n"));
		else if (c == '"' || c == '\\')
			buf_fmt(labels, "\\%c", c);
		else
			buf_add(labels, value.p, n);
		value = str_from(value, n ? n : 1);
	}
	buf_add_str(labels, STR("\""));
}

void metrics_worker(struct buf *labels, unsigned number)
{
	char text[12];

	snprintf(text, sizeof(text), "%u", number);
	metrics_label(labels, "worker", str_c(text));
}

void metric_add(struct metric *c, int64_t n)
{
	atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}

void metric_sub(struct metric *c, int64_t n)
{
	int64_t was = metric_value(c);

	while (!atomic_compare_exchange_weak(&c->value, &was,
	                                     was > n ? was - n : 0))
		;
}

void metric_set(struct metric *c, int64_t value)
{
	atomic_store_explicit(&c->value, value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *c)
{
	return atomic_load_explicit(&c->value, memory_order_relaxed);
}

void metrics_histogram(struct metrics *m, const char *name, struct str labels,
                       struct metric_histogram *out)
{
	unsigned i = metric_names_find(name);
	unsigned part;

	assert(metric_names[i].kind->type == HISTOGRAM);
	out->kind = metric_names[i].kind;
	for (part = 0; part < METRIC_BUCKETS; part++)
		out->buckets[part] = out->kind->v[part].le
		                             ? met_get_cell(m, i, part, labels)
		                             : NULL;
	out->sum = met_get_cell(m, i, PART_SUM, labels);
}

/* The bucket of the value n; the bound of the last one is UINT64_MAX. */
static unsigned met_bucket_index(const struct metric_kind *k, uint64_t n)
{
	unsigned i = 0;

	while (n > k->v[i].at)
		i++;
	return i;
}

void metric_observe(struct metric_histogram *h, uint64_t n)
{
	metric_add(h->buckets[met_bucket_index(h->kind, n)], 1);
	metric_add(h->sum, (int64_t)n);
}

void metrics_observe(struct metrics *m, const char *name, struct str labels,
                     uint64_t n)
{
	unsigned i = metric_names_find(name);

	assert(metric_names[i].kind->type == HISTOGRAM);
	metric_add(met_get_cell(m, i, met_bucket_index(metric_names[i].kind, n),
	                        labels),
	           1);
	metric_add(met_get_cell(m, i, PART_SUM, labels), (int64_t)n);
}

/* The order of the page: cells of one name together, in it those of one series,
 * in it the parts of a histogram. */
static int met_compare_cells(const void *a, const void *b)
{
	const struct cell *x = *(struct cell *const *)a;
	const struct cell *y = *(struct cell *const *)b;
	size_t n =
		x->labels_len < y->labels_len ? x->labels_len : y->labels_len;
	int order;

	if (x->name != y->name)
		return x->name - y->name;
	order = memcmp(x->labels, y->labels, n);
	if (order != 0)
		return order;
	if (x->labels_len != y->labels_len)
		return x->labels_len - y->labels_len;
	return x->part - y->part;
}

static bool met_is_same_series(const struct cell *x, const struct cell *y)
{
	return x->name == y->name &&
	       str_eq(met_cell_labels(x), met_cell_labels(y));
}

static void met_print_head(struct buf *out, const struct metric_name *name)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};

	buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n", name->name, name->help,
	        name->name, types[name->kind->type]);
}

static void met_print_series(struct buf *out, const char *name,
                             const char *suffix, struct str labels)
{
	buf_fmt(out, "%s%s", name, suffix);
	if (labels.len)
		buf_fmt(out, "{%" STR_FMT "}", STR_ARG(labels));
}

static void met_print_value(struct buf *out, int64_t value)
{
	buf_fmt(out, " %lld\n", (long long)value);
}

/* Print the value with that many decimals. It must not be negative: such
 * metrics only rise. */
static void met_print_decimal(struct buf *out, int64_t value, unsigned decimals)
{
	int64_t one = 1;
	unsigned i;

	if (decimals == 0) {
		met_print_value(out, value);
		return;
	}
	for (i = 0; i < decimals; i++)
		one *= 10;
	buf_fmt(out, " %lld.%0*lld\n", (long long)(value / one), (int)decimals,
	        (long long)(value % one));
}

/* Print the histogram whose cells are the first of `cells`, sorted by part, and
 * return their number. A part may have no cell (nothing was counted in it, or
 * the table was full) or two (met_wait_ready). The buckets of the format are
 * cumulative. The count is printed as their sum, so it always equals the bucket
 * of +Inf, although other workers count meanwhile. */
static size_t met_print_histogram(struct buf *out, struct cell *const *cells,
                                  size_t n)
{
	const struct metric_name *name = &metric_names[cells[0]->name];
	struct str labels = met_cell_labels(cells[0]);
	const char *comma = labels.len ? "," : "";
	int64_t count = 0, sum = 0;
	unsigned part;
	size_t i = 0;

	for (part = 0; part <= PART_SUM; part++) {
		for (; i < n && met_is_same_series(cells[0], cells[i]) &&
		       cells[i]->part == part;
		     i++)
			*(part == PART_SUM ? &sum : &count) +=
				metric_value(&cells[i]->m);
		if (part == PART_SUM || !name->kind->v[part].le)
			continue;
		buf_fmt(out, "%s_bucket{%" STR_FMT "%sle=\"%s\"}", name->name,
		        STR_ARG(labels), comma, name->kind->v[part].le);
		met_print_value(out, count);
	}
	met_print_series(out, name->name, "_sum", labels);
	met_print_decimal(out, sum, name->kind->decimals);
	met_print_series(out, name->name, "_count", labels);
	met_print_value(out, count);
	return i;
}

/* Print the counter or gauge whose cells are the first of `cells`, and return
 * their number (more than one: met_wait_ready). */
static size_t met_print_plain(struct buf *out, struct cell *const *cells,
                              size_t n)
{
	int64_t value = 0;
	size_t i;

	for (i = 0; i < n && met_is_same_series(cells[0], cells[i]); i++)
		value += metric_value(&cells[i]->m);
	met_print_series(out, metric_names[cells[0]->name].name, "",
	                 met_cell_labels(cells[0]));
	met_print_decimal(out, value,
	                  metric_names[cells[0]->name].kind->decimals);
	return i;
}

void metrics_print(struct metrics *m, struct buf *out)
{
	struct cell *used[N_CELLS]; /* 128 kB of the stack */
	size_t i, n = 0;

	for (i = 0; i < N_CELLS; i++)
		if (met_is_ready(&m->cells[i]))
			used[n++] = &m->cells[i];
	qsort(used, n, sizeof(used[0]), met_compare_cells);
	for (i = 0; i < n;) {
		const struct metric_name *name = &metric_names[used[i]->name];

		if (i == 0 || used[i]->name != used[i - 1]->name)
			met_print_head(out, name);
		i += name->kind->type == HISTOGRAM
		             ? met_print_histogram(out, used + i, n - i)
		             : met_print_plain(out, used + i, n - i);
	}
	/* not a cell, as it counts what found none; always printed */
	i = metric_names_find("foundry_metrics_dropped_total");
	met_print_head(out, &metric_names[i]);
	met_print_series(out, metric_names[i].name, "", STR_NONE);
	met_print_value(out, metric_value(&m->dropped));
}
