/*
 * store/scripts: the Lua of the Redis store, as part of the program.
 *
 * Each is common.lua and its own file in one text, as SCRIPT LOAD wants it.
 */
#ifndef STORE_SCRIPTS_H
#define STORE_SCRIPTS_H

#include "base/str.h"

enum script {
	SCRIPT_RESERVE = 0,
	SCRIPT_SETTLE = 1,
	SCRIPT_BIND = 2,
	SCRIPT_FIND = 3,
	SCRIPT_TUNE = 4,
	SCRIPT_AUDIT = 5,
	SCRIPT_BLOCKED = 6,
	SCRIPT_COUNT = 7,
};

struct str script_text(enum script which);

/* How many of its arguments are keys, in front. */
unsigned script_keys(enum script which);

#endif
