/*
 * usage/price: what a request costs.
 *
 * Counts of tokens are at most about 2^41 (usage/record, usage/estimator) and
 * prices 64 bits, so the sum of the products is far from the end of 128 bits.
 */
#include "usage/price.h"

typedef unsigned __int128 u128;

/* How many of `*left` are of a kind; they are then not left for another. */
static uint64_t price_take(uint64_t *left, uint64_t n)
{
	uint64_t taken = n < *left ? n : *left;

	*left -= taken;
	return taken;
}

const struct policy_price *price_of_tier(const struct policy_model *m,
                                         struct str tier)
{
	if (str_eq(tier, STR("priority")))
		return &m->price_priority;
	if (str_eq(tier, STR("flex")))
		return &m->price_flex;
	return str_eq(tier, STR("batch")) ? &m->price_batch : &m->price;
}

/* The rates for a prompt of this length. */
static const struct policy_rates *price_rates(const struct policy_price *price,
                                              uint64_t prompt)
{
	const struct policy_rates *r = &price->rates;

	for (size_t i = 0; i < price->n_above; i++)
		if (prompt > price->above[i].tokens)
			r = &price->above[i].rates;
	return r;
}

/* Media that are cached are part of both counts. Cached tokens of which it is
 * not told what they were are text as far as there is text, then audio, then
 * pictures. */
static u128 price_input(const struct policy_rates *r,
                        const struct usage_tokens *t)
{
	uint64_t left = t->input, cached = t->cached;
	uint64_t audio = price_take(&left, t->audio_input);
	uint64_t image = price_take(&left, t->image_input);
	uint64_t known_audio =
		t->audio_cached < audio ? t->audio_cached : audio;
	uint64_t known_image =
		t->image_cached < image ? t->image_cached : image;
	uint64_t audio_cached, image_cached, text_cached, write_1h, write_5m;

	audio_cached = price_take(&cached, known_audio);
	image_cached = price_take(&cached, known_image);
	text_cached = price_take(&left, cached);
	cached -= text_cached;
	audio -= audio_cached;
	image -= image_cached;
	known_audio = price_take(&audio, cached);
	audio_cached += known_audio;
	image_cached += price_take(&image, cached - known_audio);
	write_1h = price_take(&left, t->cache_write_1h);
	write_5m = price_take(&left, t->cache_write_5m);
	return (u128)left * r->input + (u128)text_cached * r->cached +
	       (u128)write_5m * r->cache_write_5m +
	       (u128)write_1h * r->cache_write_1h +
	       (u128)audio * r->audio_input +
	       (u128)audio_cached * r->audio_cached +
	       (u128)image * r->image_input +
	       (u128)image_cached * r->image_cached;
}

static u128 price_output(const struct policy_rates *r,
                         const struct usage_tokens *t)
{
	uint64_t left = t->output;
	uint64_t audio = price_take(&left, t->audio_output);
	uint64_t image = price_take(&left, t->image_output);
	uint64_t reasoning = price_take(&left, t->reasoning);

	return (u128)left * r->output + (u128)audio * r->audio_output +
	       (u128)image * r->image_output + (u128)reasoning * r->reasoning;
}

u128 price_pico_usd(const struct policy_price *price,
                    const struct usage_tokens *t, uint64_t requests)
{
	const struct policy_rates *r =
		price_rates(price, t->longest > 0 ? t->longest : t->input);

	return price_input(r, t) + price_output(r, t) +
	       (u128)requests * price->request;
}

static uint64_t price_round_up(u128 pico)
{
	u128 nano = (pico + 999) / 1000;

	/* half of the range, so that limits can add two of them */
	return nano > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)nano;
}

uint64_t price_nano_usd(const struct policy_price *price,
                        const struct usage_tokens *t, uint64_t requests)
{
	return price_round_up(price_pico_usd(price, t, requests));
}

static void price_raise(uint64_t *most, uint64_t rate)
{
	if (rate > *most)
		*most = rate;
}

static u128 price_dearest_rates(const struct policy_rates *r, uint64_t input,
                                uint64_t output)
{
	uint64_t in = r->input, out = r->output;

	price_raise(&in, r->cached);
	price_raise(&in, r->cache_write_5m);
	price_raise(&in, r->cache_write_1h);
	price_raise(&in, r->audio_input);
	price_raise(&in, r->audio_cached);
	price_raise(&in, r->image_input);
	price_raise(&in, r->image_cached);
	price_raise(&out, r->audio_output);
	price_raise(&out, r->image_output);
	price_raise(&out, r->reasoning);
	return (u128)in * input + (u128)out * output;
}

uint64_t price_dearest_nano_usd(const struct policy_model *m, uint64_t input,
                                uint64_t output)
{
	const struct policy_price *const tiers[] = {
		&m->price, &m->price_priority, &m->price_flex};
	u128 most = 0;

	for (size_t i = 0; i < sizeof(tiers) / sizeof(*tiers); i++) {
		const struct policy_price *p = tiers[i];
		u128 cost = price_dearest_rates(&p->rates, input, output);

		most = cost > most ? cost : most;
		for (size_t k = 0; k < p->n_above; k++) {
			if (p->above[k].tokens / 2 > input)
				continue;
			cost = price_dearest_rates(&p->above[k].rates, input,
			                           output);
			most = cost > most ? cost : most;
		}
	}
	return price_round_up(most + m->price.request);
}
