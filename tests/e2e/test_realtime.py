"""What a session over a WebSocket has used, read from the frames that pass."""
import json

import pytest

from harness import bearer
from steps import with_objects
from websocket import WebSocket

PATH = "/openai/v1/realtime?model=gpt-realtime"
CREATE = b'{"type":"response.create"}'


@pytest.fixture
def gw(shared_stack):
    return shared_stack(change=with_objects)


def session(gw, talk, **headers):
    with WebSocket(gw, PATH, {**bearer(gw.token()), **headers}) as ws:
        assert ws.status == 101, ws.head
        assert json.loads(ws.hear())["type"] == "session.created"
        talk(ws)
    return gw.usage(ws.header("x-request-id"))


def counts(line):
    return tuple(int(line.get(k, 0)) for k in ("input", "cached", "output", "audio"))


@pytest.mark.parametrize("responses", (1, 3))
def test_responses_are_added_up(gw, responses):
    def talk(ws):
        for _ in range(responses):
            ws.say(CREATE)
            assert json.loads(ws.hear())["response"]["usage"]["total_tokens"] == 150

    line = session(gw, talk)
    assert counts(line) == (100 * responses, 20 * responses, 50 * responses, 100 * responses)
    assert "estimated" not in line


def test_transcription_counts_and_audio_is_passed_over(gw):
    """The simulator repeats what it hears, so the test says what the service would."""
    def talk(ws):
        usage = b'"usage":{"type":"tokens","total_tokens":22,"input_tokens":13,"input_token_details":' \
                b'{"text_tokens":0,"audio_tokens":13},"output_tokens":9}'
        done = b'{"type":"conversation.item.input_audio_transcription.completed","item_id":"i",%s}' % usage
        for text in (done, b'{"type":"response.output_audio.delta","delta":"%s",%s}' % (b"QUJD" * 10000, usage), done,
                     b'{"type":"session.updated","session":{%s}}' % usage,
                     b'{"type":"conversation.item.added","item":{%s}}' % usage):
            ws.say(text)
            assert ws.hear() == text

    assert counts(session(gw, talk)) == (26, 0, 18, 26)


def test_caller_cannot_ask_for_compression(gw):
    def talk(ws):
        ws.say(CREATE)
        ws.hear()

    line = session(gw, talk, **{"Sec-WebSocket-Extensions": "permessage-deflate"})
    assert counts(line)[:3] == (100, 20, 50)
    assert not [h for h in gw.sim.requests()[-1]["headers"] if h[0].lower() == "sec-websocket-extensions"]
