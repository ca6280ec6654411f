/*
 * usage/seal: proves that a ticket is one of ours, and of which request.
 *
 *   ticket_write: bytes --seal_sign--> key id, MAC     in the ACK
 *   settle:       bytes, key id, MAC --seal_verify-->  believed, or "forged"
 *
 * Usage lines come by UDP on loopback: any process of the host can send one,
 * and every caller knows the id of its own requests (x-request-id). A line
 * counts only with a ticket whose MAC is right for the line's id. The ticket
 * never leaves HAProxy but in the usage line.
 *
 * The MAC is HMAC-SHA256 (RFC 2104) over the id, a zero byte and the bytes of
 * the ticket, cut to 128 bits. There are two keys:
 *
 *   SEAL_LOCAL   made at the start, known to the workers of this process alone:
 *                used until the other one is known, and without Redis
 *   SEAL_SHARED  the same on all nodes (store/shared_key), so that any worker
 *                of any node can settle, also one that was started later
 *
 * When the shared key changes, tickets under the previous one stay valid.
 */
#ifndef USAGE_SEAL_H
#define USAGE_SEAL_H

#include "base/str.h"

enum {
	SEAL_KEY_LEN = 32,
	SEAL_MAC_LEN = 16,
	SEAL_LEN = 1 + SEAL_MAC_LEN, /* key id, MAC */
	SEAL_ID_MAX = 128,           /* as request/request reads */
	SEAL_BYTES_MAX = 4096,       /* more than a ticket may have */
};

struct seal;

/* `local` is SEAL_KEY_LEN random bytes, copied. NULL without memory. */
struct seal *seal_new(const uint8_t *local);
void seal_free(struct seal *s); /* wipes the keys; accepts NULL */

/* The key of all nodes, SEAL_KEY_LEN bytes, from now on. The form in which
 * store/shared_key tells it: `seal` is a struct seal. */
void seal_set_shared(void *seal, const uint8_t *key);

/* SEAL_LEN bytes into `out`: of these bytes, for the request with this id.
 * Neither may be longer than the maximum above. */
void seal_sign(const struct seal *s, struct str id, struct str bytes,
               uint8_t *out);

/* Whether `mac` is what seal_sign() makes or made, with a key that is still
 * known. Compares in constant time. False for any other length. */
bool seal_verify(const struct seal *s, struct str id, struct str bytes,
                 struct str mac);

#endif
