/*
 * conf/model_price: from `price` of a model in gateway.json to its rates.
 */
#ifndef CONF_MODEL_PRICE_H
#define CONF_MODEL_PRICE_H

#include "conf/build.h"
#include "conf/options.h"

/* Set price, price_batch, price_priority and price_flex of *m. `at` is the
 * place of the model. A list `above` that does not ascend is reported.
 *
 * What the file does not state takes the more general price (POLICY_RATES) of
 * the same object. In a tier, a batch or an entry of `above` a price that is
 * stated outside only is that of outside, or the more general one of inside
 * where that is stated and dearer: it is never too low.
 */
void model_price_build(struct build *b, const struct raw_price *raw,
                       const struct place *at, struct policy_model *m);

#endif
