/*
 * base/log: log lines of key=value fields on standard error.
 *
 *   log_at -> line[] -> log_put_line -> log_held.text -> log_flush -> write(2)
 */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* PIPE_BUF of Linux: a write() of at most this many bytes to a pipe is atomic,
 * so lines of several workers on one pipe do not mix (pipe(7)). */
enum { LOG_LINE_MAX = 4096 };

static enum log_level log_min = LOG_INFO;

/* The buffer of log_collect(). Also used without it: a line is then written
 * before log_put_line returns. */
static struct {
	char text[LOG_LINE_MAX];
	size_t len;
	void (*begun)(void *ctx); /* NULL: lines are not collected */
	void *ctx;
} log_held;

static const char *const log_level_names[] = {
	[LOG_DEBUG] = "debug",
	[LOG_INFO] = "info",
	[LOG_WARN] = "warn",
	[LOG_ERROR] = "error",
};

void log_set_level(enum log_level level)
{
	log_min = level;
}

bool log_enabled(enum log_level level)
{
	return level >= log_min;
}

void log_flush(void)
{
	size_t n = log_held.len;

	log_held.len = 0;
	/* one write() for all, see LOG_LINE_MAX; an error of standard error
	 * itself cannot be reported anywhere */
	if (n > 0 && write(STDERR_FILENO, log_held.text, n) < 0)
		return;
}

void log_collect(void (*begun)(void *ctx), void *ctx)
{
	log_flush();
	log_held.begun = begun;
	log_held.ctx = ctx;
}

static void log_put_line(enum log_level level, const char *line, size_t n)
{
	bool first;

	/* a line is at most as long as the empty buffer */
	if (n > sizeof(log_held.text) - log_held.len)
		log_flush();
	first = log_held.len == 0;
	memcpy(log_held.text + log_held.len, line, n);
	log_held.len += n;
	if (!log_held.begun || level >= LOG_WARN)
		log_flush();
	else if (first)
		log_held.begun(log_held.ctx);
}

void log_at(enum log_level level, const char *area, const char *fmt, ...)
{
	char line[LOG_LINE_MAX], when[25];
	size_t room = sizeof(line) - 1; /* one byte is for the newline */
	size_t n, wrote;
	va_list ap;

	if (!log_enabled(level))
		return;
	clock_iso8601(clock_real_ms(&clock_system), when);
	n = (size_t)snprintf(line, room, "%s %s %s ", when,
	                     log_level_names[level], area);
	va_start(ap, fmt);
	wrote = (size_t)vsnprintf(line + n, room - n, fmt, ap);
	va_end(ap);
	/* vsnprintf returns the length of the whole text also where it had
	 * to cut it; the cut text ends with a NUL, which "..." overwrites */
	if (wrote >= room - n) {
		n = room;
		memcpy(line + n - 3, "...", 3);
	} else {
		n += wrote;
	}
	line[n++] = '\n';
	log_put_line(level, line, n);
}

/* True for a value that needs no quotes: it has no blank, quote, '=' or control
 * character. */
static bool log_is_plain(struct str s)
{
	return str_has_only(s, "-_.:/@+,*");
}

static void log_begin_field(struct buf *line, const char *key)
{
	if (line->len > 0)
		buf_add(line, " ", 1);
	buf_add_str(line, str_c(key));
	buf_add(line, "=", 1);
}

void log_field(struct buf *line, const char *key, struct str value)
{
	if (value.len == 0)
		return;
	log_begin_field(line, key);
	if (log_is_plain(value))
		buf_add_str(line, value);
	else
		buf_json(line, value);
}

void log_field_num(struct buf *line, const char *key, int64_t value)
{
	log_begin_field(line, key);
	buf_num(line, value);
}
