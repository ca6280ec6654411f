/* store/objects: whose an id is, in memory and in Redis. */
#include "test.h"

#include "redis_fixture.h"
#include "store/objects.h"

#include <stdio.h>

static const struct object ours = {.owner = STR_INIT("token:t/a/o"),
                                   .resource = STR_INIT("east"),
                                   .model = STR_INIT("gpt-4o"),
                                   .origin = STR_INIT("req-1")};
static const struct object theirs = {.owner = STR_INIT("key:k"),
                                     .resource = STR_INIT("west")};

struct seen {
	int n_bound, n_found;
	bool stored;
	enum object_status status;
	char owner[64], resource[64], model[64], origin[64];
};

static void copy(char out[64], struct str s)
{
	snprintf(out, 64, "%" STR_FMT, STR_ARG(s));
}

static void on_bound(void *ctx, bool stored)
{
	struct seen *seen = ctx;

	seen->n_bound++;
	seen->stored = stored;
}

static void on_found(void *ctx, uint64_t ref, enum object_status status,
                     const struct object *o)
{
	struct seen *seen = ctx;

	assert_int_equal(ref, 7);
	seen->n_found++;
	seen->status = status;
	assert_true((status == OBJECT_FOUND) == (o != NULL));
	if (!o)
		return;
	copy(seen->owner, o->owner);
	copy(seen->resource, o->resource);
	copy(seen->model, o->model);
	copy(seen->origin, o->origin);
}

/* ---------------------------------------------------------------- memory */

static uint64_t now_us;

static uint64_t mono_us(void *ctx)
{
	(void)ctx;
	return now_us;
}

static int64_t real_ms(void *ctx)
{
	(void)ctx;
	return 0;
}

static const struct clock still = {mono_us, real_ms, NULL};

static struct objects *in_memory(void)
{
	struct objects *os = objects_new(&still, NULL);

	assert_non_null(os);
	assert_true(objects_configure(os, STR("t"), false, 1000));
	return os;
}

static bool bind_now(struct objects *os, struct str id, const struct object *o)
{
	struct seen seen = {0};

	objects_bind(os, id, o, on_bound, &seen);
	assert_int_equal(seen.n_bound, 1);
	return seen.stored;
}

static enum object_status find_now(struct objects *os, struct str id,
                                   struct object *out)
{
	return objects_find(os, id, OBJECT_LIVES_ON, NULL, NULL, 0, out);
}

static void test_what_is_bound_is_found(void **state)
{
	struct objects *os = in_memory();
	struct object o;

	(void)state;
	assert_int_equal(find_now(os, STR("resp_1"), &o), OBJECT_UNKNOWN);
	assert_true(bind_now(os, STR("resp_1"), &ours));
	assert_int_equal(find_now(os, STR("resp_1"), &o), OBJECT_FOUND);
	assert_true(str_eq(o.owner, ours.owner));
	assert_true(str_eq(o.resource, ours.resource));
	assert_true(str_eq(o.model, ours.model));
	assert_true(str_eq(o.origin, ours.origin));
	assert_int_equal(find_now(os, STR("resp_"), &o), OBJECT_UNKNOWN);
	assert_int_equal(find_now(os, STR("resp_12"), &o), OBJECT_UNKNOWN);
	objects_free(os);
}

static void test_an_id_cannot_be_taken_over(void **state)
{
	struct objects *os = in_memory();
	struct object o;

	(void)state;
	assert_true(bind_now(os, STR("f"), &ours));
	assert_false(bind_now(os, STR("f"), &theirs));
	assert_true(bind_now(os, STR("f"), &ours));
	assert_int_equal(find_now(os, STR("f"), &o), OBJECT_FOUND);
	assert_true(str_eq(o.owner, ours.owner));
	objects_free(os);
}

#define RESPONSE "resp_0c7d5a12cbe135ee0069d6021a70048197b30eac95a9b0c028"
#define NEXT     "resp_0c7d5a12cbe135ee0069d6031a70048197b30eac95a9b0c029"

