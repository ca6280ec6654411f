/*
 * conf/build: references between the parts of a configuration.
 *
 * Linear searches: a configuration has some hundred names, and is read once.
 */
#include "conf/build.h"

/* `list` is untyped, because each section has a struct of its own. */
static bool build_find(const struct raw_list *list, size_t size,
                       struct str name, unsigned *out)
{
	size_t i;

	for (i = 0; i < list->n; i++) {
		const struct raw_head *head =
			(const void *)((const char *)list->v + i * size);

		if (str_eq(head->name, name)) {
			*out = (unsigned)i;
			return true;
		}
	}
	return false;
}

bool build_refer(struct build *b, const struct raw_list *list, size_t size,
                 const char *what, struct str name, const struct place *at,
                 unsigned *out)
{
	if (build_find(list, size, name, out))
		return true;
	if (name.len > 0)
		report_error(b->rep, at,
		             "found \"%" STR_FMT "\", expected a name from "
		             "%s",
		             STR_ARG(name), what);
	return false;
}
