/*
 * media: images, audio, token counts: answers that no stream of words is.
 */
#ifndef SIM_MEDIA_H
#define SIM_MEDIA_H

#include "http.h"

/* `path` is what follows the prefix or the deployment. False: not one of
 * theirs, and nothing was answered. */
bool media_answer(struct exchange *x, const char *path, size_t len);

/* Calls have a credential of their own: the secret of a session. */
bool media_is_call(const char *path, size_t len);

#endif
