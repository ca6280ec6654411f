/*
 * base/metrics: counters, gauges and histograms that all workers share.
 *
 *   name --met_find_name--> met_names[] : type, help, bounds
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

#include "base/utf8.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum metric_type { COUNTER = 0, GAUGE = 1, HISTOGRAM = 2 };

/* The type of a metric. Cells hold whole numbers; `decimals` of their digits
 * are printed behind the point, so that microseconds appear as the seconds that
 * Prometheus asks for. */
struct metric_kind {
	enum metric_type type;
	unsigned decimals; /* of a COUNTER or HISTOGRAM */
	/* the buckets of a HISTOGRAM: upper bound in the unit of the cells,
	 * and as the label that is printed */
	struct {
		uint64_t at;
		const char *le;
	} v[METRIC_BUCKETS]; /* the last one used is +Inf */
};

static const struct metric_kind met_counter = {.type = COUNTER};
static const struct metric_kind met_gauge = {.type = GAUGE};
static const struct metric_kind met_nano_counter = {.type = COUNTER,
                                                    .decimals = 9};

/* Times of the agent's own work, which begin at some tens of microseconds. */
static const struct metric_kind met_short_times = {
	.type = HISTOGRAM,
	.decimals = 6,
	.v = {{50, "5e-05"},
              {100, "0.0001"},
              {250, "0.00025"},
              {500, "0.0005"},
              {1000, "0.001"},
              {2500, "0.0025"},
              {5000, "0.005"},
              {10000, "0.01"},
              {25000, "0.025"},
              {50000, "0.05"},
              {100000, "0.1"},
              {250000, "0.25"},
              {500000, "0.5"},
              {1000000, "1"},
              {5000000, "5"},
              {UINT64_MAX, "+Inf"}},
};

/* Times that include an outage of Redis: up to five minutes. */
static const struct metric_kind met_long_times = {
	.type = HISTOGRAM,
	.decimals = 6,
	.v = {{100, "0.0001"},
              {250, "0.00025"},
              {500, "0.0005"},
              {1000, "0.001"},
              {2500, "0.0025"},
              {5000, "0.005"},
              {10000, "0.01"},
              {50000, "0.05"},
              {100000, "0.1"},
              {500000, "0.5"},
              {1000000, "1"},
              {5000000, "5"},
              {15000000, "15"},
              {60000000, "60"},
              {300000000, "300"},
              {UINT64_MAX, "+Inf"}},
};

/* The bounds of this one and the next are those that the OpenTelemetry
 * conventions for GenAI recommend. */
static const struct metric_kind met_gen_ai_times = {
	.type = HISTOGRAM,
	.decimals = 6,
	.v = {{10000, "0.01"},
              {20000, "0.02"},
              {40000, "0.04"},
              {80000, "0.08"},
              {160000, "0.16"},
              {320000, "0.32"},
              {640000, "0.64"},
              {1280000, "1.28"},
              {2560000, "2.56"},
              {5120000, "5.12"},
              {10240000, "10.24"},
              {20480000, "20.48"},
              {40960000, "40.96"},
              {81920000, "81.92"},
              {UINT64_MAX, "+Inf"}},
};

static const struct metric_kind met_gen_ai_tokens = {
	.type = HISTOGRAM,
	.v = {{1, "1"},
              {4, "4"},
              {16, "16"},
              {64, "64"},
              {256, "256"},
              {1024, "1024"},
              {4096, "4096"},
              {16384, "16384"},
              {65536, "65536"},
              {262144, "262144"},
              {1048576, "1048576"},
              {4194304, "4194304"},
              {16777216, "16777216"},
              {67108864, "67108864"},
              {UINT64_MAX, "+Inf"}},
};

struct metric_name {
	const char *name;
	const struct metric_kind *kind;
	const char *help;
};

/* One row per metric, sorted by name in the order of strcmp (met_find_name
 * searches in halves). The comment of a row names its labels, which callers
 * append; "-" is none. */
