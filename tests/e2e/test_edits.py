"""Bodies that the gateway changes: the tests compare every byte that the resource and the client
received with what they should have."""
import concurrent.futures
import contextlib
import hashlib
import json
import re
import threading

import httpx
import pytest

from harness import CHAT, PATIENCE, STREAMED, bearer, header_values, request_id, sse_events
from origin import BREAK, GONE, OriginStack

KB = 1000
ASK = '"stream_options":{"include_usage":true}'


def models(config):
    at = lambda name, surface, **more: [{"resource": "east", "name": name, "surface": surface, **more}]
    config["models"] = {
        "public": {"aliases": ["nickname"], "deployments": at("gpt-4o-x", "v1")},
        "gpt-4o-mini": {"deployments": at("gpt-4o-mini", "v1")},
        "dated": {"deployments": at("gpt-4o-dated", "azure")},
        "proud": {"deployments": at("proud", "v1"), "ask_usage": False},
        "phi": {"deployments": at("phi-4", "models")},
        "claude": {"deployments": at("claude-x", "anthropic"), "adapt": {"cap_output_tokens": 50}},
        "reasoner": {
            "deployments": at("o-east", "v1"),
            "adapt": {
                "max_tokens": "max_completion_tokens",
                "reasoning_effort": {"none": "low", "minimal": None},
                "drop": ["temperature", "top_p"],
                "cap_output_tokens": 1000,
            },
        },
    }
    config["rules"] = [{"name": "all", "effect": "allow"}]
    config["limits"]["demo-tokens"]["amount"] = 1000000000


@pytest.fixture
def gw(shared_stack):
    return shared_stack(change=models)


def seen(gw):
    return [r for r in gw.sim.requests() if r["method"] == "POST"]


def arrived(gw, want):
    """The resource received one request, with exactly this body."""
    (got,) = seen(gw)
    want = want.encode()
    assert got["body"] == want[: len(got["body"].encode())].decode(errors="ignore")
    assert got["body_size"] == len(want)
    assert got["body_sha256"] == hashlib.sha256(want).hexdigest()
    return got


def pieces(body, size):
    body = body.encode()
    return iter([body[i : i + size] for i in range(0, len(body), size)])


def padding(n):
    return '"messages":[{"role":"user","content":"' + "x" * n + '"}]'


def is_extra(data):
    """The event is the chunk that only requests with include_usage get."""
    if data == "[DONE]":
        return False
    chunk = json.loads(data)
    return chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)


def check_stream(gw, answer):
    """The stream has no extra chunk, but its usage was counted."""
    assert answer.status_code == 200, answer.text
    events = sse_events(answer.text)
    assert events[-1] == "[DONE]" and "prompt_filter_results" in events[0]
    assert not any(map(is_extra, events))
    assert not re.search(r"\n\n\n", answer.text)
    usage = gw.usage(request_id(answer))
    assert "estimated" not in usage and int(usage["output"]) > 0
    return usage


# ------------------------------------------------------------ asking for usage


@pytest.mark.parametrize("size", [0, 100, 20 * KB, 200 * KB])
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_usage_is_asked_for_and_its_chunk_removed(gw, http2, chunked, size):
    body = '{"model":"gpt-4o-mini","stream":true,' + padding(size) + "}"
    with gw.client(http2=http2) as client:
        answer = gw.chat(client=client, content=pieces(body, 7 * KB + 1) if chunked else body)
    check_stream(gw, answer)
    got = arrived(gw, "{" + ASK + "," + body[1:])
    lengths = header_values(got, "content-length")
    assert lengths in ([str(got["body_size"])], []) and bool(lengths) != chunked


@pytest.mark.parametrize(
    "given, want",
    [
        ('"stream_options":null', ASK),
        ('"stream_options":{}', ASK),
        ('"stream_options": { }', '"stream_options": {"include_usage":true }'),
        ('"stream_options":{"include_obfuscation":false}',
         '"stream_options":{"include_usage":true,"include_obfuscation":false}'),
        ('"stream_options":{"include_usage":false}', ASK),
        ('"stream_options":{"include_usage" : null}', '"stream_options":{"include_usage" : true}'),
        ('"stream_opti\\u006fns":{"includ\\u0065_usage":false}',
         '"stream_opti\\u006fns":{"includ\\u0065_usage":true}'),
    ],
)
def test_stream_options_of_the_client_are_kept(gw, given, want):
    body = '{"model":"gpt-4o-mini",%s,"stream":true,' + padding(5) + "}"
    check_stream(gw, gw.chat(content=body % given))
    arrived(gw, body % want)


