"""The kill switch on what runs already: cut for whom it is, and for nobody
else, whatever the agent, Redis and the stream are doing."""
import contextlib
import re
import socket
import threading

import httpx
import pytest

from harness import APP, TINY_APP, request_id, wait_until
from steps import Stream, by_day, error_code, fast_streams, open_records, slow_streams, wait_spent
from test_limits import blocked, command, second_node
from test_operations import Socket, with_objects


def endless(stack):
    slow_streams(stack, tokens=100000, event_delay_ms=20)


def roomy(config):
    by_day(config)
    config["limits"]["tiny-tokens"]["amount"] = 10**9


def tiny(stack):
    return stack.token(appid=TINY_APP)


def known(stack, line):
    """The agent has read this from Redis."""
    wait_until(f"the agent to know {line}", lambda: line in stack.agent_get("/blocked").text.splitlines())


def goes_on(*streams):
    """More arrives, and more again: the first may have been under way."""
    for stream in streams:
        for _ in range(3):
            had = len(stream.text)
            wait_until("a stream to go on", lambda: len(stream.text) > had or not stream.running())
        assert stream.running(), (stream.error, stream.text[-300:])


def leave(*streams):
    for stream in streams:
        stream.leave.set()
        stream.finish()


def let_in(stack):
    """A stream that runs. On a slow machine the first may still be cut, as
    HAProxy has not read that it need not be."""
    def begin():
        stream = Stream(stack)
        stream.begun.wait(30)
        return stream.text and stream

    return wait_until("a stream to be let in", begin)


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
        endless(stack)
        cut += [Stream(stack).wait_begun() for _ in range(2)]
        rest.append(Stream(stack, token=tiny(stack)).wait_begun())
    command(first, "block", consumer="demo")
    assert blocked(first, first.chat()) and blocked(second, second.chat())
    lines = [was_cut(s.stack, s) for s in cut]
    goes_on(*rest)
    for stack in (first, second):
        # the resource sees it, and pays for no more
        wait_until("the resource to have one stream", lambda: stack.sim.stats()["streams_open"] == 1)
        assert stack.metric("foundry_streams_cut_total", consumer="demo") == 2
        assert stack.metric("foundry_streams_cut_total") == 2

    # what streamed so far is paid, once, and nothing stays reserved
    wait_until("what was reserved to be settled", lambda: not open_records(first))
    for line, stream in zip(lines, cut):
        events = stream.text.count("\ndata:") + stream.text.startswith("data:")
        assert int(line["output"]) >= events > 0
    wait_spent(first, sum(int(u["input"]) + int(u["output"]) for u in lines))

    command(second, "unblock", consumer="demo")
    again = [let_in(stack) for stack in (first, second)]
    goes_on(*again, *rest)
    leave(*again, *rest)


@pytest.mark.parametrize("kind, name", [("app", APP), ("agent", "proj/bad"), ("app", "dev-key")])
def test_whoever_can_be_blocked_is_cut(make_stack, kind, name):
    def change(config):
        roomy(config)
        config["consumers"]["demo"]["trust_foundry_headers"] = True

    stack = make_stack(change=change)
    endless(stack)
    key = {"api-key": "test-gateway-key-dev"}
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


def test_http_2_streams_of_one_connection_are_cut_one_by_one(make_stack):
    """And the connection goes on. (2.6 ends a stream that is cut, by whomever,
    like any other; later ones reset it.)"""
    stack = make_stack(change=roomy)
    endless(stack)
    body = {"model": "gpt-4o", "stream": True, "messages": []}
    with stack.client(http2=True) as client:
        def stream(token):
            return client.stream("POST", "/openai/v1/chat/completions", json=body,
                                 headers={"authorization": f"Bearer {token}"})

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


def test_a_stream_that_says_nothing_is_cut(make_stack):
    """A model may think for minutes between two events."""
    stack = make_stack(change=roomy)
    stack.sim.fault(stall_after_events=2, stall_forever=True, times=2)
    bad, good = Stream(stack).wait_begun(), Stream(stack, token=tiny(stack)).wait_begun()
    command(stack, "block", consumer="demo")
    was_cut(stack, bad)
    wait_until("the resource to have one stream", lambda: stack.sim.stats()["streams_open"] == 1)
    assert good.running()
    leave_stalled(stack, good)


def leave_stalled(stack, stream):
    command(stack, "block", consumer="tiny")
    was_cut(stack, stream)


