/*
 * usage/ticket: what the agent wants back at the end of a request.
 *
 *   decide/answer --ticket_write--> txn.gw.ticket --log-format--> usage line
 *                                                                     |
 *   usage/settle <--struct usage_record-- ticket_read <--usage/record-+
 *
 * The agent keeps nothing of a request after its ACK. Everything that charging,
 * the ledger and the metrics need later travels through HAProxy in one variable
 * that HAProxy prints and never looks into. So any worker of any node can
 * settle the request, also one that was started after it was decided.
 *
 * Text of a ticket: base64url without padding over
 *
 *   TICKET_VERSION and the number of fields, 1 byte each, then the fields in
 *   the order of the table:
 *     TEXT               varint length, bytes
 *     COUNT, OPERATION   varint (spop/cursor)
 *     FLAG               varint, 0 or 1
 *
 * and behind them the seal (usage/seal), SEAL_LEN bytes, which proves that the
 * ticket was made for the request with the id of the usage line.
 *
 * New rows go to the end of the table. A ticket of an older agent then has
 * fewer fields, of which the missing ones are absent: requests that are under
 * way while the agent is replaced are settled. Any other change of the table is
 * a new TICKET_VERSION.
 */
#ifndef USAGE_TICKET_H
#define USAGE_TICKET_H

#include "base/buf.h"
#include "usage/field.h"

struct seal;

enum {
	TICKET_VERSION = 1,
	/* Bytes before base64url: 4096 of a line, see RECORD_LINE_MAX. */
	TICKET_BYTES_MAX = 3072,
};

/* clang-format off */
#define TICKET_FIELDS(X)                                                       \
	/* who called; names of the policy, but app as in the token */         \
	X(TEXT, consumer, LEDGER)                                              \
	X(TEXT, app, LEDGER)                                                   \
	X(TEXT, agent, LEDGER)       /* of a trusted Foundry connection */     \
	X(TEXT, project, LEDGER)                                               \
	X(TEXT, account, INNER)      /* of the store: team or consumer */      \
	/* what was asked for, and where it ran */                             \
	X(OPERATION, operation, LEDGER)                                        \
	X(TEXT, model, LEDGER)       /* public name; empty: none */            \
	X(TEXT, deployment, LEDGER)                                            \
	X(TEXT, resource, LEDGER)                                              \
	X(FLAG, stream, LEDGER)                                                \
	/* what was reserved; prompt and reserved are 0 if not counted */      \
	X(FLAG, counted, INNER)      /* its tokens are charged to it */        \
	X(COUNT, prompt, INNER)      /* estimated tokens: charged when no      \
	                              * usage is reported */                   \
	X(COUNT, reserved, INNER)    /* prompt and output tokens */            \
	X(COUNT, text_bytes, INNER)  /* of the prompt, for usage/estimator; 0  \
	                              * if it was cut or had data URLs */      \
	/* objects that the answer makes */                                    \
	X(TEXT, owner, INNER)        /* whose they are; empty: makes none */   \
	X(TEXT, origin, INNER)       /* id of the request whose reservation    \
	                              * pays for a background response */
/* clang-format on */

struct ticket {
#define TICKET_MEMBER(kind, name, where) FIELD_MEMBER(kind, name)
	TICKET_FIELDS(TICKET_MEMBER)
#undef TICKET_MEMBER
};

/* What proves a ticket, for seal_verify(). Views into the room it was decoded
 * in. */
struct ticket_proof {
	struct str bytes; /* that were sealed */
	struct str mac;   /* SEAL_LEN bytes */
};

/* Append the text of `t`, sealed for the request `id`. A text of it that is not
 * valid UTF-8 or has a control character is written as empty, because
 * ticket_read() would refuse all of the ticket. False, with out->failed set,
 * when the ticket has more than TICKET_BYTES_MAX bytes or `out` has no room. */
bool ticket_write(const struct ticket *t, const struct seal *seal,
                  struct str id, struct buf *out);

/* Read what ticket_write() has made. Nothing of it may be believed before
 * seal_verify() has accepted *proof. The bytes are decoded into `room`, which
 * has at least text.len bytes, may be the memory of `text`, and must live as
 * long as *out: its texts point there. False, with *out untouched, for anything
 * that ticket_write() cannot have made: another version, a length beyond the
 * end, bytes behind the last field, more fields than the table has, an unknown
 * operation, a text with a control character or invalid UTF-8. */
bool ticket_read(struct str text, char *room, struct ticket *out,
                 struct ticket_proof *proof);

#endif
