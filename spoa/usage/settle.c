/*
 * usage/settle: what a datagram of HAProxy is, and what follows from it.
 *
 *   settle_datagram -> record_parse -> stl_classify -> stl_kinds[kind].handle
 *
 *   other       not a usage line                     nothing
 *   malformed   cannot be read, or another version   nothing, or a log line
 *   forged      its ticket is not of this request    nothing
 *   undecided   HAProxy had no decision              reservation given back
 *   refused     the agent refused it                 nothing
 *   open        a background response has begun      objects bound
 *   shown       shows the usage of an earlier one    both settled
 *   ended       all others                           settled
 *
 * The first word is the `result` label of foundry_usage_records_total; the last
 * two are counted by usage/settlement when the store has answered.
 */
#include "usage/settle.h"

#include "base/log.h"
#include "store/objects.h"
#include "store/open_reservations.h"
#include "store/reservation.h"
#include "usage/count.h"
#include "usage/record.h"
#include "usage/seal.h"
#include "usage/settlement.h"

enum {
	/* HAProxy processes of both versions may send for a while, as old ones
	 * end their streams. After this time without a line of another version
	 * the state has changed, and the next one is logged again. */
	SETTLE_VERSION_CALM_US = 60 * 1000000,
};

/* One datagram while it is handled. */
struct stl_arrival {
	struct settler *settler;
	struct str datagram;
	struct usage_record rec; /* zeroed when it could not be read */
};

enum stl_kind {
	STL_OTHER = 0,
	STL_MALFORMED = 1,
	STL_OTHER_VERSION = 2,
	STL_FORGED = 3,
	STL_UNDECIDED = 4,
	STL_REFUSED = 5,
	STL_OPEN = 6,
	STL_SHOWN = 7,
	STL_ENDED = 8,
};

/* ---------------------------------------------------------- classification */

/* A ticket came that this agent, or another node, has not made for the request
 * with this id. */
static bool stl_is_forged(const struct seal *seal,
                          const struct usage_record *rec)
{
	return rec->proof.mac.len > 0 &&
	       !seal_verify(seal, rec->id, rec->proof.bytes, rec->proof.mac);
}

/* HAProxy had no decision. Then it has refused, and nothing was sent. */
static bool stl_is_undecided(const struct usage_record *rec)
{
	return rec->verdict.len == 0 &&
	       str_eq(rec->code, STR("decision_unavailable"));
}

/* A background response is answered at once, without a usage: the reservation
 * of the request that asked for it stays open, and with that the estimate
 * charged. */
static bool stl_is_left_open(const struct usage_record *rec)
{
	return rec->ticket.origin.len > 0 &&
	       str_eq(rec->ticket.origin, rec->id) && !rec->has_usage &&
	       rec->status >= 200 && rec->status < 300;
}

/* A later request has asked for a background response and got its usage. */
static bool stl_shows_origin(const struct usage_record *rec)
{
	return rec->ticket.origin.len > 0 &&
	       !str_eq(rec->ticket.origin, rec->id) && rec->has_usage;
}

static enum stl_kind stl_classify(const struct seal *seal,
                                  enum record_status st,
                                  const struct usage_record *rec)
{
	if (st == RECORD_OTHER)
		return STL_OTHER;
	if (st == RECORD_OTHER_VERSION)
		return STL_OTHER_VERSION;
	if (st != RECORD_OK)
		return STL_MALFORMED;
	if (stl_is_forged(seal, rec))
		return STL_FORGED;
	if (stl_is_undecided(rec))
		return STL_UNDECIDED;
	/* without a ticket there is no account, so no reservation */
	if (rec->ticket.account.len == 0 || !str_eq(rec->verdict, STR("allow")))
		return STL_REFUSED;
	if (stl_is_left_open(rec))
		return STL_OPEN;
	return stl_shows_origin(rec) ? STL_SHOWN : STL_ENDED;
}

/* ---------------------------------------------------------------- handlers */

static void stl_ignore(struct stl_arrival *a)
{
	(void)a;
}

/* Somebody has upgraded the agent, but not what HAProxy runs. */
static void stl_warn_version(struct stl_arrival *a)
{
	struct settler *s = a->settler;

	if (!s->other_version)
		log_error("usage",
		          "msg=\"usage lines are not of the version that this "
		          "agent reads (%d): haproxy.cfg is that of another "
		          "agent. Nothing is settled, every request stays "
		          "charged with its estimate. Export haproxy.cfg again "
		          "(export-haproxy) and reload HAProxy\"",
		          RECORD_VERSION);
	s->other_version = true;
	s->other_version_us = clock_mono_us(s->clock);
}