def test_client_that_asked_for_usage_gets_its_chunk(gw):
    body = '{"model":"gpt-4o-mini","stream":true,%s,%s}' % (ASK, padding(5))
    answer = gw.chat(content=body)
    assert is_extra(sse_events(answer.text)[-2])
    arrived(gw, body)


@pytest.mark.parametrize(
    "model, path",
    [
        ("proud", CHAT),  # switched off
        ("dated", "/openai/deployments/dated/chat/completions?api-version=2024-06-01"),
        ("dated", "/openai/deployments/dated/chat/completions?api-version=2024-08-01-preview"),
        ("phi", "/models/chat/completions?api-version=2024-05-01-preview"),
    ],
)
def test_usage_is_not_asked_for_where_the_resource_does_not_support_it(gw, model, path):
    name = {"phi": "phi-4"}.get(model, model)
    body = '{"model":"%s","stream":true,%s}'
    answer = gw.chat(path=path, content=body % (model, padding(5)))
    assert answer.status_code == 200, answer.text
    assert gw.usage(request_id(answer))["estimated"]
    arrived(gw, body % (name, padding(5)))


@pytest.mark.parametrize("version", ["2024-10-21", "2024-09-01-preview", "2025-03-01-preview"])
def test_usage_is_asked_for_in_dated_versions_that_support_it(gw, version):
    body = '{"stream":true,' + padding(5) + "}"
    check_stream(gw, gw.chat(path=f"/openai/deployments/dated/chat/completions?api-version={version}", content=body))
    arrived(gw, "{" + ASK + "," + body[1:])


def test_usage_is_not_asked_for_with_data_sources(gw):
    body = '{"model":"gpt-4o-mini","data_sources":[{}],"stream":true,' + padding(5) + "}"
    assert gw.usage(request_id(gw.chat(content=body)))["estimated"]
    arrived(gw, body)


def test_stream_of_many_events_is_complete(gw):
    gw.sim.defaults(tokens=2000)
    text = lambda answer: "".join(
        c["delta"].get("content") or "" for e in sse_events(answer.text)[:-1] for c in json.loads(e)["choices"])
    plain = gw.chat(model="gpt-4o-mini", **STREAMED)
    stripped = gw.chat(model="gpt-4o-mini", stream=True)
    usage = check_stream(gw, stripped)
    assert text(stripped) == text(plain) and int(usage["output"]) == 2000
    assert len(sse_events(plain.text)) == len(sse_events(stripped.text)) + 1


def test_no_event_is_held_back(gw):
    """The client receives every event that the resource sent before it stalled."""
    gw.sim.fault(stall_after_events=6, stall_forever=True)
    body = '{"model":"gpt-4o-mini","stream":true,' + padding(5) + "}"
    with stream(gw, content=body) as answer:
        got = ""
        for text in answer.iter_text():
            got += text
            if got.count("\n\n") == 6:
                break
        assert got.endswith("\n\n")
    assert gw.usage(request_id(answer))["estimated"]


def test_64_streams_at_once(gw):
    body = '{"model":"public","stream":true,' + padding(30 * KB) + "}"
    token = gw.token()
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda i: gw.chat(token=token, content=body), range(64)))
    for answer in answers:
        check_stream(gw, answer)
    want = ("{" + ASK + "," + body[1:]).replace('"public"', '"gpt-4o-x"').encode()
    assert {r["body_sha256"] for r in seen(gw)} == {hashlib.sha256(want).hexdigest()}


# ----------------------------------------------------------------- model names


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("size", [0, 200 * KB])
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_model_is_renamed(gw, http2, size, last):
    parts = ['"model" : "nickname"', padding(size)]
    body = "{ " + " ,\n".join(parts[::-1] if last else parts) + "}"
    with gw.client(http2=http2) as client:
        answer = gw.chat(client=client, content=body)
    assert answer.status_code == 200, answer.text
    arrived(gw, body.replace('"nickname"', '"gpt-4o-x"'))
    decision = gw.decision(request_id(answer))
    assert decision["model"] == "public" and decision["deployment"] == "gpt-4o-x"
    assert "estimated" not in gw.usage(request_id(answer))


