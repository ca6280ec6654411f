/*
 * commands/render: print the HAProxy backends of a configuration, to be loaded
 * after haproxy.cfg.
 */
#include "upstream/render.h"

#include "commands/command.h"

int command_render(int argc, char **argv)
{
	struct policy *p = command_load(argv[0]);
	struct buf out;
	bool ok;

	(void)argc;
	if (!p)
		return 1;
	buf_init(&out, COMMAND_TEXT_MAX);
	ok = render_haproxy(p, &out);
	policy_unref(p);
	return command_print(&out, ok);
}
