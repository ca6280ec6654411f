/*
 * commands/healthcheck: does a running agent answer?
 *
 *   loop -> GET /healthz -> hc_on_answer -> exit status
 *
 * For HEALTHCHECK of the container image, which has no curl. /healthz tells
 * that the loop of a worker turns; a URL with /readyz asks whether all can
 * decide.
 */
#include "base/loop.h"
#include "commands/command.h"
#include "net/fetch.h"

#include <stdio.h>

enum {
	/* The timeout of HEALTHCHECK in the Dockerfile. */
	HC_DEADLINE_MS = 3000,
	HC_ANSWER_MAX = 4096, /* bytes; /readyz answers one line */
};

/* The default of listen.http. */
static const char hc_default_url[] = "http://127.0.0.1:9102/healthz";

struct hc_answer {
	struct loop *loop;
	int status; /* of HTTP; 0: no answer, or none was asked for */
};

static void hc_on_answer(void *ctx, const struct fetch_result *res)
{
	struct hc_answer *h = ctx;

	h->status = res->status;
	if (res->error)
		fprintf(stderr, "healthcheck: %s\n", res->error);
	loop_stop(h->loop);
}

int command_healthcheck(int argc, char **argv)
{
	struct hc_answer h = {.loop = loop_new()};
	struct fetch *f = h.loop ? fetch_new(h.loop, NULL) : NULL;
	struct fetch_request req = {
		.url = str_c(argc > 0 ? argv[0] : hc_default_url),
		.allow_http = true,
		.deadline_ms = HC_DEADLINE_MS,
		.max_answer = HC_ANSWER_MAX,
	};

	if (f && fetch_start(f, &req, hc_on_answer, &h))
		loop_run(h.loop);
	fetch_free(f);
	loop_free(h.loop);
	return h.status == 200 ? 0 : 1;
}
