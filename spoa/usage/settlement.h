/*
 * usage/settlement: one settlement on its way to the store and back.
 *
 *   settlement_start -> record_charge -> memory? Redis? -> smt_conclude
 *                         ledger line                        |
 *                       counters, usage line in the log, learned ratio, ledger
 *
 * Private to usage/settle, which decides what is settled.
 */
#ifndef USAGE_SETTLEMENT_H
#define USAGE_SETTLEMENT_H

#include "usage/record.h"

struct settler;

/* Settle the reservation with the record's id and account. The record is handed
 * over: *rec owns nothing afterwards (record_done() is harmless). What comes of
 * it is counted by its result: settled, estimated, unknown (no such reservation
 * is open: a replay, a forgery, or settled elsewhere) or dropped (the store
 * could not be told: the estimate stays charged). */
void settlement_start(struct settler *s, struct usage_record *rec);

/* Drop all that wait for the store. */
void settlement_forget(struct settler *s);

#endif
