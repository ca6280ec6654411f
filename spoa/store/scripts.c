/*
 * store/scripts: the Lua of the Redis store, as part of the program.
 *
 * The assembler reads the files. Their paths are relative to the root of the
 * repository, where every build runs; the Makefile knows the dependency.
 */
#include "store/scripts.h"

#define SCRIPTS "spoa/store/scripts/"
#define EMBED(name, file)                                                      \
	__asm__(".pushsection .rodata\n"                                       \
	        ".global " name "\n" name ":\n"                                \
	        ".incbin \"" SCRIPTS "common.lua\"\n"                          \
	        ".incbin \"" SCRIPTS file "\"\n"                               \
	        ".byte 0\n"                                                    \
	        ".popsection\n")

EMBED("script_reserve_text", "reserve.lua");
EMBED("script_settle_text", "settle.lua");

extern const char script_reserve_text[], script_settle_text[];

struct str script_text(enum script which)
{
	return str_c(which == SCRIPT_RESERVE ? script_reserve_text
	                                     : script_settle_text);
}
