/*
 * upstream/feedback: errors of a resource, as HAProxy reports them.
 *
 *   NOTIFY upstream_error --fbk_read_error--> struct upstream_error
 *       --health_report--> upstream/health
 *       --fbk_count_error--> foundry_upstream_errors_total
 */
#include "upstream/feedback.h"

#include "base/log.h"
#include "net/acknowledge.h"
#include "spop/notify.h"
#include "upstream/health.h"

/* The arguments of the message: views into the frame. Texts are empty where
 * HAProxy sent no value. */
struct upstream_error {
	struct str id, deployment, resource;
	int64_t status;
	struct str retry_after;    /* the header; only whole seconds count */
	struct str retry_after_ms; /* Azure's own header (azure.md 4.2) */
};

/* False for a malformed frame, and for a call without a deployment: one about
 * objects of a resource (files, batches, ...), for which decide/route chooses
 * none. Unknown arguments are skipped, so that a newer spoe-gateway.conf works
 * with this agent. */
static bool fbk_read_error(const struct frame *f, struct upstream_error *e)
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

/* In the order of OpenAI's SDKs (azure.md 4.2): the header in milliseconds is
 * the finer one. A Retry-After that is not whole seconds (an HTTP date, a
 * fraction) counts as none; so does one above 10^6 s, which keeps the product
 * in range and is far above what upstream/health follows. 0: no usable time. */
static uint64_t fbk_retry_after_ms(const struct upstream_error *e)
{
	uint64_t v;

	if (str_to_u64(e->retry_after_ms, &v))
		return v;
	if (str_to_u64(e->retry_after, &v) && v < 1000000)
		return v * 1000;
	return 0;
}

/* The resource is a label, the deployment is not: a series per deployment and
 * status could fill the fixed table of base/metrics. */
static void fbk_count_error(struct metrics *m, const struct upstream_error *e)
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
	if (!fbk_read_error(f, &e))
		return;
	health_report(fb->health, e.resource, e.deployment, (int)e.status,
	              fbk_retry_after_ms(&e));
	fbk_count_error(fb->metrics, &e);
	log_info("upstream",
	         "id=%" STR_FMT " resource=%" STR_FMT " deployment=%" STR_FMT
	         " status=%d retry_after_ms=%llu",
	         STR_ARG(e.id), STR_ARG(e.resource), STR_ARG(e.deployment),
	         (int)e.status, (unsigned long long)fbk_retry_after_ms(&e));
}
