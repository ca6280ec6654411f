/*
 * base/str: a piece of text as pointer and length.
 *
 * Text from the wire is never NUL-terminated and may hold any byte. A
 * `struct str` borrows: whoever made the bytes owns them, and every function
 * that keeps a str for longer than the call says so.
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

/* A str of a string literal; also usable in static initialisers. */
#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_INIT(lit)                                                          \
	{                                                                      \
		"" lit, sizeof(lit) - 1                                        \
	}
#define STR_NONE ((struct str){NULL, 0})

/* For printf: printf("%" STR_FMT, STR_ARG(s)). */
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

/* At most the first n bytes of s. */
static inline struct str str_first(struct str s, size_t n)
{
	return (struct str){s.p, s.len < n ? s.len : n};
}

bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

/* As the above, ASCII letters compared without case. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts_nocase(struct str s, struct str prefix);

/* Position of the first c in s, or s.len when there is none. */
size_t str_find(struct str s, char c);

/* True when `needle` is one of the words of `s` separated by single or
 * repeated `sep` bytes. An empty needle is never a word. */
bool str_has_word(struct str s, char sep, struct str needle);

/* Without blanks, tabs, CR and LF at both ends. */
struct str str_trim(struct str s);

/* Decimal digits only, the whole of s, no sign, no overflow. False leaves
 * *out untouched. */
bool str_to_u64(struct str s, uint64_t *out);

/* True when `s` matches `pattern`, in which one `*` stands for any run of
 * bytes (also none). At most one `*` has this meaning; conf refuses more. */
bool str_glob(struct str pattern, struct str s);

/* A malloc'ed, NUL-terminated copy; the caller frees. NULL without memory. */
char *str_dup(struct str s);

/* Equal, in time that depends on the lengths only: for secrets. */
bool str_eq_secret(struct str a, struct str b);

/* `len` bytes as 2*len lower-case hex digits and a NUL into out. */
void str_hex(const void *bytes, size_t len, char *out);

/* Hex digits of either case into exactly `len` bytes; false when s is not
 * 2*len hex digits. */
bool str_unhex(struct str s, uint8_t *out, size_t len);

/* 8-4-4-4-12 hex digits of either case: a GUID as Entra writes them. */
bool str_is_guid(struct str s);

#endif
