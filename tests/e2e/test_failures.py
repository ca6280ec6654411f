"""Failures of Entra, Redis, the resources and the network: what callers see of them, and what is
charged.

Sums are exact: limits are per day, and what Redis holds at the end is compared with the usage
lines."""
import json
import signal
import uuid

import httpx
import pytest

from harness import CHAT, HELLO, fields, free_port, header_value, request_id, sse_events, wait_until
from steps import (Stream, by_day, error_code, fast_streams, open_records, retry_after, send_usage, slow_streams,
                   spent, tokens_of, usage_line, usage_records, used, wait_spent)


def fetches(stack, endpoint):
    return stack.sim.stats()["endpoints"][endpoint]


# ---------------------------------------------------------------- signing keys


def test_new_signing_key_works_at_once_and_the_old_one_still(make_stack):
    stack = make_stack()
    old = stack.token()
    before = fetches(stack, "jwks")
    stack.sim.rotate()
    new = stack.token()
    assert stack.chat(token=new).status_code == 200
    assert stack.chat(token=old).status_code == 200
    assert fetches(stack, "jwks") == before + 1


def test_token_of_a_dropped_key_is_refused_although_it_was_verified_before(make_stack):
    stack = make_stack()
    old = stack.token()
    assert stack.chat(token=old).status_code == 200
    stack.sim.rotate(drop_old=True)
    assert stack.chat(token=stack.token()).status_code == 200
    answer = stack.chat(token=old)
    assert answer.status_code == 401
    assert stack.decision(request_id(answer))["code"] == "token_unknown_key"


def test_flood_of_unknown_kids_asks_entra_once(make_stack):
    stack = make_stack()
    before = fetches(stack, "metadata"), fetches(stack, "jwks")
    with stack.client() as client:
        for _ in range(40):
            token = stack.sim.token(header={"kid": uuid.uuid4().hex})
            assert stack.chat(token=token, client=client).status_code == 401
        assert stack.chat(client=client).status_code == 200
    assert (fetches(stack, "metadata"), fetches(stack, "jwks")) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("endpoint", ["metadata", "jwks"])
def test_keys_cannot_be_loaded_at_the_start(make_stack, endpoint):
    stack = make_stack(before_agent=lambda s: s.sim.fault(match={"endpoint": endpoint}, status=500, times=-1),
                       ready=False)
    stack.children["agent"].wait_log("cannot load the signing keys")
    ready = stack.agent_get("/readyz")
    assert ready.status_code == 503 and "keys" in ready.text
    answer = stack.chat()
    assert answer.status_code == 503, answer.text
    assert error_code(answer) == "keys_unavailable"
    retry_after(answer)
    assert stack.agent_get("/healthz").status_code == 200
    stack.sim.clear_faults()
    stack.wait_served()
    assert stack.agent_get("/readyz").status_code == 200


def test_slow_signing_keys_at_the_start(make_stack):
    """The first caller waits as long as a decision may take, and is then refused."""
    stack = make_stack(before_agent=lambda s: s.sim.fault(match={"endpoint": "metadata"}, delay_ms=3000, times=2),
                       ready=False)
    answer = stack.chat()
    assert answer.status_code == 503, answer.text
    assert error_code(answer) == "decision_timeout"
    assert "signing keys" in answer.json()["error"]["message"]
    retry_after(answer)
    stack.wait_ready()
    assert stack.chat().status_code == 200


# ----------------------------------------------------------------------- Redis


def restart_redis(stack):
    """With the data that kill_redis() saved, as after an outage of the network."""
    stack.start_redis()
    stack.children["agent"].wait_log("msg=connected", after=stack.mark)


def kill_redis(stack):
    stack.redis.save()
    agent = stack.children["agent"]
    stack.mark = agent.mark()
    stack.children["redis"].stop(signal.SIGKILL)
    agent.wait_log("no connection", after=stack.mark)


