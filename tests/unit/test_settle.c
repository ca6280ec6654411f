/* usage/settle: what a datagram is, and what follows from it, with limits in
 * memory. (Redis: tests/e2e.) */
#include "test.h"

#include "seals.h"
#include "base/log.h"
#include "conf/load.h"
#include "store/objects.h"
#include "store/open_reservations.h"
#include "upstream/health.h"
#include "usage/estimator.h"
#include "usage/ledger.h"
#include "usage/settle.h"
#include "usage/ticket.h"

#include <stdlib.h>

enum { RESERVED = 1108, LIMIT = 1000000 };

static uint64_t now_us;

static uint64_t mono(void *ctx)
{
	(void)ctx;
	return now_us;
}

static int64_t real(void *ctx)
{
	(void)ctx;
	return 1795887606000;
}

static const struct clock test_clock = {mono, real, NULL};
static struct policy *policy;
static struct settler settler;

static int load(void **state)
{
	struct buf error;

	(void)state;
	buf_init(&error, 65536);
	policy = conf_load("tests/fixtures/gateway.json", &error);
	buf_done(&error);
	if (!policy)
		return -1;
	policy->redis.enabled = false;
	log_set_level(LOG_ERROR);
	return 0;
}

static int unload(void **state)
{
	(void)state;
	policy_unref(policy);
	return 0;
}

static int fresh(void **state)
{
	struct settler *s = &settler;

	(void)state;
	now_us = 1000000000;
	*s = (struct settler){
		.clock = &test_clock,
		.metrics = metrics_new(),
		.n_workers = 1,
		.policy = policy,
		.memory = store_memory_new(&test_clock),
		.open = open_reservations_new(),
		.objects = objects_new(&test_clock, NULL),
		.estimator = estimator_new(),
		.health = health_new(&test_clock),
		.seal = test_seal(),
	};
	s->ledger = ledger_new(&test_clock, s->metrics);
	return s->metrics && s->memory && s->open && s->objects &&
	                       s->estimator && s->health && s->ledger &&
	                       objects_configure(s->objects, STR("gw"), false,
	                                         1000000)
	               ? 0
	               : -1;
}

static int used_up(void **state)
{
	struct settler *s = &settler;

	(void)state;
	settle_forget(s);
	ledger_free(s->ledger);
	health_free(s->health);
	estimator_free(s->estimator);
	objects_free(s->objects);
	open_reservations_free(s->open);
	store_memory_free(s->memory);
	metrics_free(s->metrics);
	return 0;
}

/* The limit of account "demo" after what has happened so far. */
static int64_t left(void)
{
	const struct store_charge probe = {.field = STR("day"),
	                                   .unit = UNIT_TOKENS,
	                                   .window = WINDOW_DAY,
	                                   .limit = LIMIT,
	                                   .amount = 0};
	const struct store_reservation r = {.account = STR("demo"),
	                                    .id = STR("probe"),
	                                    .charges = &probe,
	                                    .n_charges = 1};
	struct store_result res;
	const struct store_usage none = {0};

	store_memory_reserve(settler.memory, &r, &res);
	assert_int_equal(res.status, STORE_OK);
	store_memory_settle(settler.memory, r.account, r.id, &none);
	return res.remaining[0];
}

static int64_t spent(void)
{
	return LIMIT - left();
}

#define NONCE "5f1c"

/* As decide/reserve and decide/pipeline do. */
static void reserve(const char *id)
{
	const struct store_charge charge = {.field = STR("day"),
	                                    .unit = UNIT_TOKENS,
	                                    .window = WINDOW_DAY,
	                                    .limit = LIMIT,
	                                    .amount = RESERVED};
	const struct store_reservation r = {.account = STR("demo"),
	                                    .id = str_c(id),
	                                    .charges = &charge,
	                                    .n_charges = 1};
	const struct open_reservation open = {.account = STR("demo"),
	                                      .consumer = STR("demo"),
	                                      .model = STR("gpt-4o"),
	                                      .nonce = STR(NONCE)};
	struct store_result res;

	store_memory_reserve(settler.memory, &r, &res);
	assert_int_equal(res.status, STORE_OK);
	assert_true(open_reservations_add(settler.open, r.id, &open, now_us));
}

static int64_t counted(const char *result)
{
	char space[64];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	metrics_label(&labels, "result", str_c(result));
	return metric_value(metrics_get(settler.metrics,
	                                "foundry_usage_records_total",
	                                buf_str(&labels)));
}

