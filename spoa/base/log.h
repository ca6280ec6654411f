/*
 * base/log: log lines of key=value fields on standard error.
 *
 *   2026-11-22T14:03:05.123Z info jwks tenant=contoso msg="3 keys loaded"
 *   time, UTC                level area fields
 *
 * The lower layers do not log: they return what happened, and the code that
 * decides what follows from it logs once (STYLE 31). Callers never pass
 * tokens, keys or bodies.
 *
 * Standard error is written with a blocking write(): whoever reads the log is
 * expected to keep up. A write error is ignored.
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

/* Set the lowest level that is written, LOG_INFO at the start. The level and
 * the buffer of log_collect() are the only mutable globals of the program
 * (STYLE 7); each process has its own. */
void log_set_level(enum log_level level);
/* True when lines of this level are written: for callers that would build the
 * fields of a line in vain. */
bool log_enabled(enum log_level level);

/* Write one line. `area` names the module, `fmt` gives the fields. A line of
 * more than 4096 bytes is cut and ends with "...". Values that come from
 * outside must have been written by log_field(). */
void log_at(enum log_level level, const char *area, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Collect lines, for a process that writes thousands of them per second: one
 * write() per line would be most of the cost of a decision line.
 *
 * Lines below LOG_WARN are buffered until the next one would not fit into 4096
 * bytes, a line of LOG_WARN or above comes, or log_flush() is called. `begun`
 * is called when a line enters an empty buffer; it should arrange a call of
 * log_flush() within milliseconds, because the lines of a process that is
 * killed are lost. With begun == NULL, the state at the start, every line is
 * written at once. */
void log_collect(void (*begun)(void *ctx), void *ctx);

/* Write the buffered lines now. */
void log_flush(void);

#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

/* Append ` key=value` (without the blank at the start of the buffer) to the
 * fields of a line. A value with any byte but letters, digits and -_.:/@+,* is
 * written as a JSON string, so a value that a client chose cannot forge a
 * field or a line. An empty value appends nothing. */
void log_field(struct buf *line, const char *key, struct str value);

/* The same for a number, which is always written. */
void log_field_num(struct buf *line, const char *key, int64_t value);

#endif
