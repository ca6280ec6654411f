/* What the tests of the SPOP codec share. */
#ifndef TESTS_UNIT_SPOP_BYTES_H
#define TESTS_UNIT_SPOP_BYTES_H

#include "test.h"

#include "spop/frame.h"

#include <stdlib.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

/* A heap copy of exactly the right size, so that the sanitizer sees a read
 * one byte too far. */
static inline struct str exact(const void *p, size_t len)
{
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	if (len)
		memcpy(copy, p, len);
	return str_of(copy, len);
}

static inline void drop(struct str s)
{
	char *p;

	memcpy(&p, &s.p, sizeof(p));
	free(p);
}

static inline void expect_str(struct str got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.p, want, got.len);
}

/* Whether `bytes` is one frame; then *out holds it. */
static inline enum frame_status parse(struct str bytes, struct frame *out,
                                      enum spop_code *code)
{
	size_t used = 0, need = 0;
	enum frame_status s =
		frame_parse(bytes, SPOP_MAX_FRAME, out, &used, &need, code);

	if (s == FRAME_OK)
		assert_int_equal(used, bytes.len);
	return s;
}

#endif