/* What is made together with a response is known by it. */
static void test_a_response_is_bound_with_its_family(void **state)
{
	struct object next = ours, o;
	struct objects *os = in_memory();
	char space[OBJECT_FAMILY_MAX];
	struct str family = objects_family_id(STR("0c7d5a12cbe135ee"), space);

	(void)state;
	assert_true(bind_now(os,
	                     STR("file_0c7d5a12cbe135ee0069d6021a70048197b3"
	                         "0eac95a9b0c028"),
	                     &theirs));
	assert_int_equal(find_now(os, family, &o), OBJECT_UNKNOWN);
	assert_true(bind_now(os, STR(RESPONSE), &ours));
	assert_int_equal(find_now(os, family, &o), OBJECT_FOUND);
	assert_true(str_eq(o.owner, ours.owner));
	assert_true(str_eq(o.resource, ours.resource));
	assert_int_equal(o.model.len, 0);
	/* the next one of the chain, with another model */
	next.model = STR("gpt-4o-mini");
	assert_true(bind_now(os, STR(NEXT), &next));
	/* a family cannot be taken over either */
	assert_true(bind_now(os,
	                     STR("conv_0c7d5a12cbe135ee0069d6021a70048197b3"
	                         "0eac95a9b0c028"),
	                     &theirs));
	assert_int_equal(find_now(os, family, &o), OBJECT_FOUND);
	assert_true(str_eq(o.owner, ours.owner));
	/* the items of the others stay when a response goes */
	objects_drop(os, STR(RESPONSE), ours.owner, NULL, NULL);
	assert_int_equal(find_now(os, STR(RESPONSE), &o), OBJECT_UNKNOWN);
	assert_int_equal(find_now(os, family, &o), OBJECT_FOUND);
	objects_free(os);
}

static void test_what_could_be_read_as_another_is_not_bound(void **state)
{
	struct object two = ours, nobody = ours, nowhere = ours;
	struct objects *os = in_memory();
	struct object o;
	char longest[OBJECT_ID_MAX + 1];

	(void)state;
	two.owner = STR("key:a\nkey:b");
	nobody.owner = STR_NONE;
	nowhere.resource = STR_NONE;
	memset(longest, 'a', sizeof(longest));
	assert_false(bind_now(os, STR("f"), &two));
	assert_false(bind_now(os, STR("f"), &nobody));
	assert_false(bind_now(os, STR("f"), &nowhere));
	assert_false(bind_now(os, STR_NONE, &ours));
	assert_false(bind_now(os, STR("a}{b"), &ours));
	assert_false(bind_now(os, STR("a b"), &ours));
	assert_false(bind_now(os, str_of(longest, sizeof(longest)), &ours));
	assert_true(bind_now(os, str_of(longest, OBJECT_ID_MAX), &ours));
	assert_int_equal(find_now(os, STR("f"), &o), OBJECT_UNKNOWN);
	objects_free(os);
}

static void test_use_lets_the_time_begin_anew(void **state)
{
	struct objects *os = in_memory();
	struct object o;

	(void)state;
	assert_true(bind_now(os, STR("used"), &ours));
	assert_true(bind_now(os, STR("left"), &ours));
	now_us += 900000;
	assert_int_equal(find_now(os, STR("used"), &o), OBJECT_FOUND);
	now_us += 900000;
	assert_int_equal(find_now(os, STR("used"), &o), OBJECT_FOUND);
	assert_int_equal(find_now(os, STR("left"), &o), OBJECT_UNKNOWN);
	/* and may belong to somebody else then */
	assert_true(bind_now(os, STR("left"), &theirs));
	objects_free(os);
}

static void test_a_time_of_its_own_does_not_begin_anew(void **state)
{
	struct objects *os = in_memory();
	struct object o = ours;

	(void)state;
	o.ttl_ms = 500;
	o.caller = STR("|t|a|o|||||");
	assert_true(bind_now(os, STR("secret:1"), &o));
	assert_true(bind_now(os, STR("other"), &ours));
	now_us += 400000;
	assert_int_equal(find_now(os, STR("secret:1"), &o), OBJECT_FOUND);
	assert_true(str_eq(o.caller, STR("|t|a|o|||||")));
	assert_true(str_eq(o.origin, ours.origin));
	now_us += 200000;
	assert_int_equal(find_now(os, STR("secret:1"), &o), OBJECT_UNKNOWN);
	assert_int_equal(find_now(os, STR("other"), &o), OBJECT_FOUND);
	assert_int_equal(o.caller.len, 0);
	objects_free(os);
}

