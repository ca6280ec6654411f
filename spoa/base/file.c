/* base/file: reading of small local files in one call. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* strerrordesc_np() returns constants, unlike strerror(), whose result the
 * next call may overwrite. */
static const char *file_error_text(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "unknown error";
}

/* Read until `size` bytes or the end of the file; read() may return less than
 * it was asked for. */
static const char *file_read_fd(int fd, char *mem, size_t size, size_t *len)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, mem + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return file_error_text(errno);
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*len = have;
	return NULL;
}

const char *file_read(const char *path, unsigned options, char *mem,
                      size_t size, size_t *len, mode_t *mode)
{
	/* The type of the file is known only after open(), and opening a FIFO
	 * without a writer blocks unless O_NONBLOCK is set. O_NOCTTY: a
	 * terminal must not become the controlling one of a daemon. */
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	const char *why = NULL;
	struct stat st;
	int fd;

	if (options & FILE_NO_LINK)
		flags |= O_NOFOLLOW;
	fd = open(path, flags);
	if (fd < 0)
		return file_error_text(errno);
	/* fstat of the open file: between stat(path) and open(path) the path
	 * could be changed */
	if (fstat(fd, &st) != 0)
		why = file_error_text(errno);
	else if (!S_ISREG(st.st_mode))
		why = "not a regular file";
	else
		why = file_read_fd(fd, mem, size, len);
	close(fd);
	if (!why && mode)
		*mode = st.st_mode;
	return why;
}