static struct ticket chat(void)
{
	return (struct ticket){
		.consumer = STR("demo"),
		.account = STR("demo"),
		.model = STR("gpt-4o"),
		.deployment = STR("gpt-4o-east"),
		.resource = STR("east"),
		.operation = API_RESPONSES,
		.counted = true,
		.prompt = 108,
		.reserved = RESERVED,
	};
}

#define USAGE "{\\\"input_tokens\\\":90,\\\"output_tokens\\\":7}"

/* A line as haproxy.cfg writes it. */
static void send(const char *id, const struct ticket *t, const char *status,
                 const char *usage)
{
	struct buf line;

	buf_init(&line, 65536);
	buf_fmt(&line,
	        "{\"v\":2,\"id\":\"%s\",\"status\":%s,\"termination\":\"--\","
	        "\"connect_ms\":1,\"upstream\":\"%s\",\"verdict\":\"allow\","
	        "\"usage\":\"%s\",\"ticket\":\"",
	        id, status, status, usage);
	assert_true(ticket_write(t, test_seal(), str_c(id), &line));
	buf_fmt(&line, "\"}\n");
	assert_false(line.failed);
	settle_datagram(&settler, buf_str(&line));
	buf_done(&line);
}

static void say(const char *line)
{
	settle_datagram(&settler, str_c(line));
}

static void settles_once(void **state)
{
	const struct ticket t = chat();

	(void)state;
	reserve("a");
	assert_int_equal(spent(), RESERVED);
	send("a", &t, "200", USAGE);
	assert_int_equal(spent(), 97);
	assert_int_equal(counted("settled"), 1);
	send("a", &t, "200", USAGE);
	send("never", &t, "200", USAGE);
	assert_int_equal(spent(), 97);
	assert_int_equal(counted("unknown"), 2);
	assert_null(settler.settlements);
}

static void no_usage_is_estimated(void **state)
{
	const struct ticket t = chat();

	(void)state;
	reserve("a");
	send("a", &t, "504", "-");
	assert_int_equal(spent(), 108);
	assert_int_equal(counted("estimated"), 1);
	assert_int_equal(counted("settled"), 0);
}

static void account_of_another(void **state)
{
	struct ticket t = chat();

	(void)state;
	reserve("a");
	t.account = STR("tiny");
	send("a", &t, "200", USAGE);
	assert_int_equal(spent(), RESERVED);
	assert_int_equal(counted("unknown"), 1);
}

static void lines_with_nothing_to_settle(void **state)
{
	(void)state;
	say("Proxy gateway stopped");
	assert_int_equal(counted("other"), 1);
	say("{\"v\":2,\"id\":\"\"}");
	assert_int_equal(counted("malformed"), 1);
	say("{\"v\":2,\"id\":\"a\",\"verdict\":\"deny\",\"code\":\"x\"}");
	say("{\"v\":2,\"id\":\"a\",\"verdict\":\"allow\",\"ticket\":\"-\"}");
	assert_int_equal(counted("refused"), 2);
	assert_null(settler.settlements);
}

/* The decision was made, but HAProxy did not wait for it. */
static void undecided_is_given_back(void **state)
{
	static const char line[] =
		"{\"v\":2,\"id\":\"a\",\"nonce\":\"" NONCE "\",\"status\":503,"
		"\"verdict\":\"-\",\"code\":\"decision_unavailable\","
		"\"ticket\":\"-\"}";

	(void)state;
	reserve("a");
	say(line);
	assert_int_equal(spent(), 0);
	say(line);
	assert_int_equal(spent(), 0);
	assert_int_equal(counted("undecided"), 2);
}

/* The answer to a background response has no usage; a later one shows it. */
static void background_response(void **state)
{
	struct ticket t = chat();

	(void)state;
	reserve("a");
	t.origin = STR("a");
	send("a", &t, "200", "-");
	assert_int_equal(spent(), RESERVED);
	assert_int_equal(counted("open"), 1);
	/* asked for by another request, twice */
	t.counted = false;
	for (int i = 0; i < 2; i++) {
		const char *id = i == 0 ? "b" : "c";

		reserve(id);
		send(id, &t, "200", USAGE);
		assert_int_equal(spent(), 97);
	}
	/* b, a, c; the second time a is settled already */
	assert_int_equal(counted("settled"), 3);
	assert_int_equal(counted("unknown"), 1);
}

