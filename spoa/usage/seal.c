/* usage/seal: proves that a ticket is one of ours, and of which request. */
#include "usage/seal.h"

#include "keys/jose.h"

#include <assert.h>
#include <stdlib.h>

/* The first byte of a seal. */
enum seal_key_id { SEAL_LOCAL = 0, SEAL_SHARED = 1 };

struct seal_key {
	bool known;
	uint8_t bytes[SEAL_KEY_LEN];
};

struct seal {
	struct seal_key local, shared;
	struct seal_key previous; /* of `shared`: requests under way have it */
};

struct seal *seal_new(const uint8_t *local)
{
	struct seal *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	memcpy(s->local.bytes, local, SEAL_KEY_LEN);
	s->local.known = true;
	return s;
}

void seal_free(struct seal *s)
{
	if (!s)
		return;
	explicit_bzero(s, sizeof(*s));
	free(s);
}

void seal_set_shared(void *seal, const uint8_t *key)
{
	struct seal *s = seal;

	if (s->shared.known && memcmp(s->shared.bytes, key, SEAL_KEY_LEN) == 0)
		return;
	s->previous = s->shared;
	memcpy(s->shared.bytes, key, SEAL_KEY_LEN);
	s->shared.known = true;
}

/* The zero byte cannot be in an id, so no two pairs of id and bytes are the
 * same message. */
static void seal_mac(const struct seal_key *key, struct str id,
                     struct str bytes, uint8_t mac[SEAL_MAC_LEN])
{
	char message[SEAL_ID_MAX + 1 + SEAL_BYTES_MAX];
	uint8_t full[JOSE_HMAC_LEN];
	size_t n = id.len;

	assert(id.len <= SEAL_ID_MAX && bytes.len <= SEAL_BYTES_MAX);
	memcpy(message, id.p, id.len);
	message[n++] = '\0';
	memcpy(message + n, bytes.p, bytes.len);
	jose_hmac_sha256(str_of((const char *)key->bytes, SEAL_KEY_LEN),
	                 str_of(message, n + bytes.len), full);
	memcpy(mac, full, SEAL_MAC_LEN);
}

void seal_sign(const struct seal *s, struct str id, struct str bytes,
               uint8_t *out)
{
	out[0] = s->shared.known ? SEAL_SHARED : SEAL_LOCAL;
	seal_mac(s->shared.known ? &s->shared : &s->local, id, bytes, out + 1);
}

static bool seal_is_of(const struct seal_key *key, struct str id,
                       struct str bytes, struct str mac)
{
	uint8_t want[SEAL_MAC_LEN];

	if (!key->known)
		return false;
	seal_mac(key, id, bytes, want);
	return str_eq_secret(str_of((const char *)want, sizeof(want)), mac);
}

bool seal_verify(const struct seal *s, struct str id, struct str bytes,
                 struct str mac)
{
	struct str rest = str_from(mac, 1);

	if (mac.len != SEAL_LEN || id.len == 0 || id.len > SEAL_ID_MAX ||
	    bytes.len > SEAL_BYTES_MAX)
		return false;
	switch (mac.p[0]) {
	case SEAL_LOCAL:
		return seal_is_of(&s->local, id, bytes, rest);
	case SEAL_SHARED:
		return seal_is_of(&s->shared, id, bytes, rest) ||
		       seal_is_of(&s->previous, id, bytes, rest);
	default:
		return false;
	}
}