@pytest.mark.parametrize("policy", ["local", "allow", "deny"])
def test_redis_goes_and_comes_back(make_stack, policy):
    def change(config):
        by_day(config, on_store_failure=policy)
        config["redis"]["required"] = False

    stack = make_stack(change=change)
    first = stack.chat()
    slow_streams(stack)
    stream = Stream(stack).wait_begun()
    kill_redis(stack)
    assert stream.running()
    fast_streams(stack)

    during = stack.chat()
    if policy == "deny":
        assert during.status_code == 503
        assert error_code(during) == "limit_store_unavailable"
        retry_after(during)
        assert stack.decision(request_id(during))["limit"] == "demo-tokens"
    else:
        assert during.status_code == 200, during.text
        assert used(stack, during) == during.json()["usage"]["total_tokens"]
    assert stream.complete()
    wait_until("the stream's settle to wait", lambda: stack.metric("foundry_store_writes_pending") == 1)
    assert stack.agent_get("/readyz").status_code == 200

    restart_redis(stack)
    sum_of_both = used(stack, first, stream.id)
    assert spent(stack) == sum_of_both
    after = stack.chat()
    assert after.status_code == 200
    assert spent(stack) >= sum_of_both
    sum_of_all = sum_of_both + used(stack, after)
    assert spent(stack) == sum_of_all
    assert open_records(stack) == set()
    assert stack.metric("foundry_store_writes_pending") == 0


def test_required_redis_makes_the_agent_not_ready(make_stack):
    stack = make_stack(change=by_day)
    kill_redis(stack)
    answer = wait_until("not ready", lambda: (a := stack.agent_get("/readyz")).status_code == 503 and a)
    assert "redis" in answer.text.lower()
    restart_redis(stack)
    stack.wait_ready()


def test_local_limits_hold_while_redis_is_away(make_stack):
    def change(config):
        by_day(config, on_store_failure="local", amount=600)
        config["redis"]["required"] = False

    stack = make_stack(change=change)
    kill_redis(stack)
    # the estimate of the prompt and 580 tokens fit into 600 only while nothing was used
    first = stack.chat(max_tokens=580)
    assert first.status_code == 200, first.text
    assert used(stack, first) > 10
    refused = stack.chat(max_tokens=580)
    assert refused.status_code == 429, refused.text
    retry_after(refused)
    assert stack.chat(max_tokens=20).status_code == 200


def test_redis_hangs_and_wakes_up(make_stack):
    """The commands that Redis reads after it woke up are of requests that were decided without it."""
    def change(config):
        by_day(config, on_store_failure="local")
        config["redis"]["required"] = False

    stack = make_stack(change=change)
    first = stack.chat()
    sum_before = used(stack, first)
    slow_streams(stack)
    stream = Stream(stack).wait_begun()
    fast_streams(stack)
    with stack.children["redis"].frozen():
        during = [stack.chat() for _ in range(4)]
        assert [a.status_code for a in during] == [200] * 4
        assert used(stack, *during) > 0
        assert stream.complete()
    total = sum_before + used(stack, stream.id)
    wait_spent(stack, total)
    wait_until("nothing left open", lambda: open_records(stack) == set())
    after = stack.chat()
    assert used(stack, after) == after.json()["usage"]["total_tokens"]
    wait_spent(stack, total + used(stack, after))
    stack.check_alive()


# --------------------------------------------------- credential of the gateway


def stack_without_token(make_stack, change=None, **fault):
    return make_stack(change=change, ready=False,
                      before_agent=lambda stack: stack.sim.fault(match={"endpoint": "imds"}, **fault))


def wait_keys(stack):
    """Afterwards a refusal cannot be about missing signing keys."""
    stack.children["agent"].wait_log("ver=2.0 .*signing keys loaded")
    stack.children["agent"].wait_log("ver=1.0 .*signing keys loaded")


def test_slow_identity_endpoint_at_the_start(make_stack):
    stack = stack_without_token(make_stack, delay_ms=4000, times=1)
    wait_keys(stack)
    answer = stack.chat()
    assert answer.status_code == 503, answer.text
    assert error_code(answer) == "decision_timeout"
    assert "outbound token" in answer.json()["error"]["message"]
    retry_after(answer)
    ready = stack.agent_get("/readyz")
    assert ready.status_code == 503, ready.text
    stack.wait_ready()
    assert stack.chat().status_code == 200


