/*
 * Random calls in random order against a reference that was written apart from
 * the stores: duplicates, settles that are lost, late or come twice, a clock
 * that steps, a server that is killed, forgets its scripts, cuts connections.
 *
 * SEED=n repeats a run, STEPS=n makes it longer.
 */
#include "test.h"

#include "redis_fixture.h"
#include "scripts_door.h"
#include "store_model.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct store_charge limits[MODEL_LIMITS] = {
	{STR_INIT("rpm"), UNIT_REQUESTS, WINDOW_MINUTE, 60, 0, 0},
	{STR_INIT("tpm"), UNIT_TOKENS, WINDOW_MINUTE, 10007, 0, 0},
	{STR_INIT("tph"), UNIT_TOKENS, WINDOW_HOUR, 40000, 0, 0},
	{STR_INIT("rpd"), UNIT_REQUESTS, WINDOW_DAY, 300, 0, 0},
	{STR_INIT("tpd:x y"), UNIT_TOKENS, WINDOW_DAY, 500000, 0, 0},
	{STR_INIT("usd"), UNIT_USD, WINDOW_MONTH, 800000000000, 0, 0},
};

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

/* Said before anything is tried: a failure ends the test at once. */
static void seed(void)
{
	struct timespec t;
	uint64_t n;

	clock_gettime(CLOCK_REALTIME, &t);
	n = number_of("SEED", (uint64_t)t.tv_nsec ^ (uint64_t)t.tv_sec);
	print_message("  SEED=%u\n", (unsigned)n);
	srandom((unsigned)n);
}

static uint64_t below(uint64_t n)
{
	return ((uint64_t)random() << 31 | (uint64_t)random()) % n;
}

/* ------------------------------------- one call at a time, our own clock */

struct fake {
	int64_t real_ms;
};

static uint64_t fake_mono(void *ctx)
{
	(void)ctx;
	return 0;
}

static int64_t fake_real(void *ctx)
{
	return ((struct fake *)ctx)->real_ms;
}

typedef enum store_status settle_fn(void *ctx, struct str account,
                                    struct str id,
                                    const struct store_usage *used);

struct world {
	const struct store_door *door;
	settle_fn *again; /* the last settle once more; or NULL */
	struct model *model;
	size_t next;      /* record that was not used yet */
	unsigned told[5]; /* answers by status: all must occur */
	unsigned settled, repeated;
	uint64_t tokens_settled;
};

static uint64_t random_amount(uint64_t limit)
{
	switch (below(40)) {
	case 0:
		return limit;
	case 1:
		return limit + 1;
	case 2:
		return 0;
	default:
		return below(limit / 12 + 2);
	}
}

static void pass_time(struct world *w)
{
	static const int64_t steps[] = {1,       17,       1000,   60000,
	                                3600000, 86400000, -2500,  -3600000,
	                                -1,      9973,     -90000, 700};

	w->model->now += below(4)
	                         ? (int64_t)below(900)
	                         : steps[below(sizeof(steps) / sizeof(*steps))];
	if (below(300) == 0)
		w->model->now += INT64_C(33) * 86400000;
	w->door->set_time(w->door->ctx, w->model->now);
}

/* Mostly a new one, else one of the last. */
static size_t some_record(struct world *w, bool may_be_new)
{
	size_t back = below(30) + 1;

	if (may_be_new && below(5))
		return w->next++;
	return w->next > back ? w->next - back : 0;
}

static void check_answer(struct world *w, const struct store_result *res,
                         enum store_status want, const bool *charged,
                         const uint64_t *amount)
{
	size_t i, k = 0;

	assert_int_equal(res->status, want);
	for (i = 0; i < MODEL_LIMITS; i++)
		if (charged[i])
			assert_int_equal(res->remaining[k++],
			                 model_remaining(w->model, i));
	if (want == STORE_REFUSED) { /* true to the millisecond */
		assert_true(res->retry_ms > 0);
		assert_true(model_would_fit(w->model, charged, amount,
		                            res->retry_ms));
		assert_false(model_would_fit(w->model, charged, amount,
		                             res->retry_ms - 1));
	}
}

