"""The usage object of every API, as its documentation shows it. An answer takes one of two ways:
HAProxy's rules read it when it is short JSON (backend r.*), the Lua filter when it is a stream or
when its request was edited (backend s.*)."""
import json

import pytest

from harness import STREAMED, request_id
from origin import OriginStack

LONG = "QUJD" * 300000
CHAT = ('"usage":{"completion_tokens":2,"completion_tokens_details":{"accepted_prediction_tokens":0,"audio_tokens":0,'
        '"reasoning_tokens":1},"prompt_tokens":1706,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":1664},'
        '"total_tokens":1708}')
RESPONSE = ('"usage":{"input_tokens":37,"input_tokens_details":{"cached_tokens":30},"output_tokens":11,'
            '"output_tokens_details":{"reasoning_tokens":4},"total_tokens":48}')
AUDIO = ('"usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},'
         '"output_tokens":45,"total_tokens":59}')
SCHEMA = '"tools":[{"parameters":{"properties":{"usage":{"total_tokens":1,"input_tokens":999}}}}]'

JSON = {
    "chat": ('{"choices":[{"message":{"content":"a"}}],%s}' % CHAT, (1706, 1664, 2)),
    "response": ('{"id":"r",%s,%s,"user":null,"metadata":{}}' % (SCHEMA, RESPONSE), (37, 30, 11)),
    "embeddings": ('{"data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":8,"total_tokens":8}}', (8, 0, 0)),
    "image": ('{"data":[{"b64_json":"QUJD"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,'
              '"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}', (50, 0, 50)),
    "transcription": ('{"text":"I see",%s}' % AUDIO, (14, 0, 45)),
    "duration": ('{"text":"I see","usage":{"type":"duration","seconds":9}}', (0, 0, 0)),
    "pretty": ('{\n  "choices": [],\n  "usage" : {\n    "prompt_tokens": 5,\n    "completion_tokens": 6\n  }\n}\n',
               (5, 0, 6)),
}

# What the caller has sent is repeated in the answer, at any place and any depth.
FAKES = ('"x"', "null", '{"prompt_tokens":1,"input_tokens":1}', '[{"usage":{"input_tokens":1}}]')
for n, fake in enumerate(FAKES):
    metadata = '"metadata":{"usage":%s}' % fake
    JSON[f"metadata behind {n}"] = "{%s,%s}" % (RESPONSE, metadata), (37, 30, 11)
    JSON[f"metadata before {n}"] = "{%s,%s}" % (metadata, CHAT), (1706, 1664, 2)
    JSON[f"metadata around {n}"] = ('{"tools":[{%s}],%s,"x":[{%s}],%s}' % (metadata, RESPONSE, metadata, metadata),
                                    (37, 30, 11))
for levels in (30, 300, 3000):  # json_query ends at 20; the JIT's stack at about 700, then Lua counts
    deep = '"tools":' + '{"usage":[' * levels + '{"usage":{"input_tokens":1}}' + "]}" * levels
    JSON[f"behind {2 * levels} levels"] = '{%s,%s,"user":null}' % (deep, RESPONSE), (37, 30, 11)
    JSON[f"before {2 * levels} levels"] = '{%s,%s}' % (RESPONSE, deep), (37, 30, 11)
JSON["behind 180 kB"] = ('{"instructions":"%s",%s,"metadata":{"usage":"x"}}' % (r'\"usage\":{ ' * 15000, RESPONSE), (37, 30, 11))

SSE = {
    "responses": (
        'event: response.created\ndata: {"type":"response.created","response":{"id":"r",%s,"usage":null}}\n\n'
        'event: response.completed\ndata: {"type":"response.completed","response":{"output":[{"text":"%s"}],%s,%s,'
        '"user":null,"metadata":{"long":"%s"}},"sequence_number":9}\n\n'
        % (SCHEMA, "x" * 9000, SCHEMA, RESPONSE, "y" * 9000), (37, 30, 11)),
    "image": ('event: image_generation.completed\ndata: {"type":"image_generation.completed","b64_json":"%s",'
              '"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50}}\n\n' % LONG, (50, 0, 50)),
    "transcription": ('data: {"type":"transcript.text.delta","delta":" of"}\n\n'
                      'data: {"type":"transcript.text.done","text":"of",%s}\n\n' % AUDIO, (14, 0, 45)),
    "speech": ('data: {"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,'
               '"total_tokens":115}}\n\n', (14, 0, 101)),
    "chat": ('data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\r\n\r\ndata: {"choices":[],%s}\r\n\r\n'
             'data: [DONE]\r\n\r\n' % CHAT, (1706, 1664, 2)),
}


def one_model(config):
    config["models"] = {"same": {"aliases": ["nickname"], "deployments": [{"resource": "east", "surface": "v1"}]}}
    config["rules"] = [{"name": "all", "effect": "allow"}]


