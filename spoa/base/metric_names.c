/*
 * base/metric_names: the table of all metrics.
 *
 *   struct metric_kind   type, unit, bounds of the buckets
 *   metric_names[]       name -> kind, help text; labels as a comment
 *
 * Names and labels are an interface: dashboards and alerts of operators use
 * them (haproxy-conf/grafana-dashboard.json).
 */
#include "base/metric_names.h"

#include <assert.h>

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

/* One row per metric, sorted by name in the order of strcmp
 * (metric_names_find() searches in halves). The comment of a row names its
 * labels, which callers append; "-" is none. */
const struct metric_name metric_names[] = {
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

enum { N_NAMES = sizeof(metric_names) / sizeof(metric_names[0]) };

_Static_assert(N_NAMES <= UINT8_MAX + 1, "base/metrics keeps it in a byte");

unsigned metric_names_find(const char *name)
{
	unsigned from = 0, to = N_NAMES;

	while (from < to) {
		unsigned i = from + (to - from) / 2;
		int order = strcmp(name, metric_names[i].name);

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
