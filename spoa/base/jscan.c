/*
 * base/jscan: a strict JSON pull scanner.
 *
 *   jscan_next
 *     js_next_behind_value   , ] } or the end       -> js_close_level
 *     js_read_key            "key" :                -> js_read_string
 *     js_read_value          { [                    -> js_open_level
 *                            "                      -> js_read_string
 *                            - 0..9                 -> js_read_number
 *                            true false null        -> js_read_word
 *
 * A state machine without recursion: the state is what may come next
 * (enum js_state) and one bit per open level (object or array).
 *
 * Most bytes of a request body are plain bytes of long strings. They are
 * skipped 16 at a time (js_skip_plain); everything else goes byte by byte.
 *
 * A function that returns a pointer returns the byte behind what it read. Any
 * read stops at `end`; the bytes are not NUL-terminated.
 */
#include "base/jscan.h"

#include "base/utf8.h"

#include <assert.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* What may come next. */
enum js_state {
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

/* Set the error, about the byte at `at`. */
static enum jscan_token js_fail(struct jscan *s, const char *at,
                                const char *error)
{
	s->error = error;
	s->error_at = (size_t)(at - s->start);
	return JSCAN_BAD;
}

static bool js_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* ---------------------------------------------------------------- strings */

/* The first byte at or behind p that is not plain: a quote, a backslash, a
 * control character or a byte of a multi-byte UTF-8 sequence; `end` when all
 * are plain. The wide loops only find the block; without SSE2 the byte in it is
 * found by the last loop. */
static const char *js_skip_plain(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i space = _mm_set1_epi8(' ');
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i backslash = _mm_set1_epi8('\\');

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const void *)p);
		/* the comparison is signed: bytes from 0x80 on are negative
		 * and so less than a blank, too */
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

		/* (x - 0x01..) & ~x & 0x80.. is not zero exactly when a byte
		 * of x is zero; x = v ^ pattern has a zero byte where v has
		 * the wanted byte. Borrows may mark further bytes, which does
		 * not matter: the last loop looks at each. */
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

