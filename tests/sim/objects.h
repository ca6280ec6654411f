/*
 * objects: what has an id at a resource: responses, files, batches, vector
 * stores, conversations.
 *
 * Each is kept with the Host it was made under: to another resource it is
 * unknown, as at Azure.
 */
#ifndef SIM_OBJECTS_H
#define SIM_OBJECTS_H

#include "http.h"

/* `path` is what follows "/openai/v1/" or "/openai/". False: not one of
 * theirs, and nothing was answered. */
bool objects_answer(struct exchange *x, const char *path, size_t len);

/* Keep the JSON of a response. `waiting`, when not NULL, is what the first
 * GET shows. Takes the bytes of both over. */
void objects_keep(struct exchange *x, const char *id, struct sb *json,
                  struct sb *waiting);

/* 50 digits of an id as Azure writes them: 16 that it shares with what is made
 * together with it (the response or conversation that the body continues), a
 * version, the time, and 24 at random. */
void objects_digits(const struct exchange *x, char digits[64]);

/* A boolean member of the JSON body at its outermost level. */
bool objects_flag(const struct exchange *x, const char *name);

#endif
