/*
 * usage/ticket: what the agent wants back at the end of a request.
 *
 *   struct ticket --tkt_pack--> bytes + seal --b64url_write--> text
 *   struct ticket <-tkt_unpack- bytes | seal <--b64url_read--- text
 *
 * The seal is cut off here and verified by usage/settle, which knows the id.
 */
#include "usage/ticket.h"

#include "base/b64url.h"
#include "base/utf8.h"
#include "spop/value.h"
#include "usage/seal.h"

#define TKT_ROW(kind, name, where) FIELD_ROW(struct ticket, kind, name)
static const struct field tkt_fields[] = {TICKET_FIELDS(TKT_ROW)};
#undef TKT_ROW

enum { TKT_N_FIELDS = sizeof(tkt_fields) / sizeof(*tkt_fields) };

_Static_assert(TKT_N_FIELDS < 240, "one byte as varint");

/* The texts of a ticket go to the ledger, to metrics and to log lines. Those
 * escape what they print, but a name with a control character was made to
 * deceive somebody. */
static bool tkt_is_text(struct str s)
{
	while (s.len > 0) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = utf8_len(s);

		if (n == 0 || c < ' ' || c == 0x7f)
			return false;
		s = str_from(s, n);
	}
	return true;
}

static void tkt_pack(const struct ticket *t, struct buf *out)
{
	value_write_varint(out, TICKET_VERSION);
	value_write_varint(out, TKT_N_FIELDS);
	for (size_t i = 0; i < TKT_N_FIELDS; i++) {
		const void *at = (const char *)t + tkt_fields[i].at;
		struct str text;

		switch (tkt_fields[i].kind) {
		case FIELD_TEXT:
			text = *(const struct str *)at;
			value_write_string(out,
			                   tkt_is_text(text) ? text : STR_NONE);
			break;
		case FIELD_COUNT:
			value_write_varint(out, *(const uint64_t *)at);
			break;
		case FIELD_FLAG:
			value_write_varint(out, *(const bool *)at);
			break;
		case FIELD_OPERATION:
			value_write_varint(out,
			                   *(const enum api_operation *)at);
			break;
		case FIELD_SIGNED: /* not of a ticket */
		case FIELD_TICKET:
			out->failed = true;
			break;
		}
	}
}

/* One value into the member at `at`. An unacceptable one latches the cursor's
 * error, as the end of the bytes does. */
static void tkt_unpack_one(struct cursor *c, enum field_kind kind, void *at)
{
	struct str text;
	uint64_t n;

	if (kind == FIELD_TEXT) {
		text = cursor_string(c);
		c->bad = c->bad || !tkt_is_text(text);
		*(struct str *)at = text;
		return;
	}
	n = cursor_varint(c);
	switch (kind) {
	case FIELD_COUNT:
		*(uint64_t *)at = n;
		break;
	case FIELD_FLAG:
		c->bad = c->bad || n > 1;
		*(bool *)at = n == 1;
		break;
	case FIELD_OPERATION:
		c->bad = c->bad || n >= API_N_OPERATIONS;
		*(enum api_operation *)at =
			c->bad ? API_NONE : (enum api_operation)n;
		break;
	default:
		c->bad = true;
	}
}

static bool tkt_unpack(struct str bytes, struct ticket *out)
{
	struct cursor c = cursor_of(bytes);
	uint64_t version = cursor_varint(&c);
	uint64_t n = cursor_varint(&c);

	if (c.bad || version != TICKET_VERSION || n > TKT_N_FIELDS)
		return false;
	for (uint64_t i = 0; i < n; i++)
		tkt_unpack_one(&c, tkt_fields[i].kind,
		               (char *)out + tkt_fields[i].at);
	return !c.bad && cursor_left(&c) == 0;
}

bool ticket_write(const struct ticket *t, const struct seal *seal,
                  struct str id, struct buf *out)
{
	uint8_t mac[SEAL_LEN];
	char space[TICKET_BYTES_MAX];
	struct buf bytes = {
		.p = space, .cap = sizeof(space), .max = sizeof(space)};

	tkt_pack(t, &bytes);
	if (!bytes.failed) {
		seal_sign(seal, id, buf_str(&bytes), mac);
		buf_add(&bytes, mac, sizeof(mac));
	}
	if (bytes.failed) {
		out->failed = true;
		return false;
	}
	return b64url_write(out, buf_str(&bytes));
}

bool ticket_read(struct str text, char *room, struct ticket *out,
                 struct ticket_proof *proof)
{
	struct ticket t = {.consumer = STR_NONE};
	size_t len;

	if (!b64url_read(text, room, &len) || len > TICKET_BYTES_MAX ||
	    len < SEAL_LEN)
		return false;
	len -= SEAL_LEN;
	if (!tkt_unpack(str_of(room, len), &t))
		return false;
	*out = t;
	*proof = (struct ticket_proof){str_of(room, len),
	                               str_of(room + len, SEAL_LEN)};
	return true;
}
