/*
 * base/file: small files read whole, at start or now and then: secrets,
 * tokens that others renew, certificates.
 *
 * Local files of some kilobytes: reading one on the loop takes microseconds.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

enum file_option {
	FILE_PLAIN = 0,
	FILE_NO_LINK = 1, /* the last part of the path is no symbolic link */
};

/* Read the first `size` bytes of a regular file (a FIFO would block; a file
 * that fills `mem` may be longer). NULL and *len, or why it cannot be read, a
 * constant text. `mode` may be NULL: the permissions of the file. */
const char *file_read(const char *path, unsigned options, char *mem,
                      size_t size, size_t *len, mode_t *mode);

#endif
