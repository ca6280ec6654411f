/* workers: one process, or a parent that keeps N of them alive. */
#include "agent/workers.h"

#include "agent/agent.h"
#include "base/log.h"
#include "conf/load.h"
#include "net/listen.h"
#include "store/open_reservations.h"
#include "base/version.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	WORKERS_MAX = 64,
	WORKERS_RESPAWN_S = 1,
	WORKERS_ERRORS_MAX = 65536, /* text of a bad config */
};

struct workers {
	struct policy *policy; /* in force; what a new worker begins with */
	struct agent_sockets sockets;
	struct agent_shared shared;
	unsigned n; /* as at the start */
	pid_t pids[WORKERS_MAX];
	bool stopping;
};

static bool open_sockets(const struct policy_listen *l, struct agent_sockets *s)
{
	char error[256] = "";
	size_t i;

	*s = (struct agent_sockets){.usage = -1, .http = -1};
	for (i = 0; i < l->spop.n; i++) {
		int fd = s->n_spop < sizeof(s->spop) / sizeof(*s->spop)
		                 ? listen_stream(l->spop.v[i], l->unix_mode,
		                                 l->unix_group, error,
		                                 sizeof(error))
		                 : -1;

		if (fd < 0) {
			log_error("listen", "spop=%" STR_FMT " msg=\"%s\"",
			          STR_ARG(l->spop.v[i]), error);
			return false;
		}
		s->spop[s->n_spop++] = fd;
	}
	s->usage = listen_datagram(l->usage, error, sizeof(error));
	if (s->usage < 0) {
		log_error("listen", "usage=%" STR_FMT " msg=\"%s\"",
		          STR_ARG(l->usage), error);
		return false;
	}
	s->http = listen_stream(l->http, 0, STR_NONE, error, sizeof(error));
	if (s->http < 0) {
		log_error("listen", "http=%" STR_FMT " msg=\"%s\"",
		          STR_ARG(l->http), error);
		return false;
	}
	return true;
}

static void unlink_sockets(const struct policy_listen *l)
{
	size_t i;

	for (i = 0; i < l->spop.n; i++)
		listen_unlink(l->spop.v[i]);
}

/* The life of one worker. */
static int serve(const struct workers *w, unsigned number)
{
	struct agent *a =
		agent_new(w->policy, &w->sockets, &w->shared, number, w->n);

	if (!a)
		return 1;
	agent_run(a);
	agent_free(a);
	return 0;
}

/* Without its parent a worker cannot be told anything, and would keep the
 * sockets from whoever is started next. */
static void end_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		raise(SIGTERM); /* it was faster; blocked until it is heard */
}

static void start_one(struct workers *w, unsigned number)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid == 0) {
		end_with(parent);
		_exit(serve(w, number));
	}
	if (pid < 0)
		log_error("workers", "worker=%u msg=\"fork failed\"", number);
	w->pids[number] = pid > 0 ? pid : 0;
}

static void tell_all(const struct workers *w, int signum)
{
	unsigned i;

	for (i = 0; i < w->n; i++)
		if (w->pids[i] > 0)
			kill(w->pids[i], signum);
}

/* It cannot say so itself. */
static void not_ready(const struct workers *w, unsigned number)
{
	char labels[32];

	snprintf(labels, sizeof(labels), "worker=\"%u\"", number);
	metric_set(metrics_get(w->shared.metrics, "foundry_worker_ready",
	                       str_c(labels)),
	           0);
}

/* Take note of workers that ended; the number of those still running. */
static unsigned reap(struct workers *w)
{
	unsigned i, running = 0;

	for (i = 0; i < w->n; i++) {
		int status;

		if (w->pids[i] > 0 &&
		    waitpid(w->pids[i], &status, WNOHANG) == w->pids[i]) {
			w->pids[i] = 0;
			not_ready(w, i);
			if (!w->stopping)
				log_error("workers",
				          "worker=%u msg=\"ended with status "
				          "%d: will be replaced\"",
				          i, status);
		}
		running += w->pids[i] > 0;
	}
	return running;
}

static void replace_missing(struct workers *w)
{
	unsigned i;

	for (i = 0; i < w->n; i++)
		if (w->pids[i] == 0)
			start_one(w, i);
}

/* Every worker reads the file itself and says what is wrong with it; here it
 * is kept for those that will be started later. */
static void reload(struct workers *w)
{
	struct policy *new;
	struct buf errors;

	buf_init(&errors, WORKERS_ERRORS_MAX);
	new = conf_load(w->policy->file, &errors);
	buf_done(&errors);
	tell_all(w, SIGHUP);
	if (!new)
		return;
	policy_unref(w->policy);
	w->policy = new;
}

static int keep_alive(struct workers *w, const sigset_t *ours)
{
	const struct timespec pause = {.tv_sec = WORKERS_RESPAWN_S};

	replace_missing(w);
	for (;;) {
		/* the pause also paces the replacement of workers */
		int signum = sigtimedwait(ours, NULL, &pause);

		if (signum == SIGHUP)
			reload(w);
		if (signum == SIGTERM || signum == SIGINT) {
			w->stopping = true;
			tell_all(w, SIGTERM);
		}
		if (reap(w) == 0 && w->stopping)
			return 0;
		if (!w->stopping)
			replace_missing(w);
	}
}

/* A signal that comes before there is somebody to hear it waits: the default
 * of SIGHUP would end the process. The loop of a worker unblocks those that it
 * listens to. */
static void block_signals(sigset_t *ours)
{
	sigemptyset(ours);
	sigaddset(ours, SIGTERM);
	sigaddset(ours, SIGINT);
	sigaddset(ours, SIGHUP);
	sigprocmask(SIG_BLOCK, ours, NULL);
	/* a peer that goes away is an error of write(), not a signal */
	signal(SIGPIPE, SIG_IGN);
}

int workers_run(struct policy *p)
{
	/* the listeners stay those of the start, and so does their number */
	struct workers w = {.policy = policy_ref(p), .n = p->workers};
	sigset_t ours;
	int code = 1;

	block_signals(&ours);
	w.shared.metrics = metrics_new();
	w.shared.open = open_reservations_new();
	if (!w.shared.metrics || !w.shared.open) {
		log_error("workers", "msg=\"no shared memory\"");
	} else if (open_sockets(&p->listen, &w.sockets)) {
		metric_set(metrics_get(w.shared.metrics, "foundry_build_info",
		                       STR("version=\"" VERSION "\"")),
		           1);
		code = w.n > 1 ? keep_alive(&w, &ours) : serve(&w, 0);
		unlink_sockets(&p->listen);
	}
	open_reservations_free(w.shared.open);
	metrics_free(w.shared.metrics);
	policy_unref(w.policy);
	policy_unref(p);
	return code;
}