/* A line of this version has come. */
static void stl_note_version(struct settler *s)
{
	if (!s->other_version || clock_mono_us(s->clock) - s->other_version_us <
	                                 SETTLE_VERSION_CALM_US)
		return;
	s->other_version = false;
	log_info("usage", "msg=\"usage lines are of version %d again\"",
	         RECORD_VERSION);
}

/* HAProxy does not wait for this decision any more. When it was made all the
 * same, it did not arrive: what it had reserved is given back. When it was not
 * made yet, open_reservations_add() will find the mark that is left here. Such
 * a record has no ticket to prove it; the nonce does, which HAProxy has told to
 * the agent in the NOTIFY and to nobody else. */
static void stl_abandon(struct stl_arrival *a)
{
	struct settler *s = a->settler;
	struct usage_record *rec = &a->rec;
	struct open_reservation_copy f;

	if (!open_reservations_abandon(s->open, rec->id, rec->nonce, &f,
	                               clock_mono_us(s->clock)))
		return;
	/* the ticket did not arrive either */
	rec->ticket.consumer = f.to.consumer;
	rec->ticket.model = f.to.model;
	count_end(s->metrics, s->policy, rec);
	reservation_give_back(s->memory, s->redis, f.to.account, rec->id,
	                      f.to.worker >= 0);
	log_info("usage",
	         "id=%" STR_FMT " consumer=%" STR_FMT
	         " msg=\"the decision did not arrive: nothing was sent, the "
	         "reservation is given back\"",
	         STR_ARG(rec->id), STR_ARG(f.to.consumer));
}

/* What follows from the end of every allowed request. Objects of streams and of
 * answers that are read while they pass are bound here, because their id was
 * not known before. */
static void stl_end(struct stl_arrival *a)
{
	struct settler *s = a->settler;
	const struct usage_record *rec = &a->rec;
	const struct object o = {.owner = rec->ticket.owner,
	                         .resource = rec->ticket.resource,
	                         .model = rec->ticket.model,
	                         .origin = rec->ticket.origin};

	count_end(s->metrics, s->policy, rec);
	if (rec->object.len > 0 && o.owner.len > 0)
		objects_bind(s->objects, rec->object, &o, NULL, NULL);
}

static void stl_settle(struct stl_arrival *a)
{
	stl_end(a);
	settlement_start(a->settler, &a->rec);
}

/* The usage that is shown settles the reservation of the request that asked for
 * the response. The store does so once, however often it is shown. The line is
 * read a second time, because each settlement owns its record. */
static void stl_settle_both(struct stl_arrival *a)
{
	struct usage_record rec;

	stl_end(a);
	if (record_parse(a->datagram, &rec) == RECORD_OK) {
		rec.id = rec.ticket.origin;
		rec.ticket.counted = true;
		rec.object = STR_NONE;
		settlement_start(a->settler, &rec);
	}
	settlement_start(a->settler, &a->rec);
}

/* `result` NULL: counted when it is settled. A handler may hand the record over
 * to a settlement; what is left of it is freed after the handler. */
static const struct {
	const char *result;
	void (*handle)(struct stl_arrival *a);
} stl_kinds[] = {
	[STL_OTHER] = {"other", stl_ignore},
	[STL_MALFORMED] = {"malformed", stl_ignore},
	[STL_OTHER_VERSION] = {"malformed", stl_warn_version},
	[STL_FORGED] = {"forged", stl_ignore},
	[STL_UNDECIDED] = {"undecided", stl_abandon},
	[STL_REFUSED] = {"refused", stl_ignore},
	[STL_OPEN] = {"open", stl_end},
	[STL_SHOWN] = {NULL, stl_settle_both},
	[STL_ENDED] = {NULL, stl_settle},
};

void settle_datagram(void *settler, struct str datagram)
{
	struct stl_arrival a = {.settler = settler, .datagram = datagram};
	enum record_status st = record_parse(datagram, &a.rec);
	enum stl_kind kind = stl_classify(a.settler->seal, st, &a.rec);

	if (st == RECORD_OK)
		stl_note_version(a.settler);
	if (stl_kinds[kind].result)
		count_record(a.settler->metrics, stl_kinds[kind].result);
	stl_kinds[kind].handle(&a);
	record_done(&a.rec);
}

void settle_forget(struct settler *s)
{
	settlement_forget(s);
}