def test_escaped_key_of_the_model_is_found(gw):
    gw.chat(content='{"mod\\u0065l":"nicknam\\u0065",' + padding(5) + "}")
    arrived(gw, '{"mod\\u0065l":"gpt-4o-x",' + padding(5) + "}")


@pytest.mark.parametrize("given, want", [("", '"model":"gpt-4o-x",'), ('"model":null,', '"model":"gpt-4o-x",'),
                                         ('"model":"gpt-4o-mini",', '"model":"gpt-4o-x",')])
def test_model_of_the_path_is_put_into_the_body(gw, given, want):
    answer = gw.chat(path="/openai/deployments/public/chat/completions", content="{" + given + padding(5) + "}")
    assert answer.status_code == 200, answer.text
    arrived(gw, "{" + want + padding(5) + "}")


@pytest.mark.parametrize("again", ['"model":"gpt-4o-mini"', '"mod\\u0065l":"gpt-4o-mini"', '"Model":"gpt-4o-mini"'])
def test_second_model_behind_the_one_that_is_renamed_is_refused(gw, again):
    answer = gw.chat(content='{"model":"public",' + padding(5) + "," + again + "}")
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_json"
    assert not seen(gw)


@pytest.mark.parametrize("path", [CHAT, "/openai/deployments/public/chat/completions"], ids=["in body", "in path"])
def test_second_model_behind_what_the_agent_sees_is_refused(gw, path):
    body = '{"model":"public",' + padding(300 * KB) + ',"model":"gpt-4o-mini"}'
    assert gw.chat(path=path, content=body).status_code == 413
    assert not seen(gw)


def test_models_of_responses_and_messages_are_renamed(gw):
    answer = gw.post("/openai/v1/responses", json={"model": "public", "input": "x"})
    assert answer.status_code == 200, answer.text
    answer = gw.post("/v1/messages", json={"model": "claude", "max_tokens": 60,
                                           "messages": [{"role": "user", "content": "x"}]})
    assert answer.status_code == 200, answer.text
    first, second = (json.loads(r["body"]) for r in seen(gw))
    assert first == {"model": "gpt-4o-x", "input": "x"}
    assert second["model"] == "claude-x" and second["max_tokens"] == 50


@pytest.mark.parametrize("model", ["gpt-4o-mini", "public"], ids=["as it came", "renamed"])
def test_response_of_a_renamed_model_can_be_read(gw, model):
    made = gw.post("/openai/v1/responses", json={"model": model, "input": "x"})
    assert made.status_code == 200, made.text
    again = gw.get(f"/openai/v1/responses/{made.json()['id']}")
    assert again.status_code == 200, again.text
    assert again.json()["id"] == made.json()["id"]
    assert int(gw.usage(request_id(made))["output"]) == made.json()["usage"]["output_tokens"]


# ------------------------------------------------------------------ parameters


@pytest.mark.parametrize(
    "given, want",
    [
        ('{"max_tokens":5,"temperature":1,"messages":[],"top_p":0.5,"model":"reasoner"}',
         '{"max_completion_tokens":5,"messages":[],"model":"o-east"}'),
        ('{"temperature":1,"top_p":2,"model":"reasoner","max_completion_tokens":2000}',
         '{"model":"o-east","max_completion_tokens":1000}'),
        ('{"model":"reasoner","reasoning_effort":"none","max_tokens":null}',
         '{"model":"o-east","reasoning_effort":"low","max_completion_tokens":1000}'),
        ('{"reasoning_effort":"minimal","model":"reasoner","max_tokens":9,"max_completion_tokens":8}',
         '{"model":"o-east","max_completion_tokens":8}'),
        ('{"reasoning_effort":"high","model":"reasoner" , "temperature" : 0 }',
         '{"max_completion_tokens":1000,"reasoning_effort":"high","model":"o-east" }'),
    ],
)
def test_parameters_are_adapted_to_the_model(gw, given, want):
    answer = gw.chat(content=given)
    assert answer.status_code == 200, answer.text
    arrived(gw, want)