static void try_reserve(struct world *w)
{
	size_t record = some_record(w, true), i;
	bool known = w->model->records[record].state == MODEL_OPEN;
	struct store_charge c[MODEL_LIMITS];
	char id[24];
	struct store_reservation r = {.account = STR("x"), .charges = c};
	bool charged[MODEL_LIMITS];
	uint64_t amount[MODEL_LIMITS];
	struct store_result res;
	enum store_status want;

	if (w->model->records[record].state == MODEL_SETTLED)
		return; /* ids are not used again */
	snprintf(id, sizeof(id), "%zu", record);
	r.id = str_c(id);
	for (i = 0; i < MODEL_LIMITS; i++) {
		charged[i] = below(3) > 0;
		amount[i] = limits[i].unit == UNIT_REQUESTS
		                    ? below(2)
		                    : random_amount(limits[i].limit);
		if (!charged[i])
			continue;
		c[r.n_charges] = limits[i];
		c[r.n_charges++].amount = amount[i];
	}
	w->door->reserve(w->door->ctx, &r, &res);
	want = model_reserve(w->model, record, charged, amount);
	w->told[want]++;
	check_answer(w, &res, want, charged, amount);
	for (i = 0; want == STORE_OK && !known && i < r.n_charges; i++)
		assert_true(c[i].amount == 0 || res.remaining[i] >= 0);
}

static void try_settle(struct world *w)
{
	size_t record = some_record(w, false);
	char id[24], note[64];
	struct store_usage used = {.requests = below(2),
	                           .tokens = random_amount(9000),
	                           .nano_usd = random_amount(90000000000)};
	enum store_status want;

	snprintf(id, sizeof(id), "%zu", record);
	snprintf(note, sizeof(note), "%zu %" PRIu64, record, used.tokens);
	used.note = str_c(note);
	want = model_settle(w->model, record, &used);
	w->told[want]++;
	if (want == STORE_OK) {
		w->settled++;
		w->tokens_settled += used.tokens;
	}
	assert_int_equal(
		w->door->settle(w->door->ctx, STR("x"), str_c(id), &used),
		want);
	/* whoever asks again hears the same, and nothing counts twice */
	for (; w->again && below(4) == 0; w->repeated++)
		assert_int_equal(
			w->again(w->door->ctx, STR("x"), str_c(id), &used),
			want);
}

static void walk(struct world *w, uint64_t n_steps)
{
	uint64_t i;

	seed();
	w->model = model_new(limits);
	w->model->now = SCENARIO_START_MS;
	w->door->set_time(w->door->ctx, w->model->now);
	for (i = 0; i < n_steps; i++) {
		pass_time(w);
		if (below(5) < 3)
			try_reserve(w);
		else
			try_settle(w);
	}
	/* a test that met none of them has shown nothing */
	for (i = STORE_OK; i <= STORE_UNKNOWN; i++)
		assert_true(w->told[i] > 0);
	free(w->model);
}

static void memory_set_time(void *ctx, int64_t ms)
{
	((struct fake *)((void **)ctx)[1])->real_ms = ms;
}

static void memory_reserve(void *ctx, const struct store_reservation *r,
                           struct store_result *res)
{
	store_memory_reserve(((void **)ctx)[0], r, res);
}

static enum store_status memory_settle(void *ctx, struct str account,
                                       struct str id,
                                       const struct store_usage *used)
{
	return store_memory_settle(((void **)ctx)[0], account, id, used);
}

static void memory_counts_as_the_model(void **state)
{
	struct fake time = {0};
	const struct clock clock = {fake_mono, fake_real, &time};
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		void *ctx[2] = {store_memory_new(&clock), &time};
		const struct store_door door = {"memory", memory_reserve,
		                                memory_settle, memory_set_time,
		                                ctx};
		struct world w = {.door = &door};

		walk(&w, number_of("STEPS", 8000));
		store_memory_free(ctx[0]);
	}
}

/* The entries of an account's ledger, and the sum of what they say. */
static void read_ledger(const char *socket, const char *account,
                        unsigned *n_entries, uint64_t *sum)
{
	redisContext *c = redisConnectUnix(socket);
	redisReply *r = redisCommand(c, "XRANGE t:{%s}:ledger - +", account);
	size_t i;

	assert_non_null(r);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	*n_entries = (unsigned)r->elements;
	*sum = 0;
	for (i = 0; i < r->elements; i++) {
		redisReply *fields = r->element[i]->element[1];
		char *blank = strchr(fields->element[1]->str, ' ');

		assert_non_null(blank);
		*sum += strtoull(blank + 1, NULL, 10);
	}
	freeReplyObject(r);
	redisFree(c);
}

