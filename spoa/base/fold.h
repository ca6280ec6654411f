/*
 * base/fold: names as the most liberal reader compares them.
 *
 * Some readers of JSON and of forms do not tell apart names that differ in
 * letter case, by their own idea of letter case: Go's encoding/json uses
 * Unicode simple case folding ("max_to\u212aens" is max_tokens to it),
 * System.Text.Json and ASP.NET ignore case where they are told to, Python's
 * str.casefold() is full case folding, and in Turkish locales two more letters
 * become an i. A name that any of them takes for a known one must not pass for
 * an unknown one.
 *
 * Source: Unicode CaseFolding.txt, statuses C, S, F and T: all code points
 * that fold to ASCII letters alone.
 */
#ifndef BASE_FOLD_H
#define BASE_FOLD_H

#include "base/str.h"

/* True when `text` folds to `name`, which must be lower-case ASCII. Also true
 * when they are equal. Bytes of `text` that are no valid UTF-8 equal nothing.
 */
bool fold_eq(struct str name, struct str text);

#endif
