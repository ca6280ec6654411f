/* base/version: the version of this program, for -V and foundry_build_info. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define VERSION "0.1.0"

#endif