# ------------------------------- an origin that sends what the test tells it to

CHUNK = 'data: {"choices":[{"delta":{"content":"%s"},"index":0}],"usage":null}\n\n'
FILTERED = 'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n'
EXTRA = 'data: {"choices":[],"created":1,"usage":{"completion_tokens":7,"prompt_tokens":9,"total_tokens":16}}\n\n'
DONE = "data: [DONE]\n\n"


@pytest.fixture
def played(shared_stack):
    stack = shared_stack(change=models, kind=OriginStack)
    return stack, stack.origin


@contextlib.contextmanager
def stream(stack, http2=False, content='{"model":"public","stream":true,"messages":[]}'):
    head = {**bearer(stack.token()), "content-type": "application/json"}
    with stack.client(http2=http2) as client:
        with client.stream("POST", CHAT, content=content, headers=head) as answer:
            yield answer


def ask(stack, http2=False):
    with stream(stack, http2) as answer:
        return request_id(answer), b"".join(answer.iter_raw()).decode()


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_extra_chunk_is_removed_wherever_it_is_cut(played, http2, end):
    stack, origin = played
    text = (FILTERED + CHUNK % "a" + EXTRA + CHUNK % "late" + DONE).replace("\n", end)
    want = text.replace(EXTRA.replace("\n", end), "")
    first = text.index(EXTRA.replace("\n", end)) - 3
    for cut in range(first, first + len(EXTRA) + 8):
        origin.script = [text[:cut], text[cut : cut + 1], text[cut + 1 :]]
        ident, got = ask(stack, http2)
        assert got == want, cut
        assert stack.usage(ident)["output"] == "7"
    origin.script = list(text)  # each byte alone
    ident, got = ask(stack, http2)
    assert got == want
    assert stack.usage(ident)["output"] == "7"


def test_stream_without_its_last_line_end_is_complete(played):
    stack, origin = played
    for end in ("data:", 'data: {"choices"', 'data: {"choices":[]', 'data: {"choices":[],"usage":null}'):
        origin.script = [CHUNK % "a", end]
        assert ask(stack)[1] == CHUNK % "a" + end
    origin.script = [CHUNK % "a", EXTRA.strip()]
    ident, got = ask(stack)
    assert got == CHUNK % "a" and stack.usage(ident)["output"] == "7"


def test_only_the_beginning_of_the_extra_chunk_is_held_back(played):
    """The origin sends the next event only when the client has received the last one."""
    stack, origin = played
    texts = [FILTERED, CHUNK % "a", CHUNK % '\\"choices\\":[]', ": comment\n\n"]
    gates = [threading.Event() for _ in texts]
    origin.script = [x for pair in zip(texts, gates) for x in pair]
    half = threading.Event()
    origin.script += [EXTRA[:40], half, EXTRA[40:], DONE]
    with stream(stack) as answer:
        got, raw = "", answer.iter_raw()
        for text, gate in zip(texts, gates):
            while not got.endswith(text):
                got += next(raw).decode()
            gate.set()
        half.set()
        got += b"".join(raw).decode()
    assert got == "".join(texts) + DONE


def test_client_leaves_while_an_event_is_held_back(played):
    stack, origin = played
    origin.gone.clear()
    origin.script = [CHUNK % "a", EXTRA[:60], GONE]
    with stream(stack) as answer:
        ident = request_id(answer)
        assert next(answer.iter_raw()).decode() == CHUNK % "a"
    assert origin.gone.wait(PATIENCE), "the upstream was not cancelled"
    assert stack.usage(ident)["estimated"]
    origin.script = [CHUNK % "a", EXTRA, DONE]
    assert ask(stack)[1] == CHUNK % "a" + DONE


def test_upstream_closes_inside_the_extra_chunk(played):
    stack, origin = played
    origin.script = [CHUNK % "a", EXTRA[:60], BREAK]
    with pytest.raises(httpx.TransportError):
        ask(stack)
    origin.script = [CHUNK % "a", EXTRA, DONE]
    assert ask(stack)[1] == CHUNK % "a" + DONE
