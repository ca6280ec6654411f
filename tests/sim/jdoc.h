/*
 * jdoc: a strict JSON reader (RFC 8259) that keeps lengths.
 *
 * The data plane reads request bodies with it rather than with cJSON, whose
 * strings end at \u0000 and which takes the first of equal keys. Here, as in
 * most servers, the LAST of equal keys counts, escaped keys are decoded
 * before they are compared, and a string may hold any character. A gateway
 * that reads a body otherwise sees another model than the one that runs:
 * this is the attack surface that the tests aim at.
 */
#ifndef SIM_JDOC_H
#define SIM_JDOC_H

#include "text.h"

enum jtype {
	J_OBJECT = 1,
	J_ARRAY = 2,
	J_STRING = 3,
	J_NUMBER = 4,
	J_TRUE = 5,
	J_FALSE = 6,
	J_NULL = 7,
};

struct jtok {
	uint8_t type;        /* enum jtype */
	bool escaped;        /* the string holds a backslash */
	uint32_t start, end; /* of the text; a string's without its quotes */
	uint32_t next;       /* index of the token after this whole value */
};

/* Reused from body to body; all zero is a good start. */
struct jdoc {
	const char *text; /* borrowed */
	struct jtok *tok; /* preorder; tok[0] is the whole */
	uint32_t n, cap;
};

bool jdoc_parse(struct jdoc *d, const char *text, size_t len);
void jdoc_free(struct jdoc *d);

/* The value of `name` in object `obj`, the last when it stands there more
 * than once; -1 when absent or when obj is no object. */
int jdoc_get(const struct jdoc *d, int obj, const char *name);

/* jdoc_get(), but only a value of that type. */
int jdoc_get_as(const struct jdoc *d, int obj, const char *name,
                enum jtype type);

/* Append the decoded string. */
void jdoc_string(const struct jdoc *d, int i, struct sb *out);

/* Bytes of the decoded string. */
size_t jdoc_string_len(const struct jdoc *d, int i);

/* A number cut to an integer; `otherwise` when i is -1 or no number. */
long jdoc_int(const struct jdoc *d, int i, long otherwise);

/* Every value directly inside array i: for (c = i + 1; c < next of i; c = next
 * of c). */
#define jdoc_each(d, i, c)                                                     \
	for (int c = (i) + 1; c < (int)(d)->tok[i].next;                       \
	     c = (int)(d)->tok[c].next)

#endif
