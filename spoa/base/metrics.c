/* base/metrics: counters and gauges that all workers share. */
#include "base/metrics.h"

#include "base/utf8.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum metric_type { COUNTER = 0, GAUGE = 1, HISTOGRAM = 2 };

/* What a row counts. `decimals` are behind the point when it is printed, so
 * that microseconds come out as the seconds Prometheus wants. */
struct metric_kind {
	enum metric_type type;
	unsigned decimals; /* of a COUNTER or HISTOGRAM */
	/* upper bounds of the buckets of a HISTOGRAM, in what is observed */
	struct {
		uint64_t at;
		const char *le;
	} v[METRIC_BUCKETS]; /* the last one used is +Inf */
};

static const struct metric_kind counter = {.type = COUNTER};
static const struct metric_kind gauge = {.type = GAUGE};
static const struct metric_kind nano_counter = {.type = COUNTER, .decimals = 9};

/* What the agent itself does: microseconds to seconds. */
static const struct metric_kind short_times = {
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

/* What may have to wait for a server that is away. */
static const struct metric_kind long_times = {
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

/* The two below are those of the OpenTelemetry conventions for GenAI. */
static const struct metric_kind gen_ai_times = {
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

static const struct metric_kind gen_ai_tokens = {
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

/* One row a metric, in the order of their names; labels in the comments are
 * what callers give. */
static const struct metric_name names[] = {
	/* version */
	{"foundry_build_info", &gauge, "Always 1; the version is a label."},
	/* consumer, gen_ai_request_model, verdict */
	{"foundry_consumer_requests_total", &counter,
         "Decided requests of known callers."},
	/* consumer, gen_ai_request_model */
	{"foundry_consumer_streams", &gauge,
         "Admitted requests whose end was not reported yet. An end that is "
         "lost stays counted until the agent restarts."},
	/* those of usage/count */
	{"foundry_cost_usd_total", &nano_counter,
         "Cost by the prices of the configuration, estimates included."},
	/* - */
	{"foundry_decision_seconds", &short_times,
         "Time from a NOTIFY to its ACK."},
	/* those of usage/count, gen_ai_token_type */
	{"foundry_estimated_tokens_total", &counter,
         "Tokens charged by an estimate because no usage was reported."},
	/* worker */
	{"foundry_inflight_requests", &gauge,
         "Requests that wait for their decision."},
	/* tenant, result */
	{"foundry_jwks_fetches_total", &counter, "Fetches of signing keys."},
	/* tenant, worker */
	{"foundry_jwks_keys", &gauge,
         "Signing keys of the tenant that the worker holds; with 0 it cannot "
         "verify a token of that tenant."},
	/* result */
	{"foundry_ledger_records_total", &counter,
         "Lines of the ledger, written and lost."},
	/* mode: exact, lease, memory */
	{"foundry_limit_decisions_total", &counter,
         "Requests by what decided on their limits: Redis, what the worker "
         "knew of Redis, or its own memory."},
	/* limit */
	{"foundry_limit_warnings_total", &counter,
         "Requests that passed with a limit used beyond its warn_at."},
	/* - */
	{"foundry_metrics_dropped_total", &counter,
         "Series that found no place in the table."},
	/* result */
	{"foundry_reloads_total", &counter, "Reloads of the configuration."},
	/* verdict, code, operation */
	{"foundry_requests_total", &counter, "Decided requests."},
	/* - */
	{"foundry_reservations_expired_total", &counter,
         "Reservations of this agent that nothing has settled for two hours: "
         "they stay charged with the estimate."},
	/* - */
	{"foundry_reservations_open", &gauge,
         "Requests that this agent has allowed and whose end it was not told, "
         "at most two hours old."},
	/* - */
	{"foundry_settle_lag_seconds", &long_times,
         "Time from the arrival of a usage record to its settlement."},
	/* - */
	{"foundry_spop_acks_total", &counter, "ACKs sent to HAProxy."},
	/* worker */
	{"foundry_spop_connections", &gauge, "Connections from HAProxy."},
	/* code */
	{"foundry_spop_errors_total", &counter,
         "Connections ended by an error, by SPOP status code."},
	/* - */
	{"foundry_spop_frames_total", &counter,
         "NOTIFYs received from HAProxy."},
	/* - */
	{"foundry_spop_refused_total", &counter,
         "Connections closed at accept because there are too many."},
	/* step */
	{"foundry_step_seconds", &short_times,
         "Time in one step of the decision."},
	/* worker */
	{"foundry_store_connected", &gauge,
         "Whether the store can be reached."},
	/* op */
	{"foundry_store_errors_total", &counter,
         "Operations of the store that failed."},
	/* - */
	{"foundry_store_seconds", &short_times,
         "Time of one operation of the store."},
	/* - */
	{"foundry_store_writes_dropped_total", &counter,
         "Reservations and settlements given up while the store was "
         "away."},
	/* worker */
	{"foundry_store_writes_pending", &gauge,
         "Reservations and settlements that wait for the store."},
	/* consumer, gen_ai_request_model */
	{"foundry_streams_cut_total", &counter,
         "Running streams that were cut because their caller was blocked."},
	/* result */
	{"foundry_token_cache_total", &counter, "Look-ups of verified tokens."},
	/* credential, audience, worker */
	{"foundry_token_expiry_seconds", &gauge,
         "Unix time at which the outbound token that the worker holds ends; "
         "0 before the first one. Past that time requests are refused."},
	/* credential, result */
	{"foundry_token_fetches_total", &counter,
         "Fetches of outbound tokens."},
	/* resource, status */
	{"foundry_upstream_errors_total", &counter,
         "Errors answered by a resource."},
	/* result */
	{"foundry_usage_records_total", &counter,
         "Usage records received from HAProxy."},
	/* worker */
	{"foundry_worker_ready", &gauge, "Whether the worker decides."},
	/* All below: those of usage/count. */
	{"gen_ai_client_inference_usage_cache_read_input_tokens_total",
         &counter, "Input tokens that were read from a cache."},
	{"gen_ai_client_inference_usage_input_tokens_total", &counter,
         "Input tokens reported as used, cached ones included."},
	{"gen_ai_client_inference_usage_output_tokens_total", &counter,
         "Output tokens reported as used, reasoning included."},
	{"gen_ai_client_inference_usage_reasoning_output_tokens_total",
         &counter, "Output tokens that were spent on reasoning."},
	{"gen_ai_client_operation_duration_seconds", &gen_ai_times,
         "Time from the request to the end of its answer."},
	{"gen_ai_client_operation_time_to_first_chunk_seconds", &gen_ai_times,
         "Time from the request to the beginning of a streamed answer."},
	{"gen_ai_client_token_usage", &gen_ai_tokens,
         "Tokens of one request, as reported."},
};

enum {
	N_NAMES = sizeof(names) / sizeof(names[0]),
	PART_SUM = METRIC_BUCKETS, /* parts 0.. are the buckets */
	N_CELLS = 16384,
	/* how far from its place a series may be: with a full table a look-up
	 * must not walk through all of it */
	MAX_PROBES = 256,
	MAX_LABELS = 224,
	/* how often to give way to whoever is filling in a cell */
	MAX_WAITS = 100,
};

struct metric {
	_Atomic int64_t value;
};

/* A cell is claimed by setting its hash, filled in, and then made ready; it
 * never changes after that but for its value. */
struct cell {
	_Atomic uint64_t hash; /* 0: free */
	_Atomic bool ready;
	uint8_t name; /* index in names */
	uint8_t part; /* of a histogram */
	uint8_t labels_len;
	char labels[MAX_LABELS];
	struct metric m;
};

struct metrics {
	struct metric dropped;
	struct metric nowhere; /* where series without a place count */
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

static unsigned name_index(const char *name)
{
	unsigned from = 0, to = N_NAMES;

	while (from < to) {
		unsigned i = from + (to - from) / 2;
		int order = strcmp(name, names[i].name);

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

/* FNV-1a; never 0, as that means a free cell. */
static uint64_t hash_of(unsigned name, unsigned part, struct str labels)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	size_t i;

	h = (h ^ name) * 0x100000001b3ULL;
	h = (h ^ part) * 0x100000001b3ULL;
	for (i = 0; i < labels.len; i++)
		h = (h ^ (unsigned char)labels.p[i]) * 0x100000001b3ULL;
	/* its low bits alone are weak */
	h ^= h >> 32;
	return h ? h : 1;
}

static bool is_ready(struct cell *c)
{
	return atomic_load_explicit(&c->ready, memory_order_acquire);
}

/* A worker may die between claiming a cell and filling it in, so the wait is
 * bounded: the cell is then lost and the series goes to the next one. */
static bool wait_ready(struct cell *c)
{
	unsigned i;

	for (i = 0; i < MAX_WAITS && !is_ready(c); i++)
		sched_yield();
	return is_ready(c);
}

static struct str cell_labels(const struct cell *c)
{
	return str_of(c->labels, c->labels_len);
}

static struct metric *find(struct metrics *m, unsigned name, unsigned part,
                           struct str labels)
{
	uint64_t hash = hash_of(name, part, labels);
	size_t i;

	for (i = 0; i < MAX_PROBES && labels.len <= MAX_LABELS; i++) {
		struct cell *c = &m->cells[(hash + i) % N_CELLS];
		uint64_t was =
			atomic_load_explicit(&c->hash, memory_order_relaxed);

		/* most often it is there, or somebody else's */
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
		if (was == hash && wait_ready(c) && c->name == name &&
		    c->part == part && str_eq(cell_labels(c), labels))
			return &c->m;
	}
	metric_add(&m->dropped, 1);
	return &m->nowhere;
}

struct metric *metrics_get(struct metrics *m, const char *name,
                           struct str labels)
{
	unsigned i = name_index(name);

	assert(names[i].kind->type != HISTOGRAM);
	return find(m, i, 0, labels);
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

		/* the format is UTF-8; one bad byte would spoil the page */
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

void metric_take(struct metric *c, int64_t n)
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
	unsigned i = name_index(name);
	unsigned part;

	assert(names[i].kind->type == HISTOGRAM);
	out->kind = names[i].kind;
	for (part = 0; part < METRIC_BUCKETS; part++)
		out->buckets[part] =
			out->kind->v[part].le ? find(m, i, part, labels) : NULL;
	out->sum = find(m, i, PART_SUM, labels);
}

static unsigned bucket_of(const struct metric_kind *k, uint64_t n)
{
	unsigned i = 0;

	while (n > k->v[i].at)
		i++;
	return i;
}

void metric_observe(struct metric_histogram *h, uint64_t n)
{
	metric_add(h->buckets[bucket_of(h->kind, n)], 1);
	metric_add(h->sum, (int64_t)n);
}

void metrics_observe(struct metrics *m, const char *name, struct str labels,
                     uint64_t n)
{
	unsigned i = name_index(name);

	assert(names[i].kind->type == HISTOGRAM);
	metric_add(find(m, i, bucket_of(names[i].kind, n), labels), 1);
	metric_add(find(m, i, PART_SUM, labels), (int64_t)n);
}

static int compare(const void *a, const void *b)
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

static bool same_series(const struct cell *x, const struct cell *y)
{
	return x->name == y->name && str_eq(cell_labels(x), cell_labels(y));
}

static void print_head(struct buf *out, const struct metric_name *name)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};

	buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n", name->name, name->help,
	        name->name, types[name->kind->type]);
}

static void print_series(struct buf *out, const char *name, const char *suffix,
                         struct str labels)
{
	buf_fmt(out, "%s%s", name, suffix);
	if (labels.len)
		buf_fmt(out, "{%" STR_FMT "}", STR_ARG(labels));
}

static void print_value(struct buf *out, int64_t value)
{
	buf_fmt(out, " %lld\n", (long long)value);
}

/* With so many decimals of it behind the point; such values only rise. */
static void print_decimal(struct buf *out, int64_t value, unsigned decimals)
{
	int64_t one = 1;
	unsigned i;

	if (decimals == 0) {
		print_value(out, value);
		return;
	}
	for (i = 0; i < decimals; i++)
		one *= 10;
	buf_fmt(out, " %lld.%0*lld\n", (long long)(value / one), (int)decimals,
	        (long long)(value % one));
}

/* The cells of one histogram, in order of their parts. A part is missing when
 * nothing was counted in it or the table was full, and may be there twice (see
 * wait_ready). The count is the sum of the buckets, so that it never differs
 * from le="+Inf". */
static size_t print_histogram(struct buf *out, struct cell *const *cells,
                              size_t n)
{
	const struct metric_name *name = &names[cells[0]->name];
	struct str labels = cell_labels(cells[0]);
	const char *comma = labels.len ? "," : "";
	int64_t count = 0, sum = 0;
	unsigned part;
	size_t i = 0;

	for (part = 0; part <= PART_SUM; part++) {
		for (; i < n && same_series(cells[0], cells[i]) &&
		       cells[i]->part == part;
		     i++)
			*(part == PART_SUM ? &sum : &count) +=
				metric_value(&cells[i]->m);
		if (part == PART_SUM || !name->kind->v[part].le)
			continue;
		buf_fmt(out, "%s_bucket{%" STR_FMT "%sle=\"%s\"}", name->name,
		        STR_ARG(labels), comma, name->kind->v[part].le);
		print_value(out, count);
	}
	print_series(out, name->name, "_sum", labels);
	print_decimal(out, sum, name->kind->decimals);
	print_series(out, name->name, "_count", labels);
	print_value(out, count);
	return i;
}

static size_t print_plain(struct buf *out, struct cell *const *cells, size_t n)
{
	int64_t value = 0;
	size_t i;

	for (i = 0; i < n && same_series(cells[0], cells[i]); i++)
		value += metric_value(&cells[i]->m);
	print_series(out, names[cells[0]->name].name, "",
	             cell_labels(cells[0]));
	print_decimal(out, value, names[cells[0]->name].kind->decimals);
	return i;
}

void metrics_print(struct metrics *m, struct buf *out)
{
	struct cell *used[N_CELLS];
	size_t i, n = 0;

	for (i = 0; i < N_CELLS; i++)
		if (is_ready(&m->cells[i]))
			used[n++] = &m->cells[i];
	qsort(used, n, sizeof(used[0]), compare);
	for (i = 0; i < n;) {
		const struct metric_name *name = &names[used[i]->name];

		if (i == 0 || used[i]->name != used[i - 1]->name)
			print_head(out, name);
		i += name->kind->type == HISTOGRAM
		             ? print_histogram(out, used + i, n - i)
		             : print_plain(out, used + i, n - i);
	}
	i = name_index("foundry_metrics_dropped_total");
	print_head(out, &names[i]);
	print_series(out, names[i].name, "", STR_NONE);
	print_value(out, metric_value(&m->dropped));
}
