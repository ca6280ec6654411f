/*
 * Tokens and key sets are written by strangers: base/json and base/jscan must
 * survive them and keep their contracts.
 */
#include "base/jscan.h"
#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void claim(bool holds)
{
	if (!holds)
		abort();
}

/* All accessors on all values; depth is bounded by the parser. */
static void walk(const struct json *j)
{
	const struct json *child;
	struct str s = STR_NONE;
	int64_t n = 0;
	double d = 0;
	bool b;

	claim(json_type(j) != JSON_NONE);
	claim(json_str(j, &s) == (json_type(j) == JSON_STRING));
	claim(json_bool(j, &b) == (json_type(j) == JSON_BOOL));
	if (json_int(j, &n))
		claim(json_number(j, &d) && (double)n == d);
	json_each (j, child) {
		struct str key = json_key(child);

		/* no other member has this name */
		if (json_type(j) == JSON_OBJECT)
			claim(json_get(j, key.p) == child);
		walk(child);
	}
}

static void check_text(const struct jscan *s)
{
	char *out = malloc(s->decoded_len + 1);

	claim(out && jscan_unescape(s->text, out) == s->decoded_len);
	claim(!memchr(out, '\0', s->decoded_len));
	claim(jscan_compare(s->text, s->text) == 0);
	free(out);
}

static enum jscan_token scan(struct str text)
{
	enum jscan_token t;
	struct jscan s;

	jscan_init(&s, text, JSON_MAX_DEPTH);
	do {
		t = jscan_next(&s);
		claim(s.at <= text.len && s.depth <= JSON_MAX_DEPTH);
		if (t == JSCAN_KEY || t == JSCAN_STRING)
			check_text(&s);
	} while (t > JSCAN_BAD);
	claim((t == JSCAN_BAD) == (s.error != NULL));
	return t;
}

static bool parse(struct str text, unsigned options)
{
	const char *error = NULL;
	unsigned line, column;
	size_t at = SIZE_MAX;
	struct json *j = json_parse_with(text, options, &error, &at);

	if (j) {
		walk(j);
		json_free(j);
		return true;
	}
	claim(error && at <= text.len);
	json_place(text, at, &line, &column);
	claim(line >= 1 && column >= 1);
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size);
	enum jscan_token t = scan(text);
	bool strict = parse(text, JSON_STRICT);
	bool relaxed = parse(text, JSON_COMMENTS);

	claim(!strict || (t == JSCAN_END && relaxed));
	if (t == JSCAN_END)
		claim(scan(str_first(text, size * 7919 % (size + 1))) !=
		      JSCAN_BAD);
	return 0;
}
