/*
 * base/str: text as pointer and length.
 *
 * Text from the wire is not NUL-terminated and may hold any byte, also NUL
 * (STYLE 17). A `struct str` is a view: it does not own its bytes, and a
 * function that keeps one for longer than the call says so in its contract.
 *
 * Everything here is passed by value, allocates nothing (but str_dup), and
 * compares bytes: case, where it is ignored, is that of ASCII letters, as in
 * names of headers, schemes and GUIDs.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p; /* may be NULL when len is 0 */
	size_t len;
};

/* A str of a string literal. STR is an expression, STR_INIT an initialiser of
 * static data; `"" lit` refuses anything but a literal. */
#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_INIT(lit)                                                          \
	{                                                                      \
		"" lit, sizeof(lit) - 1                                        \
	}
#define STR_NONE ((struct str){NULL, 0})

/* For printf: printf("%" STR_FMT, STR_ARG(s)). The length is an int there: at
 * most 2 GB. */
#define STR_FMT    ".*s"
#define STR_ARG(s) (int)(s).len, (s).p ? (s).p : ""

static inline struct str str_of(const char *p, size_t len)
{
	return (struct str){p, len};
}

/* A str of a C string; NULL gives the empty str. */
static inline struct str str_c(const char *z)
{
	return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* The part of s from byte `at` on; empty when s is shorter. */
static inline struct str str_from(struct str s, size_t at)
{
	if (at >= s.len)
		return STR_NONE;
	return (struct str){s.p + at, s.len - at};
}

/* The first n bytes of s; all of it when it is shorter. */
static inline struct str str_first(struct str s, size_t n)
{
	return (struct str){s.p, s.len < n ? s.len : n};
}

bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

static inline bool str_is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

/* True when s has no bytes but letters and digits of ASCII and those of `more`.
 * An empty text has none that it may not have. */
bool str_has_only(struct str s, const char *more);

/* True when s has no control character (below 0x20, DEL): in a header, a path
 * or a log line it cannot end the line and begin another one. */
bool str_is_one_line(struct str s);

/* Copy s to `to`, which has room for s.len bytes, with the letters of ASCII in
 * lower case. Adds no NUL. */
void str_copy_lower(char *to, struct str s);

/* str_eq and str_starts without regard to the case of ASCII letters. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts_nocase(struct str s, struct str prefix);

/* Position of the first c in s, or s.len when there is none. */
size_t str_find(struct str s, char c);

/* True when `needle` is one of the words of `s` separated by single or
 * repeated `sep` bytes. An empty needle is never a word. */
bool str_has_word(struct str s, char sep, struct str needle);

/* s without the blanks, tabs, CR and LF at its two ends. */
struct str str_trim(struct str s);

/* Read s as a decimal number: one or more digits and nothing else (no sign, no
 * blanks), at most 2^64 - 1. False leaves *out untouched. */
bool str_to_u64(struct str s, uint64_t *out);

/* True when `s` matches `pattern`. The first `*` of the pattern stands for any
 * run of bytes, also an empty one; further ones are plain characters (the
 * configuration refuses a pattern with more than one). */
bool str_glob(struct str pattern, struct str s);

/* A NUL-terminated copy from malloc(), which the caller frees. NULL when out of
 * memory. */
char *str_dup(struct str s);

/* str_eq for secrets: the time depends on the lengths only, not on where the
 * first difference is (STYLE 23). */
bool str_eq_secret(struct str a, struct str b);

/* Write `len` bytes as 2*len lower-case hex digits and a NUL into `out`. */
void str_hex(const void *bytes, size_t len, char *out);

/* Read hex digits of either case into exactly `len` bytes. False, with *out
 * untouched, when s is not 2*len hex digits. */
bool str_unhex(struct str s, uint8_t *out, size_t len);

/* True for 8-4-4-4-12 hex digits of either case, without braces: a GUID as
 * Entra writes tenant, object and application ids. */
bool str_is_guid(struct str s);

#endif
