/* report_print: the sums as a table, as CSV, as JSON. */
#include "commands/report_rows.h"

#include "base/usd.h"

#include <inttypes.h>
#include <stdlib.h>

enum { USD_WIDTH = 24 };

static const struct number {
	const char *name;
	size_t at;
} numbers[] = {
	{"requests", offsetof(struct sums, requests)},
	{"failed", offsetof(struct sums, failed)},
	{"estimated", offsetof(struct sums, estimated)},
	{"input", offsetof(struct sums, input)},
	{"cached", offsetof(struct sums, cached)},
	{"output", offsetof(struct sums, output)},
	{"reasoning", offsetof(struct sums, reasoning)},
	{"audio", offsetof(struct sums, audio)},
};

enum { N_NUMBERS = sizeof(numbers) / sizeof(*numbers) };

static uint64_t number_of(const struct sums *s, size_t i)
{
	return *(const uint64_t *)((const char *)s + numbers[i].at);
}

/* RFC 4180: quoted, quotes doubled. */
static void write_csv_text(struct buf *out, struct str s)
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

static void write_csv(const struct report *rep, struct row *const *v,
                      struct buf *out)
{
	size_t i, k;

	for (k = 0; k < rep->n_columns; k++)
		buf_fmt(out, "%" STR_FMT ",", STR_ARG(rep->names[k]));
	for (k = 0; k < N_NUMBERS; k++)
		buf_fmt(out, "%s,", numbers[k].name);
	buf_fmt(out, "usd\n");
	for (i = 0; v[i]; i++) {
		for (k = 0; k < rep->n_columns; k++)
			write_csv_text(out, v[i]->values[k]);
		for (k = 0; k < N_NUMBERS; k++)
			buf_fmt(out, "%" PRIu64 ",", number_of(&v[i]->sums, k));
		usd_write(out, v[i]->sums.pico_usd);
		buf_fmt(out, "\n");
	}
}

static void write_json(const struct report *rep, struct row *const *v,
                       struct buf *out)
{
	size_t i, k;

	buf_fmt(out, "[");
	for (i = 0; v[i]; i++) {
		buf_fmt(out, "%s\n{", i ? "," : "");
		for (k = 0; k < rep->n_columns; k++)
			/* the text still has its JSON escapes */
			buf_fmt(out, "\"%" STR_FMT "\":\"%" STR_FMT "\",",
			        STR_ARG(rep->names[k]),
			        STR_ARG(v[i]->values[k]));
		for (k = 0; k < N_NUMBERS; k++)
			buf_fmt(out, "\"%s\":%" PRIu64 ",", numbers[k].name,
			        number_of(&v[i]->sums, k));
		buf_fmt(out, "\"usd\":");
		usd_write(out, v[i]->sums.pico_usd);
		buf_fmt(out, "}");
	}
	buf_fmt(out, "\n]\n");
}

static void add_up(struct sums *total, const struct sums *s)
{
	size_t k;

	for (k = 0; k < N_NUMBERS; k++)
		*(uint64_t *)((char *)total + numbers[k].at) += number_of(s, k);
	total->pico_usd += s->pico_usd;
}

static int width_of(const struct report *rep, struct row *const *v, size_t k)
{
	size_t i, width = rep->names[k].len > 5 ? rep->names[k].len : 5;

	for (i = 0; v[i]; i++)
		if (v[i]->values[k].len > width)
			width = v[i]->values[k].len;
	return width > 60 ? 60 : (int)width;
}

static void write_sums(const struct sums *s, struct buf *out)
{
	char space[64];
	struct buf usd = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};
	size_t k;

	for (k = 0; k < N_NUMBERS; k++)
		buf_fmt(out, "%14" PRIu64, number_of(s, k));
	usd_write(&usd, s->pico_usd);
	buf_fmt(out, "%*" STR_FMT "\n", USD_WIDTH, STR_ARG(buf_str(&usd)));
}

static void write_table(const struct report *rep, struct row *const *v,
                        struct buf *out)
{
	int widths[REPORT_COLUMNS_MAX] = {0};
	struct sums total = {0};
	size_t i, k;

	for (k = 0; k < rep->n_columns; k++) {
		widths[k] = width_of(rep, v, k);
		buf_fmt(out, "%-*" STR_FMT "  ", widths[k],
		        STR_ARG(rep->names[k]));
	}
	for (k = 0; k < N_NUMBERS; k++)
		buf_fmt(out, "%14s", numbers[k].name);
	buf_fmt(out, "%*s\n", USD_WIDTH, "usd");
	for (i = 0; v[i]; i++) {
		for (k = 0; k < rep->n_columns; k++)
			buf_fmt(out, "%-*" STR_FMT "  ", widths[k],
			        STR_ARG(str_first(v[i]->values[k], 60)));
		write_sums(&v[i]->sums, out);
		add_up(&total, &v[i]->sums);
	}
	for (k = 0; k < rep->n_columns; k++)
		buf_fmt(out, "%-*s  ", widths[k], k == 0 ? "total" : "");
	write_sums(&total, out);
	report_ptu_tell(rep, out);
}

bool report_print(const struct report *rep, struct buf *out)
{
	struct row **v = report_sorted(rep);

	if (!v)
		return false;
	switch (rep->o->format) {
	case REPORT_CSV:
		write_csv(rep, v, out);
		break;
	case REPORT_JSON:
		write_json(rep, v, out);
		break;
	default:
		write_table(rep, v, out);
		break;
	}
	free(v);
	return !out->failed;
}