static const struct metric_name met_names[] = {
	/* version */
	{"foundry_build_info", &met_gauge, "Always 1; the version is a label."},
	/* consumer, gen_ai_request_model, verdict */
	{"foundry_consumer_requests_total", &met_counter,
         "Decided requests of known callers."},
	/* consumer, gen_ai_request_model */
	{"foundry_consumer_streams", &met_gauge,
         "Admitted requests whose end was not reported yet. An end that is "
         "lost stays counted until the agent restarts."},
	/* those of usage/count */
	{"foundry_cost_usd_total", &met_nano_counter,
         "Cost by the prices of the configuration, estimates included."},
	/* - */
	{"foundry_decision_seconds", &met_short_times,
         "Time from a NOTIFY to its ACK."},
	/* those of usage/count, gen_ai_token_type */
	{"foundry_estimated_tokens_total", &met_counter,
         "Tokens charged by an estimate because no usage was reported."},
	/* worker */
	{"foundry_inflight_requests", &met_gauge,
         "Requests that wait for their decision."},
	/* tenant, result */
	{"foundry_jwks_fetches_total", &met_counter,
         "Fetches of signing keys."},
	/* tenant, worker */
	{"foundry_jwks_keys", &met_gauge,
         "Signing keys of the tenant that the worker holds; with 0 it cannot "
         "verify a token of that tenant."},
	/* result */
	{"foundry_ledger_records_total", &met_counter,
         "Lines of the ledger, written and lost."},
	/* mode: exact, lease, memory */
	{"foundry_limit_decisions_total", &met_counter,
         "Requests by what decided on their limits: Redis, what the worker "
         "knew of Redis, or its own memory."},
	/* limit */
	{"foundry_limit_warnings_total", &met_counter,
         "Requests that passed with a limit used beyond its warn_at."},
	/* - */
	{"foundry_metrics_dropped_total", &met_counter,
         "Series that found no place in the table."},
	/* result */
	{"foundry_reloads_total", &met_counter,
         "Reloads of the configuration."},
	/* verdict, code, operation */
	{"foundry_requests_total", &met_counter, "Decided requests."},
	/* - */
	{"foundry_reservations_expired_total", &met_counter,
         "Reservations of this agent that nothing has settled for two hours: "
         "they stay charged with the estimate."},
	/* - */
	{"foundry_reservations_open", &met_gauge,
         "Requests that this agent has allowed and whose end it was not told, "
         "at most two hours old."},
	/* - */
	{"foundry_settle_lag_seconds", &met_long_times,
         "Time from the arrival of a usage record to its settlement."},
	/* - */
	{"foundry_spop_acks_total", &met_counter, "ACKs sent to HAProxy."},
	/* worker */
	{"foundry_spop_connections", &met_gauge, "Connections from HAProxy."},
	/* code */
	{"foundry_spop_errors_total", &met_counter,
         "Connections ended by an error, by SPOP status code."},
	/* - */
	{"foundry_spop_frames_total", &met_counter,
         "NOTIFYs received from HAProxy."},
	/* - */
	{"foundry_spop_refused_total", &met_counter,
         "Connections closed at accept because there are too many."},
	/* step */
	{"foundry_step_seconds", &met_short_times,
         "Time in one step of the decision."},
	/* worker */
	{"foundry_store_connected", &met_gauge,
         "Whether the store can be reached."},
	/* op */
	{"foundry_store_errors_total", &met_counter,
         "Operations of the store that failed."},
	/* - */
	{"foundry_store_seconds", &met_short_times,
         "Time of one operation of the store."},
	/* - */
	{"foundry_store_writes_dropped_total", &met_counter,
         "Reservations and settlements given up while the store was "
         "away."},
	/* worker */
	{"foundry_store_writes_pending", &met_gauge,
         "Reservations and settlements that wait for the store."},
	/* consumer, gen_ai_request_model */
	{"foundry_streams_cut_total", &met_counter,
         "Running streams that were cut because their caller was blocked."},
	/* result */
	{"foundry_token_cache_total", &met_counter,
         "Look-ups of verified tokens."},
	/* credential, audience, worker */
	{"foundry_token_expiry_seconds", &met_gauge,
         "Unix time at which the outbound token that the worker holds ends; "
         "0 before the first one. Past that time requests are refused."},
	/* credential, result */
	{"foundry_token_fetches_total", &met_counter,
         "Fetches of outbound tokens."},
	/* resource, status */
	{"foundry_upstream_errors_total", &met_counter,
         "Errors answered by a resource."},
	/* result */
	{"foundry_usage_records_total", &met_counter,
         "Usage records received from HAProxy."},
	/* worker */
	{"foundry_worker_ready", &met_gauge, "Whether the worker decides."},
	/* All below: those of usage/count. */
	{"gen_ai_client_inference_usage_cache_read_input_tokens_total",
         &met_counter, "Input tokens that were read from a cache."},
	{"gen_ai_client_inference_usage_input_tokens_total", &met_counter,
         "Input tokens reported as used, cached ones included."},
	{"gen_ai_client_inference_usage_output_tokens_total", &met_counter,
         "Output tokens reported as used, reasoning included."},
	{"gen_ai_client_inference_usage_reasoning_output_tokens_total",
         &met_counter, "Output tokens that were spent on reasoning."},
	{"gen_ai_client_operation_duration_seconds", &met_gen_ai_times,
         "Time from the request to the end of its answer."},
	{"gen_ai_client_operation_time_to_first_chunk_seconds",
         &met_gen_ai_times,
         "Time from the request to the beginning of a streamed answer."},
	{"gen_ai_client_token_usage", &met_gen_ai_tokens,
         "Tokens of one request, as reported."},
};

