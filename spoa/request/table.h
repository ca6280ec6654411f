/*
 * request/table: the requests a worker is deciding, by reference.
 *
 * A reference is a slot number and a generation: it stays unique after the
 * slot was given to another request, so whoever was waiting for something on
 * behalf of a request may come back late without harm.
 */
#ifndef REQUEST_TABLE_H
#define REQUEST_TABLE_H

#include "request/request.h"

struct requests;

/* `max` requests at once; memory is taken as they come and kept for reuse. */
struct requests *requests_new(size_t max);
void requests_free(struct requests *t);

/* A zeroed request with its ref and an empty arena; NULL when all places are
 * taken or there is no memory. */
struct request *requests_take(struct requests *t);

/* The request ends: its ref finds nothing from now on. */
void requests_release(struct requests *t, struct request *r);

/* NULL when that request has ended. */
struct request *requests_find(const struct requests *t, uint64_t ref);

/* The one that was taken first, NULL when there is none. */
struct request *requests_oldest(const struct requests *t);

size_t requests_count(const struct requests *t);

#endif
