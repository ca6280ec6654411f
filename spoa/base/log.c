/* base/log: one line to standard error, key=value, prefixed by its area. */
#include "base/log.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 4096 };

static enum log_level log_min = LOG_INFO;

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

bool log_level_of(struct str name, enum log_level *out)
{
	int i;

	for (i = LOG_DEBUG; i <= LOG_ERROR; i++)
		if (str_eq(name, str_c(level_names[i]))) {
			*out = (enum log_level)i;
			return true;
		}
	return false;
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
	/* one write, so lines of several workers do not mix; if standard
	 * error is gone there is nobody left to tell */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
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

void log_field(struct buf *line, const char *key, struct str value)
{
	if (value.len == 0)
		return;
	buf_fmt(line, "%s%s=", line->len ? " " : "", key);
	if (is_plain(value))
		buf_add_str(line, value);
	else
		buf_json(line, value);
}

void log_field_num(struct buf *line, const char *key, int64_t value)
{
	buf_fmt(line, "%s%s=%" PRId64, line->len ? " " : "", key, value);
}