static int js_hex_value(char c)
{
	if (js_is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What the js_read_* functions for escapes return: the length of the escape, or
 * PIECE_CUT when the bytes end within it, or PIECE_BAD. A cut escape is bad
 * only when its present bytes are. */
enum { PIECE_CUT = 0, PIECE_BAD = -1 };

/* Read the 4 hex digits at p. Returns 4, PIECE_CUT or PIECE_BAD. */
static int js_read_hex4(const char *p, const char *end, unsigned *out)
{
	unsigned v = 0;

	for (int i = 0; i < 4; i++) {
		int d = p + i < end ? js_hex_value(p[i]) : 0;

		if (d < 0)
			return PIECE_BAD;
		v = v << 4 | (unsigned)d;
	}
	*out = v;
	return end - p < 4 ? PIECE_CUT : 4;
}

/* Read the low half of a surrogate pair, "\uDC00" to "\uDFFF", at p. */
static int js_read_low_surrogate(const char *p, const char *end)
{
	size_t left = (size_t)(end - p);
	unsigned v = 0;
	int n;

	if ((left > 0 && p[0] != '\\') || (left > 1 && p[1] != 'u'))
		return PIECE_BAD;
	if (left < 2)
		return PIECE_CUT;
	n = js_read_hex4(p + 2, end, &v);
	if (n <= 0)
		return n;
	return v >= 0xdc00 && v <= 0xdfff ? 6 : PIECE_BAD;
}

/* Bytes of the character v, which is below U+10000, in UTF-8. */
static unsigned js_utf8_size(unsigned v)
{
	return v < 0x80 ? 1 : v < 0x800 ? 2 : 3;
}

/* Read "\uXXXX", or two of them that form a surrogate pair, at p. Sets *lost to
 * the difference in length between the escape and its character in UTF-8. */
static int js_read_unicode_escape(struct jscan *s, const char *p, size_t *lost)
{
	unsigned v = 0;
	int n = js_read_hex4(p + 2, s->end, &v);

	if (n == PIECE_BAD)
		js_fail(s, p, "\\u needs four hex digits");
	if (n <= 0)
		return n;
	if (v == 0) {
		js_fail(s, p, "the character U+0000 is not accepted");
		return PIECE_BAD;
	}
	*lost = 6 - js_utf8_size(v);
	if (v < 0xd800 || v > 0xdfff)
		return 6;
	n = v < 0xdc00 ? js_read_low_surrogate(p + 6, s->end) : PIECE_BAD;
	if (n == PIECE_BAD)
		js_fail(s, p, "a surrogate without its other half");
	*lost = 12 - 4; /* characters from U+10000 on are 4 bytes in UTF-8 */
	return n > 0 ? 12 : n;
}

/* Read the escape at p, whose first byte is the backslash; *lost as above. */
static int js_read_escape(struct jscan *s, const char *p, size_t *lost)
{
	if (s->end - p < 2)
		return PIECE_CUT;
	if (p[1] == 'u')
		return js_read_unicode_escape(s, p, lost);
	if (memchr("\"\\/bfnrt", p[1], 8)) {
		*lost = 1;
		return 2;
	}
	js_fail(s, p, "an escape that JSON does not know");
	return PIECE_BAD;
}

/* True when the `left` last bytes of the document, at p, could be the beginning
 * of a valid UTF-8 sequence. When the second byte is there, any tail bytes
 * complete it: RFC 3629 restricts only the second one further. */
static bool js_is_cut_sequence(const char *p, size_t left)
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

/* Skip the multi-byte UTF-8 sequences at p; in many scripts they come in long
 * runs. Stops at one that is cut. NULL, with the error set, for an invalid
 * one. */
static const char *js_skip_sequences(struct jscan *s, const char *p)
{
	while (p < s->end && (unsigned char)*p >= 0x80) {
		size_t left = (size_t)(s->end - p);
		size_t n = utf8_len(str_of(p, left));

		if (n == 0 && js_is_cut_sequence(p, left))
			return p;
		if (n == 0) {
			js_fail(s, p, "not valid UTF-8");
			return NULL;
		}
		p += n;
	}
	return p;
}

/* Skip the escape or the UTF-8 sequences at p. Returns p when the end of the
 * bytes cuts them. NULL, with the error set, when they are invalid. */
static const char *js_skip_special(struct jscan *s, const char *p, size_t *lost)
{
	int n;

	if ((unsigned char)*p >= 0x80)
		return js_skip_sequences(s, p);
	if (*p != '\\') {
		js_fail(s, p,
		        "a control character in a string must be escaped");
		return NULL;
	}
	n = js_read_escape(s, p, lost);
	return n == PIECE_BAD ? NULL : p + n;
}

/* Read the string whose opening quote is at s->p. A partial one leaves its text
 * in s->text: the caller counts the size of a cut body by it. */
static enum jscan_token js_read_string(struct jscan *s, enum jscan_token token)
{
	const char *from = s->p + 1, *p = js_skip_plain(from, s->end);
	size_t lost_sum = 0;

	while (p < s->end && *p != '"') {
		size_t lost = 0;
		const char *behind = js_skip_special(s, p, &lost);

		if (!behind)
			return JSCAN_BAD;
		if (behind == p)
			break;
		lost_sum += lost;
		p = js_skip_plain(behind, s->end);
	}
	s->text = str_of(from, (size_t)(p - from));
	s->decoded_len = s->text.len - lost_sum;
	if (p == s->end || *p != '"')
		return JSCAN_PARTIAL;
	s->p = p + 1;
	return token;
}

/* ----------------------------------------------------- numbers and words */

static const char *js_skip_digits(const char *p, const char *end)
{
	while (p < end && js_is_digit(*p))
		p++;
	return p;
}

/* Skip the digits at p, of which there must be one. NULL, with *t set to the
 * token to return, when there is none. */
static const char *js_read_digits(struct jscan *s, const char *p,
                                  enum jscan_token *t)
{
	if (p < s->end && js_is_digit(*p))
		return js_skip_digits(p, s->end);
	*t = p == s->end ? JSCAN_PARTIAL
	                 : js_fail(s, p, "a digit is missing in a number");
	return NULL;
}

/* RFC 8259, section 6: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
 * A zero followed by a digit ends the number; the digit is then an error. */
static enum jscan_token js_read_number(struct jscan *s)
{
	enum jscan_token t = JSCAN_NUMBER;
	const char *p = s->p, *end = s->end;

	if (*p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else
		p = js_read_digits(s, p, &t);
	if (p && p < end && *p == '.')
		p = js_read_digits(s, p + 1, &t);
	if (p && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = js_read_digits(s, p, &t);
	}
	if (!p)
		return t;
	/* Inside an object or array more digits may follow in the bytes that
	 * are missing. At the root the number is the whole document. */
	if (p == end && s->depth > 0)
		return JSCAN_PARTIAL;
	s->text = str_of(s->p, (size_t)(p - s->p));
	s->p = p;
	s->state = EXPECT_COMMA_OR_END;
	return t;
}

static enum jscan_token js_read_word(struct jscan *s, const char *name,
                                     enum jscan_token token)
{
	size_t i = 0;

	for (; name[i]; i++) {
		if (s->p + i == s->end)
			return JSCAN_PARTIAL;
		if (s->p[i] != name[i])
			return js_fail(s, s->p, "not a JSON value");
	}
	s->p += i;
	s->state = EXPECT_COMMA_OR_END;
	return token;
}

/* -------------------------------------------------------------- structure */

/* True when the innermost open level is an object; depth must not be 0. */
static bool js_in_object(const struct jscan *s)
{
	unsigned d = s->depth - 1;

	return s->is_object[d / 64] >> (d % 64) & 1;
}

static enum jscan_token js_open_level(struct jscan *s, bool object)
{
	uint64_t bit = (uint64_t)1 << (s->depth % 64);

	if (s->depth == s->max_depth)
		return js_fail(s, s->p, "nested too deeply");
	if (object)
		s->is_object[s->depth / 64] |= bit;
	else
		s->is_object[s->depth / 64] &= ~bit;
	s->depth++;
	s->p++;
	s->state = object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
	return object ? JSCAN_OBJECT : JSCAN_ARRAY;
}

static enum jscan_token js_close_level(struct jscan *s)
{
	bool object = js_in_object(s);

	if (*s->p != (object ? '}' : ']'))
		return js_fail(
			s, s->p,
			object ? "expected a comma or the end of the object"
			       : "expected a comma or the end of the array");
	s->depth--;
	s->p++;
	s->state = EXPECT_COMMA_OR_END;
	return object ? JSCAN_OBJECT_END : JSCAN_ARRAY_END;
}

static void js_skip_blanks(struct jscan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' ||
	                         *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

/* Read a key and its colon: a KEY is returned only when both are there. */
static enum jscan_token js_read_key(struct jscan *s)
{
	enum jscan_token t;

	if (*s->p != '"')
		return js_fail(s, s->p, "expected a key in double quotes");
	t = js_read_string(s, JSCAN_KEY);
	if (t == JSCAN_KEY)
		js_skip_blanks(s);
	if (t == JSCAN_PARTIAL || s->p == s->end) {
		s->text = STR_NONE;
		return JSCAN_PARTIAL;
	}
	if (t != JSCAN_KEY)
		return t;
	if (*s->p != ':')
		return js_fail(s, s->p, "expected a colon behind the key");
	s->p++;
	s->state = EXPECT_VALUE;
	return t;
}

static enum jscan_token js_read_value(struct jscan *s)
{
	static const char bom[] = "\xef\xbb\xbf";
	enum jscan_token t;

	switch (*s->p) {
	case '{':
		return js_open_level(s, true);
	case '[':
		return js_open_level(s, false);
	case '"':
		t = js_read_string(s, JSCAN_STRING);
		s->state = EXPECT_COMMA_OR_END;
		return t;
	case 't':
		return js_read_word(s, "true", JSCAN_TRUE);
	case 'f':
		return js_read_word(s, "false", JSCAN_FALSE);
	case 'n':
		return js_read_word(s, "null", JSCAN_NULL);
	default:
		if (*s->p == '-' || js_is_digit(*s->p))
			return js_read_number(s);
		if (s->p == s->start && *s->p == bom[0])
			return js_fail(s, s->p,
			               "a byte order mark is not accepted");
		return js_fail(s, s->p, "not a JSON value");
	}
}

/* The next token where a value has just ended: the end of the document, the end
 * of the level, or the next key or value behind a comma. */
static enum jscan_token js_next_behind_value(struct jscan *s)
{
	if (s->depth == 0)
		return s->p == s->end
		               ? JSCAN_END
		               : js_fail(s, s->p,
		                         "something follows the document");
	if (s->p == s->end)
		return JSCAN_PARTIAL;
	if (*s->p != ',')
		return js_close_level(s);
	s->p++;
	js_skip_blanks(s);
	if (s->p == s->end)
		return JSCAN_PARTIAL;
	s->at = (size_t)(s->p - s->start);
	return js_in_object(s) ? js_read_key(s) : js_read_value(s);
}

enum jscan_token jscan_next(struct jscan *s)
{
	if (s->last <= JSCAN_BAD)
		return s->last;
	s->text = STR_NONE;
	s->decoded_len = 0;
	js_skip_blanks(s);
	s->at = (size_t)(s->p - s->start);
	if (s->state == EXPECT_COMMA_OR_END)
		s->last = js_next_behind_value(s);
	else if (s->p == s->end)
		s->last = JSCAN_PARTIAL;
	else if ((s->state == EXPECT_KEY_OR_END && *s->p == '}') ||
	         (s->state == EXPECT_VALUE_OR_END && *s->p == ']'))
		s->last = js_close_level(s);
	else if (s->state == EXPECT_KEY_OR_END)
		s->last = js_read_key(s);
	else
		s->last = js_read_value(s);
	return s->last;
}

size_t jscan_pos(const struct jscan *s)
{
	return (size_t)(s->p - s->start);
}

/* -------------------------------------------------------------- unescaping */

static size_t js_put_utf8(unsigned v, char *out)
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

/* Decode the first byte or escape of *raw and remove it from *raw. Writes the
 * decoded bytes to `out` and returns their number. `raw` was accepted by
 * js_read_string, so its escapes are complete and surrogates come in pairs. */
static size_t js_decode_next(struct str *raw, char out[4])
{
	/* pairs of the letter of an escape and its character */
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
	js_read_hex4(p + 2, end, &v);
	if (v < 0xd800 || v > 0xdfff) {
		*raw = str_from(*raw, 6);
		return js_put_utf8(v, out);
	}
	js_read_hex4(p + 8, end, &low);
	*raw = str_from(*raw, 12);
	return js_put_utf8(0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00),
	                   out);
}

size_t jscan_unescape(struct str raw, char *out)
{
	size_t n = 0;

	while (raw.len > 0) {
		char piece[4];
		size_t len = js_decode_next(&raw, piece);

		memcpy(out + n, piece, len);
		n += len;
	}
	return n;
}

struct str jscan_str(const struct jscan *s, struct arena *arena)
{
	char *p;

	/* equal lengths mean no escapes: each is longer than its character */
	if (s->decoded_len == s->text.len)
		return s->text;
	p = arena_alloc(arena, s->text.len);
	if (!p)
		return STR_NONE;
	return str_of(p, jscan_unescape(s->text, p));
}

/* The unescaped bytes of a text, one after the other. */
struct js_decoder {
	struct str raw; /* not decoded yet */
	char piece[4];  /* the last decoded character */
	size_t at, len; /* of piece: the next byte, the number of bytes */
};

/* The next byte, -1 behind the last. */
static int js_decode_byte(struct js_decoder *r)
{
	if (r->at == r->len) {
		if (r->raw.len == 0)
			return -1;
		r->len = js_decode_next(&r->raw, r->piece);
		r->at = 0;
	}
	return (unsigned char)r->piece[r->at++];
}

int jscan_compare(struct str raw_a, struct str raw_b)
{
	struct js_decoder a = {.raw = raw_a}, b = {.raw = raw_b};
	int ca, cb;

	do {
		ca = js_decode_byte(&a);
		cb = js_decode_byte(&b);
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
