/*
 * report_ptu: throughput that is paid by the hour, shared by actual use.
 *
 *   report_ptu_add     each line: its weighted tokens -> uses of its row
 *   report_ptu_share   all lines are read: rptu_paid_period -> rptu_share_cost
 *   report_ptu_tell    a line for people, per deployment
 *
 *   cost  = paid time * units * price of a unit
 *   whole = paid time * units * tokens per minute of a unit: the capacity; or
 *           what was used, where that is more or no capacity is stated
 *
 *   |-- row 1 --|-- row 2 --|------ idle ------|   0 .. cost
 *   0         used 1    used 1+2            whole  weighted tokens
 *
 * The marks between the parts are computed, not the parts: each mark is rounded
 * down to a pico-dollar, and a part is the difference of two marks. So the
 * parts add up to the cost exactly, which parts that are rounded would not. The
 * order of the rows moves a part by at most one pico-dollar.
 *
 * All is in integers: pico-dollars, milliseconds, tokens. Products are in 128
 * bits, because 10^5 units at 10^12 pico-dollars for a year of milliseconds are
 * 3 * 10^27.
 */
#include "commands/report_rows.h"

#include "base/clock.h"
#include "base/usd.h"

#include <inttypes.h>
#include <stdlib.h>

typedef unsigned __int128 u128;

static const int64_t rptu_hour_ms = 3600000, rptu_minute_ms = 60000;

/* Weighed as Azure charges a PTU deployment (azure.md 4.1): a cached token uses
 * no capacity. */
void report_ptu_add(struct row *row, const struct policy_provisioned *p,
                    size_t i, const struct usage_entry *e)
{
	uint64_t cached = e->cached < e->input ? e->cached : e->input;

	row->uses[i] += e->input - cached +
	                e->output * p->deployment->ptu.output_weight;
}

/* ------------------------------------------------------------ the period */

/* The time that the report is about. Nothing is paid ahead, so it ends now at
 * the latest. Without --from it begins with the first line, in whose time
 * something was used; without lines it is empty (*from == *to). */
static void rptu_report_period(const struct report *rep, int64_t *from,
                               int64_t *to)
{
	struct str first = str_of(rep->first, sizeof(rep->first));

	*to = rep->o->now_ms;
	*from = *to;
	if (rep->o->from.len > 0)
		clock_read(rep->o->from, from);
	else if (rep->first[0])
		clock_read(first, from);
	if (rep->o->to.len > 0)
		clock_read(rep->o->to, to);
	if (*to > rep->o->now_ms)
		*to = rep->o->now_ms;
}

/* What of it is paid for one deployment: the part between `since` and `until`.
 */
static void rptu_paid_period(const struct policy_ptu *ptu, int64_t from,
                             int64_t to, struct ptu_period *out)
{
	if (from < ptu->since * 1000)
		from = ptu->since * 1000;
	if (ptu->until > 0 && to > ptu->until * 1000)
		to = ptu->until * 1000;
	out->ms = to > from ? to - from : 0;
	out->pico_usd = (u128)ptu->unit_hour * ptu->units * (uint64_t)out->ms /
	                (uint64_t)rptu_hour_ms;
	out->capacity =
		(uint64_t)((u128)ptu->unit_tpm * ptu->units *
	                   (uint64_t)out->ms / (uint64_t)rptu_minute_ms);
}

/* ------------------------------------------------------------ the shares */

/* cost * part / whole, rounded down; part <= whole. The plain product could
 * exceed 128 bits, so quotient and remainder of the division go apart: the
 * second product stays below whole^2 < 2^128. `whole` is not 0 as soon as one
 * row used something. */
static u128 rptu_mark(u128 cost, uint64_t part, uint64_t whole)
{
	return cost / whole * part + cost % whole * part / whole;
}

/* Columns in which an idle row can say what is idle. */
static bool rptu_names_deployment(struct str column)
{
	return str_eq(column, STR("model")) ||
	       str_eq(column, STR("resource")) ||
	       str_eq(column, STR("deployment"));
}

static struct str rptu_column_value(const struct policy_provisioned *p,
                                    struct str column)
{
	if (str_eq(column, STR("model")))
		return p->model->name;
	if (str_eq(column, STR("resource")))
		return p->resource;
	return p->deployment->name;
}

