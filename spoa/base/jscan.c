/*
 * base/jscan: a strict JSON pull scanner.
 *
 * Long strings are nearly all of a request body, so their plain bytes are
 * skipped 16 at a time; everything else is done byte by byte.
 */
#include "base/jscan.h"

#include "base/utf8.h"

#include <assert.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum state {
	EXPECT_VALUE = 0,
	EXPECT_VALUE_OR_END = 1, /* behind '[' */
	EXPECT_KEY_OR_END = 2,   /* behind '{' */
	EXPECT_COMMA_OR_END = 3,
};

void jscan_init(struct jscan *s, struct str text, unsigned max_depth)
{
	assert(max_depth <= JSCAN_MAX_DEPTH);
	*s = (struct jscan){
		.start = text.p,
		.p = text.p,
		.end = text.p ? text.p + text.len : NULL,
		.max_depth = max_depth,
		.state = EXPECT_VALUE,
		.last = JSCAN_NULL,
	};
}

static enum jscan_token bad(struct jscan *s, const char *at, const char *error)
{
	s->error = error;
	s->error_at = (size_t)(at - s->start);
	return JSCAN_BAD;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* ---------------------------------------------------------------- strings */

/* The first byte at or behind p that is not plain: a quote, a backslash, a
 * control character or part of a longer UTF-8 sequence. */
static const char *skip_plain(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i space = _mm_set1_epi8(' ');
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i backslash = _mm_set1_epi8('\\');

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const void *)p);
		/* bytes are signed here: those from 0x80 on are less, too */
		__m128i hit = _mm_or_si128(
			_mm_cmplt_epi8(v, space),
			_mm_or_si128(_mm_cmpeq_epi8(v, quote),
		                     _mm_cmpeq_epi8(v, backslash)));
		unsigned mask = (unsigned)_mm_movemask_epi8(hit);

		if (mask)
			return p + __builtin_ctz(mask);
	}
#else
	const uint64_t one = 0x0101010101010101, high = one << 7;

	for (; end - p >= 8; p += 8) {
		uint64_t v, quote, backslash, hit;

		memcpy(&v, p, 8);
		quote = v ^ (one * '"');
		backslash = v ^ (one * '\\');
		hit = v | ((v - one * ' ') & ~v) | ((quote - one) & ~quote) |
		      ((backslash - one) & ~backslash);
		if (hit & high)
			break;
	}