@pytest.mark.parametrize("status", [404, 410, 429, 500])
def test_identity_endpoint_not_ready_yet(make_stack, status):
    """Statuses at which IMDS asks its clients to try again."""
    stack = stack_without_token(make_stack, status=status, times=1, change=by_day)
    stack.children["agent"].wait_log(rf"outbound .*status={status}")
    wait_keys(stack)
    answer = stack.chat()
    if answer.status_code != 200:
        assert answer.status_code == 503, answer.text
        assert error_code(answer) in ("upstream_credential_unavailable", "decision_timeout")
        retry_after(answer)
    stack.wait_ready()
    after = stack.chat()
    assert after.status_code == 200
    served = [a for a in (answer, after) if a.status_code == 200]
    wait_spent(stack, used(stack, *served))


def test_log_names_an_identity_that_does_not_exist(make_stack):
    stack = stack_without_token(
        make_stack, times=-1, status=400,
        body={"error": "invalid_request", "error_description": "Identity not found"})
    line = fields(stack.children["agent"].wait_log(r"(?m)^\S+ error outbound .*$").group(0))
    assert line["credential"] == "mi" and line["status"] == "400"
    assert "Identity not found" in line["said"]
    assert "check it in the config and in Azure" in line["msg"]
    wait_keys(stack)
    answer = stack.chat()
    assert answer.status_code == 503
    assert error_code(answer) == "upstream_credential_unavailable"
    retry_after(answer)


def test_token_is_renewed_before_it_ends(make_stack):
    """When half of its life has passed, so that there is time to try again."""
    stack = make_stack(before_agent=lambda s: s.sim.defaults(token_lifetime_s=25))
    assert fetches(stack, "imds") == 1
    assert stack.chat().status_code == 200
    stack.sim.wait(imds=2)
    upstream_token = lambda: header_value(stack.sim.requests("data")[-1], "authorization")
    first = upstream_token()
    wait_until("the new token in use", lambda: stack.chat().status_code == 200 and upstream_token() != first)
    assert stack.metric("foundry_requests_total", verdict="deny") == 0


# ------------------------------------------------------------------- upstream


@pytest.fixture
def day(shared_stack):
    return shared_stack(change=by_day)


def test_client_goes_away_during_a_stream(day):
    slow_streams(day, tokens=2000, event_delay_ms=20)
    stream = Stream(day).wait_begun()
    stream.hang_up()
    day.sim.wait(gone=1, streams_open=0)  # the upstream was cancelled
    line = day.usage(stream.id)
    assert line["estimated"] == "true"
    events = day.sim.requests("data")[0]["events"]
    assert 0 < int(line["output"]) <= events < 2000
    assert int(line["output"]) == int(line["events"])
    assert spent(day) == tokens_of(line)
    assert open_records(day) == set()


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 2000}}


@pytest.mark.parametrize("content, at_least", [("Hello", 1), ([{"type": "text", "text": "See"}] + 3 * [PICTURE], 3 * 765)],
                         ids=["text", "pictures"])
def test_client_goes_away_before_the_first_byte(day, content, at_least):
    """It pays for the prompt, as much as was reserved for it."""
    day.sim.fault(match={"endpoint": "data"}, delay_ms=20000)
    mark = day.children["agent"].mark()
    with pytest.raises(httpx.ReadTimeout):
        day.post(CHAT, timeout=2, json={"model": "gpt-4o", "messages": [{"role": "user", "content": content}]})
    line = day.next_line("usage ", after=mark)
    assert line["termination"].startswith("C")
    assert line["estimated"] == "true" and line["output"] == "0"
    assert line["input"] == day.decision(line["id"])["prompt"]
    assert int(line["input"]) > at_least
    wait_spent(day, int(line["input"]))