/* Keys of rows have JSON escapes, as the lines of the ledger that they come
 * from.
 */
static void rptu_add_escaped(struct buf *key, struct str name)
{
	struct buf quoted;

	buf_init(&quoted, REPORT_KEY_MAX);
	if (buf_json(&quoted, name))
		buf_add(key, quoted.p + 1, quoted.len - 2);
	else
		key->failed = true;
	buf_done(&quoted);
}

/* Nobody used it, so no row of --by can have it: a row with "(idle)" in each
 * column, and the name of what is idle where the column is about that. Idle
 * deployments with the same values share a row. Without columns there is one
 * row for all, and what was idle is part of it. */
static bool rptu_add_idle_row(struct report *rep,
                              const struct policy_provisioned *p, u128 pico_usd)
{
	struct row *row = NULL;
	struct buf key;
	size_t k;

	buf_init(&key, REPORT_KEY_MAX);
	for (k = 0; k < rep->n_columns; k++) {
		buf_add_str(&key, STR("(idle)"));
		if (rptu_names_deployment(rep->names[k])) {
			buf_add_str(&key, STR(" "));
			rptu_add_escaped(&key,
			                 rptu_column_value(p, rep->names[k]));
		}
		buf_add_str(&key, STR("\n"));
	}
	if (!key.failed)
		row = report_row(rep, buf_str(&key));
	buf_done(&key);
	if (!row)
		return false;
	row->idle = rep->n_columns > 0;
	row->sums.pico_usd += pico_usd;
	return true;
}

/* Shares the cost of provisioned deployment `i` over `rows`, those of the
 * ledger in the order they are shown; the rest goes to an idle row. False
 * without memory. */
static bool rptu_share_cost(struct report *rep, size_t i,
                            struct row *const *rows)
{
	const struct policy_provisioned *p = &rep->policy->provisioned[i];
	struct ptu_period *t = &rep->periods[i];
	u128 given = 0;
	uint64_t whole, before = 0;
	size_t k;

	for (k = 0; rows[k]; k++)
		t->used += rows[k]->uses[i];
	whole = t->used > t->capacity ? t->used : t->capacity;
	for (k = 0; rows[k] && t->used > 0; k++) {
		u128 upto;

		before += rows[k]->uses[i];
		upto = rptu_mark(t->pico_usd, before, whole);
		rows[k]->sums.pico_usd += upto - given;
		given = upto;
	}
	return given == t->pico_usd ||
	       rptu_add_idle_row(rep, p, t->pico_usd - given);
}

bool report_ptu_share(struct report *rep)
{
	size_t i, n = rep->policy->n_provisioned;
	struct row **rows;
	int64_t from, to;
	bool ok = true;

	if (n == 0)
		return true;
	rows = report_sorted(rep);
	rep->periods = calloc(n, sizeof(*rep->periods));
	rptu_report_period(rep, &from, &to);
	ok = rows && rep->periods;
	for (i = 0; ok && i < n; i++) {
		rptu_paid_period(&rep->policy->provisioned[i].deployment->ptu,
		                 from, to, &rep->periods[i]);
		ok = rptu_share_cost(rep, i, rows);
	}
	free(rows);
	return ok;
}

void report_ptu_tell(const struct report *rep, struct buf *out)
{
	size_t i;

	for (i = 0; rep->periods && i < rep->policy->n_provisioned; i++) {
		const struct policy_provisioned *p =
			&rep->policy->provisioned[i];
		const struct ptu_period *t = &rep->periods[i];

		buf_fmt(out,
		        "%s%" STR_FMT " of %" STR_FMT
		        ": %u units for %.2f hours, usd ",
		        i ? "" : "\n", STR_ARG(p->deployment->name),
		        STR_ARG(p->resource), p->deployment->ptu.units,
		        (double)t->ms / (double)rptu_hour_ms);
		usd_write(out, t->pico_usd);
		if (t->capacity > 0)
			buf_fmt(out, ", %.1f %% used",
			        100.0 * (double)t->used / (double)t->capacity);
		buf_fmt(out, "\n");
	}
}
