"""Decisions that reach nobody: the client has hung up, or HAProxy has stopped
waiting. What was not sent to a resource is not charged, whichever comes first,
the decision or the usage record of a request without one."""
import contextlib
import json
import signal
import socket
import struct

import pytest

from harness import fields, free_port, wait_until
from steps import by_day, open_records, spent

N = 6


def patient(workers):
    def change(config):
        by_day(config)
        config["workers"] = workers
        config["decision_timeout_ms"] = 10000
        config["redis"]["deadline_ms"] = 5000

    return change


def send(stack):
    """A request on a connection of its own; nobody reads the answer."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]})
    s = socket.create_connection(("127.0.0.1", stack.ports["http"]))
    s.sendall(f"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stack.token()}\r\n"
              f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    return s


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


@contextlib.contextmanager
def frozen(*pids_of):
    for child in pids_of:
        child.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for child in pids_of:
            child.signal(signal.SIGCONT)


def records(stack, *results):
    return sum(stack.metric("foundry_usage_records_total", result=r) for r in results)


def nothing_is_owed(stack):
    wait_until("every reservation to be given back", lambda: open_records(stack) == set())
    wait_until("every end to be counted", lambda: stack.metric("foundry_consumer_streams") == 0)
    assert [r for r in stack.sim.requests() if r["endpoint"] == "data"] == []
    assert spent(stack) == 0
    answer = stack.chat()
    wait_until("its usage and nothing else", lambda: spent(stack) == answer.json()["usage"]["total_tokens"])
    assert open_records(stack) == set()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_client_hangs_up_before_the_decision(make_stack, workers, leave):
    """HAProxy 2.6 sees it at once. Later ones see it when the decision has come:
    mostly while they connect, at times when the request is on its way, and then
    it costs the prompt as ever."""
    stack = make_stack(change=patient(workers), env={"GATEWAY_SPOE_TIMEOUT": "20s"})
    with frozen(stack.children["redis"]):
        clients = [send(stack) for _ in range(N)]
        wait_until("them to wait", lambda: stack.metric("foundry_inflight_requests") == N)
        for c in clients:
            leave(c)
    wait_until("their records", lambda: records(stack, "undecided", "settled", "estimated") == N)
    wait_until("the decisions", lambda: stack.metric("foundry_requests_total") == N)
    wait_until("every reservation to be given back", lambda: open_records(stack) == set())
    wait_until("every end to be counted", lambda: stack.metric("foundry_consumer_streams") == 0)
    ends = [fields(line) for line in stack.children["agent"].log().splitlines() if " info usage " in line]
    told = [end for end in ends if "termination" in end]
    assert all(end["termination"][0] == "C" for end in told)
    assert all((int(end["input"]) > 0) == (end["termination"][1] not in "RQC") for end in told)
    assert spent(stack) == sum(int(end["input"]) for end in told)
    reached = {dict((k.lower(), v) for k, v in r["headers"])["x-request-id"]
               for r in stack.sim.requests() if r["endpoint"] == "data"}
    assert reached <= {end["id"] for end in told if int(end["input"]) > 0}


@pytest.mark.parametrize("workers", [1, 2])
def test_record_comes_before_the_decision(make_stack, workers):
    stack = make_stack(change=patient(workers), env={"GATEWAY_SPOE_TIMEOUT": "500ms"})
    with frozen(stack.children["redis"]), contextlib.ExitStack() as clients:
        for _ in range(N):
            clients.enter_context(send(stack))
        wait_until("HAProxy to stop waiting", lambda: records(stack, "undecided") == N)
        assert stack.metric("foundry_requests_total") == 0
    wait_until("the decisions", lambda: stack.metric("foundry_requests_total") == N)
    assert stack.children["agent"].log().count("answer=nobody-waits") == N
    nothing_is_owed(stack)


@pytest.mark.parametrize("workers", [1, 2])
def test_record_comes_after_the_decision(make_stack, workers):
    """The records are held up on their way to the agent."""
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with held, contextlib.ExitStack() as clients:
        held.bind(("127.0.0.1", free_port(socket.SOCK_DGRAM)))
        held.settimeout(30)
        stack = make_stack(change=patient(workers), env={
            "GATEWAY_SPOE_TIMEOUT": "500ms", "GATEWAY_USAGE": "127.0.0.1:%d" % held.getsockname()[1]})
        with frozen(stack.children["redis"]):
            for _ in range(N):
                clients.enter_context(send(stack))
            late = [held.recv(65536) for _ in range(N)]
        wait_until("the decisions", lambda: stack.metric("foundry_requests_total") == N)
        assert len(open_records(stack)) == N and spent(stack) > 0
        assert stack.metric("foundry_reservations_open") == N
        for record in late:
            held.sendto(record, ("127.0.0.1", stack.ports["usage"]))
        wait_until("them to be given back", lambda: open_records(stack) == set())
        assert spent(stack) == 0
        assert stack.metric("foundry_reservations_open") == stack.metric("foundry_consumer_streams") == 0
        # once more: nobody gets anything for it
        for record in late:
            held.sendto(record, ("127.0.0.1", stack.ports["usage"]))
        wait_until("the records", lambda: records(stack, "undecided") == 2 * N)
        assert spent(stack) == 0


def test_agent_is_frozen_and_wakes_up(make_stack):
    """Requests and their records wait for it together."""
    stack = make_stack(change=patient(1), env={"GATEWAY_SPOE_TIMEOUT": "500ms"})
    with contextlib.ExitStack() as clients:
        with frozen(stack.children["agent"]):
            sent = [clients.enter_context(send(stack)) for _ in range(N)]
            for s in sent:
                s.settimeout(30)
                assert s.recv(65536).startswith(b"HTTP/1.1 503 ")
        wait_until("the records", lambda: records(stack, "undecided") == N)
        nothing_is_owed(stack)