enum {
	N_NAMES = sizeof(met_names) / sizeof(met_names[0]),
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

_Static_assert(N_NAMES <= UINT8_MAX + 1, "struct cell keeps it in a byte");

struct metric {
	_Atomic int64_t value;
};

/* One number of one series. See the head of the file for who may write what. */
struct cell {
	_Atomic uint64_t hash; /* 0: free */
	_Atomic bool ready;    /* the key below is complete */
	uint8_t name;          /* index in met_names */
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

static unsigned met_find_name(const char *name)
{
	unsigned from = 0, to = N_NAMES;

	while (from < to) {
		unsigned i = from + (to - from) / 2;
		int order = strcmp(name, met_names[i].name);

		if (order == 0)
			return i;
		if (order < 0)
			to = i;
		else
			from = i + 1;
	}
	assert(!"a metric that is not in the table, or a table out of order");
	return 0;
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
	unsigned i = met_find_name(name);

	assert(met_names[i].kind->type != HISTOGRAM);
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
	unsigned i = met_find_name(name);
	unsigned part;

	assert(met_names[i].kind->type == HISTOGRAM);
	out->kind = met_names[i].kind;
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
	unsigned i = met_find_name(name);

	assert(met_names[i].kind->type == HISTOGRAM);
	metric_add(met_get_cell(m, i, met_bucket_index(met_names[i].kind, n),
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
	const struct metric_name *name = &met_names[cells[0]->name];
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
	met_print_series(out, met_names[cells[0]->name].name, "",
	                 met_cell_labels(cells[0]));
	met_print_decimal(out, value, met_names[cells[0]->name].kind->decimals);
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
		const struct metric_name *name = &met_names[used[i]->name];

		if (i == 0 || used[i]->name != used[i - 1]->name)
			met_print_head(out, name);
		i += name->kind->type == HISTOGRAM
		             ? met_print_histogram(out, used + i, n - i)
		             : met_print_plain(out, used + i, n - i);
	}
	/* not a cell, as it counts what found none; always printed */
	i = met_find_name("foundry_metrics_dropped_total");
	met_print_head(out, &met_names[i]);
	met_print_series(out, met_names[i].name, "", STR_NONE);
	met_print_value(out, metric_value(&m->dropped));
}
