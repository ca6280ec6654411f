/*
 * base/usd: amounts of US dollars as whole pico-dollars (10^-12 USD).
 *
 *   "2.5e-06" -> 25, 1 decimal, exponent -6 -> 25 * 10^(-6 - 1 + 12) = 2500000
 */
#include "base/usd.h"

#include <inttypes.h>

enum {
	PICO_DECIMALS = 12,
	/* beyond the range of a double; it keeps the sums of exponents far
	 * from the limits of an int */
	MAX_EXPONENT = 400,
};

static bool usd_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Read "12.5" as the whole number 125 and the number of decimals, 1. False for
 * a point without a digit on both sides, for any other character, and for more
 * digits than a uint64_t is sure to hold. */
static bool usd_read_digits(struct str s, uint64_t *whole, int *decimals)
{
	bool behind = false;
	size_t i;

	*whole = 0;
	*decimals = 0;
	for (i = 0; i < s.len; i++) {
		if (s.p[i] == '.' && !behind && i > 0 && i + 1 < s.len) {
			behind = true;
			continue;
		}
		if (!usd_is_digit(s.p[i]) || *whole > UINT64_MAX / 10 - 1)
			return false;
		*whole = *whole * 10 + (uint64_t)(s.p[i] - '0');
		*decimals += behind;
	}
	return s.len > 0;
}

/* Read the part behind the "e": "-06", "+3", "7". */
static bool usd_read_exponent(struct str s, int *out)
{
	bool negative = s.len > 0 && s.p[0] == '-';
	uint64_t v;

	if (s.len > 0 && (s.p[0] == '-' || s.p[0] == '+'))
		s = str_from(s, 1);
	if (!str_to_u64(s, &v) || v > MAX_EXPONENT)
		return false;
	*out = negative ? -(int)v : (int)v;
	return true;
}

bool usd_read(struct str number, uint64_t *pico)
{
	size_t e = str_find(number, 'e');
	int decimals, exponent = 0;
	uint64_t v;

	if (e == number.len)
		e = str_find(number, 'E');
	if (!usd_read_digits(str_first(number, e), &v, &decimals))
		return false;
	if (e < number.len &&
	    !usd_read_exponent(str_from(number, e + 1), &exponent))
		return false;
	/* From here on the amount is v * 10^exponent pico-dollars; v == 0 is 0
	 * with any exponent. */
	exponent += PICO_DECIMALS - decimals;
	for (; v > 0 && exponent > 0 && v <= USD_PICO_MAX; exponent--)
		v *= 10;
	for (; v > 0 && exponent < 0; exponent++) {
		if (v % 10 != 0)
			return false; /* less than a pico-dollar */
		v /= 10;
	}
	if (v > USD_PICO_MAX)
		return false;
	*pico = v;
	return true;
}

void usd_write(struct buf *out, unsigned __int128 pico)
{
	const uint64_t dollar = UINT64_C(1000000000000);

	buf_fmt(out, "%" PRIu64 ".%0*" PRIu64, (uint64_t)(pico / dollar),
	        PICO_DECIMALS, (uint64_t)(pico % dollar));
}
