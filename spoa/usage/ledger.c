/*
 * usage/ledger: the file that says who consumed what.
 *
 *   ledger_add   one write(2) a line
 *   ledger_tick  closed, or moved by somebody else -> ldg_open
 *                max_bytes reached                 -> ldg_rotate
 *
 * Each worker has the file open on its own, with O_APPEND: the kernel places
 * each write at the end, whoever wrote before, and a line is far smaller than
 * what a write to a local file may be cut at. On NFS that does not hold.
 */
#include "usage/ledger.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names of consumers and agents: for the gateway and its group. */
enum { LEDGER_MODE = 0640 };

struct ledger {
	const struct clock *clock;
	struct metrics *metrics;
	char *path; /* NULL: no ledger */
	uint64_t max_bytes;
	int fd; /* -1: not open */
	bool in_trouble;
};

struct ledger *ledger_new(const struct clock *clock, struct metrics *metrics)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->clock = clock;
	l->metrics = metrics;
	l->fd = -1;
	return l;
}

static void ldg_close(struct ledger *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	ldg_close(l);
	free(l->path);
	free(l);
}

/* Logged on change only, so that a full disk does not fill the log as well. */
static void ldg_trouble(struct ledger *l, const char *what)
{
	if (!l->in_trouble)
		log_error("ledger",
		          "file=%s msg=\"%s: %s; records are lost "
		          "until this is mended\"",
		          l->path, what, strerror(errno));
	l->in_trouble = true;
}

static void ldg_open(struct ledger *l)
{
	l->fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
	             LEDGER_MODE);
	if (l->fd < 0) {
		ldg_trouble(l, "cannot be opened");
		return;
	}
	if (l->in_trouble)
		log_info("ledger", "file=%s msg=\"is written again\"", l->path);
	l->in_trouble = false;
}

void ledger_configure(struct ledger *l, struct str path, uint64_t max_bytes)
{
	l->max_bytes = max_bytes;
	if (l->path && str_eq(str_c(l->path), path))
		return;
	ldg_close(l);
	free(l->path);
	l->path = path.len > 0 ? str_dup(path) : NULL;
	l->in_trouble = false;
	if (l->path)
		ldg_open(l);
}

static void ldg_count(struct ledger *l, const char *labels)
{
	metric_add(metrics_get(l->metrics, "foundry_ledger_records_total",
	                       str_c(labels)),
	           1);
}

void ledger_add(struct ledger *l, struct str line)
{
	ssize_t n = -1;

	if (!l->path)
		return;
	if (l->fd >= 0 && line.len > 0)
		n = write(l->fd, line.p, line.len);
	if (n == (ssize_t)line.len) {
		ldg_count(l, "result=\"written\"");
		return;
	}
	/* Without a descriptor ldg_open() has logged already. After a line that
	 * was written in part the next one is no line of its own: a report
	 * passes over both and says so. */
	if (l->fd >= 0)
		ldg_trouble(l, "cannot be written");
	ldg_count(l, "result=\"lost\"");
}

/* Does the path name another file than the open one, or none? *ours is the
 * state of the open file. */
static bool ldg_was_moved(const struct ledger *l, struct stat *ours)
{
	struct stat there;

	return fstat(l->fd, ours) < 0 || stat(l->path, &there) < 0 ||
	       ours->st_ino != there.st_ino || ours->st_dev != there.st_dev;
}

/* FILE -> FILE.20261122T140305Z, by the one worker that gets the lock. The
 * others find that it was moved. */
static void ldg_rotate(struct ledger *l)
{
	char when[25];
	struct buf to;
	struct stat ours;

	if (flock(l->fd, LOCK_EX | LOCK_NB) < 0)
		return;
	clock_iso8601(clock_real_ms(l->clock), when);
	buf_init(&to, PATH_MAX);
	buf_fmt(&to, "%s.%.4s%.2s%.5s%.2s%.2sZ", l->path, when, when + 5,
	        when + 8, when + 14, when + 17);
	buf_add(&to, "", 1);
	/* A file of this second is not written over: it is tried again in the
	 * next second, because ledger_tick() finds the size again. */
	if (!to.failed && !ldg_was_moved(l, &ours) && access(to.p, F_OK) < 0 &&
	    rename(l->path, to.p) < 0)
		ldg_trouble(l, "cannot be rotated");
	buf_done(&to);
	/* closing releases the lock */
	ldg_close(l);
	ldg_open(l);
}

void ledger_tick(struct ledger *l)
{
	struct stat ours;

	if (!l->path)
		return;
	if (l->fd < 0 || ldg_was_moved(l, &ours)) {
		ldg_close(l);
		ldg_open(l);
		return;
	}
	/* After a failed write, of a full disk for instance. Opening ends the
	 * state, so that the next failure is logged again. */
	if (l->in_trouble) {
		ldg_close(l);
		ldg_open(l);
	}
	if (l->max_bytes > 0 && (uint64_t)ours.st_size >= l->max_bytes)
		ldg_rotate(l);
}
