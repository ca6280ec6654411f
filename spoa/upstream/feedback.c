/* upstream/feedback: what the upstream answered, where it matters for routing.
 */
#include "upstream/feedback.h"

#include "base/log.h"
#include "net/acknowledge.h"
#include "spop/notify.h"
#include "upstream/health.h"

struct upstream_error {
	struct str id, deployment, resource;
	int64_t status;
	struct str retry_after;    /* seconds, as the header says */
	struct str retry_after_ms; /* Azure's own, preferred (azure.md 4.2) */
};

static bool read_error(const struct frame *f, struct upstream_error *e)
{
	struct cursor c = notify_begin(f);
	struct notify_message m;
	struct notify_arg arg;
	unsigned i;

	*e = (struct upstream_error){0};
	if (!notify_message(&c, &m))
		return false;
	for (i = 0; i < m.n_args && notify_arg(&c, &arg); i++) {
		if (str_eq(arg.name, STR("status")))
			e->status = arg.value.number;
		else if (str_eq(arg.name, STR("id")))
			e->id = arg.value.bytes;
		else if (str_eq(arg.name, STR("deployment")))
			e->deployment = arg.value.bytes;
		else if (str_eq(arg.name, STR("resource")))
			e->resource = arg.value.bytes;
		else if (str_eq(arg.name, STR("retry_after")))
			e->retry_after = arg.value.bytes;
		else if (str_eq(arg.name, STR("retry_after_ms")))
			e->retry_after_ms = arg.value.bytes;
	}
	return !c.bad && e->deployment.len > 0 && e->resource.len > 0;
}

static uint64_t wait_of(const struct upstream_error *e)
{
	uint64_t v;

	if (str_to_u64(e->retry_after_ms, &v))
		return v;
	if (str_to_u64(e->retry_after, &v) && v < 1000000)
		return v * 1000;
	return 0;
}

static void count(struct metrics *m, const struct upstream_error *e)
{
	char space[128];
	struct buf labels = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	metrics_label(&labels, "resource", e->resource);
	buf_fmt(&labels, ",status=\"%d\"", (int)e->status);
	metric_add(metrics_get(m, "foundry_upstream_errors_total",
	                       buf_str(&labels)),
	           1);
}

void feedback_upstream_error(const struct feedback *fb, struct conn_ref conn,
                             const struct frame *f, size_t ack_limit)
{
	struct upstream_error e;

	acknowledge(fb->conns, conn, ack_limit);
	if (!read_error(f, &e))
		return;
	health_report(fb->health, e.resource, e.deployment, (int)e.status,
	              wait_of(&e));
	count(fb->metrics, &e);
	log_info("upstream",
	         "id=%" STR_FMT " resource=%" STR_FMT " deployment=%" STR_FMT
	         " status=%d retry_after_ms=%llu",
	         STR_ARG(e.id), STR_ARG(e.resource), STR_ARG(e.deployment),
	         (int)e.status, (unsigned long long)wait_of(&e));
}
