/*
 * media: images, audio, token counts, realtime sessions and calls.
 */
#include "media.h"

#include "text.h"

#include <stdlib.h>

enum { IMAGE_BYTES = 600000, SOUND_BYTES = 70000, SECRET_RANDOM = 24 };

/* The usage comes after the picture (azure.md 4.7). */
static void answer_image(struct exchange *x)
{
	struct sb out = {0};
	char *image = xmalloc(IMAGE_BYTES);

	for (size_t i = 0; i < IMAGE_BYTES; i++)
		image[i] = (char)(i * 7 + i / 251);
	sb_lit(&out, "{\"created\":1763800000,\"data\":[{\"b64_json\":\"");
	sb_b64(&out, image, IMAGE_BYTES);
	sb_lit(&out, "\"}],\"size\":\"1024x1024\",\"usage\":{\"total_tokens\":"
	             "1306,\"input_tokens\":250,\"output_tokens\":1056,"
	             "\"input_tokens_details\":{\"text_tokens\":50,"
	             "\"image_tokens\":200}}}");
	free(image);
	http_answer(x, 200, "application/json", &out);
}

static void answer_text(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"text\":\"Hello there.\",\"usage\":{\"type\":"
	             "\"tokens\",\"input_tokens\":14,\"input_token_details\":"
	             "{\"text_tokens\":4,\"audio_tokens\":10},"
	             "\"output_tokens\":45,\"total_tokens\":59}}");
	http_answer(x, 200, "application/json", &out);
}

static void answer_sound(struct exchange *x)
{
	struct sb out = {0};
	char *sound = xmalloc(SOUND_BYTES);

	for (size_t i = 0; i < SOUND_BYTES; i++)
		sound[i] = (char)i;
	sb_add(&out, sound, SOUND_BYTES);
	free(sound);
	http_answer(x, 200, "audio/mpeg", &out);
}

static void answer_count(struct exchange *x)
{
	struct sb out = {0};

	sb_fmt(&out,
	       "{\"object\":\"response.input_tokens\",\"input_tokens\":%zu}",
	       x->body.len / 4);
	http_answer(x, 200, "application/json", &out);
}

static void answer_compact(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"id\":\"resp_");
	sb_rnd_alnum(&out, 24);
	sb_lit(&out, "\",\"object\":\"response.compaction\",\"output\":[],"
	             "\"usage\":{\"input_tokens\":139,\"output_tokens\":438,"
	             "\"total_tokens\":577}}");
	http_answer(x, 200, "application/json", &out);
}

/* The secret of a session: random text and a sum of it with the resource's
 * name, so that it is known again there and nowhere else. */
static void add_secret(struct exchange *x, const char *random, struct sb *out)
{
	const char *host = http_header(x, "host");
	struct sb sum = {0};

	sb_fmt(&sum, "%s at %s", random, host ? host : "");
	sb_fmt(out, "ek_%s", random);
	sb_sha256_hex(out, sum.p, sum.len);
	sb_free(&sum);
}

static void add_new_secret(struct exchange *x, struct sb *out)
{
	struct sb random = {0};

	sb_rnd_alnum(&random, SECRET_RANDOM);
	add_secret(x, random.p, out);
	sb_free(&random);
}

static void answer_secret(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"value\":\"");
	add_new_secret(x, &out);
	sb_lit(&out, "\",\"expires_at\":1763800000,\"session\":{\"type\":"
	             "\"realtime\",\"object\":\"realtime.session\"}}");
	http_answer(x, 200, "application/json", &out);
}

static void answer_session(struct exchange *x)
{
	struct sb out = {0};

	sb_lit(&out, "{\"id\":\"sess_");
	sb_rnd_alnum(&out, 24);
	sb_lit(&out, "\",\"object\":\"realtime.session\",\"client_secret\":"
	             "{\"value\":\"");
	add_new_secret(x, &out);
	sb_lit(&out, "\",\"expires_at\":1763800000}}");
	http_answer(x, 200, "application/json", &out);
}

static bool is_our_secret(struct exchange *x, const char *header)
{
	static const char scheme[] = "Bearer ek_";
	size_t n = sizeof(scheme) - 1;
	char random[SECRET_RANDOM + 1];
	struct sb want = {0};
	bool is;

	if (header == NULL || strncmp(header, scheme, n) != 0 ||
	    strlen(header + n) < SECRET_RANDOM)
		return false;
	memcpy(random, header + n, SECRET_RANDOM);
	random[SECRET_RANDOM] = 0;
	sb_lit(&want, "Bearer ");
	add_secret(x, random, &want);
	is = strcmp(header, want.p) == 0;
	sb_free(&want);
	return is;
}

/* WebRTC: an offer comes, an answer goes. No other credential counts. */
static void answer_call(struct exchange *x)
{
	struct sb out = {0};

	if (!is_our_secret(x, http_header(x, "authorization"))) {
		sb_lit(&out, "{\"error\":{\"code\":\"401\",\"message\":"
		             "\"Realtime session ephemeral token is "
		             "invalid\"}}");
		http_answer(x, 401, "application/json", &out);
		return;
	}
	http_set(x, "Location", "/v1/realtime/calls/rtc_1");
	sb_lit(&out, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=answer\r\n");
	http_answer(x, 201, "application/sdp", &out);
}

bool media_is_call(const char *path, size_t len)
{
	static const char end[] = "/realtime/calls";
	size_t n = sizeof(end) - 1;

	return len >= n && memcmp(path + len - n, end, n) == 0;
}

bool media_answer(struct exchange *x, const char *path, size_t len)
{
	static const struct {
		const char *path;
		void (*answer)(struct exchange *x);
	} table[] = {
		{"images/generations", answer_image},
		{"images/edits", answer_image},
		{"audio/transcriptions", answer_text},
		{"audio/translations", answer_text},
		{"audio/speech", answer_sound},
		{"responses/input_tokens", answer_count},
		{"responses/compact", answer_compact},
		{"v1/messages/count_tokens", answer_count},
		{"realtime/client_secrets", answer_secret},
		{"realtime/sessions", answer_session},
		{"realtime/transcription_sessions", answer_session},
		{"realtime/calls", answer_call},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (strlen(table[i].path) == len &&
		    memcmp(table[i].path, path, len) == 0) {
			table[i].answer(x);
			return true;
		}
	return false;
}
