/*
 * null-agent: the floor of the architecture, for benchmarks.
 *
 *   null-agent ADDRESS BACKEND HOST
 *
 * A SPOP agent on the real codec and the real connections that decides
 * nothing: every NOTIFY is answered at once with verdict=allow,
 * backend=BACKEND, host=HOST and the `path` it came with. What it costs, every
 * agent costs.
 */
#include "net/conn.h"
#include "net/listen.h"
#include "spop/ack.h"
#include "spop/notify.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

struct null_agent {
	struct loop *loop;
	struct conns *conns;
	struct str backend;
	struct str host;
};

static struct str path_of(const struct frame *f)
{
	struct cursor c = notify_begin(f);
	struct str path = STR_NONE;
	struct notify_message m;
	struct notify_arg a;
	unsigned i;

	while (notify_message(&c, &m))
		for (i = 0; i < m.n_args && notify_arg(&c, &a); i++)
			if (str_eq(a.name, STR("path")))
				path = a.value.bytes;
	return path;
}

static void on_notify(void *ctx, struct conn_ref ref, const struct frame *f,
                      size_t ack_limit)
{
	struct null_agent *n = ctx;
	struct buf *out = conns_reply(n->conns, ref);
	struct ack a;

	ack_begin(&a, out, ref.stream_id, ref.frame_id, ack_limit);
	ack_set_str(&a, "verdict", STR("allow"));
	ack_set_str(&a, "backend", n->backend);
	ack_set_str(&a, "host", n->host);
	ack_set_str(&a, "path", path_of(f));
	/* haproxy.cfg takes a decision without a credential for a bug. */
	ack_set_str(&a, "auth_name", STR("api-key"));
	ack_set_str(&a, "auth_value", STR("null"));
	if (!ack_end(&a)) {
		ack_begin(&a, out, ref.stream_id, ref.frame_id, ack_limit);
		ack_set_str(&a, "verdict", STR("deny"));
		ack_end(&a);
	}
	conns_replied(n->conns, ref);
}

static void on_drained(void *ctx)
{
	struct null_agent *n = ctx;

	loop_stop(n->loop);
}

static void on_term(void *data)
{
	struct null_agent *n = data;

	conns_drain(n->conns);
}

static int run(struct null_agent *n, int fd)
{
	struct conns_options o = {
		.loop = n->loop,
		.metrics = metrics_new(),
		.on_notify = on_notify,
		.on_drained = on_drained,
		.ctx = n,
		.max_frame = 262140,
		.max_conns = 4096,
	};
	struct loop_signal term = {.loop = NULL}, intr = {.loop = NULL};

	if (!n->loop || !o.metrics)
		return 1;
	n->conns = conns_new(&o);
	if (!n->conns || !conns_listen(n->conns, fd))
		return 1;
	loop_signal_start(n->loop, &term, SIGTERM, on_term, n);
	loop_signal_start(n->loop, &intr, SIGINT, on_term, n);
	loop_run(n->loop);
	loop_signal_stop(&term);
	loop_signal_stop(&intr);
	conns_free(n->conns);
	metrics_free(o.metrics);
	return 0;
}

int main(int argc, char **argv)
{
	struct null_agent n = {.loop = NULL};
	char error[256];
	int fd, rc;

	if (argc != 4) {
		fprintf(stderr, "usage: null-agent ADDRESS BACKEND HOST\n");
		return 2;
	}
	fd = listen_stream(str_c(argv[1]), 0660, STR_NONE, error,
	                   sizeof(error));
	if (fd < 0) {
		fprintf(stderr, "null-agent: %s\n", error);
		return 1;
	}
	n.backend = str_c(argv[2]);
	n.host = str_c(argv[3]);
	n.loop = loop_new();
	rc = run(&n, fd);
	loop_free(n.loop);
	close(fd);
	listen_unlink(str_c(argv[1]));
	return rc;
}