def test_upstream_cuts_a_stream(day):
    slow_streams(day, tokens=50, event_delay_ms=20)
    day.sim.fault(match={"endpoint": "data"}, cut_after_events=10)
    stream = Stream(day).finish()
    assert stream.status == 200 and "[DONE]" not in stream.text
    line = day.usage(stream.id)
    assert line["estimated"] == "true"
    # the filter does not see what comes together with the end of the connection
    seen = len(sse_events(stream.text))
    assert int(line["events"]) in range(seen + 1)
    assert int(line["output"]) == max(int(line["events"]), int(line["bytes"]) // 512) > 0
    assert spent(day) == used(day, stream.id) > 10


def test_upstream_cuts_a_plain_answer(day):
    day.sim.fault(match={"endpoint": "data"}, cut_after_bytes=40)
    mark = day.children["agent"].mark()
    with pytest.raises(httpx.RemoteProtocolError):
        day.chat()
    line = day.next_line("usage ", after=mark)
    assert line["estimated"] == "true"
    assert spent(day) == tokens_of(line) > 0
    assert open_records(day) == set()


def test_upstream_pauses_in_a_stream(day):
    day.sim.fault(match={"endpoint": "data"}, stall_ms=1500, stall_after_events=5)
    stream = Stream(day)
    assert stream.complete()
    line = day.usage(stream.id)
    assert "estimated" not in line
    assert spent(day) == tokens_of(line)


def test_upstream_stalls_for_ever_and_the_client_leaves(day):
    day.sim.fault(match={"endpoint": "data"}, stall_forever=True, stall_after_events=5)
    stream = Stream(day, timeout=2).finish()
    assert isinstance(stream.error, httpx.ReadTimeout)
    line = day.usage(stream.id)
    assert line["estimated"] == "true" and int(line["output"]) == int(line["events"]) > 0
    assert spent(day) == tokens_of(line)
    day.sim.wait(gone=1, streams_open=0)


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_errors_of_the_upstream_pass_and_cost_nothing(day, status):
    text = json.dumps({"error": {"code": "teapot", "message": f"as the upstream says: {status}"}})
    day.sim.fault(match={"endpoint": "data"}, status=status, body=text, headers={"x-ms-own": "kept"})
    answer = day.chat()
    assert answer.status_code == status
    assert answer.text == text and answer.headers["x-ms-own"] == "kept"
    line = day.usage(request_id(answer))
    assert line["input"] == line["output"] == "0" and line["status"] == str(status)
    assert spent(day) == 0 and open_records(day) == set()


def test_error_in_the_middle_of_a_stream_is_settled(day):
    day.sim.fault(match={"endpoint": "data"}, fail_after_events=7)
    stream = Stream(day).finish()
    assert stream.status == 200
    line = day.usage(stream.id)
    assert line["estimated"] == "true"
    assert spent(day) == tokens_of(line) > 0


def siblings(config):
    by_day(config)
    config["models"]["gpt-4o"]["deployments"] = [
        {"resource": "east", "name": "gpt-4o-first", "surface": "azure", "priority": 1},
        {"resource": "west", "name": "gpt-4o-second", "surface": "azure", "priority": 2},
    ]


def served_by(stack, answer):
    return stack.decision(request_id(answer))["deployment"]


@pytest.mark.parametrize("headers", [{"retry-after": "30"}, {"retry-after-ms": "30000"},
                                     {"retry-after": "1", "retry-after-ms": "30000"}],
                         ids=["seconds", "milliseconds", "both"])
def test_throttled_deployment_is_passed_over(make_stack, headers):
    stack = make_stack(change=siblings)
    text = json.dumps({"error": {"code": "429", "message": "Please retry after 30 seconds."}})
    stack.sim.fault(match={"deployment": "gpt-4o-first"}, status=429, body=text, headers=headers)
    answer = stack.chat()
    assert answer.status_code == 429 and answer.text == text
    for name, value in headers.items():
        assert answer.headers[name] == value
    stack.children["agent"].wait_log(f"upstream id={request_id(answer)} .*status=429 retry_after_ms=30000")
    later = [stack.chat() for _ in range(3)]
    assert [a.status_code for a in later] == [200] * 3
    assert {served_by(stack, a) for a in later} == {"gpt-4o-second"}

    stack.sim.fault(match={"deployment": "gpt-4o-second"}, status=429, body=text, retry_after=90)
    second = stack.chat()
    assert second.status_code == 429
    stack.children["agent"].wait_log(f"upstream id={request_id(second)} ")
    before = stack.sim.stats()["requests"]
    busy = stack.chat()
    assert busy.status_code == 429
    assert error_code(busy) == "upstream_busy"
    # until the first one opens, not the second
    assert 1 <= retry_after(busy) <= 30
    assert stack.sim.stats()["requests"] == before
    wait_spent(stack, used(stack, *later))
    assert open_records(stack) == set()


def test_cooled_deployment_is_used_again(make_stack):
    stack = make_stack(change=siblings)
    stack.sim.fault(match={"deployment": "gpt-4o-first"}, status=429, headers={"retry-after-ms": "300"})
    answer = stack.chat()
    assert answer.status_code == 429
    wait_until("the first one to be used again", lambda: served_by(stack, stack.chat()) == "gpt-4o-first")


def test_deployment_is_not_passed_over_for_a_day(make_stack):
    stack = make_stack(change=siblings)
    stack.sim.fault(match={"deployment": "gpt-4o-first"}, status=429, retry_after=86400)
    answer = stack.chat()
    assert answer.status_code == 429 and answer.headers["retry-after"] == "86400"
    stack.children["agent"].wait_log(f"upstream id={request_id(answer)} ")
    assert served_by(stack, stack.chat()) == "gpt-4o-first"


@pytest.mark.parametrize("status", [408, 500, 503])
def test_failing_deployment_is_used_after_its_sibling(make_stack, status):
    stack = make_stack(change=siblings)
    stack.sim.fault(match={"deployment": "gpt-4o-first"}, status=status)
    answer = stack.chat()
    assert answer.status_code == status
    stack.children["agent"].wait_log(f"upstream id={request_id(answer)} ")
    assert served_by(stack, stack.chat()) == "gpt-4o-second"


def test_upstream_cannot_be_reached(make_stack):
    def change(config):
        by_day(config)
        config["resources"]["east"]["url"] = f"http://127.0.0.1:{free_port()}"

    stack = make_stack(change=change)
    answer = stack.chat()
    assert answer.status_code == 503, answer.text
    assert error_code(answer) == "upstream_unreachable"
    retry_after(answer)
    line = stack.usage(request_id(answer))
    assert line["input"] == line["output"] == "0"
    assert spent(stack) == 0 and open_records(stack) == set()


@pytest.mark.parametrize("how", [{"close": True}, {"close": True, "reset": True}], ids=["closes", "resets"])
def test_upstream_hangs_up_without_an_answer(day, how):
    day.sim.fault(match={"endpoint": "data"}, **how)
    answer = day.chat()
    assert answer.status_code == 502, answer.text
    assert error_code(answer) == "upstream_failed"
    used(day, answer)
    assert open_records(day) == set()
    assert day.sim.stats()["requests"] == 1, "a POST must not be sent twice"


# --------------------------------------------------------------- usage records


def test_replayed_usage_record_counts_once(day):
    answer = day.chat()
    total = used(day, answer)
    unknown = usage_records(day, "unknown")
    for _ in range(3):
        send_usage(day, usage_line(day, request_id(answer), tokens=1000))
    wait_until("the replays to be told apart", lambda: usage_records(day, "unknown") == unknown + 3)
    assert spent(day) == total
    assert day.children["agent"].log().count(f"info usage id={request_id(answer)} ") == 1


def test_forged_usage_record_of_an_unknown_request_changes_nothing(day):
    total = used(day, day.chat())
    unknown = usage_records(day, "unknown")
    tokens, keys = day.metric("foundry_tokens_total"), set(day.redis.keys())
    for account in ("demo", "tiny", "no-such-account"):
        send_usage(day, usage_line(day, str(uuid.uuid4()), tokens=100000, account=account))
    wait_until("the forgeries to be told apart", lambda: usage_records(day, "unknown") == unknown + 3)
    assert spent(day) == total
    assert day.metric("foundry_tokens_total") == tokens
    assert set(day.redis.keys()) == keys


def test_forged_usage_record_for_the_account_of_another_changes_nothing(day):
    slow_streams(day)
    stream = Stream(day).wait_begun()
    unknown = usage_records(day, "unknown")
    send_usage(day, usage_line(day, stream.id, account="tiny"))
    wait_until("the forgery to be told apart", lambda: usage_records(day, "unknown") == unknown + 1)
    assert stream.complete()
    assert used(day, stream.id) == spent(day)


def test_caller_on_the_host_cannot_settle_its_own_stream(day):
    """It knows its x-request-id and the usage port, but neither a key nor the nonce of HAProxy."""
    slow_streams(day)
    stream = Stream(day).wait_begun()
    own = usage_line(day, stream.id, tokens=0, key=b"a guess of 32 bytes")
    of_another = {**usage_line(day, str(uuid.uuid4()), tokens=0), "id": stream.id}
    cut = {**usage_line(day, stream.id, tokens=0), "ticket": usage_line(day, stream.id)["ticket"][:-4]}
    undecided = {"v": 2, "id": stream.id, "status": 503, "verdict": "-", "code": "decision_unavailable"}
    reserved = spent(day)
    for line in (own, of_another, cut, undecided, {**undecided, "nonce": str(uuid.uuid4())}):
        before = usage_records(day)
        send_usage(day, line)
        wait_until("the line to be counted", lambda: usage_records(day) == before + 1)
    assert usage_records(day, "forged") >= 2
    assert spent(day) == reserved
    assert stream.complete()
    assert used(day, stream.id) == spent(day) > 0


@pytest.mark.parametrize("junk", [b"", b"{", b'{"v":2', b'{"v":2,"id":5}', b'{"v":0,"id":"x"}', b"<134>hello",
                                  b'{"v":2,"id":"' + b"a" * 5000 + b'"}', b'{"v":2,"id":"a}b{c"}',
                                  b'{"v":2,"id":"\\u0000"}', b"\x00" * 100, b'{"v":' + b"[" * 8000,
                                  b'{"v":2,"id":"x","ticket":"AQ"}', b'{"v":2,"id":"x","ticket":"' + b"A" * 6000 + b'"}'],
                         ids=range(13))
def test_junk_on_the_usage_port_is_ignored(day, junk):
    send_usage(day, junk)
    answer = day.chat()
    assert used(day, answer) == spent(day)


def test_haproxy_with_an_older_configuration_is_logged_once(day):
    """Its usage lines are of another version: haproxy.cfg was not exported after the agent was replaced."""
    malformed, log = usage_records(day, "malformed"), day.children["agent"].log
    told = log().count("Export haproxy.cfg again")
    for i in range(3):
        send_usage(day, {"v": 1, "id": str(uuid.uuid4()), "status": 200, "verdict": "allow", "account": "demo",
                         "reserved": "1"})
        wait_until("the lines to be counted", lambda: usage_records(day, "malformed") == malformed + i + 1)
        used(day, day.chat())  # a line of this version between them
    assert log().count("Export haproxy.cfg again") == told + 1


@pytest.mark.parametrize("usage", [{"prompt_tokens": -5, "completion_tokens": 1},
                                   {"prompt_tokens": 1e300, "completion_tokens": 1},
                                   {"prompt_tokens": "9", "completion_tokens": 1}], ids=["negative", "huge", "text"])
def test_usage_that_makes_no_sense_is_estimated(day, usage):
    day.sim.fault(match={"endpoint": "data"}, status=200, headers={"content-type": "application/json"},
                  body=json.dumps({"object": "chat.completion", "choices": [], "usage": usage}))
    answer = day.chat()
    assert answer.status_code == 200, answer.text
    line = day.usage(request_id(answer))
    assert line["estimated"] == "true"
    assert spent(day) == tokens_of(line) > 0
