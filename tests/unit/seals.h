/* A seal for tests of tickets: the same key in all of them. */
#ifndef TESTS_UNIT_SEALS_H
#define TESTS_UNIT_SEALS_H

#include "usage/seal.h"

/* Made with the first call; lives as long as the program. */
static inline const struct seal *test_seal(void)
{
	static const uint8_t key[SEAL_KEY_LEN] = "a key for tests";
	static struct seal *seal;

	if (!seal)
		seal = seal_new(key);
	return seal;
}

#endif
