"""Blocking a caller cuts the streams that it has, and those of no other caller, whatever the agent,
Redis and the stream are doing."""
import contextlib
import re
import socket
import threading

import httpx
import pytest

from harness import APP, CHAT, GATEWAY_KEY, PATIENCE, TINY_APP, bearer, request_id, wait_until
from steps import (Stream, blocked, by_day, command, endless_streams, error_code, fast_streams, open_records,
                   second_node, tokens_of, wait_spent, with_objects)
from websocket import WebSocket


def roomy(config):
    by_day(config)
    config["limits"]["tiny-tokens"]["amount"] = 10**9


def tiny(stack):
    return stack.token(appid=TINY_APP)


def known(stack, line):
    """The agent has read this from Redis."""
    wait_until(f"the agent to know {line}", lambda: line in stack.agent_get("/blocked").text.splitlines())


def goes_on(*streams):
    """Three times more of each stream arrives; the first part may have been under way before."""
    for stream in streams:
        for _ in range(3):
            had = len(stream.text)
            wait_until("a stream to go on", lambda: len(stream.text) > had or not stream.running())
        assert stream.running(), (stream.error, stream.text[-300:])


def leave(*streams):
    for stream in streams:
        stream.hang_up()


def admitted_stream(stack):
    """A stream that runs. The first tries may still be cut, until HAProxy has read that the caller is
    not blocked any more."""
    def begin():
        stream = Stream(stack)
        stream.begun.wait(30)
        return stream.text and stream

    return wait_until("a stream to be admitted", begin)


def was_cut(stack, stream):
    stream.finish()
    assert stream.error is not None and "[DONE]" not in stream.text
    usage = stack.usage(stream.id)
    assert (usage["status"], usage["code"], usage["estimated"]) == ("200", "caller_blocked", "true"), usage
    assert usage["termination"] in ("SD", "PD")  # 2.6, and 3.0 on
    return usage


def test_running_streams_are_cut_on_all_nodes_and_others_go_on(make_stack):
    first = make_stack(change=roomy)
    second = second_node(make_stack, first, roomy)
    cut, rest = [], []
    for stack in (first, second):
        endless_streams(stack)
        cut += [Stream(stack).wait_begun() for _ in range(2)]
        rest.append(Stream(stack, token=tiny(stack)).wait_begun())
    command(first, "block", consumer="demo")
    assert blocked(first, first.chat()) and blocked(second, second.chat())
    lines = [was_cut(s.stack, s) for s in cut]
    goes_on(*rest)
    for stack in (first, second):
        # the resource sees it, too
        wait_until("the resource to have one stream", lambda: stack.sim.stats()["streams_open"] == 1)
        assert stack.metric("foundry_streams_cut_total", consumer="demo") == 2
        assert stack.metric("foundry_streams_cut_total") == 2

    # what was streamed is charged once, and nothing stays reserved
    wait_until("what was reserved to be settled", lambda: not open_records(first))
    for line, stream in zip(lines, cut):
        events = stream.text.count("\ndata:") + stream.text.startswith("data:")
        assert int(line["output"]) >= events > 0
    wait_spent(first, sum(map(tokens_of, lines)))

    command(second, "unblock", consumer="demo")
    again = [admitted_stream(stack) for stack in (first, second)]
    goes_on(*again, *rest)
    leave(*again, *rest)


@pytest.mark.parametrize("kind, name", [("app", APP), ("agent", "proj/bad"), ("app", "dev-key")])
def test_streams_of_a_blocked_app_agent_or_key_are_cut(make_stack, kind, name):
    def change(config):
        roomy(config)
        config["consumers"]["demo"]["trust_foundry_headers"] = True

    stack = make_stack(change=change)
    endless_streams(stack)
    key = {"api-key": GATEWAY_KEY}
    headers = {"x-ms-foundry-agent-id": "bad:3", "x-ms-foundry-project-id": "proj"}
    bad = Stream(stack, token="", headers=key) if name == "dev-key" else Stream(stack, headers=headers)
    good = Stream(stack, token=tiny(stack), headers={**headers, "x-ms-foundry-agent-id": "good:3"})
    bad.wait_begun()
    good.wait_begun()
    project = stack.decision(bad.id).get("project", "")
    command(stack, "block", **{kind: name.replace("proj", project)})
    was_cut(stack, bad)
    goes_on(good)
    leave(good)


def test_http_2_stream_is_cut_and_its_connection_stays(make_stack):
    """HAProxy 2.6 ends a stream that was cut like any other; later versions reset it."""
    stack = make_stack(change=roomy)
    endless_streams(stack)
    body = {"model": "gpt-4o", "stream": True, "messages": []}
    with stack.client(http2=True) as client:
        def stream(token):
            return client.stream("POST", CHAT, json=body, headers=bearer(token))

        with stream(stack.token()) as bad, stream(tiny(stack)) as good:
            assert (bad.http_version, bad.status_code, good.status_code) == ("HTTP/2", 200, 200)
            first, second = bad.iter_raw(), good.iter_raw()
            assert next(first) and next(second)
            command(stack, "block", consumer="demo")
            with contextlib.suppress(httpx.RemoteProtocolError):
                assert b"[DONE]" not in b"".join(first)
            for _ in range(3):
                assert next(second)
    assert stack.usage(request_id(bad))["code"] == "caller_blocked"


