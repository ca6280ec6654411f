/*
 * conf/manual: the documentation of all options of gateway.json as text.
 */
#ifndef CONF_MANUAL_H
#define CONF_MANUAL_H

#include "base/buf.h"

/* Append all options with type, bounds, default and help, from the same table
 * that parses them. The output of `foundry-spoa options`. */
void manual_print(struct buf *out);

#endif
