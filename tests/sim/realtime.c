/*
 * realtime: a WebSocket that repeats what it hears (RFC 6455). To
 * response.create it answers with a response and its usage, as OpenAI documents
 * response.done: 100 tokens in, of which 60 are audio and 20 cached, and 50
 * out, of which 40 are audio.
 */
#include "realtime.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME_MAX = 65536 };

struct session {
	ev_io io;
	struct ev_loop *loop;
	struct MHD_UpgradeResponseHandle *handle;
	struct sb in;
};

static void end(struct session *s)
{
	ev_io_stop(s->loop, &s->io);
	/* libmicrohttpd closes it when it runs the next time */
	shutdown(s->io.fd, SHUT_RDWR);
	MHD_upgrade_action(s->handle, MHD_UPGRADE_ACTION_CLOSE);
	sb_free(&s->in);
	free(s);
}

/* Its usage is in the shape of the API reference. */
static const char response_done[] =
	"{\"type\":\"response.done\",\"event_id\":\"event_1\",\"response\":"
	"{\"object\":\"realtime.response\",\"id\":\"resp_1\",\"status\":"
	"\"completed\",\"status_details\":null,\"output\":[{\"id\":\"item_1\","
	"\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\","
	"\"content\":[{\"type\":\"output_audio\",\"transcript\":"
	"\"say \\\"usage\\\":{\\\"input_tokens\\\":1}\"}]}],\"usage\":"
	"{\"total_tokens\":150,\"input_tokens\":100,\"output_tokens\":50,"
	"\"input_token_details\":{\"text_tokens\":40,\"audio_tokens\":60,"
	"\"cached_tokens\":20,\"cached_tokens_details\":{\"text_tokens\":20,"
	"\"audio_tokens\":0}},\"output_token_details\":{\"text_tokens\":10,"
	"\"audio_tokens\":40}},\"metadata\":{\"usage\":\"x\"}}}";

static bool say(struct session *s, int first, const char *p, size_t len)
{
	struct sb out = {0};
	char head[4] = {(char)first, (char)len};
	size_t n = 2;
	bool ok;

	if (len > 125) {
		head[1] = 126;
		head[2] = (char)(len >> 8);
		head[3] = (char)len;
		n = 4;
	}
	sb_add(&out, head, n);
	sb_add(&out, p, len);
	ok = send(s->io.fd, out.p, out.len, MSG_NOSIGNAL) == (ssize_t)out.len;
	sb_free(&out);
	return ok;
}

static bool answer(struct session *s, int first, const char *p, size_t len)
{
	static const char asked[] = "{\"type\":\"response.create\"}";

	if (len == sizeof(asked) - 1 && memcmp(p, asked, len) == 0)
		return say(s, 0x81, response_done, sizeof(response_done) - 1);
	return say(s, first, p, len);
}

/* Send one complete frame of `in` back: 1 sent, 0 incomplete, -1 closed. */
static int repeat(struct session *s)
{
	unsigned char *p = (unsigned char *)s->in.p;
	size_t len, head = 6;

	if (s->in.len < 6)
		return 0;
	len = p[1] & 0x7f;
	if (len == 126) {
		head = 8;
		len = (size_t)p[2] << 8 | p[3];
	}
	if (len > FRAME_MAX || !(p[1] & 0x80))
		return -1;
	if (s->in.len < head + len)
		return 0;
	for (size_t i = 0; i < len; i++)
		p[head + i] ^= p[head - 4 + i % 4];
	if (!answer(s, p[0], (char *)p + head, len) || (p[0] & 0x0f) == 8)
		return -1;
	memmove(s->in.p, s->in.p + head + len, s->in.len - head - len);
	s->in.len -= head + len;
	return 1;
}

static void io_cb(struct ev_loop *loop, ev_io *io, int revents)
{
	struct session *s = io->data;
	char buf[4096];
	ssize_t n = recv(io->fd, buf, sizeof(buf), MSG_DONTWAIT);
	int res;

	(void)loop;
	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end(s);
		return;
	}
	sb_add(&s->in, buf, (size_t)n);
	do
		res = repeat(s);
	while (res > 0);
	if (res < 0)
		end(s);
}

static void upgraded_cb(void *cls, struct MHD_Connection *con, void *con_cls,
                        const char *extra, size_t n_extra, MHD_socket fd,
                        struct MHD_UpgradeResponseHandle *handle)
{
	static const char hello[] = "{\"type\":\"session.created\"}";
	struct session *s = xmalloc(sizeof(*s));

	(void)con;
	(void)con_cls;
	memset(s, 0, sizeof(*s));
	s->loop = cls;
	s->handle = handle;
	sb_add(&s->in, extra ? extra : "", n_extra);
	ev_io_init(&s->io, io_cb, fd, EV_READ);
	s->io.data = s;
	ev_io_start(s->loop, &s->io);
	say(s, 0x81, hello, sizeof(hello) - 1);
}

static void accept_key(const char *key, struct sb *out)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned len;
	struct sb s = {0};

	sb_z(&s, key);
	sb_lit(&s, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	EVP_Digest(s.p, s.len, hash, &len, EVP_sha1(), NULL);
	sb_b64(out, hash, len);
	sb_free(&s);
}

void realtime_answer(struct exchange *x)
{
	const char *key = http_header(x, "sec-websocket-key");
	const char *upgrade = http_header(x, "upgrade");
	struct sb out = {0};

	if (key == NULL || upgrade == NULL) {
		sb_lit(&out, "{\"error\":{\"message\":\"Upgrade required\"}}");
		http_answer(x, 426, "application/json", &out);
		return;
	}
	accept_key(key, &out);
	http_set(x, "Upgrade", "websocket");
	http_set(x, "Sec-WebSocket-Accept", out.p);
	sb_free(&out);
	http_upgrade(x, upgraded_cb, x->sim->loop);
}
