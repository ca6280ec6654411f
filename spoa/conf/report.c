/*
 * conf/report: the errors and warnings of a configuration.
 *
 *   place_key(place_key(place_index(..)))    a chain on the stack, inside out
 *        | report_path
 *        v
 *   g.json: models["gpt-4.1"].deployments[0].name: found .., expected ..
 *
 * All places of a run are told at once, so an operator needs one attempt and
 * not one for each mistake.
 */
#include "conf/report.h"

#include <stdarg.h>
#include <stdio.h>

/* Such a key is written behind a dot; with any other, '.' and '[' in it would
 * look like parts of the path, so it is quoted. */
static bool crep_is_plain(struct str key)
{
	return key.len > 0 && str_has_only(key, "_-");
}

/* Recursive, because the chain is linked from the inside out. Its depth is that
 * of the option table. */
void report_path(struct buf *out, const struct place *at)
{
	if (!at)
		return;
	report_path(out, at->up);
	if (!at->key.p) {
		buf_fmt(out, "[%zu]", at->index);
	} else if (crep_is_plain(at->key)) {
		buf_fmt(out, "%s%" STR_FMT, at->up ? "." : "",
		        STR_ARG(at->key));
	} else {
		buf_fmt(out, "[");
		buf_json(out, at->key);
		buf_fmt(out, "]");
	}
}

/* A line that does not fit into `out` is dropped; the counters still count it,
 * so the configuration is refused. */
static void crep_write_line(struct report *r, const char *kind,
                            const struct place *at, const char *fmt, va_list ap)
{
	/* a longer sentence is cut; the place before it is not */
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	buf_fmt(r->out, "%s%s: ", kind, r->file);
	report_path(r->out, at);
	buf_fmt(r->out, "%s%s\n", at ? ": " : "", text);
}

void report_error(struct report *r, const struct place *at, const char *fmt,
                  ...)
{
	va_list ap;

	r->n_errors++;
	va_start(ap, fmt);
	crep_write_line(r, "", at, fmt, ap);
	va_end(ap);
}

void report_warning(struct report *r, const struct place *at, const char *fmt,
                    ...)
{
	va_list ap;

	r->n_warnings++;
	va_start(ap, fmt);
	crep_write_line(r, "warning: ", at, fmt, ap);
	va_end(ap);
}
