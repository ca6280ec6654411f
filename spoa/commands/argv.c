/*
 * commands/argv: the options of a command, `--name value`, from a table.
 *
 *   argv_read -> argv_read_option -> argv_set_value -> member of the struct
 *
 * A row names the member by its offset, so one function sets members of all
 * structs. getopt_long() is not used: it would need a second table with the
 * types, and its messages do not say what was expected.
 */
#include "commands/argv.h"

/* Converts `value` and stores it. False when it is not among `names`; then
 * nothing is stored. Text needs no copy: argv lives as long as the process. */
static bool argv_set_value(const struct argv_option *w, const char *value,
                           void *into)
{
	void *at = (char *)into + w->at;
	int i;

	if (w->type == ARGV_TEXT) {
		*(struct str *)at = str_c(value);
		return true;
	}
	for (i = 0; w->names[i]; i++)
		if (strcmp(value, w->names[i]) == 0)
			break;
	if (!w->names[i])
		return false;
	if (w->type == ARGV_BOOL)
		*(bool *)at = i > 0;
	else
		*(int *)at = i;
	return true;
}

/* Reads the option `name`; `value` is the argument behind it, NULL at the end.
 * *used is set to the number of arguments that were read: 1 for a flag, else 2.
 */
static bool argv_read_option(const struct argv_option *table, size_t n,
                             const char *name, const char *value, void *into,
                             int *used, struct buf *error)
{
	size_t i = 0;

	while (i < n && strcmp(table[i].name, name) != 0)
		i++;
	*used = 2;
	if (i < n && table[i].type == ARGV_FLAG) {
		*(bool *)((char *)into + table[i].at) = true;
		*used = 1;
		return true;
	}
	if (i == n || !value) {
		buf_fmt(error, "%s: found %s\n", name,
		        i == n ? "no such option" : "no value behind it");
		return false;
	}
	if (argv_set_value(&table[i], value, into))
		return true;
	buf_fmt(error, "%s: found \"%s\", expected %s\n", name, value,
	        table[i].help);
	return false;
}

bool argv_read(const struct argv_option *table, size_t n, int argc, char **argv,
               void *into, const char **file, struct buf *error)
{
	int i, used;

	*file = NULL;
	for (i = 0; i < argc; i += used) {
		used = 1;
		if (strncmp(argv[i], "--", 2) != 0)
			*file = argv[i];
		else if (!argv_read_option(table, n, argv[i],
		                           i + 1 < argc ? argv[i + 1] : NULL,
		                           into, &used, error))
			return false;
	}
	return true;
}

void argv_usage(const struct argv_option *table, size_t n, struct buf *out)
{
	size_t i;

	for (i = 0; i < n; i++)
		buf_fmt(out, "    %-14s %s\n", table[i].name, table[i].help);
}