def test_stream_that_sends_nothing_is_cut(make_stack):
    """A model may think for minutes between two events."""
    stack = make_stack(change=roomy)
    stack.sim.fault(stall_after_events=2, stall_forever=True, times=2)
    bad, good = Stream(stack).wait_begun(), Stream(stack, token=tiny(stack)).wait_begun()
    command(stack, "block", consumer="demo")
    was_cut(stack, bad)
    wait_until("the resource to have one stream", lambda: stack.sim.stats()["streams_open"] == 1)
    assert good.running()
    command(stack, "block", consumer="tiny")  # ends it
    was_cut(stack, good)


def test_websocket_is_cut(make_stack):
    stack = make_stack(change=with_objects)
    with contextlib.ExitStack() as ends:
        bad, good = (ends.enter_context(WebSocket(stack, "/openai/v1/realtime?model=gpt-realtime", bearer(token)))
                     for token in (stack.token(), tiny(stack)))
        for ws in (bad, good):
            ws.hear()
            ws.say(b"one")
            assert ws.hear() == b"one"
        command(stack, "block", consumer="demo")
        with contextlib.suppress(ConnectionResetError):
            assert bad.s.recv(65536) == b""  # cut although neither side sends anything
        good.say(b"two")
        assert good.hear() == b"two"
    wait_until("the line of the session that was cut",
               lambda: re.search(r"usage .* code=caller_blocked .*operation=realtime", stack.children["agent"].log()))
    assert stack.metric("foundry_streams_cut_total") == 1


def test_while_the_agent_is_away_nothing_is_cut_and_later_all_that_must_be(make_stack):
    stack = make_stack(change=roomy)
    endless_streams(stack)
    command(stack, "block", app="somebody-else")
    known(stack, "app:somebody-else")
    bad, good = Stream(stack).wait_begun(), Stream(stack, token=tiny(stack)).wait_begun()
    stack.children["agent"].stop()
    stack.children["haproxy"].wait_log("does not tell who is blocked")
    command(stack, "block", consumer="demo")
    goes_on(bad, good)
    stack.start_agent()  # reads it from Redis
    bad.finish()
    assert bad.error is not None
    goes_on(good)
    leave(good)


def test_blocked_caller_stays_blocked_while_redis_is_away(make_stack):
    def change(config):
        roomy(config)
        for limit in config["limits"].values():
            limit["on_store_failure"] = "allow"

    stack = make_stack(change=change)
    command(stack, "block", consumer="demo")
    known(stack, "consumer:demo")
    stack.children["redis"].stop()
    fast_streams(stack)
    assert stack.chat(token=tiny(stack)).status_code == 200
    for _ in range(2):
        refused = stack.chat()
        assert (refused.status_code, error_code(refused)) == (403, "caller_blocked")
    assert stack.agent_get("/blocked").text.splitlines()[1:] == ["consumer:demo"]


def test_list_of_the_blocked_is_served_only_when_it_is_known(make_stack):
    stack = make_stack(start=False, change=lambda c: c["redis"].update(required=False))
    stack.start_sim()
    stack.start_agent()  # without Redis
    assert stack.agent_get("/blocked").status_code == 503
    stack.start_redis()
    known(stack, "version 0")
    stack.children["agent"].stop()
    stack.config.pop("redis")
    stack.start_agent()
    assert stack.agent_get("/blocked").text == "version 0\n"


def test_names_that_cannot_be_listed_are_refused(make_stack):
    stack = make_stack(change=roomy)
    for name in ("a\nconsumer:demo", "x" * 600, "\x7f"):
        assert "control characters" in command(stack, "block", ok=False, app=name)
    assert stack.redis.keys("gw:*") == ["gw:ticket-key"]
    stack.redis.hset("gw:blocked", mapping={"#": 1, **{f"app:{i}": 1 for i in range(1000)}})
    said = command(stack, "block", ok=False, app="one-more")
    assert "1000 callers are blocked already" in said and "streams are not cut" in said
    assert stack.redis.hexists("gw:{demo}:set", "!app:one-more")  # its new requests are refused all the same


class EarlyOrigin:
    """A resource that answers before it has read the request, and keeps the connection."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections.append(connection)
                if b"\r\n\r\n" in connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                       b"transfer-encoding: chunked\r\n\r\n7\r\ndata: x\r\n0\r\n\r\n")

    def close(self):
        self.socket.close()
        for connection in self.connections:
            connection.close()


def test_no_timer_stays_behind_an_answer_that_ends_before_its_request(make_stack):
    """The filter is not called for such a stream any more. A timer that still ran would expire in a
    busy loop, until HAProxy's watchdog ends the process."""
    origin = EarlyOrigin()

    def change(config):
        with_objects(config)
        config["resources"]["east"] = {"url": f"http://127.0.0.1:{origin.port}", "credential": "mi"}

    stack = make_stack(change=change)
    head = (f"POST /openai/deployments/whisper/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {stack.token()}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            "Content-Length: 1000000\r\n\r\n--b\r\n")
    with contextlib.closing(origin), socket.create_connection(("127.0.0.1", stack.ports["http"]), PATIENCE) as client:
        client.sendall(head.encode() + b"x" * 1000)
        got = b""
        while b"0\r\n\r\n" not in got:
            piece = client.recv(65536)
            assert piece, got
            got += piece
        timer = wait_until("the answer to be complete", lambda: response_timer(stack))
        assert timer == "<NEVER>" or re.match(r"\d+d", timer), timer


def response_timer(stack):
    """analyse_exp of the response, once it is complete and its request is not."""
    for session in re.split(r"(?m)^0x", stack.haproxy_says("show sess all")):
        if re.search(r"rsp\.st=MSG_(DONE|CLOSING|CLOSED)", session) and "backend=s.east" in session:
            found = re.search(r"res=0x.*\n\s+an_exp=(\S+)", session)
            return found and found.group(1)
