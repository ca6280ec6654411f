/*
 * text: growing strings, escaping, encodings, digests and random names.
 *
 * The simulator is a test program: running out of memory ends it.
 */
#ifndef SIM_TEXT_H
#define SIM_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A growing string. All zero is the empty one; p is NUL-terminated as soon
 * as anything was added. */
struct sb {
	char *p;
	size_t len, cap;
};

void *xmalloc(size_t n);
char *xstrndup(const char *p, size_t len);

void sb_free(struct sb *s);
void sb_room(struct sb *s, size_t more);
void sb_add(struct sb *s, const void *p, size_t len);
void sb_z(struct sb *s, const char *z);
void sb_fmt(struct sb *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), nonnull(1, 2)));

#define sb_lit(s, lit) sb_add((s), "" lit, sizeof(lit) - 1)

/* As a JSON string with quotes. Bytes that are not UTF-8 become U+FFFD. */
void sb_json(struct sb *s, const char *p, size_t len);

/* Base64 with padding, and base64url without (RFC 4648, 4 and 5). */
void sb_b64(struct sb *s, const void *p, size_t len);
void sb_b64url(struct sb *s, const void *p, size_t len);
bool sb_unb64url(struct sb *s, const char *p, size_t len);

/* %XX and + undone (application/x-www-form-urlencoded). */
void sb_urldecode(struct sb *s, const char *p, size_t len);

/* The value of `name` in a query or form; NULL when absent. Malloced. */
char *form_get(const char *form, size_t len, const char *name);

void sb_sha256_hex(struct sb *s, const void *p, size_t len);

/* Random letters and digits, hex digits, a GUID. Not for secrets. */
uint64_t rnd(void);
void sb_rnd_alnum(struct sb *s, size_t n);
void sb_rnd_hex(struct sb *s, size_t n);
void sb_rnd_guid(struct sb *s);

/* Length of the valid UTF-8 sequence at p (1-4), 0 when there is none. */
size_t utf8_len(const char *p, size_t len);

/* Whole decimal number, `otherwise` when z is NULL or no number. */
long num_or(const char *z, long otherwise);

#endif
