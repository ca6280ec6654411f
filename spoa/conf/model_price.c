/*
 * conf/model_price: from `price` of a model in gateway.json to its rates.
 *
 *   price -----------------> price, price.above[0], [1] ..
 *     |  +- batch ---------> price_batch
 *     +---- priority, flex > price_priority, price_flex, each with its above
 *
 * Each is built on the one it stands in, an entry of `above` on the one before.
 */
#include "conf/model_price.h"

/* A rate by its place in struct policy_rates, which has nothing else. */
struct mpr_rate {
	const char *key;
	size_t first, second;
};

#define MPR_AT(name) (offsetof(struct policy_rates, name) / sizeof(uint64_t))
#define MPR_ROW(name, first, second, help)                                     \
	{#name, MPR_AT(first), MPR_AT(second)},
static const struct mpr_rate mpr_rates[] = {POLICY_RATES(MPR_ROW)};

enum { MPR_N = sizeof(mpr_rates) / sizeof(*mpr_rates) };

_Static_assert(sizeof(struct policy_rates) == MPR_N * sizeof(uint64_t),
               "struct policy_rates is its rows");

static uint64_t mpr_larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Which rates are stated, here or in what this stands in. All others follow
 * the more general one. */
struct mpr_stated {
	bool is[MPR_N];
};

/* `outside` NULL: there is none. *stated is what is stated outside, and
 * afterwards also here. */
static void mpr_build_rates(const struct section *s,
                            const struct raw_rates *raw,
                            const struct policy_rates *outside,
                            struct mpr_stated *stated, struct policy_rates *out)
{
	const uint64_t *values = (const uint64_t *)&raw->p;
	const uint64_t *base = (const uint64_t *)outside;
	uint64_t *v = (uint64_t *)out;
	bool changed[MPR_N] = {false}; /* by what is stated here */

	for (size_t i = 0; i < MPR_N; i++) {
		const struct mpr_rate *r = &mpr_rates[i];
		size_t general = stated->is[r->first] ? r->first : r->second;
		bool given = options_given(s, raw, r->key);

		changed[i] = given || (general != i && changed[general]);
		if (given)
			v[i] = values[i];
		else if (base && stated->is[i] && changed[i])
			v[i] = mpr_larger(base[i], v[general]);
		else if (general != i && (changed[i] || !base))
			v[i] = v[general];
		else
			v[i] = base ? base[i] : 0;
		stated->is[i] = stated->is[i] || given;
	}
}

/* The entries of an `above` that stands in *p. */
static void mpr_build_above(struct build *b, const struct raw_list *list,
                            const struct place *at, struct mpr_stated stated,
                            struct policy_price *p)
{
	struct place key = place_key(at, STR("above"));
	const struct raw_above *raw = list->v;
	const struct policy_rates *outside = &p->rates;
	struct policy_price_above *v =
		list->n > 0 ? pool_alloc(b->pool, list->n, sizeof(*v)) : NULL;

	p->above = v;
	for (size_t i = 0; v && i < list->n; i++) {
		struct place item = place_index(&key, i);
		struct place tokens = place_key(&item, STR("tokens"));

		v[i].tokens = raw[i].tokens;
		mpr_build_rates(&options_above, &raw[i].rates, outside, &stated,
		                &v[i].rates);
		outside = &v[i].rates;
		p->n_above = i + 1;
		if (i > 0 && v[i].tokens <= v[i - 1].tokens)
			report_error(b->rep, &tokens,
			             "found %llu, expected more than %llu, "
			             "which the entry before has",
			             (unsigned long long)v[i].tokens,
			             (unsigned long long)v[i - 1].tokens);
	}
}

/* A tier without an `above` has that of the model, each price at the dearer of
 * both. */
static void mpr_inherit_above(struct build *b, const struct policy_price *from,
                              struct policy_price *p)
{
	struct policy_price_above *v =
		from->n_above > 0
			? pool_alloc(b->pool, from->n_above, sizeof(*v))
			: NULL;

	p->above = v;
	for (size_t i = 0; v && i < from->n_above; i++) {
		const uint64_t *tier = (const uint64_t *)&p->rates;
		uint64_t *rates = (uint64_t *)&v[i].rates;

		v[i] = from->above[i];
		for (size_t k = 0; k < MPR_N; k++)
			rates[k] = mpr_larger(rates[k], tier[k]);
		p->n_above = i + 1;
	}
}

/* A tier that the file does not have costs what the model costs. */
static void mpr_build_tier(struct build *b, const struct raw_price *raw,
                           const char *name, const struct raw_tier *tier,
                           const struct place *at, struct mpr_stated stated,
                           const struct policy_price *m,
                           struct policy_price *out)
{
	struct place here = place_key(at, str_c(name));

	*out = *m;
	if (!options_given(&options_price, raw, name))
		return;
	out->n_above = 0;
	mpr_build_rates(&options_tier, &tier->rates, &m->rates, &stated,
	                &out->rates);
	if (tier->above.n > 0)
		mpr_build_above(b, &tier->above, &here, stated, out);
	else
		mpr_inherit_above(b, m, out);
}

void model_price_build(struct build *b, const struct raw_price *raw,
                       const struct place *at, struct policy_model *m)
{
	struct place here = place_key(at, STR("price"));
	struct mpr_stated stated = {.is = {false}}, batch;

	m->price.request = raw->request;
	mpr_build_rates(&options_price, &raw->rates, NULL, &stated,
	                &m->price.rates);
	mpr_build_above(b, &raw->above, &here, stated, &m->price);
	batch = stated;
	mpr_build_rates(&options_batch_price, &raw->batch, &m->price.rates,
	                &batch, &m->price_batch.rates);
	mpr_build_tier(b, raw, "priority", &raw->priority, &here, stated,
	               &m->price, &m->price_priority);
	mpr_build_tier(b, raw, "flex", &raw->flex, &here, stated, &m->price,
	               &m->price_flex);
}