static bool drop_now(struct objects *os, struct str id, struct str owner)
{
	struct seen seen = {0};

	objects_drop(os, id, owner, on_bound, &seen);
	assert_int_equal(seen.n_bound, 1);
	return seen.stored;
}

static void test_only_its_owner_lets_it_be_forgotten(void **state)
{
	struct objects *os = in_memory();
	struct object o;

	(void)state;
	assert_true(bind_now(os, STR("f"), &ours));
	drop_now(os, STR("f"), theirs.owner);
	drop_now(os, STR("f"), str_first(ours.owner, 3));
	assert_false(drop_now(os, STR("f"), STR_NONE));
	assert_int_equal(find_now(os, STR("f"), &o), OBJECT_FOUND);
	assert_true(drop_now(os, STR("f"), ours.owner));
	assert_int_equal(find_now(os, STR("f"), &o), OBJECT_UNKNOWN);
	objects_free(os);
}

static void test_the_oldest_go_when_memory_is_full(void **state)
{
	struct objects *os = in_memory();
	struct object o;
	char id[16];
	int i;

	(void)state;
	for (i = 0; i <= OBJECTS_MAX; i++) {
		snprintf(id, sizeof(id), "f%d", i);
		assert_true(bind_now(os, str_c(id), &ours));
	}
	assert_int_equal(find_now(os, STR("f0"), &o), OBJECT_UNKNOWN);
	assert_int_equal(find_now(os, STR("f1"), &o), OBJECT_FOUND);
	assert_int_equal(find_now(os, str_c(id), &o), OBJECT_FOUND);
	objects_free(os);
}

/* ----------------------------------------------------------------- Redis */

static struct objects *in_redis(struct redis_fixture *f)
{
	struct objects *os = objects_new(&clock_system, store_redis_link(f->s));

	assert_non_null(os);
	assert_true(objects_configure(os, STR("t"), true, 60000));
	return os;
}

static bool rf_bind(struct redis_fixture *f, struct objects *os, struct str id,
                    const struct object *o)
{
	struct seen seen = {0};

	objects_bind(os, id, o, on_bound, &seen);
	rf_until(f, seen.n_bound == 1);
	return seen.stored;
}

static enum object_status rf_find(struct redis_fixture *f, struct objects *os,
                                  struct str id, struct seen *seen)
{
	struct object o;
	enum object_status s;

	*seen = (struct seen){0};
	s = objects_find(os, id, OBJECT_LIVES_ON, on_found, seen, 7, &o);
	if (s != OBJECT_WAIT)
		return s;
	rf_until(f, seen->n_found == 1);
	return seen->status;
}

static void test_another_node_finds_it(void **state)
{
	struct redis_fixture *f = *state;
	struct objects *one, *two;
	struct seen seen;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	one = in_redis(f);
	two = in_redis(f);
	assert_true(rf_bind(f, one, STR("resp_1"), &ours));
	assert_int_equal(rf_find(f, two, STR("resp_1"), &seen), OBJECT_FOUND);
	assert_string_equal(seen.owner, "token:t/a/o");
	assert_string_equal(seen.resource, "east");
	assert_string_equal(seen.model, "gpt-4o");
	assert_string_equal(seen.origin, "req-1");
	assert_int_equal(rf_find(f, two, STR("resp_2"), &seen), OBJECT_UNKNOWN);
	assert_false(rf_bind(f, two, STR("resp_1"), &theirs));
	assert_int_equal(rf_find(f, one, STR("resp_1"), &seen), OBJECT_FOUND);
	assert_string_equal(seen.owner, "token:t/a/o");
	assert_in_range(rf_command(f, "PTTL t:{o:resp_1}"), 50000, 60000);
	objects_free(one);
	objects_free(two);
}

