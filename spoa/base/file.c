/* base/file: small files read whole. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *text_of(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "unknown error";
}

static const char *read_all(int fd, char *mem, size_t size, size_t *len)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, mem + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return text_of(errno);
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
	/* O_NONBLOCK: opening a FIFO must not hang the process */
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	const char *why = NULL;
	struct stat st;
	int fd;

	if (options & FILE_NO_LINK)
		flags |= O_NOFOLLOW;
	fd = open(path, flags);
	if (fd < 0)
		return text_of(errno);
	if (fstat(fd, &st) != 0)
		why = text_of(errno);
	else if (!S_ISREG(st.st_mode))
		why = "not a regular file";
	else
		why = read_all(fd, mem, size, len);
	close(fd);
	if (!why && mode)
		*mode = st.st_mode;
	return why;
}