def test_a_websocket_is_cut(make_stack):
    stack = make_stack(change=with_objects)
    heads = [{"authorization": f"Bearer {token}"} for token in (stack.token(), tiny(stack))]
    bad, good = (Socket(stack, "/openai/v1/realtime?model=gpt-realtime", head) for head in heads)
    for ws in (bad, good):
        ws.hear()
        ws.say(b"one")
        assert ws.hear() == b"one"
    command(stack, "block", consumer="demo")
    with contextlib.suppress(ConnectionResetError):
        assert bad.s.recv(65536) == b""  # it says nothing, and nobody speaks to it
    good.say(b"two")
    assert good.hear() == b"two"
    for ws in (bad, good):
        ws.close()
    wait_until("the line of the session that was cut",
               lambda: re.search(r"usage .* code=caller_blocked .*operation=realtime", stack.children["agent"].log()))
    assert stack.metric("foundry_streams_cut_total") == 1


def test_without_its_agent_haproxy_cuts_nobody_and_forgets_nothing(make_stack):
    stack = make_stack(change=roomy)
    endless(stack)
    command(stack, "block", app="somebody-else")
    known(stack, "app:somebody-else")
    bad, good = Stream(stack).wait_begun(), Stream(stack, token=tiny(stack)).wait_begun()
    stack.children["agent"].stop()
    stack.children["haproxy"].wait_log("does not tell who is blocked")
    command(stack, "block", consumer="demo")
    goes_on(bad, good)
    stack.start_agent()  # knows it from Redis, and has a log of its own life
    bad.finish()
    assert bad.error is not None
    goes_on(good)
    leave(good)


def test_whoever_is_blocked_stays_so_while_redis_is_away(make_stack):
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


def test_who_is_blocked_is_told_only_when_it_is_known(make_stack):
    stack = make_stack(start=False, change=lambda c: c["redis"].update(required=False))
    stack.start_sim()
    stack.start_agent()  # without Redis
    assert stack.agent_get("/blocked").status_code == 503
    stack.start_redis()
    known(stack, "version 0")
    stack.stop()
    stack.config.pop("redis")
    stack.start_sim()
    stack.start_agent()
    assert stack.agent_get("/blocked").text == "version 0\n"


def test_names_that_cannot_be_listed_are_refused(make_stack):
    stack = make_stack(change=roomy)
    for name in ("a\nconsumer:demo", "x" * 600, "\x7f"):
        assert "control characters" in command(stack, "block", ok=False, app=name)
    assert stack.redis.keys("gw:*") == []
    stack.redis.hset("gw:blocked", mapping={"#": 1, **{f"app:{i}": 1 for i in range(1000)}})
    said = command(stack, "block", ok=False, app="one-more")
    assert "1000 callers are blocked already" in said and "streams are not cut" in said
    assert blocked_now(stack, "demo", "app:one-more")  # new requests are refused all the same


def blocked_now(stack, account, name):
    return stack.redis.hexists(f"gw:{{{account}}}:set", f"!{name}")


class Early:
    """A resource that answers before it has read the request, and stays."""

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


def test_answer_that_ends_before_its_request(make_stack):
    """Nothing looks after such a stream any more: with a timer still running
    HAProxy would run in circles, and its watchdog would end it."""
    origin = Early()

    def change(config):
        with_objects(config)
        config["resources"]["east"] = {"url": f"http://127.0.0.1:{origin.port}", "credential": "mi"}

    stack = make_stack(change=change)
    head = (f"POST /openai/deployments/whisper/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {stack.token()}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            "Content-Length: 1000000\r\n\r\n--b\r\n")
    with contextlib.closing(origin), socket.create_connection(("127.0.0.1", stack.ports["http"]), 30) as client:
        client.sendall(head.encode() + b"x" * 1000)
        got = b""
        while b"0\r\n\r\n" not in got:
            piece = client.recv(65536)
            assert piece, got
            got += piece
        timer = wait_until("the answer to be complete", lambda: response_timer(stack))
        assert timer == "<NEVER>" or re.match(r"\d+d", timer), timer


def runtime(stack, words):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(stack.folder / "haproxy.sock"))
        s.sendall(words.encode() + b"\n")
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


def response_timer(stack):
    """analyse_exp of the response, once it is complete and its request is not."""
    for session in re.split(r"(?m)^0x", runtime(stack, "show sess all")):
        if re.search(r"rsp\.st=MSG_(DONE|CLOSING|CLOSED)", session) and "backend=s.east" in session:
            found = re.search(r"res=0x.*\n\s+an_exp=(\S+)", session)
            return found and found.group(1)
