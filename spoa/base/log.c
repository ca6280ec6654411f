/* base/log: one line to standard error, key=value, prefixed by its area. */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 4096 };

static enum log_level log_min = LOG_INFO;

/* Lines that wait, and who is told that they do. */
static struct {
	char text[LOG_LINE_MAX];
	size_t len;
	void (*begun)(void *ctx);
	void *ctx;
} held;

static const char *const level_names[] = {
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
	size_t n = held.len;

	held.len = 0;
	/* one write, so lines of several workers do not mix; if standard
	 * error is gone there is nobody left to tell */
	if (n > 0 && write(STDERR_FILENO, held.text, n) < 0)
		return;
}

void log_collect(void (*begun)(void *ctx), void *ctx)
{
	log_flush();
	held.begun = begun;
	held.ctx = ctx;
}

static void put(enum log_level level, const char *line, size_t n)
{
	bool first;

	if (n > sizeof(held.text) - held.len)
		log_flush();
	first = held.len == 0;
	memcpy(held.text + held.len, line, n);
	held.len += n;
	if (!held.begun || level >= LOG_WARN)
		log_flush();
	else if (first)
		held.begun(held.ctx);
}

void log_at(enum log_level level, const char *area, const char *fmt, ...)
{
	char line[LOG_LINE_MAX], when[25];
	size_t room = sizeof(line) - 1; /* keeps the newline's place */
	size_t n, wrote;
	va_list ap;

	if (!log_enabled(level))
		return;
	clock_iso8601(clock_real_ms(&clock_system), when);
	n = (size_t)snprintf(line, room, "%s %s %s ", when, level_names[level],
	                     area);
	va_start(ap, fmt);
	wrote = (size_t)vsnprintf(line + n, room - n, fmt, ap);
	va_end(ap);
	if (wrote >= room - n) {
		n = room;
		memcpy(line + n - 3, "...", 3);
	} else {
		n += wrote;
	}
	line[n++] = '\n';
	put(level, line, n);
}

static bool is_plain(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		char c = s.p[i];
		bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		             (c >= 'a' && c <= 'z');

		if (!alnum && !memchr("-_.:/@+,*", c, 9))
			return false;
	}
	return true;
}

static void begin_field(struct buf *line, const char *key)
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
	begin_field(line, key);
	if (is_plain(value))
		buf_add_str(line, value);
	else
		buf_json(line, value);
}

void log_field_num(struct buf *line, const char *key, int64_t value)
{
	begin_field(line, key);
	buf_num(line, value);
}