static bool rf_drop(struct redis_fixture *f, struct objects *os, struct str id,
                    struct str owner)
{
	struct seen seen = {0};

	objects_drop(os, id, owner, on_bound, &seen);
	rf_until(f, seen.n_bound == 1);
	return seen.stored;
}

static void test_redis_forgets_what_is_deleted(void **state)
{
	struct redis_fixture *f = *state;
	struct objects *one, *two;
	struct seen seen;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	one = in_redis(f);
	two = in_redis(f);
	assert_true(rf_bind(f, one, STR("f"), &ours));
	assert_false(rf_drop(f, two, STR("f"), theirs.owner));
	assert_false(rf_drop(f, two, STR("f"), str_first(ours.owner, 3)));
	assert_int_equal(rf_find(f, two, STR("f"), &seen), OBJECT_FOUND);
	assert_true(rf_drop(f, two, STR("f"), ours.owner));
	assert_int_equal(rf_find(f, two, STR("f"), &seen), OBJECT_UNKNOWN);
	assert_true(rf_drop(f, one, STR("f"), ours.owner));
	assert_int_equal(rf_find(f, one, STR("f"), &seen), OBJECT_UNKNOWN);
	objects_free(one);
	objects_free(two);
}

static void test_redis_keeps_a_time_of_its_own(void **state)
{
	struct redis_fixture *f = *state;
	struct object o = ours, out;
	struct objects *one, *two;
	struct seen seen = {0};

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	one = in_redis(f);
	two = in_redis(f);
	o.ttl_ms = 20000;
	assert_true(rf_bind(f, one, STR("secret:1"), &o));
	assert_int_equal(objects_find(two, STR("secret:1"), OBJECT_EXPIRES,
	                              on_found, &seen, 7, &out),
	                 OBJECT_WAIT);
	rf_until(f, seen.n_found == 1);
	assert_int_equal(seen.status, OBJECT_FOUND);
	assert_in_range(rf_command(f, "PTTL t:{o:secret:1}"), 1, 20000);
	objects_free(one);
	objects_free(two);
}

static void test_memory_knows_while_redis_is_away(void **state)
{
	struct redis_fixture *f = *state;
	struct objects *os;
	struct seen seen;

	redis_server_start(&f->server, NULL);
	rf_connect(f);
	os = in_redis(f);
	assert_true(rf_bind(f, os, STR("resp_1"), &ours));
	redis_server_kill(&f->server);
	rf_until(f, !store_redis_connected(f->s));
	assert_int_equal(rf_find(f, os, STR("resp_1"), &seen), OBJECT_FOUND);
	/* nobody can say that this one does not exist */
	assert_int_equal(rf_find(f, os, STR("resp_2"), &seen), OBJECT_FAILED);
	assert_false(rf_bind(f, os, STR("resp_3"), &ours));
	assert_int_equal(rf_find(f, os, STR("resp_3"), &seen), OBJECT_FOUND);
	objects_free(os);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_bound_is_found),
		cmocka_unit_test(test_an_id_cannot_be_taken_over),
		cmocka_unit_test(test_a_response_is_bound_with_its_family),
		cmocka_unit_test(
			test_what_could_be_read_as_another_is_not_bound),
		cmocka_unit_test(test_use_lets_the_time_begin_anew),
		cmocka_unit_test(test_a_time_of_its_own_does_not_begin_anew),
		cmocka_unit_test(test_only_its_owner_lets_it_be_forgotten),
		cmocka_unit_test(test_the_oldest_go_when_memory_is_full),
		cmocka_unit_test_setup_teardown(test_another_node_finds_it,
	                                        rf_setup, rf_teardown),
		cmocka_unit_test_setup_teardown(
			test_redis_forgets_what_is_deleted, rf_setup,
			rf_teardown),
		cmocka_unit_test_setup_teardown(
			test_redis_keeps_a_time_of_its_own, rf_setup,
			rf_teardown),
		cmocka_unit_test_setup_teardown(
			test_memory_knows_while_redis_is_away, rf_setup,
			rf_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
