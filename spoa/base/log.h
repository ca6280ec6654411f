/*
 * base/log: one line to standard error, key=value, prefixed by its area.
 *
 *   2026-11-22T14:03:05.123Z info jwks tenant=contoso msg="3 keys loaded"
 *
 * Lower layers do not log: they return what happened, and the edge that
 * decides logs once. Tokens, keys and bodies are never passed in here.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/buf.h"

enum log_level {
	LOG_DEBUG = 0,
	LOG_INFO = 1,
	LOG_WARN = 2,
	LOG_ERROR = 3,
};

/* The mutable globals of the program are here: this level (default LOG_INFO)
 * and the lines that log_collect() holds back. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* One line; a line over 4 KiB is cut and marked with "...". */
void log_at(enum log_level level, const char *area, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A process that writes thousands of lines a second: from now on lines below
 * LOG_WARN are held back until there are 4 KiB of them (what a pipe takes in
 * one piece), a more urgent one comes, or log_flush() is called. `begun` is
 * told when the first one waits: call log_flush() within milliseconds (what a
 * process that is killed meanwhile had held back is lost). NULL:
 * every line is written at once again, which is how a process begins. */
void log_collect(void (*begun)(void *ctx), void *ctx);
void log_flush(void);

#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

/* Append ` key=value` to a line under construction. The value is quoted as a
 * JSON string when it holds anything but letters, digits and -_.:/@+,* so a
 * hostile value cannot forge a field or a line. An empty value is left out. */
void log_field(struct buf *line, const char *key, struct str value);
void log_field_num(struct buf *line, const char *key, int64_t value);

#endif
