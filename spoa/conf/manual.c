/*
 * conf/manual: the documentation of all options of gateway.json as text.
 *
 *   PATH.KEY
 *       TYPE [BOUNDS] [; only TYPES OF CREDENTIALS] [; required | default]
 *       HELP
 */
#include "conf/manual.h"

#include "conf/options.h"

#include <stdio.h>

static void man_print_names(struct buf *out, const char *const *names)
{
	size_t i;

	for (i = 0; names[i]; i++)
		buf_fmt(out, "%s%s", i ? " | " : "", names[i]);
}

/* Credential types that have this key; nothing when all have it. */
static void man_print_kinds(struct buf *out, unsigned kinds)
{
	const char *sep = "; only ";
	unsigned i;

	for (i = 0; options_credential_types[i]; i++)
		if (kinds >> i & 1) {
			buf_fmt(out, "%s%s", sep, options_credential_types[i]);
			sep = ", ";
		}
}

static void man_print_row(struct buf *out, const char *prefix,
                          const struct option *o)
{
	buf_fmt(out, "%s%s\n    ", prefix, o->key);
	if (o->type == OPT_ENUM)
		man_print_names(out, o->names);
	else
		buf_fmt(out, "%s%s",
		        o->or_one ? "one or a list: "
		        : o->many ? "list: "
		                  : "",
		        options_type_name(o->type));
	if (o->max > 0 && (o->type == OPT_UINT || o->type == OPT_U64))
		buf_fmt(out, " from %lld to %lld", (long long)o->min,
		        (long long)o->max);
	man_print_kinds(out, o->kinds);
	if (o->required)
		buf_fmt(out, "; required");
	else if (o->def)
		buf_fmt(out, "; default %s", o->def);
	buf_fmt(out, "\n    %s\n", o->help);
}

/* Recursion follows the table, which is a few levels deep. */
static void man_print_section(struct buf *out, const char *prefix,
                              const struct section *s)
{
	const struct option *o;
	char below[128];

	for (o = s->options; o->key; o++) {
		const char *tail = o->type == OPT_MAP      ? ".NAME."
		                   : o->type == OPT_OBJECT ? "."
		                                           : "[].";

		man_print_row(out, prefix, o);
		if (!o->section)
			continue;
		snprintf(below, sizeof(below), "%s%s%s", prefix, o->key, tail);
		man_print_section(out, below, o->section);
	}
}

void manual_print(struct buf *out)
{
	man_print_section(out, "", &options_root);
}