/* Not one of its own either: then it is not left open. */
static void background_response_that_failed(void **state)
{
	struct ticket t = chat();

	(void)state;
	reserve("a");
	t.origin = STR("a");
	send("a", &t, "429", "-");
	assert_int_equal(spent(), 0);
	assert_int_equal(counted("open"), 0);
	assert_int_equal(counted("settled"), 1);
}

/* Logged when it begins and when it has been over for a minute. */
static void lines_of_another_version(void **state)
{
	const struct ticket t = chat();

	(void)state;
	log_set_level(LOG_ERROR + 1);
	assert_false(settler.other_version);
	say("{\"v\":1,\"id\":\"a\"}");
	assert_int_equal(counted("malformed"), 1);
	assert_true(settler.other_version);
	now_us += 59 * 1000000;
	say("{\"v\":1,\"id\":\"a\"}");
	now_us += 59 * 1000000;
	send("x", &t, "200", "-");
	assert_true(settler.other_version);
	now_us += 1000000;
	say("{\"v\":2}"); /* malformed says nothing about the version */
	assert_true(settler.other_version);
	send("x", &t, "200", "-");
	assert_false(settler.other_version);
	log_set_level(LOG_ERROR);
}

/* Of a stream: its id was in the answer. */
/* One who knows the id of a request, but has no ticket of it. */
static void forged_lines_settle_nothing(void **state)
{
	static const uint8_t guess[SEAL_KEY_LEN] = "a guess";
	struct seal *own = seal_new(guess);
	const struct ticket t = chat();
	struct buf line;

	(void)state;
	reserve("a");
	reserve("b");
	for (int i = 0; i < 2; i++) {
		buf_init(&line, 65536);
		buf_fmt(&line, "{\"v\":2,\"id\":\"a\",\"status\":200,"
		               "\"verdict\":\"allow\",\"ticket\":\"");
		/* with a key of one's own; of another request */
		ticket_write(&t, i ? test_seal() : own, i ? STR("b") : STR("a"),
		             &line);
		buf_fmt(&line, "\"}");
		settle_datagram(&settler, buf_str(&line));
		buf_done(&line);
	}
	assert_int_equal(counted("forged"), 2);
	assert_int_equal(spent(), 2 * RESERVED);
	send("a", &t, "200", USAGE);
	assert_int_equal(counted("settled"), 1);
	seal_free(own);
}

/* HAProxy says that it has no decision: it must know the nonce of the NOTIFY,
 * which nobody is told. */
static void forged_abandon_gives_nothing_back(void **state)
{
	(void)state;
	reserve("a");
	say("{\"v\":2,\"id\":\"a\",\"status\":503,\"code\":"
	    "\"decision_unavailable\"}");
	say("{\"v\":2,\"id\":\"a\",\"nonce\":\"guess\",\"status\":503,"
	    "\"code\":\"decision_unavailable\"}");
	assert_int_equal(spent(), RESERVED);
	say("{\"v\":2,\"id\":\"a\",\"nonce\":\"" NONCE "\",\"status\":503,"
	    "\"code\":\"decision_unavailable\"}");
	assert_int_equal(spent(), 0);
}

static void object_of_a_stream_is_bound(void **state)
{
	struct ticket t = chat();
	struct buf line;
	struct object o;

	(void)state;
	t.owner = STR("tid:oid");
	reserve("a");
	buf_init(&line, 65536);
	buf_fmt(&line, "{\"v\":2,\"id\":\"a\",\"status\":200,\"verdict\":"
	               "\"allow\",\"object\":\"resp_1\",\"ticket\":\"");
	assert_true(ticket_write(&t, test_seal(), STR("a"), &line));
	buf_fmt(&line, "\"}");
	settle_datagram(&settler, buf_str(&line));
	buf_done(&line);
	assert_int_equal(objects_find(settler.objects, STR("resp_1"),
	                              OBJECT_LIVES_ON, NULL, NULL, 0, &o),
	                 OBJECT_FOUND);
	assert_true(str_eq(o.owner, STR("tid:oid")));
	assert_true(str_eq(o.resource, STR("east")));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, used_up)
	const struct CMUnitTest tests[] = {
		TEST(settles_once),
		TEST(no_usage_is_estimated),
		TEST(account_of_another),
		TEST(lines_with_nothing_to_settle),
		TEST(undecided_is_given_back),
		TEST(background_response),
		TEST(background_response_that_failed),
		TEST(lines_of_another_version),
		TEST(forged_lines_settle_nothing),
		TEST(forged_abandon_gives_nothing_back),
		TEST(object_of_a_stream_is_bound),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
