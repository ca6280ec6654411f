/*
 * usage/ledger: the file that says who consumed what.
 *
 * JSON lines (usage/entry), appended once per settled request by whichever
 * worker settled it; one write per line, so lines of several workers do not
 * mix. What is settled in Redis has the same line there, in a stream per
 * account (store/store.h), which is bounded but has the lines of all nodes. The
 * file is rotated by size (FILE -> FILE.TIME), and opened again when somebody
 * else has moved it away (logrotate), so no signal is needed.
 */
#ifndef USAGE_LEDGER_H
#define USAGE_LEDGER_H

#include "base/clock.h"
#include "base/metrics.h"
#include "usage/entry.h"

struct ledger;

/* NULL without memory. Nothing is written before ledger_configure(). */
struct ledger *ledger_new(const struct clock *clock, struct metrics *metrics);
void ledger_free(struct ledger *l);

/* Where to write; an empty path: nowhere. The path is copied. `max_bytes` 0: no
 * rotation. A file that cannot be opened is logged and tried again with every
 * ledger_tick(). */
void ledger_configure(struct ledger *l, struct str path, uint64_t max_bytes);

/* Append a line of entry_write(). One that cannot be written is counted
 * (foundry_ledger_records_total{result="lost"}) and logged once per trouble. */
void ledger_add(struct ledger *l, struct str line);

/* Once a second: rotate when it is time, follow a file that was moved. */
void ledger_tick(struct ledger *l);

#endif