static void scripts_count_as_the_model(void **state)
{
	struct redis_fixture *f = *state;
	struct scripts_door d;
	const struct store_door door = {"scripts", scripts_reserve,
	                                scripts_settle, scripts_set_time, &d};
	struct world w = {.door = &door, .again = scripts_settle_again};
	unsigned n_entries;
	uint64_t sum;

	redis_server_start(&f->server, NULL);
	scripts_door_init(&d, f->server.socket);
	walk(&w, number_of("STEPS", 8000));
	read_ledger(f->server.socket, "x", &n_entries, &sum);
	assert_int_equal(n_entries, w.settled);
	assert_int_equal(sum, w.tokens_settled);
	assert_true(w.repeated > 0);
	scripts_door_done(&d);
}

/* --------------------------- many calls at once, and a server that fails */

enum {
	STORM_CALLS = 3000,
	STORM_AT_ONCE = 40,
	STORM_LIMIT = 20000, /* tight: most of the time it is used up */
};

enum fate { ASKED = 0, REFUSED, FAILED, GRANTED, SETTLED, FORGOTTEN };

struct storm;

struct stormy { /* one request */
	struct storm *storm;
	enum fate fate;
	uint64_t amount, used;
	unsigned counted; /* settles that were told they had */
};

struct storm {
	struct redis_fixture *f;
	struct stormy *calls;
	struct policy_limit limit; /* in exact mode, or leased */
	unsigned n_leased;
	size_t n_asked, n_waiting, n_answered;
	size_t next_trouble; /* when so many were answered */
	uint64_t held;       /* granted, less what was given back */
	unsigned n_of[FORGOTTEN + 1];
	unsigned settles_told, settles_made;
};

static void storm_settled(void *ctx, struct str id, enum store_status status)
{
	struct stormy *c = ctx;

	(void)id;
	assert_true(status == STORE_OK || status == STORE_UNKNOWN);
	c->counted += status == STORE_OK;
	c->storm->settles_told++;
}

static void storm_settle(struct storm *s, size_t i)
{
	struct stormy *c = &s->calls[i];
	struct store_usage used = {.tokens = c->used};
	char id[24], note[64];
	int times = below(4) ? 1 : 2; /* the same record may come twice */

	snprintf(id, sizeof(id), "%zu", i);
	snprintf(note, sizeof(note), "%zu %" PRIu64, i, c->used);
	used.note = str_c(note);
	c->fate = SETTLED;
	s->held -= c->amount - c->used;
	for (; times > 0; times--) {
		s->settles_made++;
		store_redis_settle(s->f->s, STR("a"), str_c(id), &used,
		                   storm_settled, c);
	}
}

static void storm_decided(struct storm *s, struct stormy *c,
                          const struct store_result *res)
{
	double most = STORM_LIMIT * (1 + s->limit.lease_share);

	assert_int_equal(c->fate, ASKED);
	s->n_answered++;
	c->fate = res->status == STORE_OK        ? GRANTED
	          : res->status == STORE_REFUSED ? REFUSED
	                                         : FAILED;
	s->n_of[c->fate]++;
	if (c->fate != GRANTED)
		return;
	s->held += c->amount;
	assert_true((double)s->held <= most); /* not one past capacity */
}

static bool storm_reserved(void *ctx, uint64_t ref,
                           const struct store_result *res)
{
	struct storm *s = ctx;

	s->n_waiting--;
	storm_decided(s, &s->calls[ref], res);
	return true;
}

static void storm_ask(struct storm *s)
{
	static const struct store_caller caller = {
		STR_INIT("a"), STR_INIT("app"), STR_INIT("agent")};
	struct stormy *c = &s->calls[s->n_asked];
	char id[24];
	struct store_charge charge = {STR("all"),  UNIT_TOKENS, WINDOW_MONTH,
	                              STORM_LIMIT, 0,           0};
	struct store_reservation r = {.account = STR("a"),
	                              .charges = &charge,
	                              .n_charges = 1,
	                              .caller = &caller};
	struct store_result res;

	charge.share = s->limit.lease_share;
	c->amount = charge.amount = below(900) + 1;
	c->used = below(3) ? below(10) % (c->amount + 1) : 0;
	snprintf(id, sizeof(id), "%zu", s->n_asked);
	r.id = str_c(id);
	if (store_redis_lease(s->f->s, &r, &res)) {
		s->n_leased++;
		s->n_asked++;
		storm_decided(s, c, &res);
	} else if (store_redis_reserve(s->f->s, &r, storm_reserved, s,
	                               s->n_asked)) {
		s->n_asked++;
		s->n_waiting++;
	}
}

