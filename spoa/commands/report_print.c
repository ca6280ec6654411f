/*
 * report_print: the sums as a table, as CSV, as JSON.
 *
 *   report_sorted -> rpp_write_table, rpp_write_csv or rpp_write_json
 *
 * The columns are those of --by, then rpp_numbers, then dollars. All three
 * formats come from the same table, so a new sum is one row of it. Dollars are
 * written as decimals, never as a double. Only the table has a total and the
 * lines about provisioned throughput: CSV and JSON are for programs.
 */
#include "commands/report_rows.h"

#include "base/usd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Widths in characters. */
enum {
	RPP_USD_WIDTH = 24, /* a hundred billion dollars, 12 decimals */
	RPP_NUMBER_WIDTH = 14,
	RPP_NAME_WIDTH_MIN = 5,  /* "total" */
	RPP_NAME_WIDTH_MAX = 60, /* longer values are cut: the table only */
};

/* The sums that are counted in uint64_t. The table has a rare one only where
 * there is one; programs get all columns always. */
static const struct number {
	const char *name;
	size_t at; /* offset in struct sums */
	bool rare;
} rpp_numbers[] = {{"requests", offsetof(struct sums, requests), false},
                   {"failed", offsetof(struct sums, failed), false},
                   {"estimated", offsetof(struct sums, estimated), false},
#define RPP_IS_LEDGER false
#define RPP_IS_RARE   true
#define RPP_TOKENS(kind, name, where)                                          \
	{#name, offsetof(struct sums, name), RPP_IS_##where},
                   USAGE_TOKENS(RPP_TOKENS)
#undef RPP_TOKENS
};

enum { RPP_N_NUMBERS = sizeof(rpp_numbers) / sizeof(*rpp_numbers) };

static uint64_t rpp_number_of(const struct sums *s, size_t i)
{
	return *(const uint64_t *)((const char *)s + rpp_numbers[i].at);
}

/* RFC 4180: in quotes, with quotes doubled. The JSON escapes of the ledger stay
 * as they are. */
static void rpp_write_csv_text(struct buf *out, struct str s)
{
	size_t i;

	buf_add_str(out, STR("\""));
	for (i = 0; i < s.len; i++) {
		if (s.p[i] == '"')
			buf_add_str(out, STR("\""));
		buf_add(out, s.p + i, 1);
	}
	buf_add_str(out, STR("\","));
}

static void rpp_write_csv(const struct report *rep, struct row *const *v,
                          struct buf *out)
{
	size_t i, k;

	for (k = 0; k < rep->n_columns; k++)
		buf_fmt(out, "%" STR_FMT ",", STR_ARG(rep->names[k]));
	for (k = 0; k < RPP_N_NUMBERS; k++)
		buf_fmt(out, "%s,", rpp_numbers[k].name);
	buf_fmt(out, "usd\n");
	for (i = 0; v[i]; i++) {
		for (k = 0; k < rep->n_columns; k++)
			rpp_write_csv_text(out, v[i]->values[k]);
		for (k = 0; k < RPP_N_NUMBERS; k++)
			buf_fmt(out, "%" PRIu64 ",",
			        rpp_number_of(&v[i]->sums, k));
		usd_write(out, v[i]->sums.pico_usd);
		buf_fmt(out, "\n");
	}
}

static void rpp_write_json(const struct report *rep, struct row *const *v,
                           struct buf *out)
{
	size_t i, k;

	buf_fmt(out, "[");
	for (i = 0; v[i]; i++) {
		buf_fmt(out, "%s\n{", i ? "," : "");
		for (k = 0; k < rep->n_columns; k++)
			/* values still have the ledger's JSON escapes, and
			 * names of columns need none */
			buf_fmt(out, "\"%" STR_FMT "\":\"%" STR_FMT "\",",
			        STR_ARG(rep->names[k]),
			        STR_ARG(v[i]->values[k]));
		for (k = 0; k < RPP_N_NUMBERS; k++)
			buf_fmt(out, "\"%s\":%" PRIu64 ",", rpp_numbers[k].name,
			        rpp_number_of(&v[i]->sums, k));
		buf_fmt(out, "\"usd\":");
		usd_write(out, v[i]->sums.pico_usd);
		buf_fmt(out, "}");
	}
	buf_fmt(out, "\n]\n");
}

static void rpp_add_sums(struct sums *total, const struct sums *s)
{
	size_t k;

	for (k = 0; k < RPP_N_NUMBERS; k++)
		*(uint64_t *)((char *)total + rpp_numbers[k].at) +=
			rpp_number_of(s, k);
	total->pico_usd += s->pico_usd;
}

static int rpp_column_width(const struct report *rep, struct row *const *v,
                            size_t k)
{
	size_t i, width = RPP_NAME_WIDTH_MIN;

	if (rep->names[k].len > width)
		width = rep->names[k].len;
	for (i = 0; v[i]; i++)
		if (v[i]->values[k].len > width)
			width = v[i]->values[k].len;
	return width > RPP_NAME_WIDTH_MAX ? RPP_NAME_WIDTH_MAX : (int)width;
}

/* With two blanks between it and the column before. */
static int rpp_width(size_t k)
{
	int len = (int)strlen(rpp_numbers[k].name) + 2;

	return len > RPP_NUMBER_WIDTH ? len : RPP_NUMBER_WIDTH;
}

/* Whether the table has column `k`; *total is the sum of all rows. */
static bool rpp_is_shown(const struct sums *total, size_t k)
{
	return !rpp_numbers[k].rare || rpp_number_of(total, k) > 0;
}

/* The numbers of a line of the table. */
static void rpp_write_sums(const struct sums *s, const struct sums *total,
                           struct buf *out)
{
	char space[64];
	struct buf usd = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	size_t k;

	for (k = 0; k < RPP_N_NUMBERS; k++)
		if (rpp_is_shown(total, k))
			buf_fmt(out, "%*" PRIu64, rpp_width(k),
			        rpp_number_of(s, k));
	usd_write(&usd, s->pico_usd);
	buf_fmt(out, "%*" STR_FMT "\n", RPP_USD_WIDTH, STR_ARG(buf_str(&usd)));
}

static void rpp_write_table(const struct report *rep, struct row *const *v,
                            struct buf *out)
{
	int widths[REPORT_COLUMNS_MAX] = {0};
	struct sums total = {0};
	size_t i, k;

	for (i = 0; v[i]; i++)
		rpp_add_sums(&total, &v[i]->sums);
	for (k = 0; k < rep->n_columns; k++) {
		widths[k] = rpp_column_width(rep, v, k);
		buf_fmt(out, "%-*" STR_FMT "  ", widths[k],
		        STR_ARG(rep->names[k]));
	}
	for (k = 0; k < RPP_N_NUMBERS; k++)
		if (rpp_is_shown(&total, k))
			buf_fmt(out, "%*s", rpp_width(k), rpp_numbers[k].name);
	buf_fmt(out, "%*s\n", RPP_USD_WIDTH, "usd");
	for (i = 0; v[i]; i++) {
		for (k = 0; k < rep->n_columns; k++)
			buf_fmt(out, "%-*" STR_FMT "  ", widths[k],
			        STR_ARG(str_first(v[i]->values[k],
			                          RPP_NAME_WIDTH_MAX)));
		rpp_write_sums(&v[i]->sums, &total, out);
	}
	for (k = 0; k < rep->n_columns; k++)
		buf_fmt(out, "%-*s  ", widths[k], k == 0 ? "total" : "");
	rpp_write_sums(&total, &total, out);
	report_ptu_tell(rep, out);
}

bool report_print(const struct report *rep, struct buf *out)
{
	struct row **v = report_sorted(rep);

	if (!v)
		return false;
	switch (rep->o->format) {
	case REPORT_CSV:
		rpp_write_csv(rep, v, out);
		break;
	case REPORT_JSON:
		rpp_write_json(rep, v, out);
		break;
	default:
		rpp_write_table(rep, v, out);
		break;
	}
	free(v);
	return !out->failed;
}
