/*
 * store/scripts: the Lua scripts of the Redis store, embedded in the program.
 *
 * A script is the text of scripts/common.lua followed by that of its own file,
 * because a Redis script cannot include another one. All scripts are loaded
 * with SCRIPT LOAD when a connection is set up (store/redis_setup).
 */
#ifndef STORE_SCRIPTS_H
#define STORE_SCRIPTS_H

#include "base/str.h"

enum script {
	/* limits: store/redis and store/writes */
	SCRIPT_RESERVE = 0,
	SCRIPT_SETTLE = 1,
	/* owners of objects: store/objects */
	SCRIPT_BIND = 2,
	SCRIPT_FIND = 3,
	/* operators' commands: store/tune; BLOCKED also store/blocked */
	SCRIPT_TUNE = 4,
	SCRIPT_AUDIT = 5,
	SCRIPT_BLOCKED = 6,
	/* the key that seals tickets: store/shared_key */
	SCRIPT_SHARED_KEY = 7,
	SCRIPT_COUNT = 8,
};

/* The whole text, a constant. */
struct str script_text(enum script which);

/* Number of leading arguments that are keys (numkeys of EVALSHA), 1..3. */
unsigned script_keys(enum script which);

#endif
