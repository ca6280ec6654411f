/*
 * conf/manual: what gateway.json may hold, for people.
 */
#ifndef CONF_MANUAL_H
#define CONF_MANUAL_H

#include "base/buf.h"

/* All options with type, default and help, from the same table that parses
 * them: `foundry-spoa options`. */
void manual_print(struct buf *out);

#endif
