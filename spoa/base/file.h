/*
 * base/file: reading of small local files in one call.
 *
 * For secrets, certificates and tokens that another process renews. A file of
 * some kilobytes is read in microseconds, so the loop may do it; a file on a
 * network file system would block the loop.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Bits. */
enum file_option {
	FILE_PLAIN = 0,
	FILE_NO_LINK = 1, /* refuse when the path itself is a symbolic link */
};

/* Read the first `size` bytes of the file `path` into `mem` and set *len to
 * their number. *len == size may mean that the file is longer. Only regular
 * files are read: a FIFO or a device could block or never end.
 *
 * Returns NULL, or the reason of the failure as a constant text (strerror's
 * or "not a regular file"); *len and *mode are then untouched. `mode` may be
 * NULL; it gets st_mode, from which callers check the permissions. */
const char *file_read(const char *path, unsigned options, char *mem,
                      size_t size, size_t *len, mode_t *mode);

#endif