def claude(config):
    config["models"] = {"claude": {"deployments": [{"resource": "east", "surface": "anthropic"}]}}
    config["rules"] = [{"name": "all", "effect": "allow"}]


@pytest.fixture
def played(shared_stack):
    stack = shared_stack(change=one_model, kind=OriginStack)
    return stack, stack.origin


def charged(stack, **request):
    answer = stack.chat(**request)
    assert answer.status_code == 200, answer.text
    decision, usage = stack.decision(request_id(answer)), stack.usage(request_id(answer))
    assert "estimated" not in usage
    return decision["backend"], tuple(int(usage[k]) for k in ("input", "cached", "output")), answer.text


@pytest.mark.parametrize("name", JSON)
def test_usage_of_a_json_answer(played, name):
    stack, origin = played
    text, want = JSON[name]
    origin.kind = "application/json; charset=utf-8"
    for pieces in ([text], [text[:50], text[50:]]):
        origin.script = pieces
        assert charged(stack, model="same") == ("r.east", want, text)
        assert charged(stack, model="nickname") == ("s.east", want, text)


@pytest.mark.parametrize("name", SSE)
def test_usage_of_a_stream(played, name):
    stack, origin = played
    text, want = SSE[name]
    origin.kind = "text/event-stream"
    step = max(1, len(text) // 40)
    for pieces in ([text], [text[i : i + step] for i in range(0, len(text), step)]):
        origin.script = pieces
        assert charged(stack, model="same", **STREAMED) == ("s.east", want, text)


@pytest.mark.parametrize("held", ("held", "passing"))
def test_usage_behind_the_buffer(played, held):
    """A response that is longer than HAProxy's buffer, also where the rules waited for it to learn its id: what the
    request sends along is repeated in it."""
    stack, origin = played
    origin.kind = "application/json"
    text = '{"id":"resp_1","instructions":"%s",%s,"metadata":{"usage":"x"}}' % (r"\"usage\":{ " * 30000, RESPONSE)
    origin.script = [text[i : i + 50000] for i in range(0, len(text), 50000)]
    body = {"model": "nickname", "input": "x" * 70000, "store": held == "held"}
    for model in ("nickname", "same"):
        answer = stack.request("POST", "/openai/v1/responses", json={**body, "model": model})
        assert answer.status_code == 200 and answer.text == text
        usage = stack.usage(request_id(answer))
        assert tuple(int(usage[k]) for k in ("input", "cached", "output")) == (37, 30, 11)
        assert "estimated" not in usage


def anthropic_usage(n):
    """n iterations with all of their members. The first is a compaction, which the outermost
    members leave out."""
    run = {"cache_creation": {"ephemeral_1h_input_tokens": 40, "ephemeral_5m_input_tokens": 60},
           "cache_creation_input_tokens": 100, "cache_read_input_tokens": 2000, "input_tokens": 3,
           "model": "claude-opus-4-6", "output_tokens": 500, "type": "message"}
    outer = {k: run[k] * (n - 1) for k in ("input_tokens", "output_tokens", "cache_read_input_tokens",
                                           "cache_creation_input_tokens")}
    return {**outer, "iterations": [{**run, "type": "compaction"}] + [run] * (n - 1)}


@pytest.mark.parametrize("n", [2, 14, 28])
@pytest.mark.parametrize("stream", [False, True])
def test_iterations_of_anthropic_are_summed(shared_stack, stream, n):
    """A usage of several thousand bytes arrives whole, on both ways."""
    stack = shared_stack(change=claude, kind=OriginStack)
    usage = json.dumps(anthropic_usage(n), separators=(",", ":"))
    stack.origin.kind = "text/event-stream" if stream else "application/json"
    stack.origin.script = [
        'event: message_start\ndata: {"type":"message_start","message":{"id":"m","usage":'
        '{"input_tokens":3,"output_tokens":1}}}\n\n',
        'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":%s}\n\n' % usage,
    ] if stream else ['{"id":"m","type":"message","content":[],"usage":%s}' % usage]
    answer = stack.post("/anthropic/v1/messages", headers={"anthropic-version": "2023-06-01"},
                        json={"model": "claude", "max_tokens": 9, "stream": stream,
                              "messages": [{"role": "user", "content": "hi"}]})
    assert answer.status_code == 200, answer.text
    told = stack.usage(request_id(answer))
    assert "estimated" not in told
    assert {k: int(told[k]) for k in ("input", "cached", "output", "cache_write_5m", "cache_write_1h")} == {
        "input": 2103 * n, "cached": 2000 * n, "output": 500 * n, "cache_write_5m": 60 * n, "cache_write_1h": 40 * n}
