/*
 * usage/field: what the three tables of this folder have in common.
 *
 *   TICKET_FIELDS  what the agent knew of a request     usage/ticket.h
 *   RECORD_FIELDS  what HAProxy says at its end         usage/record.h
 *   ENTRY_FIELDS   a line of the ledger: rows of both   usage/entry.h
 *
 * Each is a list of rows X(KIND, name, WHERE). The list is the only place that
 * names a field: the struct, the reading, the writing and the columns of
 * `report` are made by expanding it with different X (X-macros).
 *
 *   KIND   TEXT COUNT SIGNED FLAG OPERATION: the C type, below
 *   WHERE  LEDGER: the field is also one of the ledger, under the same name
 *          RARE:   the same, but the line has it only when it is not absent
 *          INNER:  it is not
 */
#ifndef USAGE_FIELD_H
#define USAGE_FIELD_H

#include "api/operations.h"
#include "base/str.h"

enum field_kind {
	FIELD_TEXT = 0,      /* may be empty */
	FIELD_COUNT = 1,     /* 0 when absent */
	FIELD_SIGNED = 2,    /* -1 when absent */
	FIELD_FLAG = 3,      /* false when absent */
	FIELD_OPERATION = 4, /* API_NONE when absent */
	FIELD_TICKET = 5,    /* of a record only: all of a struct ticket */
};

#define FIELD_TYPE_TEXT      struct str
#define FIELD_TYPE_COUNT     uint64_t
#define FIELD_TYPE_SIGNED    int64_t
#define FIELD_TYPE_FLAG      bool
#define FIELD_TYPE_OPERATION enum api_operation
#define FIELD_TYPE_TICKET    struct ticket

/* A row as data. */
struct field {
	struct str name;
	enum field_kind kind;
	size_t at; /* offset of the member */
};

/* A row as member of a struct, and as initialiser of a struct field. KIND may
 * be a macro that gives one. */
#define FIELD_MEMBER(kind, name)    FIELD_MEMBER_(kind, name)
#define FIELD_MEMBER_(kind, name)   FIELD_TYPE_##kind name;
#define FIELD_ROW(type, kind, name) FIELD_ROW_(type, kind, name)
#define FIELD_ROW_(type, kind, name)                                           \
	{STR_INIT(#name), FIELD_##kind, offsetof(type, name)},

/* FIELD_IF_##where(...): the arguments for a field of the ledger, else none. */
#define FIELD_IF_LEDGER(...) __VA_ARGS__
#define FIELD_IF_RARE(...)   __VA_ARGS__
#define FIELD_IF_INNER(...)

#endif
