"""A caller with an Entra token or a key gets an answer, and its usage is counted."""
import json

import pytest

from harness import APP, GATEWAY_KEY, STREAMED, header_value, header_values, request_id, sse_events, told_usage
from refusals import data_requests


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_plain_answer(gw, http2):
    token = gw.token()
    with gw.client(http2=http2) as client:
        answer = gw.chat(token=token, client=client)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "chat.completion"

    decision = gw.decision(request_id(answer))
    assert decision["verdict"] == "allow"
    assert decision["consumer"] == "demo" and decision["app"] == APP
    assert decision["model"] == "gpt-4o" and decision["deployment"] == "gpt-4o-east"

    usage = gw.usage(request_id(answer))
    assert int(usage["input"]) == body["usage"]["prompt_tokens"]
    assert int(usage["output"]) == body["usage"]["completion_tokens"]
    assert "estimated" not in usage


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_streamed_answer(gw, http2):
    with gw.client(http2=http2) as client:
        answer = gw.chat(client=client, **STREAMED)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert sse_events(answer.text)[-1] == "[DONE]"
    reported = told_usage(answer)
    usage = gw.usage(request_id(answer))
    assert int(usage["input"]) == reported["prompt_tokens"]
    assert int(usage["output"]) == reported["completion_tokens"]
    assert "estimated" not in usage


def test_upstream_sees_the_token_of_the_gateway_and_none_of_the_caller(gw):
    token = gw.token()
    answer = gw.chat(token=token, headers={"api-key": GATEWAY_KEY, "cookie": "a=b", "x-team-key": GATEWAY_KEY})
    assert answer.status_code == 200, answer.text
    (seen,) = data_requests(gw)
    assert header_value(seen, "authorization").startswith("Bearer eyJ")
    everything = json.dumps(seen)
    assert token not in everything and token.split(".")[2] not in everything
    assert GATEWAY_KEY not in everything
    for name in ("api-key", "x-api-key", "cookie", "x-team-key"):
        assert not header_values(seen, name)


def test_path_is_rewritten_to_the_deployment(gw):
    answer = gw.chat(model="gpt-4o-latest",
                     path="/openai/deployments/gpt-4o-latest/chat/completions?api-version=2024-06-01")
    assert answer.status_code == 200, answer.text
    (seen,) = data_requests(gw)
    assert seen["path"] == "/openai/deployments/gpt-4o-east/chat/completions"
    assert "api-version=2024-06-01" in seen["query"]


def test_bucket_of_a_minute_holds_no_more_than_the_limit(gw):
    """It refills while the test runs, so its level is not exact: test_limits has exact sums."""
    answer = gw.chat()
    assert answer.json()["usage"]["total_tokens"] > 0
    gw.usage(request_id(answer))
    (bucket,) = gw.limit_state("demo").values()
    assert int(bucket.split(":")[0]) <= 10000000 * 1000  # in thousandths of a token


@pytest.mark.parametrize("name, value", [
    ("api-key", GATEWAY_KEY), ("x-api-key", GATEWAY_KEY), ("authorization", f"Bearer {GATEWAY_KEY}"),
    ("x-team-key", GATEWAY_KEY), ("x-team-key", f"Token {GATEWAY_KEY}"),
], ids=["api-key", "x-api-key", "bearer", "configured header", "configured header with a scheme"])
def test_gateway_key_in_each_header(gw, name, value):
    answer = gw.chat(token="", headers={name: value})
    assert answer.status_code == 200, answer.text
    assert gw.decision(request_id(answer))["consumer"] == "developers"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_anthropic_messages(gw, stream):
    answer = gw.post("/anthropic/v1/messages", headers={"anthropic-version": "2023-06-01"}, json={
        "model": "claude-sonnet-4-5", "max_tokens": 100, "stream": stream,
        "messages": [{"role": "user", "content": "Hi"}]})
    assert answer.status_code == 200, answer.text
    usage = gw.usage(request_id(answer))
    assert int(usage["input"]) > 0 and int(usage["output"]) > 0
    assert "estimated" not in usage


@pytest.mark.parametrize("path, model, counted, told", [
    ("embeddings", "text-embedding-3-small", "input", "prompt_tokens"),
    ("responses", "gpt-4o-mini", "output", "output_tokens")], ids=["embeddings", "responses"])
def test_embeddings_and_responses(gw, path, model, counted, told):
    answer = gw.post(f"/openai/v1/{path}", json={"model": model, "input": "x"})
    assert answer.status_code == 200, answer.text
    assert int(gw.usage(request_id(answer))[counted]) == answer.json()["usage"][told]