#endif
	while (p < end && (unsigned char)*p >= ' ' &&
	       (unsigned char)*p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Result of looking at one piece of a string: its length, or one of these. */
enum { PIECE_CUT = 0, PIECE_BAD = -1 };

/* The 4 hex digits at p, as 4, PIECE_CUT or PIECE_BAD. */
static int hex4(const char *p, const char *end, unsigned *out)
{
	unsigned v = 0;

	for (int i = 0; i < 4; i++) {
		int d = p + i < end ? hex_digit(p[i]) : 0;

		if (d < 0)
			return PIECE_BAD;
		v = v << 4 | (unsigned)d;
	}
	*out = v;
	return end - p < 4 ? PIECE_CUT : 4;
}

/* The low half of a surrogate pair, "\uDC00" to "\uDFFF", at p. */
static int low_surrogate(const char *p, const char *end)
{
	unsigned v = 0;
	int n;

	if (p < end && *p != '\\')
		return PIECE_BAD;
	if (end - p > 1 && p[1] != 'u')
		return PIECE_BAD;
	if (end - p < 2)
		return PIECE_CUT;
	n = hex4(p + 2, end, &v);
	if (n <= 0)
		return n;
	return v >= 0xdc00 && v <= 0xdfff ? 6 : PIECE_BAD;
}

static unsigned utf8_size(unsigned v)
{
	return v < 0x80 ? 1 : v < 0x800 ? 2 : 3;
}

/* "\uXXXX" or a pair of them at p; *lost: bytes it is longer than what it
 * stands for. */
static int unicode_escape(struct jscan *s, const char *p, size_t *lost)
{
	unsigned v = 0;
	int n = hex4(p + 2, s->end, &v);

	if (n == PIECE_BAD)
		bad(s, p, "\\u needs four hex digits");
	if (n <= 0)
		return n;
	if (v == 0) {
		bad(s, p, "the character U+0000 is not accepted");
		return PIECE_BAD;
	}
	*lost = 6 - utf8_size(v);
	if (v < 0xd800 || v > 0xdfff)
		return 6;
	n = v < 0xdc00 ? low_surrogate(p + 6, s->end) : PIECE_BAD;
	if (n == PIECE_BAD)
		bad(s, p, "a surrogate without its other half");
	*lost = 12 - 4;
	return n > 0 ? 12 : n;
}

static int escape(struct jscan *s, const char *p, size_t *lost)
{
	if (s->end - p < 2)
		return PIECE_CUT;
	if (p[1] == 'u')
		return unicode_escape(s, p, lost);
	if (memchr("\"\\/bfnrt", p[1], 8)) {
		*lost = 1;
		return 2;
	}
	bad(s, p, "an escape that JSON does not know");
	return PIECE_BAD;
}

/* True when some continuation would make what stands at p, up to the end of
 * all bytes, a valid sequence. */
static bool is_cut_sequence(const char *p, size_t left)
{
	char whole[4] = {(char)0x80, (char)0x80, (char)0x80, (char)0x80};
	unsigned char c = (unsigned char)*p;

	if (left == 1)
		return c >= 0xc2 && c <= 0xf4;
	if (left > 3)
		return false;
	memcpy(whole, p, left);
	return utf8_len(str_of(whole, 4)) > left;
}

/* A run of longer UTF-8 sequences from p on: many scripts have little else.
 * NULL for a bad one; a cut one stays. */
static const char *skip_sequences(struct jscan *s, const char *p)
{
	while (p < s->end && (unsigned char)*p >= 0x80) {
		size_t left = (size_t)(s->end - p);
		size_t n = utf8_len(str_of(p, left));

		if (n == 0 && is_cut_sequence(p, left))
			return p;
		if (n == 0) {
			bad(s, p, "not valid UTF-8");
			return NULL;
		}
		p += n;
	}
	return p;
}

/* Step over the piece at p that is not plain. NULL when it is bad, p when the
 * end of the bytes cuts it. */
static const char *skip_special(struct jscan *s, const char *p, size_t *lost)
{
	int n;

	if ((unsigned char)*p >= 0x80)
		return skip_sequences(s, p);
	if (*p != '\\') {
		bad(s, p, "a control character in a string must be escaped");
		return NULL;
	}
	n = escape(s, p, lost);
	return n == PIECE_BAD ? NULL : p + n;
}

/* The string whose quote is at s->p. */
static enum jscan_token string(struct jscan *s, enum jscan_token token)
{
	const char *from = s->p + 1, *p = skip_plain(from, s->end);
	size_t lost_sum = 0;

	while (p < s->end && *p != '"') {
		size_t lost = 0;
		const char *behind = skip_special(s, p, &lost);

		if (!behind)
			return JSCAN_BAD;
		if (behind == p)
			break;
		lost_sum += lost;
		p = skip_plain(behind, s->end);
	}
	s->text = str_of(from, (size_t)(p - from));
	s->decoded_len = s->text.len - lost_sum;
	if (p == s->end || *p != '"')
		return JSCAN_PARTIAL;
	s->p = p + 1;
	return token;
}

/* ----------------------------------------------------- numbers and words */

static const char *skip_digits(const char *p, const char *end)
{
	while (p < end && is_digit(*p))
		p++;
	return p;
}

/* At least one digit from p on: the byte behind them, else NULL and *t says
 * why. */
static const char *digits(struct jscan *s, const char *p, enum jscan_token *t)
{
	if (p < s->end && is_digit(*p))
		return skip_digits(p, s->end);
	*t = p == s->end ? JSCAN_PARTIAL
	                 : bad(s, p, "a digit is missing in a number");
	return NULL;
}

static enum jscan_token number(struct jscan *s)
{
	enum jscan_token t = JSCAN_NUMBER;
	const char *p = s->p, *end = s->end;

	if (*p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else
		p = digits(s, p, &t);
	if (p && p < end && *p == '.')
		p = digits(s, p + 1, &t);
	if (p && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = digits(s, p, &t);
	}
	if (!p)
		return t;
	/* more digits could follow, unless this is all there ever was */
	if (p == end && s->depth > 0)
		return JSCAN_PARTIAL;
	s->text = str_of(s->p, (size_t)(p - s->p));
	s->p = p;
	s->state = EXPECT_COMMA_OR_END;
	return t;
}

static enum jscan_token word(struct jscan *s, const char *name,
                             enum jscan_token token)
{
	size_t i = 0;

	for (; name[i]; i++) {
		if (s->p + i == s->end)
			return JSCAN_PARTIAL;
		if (s->p[i] != name[i])
			return bad(s, s->p, "not a JSON value");
	}
	s->p += i;
	s->state = EXPECT_COMMA_OR_END;
	return token;
}

/* -------------------------------------------------------------- structure */

static bool in_object(const struct jscan *s)
{
	unsigned d = s->depth - 1;

	return s->is_object[d / 64] >> (d % 64) & 1;
}

static enum jscan_token open_level(struct jscan *s, bool object)
{
	uint64_t bit = (uint64_t)1 << (s->depth % 64);

	if (s->depth == s->max_depth)
		return bad(s, s->p, "nested too deeply");
	if (object)
		s->is_object[s->depth / 64] |= bit;
	else
		s->is_object[s->depth / 64] &= ~bit;
	s->depth++;
	s->p++;
	s->state = object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
	return object ? JSCAN_OBJECT : JSCAN_ARRAY;
}

static enum jscan_token close_level(struct jscan *s)
{
	bool object = in_object(s);

	if (*s->p != (object ? '}' : ']'))
		return bad(s, s->p,
		           object ? "expected a comma or the end of the object"
		                  : "expected a comma or the end of the array");
	s->depth--;
	s->p++;
	s->state = EXPECT_COMMA_OR_END;
	return object ? JSCAN_OBJECT_END : JSCAN_ARRAY_END;
}

static void skip_blanks(struct jscan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' ||
	                         *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

static enum jscan_token key(struct jscan *s)
{
	enum jscan_token t;

	if (*s->p != '"')
		return bad(s, s->p, "expected a key in double quotes");
	t = string(s, JSCAN_KEY);
	if (t == JSCAN_KEY)
		skip_blanks(s);
	if (t == JSCAN_PARTIAL || s->p == s->end) {
		s->text = STR_NONE;
		return JSCAN_PARTIAL;
	}
	if (t != JSCAN_KEY)
		return t;
	if (*s->p != ':')
		return bad(s, s->p, "expected a colon behind the key");
	s->p++;
	s->state = EXPECT_VALUE;
	return t;
}

static enum jscan_token value(struct jscan *s)
{
	static const char bom[] = "\xef\xbb\xbf";
	enum jscan_token t;

	switch (*s->p) {
	case '{':
		return open_level(s, true);
	case '[':
		return open_level(s, false);
	case '"':
		t = string(s, JSCAN_STRING);
		s->state = EXPECT_COMMA_OR_END;
		return t;
	case 't':
		return word(s, "true", JSCAN_TRUE);
	case 'f':
		return word(s, "false", JSCAN_FALSE);
	case 'n':
		return word(s, "null", JSCAN_NULL);
	default:
		if (*s->p == '-' || is_digit(*s->p))
			return number(s);
		if (s->p == s->start && *s->p == bom[0])
			return bad(s, s->p,
			           "a byte order mark is not accepted");
		return bad(s, s->p, "not a JSON value");
	}
}

static enum jscan_token token_behind_value(struct jscan *s)
{
	if (s->depth == 0)
		return s->p == s->end
		               ? JSCAN_END
		               : bad(s, s->p, "something follows the document");
	if (s->p == s->end)
		return JSCAN_PARTIAL;
	if (*s->p != ',')
		return close_level(s);
	s->p++;
	skip_blanks(s);
	if (s->p == s->end)
		return JSCAN_PARTIAL;
	s->at = (size_t)(s->p - s->start);
	return in_object(s) ? key(s) : value(s);
}

enum jscan_token jscan_next(struct jscan *s)
{
	if (s->last <= JSCAN_BAD)
		return s->last;
	s->text = STR_NONE;
	s->decoded_len = 0;
	skip_blanks(s);
	s->at = (size_t)(s->p - s->start);
	if (s->state == EXPECT_COMMA_OR_END)
		s->last = token_behind_value(s);
	else if (s->p == s->end)
		s->last = JSCAN_PARTIAL;
	else if ((s->state == EXPECT_KEY_OR_END && *s->p == '}') ||
	         (s->state == EXPECT_VALUE_OR_END && *s->p == ']'))
		s->last = close_level(s);
	else if (s->state == EXPECT_KEY_OR_END)
		s->last = key(s);
	else
		s->last = value(s);
	return s->last;
}

size_t jscan_pos(const struct jscan *s)
{
	return (size_t)(s->p - s->start);
}

/* -------------------------------------------------------------- unescaping */

static size_t put_utf8(unsigned v, char *out)
{
	if (v < 0x80) {
		out[0] = (char)v;
		return 1;
	}
	if (v < 0x800) {
		out[0] = (char)(0xc0 | v >> 6);
		out[1] = (char)(0x80 | (v & 0x3f));
		return 2;
	}
	if (v < 0x10000) {
		out[0] = (char)(0xe0 | v >> 12);
		out[1] = (char)(0x80 | (v >> 6 & 0x3f));
		out[2] = (char)(0x80 | (v & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | v >> 18);
	out[1] = (char)(0x80 | (v >> 12 & 0x3f));
	out[2] = (char)(0x80 | (v >> 6 & 0x3f));
	out[3] = (char)(0x80 | (v & 0x3f));
	return 4;
}

/* Take one byte or one whole escape from *raw, which is well-formed, and put
 * what it stands for into out. Returns the number of bytes put. */
static size_t take(struct str *raw, char out[4])
{
	static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	const char *p = raw->p, *end = raw->p + raw->len;
	unsigned v = 0, low = 0;
	const char *e;

	if (*p != '\\') {
		out[0] = *p;
		*raw = str_from(*raw, 1);
		return 1;
	}
	if (p[1] != 'u') {
		for (e = escapes; *e != p[1]; e += 2)
			;
		out[0] = e[1];
		*raw = str_from(*raw, 2);
		return 1;
	}
	hex4(p + 2, end, &v);
	if (v < 0xd800 || v > 0xdfff) {
		*raw = str_from(*raw, 6);
		return put_utf8(v, out);
	}
	hex4(p + 8, end, &low);
	*raw = str_from(*raw, 12);
	return put_utf8(0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00), out);
}

size_t jscan_unescape(struct str raw, char *out)
{
	size_t n = 0;

	while (raw.len > 0) {
		char piece[4];
		size_t len = take(&raw, piece);

		memcpy(out + n, piece, len);
		n += len;
	}
	return n;
}

struct str jscan_str(const struct jscan *s, struct arena *arena)
{
	char *p;

	/* every escape is longer than what it stands for */
	if (s->decoded_len == s->text.len)
		return s->text;
	p = arena_alloc(arena, s->text.len);
	if (!p)
		return STR_NONE;
	return str_of(p, jscan_unescape(s->text, p));
}

/* Unescaped bytes one by one. */
struct reader {
	struct str raw;
	char piece[4];
	size_t at, len;
};

static int read_byte(struct reader *r)
{
	if (r->at == r->len) {
		if (r->raw.len == 0)
			return -1;
		r->len = take(&r->raw, r->piece);
		r->at = 0;
	}
	return (unsigned char)r->piece[r->at++];
}

int jscan_compare(struct str raw_a, struct str raw_b)
{
	struct reader a = {.raw = raw_a}, b = {.raw = raw_b};
	int ca, cb;

	do {
		ca = read_byte(&a);
		cb = read_byte(&b);
	} while (ca == cb && ca >= 0);
	return ca - cb;
}

bool jscan_to_u53(struct str number, uint64_t *out)
{
	uint64_t v;

	if (!str_to_u64(number, &v) || v > (uint64_t)1 << 53)
		return false;
	*out = v;
	return true;
}
