/* Any text as gateway.json: no crash, no leak, and either a policy or a reason
 * why not. What was accepted can be rendered. */
#include "conf/load.h"
#include "upstream/render.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nothing outside may change what an input means. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	clearenv();
	setenv("KEY", "secret", 1);
	setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token", 1);
	setenv("IDENTITY_HEADER", "secret", 1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf errors, out;
	struct policy *p;

	buf_init(&errors, 1 << 20);
	buf_init(&out, 1 << 20);
	p = conf_parse("f", str_of((const char *)data, size), &errors);
	if (!p && errors.len == 0)
		abort();
	if (p)
		render_haproxy(p, &out);
	policy_unref(p);
	buf_done(&out);
	buf_done(&errors);
	return 0;
}
