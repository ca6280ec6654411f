/*
 * report_ptu: throughput that is paid by the hour, shared by actual use.
 *
 *   cost = paid time * units * price of a unit
 *
 *   |-- row 1 --|-- row 2 --|------ idle ------|   0 .. cost
 *   0         used 1    used 1+2            whole  weighted tokens
 *
 * Each mark is rounded down to a pico-dollar, and a part is what lies between
 * two of them: so the parts of a cost are the cost, in whatever order.
 */
#include "commands/report_rows.h"

#include "base/clock.h"
#include "base/usd.h"

#include <inttypes.h>
#include <stdlib.h>

typedef unsigned __int128 u128;

static const int64_t hour_ms = 3600000, minute_ms = 60000;

void report_ptu_add(struct row *row, const struct policy_provisioned *p,
                    size_t i, const struct usage_entry *e)
{
	uint64_t cached = e->cached < e->input ? e->cached : e->input;

	row->uses[i] += e->input - cached +
	                e->output * p->deployment->ptu.output_weight;
}

/* ------------------------------------------------------------ the period */

/* The time of the report; empty (from == to) when there is none. */
static void time_of(const struct report *rep, int64_t *from, int64_t *to)
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

static void period_of(const struct policy_ptu *ptu, int64_t from, int64_t to,
                      struct ptu_period *out)
{
	if (from < ptu->since * 1000)
		from = ptu->since * 1000;
	if (ptu->until > 0 && to > ptu->until * 1000)
		to = ptu->until * 1000;
	out->ms = to > from ? to - from : 0;
	out->pico_usd = (u128)ptu->unit_hour * ptu->units * (uint64_t)out->ms /
	                (uint64_t)hour_ms;
	out->capacity = (uint64_t)((u128)ptu->unit_tpm * ptu->units *
	                           (uint64_t)out->ms / (uint64_t)minute_ms);
}

/* ------------------------------------------------------------ the shares */

/* cost * part / whole, rounded down, without leaving 128 bits. */
static u128 mark(u128 cost, uint64_t part, uint64_t whole)
{
	return cost / whole * part + cost % whole * part / whole;
}

static bool is_of_deployment(struct str column)
{
	return str_eq(column, STR("model")) ||
	       str_eq(column, STR("resource")) ||
	       str_eq(column, STR("deployment"));
}

static struct str name_in(const struct policy_provisioned *p, struct str column)
{
	if (str_eq(column, STR("model")))
		return p->model->name;
	if (str_eq(column, STR("resource")))
		return p->resource;
	return p->deployment->name;
}

/* Escaped as in the lines of a ledger, without the quotes. */
static void add_name(struct buf *key, struct str name)
{
	struct buf quoted;

	buf_init(&quoted, REPORT_KEY_MAX);
	if (buf_json(&quoted, name))
		buf_add(key, quoted.p + 1, quoted.len - 2);
	else
		key->failed = true;
	buf_done(&quoted);
}

/* "(idle)" in each column, with the name of what is idle where it has one. */
static bool add_idle(struct report *rep, const struct policy_provisioned *p,
                     u128 pico_usd)
{
	struct row *row = NULL;
	struct buf key;
	size_t k;

	buf_init(&key, REPORT_KEY_MAX);
	for (k = 0; k < rep->n_columns; k++) {
		buf_add_str(&key, STR("(idle)"));
		if (is_of_deployment(rep->names[k])) {
			buf_add_str(&key, STR(" "));
			add_name(&key, name_in(p, rep->names[k]));
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

/* `rows` are those that were used, in the order they are shown. */
static bool share(struct report *rep, size_t i, struct row *const *rows)
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
		upto = mark(t->pico_usd, before, whole);
		rows[k]->sums.pico_usd += upto - given;
		given = upto;
	}
	return given == t->pico_usd || add_idle(rep, p, t->pico_usd - given);
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
	time_of(rep, &from, &to);
	ok = rows && rep->periods;
	for (i = 0; ok && i < n; i++) {
		period_of(&rep->policy->provisioned[i].deployment->ptu, from,
		          to, &rep->periods[i]);
		ok = share(rep, i, rows);
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
		        (double)t->ms / (double)hour_ms);
		usd_write(out, t->pico_usd);
		if (t->capacity > 0)
			buf_fmt(out, ", %.1f %% used",
			        100.0 * (double)t->used / (double)t->capacity);
		buf_fmt(out, "\n");
	}
}