/* Some of those that were granted end now; a few never do. */
static void storm_end_some(struct storm *s)
{
	size_t i, from = s->n_asked > 400 ? s->n_asked - 400 : 0;

	for (i = from; i < s->n_asked; i++) {
		if (s->calls[i].fate != GRANTED || below(6))
			continue;
		if (below(400) == 0)
			s->calls[i].fate = FORGOTTEN;
		else
			storm_settle(s, i);
	}
}

static void storm_break_something(struct storm *s)
{
	if (s->n_answered < s->next_trouble)
		return;
	s->next_trouble = s->n_answered + 300 + below(500);
	switch (below(4)) {
	case 0:
		rf_command(s->f, "SCRIPT FLUSH");
		break;
	case 1:
		rf_command(s->f, "CLIENT KILL TYPE normal");
		break;
	default:
		redis_server_kill(&s->f->server);
		redis_server_start(&s->f->server, NULL);
		break;
	}
}

static void storm_check(struct storm *s)
{
	uint64_t charged = 0, used = 0, sum;
	unsigned n_entries, n_settled = 0;
	size_t i;

	for (i = 0; i < s->n_asked; i++) {
		const struct stormy *c = &s->calls[i];

		if (c->fate == SETTLED) {
			n_settled++;
			used += c->used;
			/* one knows, whatever became of the first answer: what
			 * it writes down agrees with the stream */
			assert_int_equal(c->counted, 1);
		} else if (c->fate == FORGOTTEN || c->fate == GRANTED) {
			charged += c->amount;
		}
	}
	read_ledger(s->f->server.socket, "a", &n_entries, &sum);
	assert_int_equal(n_entries, n_settled); /* none lost, none twice */
	assert_int_equal(sum, used);
	assert_int_equal(s->settles_told, s->settles_made);
	assert_int_equal(charged + used, s->held);
	print_message(
		"  open_reservations %u, %u of them without asking, refused %u "
		"failed %u, settled %u of %u sent\n",
		s->n_of[GRANTED], s->n_leased, s->n_of[REFUSED],
		s->n_of[FAILED], n_settled, s->settles_made);
	assert_true(s->n_of[GRANTED] > 0 && s->n_of[REFUSED] > 0);
}

static int64_t storm_remaining(struct redis_fixture *f)
{
	struct store_charge c = {STR("all"),  UNIT_TOKENS, WINDOW_MONTH,
	                         STORM_LIMIT, 0,           0};
	struct store_reservation r = {.account = STR("a"),
	                              .id = STR("look"),
	                              .charges = &c,
	                              .n_charges = 1};
	struct store_result res;

	rf_reserve(f, &r, &res);
	return res.remaining[0];
}

static void storm(struct redis_fixture *f, double share)
{
	struct storm s = {.f = f,
	                  .limit = {.name = STR("all"), .lease_share = share}};
	size_t n = number_of("STEPS", STORM_CALLS);

	seed();
	f->policy->limits = &s.limit;
	f->policy->n_limits = 1;
	s.calls = calloc(n, sizeof(*s.calls));
	assert_non_null(s.calls);
	for (size_t i = 0; i < n; i++)
		s.calls[i].storm = &s;
	f->server.durable = true;
	redis_server_start(&f->server, NULL);
	rf_connect(f);
	while (s.n_asked < n) {
		rf_until(f, store_redis_connected(f->s));
		while (s.n_asked < n && s.n_waiting < below(STORM_AT_ONCE))
			storm_ask(&s);
		storm_break_something(&s);
		storm_end_some(&s);
		ev_run(loop_ev(f->loop), EVRUN_NOWAIT);
	}
	rf_until(f, s.n_waiting == 0 && store_redis_pending(f->s) == 0 &&
	                    store_redis_connected(f->s));
	assert_int_equal(storm_remaining(f), STORM_LIMIT - (int64_t)s.held);
	storm_check(&s);
	assert_true((s.n_leased > 0) == (share > 0));
	free(s.calls);
}

static void a_server_that_fails_loses_and_doubles_nothing(void **state)
{
	storm(*state, 0);
}

static void nor_when_limits_are_leased(void **state)
{
	storm(*state, 0.1);
}

#define with_store(t) cmocka_unit_test_setup_teardown(t, rf_setup, rf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_counts_as_the_model),
		with_store(scripts_count_as_the_model),
		with_store(a_server_that_fails_loses_and_doubles_nothing),
		with_store(nor_when_limits_are_leased),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
