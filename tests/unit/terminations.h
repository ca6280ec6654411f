/* How HAProxy 2.6, 3.0 and 3.2 log requests that end in every way there is, and
 * what a resource had read of them by then: 11,482 requests of
 * tests/terminations/driver.py. Where the truth differs between requests that
 * are logged alike, and where the resource itself ran out of time, it is SENT.
 */
#ifndef TESTS_UNIT_TERMINATIONS_H
#define TESTS_UNIT_TERMINATIONS_H

enum termination_truth { UNSENT, SENT, REFUSED };

static const struct termination {
	const char *state;
	int status, connect_ms, ttfb_ms; /* -1: none */
	const char *upstream;            /* status of the resource, "-": none */
	enum termination_truth truth;
} terminations[] = {
	{"--", 101, 3, 12, "101", SENT},
	{"--", 200, 3, 12, "200", SENT},
	{"--", 204, 3, 12, "204", SENT},
	{"--", 400, 3, 12, "400", REFUSED},
	{"--", 401, 3, 12, "401", REFUSED},
	{"--", 404, 3, 12, "404", REFUSED},
	{"--", 408, 3, 12, "408", SENT},
	{"--", 413, 3, 12, "413", REFUSED},
	{"--", 429, 3, 12, "429", REFUSED},
	{"--", 500, 3, 12, "500", REFUSED},
	{"--", 502, 3, 12, "502", REFUSED},
	{"--", 503, 3, 12, "503", REFUSED},
	{"--", 504, 3, 12, "504", SENT},
	{"CC", -1, -1, -1, "-", UNSENT},
	{"CD", -1, 3, -1, "-", SENT},
	{"CD", 0, 3, -1, "-", SENT},
	{"CD", 101, 3, 12, "101", SENT},
	{"CD", 200, 3, 12, "200", SENT},
	{"CD", 400, 3, -1, "-", SENT},
	{"CD", 401, 3, 12, "401", REFUSED},
	{"CD", 500, 3, 12, "500", REFUSED},
	{"CH", -1, 3, -1, "-", SENT},
	{"CH", 400, 3, -1, "-", SENT},
	{"CL", -1, 3, -1, "-", SENT},
	{"CL", 200, 3, 12, "200", SENT},
	{"CL", 400, 3, -1, "-", SENT},
	{"CL", 401, 3, 12, "401", REFUSED},
	{"CQ", -1, -1, -1, "-", UNSENT},
	{"CR", -1, -1, -1, "-", UNSENT},
	{"IH", 500, 3, 12, "200", SENT},
	{"KC", 500, -1, -1, "-", SENT},
	{"KC", 500, 3, -1, "-", SENT},
	{"KC", 500, 3, 12, "200", SENT},
	{"KD", 200, 3, 12, "200", SENT},
	{"KH", 502, 3, -1, "-", SENT},
	{"PD", 200, 3, 12, "200", SENT},
	{"PH", 502, 3, -1, "-", SENT},
	{"SC", 503, -1, -1, "-", UNSENT},
	{"SD", -1, 3, -1, "-", SENT},
	{"SD", 101, 3, 12, "101", SENT},
	{"SD", 200, 3, 12, "200", SENT},
	{"SD", 500, 3, 12, "500", REFUSED},
	{"SH", 502, 3, -1, "-", SENT},
	{"cD", 101, 3, 12, "101", SENT},
	{"cD", 200, 3, 12, "200", SENT},
	{"cD", 400, 3, -1, "-", SENT},
	{"cH", 400, 3, -1, "-", SENT},
	{"sC", 503, -1, -1, "-", UNSENT},
	{"sD", 200, 3, 12, "200", SENT},
	{"sH", 504, 3, -1, "-", SENT},
	{"sH", 504, 3, 12, "200", SENT},
	{"sQ", 503, -1, -1, "-", UNSENT},
	{"sR", 504, 3, -1, "200", SENT},
	/* answered by HAProxy itself: no backend of that name, or a broken
         * decision */
	{"LR", 503, -1, -1, "-", UNSENT},
};

#endif
